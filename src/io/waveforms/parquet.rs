//! Parquet: columns `event_id`, `channel_id`, `samples`, and `start_ns` if windows do not begin at 0.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::file::metadata::KeyValue;

use super::arrow_values;
use super::block_source::BlockSource;
use super::blocks::{BLOCK_BYTES, Block, BlockReader};
use super::columns::Columns;
use super::format::Format;
use super::record_sink::{RecordSink, RecordWriter, Written};
use super::{Extent, Loss, ReadOptions, Source, SourceInfo};
use crate::error::{Error, Result};
use crate::io::atomic::AtomicFile;
use crate::io::catch_panic::guarded;
use crate::io::limits::parquet::Pages;
use crate::io::parquet_file::{ENCRYPTED, check_codecs, open_file, properties};
use crate::model::Samples;

/// Parquet, identified by its magic word.
pub(crate) const FORMAT: Format = Format {
    name: "Parquet",
    family: "Parquet",
    endings: &["parquet"],
    has_signature: true,
    detect: |probe| Ok(probe.head.starts_with(b"PAR1") || probe.head.starts_with(&ENCRYPTED)),
    open,
    create: Some(|path, info| Ok(Box::new(ParquetSink::create(path, info)?))),
};

/// Maximum number of rows decoded at a time.
const MAX_ROWS: usize = 8192;

/// Opens a file of waveforms.
fn open(path: &Path, n_bytes: u64, options: &ReadOptions) -> Result<Box<dyn Source>> {
    let builder = open_file(path)?;
    let mut info = SourceInfo::new(path.to_owned(), FORMAT.name, n_bytes);
    let columns = Columns::find(builder.schema(), path, options, &mut info)?;
    let names: Vec<&str> = columns
        .projection()
        .into_iter()
        .map(|index| builder.schema().field(index).name().as_str())
        .collect();
    check_codecs(path, builder.metadata(), &names)?;
    let metadata = builder.metadata();
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    let n_rows = count(metadata.file_metadata().num_rows());
    info.n_waveforms = Some(n_rows);
    let mut groups = Vec::new();
    let (mut first_row, mut n_decoded) = (0_u64, 0_u64);
    for group in metadata.row_groups() {
        let rows = first_row..first_row.saturating_add(count(group.num_rows()));
        first_row = rows.end;
        groups.push(rows);
        n_decoded = n_decoded.saturating_add(count(group.total_byte_size()));
    }
    if first_row != n_rows {
        return Err(Error::input(
            path,
            format!("says {n_rows} rows in all, but {first_row} in its row groups"),
        )
        .with_hint("the file is damaged"));
    }
    let row_bytes = n_decoded.checked_div(n_rows).unwrap_or(0).max(1);
    info.extent = Extent::rows(n_rows, row_bytes / 2);
    let n_batch = usize::try_from(BLOCK_BYTES as u64 / row_bytes).unwrap_or(MAX_ROWS);
    let file = File::open(path)
        .and_then(Pages::new)
        .map_err(|error| Error::input(path, "cannot be opened").with_source(error))?;
    let schema = builder.parquet_schema();
    let mask = ProjectionMask::roots(schema, columns.projection());
    let events_mask = ProjectionMask::roots(schema, [columns.event_column()]);
    let metadata =
        ArrowReaderMetadata::try_new(Arc::clone(metadata), ArrowReaderOptions::default())
            .map_err(|error| Error::input(path, "cannot be read").with_source(error))?;
    Ok(Box::new(BlockSource::new(Rows {
        info,
        file,
        metadata,
        mask,
        events_mask,
        n_batch: n_batch.clamp(1, MAX_ROWS),
        columns: columns.projected(),
        groups,
        next_group: 0,
        reader: None,
        next_row: 0,
    })))
}

/// The rows of a file, row group by row group: damage in one does not affect the next.
struct Rows {
    info: SourceInfo,
    file: Pages,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    /// The column of event numbers alone.
    events_mask: ProjectionMask,
    n_batch: usize,
    columns: Columns,
    /// The rows of each row group.
    groups: Vec<Range<u64>>,
    next_group: usize,
    /// The reader of the group before `next_group` if it has rows left, and the end of its rows.
    reader: Option<(ParquetRecordBatchReader, u64)>,
    next_row: u64,
}

impl Rows {
    /// Reads the rows of `group`.
    fn open_group(&self, group: usize, mask: &ProjectionMask) -> Result<ParquetRecordBatchReader> {
        let file = self.file.try_clone().map_err(|error| self.damaged(error))?;
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(mask.clone())
            .with_batch_size(self.n_batch)
            .build()
            .map_err(|error| self.damaged(error))
    }

    fn damaged(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::input(
            &self.info.path,
            format!("cannot be read from row {} on", self.next_row),
        )
        .with_source(error)
    }

    /// Reads the next rows of the current group; `None` after its last.
    fn next_rows(&mut self) -> Result<Option<Block>> {
        let (records, end) = match &mut self.reader {
            None => return Ok(None),
            Some((reader, end)) => (reader.next(), *end),
        };
        let Some(records) = records else {
            if self.next_row < end {
                return Err(Error::input(
                    &self.info.path,
                    format!(
                        "ends after row {}, but its row group says {end} rows",
                        self.next_row
                    ),
                ));
            }
            return Ok(None);
        };
        let records = records.map_err(|error| self.damaged(error))?;
        let first = self.next_row;
        if first.saturating_add(records.num_rows() as u64) > end {
            return Err(Error::input(
                &self.info.path,
                format!("has more rows than the {end} that its row group says"),
            ));
        }
        let path = &self.info.path;
        let block = self
            .columns
            .decode(&records, first, |row| first + row, path)?;
        self.next_row += records.num_rows() as u64;
        Ok(Some(block))
    }

    /// Returns the loss of the rows up to `end`, the end of the row group.
    fn lose_group(&mut self, end: u64, error: &Error) -> Block {
        self.reader = None;
        let mut block = Block::new(0, Samples::U16(Vec::new()));
        block.losses.push(Loss {
            place: format!("rows {} to {}", self.next_row, end.saturating_sub(1)),
            event_id: None,
            channel_id: None,
            n_waveforms: Some(end - self.next_row),
            reason: error.reason(),
            position: self.next_row,
        });
        self.next_row = end;
        block
    }
}

impl BlockReader for Rows {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn position(&self) -> u64 {
        self.next_row
    }

    fn seek(&mut self, position: u64) -> Result<()> {
        let is_before = |rows: &Range<u64>| rows.end <= position;
        let group = self.groups.partition_point(is_before);
        // Always from the row group's first row, so that losses do not depend on where reading began.
        let first = self.groups.get(group).map(|rows| rows.start);
        self.reader = None;
        self.next_group = group;
        self.next_row = first.unwrap_or(position);
        Ok(())
    }

    fn next_events(&mut self) -> Result<Option<Vec<u64>>> {
        let Some(rows) = self.groups.get(self.next_group).cloned() else {
            return Ok(None);
        };
        let mut events = Vec::new();
        let path = self.info.path.clone();
        let read = guarded(&path, || {
            for records in self.open_group(self.next_group, &self.events_mask)? {
                let records = records.map_err(|error| self.damaged(error))?;
                let column = records.columns().first().and_then(arrow_values::integers);
                let ids = column.unwrap_or_default().into_iter().flatten();
                events.extend(ids.filter_map(|id| u64::try_from(id).ok()));
            }
            Ok(())
        });
        self.next_group += 1;
        self.next_row = rows.end;
        match read {
            Err(error) if error.is_system_failure() => Err(error),
            // Waveforms without an event number are lost and belong to no event.
            _ => Ok(Some(events)),
        }
    }

    fn next_block(&mut self) -> Result<Option<Block>> {
        loop {
            if self.reader.is_none() {
                let Some(rows) = self.groups.get(self.next_group).cloned() else {
                    return Ok(None);
                };
                let path = self.info.path.clone();
                let reader = guarded(&path, || self.open_group(self.next_group, &self.mask));
                self.next_group += 1;
                match reader {
                    Ok(reader) => self.reader = Some((reader, rows.end)),
                    Err(error) if error.is_system_failure() => return Err(error),
                    Err(error) => return Ok(Some(self.lose_group(rows.end, &error))),
                }
            }
            let end = self.reader.as_ref().map_or(0, |(_, end)| *end);
            let path = self.info.path.clone();
            match guarded(&path, || self.next_rows()) {
                Ok(Some(block)) => return Ok(Some(block)),
                Ok(None) => self.reader = None,
                Err(error) if error.is_system_failure() => return Err(error),
                Err(error) => return Ok(Some(self.lose_group(end, &error))),
            }
        }
    }
}

/// Writes a Parquet file, one row group per piece.
type ParquetSink = RecordSink<ArrowWriter<AtomicFile>>;

impl RecordWriter for ArrowWriter<AtomicFile> {
    fn begin(target: AtomicFile, schema: &SchemaRef) -> Written<Self> {
        let metadata = schema
            .metadata()
            .iter()
            .map(|(name, value)| KeyValue::new(name.clone(), value.clone()))
            .collect();
        let writer = Self::try_new(target, Arc::clone(schema), Some(properties(metadata)))?;
        Ok(writer)
    }

    fn append(&mut self, records: &RecordBatch) -> Written<()> {
        self.write(records)?;
        self.flush()?;
        Ok(())
    }

    fn complete(self) -> Written<AtomicFile> {
        let target = self.into_inner()?;
        Ok(target)
    }
}
