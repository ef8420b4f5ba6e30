//! Writes waveforms as Arrow record batches: the common part of the writers of Parquet and Arrow IPC.

use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::columns;
use super::sink::{Pieces, WaveformSink, WriteInfo, cannot_hold};
use crate::error::{Error, Result};
use crate::io::atomic::{AtomicFile, write_error};
use crate::io::truth;
use crate::model::{Batch, Truth};

/// The result of a library's writer.
pub(crate) type Written<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A library's writer of record batches.
pub(crate) trait RecordWriter: Sized {
    /// Begins a file with record batches of `schema`.
    fn begin(target: AtomicFile, schema: &SchemaRef) -> Written<Self>;
    /// Appends a record batch.
    fn append(&mut self, records: &RecordBatch) -> Written<()>;
    /// Completes the file.
    fn complete(self) -> Written<AtomicFile>;
}

/// Writes a file of record batches, one per piece.
pub(crate) struct RecordSink<W> {
    path: PathBuf,
    info: WriteInfo,
    pieces: Pieces,
    is_float: bool,
    /// The file, until the first waveform determines the type of the samples.
    target: Option<AtomicFile>,
    writer: Option<(W, SchemaRef)>,
}

impl<W: RecordWriter> RecordSink<W> {
    pub fn create(path: &Path, info: &WriteInfo) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            info: info.clone(),
            pieces: Pieces::new(),
            is_float: false,
            target: Some(AtomicFile::create(path)?),
            writer: None,
        })
    }

    /// Opens the writer for samples of the first batch's type.
    fn start(&mut self, is_float: bool) -> Result<()> {
        let Some(target) = self.target.take() else {
            return Ok(());
        };
        let schema = columns::schema(&self.info, is_float);
        let writer = W::begin(target, &schema).map_err(|error| write_error(&self.path, error))?;
        self.is_float = is_float;
        self.writer = Some((writer, schema));
        Ok(())
    }

    fn write_piece(writer: &mut Option<(W, SchemaRef)>, piece: &Batch, path: &Path) -> Result<()> {
        let Some((writer, schema)) = writer else {
            return Ok(());
        };
        let records = columns::encode(schema, piece).map_err(|error| write_error(path, error))?;
        writer
            .append(&records)
            .map_err(|error| write_error(path, error))
    }
}

impl<W: RecordWriter> WaveformSink for RecordSink<W> {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.start(columns::is_float(batch))?;
        if columns::is_float(batch) != self.is_float {
            return Err(cannot_hold(
                &self.path,
                "integer and float samples together",
            ));
        }
        let Self {
            writer,
            pieces,
            path,
            ..
        } = self;
        pieces.add(batch, |piece| Self::write_piece(writer, piece, path))
    }

    fn finish(mut self: Box<Self>, truth: &Truth) -> Result<()> {
        self.start(false)?;
        if let Some(rest) = self.pieces.rest() {
            Self::write_piece(&mut self.writer, &rest, &self.path)?;
        }
        let (writer, _) = self
            .writer
            .take()
            .ok_or_else(|| Error::internal("a file of record batches that was never opened"))?;
        let target = writer
            .complete()
            .map_err(|error| write_error(&self.path, error))?;
        truth::write_truth_files(&self.path, truth)?;
        target.commit()
    }
}
