//! Reads the calibration file.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{
    COUNT_COLUMNS, DEFAULT_CHARGE_SIGMA_PE, DEFAULT_SAMPLING_NS, FLOAT_COLUMNS, FORMAT_HINT,
    MEASURED_COLUMNS, RATIO_COLUMN, RUN_COLUMN,
};
use crate::error::{Error, Result};
use crate::io::catch_panic::guarded;
use crate::io::limits::parquet::Pages;
use crate::model::{
    Calibration, ChannelCalibration, Flags, MAX_SAMPLES, Polarity, RunKind, SpeMeasurement,
};

const BATCH_ROWS: usize = 1024;

/// Reads a calibration file.
///
/// # Errors
/// If the file is not a Parquet file, a column is missing or has the wrong type, a channel has two rows, or a value is out
/// of range. The message names the file, the row (counted from 0) and the column.
pub fn read(path: &Path) -> Result<Calibration> {
    // The decoder of Parquet panics on some damaged files.
    guarded(path, || read_file(path))
}

fn read_file(path: &Path) -> Result<Calibration> {
    let file = File::open(path).map_err(|cause| {
        Error::input(path, "the calibration cannot be opened").with_source(cause)
    })?;
    let unreadable = || {
        Error::input(path, "the calibration is not a readable Parquet file").with_hint(FORMAT_HINT)
    };
    let pages = Pages::new(file).map_err(|cause| unreadable().with_source(cause))?;
    let not_parquet = |cause: parquet::errors::ParquetError| unreadable().with_source(cause);
    let reader = ParquetRecordBatchReaderBuilder::try_new(pages)
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
            Error::input(path, message).at_place(format!("row {row}, column `{column}`"))
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
                RATIO_COLUMN => (value >= 1.0, "a finite number >= 1"),
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
        note_polarity(batch, index, calibration).map_err(|message| at("polarity", &message))?;
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
            baseline_noise_ratio: float(RATIO_COLUMN, 1.0)?,
            flags: Flags(flags),
            measurement: measurement_at(batch, index)
                .map_err(|(column, message)| at(column, &message))?,
        };
        let place = calibration.add_row(channel).map_err(|cause| {
            let error = Error::input(path, cause.message()).at_place(format!("row {row}"));
            cause.hints().iter().cloned().fold(error, Error::and_hint)
        })?;
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
                .with_hint("a calibration has at most one row per channel and one with a null"));
        }
    }
    Ok(())
}

/// Returns how the row at `index` was measured; `None` if no column tells. Errors have the name of the column.
fn measurement_at(
    batch: &RecordBatch,
    index: usize,
) -> std::result::Result<Option<SpeMeasurement>, (&'static str, String)> {
    let mut is_known = false;
    let mut values = [f32::NAN; MEASURED_COLUMNS.len()];
    for (value, name) in values.iter_mut().zip(MEASURED_COLUMNS) {
        if let Some(column) = batch.column_by_name(name)
            && let Some(found) = float_at(column, index).map_err(|message| (name, message))?
        {
            (*value, is_known) = (found, true);
        }
    }
    let mut counts = [0; COUNT_COLUMNS.len()];
    for (count, name) in counts.iter_mut().zip(COUNT_COLUMNS) {
        if let Some(column) = batch.column_by_name(name)
            && let Some(found) = count_at(column, index).map_err(|message| (name, message))?
        {
            (*count, is_known) = (found, true);
        }
    }
    let run = match batch.column_by_name(RUN_COLUMN) {
        Some(column) => text_at(column, index).map_err(|message| (RUN_COLUMN, message))?,
        None => None,
    };
    let run = run.and_then(RunKind::by_name);
    let [
        mean_pe,
        mean_pe_error,
        gain_adc_samples,
        gain_error_adc_samples,
        charge_sigma_error_pe,
        noise_error_adc,
        peak_error_adc,
        time_offset_error_ns,
        dark_rate_error_hz,
        chi2,
    ] = values;
    let [n_waveforms, n_left_out, n_pulses, degrees_of_freedom] = counts;
    Ok((is_known || run.is_some()).then_some(SpeMeasurement {
        run,
        n_waveforms,
        n_left_out,
        n_pulses,
        mean_pe,
        mean_pe_error,
        gain_adc_samples,
        gain_error_adc_samples,
        charge_sigma_error_pe,
        noise_error_adc,
        peak_error_adc,
        time_offset_error_ns,
        dark_rate_error_hz,
        chi2,
        degrees_of_freedom: u32::try_from(degrees_of_freedom).unwrap_or(u32::MAX),
    }))
}

/// Notes the direction of the pulses that a row states; all rows must state the same.
fn note_polarity(
    batch: &RecordBatch,
    index: usize,
    calibration: &mut Calibration,
) -> std::result::Result<(), String> {
    let Some(column) = batch.column_by_name("polarity") else {
        return Ok(());
    };
    if let Some(polarity) = polarity_at(column, index)? {
        if calibration
            .polarity()
            .is_some_and(|known| known != polarity)
        {
            return Err(format!(
                "`{}`, but an earlier row has the other direction",
                polarity.name()
            ));
        }
        calibration.set_polarity(polarity);
    }
    Ok(())
}

/// Returns the integer at `index`; `None` for a null.
fn integer_at(column: &ArrayRef, index: usize) -> std::result::Result<Option<u32>, String> {
    let Some(value) = wide_at(column, index)? else {
        return Ok(None);
    };
    u32::try_from(value)
        .map(Some)
        .map_err(|_| format!("{value} does not fit into 32 bits without a sign"))
}

/// Returns the count at `index`; `None` for a null.
fn count_at(column: &ArrayRef, index: usize) -> std::result::Result<Option<u64>, String> {
    let Some(value) = wide_at(column, index)? else {
        return Ok(None);
    };
    u64::try_from(value)
        .map(Some)
        .map_err(|_| format!("{value} is no count"))
}

/// Returns the integer of any type at `index`; `None` for a null.
fn wide_at(column: &ArrayRef, index: usize) -> std::result::Result<Option<i128>, String> {
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
    Ok(Some(value))
}

/// Returns the text at `index`; `None` for a null.
fn text_at(column: &ArrayRef, index: usize) -> std::result::Result<Option<&str>, String> {
    if column.is_null(index) {
        return Ok(None);
    }
    match column.data_type() {
        DataType::Utf8 => Ok(Some(column.as_string::<i32>().value(index))),
        DataType::LargeUtf8 => Ok(Some(column.as_string::<i64>().value(index))),
        DataType::Utf8View => Ok(Some(column.as_string_view().value(index))),
        other => Err(format!("the type is {other}, expected a text")),
    }
}

/// Returns the direction of pulses at `index`; `None` for a null.
fn polarity_at(column: &ArrayRef, index: usize) -> std::result::Result<Option<Polarity>, String> {
    let Some(text) = text_at(column, index)? else {
        return Ok(None);
    };
    match text.trim().to_ascii_lowercase().as_str() {
        "negative" => Ok(Some(Polarity::Negative)),
        "positive" => Ok(Some(Polarity::Positive)),
        _ => Err(format!("`{text}` is neither `negative` nor `positive`")),
    }
}

/// Returns the float at `index`; `None` for a null.
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

/// Returns the template at `index`: not empty, all values finite.
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
