//! The layouts in which other programs store waveforms: tables, arrays, lists.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::formats::{Read, Values, read, read_with};
use arrow_array::builder::{ListBuilder, UInt16Builder};
use arrow_array::{
    ArrayRef, FixedSizeListArray, Float64Array, Int16Array, Int64Array, LargeListArray,
    RecordBatch, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use hdf5_pure::{
    AttrValue, CompoundTypeBuilder, Datatype, FileBuilder, make_i64_type, make_u16_type,
};
use nuwave::io::{self, BatchLimit, ReadOptions};
use nuwave::model::Polarity;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn save(folder: &tempfile::TempDir, builder: FileBuilder) -> PathBuf {
    let path = folder.path().join("run.h5");
    builder.write(&path).expect("room on the disk");
    path
}

fn refused(path: &Path, options: &ReadOptions) -> String {
    let error = io::open(path, options)
        .err()
        .expect("this cannot be opened");
    format!("{} {:?}", error.reason(), error.hints())
}

fn with(path: &Path, options: &ReadOptions) -> Read {
    read_with(path, options, BatchLimit::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// `n` rows of `m` counts.
fn rows(n: usize, m: usize) -> Vec<u16> {
    (0..n * m).map(|k| (k * 31 % 5000) as u16).collect()
}

fn assert_rows(read: &Read, n: usize, m: usize) {
    assert_eq!(read.waveforms.len(), n);
    for (row, waveform) in rows(n, m).chunks(m).zip(&read.waveforms) {
        assert_eq!(waveform.samples, Values::U16(row.to_vec()));
    }
}

/// A table with the fields `event`, `channel`, `samples` and an unrelated one.
fn table(builder: &mut FileBuilder, group: &str, names: [&str; 3], n: usize) {
    let array = Datatype::Array {
        base_type: Box::new(make_u16_type()),
        dimensions: vec![40],
    };
    let datatype = CompoundTypeBuilder::new()
        .field(names[0], make_i64_type())
        .f64_field("Baseline")
        .field(names[1], make_u16_type())
        .field(names[2], array)
        .build()
        .expect("a table");
    let mut bytes = Vec::new();
    for (row, samples) in rows(n, 40).chunks(40).enumerate() {
        bytes.extend((1000 + i64::try_from(row).expect("few rows")).to_le_bytes());
        bytes.extend(0.5_f64.to_le_bytes());
        bytes.extend((row as u16 % 3).to_le_bytes());
        bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    }
    let mut group = builder.create_group(group);
    group
        .create_dataset("Waveform")
        .with_compound_data(datatype, bytes, n as u64)
        .with_chunks(&[7])
        .with_deflate(1);
    builder.add_group(group.finish());
}

#[test]
fn a_table_of_records_is_found_by_its_fields() {
    let folder = folder();
    let mut builder = FileBuilder::new();
    table(
        &mut builder,
        "Readout",
        ["TriggerNo", "ChannelID", "Waveform"],
        100,
    );
    let path = save(&folder, builder);
    let read = read(&path);
    assert_rows(&read, 100, 40);
    assert!(
        read.info.layout.contains("Readout/Waveform"),
        "{}",
        read.info.layout
    );
    assert_eq!(read.info.n_samples, Some(40));
    for (row, waveform) in read.waveforms.iter().enumerate() {
        assert_eq!(waveform.event_id, 1000 + row as u64);
        assert_eq!(waveform.channel_id, row as u32 % 3);
    }
}

#[test]
fn a_table_with_other_names_is_read_when_they_are_given() {
    let folder = folder();
    let mut builder = FileBuilder::new();
    table(&mut builder, "Data", ["Nummer", "Kanal", "Kurve"], 10);
    let path = save(&folder, builder);
    let error = refused(&path, &ReadOptions::default());
    assert!(
        error.contains("no table of waveforms") && error.contains("Kurve"),
        "{error}"
    );
    let options = ReadOptions {
        table: Some("Data/Waveform".to_owned()),
        event_column: Some("Nummer".to_owned()),
        channel_column: Some("Kanal".to_owned()),
        samples_column: Some("Kurve".to_owned()),
        ..ReadOptions::default()
    };
    assert_rows(&with(&path, &options), 10, 40);
    let partly = ReadOptions {
        channel_column: None,
        ..options
    };
    let error = refused(&path, &partly);
    assert!(
        error.contains("channel") && error.contains("Kanal"),
        "{error}"
    );
}

#[test]
fn fields_that_may_be_events_and_channels_are_suggested() {
    let folder = folder();
    let mut builder = FileBuilder::new();
    table(&mut builder, "Data", ["evt_nr", "sensor", "Kurve"], 10);
    let path = save(&folder, builder);
    let error = refused(&path, &ReadOptions::default());
    for part in ["no table of waveforms", "UseColumns", "evt_nr", "sensor"] {
        assert!(error.contains(part), "{error}");
    }
    let options = ReadOptions {
        event_column: Some("evt_nr".to_owned()),
        channel_column: Some("sensor".to_owned()),
        ..ReadOptions::default()
    };
    assert_rows(&with(&path, &options), 10, 40);
}

#[test]
fn samples_that_are_not_there_are_named() {
    let folder = folder();
    let options = ReadOptions {
        samples_column: Some("nope".to_owned()),
        ..ReadOptions::default()
    };
    let error = refused(&save(&folder, arrays(4)), &options);
    assert!(error.contains("no dataset or field `nope`"), "{error}");
}

#[test]
fn of_two_tables_one_has_to_be_chosen() {
    let folder = folder();
    let mut builder = FileBuilder::new();
    for group in ["Left", "Right"] {
        table(
            &mut builder,
            group,
            ["TriggerNo", "ChannelID", "Waveform"],
            5,
        );
    }
    let path = save(&folder, builder);
    let error = refused(&path, &ReadOptions::default());
    for part in ["/Left/Waveform", "/Right/Waveform", "ChooseTable"] {
        assert!(error.contains(part), "{error}");
    }
    for table in ["Right/Waveform", "/Right/Waveform", "Right"] {
        let options = ReadOptions {
            table: Some(table.to_owned()),
            ..ReadOptions::default()
        };
        assert_rows(&with(&path, &options), 5, 40);
    }
    let options = ReadOptions {
        table: Some("Middle".to_owned()),
        ..ReadOptions::default()
    };
    assert!(refused(&path, &options).contains("Middle"));
}

/// Plain arrays at the root, in chunks that split rows and columns.
fn arrays(n: usize) -> FileBuilder {
    let mut builder = FileBuilder::new();
    builder
        .create_dataset("Waveform")
        .with_u16_data(&rows(n, 50))
        .with_shape(&[n as u64, 50])
        .with_chunks(&[13, 17])
        .with_deflate(1);
    builder
}

#[test]
fn arrays_at_the_root_are_read_with_what_their_attributes_say() {
    let polarities = [
        (AttrValue::I64(-1), Some(Polarity::Negative)),
        (AttrValue::I64(1), Some(Polarity::Positive)),
        (
            AttrValue::String("negative".into()),
            Some(Polarity::Negative),
        ),
        (AttrValue::String("sideways".into()), None),
    ];
    for (value, polarity) in polarities {
        let folder = folder();
        let mut builder = arrays(100);
        let ids: Vec<i32> = (0..100).collect();
        builder.create_dataset("EventID").with_i32_data(&ids);
        let channels: Vec<i32> = ids.iter().map(|id| id % 5).collect();
        builder.create_dataset("ChannelID").with_i32_data(&channels);
        builder.set_attr("dt_ns", AttrValue::F64(2.0));
        builder.set_attr("bits", AttrValue::I64(14));
        builder.set_attr("polarity", value);
        let read = read(&save(&folder, builder));
        assert_rows(&read, 100, 50);
        assert_eq!(read.info.sampling_ns, Some(2.0));
        assert_eq!(read.info.adc_bits, Some(14));
        assert_eq!(read.info.polarity, polarity);
        assert!(
            read.waveforms
                .iter()
                .all(|it| u64::from(it.channel_id) == it.event_id % 5)
        );
    }
}

#[test]
fn arrays_without_events_and_channels_count_their_rows() {
    let folder = folder();
    let read = read(&save(&folder, arrays(30)));
    assert_rows(&read, 30, 50);
    let layout = &read.info.layout;
    assert!(
        layout.contains("event = row number") && layout.contains("channel = 0"),
        "{layout}"
    );
    for (row, waveform) in read.waveforms.iter().enumerate() {
        assert_eq!((waveform.event_id, waveform.channel_id), (row as u64, 0));
    }
}

#[test]
fn ids_that_are_no_ids_become_losses() {
    let folder = folder();
    let mut builder = arrays(4);
    builder
        .create_dataset("EventID")
        .with_i64_data(&[1, -2, 3, 4]);
    builder
        .create_dataset("ChannelID")
        .with_i64_data(&[0, 0, 1 << 32, 7]);
    let read = read(&save(&folder, builder));
    let events: Vec<_> = read
        .waveforms
        .iter()
        .map(|waveform| waveform.event_id)
        .collect();
    assert_eq!(events, [1, 4]);
    let places: Vec<_> = read.losses.iter().map(|loss| loss.place.as_str()).collect();
    assert_eq!(places, ["row 1", "row 2"]);
    assert_eq!(read.losses[1].event_id, Some(3));
}

#[test]
fn rows_may_be_shorter_than_the_array_where_their_length_is_given() {
    let folder = folder();
    let mut builder = arrays(4);
    builder
        .create_dataset("n_samples")
        .with_u32_data(&[50, 40, 20, 51]);
    let read = read(&save(&folder, builder));
    let all = rows(4, 50);
    assert_eq!(read.info.n_samples, None);
    assert_eq!(read.waveforms.len(), 2);
    assert_eq!(read.waveforms[0].samples, Values::U16(all[..50].to_vec()));
    assert_eq!(read.waveforms[1].samples, Values::U16(all[50..90].to_vec()));
    assert_eq!(read.losses.len(), 2);
}

#[test]
fn columns_of_another_length_are_refused() {
    let folder = folder();
    let mut builder = arrays(4);
    builder.create_dataset("EventID").with_i64_data(&[1, 2, 3]);
    let error = refused(&save(&folder, builder), &ReadOptions::default());
    assert!(
        error.contains("/EventID") && error.contains("4 waveforms"),
        "{error}"
    );
}

#[test]
fn rows_of_an_impossible_length_are_refused() {
    for m in [0, 31, 65_537] {
        let folder = folder();
        let mut builder = FileBuilder::new();
        builder
            .create_dataset("Waveform")
            .with_u16_data(&rows(2, m))
            .with_shape(&[2, m as u64]);
        let error = refused(&save(&folder, builder), &ReadOptions::default());
        assert!(error.contains(&format!("{m} samples")), "{error}");
    }
}

#[test]
fn a_block_in_front_of_the_file_is_skipped() {
    let folder = folder();
    let mut builder = arrays(20);
    builder.with_userblock(2048);
    assert_rows(&read(&save(&folder, builder)), 20, 50);
}

fn parquet(folder: &tempfile::TempDir, records: &RecordBatch) -> PathBuf {
    let path = folder.path().join("run.parquet");
    let file = std::fs::File::create(&path).expect("a file");
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, records.schema(), None)
        .expect("a table that Parquet can hold");
    writer.write(records).expect("room on the disk");
    writer.close().expect("room on the disk");
    path
}

fn arrow_stream(folder: &tempfile::TempDir, records: &RecordBatch) -> PathBuf {
    let path = folder.path().join("run.arrows");
    let file = std::fs::File::create(&path).expect("a file");
    let mut writer =
        arrow_ipc::writer::StreamWriter::try_new(file, &records.schema()).expect("a stream");
    // A second batch: rows are counted through.
    for _ in 0..2 {
        writer.write(records).expect("room on the disk");
    }
    writer.finish().expect("room on the disk");
    path
}

fn records(samples: ArrayRef) -> RecordBatch {
    let n = samples.len() as u64;
    let columns: [(&str, ArrayRef); 3] = [
        (
            "event_id",
            Arc::new(Int64Array::from_iter_values((0..).take(samples.len()))),
        ),
        (
            "channel_id",
            Arc::new(UInt16Array::from_iter_values((0..n).map(|row| row as u16))),
        ),
        ("samples", samples),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

#[test]
fn lists_of_every_kind_are_read() {
    let item = |data_type| Arc::new(Field::new_list_field(data_type, true));
    let counts: ArrayRef = Arc::new(UInt16Array::from(rows(6, 40)));
    let fixed: ArrayRef = Arc::new(FixedSizeListArray::new(
        item(DataType::UInt16),
        40,
        Arc::clone(&counts),
        None,
    ));
    let large: ArrayRef = Arc::new(LargeListArray::new(
        item(DataType::UInt16),
        OffsetBuffer::from_lengths([40; 6]),
        counts,
        None,
    ));
    for samples in [fixed, large] {
        let folder = folder();
        let records = records(samples);
        assert_rows(&read(&parquet(&folder, &records)), 6, 40);
        let stream = read(&arrow_stream(&folder, &records));
        assert_eq!(stream.info.format, "Arrow IPC stream");
        assert_eq!(stream.waveforms.len(), 12);
        assert_eq!(stream.waveforms[..6], stream.waveforms[6..]);
    }
}

#[test]
fn signed_and_float_lists_are_kept_as_floats() {
    let values: Vec<i16> = rows(3, 40)
        .into_iter()
        .map(|count| count.cast_signed() - 2000)
        .collect();
    let expected: Vec<f32> = values.iter().map(|&value| f32::from(value)).collect();
    let float = values.iter().map(|&value| f64::from(value));
    let arrays: [(DataType, ArrayRef); 2] = [
        (DataType::Int16, Arc::new(Int16Array::from(values.clone()))),
        (
            DataType::Float64,
            Arc::new(Float64Array::from_iter_values(float)),
        ),
    ];
    for (data_type, values) in arrays {
        let folder = folder();
        let item = Arc::new(Field::new_list_field(data_type, true));
        let lists = FixedSizeListArray::new(item, 40, values, None);
        let read = read(&parquet(&folder, &records(Arc::new(lists))));
        for (row, waveform) in expected.chunks(40).zip(&read.waveforms) {
            assert_eq!(waveform.samples, Values::F32(row.to_vec()));
        }
    }
}

#[test]
fn nulls_become_losses_with_their_row() {
    let folder = folder();
    let mut lists = ListBuilder::new(UInt16Builder::new());
    for row in 0..5 {
        for sample in 0..40 {
            let null = row == 3 && sample == 7;
            lists.values().append_option((!null).then_some(sample));
        }
        lists.append(row != 1);
    }
    let columns: [(&str, ArrayRef); 3] = [
        (
            "event_id",
            Arc::new(UInt64Array::from(vec![
                Some(1),
                Some(2),
                None,
                Some(4),
                Some(5),
            ])),
        ),
        ("channel_id", Arc::new(UInt32Array::from(vec![7; 5]))),
        ("samples", Arc::new(lists.finish())),
    ];
    let records = RecordBatch::try_from_iter(columns).expect("columns of one length");
    for path in [parquet(&folder, &records), arrow_stream(&folder, &records)] {
        let read = read(&path);
        let events: Vec<_> = read
            .waveforms
            .iter()
            .map(|waveform| waveform.event_id)
            .collect();
        assert_eq!(events[..2], [1, 5]);
        let places: Vec<_> = read.losses.iter().map(|loss| loss.place.as_str()).collect();
        assert_eq!(places[..3], ["row 1", "row 2", "row 3"]);
    }
}

#[test]
fn a_table_without_the_columns_says_what_it_has() {
    let folder = folder();
    let columns: [(&str, ArrayRef); 1] = [("energy", Arc::new(Float64Array::from(vec![1.0])))];
    let records = RecordBatch::try_from_iter(columns).expect("one column");
    let error = refused(&parquet(&folder, &records), &ReadOptions::default());
    assert!(
        error.contains("event_id") && error.contains("energy"),
        "{error}"
    );
}

/// A `.npy` by hand.
fn npy(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    text.extend(std::iter::repeat_n(' ', 117 - text.len()));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn numpy_arrays_of_every_type_and_byte_order_are_read() {
    let folder = folder();
    let path = folder.path().join("run.npy");
    let values: Vec<u8> = (0..80).collect();
    let cases: [(&str, Vec<u8>); 6] = [
        ("|u1", values.clone()),
        (
            ">u2",
            values
                .iter()
                .flat_map(|&value| u16::from(value).to_be_bytes())
                .collect(),
        ),
        (
            ">i4",
            values
                .iter()
                .flat_map(|&value| i32::from(value).to_be_bytes())
                .collect(),
        ),
        (
            "<i8",
            values
                .iter()
                .flat_map(|&value| i64::from(value).to_le_bytes())
                .collect(),
        ),
        (
            ">f4",
            values
                .iter()
                .flat_map(|&value| f32::from(value).to_be_bytes())
                .collect(),
        ),
        (
            "<f8",
            values
                .iter()
                .flat_map(|&value| f64::from(value).to_le_bytes())
                .collect(),
        ),
    ];
    for (descr, data) in cases {
        std::fs::write(&path, npy(descr, "False", "(2, 40)", &data)).expect("room on the disk");
        let read = read(&path);
        let unsigned = descr.contains('u');
        for (row, waveform) in values.chunks(40).zip(&read.waveforms) {
            let expected = if unsigned {
                Values::U16(row.iter().map(|&value| u16::from(value)).collect())
            } else {
                Values::F32(row.iter().map(|&value| f32::from(value)).collect())
            };
            assert_eq!(waveform.samples, expected, "{descr}");
        }
        assert_eq!(read.waveforms.len(), 2);
    }
}

#[test]
fn numpy_arrays_that_cannot_be_waveforms_are_refused() {
    let folder = folder();
    let path = folder.path().join("run.npy");
    let data = vec![0; 2 * 40 * 8];
    let cases = [
        (npy("<f8", "False", "(80,)", &data), "dimensions"),
        (npy("<f8", "True", "(2, 40)", &data), "Fortran"),
        (npy("<c8", "False", "(2, 40)", &data), "c8"),
        (npy("<f8", "False", "(4, 20)", &data), "20 samples"),
    ];
    for (bytes, expected) in cases {
        std::fs::write(&path, bytes).expect("room on the disk");
        let error = refused(&path, &ReadOptions::default());
        assert!(error.contains(expected), "{error}");
    }
}
