//! Writes and reads the `events` table: one part per unit of work, whose bytes depend on its rows alone.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, UInt32Array, UInt64Array};
use arrow_schema::SchemaRef;

use super::columns;
use super::read::stream;
use super::write::{Part, SLICE_ROWS, TableFile};
use crate::error::Result;
use crate::model::Event;

/// The values of the columns between the ids and `n_channels_hit`, in the order of [`columns::EVENTS`].
const MEASURED: [fn(&Event) -> f64; 11] = [
    |event| event.x_mm,
    |event| event.y_mm,
    |event| event.z_mm,
    |event| event.time_ns,
    |event| event.energy_mev,
    |event| event.x_sigma_mm,
    |event| event.y_sigma_mm,
    |event| event.z_sigma_mm,
    |event| event.time_sigma_ns,
    |event| event.energy_sigma_mev,
    |event| event.charge_pe,
];

/// Returns the schema of the `events` table.
#[must_use]
pub fn events_schema() -> SchemaRef {
    columns::schema(&columns::EVENTS)
}

/// Writes one part of the `events` table.
pub struct EventsWriter {
    file: TableFile,
    input_id: u32,
    rows: Vec<Event>,
}

impl EventsWriter {
    /// Creates part `part`, with events of input `input_id`, in the folder `folder`.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create(folder: &Path, part: &impl Display, input_id: u32) -> Result<Self> {
        Ok(Self {
            file: TableFile::create(folder, "events", part, events_schema())?,
            input_id,
            rows: Vec::new(),
        })
    }

    /// Appends an event.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn push(&mut self, event: Event) -> Result<()> {
        self.rows.push(event);
        if self.rows.len() == SLICE_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    /// Completes the part.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(mut self) -> Result<Part> {
        self.flush()?;
        self.file.finish()
    }

    fn flush(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        self.file.write(columns_of(self.input_id, &rows))
    }
}

/// Returns the columns of the table for events of one input.
pub(crate) fn columns_of(input_id: u32, rows: &[Event]) -> Vec<ArrayRef> {
    let floats = |value: fn(&Event) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(value)))
    };
    let counts = |value: fn(&Event) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(value)))
    };
    let ids = rows.iter().map(|event| event.event_id);
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from(vec![input_id; rows.len()])),
        Arc::new(UInt64Array::from_iter_values(ids)),
    ];
    columns.extend(MEASURED.into_iter().map(floats));
    columns.extend([
        counts(|event| event.n_channels_hit),
        floats(|event| event.fit_quality),
        counts(|event| event.flags.0),
    ]);
    columns
}

/// Reads the events at `path` (a Parquet file, or a folder of them in the order of their names), each with the index of
/// its input in the report's list.
///
/// # Errors
/// If a file cannot be read, lacks a column, or a column is of another type.
pub fn read(path: &Path) -> Result<Vec<(u32, Event)>> {
    let mut events = Vec::new();
    let schema = events_schema();
    let columns: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    stream(path, &columns, |part| {
        let input_id: Vec<u32> = part.unsigned("input_id")?;
        let event_id: Vec<u64> = part.unsigned("event_id")?;
        let n_channels_hit: Vec<u32> = part.unsigned("n_channels_hit")?;
        let flags = part.flags("flags")?;
        let x_mm = part.doubles("x_mm")?;
        let y_mm = part.doubles("y_mm")?;
        let z_mm = part.doubles("z_mm")?;
        let time_ns = part.doubles("time_ns")?;
        let energy_mev = part.doubles("energy_mev")?;
        let x_sigma_mm = part.doubles("x_sigma_mm")?;
        let y_sigma_mm = part.doubles("y_sigma_mm")?;
        let z_sigma_mm = part.doubles("z_sigma_mm")?;
        let time_sigma_ns = part.doubles("time_sigma_ns")?;
        let energy_sigma_mev = part.doubles("energy_sigma_mev")?;
        let charge_pe = part.doubles("charge_pe")?;
        let fit_quality = part.doubles("fit_quality")?;
        // The columns of a part have the same number of rows, so that no index can be out of range.
        events.extend((0..part.len()).map(|row| {
            let event = Event {
                event_id: event_id[row],
                x_mm: x_mm[row],
                y_mm: y_mm[row],
                z_mm: z_mm[row],
                time_ns: time_ns[row],
                energy_mev: energy_mev[row],
                x_sigma_mm: x_sigma_mm[row],
                y_sigma_mm: y_sigma_mm[row],
                z_sigma_mm: z_sigma_mm[row],
                time_sigma_ns: time_sigma_ns[row],
                energy_sigma_mev: energy_sigma_mev[row],
                charge_pe: charge_pe[row],
                n_channels_hit: n_channels_hit[row],
                fit_quality: fit_quality[row],
                flags: flags[row],
            };
            (input_id[row], event)
        }));
        Ok(())
    })?;
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Flags;

    #[test]
    fn each_value_is_in_the_column_of_its_name() {
        let event = Event {
            event_id: 1,
            x_mm: 2.0,
            y_mm: 3.0,
            z_mm: 4.0,
            time_ns: 5.0,
            energy_mev: 6.0,
            x_sigma_mm: 7.0,
            y_sigma_mm: 8.0,
            z_sigma_mm: 9.0,
            time_sigma_ns: 10.0,
            energy_sigma_mev: 11.0,
            charge_pe: 12.0,
            n_channels_hit: 13,
            fit_quality: 14.0,
            flags: Flags(15),
        };
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventsWriter::create(folder.path(), &"0", 16).unwrap();
        writer.push(event).unwrap();
        writer.finish().unwrap();
        assert_eq!(read(&folder.path().join("events")).unwrap(), [(16, event)]);
    }
}
