//! WaveDump files as they come: damaged headers, missing bytes, other number types, texts of editors.

use std::path::PathBuf;

use crate::support::formats::{Owned, Read, Values, read, read_with, values};
use nuwave::io::{BatchLimit, Loss, ReadOptions};

const N_SAMPLES: usize = 90;
const BOARD: u32 = 5;
const CHANNELS: [u32; 3] = [1, 4, 6];

/// Counts of a record: a level with some noise, and a pulse at a time of its own.
fn samples(record: usize, length: usize) -> Vec<u16> {
    let sample = |index: usize| {
        let noise = (record * 31 + index * 17) % 7;
        let pulse = if index == 20 + record % 30 { 250 } else { 0 };
        (8150 + noise - pulse) as u16
    };
    (0..length).map(sample).collect()
}

/// A record of event `counter` with header.
fn record(counter: u32, channel: u32, samples: &[u16]) -> Vec<u8> {
    let size = 24 + 2 * samples.len() as u32;
    let words = [size, BOARD, 0x11, channel, counter, 1000 * counter];
    let words = words.iter().flat_map(|word| word.to_le_bytes());
    words
        .chain(samples.iter().flat_map(|sample| sample.to_le_bytes()))
        .collect()
}

/// The records of ten events of three channels, whose event counter begins at 100.
fn records() -> Vec<Vec<u8>> {
    (0..30)
        .map(|index| {
            let counter = 100 + index as u32 / 3;
            record(counter, CHANNELS[index % 3], &samples(index, N_SAMPLES))
        })
        .collect()
}

fn read_bytes(name: &str, bytes: &[u8]) -> Read {
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join(name);
    std::fs::write(&path, bytes).expect("room on the disk");
    read(&path)
}

/// Indices of the records that were read; each has to be as it was written.
fn indices(read: &Read) -> Vec<usize> {
    let index = |waveform: &Owned| {
        let channel = CHANNELS.iter().position(|&it| it == waveform.channel_id);
        let index = (waveform.event_id - 100) as usize * 3 + channel.expect("a channel");
        let expected = Values::U16(samples(index, N_SAMPLES));
        assert_eq!(waveform.samples, expected, "record {index}");
        index
    };
    read.waveforms.iter().map(index).collect()
}

fn without(missing: std::ops::Range<usize>) -> Vec<usize> {
    (0..30).filter(|index| !missing.contains(index)).collect()
}

fn numbers(losses: &[Loss]) -> Vec<Option<u64>> {
    losses.iter().map(|loss| loss.n_waveforms).collect()
}

#[test]
fn a_damaged_header_costs_its_record_and_the_number_is_right() {
    // Word of the header, and the bits of it that are flipped.
    let damages = [
        ("size", 0, 1_u32 << 4),
        ("size, odd", 0, 1),
        ("size, huge", 0, 1 << 30),
        ("size, small", 0, 0x80),
        ("board", 1, 1),
        ("board, high", 1, 1 << 31),
        ("channel", 3, 1 << 7),
    ];
    for (what, word, bits) in damages {
        for damaged in [0, 1, 14, 28, 29] {
            let mut records = records();
            let at = 4 * word;
            let bytes: [u8; 4] = records[damaged][at..at + 4].try_into().expect("a word");
            let changed = u32::from_le_bytes(bytes) ^ bits;
            records[damaged][at..at + 4].copy_from_slice(&changed.to_le_bytes());
            let read = read_bytes("run.dat", &records.concat());
            let expected = without(damaged..damaged + 1);
            assert_eq!(indices(&read), expected, "{what} of record {damaged}");
            assert_eq!(
                numbers(&read.losses),
                [Some(1)],
                "{what} of record {damaged}"
            );
            let place = format!(
                "record {damaged} at byte {}",
                damaged * (24 + 2 * N_SAMPLES)
            );
            assert_eq!(read.losses[0].place, place, "{what}");
        }
    }
}

#[test]
fn bytes_that_are_missing_or_too_many_cost_the_records_they_touch() {
    let whole = records();
    let size = whole[0].len();
    let bytes = whole.concat();
    let cut = |from: usize, to: usize| [&bytes[..from], &bytes[to..]].concat();
    let insert = |at: usize, more: &[u8]| [&bytes[..at], more, &bytes[at..]].concat();
    let cases = [
        ("two bytes", cut(12 * size + 50, 12 * size + 52), 12..13),
        ("one byte", cut(12 * size + 51, 12 * size + 52), 12..13),
        ("a header", cut(12 * size, 12 * size + 24), 12..13),
        // The end of one record and the beginning of a later one.
        (
            "seven and a half",
            cut(12 * size + 50, 20 * size - 9),
            12..20,
        ),
        ("zeros", insert(12 * size, &[0; 512]), 0..0),
        ("junk", insert(12 * size, &[0xa5; 333]), 0..0),
        ("half a record", insert(12 * size, &bytes[..size / 2]), 0..0),
    ];
    for (what, bytes, missing) in cases {
        let read = read_bytes("run.dat", &bytes);
        assert_eq!(indices(&read), without(missing.clone()), "{what}");
        let lost = missing.len() as u64;
        assert_eq!(numbers(&read.losses), [Some(lost)], "{what}");
    }
}

#[test]
fn where_the_counter_does_not_tell_the_size_does_or_the_number_is_unknown() {
    // All records have the same counter; in the second file their sizes differ as well.
    for is_uniform in [true, false] {
        let length = |index: usize| N_SAMPLES + if is_uniform { 0 } else { 2 * (2 * index % 5) };
        let mut records: Vec<Vec<u8>> = (0..12)
            .map(|index| record(7, 2, &samples(index, length(index))))
            .collect();
        for index in [4, 5] {
            records[index][4] ^= 1;
        }
        let read = read_bytes("run.dat", &records.concat());
        assert_eq!(read.waveforms.len(), 10);
        let expected = is_uniform.then_some(2);
        assert_eq!(numbers(&read.losses), [expected]);
    }
    // After the damage nothing can be told any more.
    let mut bytes = records().concat();
    let end = 20 * records()[0].len();
    bytes.truncate(end);
    bytes.extend([0x5a; 1000]);
    let read = read_bytes("run.dat", &bytes);
    assert_eq!(indices(&read), (0..20).collect::<Vec<_>>());
    assert_eq!(numbers(&read.losses), [None]);
    assert_eq!(read.losses[0].at_least(), 1);
}

#[test]
fn units_of_a_damaged_file_share_out_its_records() {
    let mut records = records();
    records[13][5] ^= 0x40;
    records[21][12] ^= 0x80;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.dat");
    std::fs::write(&path, records.concat()).expect("room on the disk");
    let options = ReadOptions::default();
    let (mut n_read, mut n_lost) = (0, 0);
    let bytes = records.concat().len() as u64;
    for unit in [0..bytes / 3, bytes / 3..bytes / 2, bytes / 2..u64::MAX] {
        let mut source = nuwave::io::open(&path, &options).expect("a WaveDump file");
        source.select(unit).expect("a unit");
        while let Some(batch) = source.next_batch(BatchLimit::default()).expect("a batch") {
            n_read += batch.len();
        }
        n_lost += source.take_losses().iter().map(Loss::at_least).sum::<u64>();
    }
    assert_eq!((n_read, n_lost), (28, 2));
}

#[test]
fn samples_of_one_byte_and_floats_are_read_as_such() {
    let bytes_of = |kind: &str, index: usize| -> (Vec<u8>, Vec<f32>) {
        let counts = samples(index, N_SAMPLES);
        let scaled: Vec<f32> = counts
            .iter()
            .map(|&count| match kind {
                "u8" => f32::from(count + 250 - 8150),
                "f32" => f32::from(count) - 4000.25,
                _ => f32::from(count) - 8150.0,
            })
            .map(|value| {
                if kind == "u8" {
                    (value / 2.0).round()
                } else {
                    value
                }
            })
            .collect();
        let bytes = match kind {
            "u8" => scaled.iter().map(|&value| value as u8).collect(),
            _ => scaled
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        };
        (bytes, scaled)
    };
    for kind in ["u8", "f32", "f32 without baseline"] {
        let mut file = Vec::new();
        let mut bare = Vec::new();
        for index in 0..30 {
            let (payload, _) = bytes_of(kind, index);
            let header = [24 + payload.len() as u32, BOARD, 0, 1, index as u32, 0];
            file.extend(header.iter().flat_map(|word| word.to_le_bytes()));
            file.extend(&payload);
            bare.extend(&payload);
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run.dat");
        std::fs::write(&path, &file).expect("room on the disk");
        let bare_path = folder.path().join("bare.bin");
        std::fs::write(&bare_path, &bare).expect("room on the disk");
        let options = ReadOptions {
            record_samples: Some(N_SAMPLES),
            ..ReadOptions::default()
        };
        let without_headers = read_with(&bare_path, &options, BatchLimit::default());
        for read in [read(&path), without_headers.expect("samples")] {
            assert_eq!(read.waveforms.len(), 30, "{kind}");
            for (index, waveform) in read.waveforms.iter().enumerate() {
                assert_eq!(values(waveform), bytes_of(kind, index).1, "{kind}");
            }
            assert!(kind.starts_with(&read.info.sample_type));
            assert!(read.info.remarks.iter().any(|remark| remark.is_warning));
        }
    }
    let plain = read_bytes("run.dat", &records().concat());
    assert_eq!(plain.info.sample_type, "u16");
    assert!(plain.info.remarks.is_empty());
}

/// A text record; `sample` returns the text of each of its 90 samples.
fn text_record(counter: usize, sample: impl Fn(usize) -> String) -> String {
    let mut text = format!("Record Length: {N_SAMPLES}\nBoardID: 31\nChannel: 2\n");
    text = format!("{text}Event Number: {counter}\nPattern: 0x0000\n");
    text += "Trigger Time Stamp: 5\nDC offset (DAC): 0x1000\n";
    for index in 0..N_SAMPLES {
        text += &sample(index);
        text += "\n";
    }
    text
}

#[test]
fn lost_text_records_are_counted_by_the_event_number() {
    let count = |index: usize| (3000 + index).to_string();
    let records: Vec<String> = (0..12).map(|event| text_record(event, count)).collect();
    let with = |changed: Vec<String>| read_bytes("run.txt", changed.concat().as_bytes());
    let events = |read: &Read| -> Vec<u64> {
        let waveforms = read.waveforms.iter();
        waveforms.map(|waveform| waveform.event_id).collect()
    };
    // Without its first line a record looks like a part of the one before it.
    let mut merged = records.clone();
    merged[6] = merged[6].replacen("Record Length: 90\n", "Recrd", 1);
    let read = with(merged);
    assert_eq!(events(&read), [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]);
    assert_eq!(read.losses.iter().map(Loss::at_least).sum::<u64>(), 2);
    // The event of the second one is not given to the samples of the first.
    assert_eq!(read.losses[0].event_id, Some(5));
    assert!(
        read.losses[0].reason.contains("header line among samples"),
        "{}",
        read.losses[0].reason
    );
    // From the middle of one record to the middle of another.
    let mut cut = records.clone();
    let (head, tail) = (cut[4][..200].to_owned(), cut[8][300..].to_owned());
    cut.splice(4..9, [head, tail]);
    let read = with(cut);
    assert_eq!(events(&read), [0, 1, 2, 3, 9, 10, 11]);
    assert_eq!(read.losses.iter().map(Loss::at_least).sum::<u64>(), 5);
    assert!(numbers(&read.losses).iter().all(Option::is_some));
}

#[test]
fn the_type_of_a_texts_samples_does_not_hang_on_the_first_one() {
    // Corrected counts, and counts minus their baseline; the first sample is like a plain count by chance.
    let corrected = |index: usize| 2000.0 + 0.25 * index as f32;
    let subtracted = |index: usize| 3.0 - index as f32;
    for (name, value) in [
        ("corrected", &corrected as &dyn Fn(usize) -> f32),
        ("subtracted", &subtracted),
    ] {
        let expected: Vec<f32> = (0..N_SAMPLES).map(value).collect();
        let plain = |index: usize| format!("{}", index + 1);
        let text = text_record(0, plain) + &text_record(1, |index| value(index).to_string());
        let read = read_bytes("run.txt", text.as_bytes());
        assert!(read.losses.is_empty(), "{name}: {:?}", read.losses);
        assert_eq!(values(&read.waveforms[1]), expected, "{name}");
        assert_eq!(read.info.sample_type, "f32");
    }
}

#[test]
fn texts_of_editors_are_read_or_refused_with_the_reason() {
    let count = |index: usize| (3000 + index).to_string();
    let text = text_record(0, count) + &text_record(1, count);
    let marked = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let read = read_bytes("run.txt", marked.as_bytes());
    assert_eq!(read.waveforms.len(), 2);
    assert!(read.losses.is_empty(), "{:?}", read.losses);
    let wide: Vec<u8> = std::iter::once(0xfeff)
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.txt");
    std::fs::write(&path, wide).expect("room on the disk");
    let refused = read_with(&path, &ReadOptions::default(), BatchLimit::default());
    let refused = refused.expect_err("16-bit characters");
    assert!(refused.to_string().contains("UTF-16"), "{refused}");
}

/// Reads a file that may be refused.
fn attempt(bytes: &[u8], record_samples: Option<usize>) -> nuwave::Result<Read> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.txt");
    std::fs::write(&path, bytes).expect("room on the disk");
    let options = ReadOptions {
        record_samples,
        ..ReadOptions::default()
    };
    read_with(&path, &options, BatchLimit::default())
}

/// Asserts that a file is refused, and that the message and the hints have `words`.
fn assert_refused(bytes: &[u8], record_samples: Option<usize>, words: &[&str]) {
    let error = attempt(bytes, record_samples).expect_err(words[0]);
    let text = format!("{error} {:?}", error.hints());
    for word in words.iter().chain(&["run.txt"]) {
        assert!(text.contains(word), "{word}: {text}");
    }
}

/// Four records of counts as a text.
fn numbers_text(separator: &str, record_end: &str) -> String {
    let record = |index: usize| {
        let counts: Vec<String> = samples(index, N_SAMPLES)
            .iter()
            .map(u16::to_string)
            .collect();
        counts.join(separator) + record_end
    };
    (0..4).map(record).collect()
}

/// Asserts that a text without headers has the records `expected` of [`numbers_text`].
fn assert_records(read: &Read, expected: &[usize]) {
    let found: Vec<_> = read
        .waveforms
        .iter()
        .map(|waveform| {
            let index = waveform.event_id as usize;
            assert_eq!(waveform.samples, Values::U16(samples(index, N_SAMPLES)));
            index
        })
        .collect();
    assert_eq!(found, expected, "{:?}", read.losses);
}

#[test]
fn numbers_are_read_line_by_line_or_a_record_per_line() {
    for (separator, end) in [
        ("\n", "\n"),
        (";\n", ";\n"),
        ("\r", "\r"),
        ("\t", "\n"),
        (" ", "\r\n"),
        (",", "\n"),
        ("; ", ";\n"),
        ("\t", "\r"),
    ] {
        let text = numbers_text(separator, end);
        let line_end = end.trim_start_matches(';');
        for front in ["", "# run 7"] {
            let text = format!("{front}{line_end}{line_end}{text}");
            let read = attempt(text.as_bytes(), Some(N_SAMPLES)).expect("a text of numbers");
            assert!(read.losses.is_empty(), "{separator:?}: {:?}", read.losses);
            assert_records(&read, &[0, 1, 2, 3]);
            // Without the length it is asked for.
            assert_refused(text.as_bytes(), None, &["text of numbers", "RecordSamples"]);
        }
    }
}

#[test]
fn texts_that_are_no_records_are_refused_with_what_they_are() {
    let columns: Vec<String> = (0..360).map(|k| format!("{k}\t{}\n", 8150 - k)).collect();
    let columns = columns.concat();
    let json = format!("[{}]", ["8150"; 360].join(", "));
    let markup = format!("<?xml?>{}", "<v>8150</v>".repeat(360));
    for (text, words) in [
        (
            columns.as_str(),
            &["line 1 has 2 numbers", "the 90 numbers", "[:, 1]"] as &[&str],
        ),
        (&"8150,25\n".repeat(360), &["has 2 numbers", "tr , ."]),
        (&"8150,25;8,5\n".repeat(360), &["8150,25", "tr , ."]),
        (
            &numbers_text(" ", " 7\n"),
            &["has 91 numbers", "RecordSamples"],
        ),
        (&"0x1FD6\n".repeat(360), &["`0x1FD6`", "int(x, 16)"]),
        (&json, &["is JSON"]),
        (&markup, &["is XML"]),
        (
            &"2026-01-01 run started\n".repeat(99),
            &["line 1 begins with `2026-01-01 run started`"],
        ),
        (&"# nothing\n".repeat(20), &["without numbers"]),
        ("\n\n\n", &["without numbers"]),
    ] {
        assert_refused(text.as_bytes(), Some(N_SAMPLES), words);
    }
    let numbers = numbers_text("\n", "\n");
    let wide = |bytes: fn(u16) -> [u8; 2]| numbers.encode_utf16().flat_map(bytes);
    let wide = [wide(u16::to_le_bytes), wide(u16::to_be_bytes)];
    for (bytes, name) in wide.into_iter().zip(["UTF-16LE", "UTF-16BE"]) {
        assert_refused(&bytes.collect::<Vec<_>>(), Some(N_SAMPLES), &[name]);
    }
    for (signature, words) in [
        (b"\x1f\x8b\x08\x00".as_slice(), ["gzip", "gunzip"]),
        (b"\x28\xb5\x2f\xfd", ["zstd", "unzstd"]),
        (b"BZh9", ["bzip2", "bunzip2"]),
        (b"\xfd7zXZ\x00", ["xz", "unxz"]),
        (b"root\x00\x00", ["ROOT", "uproot"]),
        (b"%PDF-1.7", ["PDF", "not a file of waveforms"]),
    ] {
        let bytes = [signature, &[0x12; 900]].concat();
        assert_refused(&bytes, Some(N_SAMPLES), &words);
        assert_refused(&bytes, None, &words);
    }
}

#[test]
fn a_line_that_is_no_number_costs_its_record_alone() {
    let text = numbers_text("\n", "\n");
    let with = |line: usize, other: &str| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines[line] = other;
        let text = lines.join("\n") + "\n";
        attempt(text.as_bytes(), Some(N_SAMPLES)).expect("a text of numbers")
    };
    for (other, reason) in [
        ("overflow", "line 101 is not a number"),
        ("81 50", "line 101 has 2 numbers, not one"),
        ("8\0\0\0", "line 101 is not a number"),
        ("# pause\n8150", "line 101 is a comment within a record"),
    ] {
        let read = with(100, other);
        assert_records(&read, &[0, 2, 3]);
        assert_eq!(numbers(&read.losses), [Some(1)], "{other}");
        assert_eq!(read.losses[0].reason, reason);
        assert_eq!(read.losses[0].event_id, Some(1));
    }
    // Between two records a comment does no harm.
    let first = text.lines().nth(90).expect("a line");
    assert_records(&with(90, &format!("# pause\n{first}")), &[0, 1, 2, 3]);
    for (other, is_it) in [
        ("nan", f32::is_nan as fn(f32) -> bool),
        ("-inf", f32::is_infinite),
    ] {
        let read = with(100, other);
        assert!(read.losses.is_empty(), "{:?}", read.losses);
        let found = values(&read.waveforms[1]);
        for (index, count) in samples(1, N_SAMPLES).into_iter().enumerate() {
            let is_right = found[index].to_bits() == f32::from(count).to_bits();
            assert!(is_right || index == 10 && is_it(found[10]), "{index}");
        }
    }
    let rows = numbers_text("\t", "\n").replacen('\n', "\n# pause\n17\t", 1);
    let read = attempt(rows.as_bytes(), Some(N_SAMPLES)).expect("a text of rows");
    assert_records(&read, &[0, 2, 3]);
    assert_eq!(read.losses[0].reason, "line 3 has 91 numbers, not 90");
}

#[test]
fn numbers_of_32_and_64_bits_have_their_values() {
    type Encode = fn(u16) -> Vec<u8>;
    type Value = fn(u16) -> f32;
    let volts: Value = |count| (f32::from(count) - 8150.0) / 16_384.0;
    let cases: [(&str, Encode, Value); 5] = [
        ("i32", |it| i32::from(it).to_le_bytes().to_vec(), f32::from),
        ("i32", |it| i32::from(it).to_be_bytes().to_vec(), f32::from),
        (
            "i32",
            |it| (i32::from(it) - 8153).to_le_bytes().to_vec(),
            |it| f32::from(it) - 8153.0,
        ),
        (
            "f64",
            |it| (f64::from(it) + 0.25).to_le_bytes().to_vec(),
            |it| f32::from(it) + 0.25,
        ),
        (
            "f32",
            |it| {
                let volts = (f32::from(it) - 8150.0) / 16_384.0;
                volts.to_le_bytes().to_vec()
            },
            volts,
        ),
    ];
    for (kind, encode, value) in cases {
        let (mut file, mut bare) = (Vec::new(), Vec::new());
        for index in 0..30 {
            let counts = samples(index, N_SAMPLES);
            let payload: Vec<u8> = counts.into_iter().flat_map(encode).collect();
            let header = [24 + payload.len() as u32, BOARD, 0, 1, index as u32, 0];
            file.extend(header.iter().flat_map(|word| word.to_le_bytes()));
            file.extend(&payload);
            bare.extend(&payload);
        }
        for (bytes, length) in [(file, None), (bare, Some(N_SAMPLES))] {
            let read = attempt(&bytes, length).expect("samples");
            assert_eq!(read.waveforms.len(), 30, "{kind}");
            assert!(read.losses.is_empty(), "{kind}");
            for (index, waveform) in read.waveforms.iter().enumerate() {
                let expected: Vec<f32> = samples(index, N_SAMPLES).into_iter().map(value).collect();
                assert_eq!(values(waveform), expected, "{kind}");
            }
            assert_eq!(read.info.sample_type, kind);
            assert!(read.info.remarks.iter().any(|remark| remark.is_warning));
        }
    }
}

#[test]
fn a_text_is_known_without_its_first_line() {
    let count = |index: usize| (3000 + index).to_string();
    let records: Vec<String> = (0..4).map(|event| text_record(event, count)).collect();
    let rest = records[1..].concat();
    let first = &records[0];
    let (_, without_first_line) = first.split_once('\n').expect("lines");
    let (_, without_header) = first.split_once("0x1000\n").expect("a header");
    for damaged in [
        without_first_line,
        without_header,
        &first.replacen("Record", "Rec#rd", 1),
        &first.replacen("Record Length: 90", "\0\0\0\0", 1),
    ] {
        let read = read_bytes("run.txt", format!("{damaged}{rest}").as_bytes());
        let events: Vec<_> = read.waveforms.iter().map(|it| it.event_id).collect();
        assert_eq!(events, [1, 2, 3], "{damaged:.60}");
        assert_eq!(read.losses.len(), 1, "{damaged:.60}");
    }
    for front in ["\n\n", "# run 7\n# cosmic\n", "\u{feff}# run 7\n\n"] {
        let read = read_bytes("run.txt", format!("{front}{first}{rest}").as_bytes());
        assert_eq!(read.waveforms.len(), 4, "{front:?}");
        assert!(read.losses.is_empty(), "{:?}", read.losses);
    }
    let read = read_bytes("run.txt", records.concat().replace('\n', "\r").as_bytes());
    assert_eq!((read.waveforms.len(), read.losses.len()), (4, 0));
}

#[test]
fn records_of_two_boards_or_an_odd_size_are_refused_as_such() {
    let mut records = records();
    for record in records.iter_mut().step_by(2) {
        record[4] = 7;
    }
    assert_refused(&records.concat(), None, &["boards 7 and 5", "one board"]);
    let odd = |index: u32| {
        let words = [24 + 91, BOARD, 0, 1, index, 0];
        let header = words.into_iter().flat_map(u32::to_le_bytes);
        header.chain([130; 91]).collect::<Vec<_>>()
    };
    let odd: Vec<Vec<u8>> = (0..9).map(odd).collect();
    assert_refused(
        &odd.concat(),
        None,
        &["91 bytes of samples", "an even number"],
    );
}
