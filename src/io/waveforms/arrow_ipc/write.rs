//! Writes Arrow IPC files.

use std::io::{BufWriter, IntoInnerError};

use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use arrow_schema::SchemaRef;

use crate::io::atomic::AtomicFile;
use crate::io::waveforms::record_sink::{RecordSink, RecordWriter, Written};

/// Writes an Arrow IPC file, one record batch per piece.
pub(super) type ArrowSink = RecordSink<FileWriter<BufWriter<AtomicFile>>>;

impl RecordWriter for FileWriter<BufWriter<AtomicFile>> {
    fn begin(target: AtomicFile, schema: &SchemaRef) -> Written<Self> {
        let writer = Self::try_new(BufWriter::new(target), schema)?;
        Ok(writer)
    }

    fn append(&mut self, records: &RecordBatch) -> Written<()> {
        self.write(records)?;
        Ok(())
    }

    fn complete(mut self) -> Written<AtomicFile> {
        self.finish()?;
        let target = self
            .into_inner()?
            .into_inner()
            .map_err(IntoInnerError::into_error)?;
        Ok(target)
    }
}
