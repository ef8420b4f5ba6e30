//! One rule for the names of columns in every format, arrays of three axes in NumPy files, and large chunks of HDF5.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::formats::{Read, Values, read_with, values};
use arrow_array::builder::{ListBuilder, UInt16Builder};
use arrow_array::{ArrayRef, RecordBatch, UInt32Array, UInt64Array};
use hdf5_pure::FileBuilder;
use nuwave::io::{self, BatchLimit, ReadOptions};

const SAMPLES: usize = 40;

fn counts(n: usize) -> Vec<u16> {
    (0..n * SAMPLES).map(|k| (k * 31 % 5000) as u16).collect()
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    text.extend(std::iter::repeat_n(' ', 117 - text.len()));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

fn le16(values: &[u16]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn npz(path: &Path, members: &[(&str, Vec<u8>)]) {
    let file = std::fs::File::create(path).expect("room on the disk");
    let mut archive = zip::ZipWriter::new(file);
    for (name, bytes) in members {
        let options = zip::write::SimpleFileOptions::default();
        archive
            .start_file(format!("{name}.npy"), options)
            .expect("a member");
        archive.write_all(bytes).expect("room on the disk");
    }
    archive.finish().expect("an archive");
}

/// Four waveforms with events 10 to 13 and channels 0 to 3 under these names, in every format that has names.
fn files(folder: &Path, [event, channel, samples]: [&str; 3]) -> Vec<PathBuf> {
    let paths = ["run.h5", "run.npz", "run.parquet", "run.arrow"].map(|name| folder.join(name));
    let events: Vec<u64> = (10..14).collect();
    let channels: Vec<u32> = (0..4).collect();
    let mut builder = FileBuilder::new();
    builder.create_dataset(event).with_u64_data(&events);
    builder.create_dataset(channel).with_u32_data(&channels);
    let data = builder.create_dataset(samples);
    data.with_u16_data(&counts(4))
        .with_shape(&[4, SAMPLES as u64]);
    builder.write(&paths[0]).expect("room on the disk");
    let ids = |size: usize, values: &[u64]| {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes()[..size].to_vec())
            .collect();
        npy(&format!("<u{size}"), "(4,)", &bytes)
    };
    npz(
        &paths[1],
        &[
            (event, ids(8, &events)),
            (channel, ids(4, &[0, 1, 2, 3])),
            (samples, npy("<u2", "(4, 40)", &le16(&counts(4)))),
        ],
    );
    let mut lists = ListBuilder::new(UInt16Builder::new());
    for row in counts(4).chunks(SAMPLES) {
        lists.append_value(row.iter().map(|&count| Some(count)));
    }
    let columns: [(&str, ArrayRef); 3] = [
        (event, Arc::new(UInt64Array::from(events))),
        (channel, Arc::new(UInt32Array::from(channels))),
        (samples, Arc::new(lists.finish())),
    ];
    let records = RecordBatch::try_from_iter(columns).expect("columns");
    let file = std::fs::File::create(&paths[2]).expect("room on the disk");
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(file, records.schema(), None).expect("a writer");
    writer.write(&records).expect("room on the disk");
    writer.close().expect("room on the disk");
    let file = std::fs::File::create(&paths[3]).expect("room on the disk");
    let mut writer =
        arrow_ipc::writer::FileWriter::try_new(file, &records.schema()).expect("a writer");
    writer.write(&records).expect("room on the disk");
    writer.finish().expect("room on the disk");
    paths.to_vec()
}

fn read(path: &Path, options: &ReadOptions) -> Read {
    read_with(path, options, BatchLimit::default())
        .unwrap_or_else(|error| panic!("{}: {}", path.display(), error.reason()))
}

fn ids(read: &Read) -> Vec<(u64, u32)> {
    let waveforms = read.waveforms.iter();
    waveforms.map(|it| (it.event_id, it.channel_id)).collect()
}

const EXPECTED: [(u64, u32); 4] = [(10, 0), (11, 1), (12, 2), (13, 3)];

#[test]
fn every_format_takes_the_same_names_and_says_so() {
    for names in [
        ["ev", "ch", "wf"],
        ["TriggerNo", "ChannelID", "Waveform"],
        ["evt", "pmt_id", "traces"],
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        for path in files(folder.path(), names) {
            let read = read(&path, &ReadOptions::default());
            assert_eq!(ids(&read), EXPECTED, "{}", path.display());
            let note = &read.info.remarks.first().expect("a note").text;
            for name in names {
                assert!(
                    note.contains(&format!("`{name}`")),
                    "{}: {note}",
                    path.display()
                );
            }
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    for path in files(folder.path(), ["event_id", "channel_id", "samples"]) {
        assert!(read(&path, &ReadOptions::default()).info.remarks.is_empty());
    }
}

#[test]
fn names_that_are_not_taken_are_named_with_the_columns_to_give() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in files(folder.path(), ["evt_nr", "sensor", "samples"]) {
        let is_table = path
            .extension()
            .is_some_and(|it| it == "parquet" || it == "arrow");
        let text = if is_table {
            // A table without the columns is refused.
            let error = io::open(&path, &ReadOptions::default())
                .err()
                .expect("no columns");
            format!("{:?}", error.hints())
        } else {
            let read = read(&path, &ReadOptions::default());
            assert_eq!(ids(&read), [(0, 0), (1, 0), (2, 0), (3, 0)]);
            let warning = read.info.remarks.iter().find(|it| it.is_warning);
            format!("{:?}", warning.expect("a warning"))
        };
        assert!(
            text.contains("UseColumns") && text.contains("evt_nr") && text.contains("sensor"),
            "{text}"
        );
        let options = ReadOptions {
            event_column: Some("evt_nr".to_owned()),
            channel_column: Some("sensor".to_owned()),
            ..ReadOptions::default()
        };
        let read = read(&path, &options);
        assert_eq!(ids(&read), EXPECTED, "{}", path.display());
        assert!(read.info.remarks.is_empty(), "{:?}", read.info.remarks);
    }
}

#[test]
fn integers_whose_names_say_nothing_are_all_named() {
    for names in [
        ["eid", "cid", "samples"],
        ["spill", "tube", "samples"],
        ["eventCounter", "board", "samples"],
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        for path in &files(folder.path(), names)[..2] {
            let read = read(path, &ReadOptions::default());
            assert_eq!(ids(&read), [(0, 0), (1, 0), (2, 0), (3, 0)]);
            let remarks = &read.info.remarks;
            let warning = remarks.iter().find(|it| it.is_warning).expect("a warning");
            for name in &names[..2] {
                let quoted = format!("`{name}`");
                assert!(warning.text.contains(&quoted), "{}", warning.text);
            }
            assert!(warning.hint.is_some());
        }
    }
}

#[test]
fn a_single_number_is_not_one_for_each_waveform() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.npz");
    let samples = npy("<u2", "(4, 40)", &le16(&counts(4)));
    for (name, descr, data) in [
        ("channel_id", "<i8", 3_i64.to_le_bytes()),
        ("start_ns", "<f8", 5_f64.to_le_bytes()),
    ] {
        let single = npy(descr, "()", &data);
        npz(&path, &[("samples", samples.clone()), (name, single)]);
        let error = io::open(&path, &ReadOptions::default())
            .err()
            .expect("one number");
        let text = error.reason();
        assert!(
            text.contains(name) && text.contains("is a single number"),
            "{text}"
        );
    }
}

#[test]
fn a_number_per_waveform_is_not_taken_for_the_samples() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut lists = ListBuilder::new(UInt16Builder::new());
    for row in counts(4).chunks(SAMPLES) {
        lists.append_value(row.iter().map(|&count| Some(count)));
    }
    let numbers: ArrayRef = Arc::new(UInt32Array::from(vec![700, 800, 900, 1000]));
    let columns: [(&str, ArrayRef); 4] = [
        ("event", Arc::new(UInt64Array::from(vec![10, 11, 12, 13]))),
        ("channel", Arc::new(UInt32Array::from(vec![0, 1, 2, 3]))),
        // A charge in ADC counts.
        ("adc", numbers),
        ("trace", Arc::new(lists.finish())),
    ];
    let records = RecordBatch::try_from_iter(columns).expect("columns");
    let path = folder.path().join("run.parquet");
    let file = std::fs::File::create(&path).expect("room on the disk");
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(file, records.schema(), None).expect("a writer");
    writer.write(&records).expect("room on the disk");
    writer.close().expect("room on the disk");
    let read = read(&path, &ReadOptions::default());
    assert_eq!(ids(&read), EXPECTED);
    let expected: Vec<f32> = counts(4).into_iter().map(f32::from).collect();
    assert_eq!(values(&read.waveforms[3]), &expected[3 * SAMPLES..]);
}

#[test]
fn numpy_arrays_of_three_axes_are_events_channels_samples() {
    let folder = tempfile::tempdir().expect("a folder");
    let samples = npy("<u2", "(4, 3, 40)", &le16(&counts(12)));
    let plain = folder.path().join("run.npy");
    std::fs::write(&plain, &samples).expect("room on the disk");
    let archive = folder.path().join("run.npz");
    let events = npy("<u2", "(4,)", &le16(&[7, 8, 9, 10]));
    let channels = npy("<u2", "(3,)", &le16(&[30, 20, 10]));
    npz(
        &archive,
        &[
            ("samples", samples.clone()),
            ("event_id", events),
            ("channel_id", channels),
        ],
    );
    for (path, first, channels) in [(&plain, 0, [0, 1, 2]), (&archive, 7, [30, 20, 10])] {
        let read = read(path, &ReadOptions::default());
        let expected: Vec<_> = (0..12)
            .map(|row| (first + row as u64 / 3, channels[row % 3]))
            .collect();
        assert_eq!(ids(&read), expected);
        for (row, waveform) in counts(12).chunks(SAMPLES).zip(&read.waveforms) {
            assert_eq!(waveform.samples, Values::U16(row.to_vec()));
        }
        assert!(
            read.info
                .remarks
                .iter()
                .any(|it| it.text.contains("4 events x 3 channels"))
        );
    }
    // One channel for each entry of the first axis: the second axis is something else.
    let channels = npy("<u2", "(4,)", &le16(&[0, 1, 2, 3]));
    npz(&archive, &[("samples", samples), ("channel_id", channels)]);
    let error = io::open(&archive, &ReadOptions::default())
        .err()
        .expect("ambiguous");
    assert!(error.reason().contains("4 x 3 x 40"), "{}", error.reason());
}

#[test]
fn half_floats_of_numpy_are_read_and_other_types_refused_with_their_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.npy");
    // 1.5 and -2 as half floats.
    let data: Vec<u8> = [0x00, 0x3e, 0x00, 0xc0].repeat(40);
    std::fs::write(&path, npy("<f2", "(2, 40)", &data)).expect("room on the disk");
    let whole = read(&path, &ReadOptions::default());
    assert_eq!(
        whole.waveforms[1].samples,
        Values::F32([1.5, -2.0].repeat(20))
    );
    for (descr, words) in [
        ("<c8", "complex numbers"),
        ("|O", "Python objects"),
        ("<f16", "16 bytes"),
    ] {
        std::fs::write(&path, npy(descr, "(2, 40)", &[0; 2 * 40 * 16])).expect("room on the disk");
        let error = io::open(&path, &ReadOptions::default())
            .err()
            .expect("no samples");
        assert!(error.reason().contains(words), "{}", error.reason());
    }
}

#[test]
fn a_large_chunk_is_decoded_once_and_gives_all_rows() {
    const N: usize = 20_000;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.h5");
    let whole: Vec<u16> = (0..N * 300)
        .map(|k| (k / 300 * 7 + k % 300) as u16)
        .collect();
    for (chunk_rows, width) in [(N as u64, 300), (15_000, 300), (N as u64, 128)] {
        for filtered in [true, false] {
            let mut builder = FileBuilder::new();
            let data = builder.create_dataset("samples");
            let data = data.with_u16_data(&whole).with_shape(&[N as u64, 300]);
            let data = data.with_chunks(&[chunk_rows, width]);
            if filtered {
                data.with_shuffle().with_deflate(1);
            }
            builder.write(&path).expect("room on the disk");
            let read = read(&path, &ReadOptions::default());
            assert_eq!(read.waveforms.len(), N);
            for (row, waveform) in whole.chunks(300).zip(&read.waveforms) {
                assert_eq!(waveform.samples, Values::U16(row.to_vec()));
            }
        }
    }
}
