//! Parquet: columns `event_id`, `channel_id`, `samples`, and `start_ns` where windows begin elsewhere than at 0.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::atomic::{AtomicFile, write_error};
use super::blocks::{BLOCK_BYTES, Block, BlockReader, BlockSource};
use super::columns::{self, Columns};
use super::sink::Pieces;
use super::{ReadOptions, Source, SourceInfo, WaveformSink, WriteInfo, truth};
use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::model::{Batch, Truth};

/// Most rows decoded at a time, however short they claim to be.
const MAX_ROWS: usize = 8192;

/// Opens a file of waveforms.
pub(super) fn open(path: &Path, n_bytes: u64, options: &ReadOptions) -> Result<Box<dyn Source>> {
    let builder = open_file(path)?;
    let mut info = SourceInfo::new(path.to_owned(), "Parquet", n_bytes);
    let columns = Columns::find(builder.schema(), path, options, &mut info)?;
    let metadata = builder.metadata();
    let n_rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    info.n_waveforms = Some(n_rows);
    let n_decoded: u64 = metadata
        .row_groups()
        .iter()
        .map(|group| u64::try_from(group.total_byte_size()).unwrap_or(0))
        .fold(0, u64::saturating_add);
    let row_bytes = n_decoded.checked_div(n_rows).unwrap_or(0).max(1);
    let n_batch = usize::try_from(BLOCK_BYTES as u64 / row_bytes).unwrap_or(MAX_ROWS);
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns.projection());
    let columns = columns.projected();
    let reader = builder
        .with_projection(mask)
        .with_batch_size(n_batch.clamp(1, MAX_ROWS))
        .build()
        .map_err(|error| Error::input(path, "cannot be read").with_source(error))?;
    Ok(Box::new(BlockSource::new(Rows {
        info,
        reader,
        columns,
        next_row: 0,
    })))
}

/// Opens a Parquet file and reads its footer.
pub(super) fn open_file(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path)
        .map_err(|error| Error::input(path, "cannot be opened").with_source(error))?;
    guarded(path, || {
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| {
            Error::input(path, "is a Parquet file whose footer cannot be read")
                .with_source(error)
                .with_hint("a file that was cut off while it was written or copied looks like this")
        })
    })
}

struct Rows {
    info: SourceInfo,
    reader: ParquetRecordBatchReader,
    columns: Columns,
    next_row: u64,
}

impl BlockReader for Rows {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next_block(&mut self) -> Result<Option<Block>> {
        let Some(records) = self.reader.next() else {
            if Some(self.next_row) == self.info.n_waveforms {
                return Ok(None);
            }
            return Err(Error::input(
                &self.info.path,
                format!(
                    "ends after row {}, but its footer says {} rows",
                    self.next_row,
                    self.info.n_waveforms.unwrap_or(0)
                ),
            ));
        };
        let records = records.map_err(|error| {
            Error::input(
                &self.info.path,
                format!("cannot be read from row {} on", self.next_row),
            )
            .with_source(error)
        })?;
        let block = self
            .columns
            .decode(&records, self.next_row, &self.info.path)?;
        self.next_row += records.num_rows() as u64;
        Ok(Some(block))
    }
}

/// How all Parquet files are written, with `metadata` in the footer.
fn properties(metadata: Vec<KeyValue>) -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Noise repeats itself too little for a dictionary to pay.
        .set_dictionary_enabled(false)
        .set_key_value_metadata((!metadata.is_empty()).then_some(metadata))
        .build()
}

/// Writes a Parquet file; a row group is a piece.
pub(super) struct ParquetSink {
    /// The file until the first waveform tells the type of the samples.
    target: Option<AtomicFile>,
    writer: Option<ArrowWriter<AtomicFile>>,
    path: PathBuf,
    schema: SchemaRef,
    is_float: bool,
    info: WriteInfo,
    pieces: Pieces,
}

impl ParquetSink {
    pub fn create(path: &Path, info: &WriteInfo) -> Result<Self> {
        Ok(Self {
            target: Some(AtomicFile::create(path)?),
            writer: None,
            path: path.to_owned(),
            schema: columns::schema(info, false),
            is_float: false,
            info: info.clone(),
            pieces: Pieces::new(),
        })
    }

    /// Opens the writer for samples of the first batch's type.
    fn start(&mut self, is_float: bool) -> Result<()> {
        let Some(target) = self.target.take() else {
            return Ok(());
        };
        let schema = columns::schema(&self.info, is_float);
        let metadata = schema
            .metadata()
            .iter()
            .map(|(name, value)| KeyValue::new(name.clone(), value.clone()))
            .collect();
        self.schema = schema;
        self.is_float = is_float;
        let writer =
            ArrowWriter::try_new(target, Arc::clone(&self.schema), Some(properties(metadata)))
                .map_err(|error| write_error(&self.path, error))?;
        self.writer = Some(writer);
        Ok(())
    }

    fn write_piece(
        writer: Option<&mut ArrowWriter<AtomicFile>>,
        schema: &SchemaRef,
        piece: &Batch,
        path: &Path,
    ) -> Result<()> {
        let Some(writer) = writer else {
            return Ok(());
        };
        let records = columns::encode(schema, piece).map_err(|error| write_error(path, error))?;
        writer
            .write(&records)
            .and_then(|()| writer.flush())
            .map_err(|error| write_error(path, error))
    }
}

impl WaveformSink for ParquetSink {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.start(columns::is_float(batch))?;
        if columns::is_float(batch) != self.is_float {
            return Err(super::sink::cannot_hold(
                &self.path,
                "integer and float samples together",
            ));
        }
        let Self {
            writer,
            schema,
            pieces,
            path,
            ..
        } = self;
        pieces.add(batch, |piece| {
            Self::write_piece(writer.as_mut(), schema, piece, path)
        })
    }

    fn finish(mut self: Box<Self>, truth: &Truth) -> Result<()> {
        self.start(false)?;
        if let Some(rest) = self.pieces.rest() {
            Self::write_piece(self.writer.as_mut(), &self.schema, &rest, &self.path)?;
        }
        let writer = self
            .writer
            .take()
            .ok_or_else(|| Error::internal("a Parquet file that was never opened"))?;
        let target = writer
            .into_inner()
            .map_err(|error| write_error(&self.path, error))?;
        truth::write_beside(&self.path, truth)?;
        target.commit()
    }
}

/// Writes one table as a file of its own.
pub(super) fn write_table(path: &Path, records: &arrow_array::RecordBatch) -> Result<()> {
    let target = AtomicFile::create(path)?;
    let mut writer = ArrowWriter::try_new(target, records.schema(), Some(properties(Vec::new())))
        .map_err(|error| write_error(path, error))?;
    writer
        .write(records)
        .map_err(|error| write_error(path, error))?;
    writer
        .into_inner()
        .map_err(|error| write_error(path, error))?
        .commit()
}
