//! Writes simulated hits with the columns of the `hits` table. Memory use does not depend on their number.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Float64Array, RecordBatch, UInt32Array, UInt64Array};
use parquet::arrow::ArrowWriter;

use super::write::{SLICE_ROWS, hits_schema, table_properties};
use crate::error::{Error, Result};
use crate::io::atomic::AtomicFile;
use crate::io::truth::{remove_photoelectrons_file, write_events_file};
use crate::model::{EventHits, TrueEvent};

/// Writes hits to one Parquet file, and the true events next to it as `NAME.truth-events.parquet`.
pub struct EventHitsFile {
    path: PathBuf,
    writer: ArrowWriter<AtomicFile>,
    event_id: Vec<u64>,
    channel_id: Vec<u32>,
    time_ns: Vec<f64>,
    charge_pe: Vec<f32>,
    flags: Vec<u32>,
    truth: Vec<TrueEvent>,
}

impl EventHitsFile {
    /// Creates a file, which gets its name when it is finished.
    ///
    /// # Errors
    /// If the name does not end in `.parquet` or the file cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        let is_parquet = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"));
        if !is_parquet {
            return Err(
                Error::usage(format!("`{}`: hits are written as Parquet", path.display()))
                    .with_hint("end it with `.parquet`"),
            );
        }
        let schema = hits_schema();
        let properties = table_properties(&schema);
        let writer = ArrowWriter::try_new(AtomicFile::create(path)?, schema, Some(properties))
            .map_err(|error| Error::output(path, "cannot be written").with_source(error))?;
        Ok(Self {
            path: path.to_owned(),
            writer,
            event_id: Vec::new(),
            channel_id: Vec::new(),
            time_ns: Vec::new(),
            charge_pe: Vec::new(),
            flags: Vec::new(),
            truth: Vec::new(),
        })
    }

    /// Appends the hits of one event.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&mut self, event: &EventHits, truth: TrueEvent) -> Result<()> {
        for hit in &event.hits {
            self.event_id.push(event.event_id);
            self.channel_id.push(hit.channel_id);
            self.time_ns.push(hit.time_ns);
            self.charge_pe.push(hit.charge_pe);
            self.flags.push(hit.flags.0);
            if self.flags.len() == SLICE_ROWS {
                self.flush()?;
            }
        }
        self.truth.push(truth);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let rows = self.flags.len();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from(vec![0; rows])),
            Arc::new(UInt64Array::from(std::mem::take(&mut self.event_id))),
            Arc::new(UInt32Array::from(std::mem::take(&mut self.channel_id))),
            Arc::new(Float64Array::from(std::mem::take(&mut self.time_ns))),
            Arc::new(Float32Array::from(std::mem::take(&mut self.charge_pe))),
            Arc::new(Float32Array::new_null(rows)),
            Arc::new(Float32Array::new_null(rows)),
            Arc::new(UInt32Array::from(std::mem::take(&mut self.flags))),
        ];
        let records = RecordBatch::try_new(hits_schema(), columns)
            .map_err(|error| Error::internal(format!("the hits: {error}")))?;
        self.writer
            .write(&records)
            .map_err(|error| Error::output(&self.path, "cannot be written").with_source(error))
    }

    /// Completes the file and writes the truth next to it.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        let file = self
            .writer
            .into_inner()
            .map_err(|error| Error::output(&self.path, "cannot be written").with_source(error))?;
        // The truth is written first, so that no hits exist without it.
        write_events_file(&self.path, &self.truth)?;
        remove_photoelectrons_file(&self.path)?;
        file.commit()
    }
}
