//! Writes Arrow IPC files.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use arrow_ipc::writer::FileWriter;

use crate::error::{Error, Result};
use crate::io::atomic::{AtomicFile, write_error};
use crate::io::waveforms::columns;
use crate::io::waveforms::sink::{self, Pieces};
use crate::io::{WaveformSink, WriteInfo, truth};
use crate::model::{Batch, Truth};

/// Writes an Arrow IPC file, one record batch per piece.
pub(crate) struct ArrowSink {
    /// The file, until the first waveform determines the type of the samples.
    target: Option<AtomicFile>,
    writer: Option<FileWriter<BufWriter<AtomicFile>>>,
    path: PathBuf,
    is_float: bool,
    info: WriteInfo,
    pieces: Pieces,
}

impl ArrowSink {
    pub fn create(path: &Path, info: &WriteInfo) -> Result<Self> {
        Ok(Self {
            target: Some(AtomicFile::create(path)?),
            writer: None,
            path: path.to_owned(),
            is_float: false,
            info: info.clone(),
            pieces: Pieces::new(),
        })
    }

    fn start(&mut self, is_float: bool) -> Result<()> {
        let Some(target) = self.target.take() else {
            return Ok(());
        };
        self.is_float = is_float;
        let schema = columns::schema(&self.info, is_float);
        let writer = FileWriter::try_new(BufWriter::new(target), &schema)
            .map_err(|error| write_error(&self.path, error))?;
        self.writer = Some(writer);
        Ok(())
    }

    fn write_piece(
        writer: Option<&mut FileWriter<BufWriter<AtomicFile>>>,
        piece: &Batch,
        path: &Path,
    ) -> Result<()> {
        let Some(writer) = writer else {
            return Ok(());
        };
        columns::encode(writer.schema(), piece)
            .and_then(|records| writer.write(&records))
            .map_err(|error| write_error(path, error))
    }
}

impl WaveformSink for ArrowSink {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.start(columns::is_float(batch))?;
        if columns::is_float(batch) != self.is_float {
            return Err(sink::cannot_hold(
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
        pieces.add(batch, |piece| {
            Self::write_piece(writer.as_mut(), piece, path)
        })
    }

    fn finish(mut self: Box<Self>, truth: &Truth) -> Result<()> {
        self.start(false)?;
        if let Some(rest) = self.pieces.rest() {
            Self::write_piece(self.writer.as_mut(), &rest, &self.path)?;
        }
        let mut writer = self
            .writer
            .take()
            .ok_or_else(|| Error::internal("an Arrow file that was never opened"))?;
        let failed = |error: arrow_schema::ArrowError| write_error(&self.path, error);
        writer.finish().map_err(failed)?;
        let target = writer
            .into_inner()
            .map_err(failed)?
            .into_inner()
            .map_err(|error| write_error(&self.path, error.into_error()))?;
        truth::write_truth_files(&self.path, truth)?;
        target.commit()
    }
}
