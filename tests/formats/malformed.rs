//! Damaged files: an error or a loss, never a panic, a hang, or an invented waveform.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::formats::{Owned, Read, Values, counts, read, read_with, truth, write};
use nuwave::io::{self, BatchLimit, ReadOptions};
use nuwave::model::{MAX_SAMPLES, Truth};
use nuwave::{Error, ErrorKind, Hint};

/// Longest that a damaged file of some kilobytes may take.
const PATIENCE: Duration = Duration::from_secs(5);
const ENDINGS: [&str; 7] = ["h5", "parquet", "arrow", "npy", "npz", "dat", "txt"];

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("room on the disk");
        path
    }
}

/// A small file of `ending` and its waveforms.
fn small(folder: &Folder, ending: &str) -> (Vec<u8>, Vec<Owned>) {
    let mut waveforms = counts(24, 40);
    if ending == "npy" {
        for (row, waveform) in waveforms.iter_mut().enumerate() {
            waveform.event_id = row as u64;
            waveform.channel_id = 0;
        }
    }
    let path = folder.path(&format!("whole.{ending}"));
    write(&path, &waveforms, 5, &Truth::default()).expect("a file");
    (std::fs::read(path).expect("the file"), waveforms)
}

/// Reads a damaged file in time; `Err` if it was refused as a whole.
fn attempt(path: &Path) -> Result<Read, Error> {
    let begin = Instant::now();
    let read = read_with(path, &ReadOptions::default(), BatchLimit::default());
    assert!(
        begin.elapsed() < PATIENCE,
        "{} took {:?}",
        path.display(),
        begin.elapsed()
    );
    let error = match &read {
        Err(error) => Some(error),
        Ok(read) => read.error.as_ref(),
    };
    if let Some(error) = error {
        assert_eq!(error.kind(), ErrorKind::Input);
        assert!(
            error.to_string().contains("damaged."),
            "the message names the file: {error}"
        );
    }
    read
}

fn open_error(path: &Path) -> Error {
    io::open(path, &ReadOptions::default())
        .err()
        .expect("this cannot be opened")
}

#[test]
fn a_cut_file_gives_its_first_waveforms_and_says_that_it_was_cut() {
    let folder = Folder::new();
    for ending in ENDINGS {
        let (bytes, waveforms) = small(&folder, ending);
        let step = (bytes.len() / 300).max(1);
        for cut in (0..bytes.len())
            .step_by(step)
            .chain(bytes.len() - 20..bytes.len())
        {
            let path = folder.file(&format!("damaged.{ending}"), &bytes[..cut]);
            let Ok(read) = attempt(&path) else { continue };
            assert!(
                waveforms.starts_with(&read.waveforms),
                "{ending} cut at {cut} of {}",
                bytes.len()
            );
            let all = read.waveforms.len() == waveforms.len();
            let said = read.error.is_some() || !read.losses.is_empty();
            // A file of records that ends between two of them looks whole.
            let all = all
                || (ending == "dat" && cut.is_multiple_of(24 + 2 * 40))
                || (ending == "txt" && bytes[cut..].starts_with(b"Record Length"));
            assert!(
                said || all,
                "{ending} cut at {cut}: {} waveforms",
                read.waveforms.len()
            );
        }
    }
}

#[test]
fn a_cut_wavedump_gives_all_whole_records_and_one_loss() {
    let folder = Folder::new();
    let (bytes, waveforms) = small(&folder, "dat");
    let record = 24 + 2 * 40;
    for cut in (record + 1..bytes.len())
        .step_by(5)
        .chain([2 * record, 5 * record])
    {
        let path = folder.file("damaged.dat", &bytes[..cut]);
        let read = attempt(&path).expect("it begins with a header");
        assert_eq!(read.waveforms, waveforms[..cut / record]);
        if cut.is_multiple_of(record) {
            assert!(read.losses.is_empty());
            continue;
        }
        let [loss] = read.losses.as_slice() else {
            panic!("one loss, not {:?}", read.losses)
        };
        let begin = cut / record * record;
        assert_eq!(
            loss.place,
            format!("record {} at byte {begin}", cut / record)
        );
        assert!(!loss.reason.is_empty());
    }
}

#[test]
fn a_cut_array_gives_all_whole_rows_and_one_loss() {
    let folder = Folder::new();
    let (bytes, waveforms) = small(&folder, "npy");
    for cut in (128..bytes.len()).step_by(7) {
        let path = folder.file("damaged.npy", &bytes[..cut]);
        let read = attempt(&path).expect("the header is whole");
        let whole = (cut - 128) / 80;
        assert_eq!(read.waveforms, waveforms[..whole]);
        let [loss] = read.losses.as_slice() else {
            panic!("one loss, not {:?}", read.losses)
        };
        assert_eq!(loss.n_waveforms, Some(24 - whole as u64));
    }
}

#[test]
fn a_cut_arrow_file_gives_its_whole_batches_and_counts_the_cut_one() {
    let folder = Folder::new();
    let waveforms = counts(3000, 40);
    let path = folder.path("whole.arrow");
    write(&path, &waveforms, 500, &Truth::default()).expect("a file");
    let bytes = std::fs::read(path).expect("the file");
    for cut in (1000..bytes.len()).step_by(bytes.len() / 50) {
        let read =
            attempt(&folder.file("damaged.arrow", &bytes[..cut])).expect("the schema is whole");
        assert!(waveforms.starts_with(&read.waveforms));
        assert!(read.waveforms.len() + 1100 > 3000 * cut / bytes.len());
        let known: u64 = read.losses.iter().filter_map(|loss| loss.n_waveforms).sum();
        assert!(
            read.waveforms.len() as u64 + known <= 3000,
            "{:?}",
            read.losses
        );
        // What came after the cut is not known.
        let last = read.losses.last().and_then(|loss| loss.n_waveforms);
        assert!(
            !read.losses.is_empty() && last.is_none(),
            "{:?}",
            read.losses
        );
    }
}

#[test]
fn flipped_bits_never_panic_or_hang() {
    let folder = Folder::new();
    for ending in ENDINGS {
        let (bytes, _) = small(&folder, ending);
        let n_bits = bytes.len() * 8;
        // More at both ends, where the structure is, and a spread over the rest.
        let spread = (0..n_bits).step_by((n_bits / 200).max(1) | 1);
        let ends = (0..n_bits.min(2400))
            .step_by(9)
            .chain((n_bits.saturating_sub(1600)..n_bits).step_by(7));
        for bit in spread.chain(ends) {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let path = folder.file(&format!("damaged.{ending}"), &damaged);
            // The result may be anything that is neither a panic nor a hang.
            let _ = attempt(&path);
            let _ = io::read_truth(&path);
        }
    }
}

#[test]
fn a_flipped_bit_in_a_checked_archive_is_found() {
    let folder = Folder::new();
    let (bytes, waveforms) = small(&folder, "npz");
    for bit in (0..bytes.len() * 8).step_by(13) {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let path = folder.file("damaged.npz", &damaged);
        let Ok(read) = attempt(&path) else { continue };
        let samples = |all: &[Owned]| all.iter().map(|it| it.samples.clone()).collect::<Vec<_>>();
        if read.error.is_none() && read.losses.is_empty() {
            assert_eq!(samples(&read.waveforms), samples(&waveforms), "bit {bit}");
        }
    }
}

#[test]
fn a_wavedump_record_with_a_wrong_size_costs_that_record() {
    let folder = Folder::new();
    let (bytes, waveforms) = small(&folder, "dat");
    let record = 24 + 2 * 40;
    for index in 0..24 {
        for bit in 0..32 {
            let mut damaged = bytes.clone();
            damaged[index * record + bit / 8] ^= 1 << (bit % 8);
            let path = folder.file("damaged.dat", &damaged);
            let read = attempt(&path).expect("the other records are whole");
            let others = [&waveforms[..index], &waveforms[index + 1..]].concat();
            assert_eq!(read.waveforms, others, "record {index}, bit {bit}");
            assert_eq!(read.losses.len(), 1, "{:?}", read.losses);
            assert_eq!(
                read.losses[0].place,
                format!("record {index} at byte {}", index * record)
            );
            assert_eq!(read.losses[0].n_waveforms, Some(1));
        }
    }
}

/// A WaveDump record.
fn record(n_claimed: u32, event: u32, samples: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [24 + 2 * n_claimed, 0, 0, 3, event, 77] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    bytes
}

/// The header lines of a WaveDump text.
fn text_header(length: usize, channel: u32, event: usize) -> String {
    format!("Record Length: {length}\nChannel: {channel}\nEvent Number: {event}\n")
}

#[test]
fn a_header_of_a_billion_samples_is_not_believed() {
    let folder = Folder::new();
    let billion = 1_000_000_000;
    let alone = folder.file("damaged.dat", &record(billion, 0, &[1; 40]));
    let read = attempt(&alone).expect("it is a WaveDump header");
    assert!(read.waveforms.is_empty());
    assert_eq!(read.losses.len(), 1);

    let mut second = record(40, 0, &[1; 40]);
    second.extend(record(billion, 1, &[2; 40]));
    let read = attempt(&folder.file("damaged.dat", &second)).expect("the first record is whole");
    assert_eq!((read.waveforms.len(), read.losses.len()), (1, 1));
    assert_eq!(read.losses[0].event_id, Some(1));

    let text = format!("Record Length: {billion}\nBoardID: 0\nChannel: 0\nEvent Number: 0\n1\n2\n");
    let read =
        attempt(&folder.file("damaged.txt", text.as_bytes())).expect("it is a WaveDump text");
    assert_eq!((read.waveforms.len(), read.losses.len()), (0, 1));

    let header = |shape: &str| {
        let mut text = format!("{{'descr': '<u2', 'fortran_order': False, 'shape': {shape}, }}");
        text.extend(std::iter::repeat_n(' ', 117 - text.len()));
        text.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        bytes.extend(text.as_bytes());
        bytes
    };
    let error = attempt(&folder.file("damaged.npy", &header("(2, 1000000000)")));
    assert!(error.is_err_and(|error| error.to_string().contains("1000000000 samples")));
    let read =
        attempt(&folder.file("damaged.npy", &header("(1000000000, 100)"))).expect("an array");
    assert_eq!(read.losses.len(), 1);
}

#[test]
fn records_that_are_too_short_or_too_long_are_left_out_one_by_one() {
    let folder = Folder::new();
    let lengths = [40, 31, 40, 0, 40, MAX_SAMPLES + 1, 40, MAX_SAMPLES];
    let mut binary = Vec::new();
    let mut text = String::new();
    for (event, &length) in lengths.iter().enumerate() {
        let samples = vec![event as u16; length];
        binary.extend(record(length as u32, event as u32, &samples));
        text += &text_header(length, 3, event);
        text += &format!("{event}\n").repeat(length);
    }
    for path in [
        folder.file("damaged.dat", &binary),
        folder.file("damaged.txt", text.as_bytes()),
    ] {
        let read = attempt(&path).expect("a WaveDump file");
        let events: Vec<_> = read
            .waveforms
            .iter()
            .map(|waveform| waveform.event_id)
            .collect();
        assert_eq!(events, [0, 2, 4, 6, 7], "{}", path.display());
        let lost: Vec<_> = read.losses.iter().map(|loss| loss.event_id).collect();
        assert_eq!(lost, [Some(1), Some(3), Some(5)]);
        assert!(read.losses.iter().all(|loss| loss.channel_id == Some(3)));
    }
}

#[test]
fn a_text_record_with_another_number_of_samples_than_it_says_is_left_out() {
    let folder = Folder::new();
    let mut text = String::new();
    for (event, there) in [(0, 40), (1, 39), (2, 41), (3, 40)] {
        text += &text_header(40, 0, event);
        text += &"8000\n".repeat(there);
    }
    text = text.replacen("8000\n", "80x0\n", 1);
    let read = attempt(&folder.file("damaged.txt", text.as_bytes())).expect("a WaveDump text");
    assert_eq!(read.waveforms.len(), 1);
    assert_eq!(read.waveforms[0].event_id, 3);
    let lost: Vec<_> = read.losses.iter().map(|loss| loss.event_id).collect();
    assert_eq!(lost, [Some(0), Some(1), Some(2)]);
}

#[test]
fn files_that_hold_no_waveforms_are_refused_with_a_hint() {
    let folder = Folder::new();
    let cases: [(&str, &[u8], &str); 7] = [
        ("empty", b"", "is empty"),
        ("letter", b"Dear colleague,\n", "not in a format"),
        ("root", b"root\x00\x00\xec\x00", "ROOT"),
        ("gzip", b"\x1f\x8b\x08\x00", "gzip"),
        ("noise", &[0x5a; 5000], "not in a format"),
        ("numbers", b"1\n2\n3\n", "text of numbers"),
        (
            "zip",
            b"PK\x05\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
            "zip",
        ),
    ];
    for (name, bytes, expected) in cases {
        let error = open_error(&folder.file(name, bytes));
        assert_eq!(error.kind(), ErrorKind::Input);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        let is_container = ["gzip", "zip"].contains(&name);
        assert!(is_container || !error.hints().is_empty(), "{error}");
    }
    assert!(open_error(folder.0.path()).to_string().contains("folder"));
    assert!(
        open_error(&folder.path("absent"))
            .to_string()
            .contains("absent")
    );
}

#[test]
fn a_wavedump_without_headers_needs_its_record_length() {
    let folder = Folder::new();
    let samples: Vec<u16> = (0..200).map(|sample| 8000 + sample % 7).collect();
    let bytes: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .collect();
    let binary = folder.file("wave0.dat", &bytes[..2 * 190]);
    let lines: Vec<_> = samples.iter().take(190).map(u16::to_string).collect();
    let text = lines.join(
        "
",
    ) + "
";
    let text = folder.file("wave0.txt", text.as_bytes());
    for path in [binary, text] {
        let error = open_error(&path);
        assert!(
            matches!(error.hints(), [Hint::RecordSamples { .. }]),
            "{error:?}"
        );
        let options = ReadOptions {
            record_samples: Some(50),
            ..ReadOptions::default()
        };
        let read = read_with(&path, &options, BatchLimit::default()).expect("a record length");
        assert_eq!(read.waveforms.len(), 3);
        for (row, waveform) in read.waveforms.iter().enumerate() {
            assert_eq!(waveform.event_id, row as u64);
            let expected = samples[50 * row..50 * (row + 1)].to_vec();
            assert_eq!(waveform.samples, Values::U16(expected));
        }
        assert_eq!(read.losses.len(), 1, "the last record has 40 samples");
        let options = ReadOptions {
            record_samples: Some(0),
            ..ReadOptions::default()
        };
        assert!(io::open(&path, &options).is_err());
    }
}

#[test]
fn damaged_truth_is_an_error() {
    let folder = Folder::new();
    let path = folder.path("damaged.h5");
    write(&path, &counts(8, 40), 8, &truth()).expect("a file");
    let bytes = std::fs::read(&path).expect("the file");
    for bit in (0..bytes.len() * 8).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let begin = Instant::now();
        let _ = io::read_truth(&folder.file("damaged.h5", &damaged));
        assert!(begin.elapsed() < PATIENCE);
    }
    let whole = folder.file("whole.h5", &bytes);
    assert_eq!(read(&whole).waveforms.len(), 8);
}
