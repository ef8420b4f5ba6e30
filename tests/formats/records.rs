//! Tables of records as other programs write them: without channels, with tensors, with several streams or arrays in one file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::formats::{Read, read_with, values};
use arrow_array::builder::{ListBuilder, UInt16Builder};
use arrow_array::{
    ArrayRef, FixedSizeListArray, Float64Array, RecordBatch, UInt16Array, UInt64Array,
};
use arrow_schema::{DataType, Field, Metadata, Schema};
use nuwave::io::{self, BatchLimit, ReadOptions};

const SAMPLES: usize = 40;
/// The same as the type of Arrow's lengths.
const LENGTH: i32 = 40;

fn counts(first: u64) -> Vec<u16> {
    (0..4 * SAMPLES as u64)
        .map(|k| ((first + k) * 31 % 5000) as u16)
        .collect()
}

/// Four rows with events from `first` on, and no channel.
fn records(first: u64) -> RecordBatch {
    let mut lists = ListBuilder::new(UInt16Builder::new());
    for row in counts(first).chunks(SAMPLES) {
        lists.append_value(row.iter().map(|&count| Some(count)));
    }
    let events: ArrayRef = Arc::new(UInt64Array::from_iter_values(first..first + 4));
    let starts: ArrayRef = Arc::new(Float64Array::from(vec![5.0, 16.0, 27.0, 38.0]));
    let columns: [(&str, ArrayRef); 3] = [
        ("event_id", events),
        ("timestamp", starts),
        ("samples", Arc::new(lists.finish())),
    ];
    RecordBatch::try_from_iter(columns).expect("columns")
}

fn parquet(path: &Path, records: &RecordBatch) {
    let file = std::fs::File::create(path).expect("room on the disk");
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(file, records.schema(), None).expect("a writer");
    writer.write(records).expect("room on the disk");
    writer.close().expect("room on the disk");
}

fn stream(records: &RecordBatch) -> Vec<u8> {
    let mut writer =
        arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &records.schema()).expect("a writer");
    writer.write(records).expect("memory");
    writer.finish().expect("memory");
    writer.into_inner().expect("memory")
}

fn read(path: &Path, options: &ReadOptions) -> Read {
    read_with(path, options, BatchLimit::default())
        .unwrap_or_else(|error| panic!("{}: {}", path.display(), error.reason()))
}

/// The same four rows as Parquet file and as Arrow stream.
fn files(folder: &Path) -> [PathBuf; 2] {
    let paths = ["run.parquet", "run.arrows"].map(|name| folder.join(name));
    parquet(&paths[0], &records(10));
    std::fs::write(&paths[1], stream(&records(10))).expect("room on the disk");
    paths
}

#[test]
fn a_stated_channel_is_that_of_tables_without_channels() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in files(folder.path()) {
        assert!(io::open(&path, &ReadOptions::default()).is_err());
        let options = ReadOptions {
            channel_id: Some("7".parse().expect("a number")),
            ..ReadOptions::default()
        };
        let read = read(&path, &options);
        let ids: Vec<_> = read
            .waveforms
            .iter()
            .map(|it| (it.event_id, it.channel_id))
            .collect();
        assert_eq!(
            ids,
            [(10, 7), (11, 7), (12, 7), (13, 7)],
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_column_of_times_is_named_and_taken_if_the_user_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in files(folder.path()) {
        let mut options = ReadOptions {
            channel_id: Some("7".parse().expect("a number")),
            ..ReadOptions::default()
        };
        let without = read(&path, &options);
        assert!(without.waveforms.iter().all(|it| it.start_ns == 0.0));
        let note = without.info.remarks.first().expect("a note");
        assert!(
            note.text.starts_with("`timestamp` is not used"),
            "{}",
            note.text
        );
        let hint = format!("{:?}", note.hint);
        assert!(
            hint.contains("UseColumns") && hint.contains("start"),
            "{hint}"
        );
        options.start_column = Some("timestamp".to_owned());
        let with = read(&path, &options);
        let starts: Vec<f64> = with.waveforms.iter().map(|it| it.start_ns).collect();
        assert_eq!(starts, [5.0, 16.0, 27.0, 38.0], "{}", path.display());
        assert!(with.info.remarks.is_empty(), "{:?}", with.info.remarks);
    }
}

#[test]
fn streams_one_after_another_are_read_and_other_bytes_are_a_loss() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.arrows");
    let options = ReadOptions {
        channel_id: Some("0".parse().expect("a number")),
        ..ReadOptions::default()
    };
    let both = [stream(&records(10)), stream(&records(50))].concat();
    std::fs::write(&path, &both).expect("room on the disk");
    let found = read(&path, &options);
    let events: Vec<u64> = found.waveforms.iter().map(|it| it.event_id).collect();
    assert_eq!(events, [10, 11, 12, 13, 50, 51, 52, 53]);
    let expected: Vec<f32> = counts(50).into_iter().map(f32::from).collect();
    assert_eq!(values(&found.waveforms[4]), &expected[..SAMPLES]);
    assert!(found.losses.is_empty(), "{:?}", found.losses);
    let mut more = both;
    more.extend([7; 100]);
    std::fs::write(&path, &more).expect("room on the disk");
    let found = read(&path, &options);
    assert_eq!(found.waveforms.len(), 8);
    assert_eq!(found.losses.len(), 1);
    assert!(
        found.losses[0].reason.contains("100 bytes follow"),
        "{:?}",
        found.losses
    );
}

#[test]
fn bytes_after_an_array_are_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.npy");
    let text = format!("{{'descr': '<u2', 'fortran_order': False, 'shape': (4, {SAMPLES}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(format!("{text:117}\n").as_bytes());
    bytes.extend(counts(0).iter().flat_map(|count| count.to_le_bytes()));
    std::fs::write(&path, &bytes).expect("room on the disk");
    assert!(
        !read(&path, &ReadOptions::default())
            .info
            .remarks
            .iter()
            .any(|it| it.is_warning)
    );
    std::fs::write(&path, bytes.repeat(2)).expect("room on the disk");
    let found = read(&path, &ReadOptions::default());
    assert_eq!(found.waveforms.len(), 4);
    let warning = found.info.remarks.iter().find(|it| it.is_warning);
    let text = &warning.expect("a warning").text;
    assert!(
        text.starts_with(&format!("{} bytes follow", bytes.len())),
        "{text}"
    );
}

#[test]
fn tensors_of_several_axes_are_no_waveforms() {
    let folder = tempfile::tempdir().expect("a folder");
    for (shape, is_read) in [("[40]", true), ("[2,20]", false)] {
        let item = Arc::new(Field::new_list_field(DataType::UInt16, true));
        let samples = FixedSizeListArray::new(
            Arc::clone(&item),
            LENGTH,
            Arc::new(UInt16Array::from(counts(0))),
            None,
        );
        let field = Field::new("samples", DataType::FixedSizeList(item, LENGTH), true)
            .with_metadata(Metadata::from([
                (
                    "ARROW:extension:name",
                    "arrow.fixed_shape_tensor".to_owned(),
                ),
                ("ARROW:extension:metadata", format!("{{\"shape\":{shape}}}")),
            ]));
        let ids = [
            Field::new("event_id", DataType::UInt64, false),
            Field::new("channel_id", DataType::UInt64, false),
        ];
        let [event, channel] = ids;
        let schema = Arc::new(Schema::new(vec![event, channel, field]));
        let numbers: ArrayRef = Arc::new(UInt64Array::from(vec![0, 1, 2, 3]));
        let columns = vec![Arc::clone(&numbers), numbers, Arc::new(samples) as ArrayRef];
        let records = RecordBatch::try_new(schema, columns).expect("columns");
        let paths = ["run.parquet", "run.arrows"].map(|name| folder.path().join(name));
        parquet(&paths[0], &records);
        std::fs::write(&paths[1], stream(&records)).expect("room on the disk");
        for path in paths {
            let opened = io::open(&path, &ReadOptions::default());
            match opened.err() {
                None => assert!(is_read, "{shape} {}", path.display()),
                Some(error) => assert!(
                    !is_read && error.to_string().contains("a tensor of 2 x 20"),
                    "{shape}: {error}"
                ),
            }
        }
    }
}

#[test]
fn encrypted_files_are_refused_as_such() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.parquet");
    std::fs::write(&path, [b"PARE".as_slice(), &[7; 500], b"PARE"].concat()).expect("room");
    let refused = io::open(&path, &ReadOptions::default())
        .err()
        .expect("refused");
    assert!(refused.to_string().contains("encrypted"), "{refused}");
}
