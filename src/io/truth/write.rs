//! Writes the truth of a file of waveforms or hits into Parquet files next to it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Float64Array, RecordBatch, UInt32Array, UInt64Array};

use crate::error::{Error, Result};
use crate::io::parquet_file::write_table;
use crate::model::{TrueEvent, Truth};

pub(super) const PHOTOELECTRONS: &str = ".truth.parquet";
pub(super) const EVENTS: &str = ".truth-events.parquet";

/// Replaces the ending of `path`: `run.parquet` with `.truth.parquet` becomes `run.truth.parquet`.
pub(super) fn sibling(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_stem().map_or_else(OsString::new, OsString::from);
    name.push(ending);
    path.with_file_name(name)
}

/// Returns true if a waveform file has its truth next to it.
pub(crate) fn has_truth_file(path: &Path) -> bool {
    sibling(path, PHOTOELECTRONS).is_file()
}

/// Writes the truth of the waveform file `path`, if there is any.
pub(crate) fn write_truth_files(path: &Path, truth: &Truth) -> Result<()> {
    if truth.photoelectrons.is_empty() && truth.events.is_empty() {
        return Ok(());
    }
    let pes = &truth.photoelectrons;
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "event_id",
            Arc::new(UInt64Array::from_iter_values(
                pes.iter().map(|pe| pe.event_id),
            )),
        ),
        (
            "channel_id",
            Arc::new(UInt32Array::from_iter_values(
                pes.iter().map(|pe| pe.channel_id),
            )),
        ),
        (
            "time_ns",
            Arc::new(Float64Array::from_iter_values(
                pes.iter().map(|pe| pe.time_ns),
            )),
        ),
        (
            "charge_pe",
            Arc::new(Float32Array::from_iter_values(
                pes.iter().map(|pe| pe.charge_pe),
            )),
        ),
    ];
    write(&sibling(path, PHOTOELECTRONS), columns)?;
    if truth.events.is_empty() {
        return Ok(());
    }
    write_events_file(path, &truth.events)
}

/// Removes the photoelectrons of an earlier file of the name `path` before a table without any takes that name.
pub(crate) fn remove_photoelectrons_file(path: &Path) -> Result<()> {
    let old = sibling(path, PHOTOELECTRONS);
    match std::fs::remove_file(&old) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::output(
            &old,
            "belongs to an earlier file and cannot be removed",
        )
        .with_source(error)),
        _ => Ok(()),
    }
}

/// Writes the true events of the file `path`.
pub(crate) fn write_events_file(path: &Path, events: &[TrueEvent]) -> Result<()> {
    let of = |value: fn(&TrueEvent) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(events.iter().map(value)))
    };
    let event_id = UInt64Array::from_iter_values(events.iter().map(|event| event.event_id));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("event_id", Arc::new(event_id)),
        ("x_mm", of(|event| event.x_mm)),
        ("y_mm", of(|event| event.y_mm)),
        ("z_mm", of(|event| event.z_mm)),
        ("time_ns", of(|event| event.time_ns)),
        ("energy_mev", of(|event| event.energy_mev)),
    ];
    write(&sibling(path, EVENTS), columns)
}

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) -> Result<()> {
    let columns = columns
        .into_iter()
        .map(|(name, values)| (name, values, false));
    let records = RecordBatch::try_from_iter_with_nullable(columns)
        .map_err(|error| Error::output(path, "cannot be written").with_source(error))?;
    write_table(path, &records)
}
