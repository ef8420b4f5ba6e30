//! The calibration file: Parquet, one row a channel, a null channel for the default of all others.
//!
//! | column | type | unit | where it is missing or null |
//! |---|---|---|---|
//! | `channel_id` | u32 | | null: the default of all channels without a row |
//! | `template_adc` | list of f32 | ADC counts | an error |
//! | `noise_adc` | f32 | ADC counts | 0: measured on every waveform |
//! | `time_offset_ns` | f32 | ns | 0 |
//! | `dark_rate_hz` | f32 | Hz | 0 |
//! | `charge_sigma_pe` | f32 | mean single-PE charge | 0.3 |
//! | `time_sigma_ns` | f32 | ns | 0: not known |
//! | `sampling_ns` | f32 | ns | 1 |
//! | `flags` | u32 | | 0 |
//!
//! Any integer type is taken for the integers and either float type for the floats, so that a file from pandas or
//! polars is read as it comes. Other columns are ignored.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, Float32Array, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::bounds;
use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::model::{Calibration, ChannelCalibration, Flags, MAX_SAMPLES};

/// Single-PE charge spread of a channel whose file does not say: that of a dynode PMT.
pub const DEFAULT_CHARGE_SIGMA_PE: f32 = 0.3;
/// Sampling interval of a file that does not say.
pub const DEFAULT_SAMPLING_NS: f32 = 1.0;

const FLOAT_COLUMNS: [&str; 6] = [
    "noise_adc",
    "time_offset_ns",
    "dark_rate_hz",
    "charge_sigma_pe",
    "time_sigma_ns",
    "sampling_ns",
];
const FORMAT_HINT: &str = "a calibration is a Parquet file with the columns `channel_id` and `template_adc` \
    (list of floats), as `nuwave calibrate spe` writes it";
const BATCH_ROWS: usize = 1024;

/// Reads a calibration file.
///
/// # Errors
/// If the file is no Parquet file, a column is missing or has the wrong type, a channel has two rows, or a value is out
/// of range. The message names the file, the row (counted from 0) and the column.
pub fn read(path: &Path) -> Result<Calibration> {
    // The decoder of Parquet panics on some damaged files.
    guarded(path, || read_file(path))
}

fn read_file(path: &Path) -> Result<Calibration> {
    let mut file = File::open(path).map_err(|cause| {
        Error::input(path, "the calibration cannot be opened").with_source(cause)
    })?;
    let unreadable = || {
        Error::input(path, "the calibration is not a readable Parquet file").with_hint(FORMAT_HINT)
    };
    bounds::parquet::check(&mut file).map_err(|cause| unreadable().with_source(cause))?;
    let not_parquet = |cause: parquet::errors::ParquetError| unreadable().with_source(cause);
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(not_parquet)?
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(not_parquet)?;
    let mut calibration = Calibration::new();
    let mut first_row = 0;
    for batch in reader {
        let batch = batch.map_err(|cause| {
            Error::input(
                path,
                format!("the calibration is damaged after row {first_row}"),
            )
            .with_source(cause)
        })?;
        read_rows(path, &batch, first_row, &mut calibration)?;
        first_row += batch.num_rows();
    }
    if calibration.rows().is_empty() {
        return Err(Error::input(path, "the calibration has no row").with_hint(FORMAT_HINT));
    }
    Ok(calibration)
}

fn read_rows(
    path: &Path,
    batch: &RecordBatch,
    first_row: usize,
    calibration: &mut Calibration,
) -> Result<()> {
    let required = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| {
            let columns: Vec<String> = batch
                .schema()
                .fields()
                .iter()
                .map(|field| format!("`{}`", field.name()))
                .collect();
            let found = columns.join(", ");
            Error::input(
                path,
                format!("the calibration has no column `{name}`; it has {found}"),
            )
            .with_hint(FORMAT_HINT)
        })
    };
    let channels = required("channel_id")?;
    let templates = required("template_adc")?;
    for index in 0..batch.num_rows() {
        let row = first_row + index;
        let at = |column: &str, message: &str| {
            Error::input(path, format!("row {row}, column `{column}`: {message}"))
        };
        let channel_id = integer_at(channels, index).map_err(|message| {
            at("channel_id", &message)
                .with_hint("channels are integers from 0 to 4294967295; null is the default row")
        })?;
        let template_adc = template_at(templates, index)
            .map_err(|message| at("template_adc", &message).with_hint(FORMAT_HINT))?;
        let float = |name: &str, missing: f32| -> Result<f32> {
            let Some(column) = batch.column_by_name(name) else {
                return Ok(missing);
            };
            let value = float_at(column, index).map_err(|message| at(name, &message))?;
            let value = value.unwrap_or(missing);
            let (in_range, expected) = match name {
                "time_offset_ns" => (true, "a finite number"),
                "sampling_ns" => (value > 0.0, "a finite number > 0"),
                _ => (value >= 0.0, "a finite number >= 0"),
            };
            if !(value.is_finite() && in_range) {
                return Err(at(name, &format!("{value} is not {expected}"))
                    .with_hint("leave the value null where it is not known"));
            }
            Ok(value)
        };
        let flags = match batch.column_by_name("flags") {
            Some(column) => integer_at(column, index)
                .map_err(|message| at("flags", &message))?
                .unwrap_or(0),
            None => 0,
        };
        let [
            noise_adc,
            time_offset_ns,
            dark_rate_hz,
            charge,
            time,
            sampling,
        ] = FLOAT_COLUMNS;
        let channel = ChannelCalibration {
            template_adc,
            noise_adc: float(noise_adc, 0.0)?,
            time_offset_ns: float(time_offset_ns, 0.0)?,
            dark_rate_hz: float(dark_rate_hz, 0.0)?,
            charge_sigma_pe: float(charge, DEFAULT_CHARGE_SIGMA_PE)?,
            time_sigma_ns: float(time, 0.0)?,
            sampling_ns: float(sampling, DEFAULT_SAMPLING_NS)?,
            flags: Flags(flags),
        };
        let place = calibration
            .add_row(channel)
            .map_err(|cause| Error::input(path, format!("row {row}: {cause}")))?;
        let (is_new, who) = match channel_id {
            Some(channel_id) => (
                calibration.assign(channel_id, place),
                format!("channel {channel_id} has"),
            ),
            None => (
                calibration.set_default(place),
                "the default (null) has".to_owned(),
            ),
        };
        if !is_new {
            return Err(at("channel_id", &format!("{who} a row already"))
                .with_hint("a calibration has at most one row a channel and one with a null"));
        }
    }
    Ok(())
}

/// The integer at `index`; `None` for a null.
fn integer_at(column: &ArrayRef, index: usize) -> std::result::Result<Option<u32>, String> {
    if column.is_null(index) {
        return Ok(None);
    }
    let value = match column.data_type() {
        DataType::UInt8 => i128::from(column.as_primitive::<UInt8Type>().value(index)),
        DataType::UInt16 => i128::from(column.as_primitive::<UInt16Type>().value(index)),
        DataType::UInt32 => i128::from(column.as_primitive::<UInt32Type>().value(index)),
        DataType::UInt64 => i128::from(column.as_primitive::<UInt64Type>().value(index)),
        DataType::Int8 => i128::from(column.as_primitive::<Int8Type>().value(index)),
        DataType::Int16 => i128::from(column.as_primitive::<Int16Type>().value(index)),
        DataType::Int32 => i128::from(column.as_primitive::<Int32Type>().value(index)),
        DataType::Int64 => i128::from(column.as_primitive::<Int64Type>().value(index)),
        other => return Err(format!("the type is {other}, expected an integer")),
    };
    u32::try_from(value)
        .map(Some)
        .map_err(|_| format!("{value} does not fit into 32 bits without a sign"))
}

/// The float at `index`; `None` for a null.
fn float_at(column: &ArrayRef, index: usize) -> std::result::Result<Option<f32>, String> {
    if column.is_null(index) {
        return Ok(None);
    }
    match column.data_type() {
        DataType::Float32 => Ok(Some(column.as_primitive::<Float32Type>().value(index))),
        DataType::Float64 => Ok(Some(
            column.as_primitive::<Float64Type>().value(index) as f32
        )),
        other => Err(format!("the type is {other}, expected a float")),
    }
}

/// The template at `index`: not empty, every value finite.
fn template_at(column: &ArrayRef, index: usize) -> std::result::Result<Vec<f32>, String> {
    if column.is_null(index) {
        return Err("the template is null".to_owned());
    }
    let values = match column.data_type() {
        DataType::List(_) => column.as_list::<i32>().value(index),
        DataType::LargeList(_) => column.as_list::<i64>().value(index),
        DataType::FixedSizeList(_, _) => column.as_fixed_size_list().value(index),
        other => return Err(format!("the type is {other}, expected a list of floats")),
    };
    if values.is_empty() {
        return Err("the template is empty".to_owned());
    }
    if values.len() > MAX_SAMPLES {
        let n = values.len();
        return Err(format!(
            "the template has {n} samples, at most {MAX_SAMPLES} are possible"
        ));
    }
    (0..values.len())
        .map(|sample| match float_at(&values, sample)? {
            Some(value) if value.is_finite() => Ok(value),
            Some(value) => Err(format!("sample {sample} of the template is {value}")),
            None => Err(format!("sample {sample} of the template is null")),
        })
        .collect()
}

/// Writes `calibration`: the default row first, then the channels in ascending order. `command` is kept in the file's
/// metadata beside nuwave's version. The file appears under its name only when it is whole.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, calibration: &Calibration, command: &str) -> Result<()> {
    let default_row = calibration.default_row().map(|row| (None, row));
    let channels = calibration.channels();
    let mut keys = Vec::with_capacity(channels.len() + 1);
    let mut rows = Vec::with_capacity(channels.len() + 1);
    let own = channels
        .iter()
        .map(|&(channel_id, row)| (Some(channel_id), row));
    for (channel_id, row) in default_row.into_iter().chain(own) {
        let row = calibration.rows().get(row).ok_or_else(|| {
            Error::internal(format!("channel {channel_id:?} points to no calibration"))
        })?;
        keys.push(channel_id);
        rows.push(row);
    }
    let failed = |cause: Box<dyn std::error::Error + Send + Sync>| {
        Error::output(path, "the calibration cannot be written").with_source(cause)
    };
    let batch = to_record_batch(keys, &rows).map_err(|cause| failed(cause.into()))?;
    let metadata = [
        ("nuwave.version", env!("CARGO_PKG_VERSION")),
        ("nuwave.command", command),
    ]
    .map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(metadata.to_vec()))
        .build();
    write_whole(path, |file| {
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))
            .map_err(|cause| failed(cause.into()))?;
        writer.write(&batch).map_err(|cause| failed(cause.into()))?;
        writer.close().map_err(|cause| failed(cause.into()))?;
        Ok(())
    })
}

fn to_record_batch(
    keys: Vec<Option<u32>>,
    rows: &[&ChannelCalibration],
) -> std::result::Result<RecordBatch, arrow_schema::ArrowError> {
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let mut templates = ListBuilder::new(Float32Builder::new()).with_field(Arc::clone(&item));
    for row in rows {
        templates.values().append_slice(&row.template_adc);
        templates.append(true);
    }
    let mut fields = vec![
        Field::new("channel_id", DataType::UInt32, true),
        Field::new("template_adc", DataType::List(item), false),
    ];
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from(keys)),
        Arc::new(templates.finish()),
    ];
    let values: [fn(&ChannelCalibration) -> f32; 6] = [
        |row| row.noise_adc,
        |row| row.time_offset_ns,
        |row| row.dark_rate_hz,
        |row| row.charge_sigma_pe,
        |row| row.time_sigma_ns,
        |row| row.sampling_ns,
    ];
    for (name, value) in FLOAT_COLUMNS.into_iter().zip(values) {
        fields.push(Field::new(name, DataType::Float32, false));
        let column: Float32Array = rows.iter().map(|row| Some(value(row))).collect();
        columns.push(Arc::new(column));
    }
    fields.push(Field::new("flags", DataType::UInt32, false));
    columns.push(Arc::new(UInt32Array::from_iter_values(
        rows.iter().map(|row| row.flags.0),
    )));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Lets `write_into` fill a file beside `path` and gives it that name once it is whole and on the disk.
fn write_whole(path: &Path, write_into: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let failed = |cause: std::io::Error| {
        Error::output(path, "the file cannot be written").with_source(cause)
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".nuwave-").suffix(".tmp");
    // A temporary file is private by default; the final one follows the user's umask like any other.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(|cause| {
        failed(cause).with_hint("the folder of the output has to exist and be writable")
    })?;
    write_into(file.as_file_mut())?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|cause| failed(cause.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Float64Array, Int64Array, ListArray, StringArray};

    fn row(peak_adc: f32) -> ChannelCalibration {
        ChannelCalibration {
            template_adc: vec![0.0, peak_adc, 2.5, -1.25],
            noise_adc: 3.5,
            time_offset_ns: -4.25,
            dark_rate_hz: 24e3,
            charge_sigma_pe: 0.31,
            time_sigma_ns: 1.25,
            sampling_ns: 2.0,
            flags: Flags::TEMPLATE_FALLBACK,
        }
    }

    fn file_of(columns: Vec<(&str, ArrayRef)>) -> tempfile::NamedTempFile {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, column)| (name, column, true)),
        )
        .expect("columns are equally long");
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut writer =
            ArrowWriter::try_new(file.reopen().expect("reopens"), batch.schema(), None)
                .expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
        file
    }

    fn templates(rows: &[Option<&[f32]>]) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(
            rows.iter()
                .map(|row| row.map(|row| row.iter().map(|&value| Some(value)))),
        ))
    }

    fn channels(ids: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(ids.to_vec()))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut calibration = Calibration::new();
        let shared = calibration.add_row(row(10.0)).expect("valid");
        let own = calibration.add_row(row(7.0)).expect("valid");
        calibration.set_default(shared);
        calibration.assign(4_000_000_000, shared);
        calibration.assign(3, own);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spe.parquet");
        write(&path, &calibration, "nuwave calibrate spe x.h5").expect("written");
        let back = read(&path).expect("read");
        let row_of = |calibration: &Calibration, channel| {
            let (row, own) = calibration.row_of(channel).expect("a row");
            (calibration.rows()[row].clone(), own)
        };
        for channel in [3, 4_000_000_000, 5] {
            assert_eq!(row_of(&back, channel), row_of(&calibration, channel));
        }
        assert_eq!(back.rows().len(), 3);
        let files = std::fs::read_dir(folder.path()).expect("lists").count();
        assert_eq!(files, 1, "no temporary file is left");

        let metadata = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("opens"))
            .expect("Parquet");
        let pairs = metadata
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .expect("metadata");
        let command = pairs.iter().find(|pair| pair.key == "nuwave.command");
        assert_eq!(
            command.and_then(|pair| pair.value.as_deref()),
            Some("nuwave calibrate spe x.h5")
        );
    }

    #[test]
    fn two_columns_are_enough_and_nulls_are_defaults() {
        let file = file_of(vec![
            ("channel_id", channels(&[None, Some(8)])),
            (
                "template_adc",
                templates(&[Some(&[1.0]), Some(&[2.0, 1.0])]),
            ),
            (
                "noise_adc",
                Arc::new(Float64Array::from(vec![None, Some(4.0)])),
            ),
        ]);
        let calibration = read(file.path()).expect("read");
        let default_row = &calibration.rows()[calibration.default_row().expect("default")];
        assert_eq!(default_row.noise_adc, 0.0);
        assert_eq!(default_row.charge_sigma_pe, DEFAULT_CHARGE_SIGMA_PE);
        assert_eq!(default_row.sampling_ns, DEFAULT_SAMPLING_NS);
        let (row, own) = calibration.row_of(8).expect("channel 8");
        assert!(own);
        assert_eq!(calibration.rows()[row].noise_adc, 4.0);
        assert_eq!(calibration.rows()[row].template_adc, [2.0, 1.0]);
    }

    #[test]
    fn errors_name_file_row_and_column() {
        let one: &[f32] = &[1.0];
        let good = || templates(&[Some(one), Some(one)]);
        let cases = [
            (
                vec![("template_adc", good())],
                "no column `channel_id`; it has `template_adc`",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(1)])),
                    ("template_adc", good()),
                ],
                "row 1, column `channel_id`: channel 1 has a row already",
            ),
            (
                vec![
                    ("channel_id", channels(&[None, None])),
                    ("template_adc", good()),
                ],
                "row 1, column `channel_id`: the default (null) has a row already",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(-1)])),
                    ("template_adc", good()),
                ],
                "row 1, column `channel_id`: -1",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(2)])),
                    ("template_adc", templates(&[Some(one), Some(&[])])),
                ],
                "row 1, column `template_adc`: the template is empty",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(2)])),
                    (
                        "template_adc",
                        templates(&[Some(one), Some(&[1.0, f32::NAN])]),
                    ),
                ],
                "row 1, column `template_adc`: sample 1",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(2)])),
                    ("template_adc", templates(&[Some(one), None])),
                ],
                "row 1, column `template_adc`: the template is null",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(2)])),
                    ("template_adc", templates(&[Some(&[-1.0]), Some(one)])),
                ],
                "row 0: the template has no positive sample",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(2)])),
                    ("template_adc", Arc::new(StringArray::from(vec!["a", "b"]))),
                ],
                "row 0, column `template_adc`: the type is Utf8",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(2)])),
                    ("template_adc", good()),
                    ("noise_adc", Arc::new(Float32Array::from(vec![1.0, -2.0]))),
                ],
                "row 1, column `noise_adc`: -2 is not a finite number >= 0",
            ),
            (
                vec![
                    ("channel_id", channels(&[Some(1), Some(2)])),
                    ("template_adc", good()),
                    ("sampling_ns", Arc::new(Float32Array::from(vec![1.0, 0.0]))),
                ],
                "row 1, column `sampling_ns`: 0 is not a finite number > 0",
            ),
        ];
        for (columns, expected) in cases {
            let file = file_of(columns);
            let error = read(file.path()).expect_err(expected);
            let message = error.to_string();
            assert!(message.contains(expected), "{message}");
            assert!(message.contains(&file.path().display().to_string()));
            assert_eq!(error.kind(), crate::ErrorKind::Input);
            assert!(message.contains("hint:"), "{message}");
        }
    }

    #[test]
    fn what_is_no_calibration_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(read(file.path()).is_err(), "empty file");
        std::fs::write(file.path(), b"PAR1 is not enough PAR1").expect("written");
        assert!(read(file.path()).is_err(), "no Parquet");
        let none = file_of(vec![
            ("channel_id", channels(&[])),
            ("template_adc", templates(&[])),
        ]);
        let message = read(none.path()).expect_err("no row").to_string();
        assert!(message.contains("no row"), "{message}");
    }

    #[test]
    fn a_cut_or_mangled_file_is_an_error_and_no_panic() {
        let mut calibration = Calibration::new();
        let place = calibration.add_row(row(10.0)).expect("valid");
        calibration.assign(1, place);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spe.parquet");
        write(&path, &calibration, "test").expect("written");
        let whole = std::fs::read(&path).expect("read");
        for cut in (0..whole.len()).step_by(7) {
            std::fs::write(&path, &whole[..cut]).expect("written");
            assert!(read(&path).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_folder_that_does_not_exist_is_an_output_error() {
        let path = Path::new("no/such/folder/spe.parquet");
        let error = write(path, &Calibration::new(), "test").expect_err("no folder");
        assert_eq!(error.kind(), crate::ErrorKind::Output);
    }
}
