//! Reads the truth of a simulated file: from inside it (HDF5) or from Parquet files next to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};

use super::hdf5;
use super::write::{EVENTS, PHOTOELECTRONS, sibling};
use crate::error::{Error, Result};
use crate::io::catch_panic::guarded;
use crate::io::parquet_file;
use crate::io::waveforms::{FORMATS, HDF5, PARQUET, arrow_values, detect};
use crate::model::{Photoelectron, TrueEvent, Truth};

/// Reads the truth from an HDF5 file that holds it, from the files next to a waveform file or a table of hits, from a
/// Parquet file of photoelectrons, or from one of events (`NAME.truth-events.parquet`).
///
/// # Errors
/// If there is none, or it cannot be read.
pub fn read_truth(path: &Path) -> Result<Truth> {
    let (format, _) = detect::detect(FORMATS, path, Some(crate::model::MIN_SAMPLES))?;
    if *format == HDF5
        && let Some(truth) = guarded(path, || hdf5::read_truth(path))?
    {
        return Ok(truth);
    }
    let photoelectrons = sibling(path, PHOTOELECTRONS);
    if photoelectrons.is_file() {
        return from_parquet(Some(&photoelectrons), &sibling(path, EVENTS));
    }
    if *format == PARQUET {
        let events = sibling(&without_ending(path), EVENTS);
        match kind_of(path)? {
            Kind::Photoelectrons => return from_parquet(Some(path), &events),
            Kind::Events => return from_parquet(None, path),
            Kind::Other if events.is_file() => return from_parquet(None, &events),
            Kind::Other => {}
        }
    }
    Err(Error::input(path, "holds no truth").with_hint(format!(
        "truth is in an HDF5 file at `/truth/photoelectrons`, or in `{}`, or of events alone in `{}`",
        photoelectrons.display(),
        sibling(path, EVENTS).display()
    )))
}

/// Returns the name of the waveform file that a file of photoelectrons belongs to, which names the file of events.
fn without_ending(path: &Path) -> PathBuf {
    let name = path.to_string_lossy();
    let stem = name.strip_suffix(PHOTOELECTRONS).unwrap_or(&name);
    let stem = stem.strip_suffix(".parquet").unwrap_or(stem);
    PathBuf::from(format!("{stem}.parquet"))
}

/// The content of a Parquet file.
enum Kind {
    Photoelectrons,
    Events,
    /// Waveforms, hits, or anything else.
    Other,
}

fn kind_of(path: &Path) -> Result<Kind> {
    let schema = Arc::clone(parquet_file::open_file(path)?.schema());
    let has = |name| schema.column_with_name(name).is_some();
    // Hits have flags, photoelectrons have none.
    Ok(if !has("time_ns") || has("samples") || has("flags") {
        Kind::Other
    } else if has("energy_mev") && !has("charge_pe") {
        Kind::Events
    } else {
        Kind::Photoelectrons
    })
}

/// Reads the photoelectrons of one file, and the events of another if it exists.
fn from_parquet(photoelectrons: Option<&Path>, events: &Path) -> Result<Truth> {
    let mut truth = Truth::default();
    let mut take = |table: &Table<'_>| {
        let event_id = table.integers("event_id")?;
        let channel_id = table.integers("channel_id")?;
        let time_ns = table.floats("time_ns")?;
        let charge_pe = table.floats("charge_pe")?;
        for ((event_id, channel_id), (time_ns, charge_pe)) in event_id
            .into_iter()
            .zip(channel_id)
            .zip(time_ns.into_iter().zip(charge_pe))
        {
            truth.photoelectrons.push(Photoelectron {
                event_id: table.id(event_id)?,
                channel_id: table.id(channel_id)?,
                time_ns,
                charge_pe: charge_pe as f32,
            });
        }
        Ok(())
    };
    if let Some(path) = photoelectrons {
        read_table(path, &mut take)?;
    }
    if events.is_file() {
        read_table(events, |table| {
            let event_id = table.integers("event_id")?;
            let x_mm = table.floats("x_mm")?;
            let y_mm = table.floats("y_mm")?;
            let z_mm = table.floats("z_mm")?;
            let time_ns = table.floats("time_ns")?;
            let energy_mev = table.floats("energy_mev")?;
            let places = x_mm.into_iter().zip(y_mm).zip(z_mm);
            let deposits = time_ns.into_iter().zip(energy_mev);
            for ((event_id, ((x_mm, y_mm), z_mm)), (time_ns, energy_mev)) in
                event_id.into_iter().zip(places).zip(deposits)
            {
                truth.events.push(TrueEvent {
                    event_id: table.id(event_id)?,
                    x_mm,
                    y_mm,
                    z_mm,
                    time_ns,
                    energy_mev,
                });
            }
            Ok(())
        })?;
    }
    Ok(truth)
}

/// A record batch of a truth table and its file, for messages.
struct Table<'a> {
    path: &'a Path,
    records: RecordBatch,
}

impl Table<'_> {
    fn column<T>(
        &self,
        name: &str,
        decode: impl Fn(&ArrayRef) -> Option<Vec<Option<T>>>,
    ) -> Result<Vec<T>> {
        let bad = |what: &str| Error::input(self.path, format!("column `{name}` {what}"));
        let values = self
            .records
            .column_by_name(name)
            .ok_or_else(|| bad("is missing"))?;
        decode(values)
            .ok_or_else(|| bad("does not hold the right type of numbers"))?
            .into_iter()
            .collect::<Option<_>>()
            .ok_or_else(|| bad("holds a null"))
    }

    fn integers(&self, name: &str) -> Result<Vec<i128>> {
        self.column(name, arrow_values::integers)
    }

    fn floats(&self, name: &str) -> Result<Vec<f64>> {
        self.column(name, arrow_values::floats)
    }

    fn id<T: TryFrom<i128>>(&self, id: i128) -> Result<T> {
        T::try_from(id)
            .map_err(|_| Error::input(self.path, format!("{id} is no event or channel number")))
    }
}

fn read_table(path: &Path, mut take: impl FnMut(&Table<'_>) -> Result<()>) -> Result<()> {
    let unreadable = "cannot be read";
    let reader = parquet_file::open_file(path)?
        .build()
        .map_err(|error| Error::input(path, unreadable).with_source(error))?;
    guarded(path, || {
        for records in reader {
            let records =
                records.map_err(|error| Error::input(path, unreadable).with_source(error))?;
            take(&Table { path, records })?;
        }
        Ok(())
    })
}
