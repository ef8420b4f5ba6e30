//! Writes the calibration file.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, ListBuilder};
use arrow_array::{ArrayRef, Float32Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::{COUNT_COLUMNS, FLOAT_COLUMNS, MEASURED_COLUMNS, RATIO_COLUMN, RUN_COLUMN};
use crate::error::{Error, Result};
use crate::io::atomic::AtomicFile;
use crate::model::{Calibration, ChannelCalibration, Polarity, SpeMeasurement};

/// Writes `calibration`: the default row first, then the channels in ascending order. `command` is kept in the file's
/// metadata together with nuwave's version. The file appears under its name only when it is complete.
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
    let batch = to_record_batch(keys, &rows, calibration.polarity())
        .map_err(|cause| failed(cause.into()))?;
    let metadata = [
        ("nuwave.version", env!("CARGO_PKG_VERSION")),
        ("nuwave.command", command),
    ]
    .map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(metadata.to_vec()))
        .build();
    let mut writer =
        ArrowWriter::try_new(AtomicFile::create(path)?, batch.schema(), Some(properties))
            .map_err(|cause| failed(cause.into()))?;
    writer.write(&batch).map_err(|cause| failed(cause.into()))?;
    let file = writer.into_inner().map_err(|cause| failed(cause.into()))?;
    file.commit()
}

fn to_record_batch(
    keys: Vec<Option<u32>>,
    rows: &[&ChannelCalibration],
    polarity: Option<Polarity>,
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
    fields.push(Field::new(RATIO_COLUMN, DataType::Float32, false));
    columns.push(Arc::new(Float32Array::from_iter_values(
        rows.iter().map(|row| row.baseline_noise_ratio),
    )));
    let run: StringArray = rows
        .iter()
        .map(|row| Some(row.measurement?.run?.name()))
        .collect();
    fields.push(Field::new(RUN_COLUMN, DataType::Utf8, true));
    columns.push(Arc::new(run));
    let counts: [fn(&SpeMeasurement) -> u64; COUNT_COLUMNS.len()] = [
        |row| row.n_waveforms,
        |row| row.n_left_out,
        |row| row.n_pulses,
        |row| row.degrees_of_freedom.into(),
    ];
    for (name, count) in COUNT_COLUMNS.into_iter().zip(counts) {
        let column: UInt64Array = rows
            .iter()
            .map(|row| row.measurement.as_ref().map(count))
            .collect();
        fields.push(Field::new(name, DataType::UInt64, true));
        columns.push(Arc::new(column));
    }
    let measured: [fn(&SpeMeasurement) -> f32; MEASURED_COLUMNS.len()] = [
        |row| row.mean_pe,
        |row| row.mean_pe_error,
        |row| row.gain_adc_samples,
        |row| row.gain_error_adc_samples,
        |row| row.charge_sigma_error_pe,
        |row| row.noise_error_adc,
        |row| row.peak_error_adc,
        |row| row.time_offset_error_ns,
        |row| row.dark_rate_error_hz,
        |row| row.chi2,
    ];
    for (name, value) in MEASURED_COLUMNS.into_iter().zip(measured) {
        let column: Float32Array = rows
            .iter()
            .map(|row| {
                row.measurement
                    .as_ref()
                    .map(value)
                    .filter(|v| v.is_finite())
            })
            .collect();
        fields.push(Field::new(name, DataType::Float32, true));
        columns.push(Arc::new(column));
    }
    if let Some(polarity) = polarity {
        fields.push(Field::new("polarity", DataType::Utf8, false));
        let names = StringArray::from_iter_values(rows.iter().map(|_| polarity.name()));
        columns.push(Arc::new(names));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
