//! Arrow IPC, file and stream: the columns of the Parquet files, record batch by record batch.
//!
//! The [index](index) of the batches is read first: from the footer of a file, or from the headers of a stream's messages. Small
//! batches are decoded as a whole, large ones a few rows at a time.

mod buffers;
mod index;
mod messages;
#[cfg(feature = "service")]
mod received;
mod rows;
mod section;
#[cfg(test)]
mod tests;
mod write;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::root_as_message;
use arrow_schema::SchemaRef;

use super::block_source::BlockSource;
use super::blocks::{Block, BlockReader};
use super::columns::Columns;
use super::format::Format;
use super::{Extent, Loss, ReadOptions, Source, SourceInfo};
use crate::error::{Error, Result};
use crate::io::catch_panic::guarded;
use crate::model::Samples;
use buffers::NotInPieces;
use index::{Entry, Index, Place};
use messages::unpacked_bytes;
#[cfg(feature = "service")]
pub(crate) use received::{Received, size_of};
use rows::{BatchEvents, BatchRows};
use write::ArrowSink;

/// Size of a batch, uncompressed, up to which it is decoded as a whole.
const MAX_WHOLE_BYTES: u64 = 16 << 20;
/// Bytes of memory for a batch that cannot be read in pieces, uncompressed.
const MAX_BATCH_BYTES: u64 = 256 << 20;

/// Arrow IPC with a footer, identified by its magic word.
pub(crate) const FILE: Format = Format {
    name: "Arrow IPC file",
    family: "Arrow IPC",
    endings: &["arrow", "feather"],
    has_signature: true,
    detect: |probe| Ok(probe.head.starts_with(b"ARROW1\0\0")),
    open: |path, n_bytes, options| open(path, n_bytes, true, options),
    create: Some(|path, info| Ok(Box::new(ArrowSink::create(path, info)?))),
};

/// Arrow IPC without a footer, identified by the marker and the length of its first message.
pub(crate) const STREAM: Format = Format {
    name: "Arrow IPC stream",
    family: "Arrow IPC",
    endings: &["arrows"],
    has_signature: false,
    detect: |probe| Ok(is_stream(&probe.head)),
    open: |path, n_bytes, options| open(path, n_bytes, false, options),
    create: None,
};

/// Returns whether a file begins as a stream: with a marker and the length of the schema, a multiple of 8.
fn is_stream(head: &[u8]) -> bool {
    let (words, _) = head.as_chunks::<4>();
    let length = match words {
        [[0xff, 0xff, 0xff, 0xff], length, ..] => i32::from_le_bytes(*length),
        _ => return false,
    };
    (8..1 << 24).contains(&length) && length % 8 == 0
}

/// Opens a file (`is_file`) or a stream.
fn open(
    path: &Path,
    n_bytes: u64,
    is_file: bool,
    options: &ReadOptions,
) -> Result<Box<dyn Source>> {
    let batches = Batches::open(path, n_bytes, is_file, MAX_WHOLE_BYTES, options)?;
    Ok(Box::new(BlockSource::new(batches)))
}

struct Batches {
    info: SourceInfo,
    input_id: u32,
    file: File,
    schema: SchemaRef,
    columns: Columns,
    entries: Vec<Entry>,
    /// Position of the first row of each entry. A part of an unknown number of rows has one position.
    starts: Vec<u64>,
    next_entry: usize,
    /// The rest of the entry before the next, if that is read in pieces.
    rows: Option<BatchRows>,
    events: Option<BatchEvents>,
    /// Events of a batch that cannot be read in pieces.
    whole_events: Option<Vec<u64>>,
    /// Size of a batch, uncompressed, up to which it is decoded as a whole.
    max_whole_bytes: u64,
}

impl Batches {
    fn open(
        path: &Path,
        n_bytes: u64,
        is_file: bool,
        max_whole_bytes: u64,
        options: &ReadOptions,
    ) -> Result<Self> {
        let format = if is_file { FILE.name } else { STREAM.name };
        let mut info = SourceInfo::new(path.to_owned(), format, n_bytes);
        let Index { schema, entries } =
            guarded(path, || Index::read(path, n_bytes, is_file, format))?;
        let columns = guarded(path, || Columns::find(&schema, path, options, &mut info))?;
        let mut starts = Vec::with_capacity(entries.len());
        let (mut end, mut is_complete) = (0_u64, true);
        for entry in &entries {
            starts.push(end);
            let rows = match entry {
                Entry::Batch(place) => place.rows,
                Entry::Bad(_, rows, _) => {
                    is_complete = false;
                    rows.unwrap_or(1).max(1)
                }
            };
            end = end.saturating_add(rows);
        }
        info.n_waveforms = is_complete.then_some(end);
        let first = entries.iter().find_map(|entry| match entry {
            Entry::Batch(place) if place.rows > 0 => Some(place),
            _ => None,
        });
        let per_waveform =
            first.map_or(1, |place| (place.body.end - place.body.start) / place.rows);
        let samples = info.n_samples.map_or(per_waveform / 2, |n| n as u64);
        info.extent = Extent::rows(end, samples);
        let file = File::open(path)
            .map_err(|error| Error::input(path, "cannot be opened").with_source(error))?;
        let batches = Self {
            info,
            input_id: options.input_id,
            file,
            schema: SchemaRef::new(schema),
            columns,
            entries,
            starts,
            next_entry: 0,
            rows: None,
            events: None,
            whole_events: None,
            max_whole_bytes,
        };
        batches.refuse_too_large()?;
        Ok(batches)
    }

    /// Refuses a file with a batch that does not fit into memory and cannot be read in pieces.
    fn refuse_too_large(&self) -> Result<()> {
        let is_plain =
            |index: usize| buffers::scalar_of(self.schema.field(index).data_type()).is_some();
        let roles = self.columns.roles();
        let numbers = [Some(roles.event_id), roles.channel_id, roles.start_ns];
        let is_in_pieces = numbers.into_iter().flatten().all(is_plain)
            && rows::has_plain_samples(&self.schema, roles.samples);
        let largest = self.entries.iter().filter_map(|entry| match entry {
            Entry::Batch(place) => Some(place),
            Entry::Bad(..) => None,
        });
        let Some(largest) = largest
            .max_by_key(|place| place.body.end - place.body.start)
            .filter(|place| !is_in_pieces && place.body.end - place.body.start > MAX_BATCH_BYTES)
        else {
            return Ok(());
        };
        Err(self.too_large(largest))
    }

    fn too_large(&self, place: &Place) -> Error {
        Error::input(
            &self.info.path,
            format!(
                "has a batch of {} waveforms in {} bytes, which is too large to be read as a whole, and its types cannot be read in pieces",
                place.rows,
                place.body.end - place.body.start
            ),
        )
        .with_hint("write it with smaller batches, or with plain integers and floats")
    }

    fn read(&mut self, range: std::ops::Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
        let read = self
            .file
            .seek(SeekFrom::Start(range.start))
            .and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|error| {
            Error::input(
                &self.info.path,
                format!("cannot be read at byte {}", range.start),
            )
            .with_source(error)
        })?;
        Ok(bytes)
    }

    /// Reads the batch at `place`, whose first row is at `first`: as a whole, or the beginning of it.
    fn read_batch(&mut self, place: &Place, first: u64) -> Result<Option<Block>> {
        let path = self.info.path.clone();
        let header = self.read(place.header.clone())?;
        let damaged = |what: &str| Error::input(&path, what);
        let message =
            root_as_message(&header).map_err(|_| damaged("its header cannot be understood"))?;
        let records = message
            .header_as_record_batch()
            .ok_or_else(|| damaged("it is no record batch"))?;
        let size = place.body.end - place.body.start;
        let body = if size <= self.max_whole_bytes {
            Some(self.read(place.body.clone())?)
        } else {
            None
        };
        let unpacked = body
            .as_deref()
            .map_or(Some(size), |body| unpacked_bytes(&message, body))
            .ok_or_else(|| damaged("it states impossible sizes"))?;
        if unpacked > self.max_whole_bytes {
            let roles = self.columns.roles();
            let begin = place.body.start;
            match BatchRows::open(&path, begin, records, &self.schema, roles) {
                Ok(rows) => {
                    self.rows = Some(rows);
                    return Ok(None);
                }
                Err(NotInPieces::Type) if unpacked > MAX_BATCH_BYTES => {
                    return Err(self.too_large(place));
                }
                Err(NotInPieces::Type) => {}
                Err(NotInPieces::Read(error)) => {
                    return Err(damaged("its columns cannot be read").with_source(error));
                }
            }
        }
        let body = match body {
            Some(body) => body,
            None => self.read(place.body.clone())?,
        };
        let records: RecordBatch = read_record_batch(
            &Buffer::from(body),
            records,
            SchemaRef::clone(&self.schema),
            &HashMap::new(),
            Some(&self.columns.projection()),
            &message.version(),
        )
        .map_err(|error| damaged("its columns cannot be read").with_source(error))?;
        let columns = self.columns.projected();
        columns
            .decode(&records, first, |row| first + row, &path)
            .map(Some)
    }

    /// Returns the loss of the last `n_waveforms` rows of the entry before the next.
    fn lose(&self, n_waveforms: Option<u64>, reason: String) -> Block {
        let entry = self.next_entry.saturating_sub(1);
        let start = self.starts.get(entry).copied().unwrap_or(0);
        let (byte, rows) = match self.entries.get(entry) {
            Some(Entry::Batch(place)) => (place.begin, Some(place.rows)),
            Some(Entry::Bad(byte, rows, _)) => (*byte, *rows),
            None => (0, None),
        };
        let done = rows
            .zip(n_waveforms)
            .map_or(0, |(rows, n)| rows.saturating_sub(n));
        let mut block = Block::new(self.input_id, Samples::U16(Vec::new()));
        block.losses.push(Loss {
            place: if done == 0 {
                format!("batch {entry} at byte {byte}")
            } else {
                format!("batch {entry} at byte {byte}, from row {} on", start + done)
            },
            event_id: None,
            channel_id: None,
            n_waveforms,
            reason,
            position: start + done,
        });
        block
    }

    /// Returns the loss of a batch that cannot be decoded, or the error of the system.
    fn lose_batch(&self, n_waveforms: u64, error: Error) -> Result<Option<Block>> {
        if error.is_system_failure() {
            return Err(error);
        }
        let reason = match std::error::Error::source(&error) {
            Some(source) => format!("{}: {source}", error.message()),
            None => error.message().to_owned(),
        };
        let reason =
            format!("the batch is damaged, {n_waveforms} waveforms are left out: {reason}");
        Ok(Some(self.lose(Some(n_waveforms), reason)))
    }

    /// Opens the column of events of the next batch. Returns false after the last.
    fn open_events(&mut self) -> Result<bool> {
        while let Some(entry) = self.entries.get(self.next_entry).cloned() {
            self.next_entry += 1;
            let Entry::Batch(place) = entry else { continue };
            let header = self.read(place.header.clone())?;
            let message = root_as_message(&header).ok();
            let Some(records) = message.and_then(|message| message.header_as_record_batch()) else {
                continue;
            };
            let column = self.columns.event_column();
            let begin = place.body.start;
            // The waveforms of a batch that cannot be read are lost and belong to no event.
            match BatchEvents::open(&self.info.path, begin, records, &self.schema, column) {
                Ok(events) => {
                    self.events = Some(events);
                    return Ok(true);
                }
                Err(NotInPieces::Type) => match self.read_batch(&place, 0) {
                    Ok(Some(block)) => {
                        self.whole_events = Some(block.batch.event_id().to_vec());
                        return Ok(true);
                    }
                    Err(error) if error.is_system_failure() => return Err(error),
                    Ok(None) | Err(_) => {}
                },
                Err(NotInPieces::Read(error)) => {
                    let error = Error::input(&self.info.path, "cannot be read").with_source(error);
                    if error.is_system_failure() {
                        return Err(error);
                    }
                }
            }
        }
        Ok(false)
    }
}

impl BlockReader for Batches {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn position(&self) -> u64 {
        let next = self.starts.get(self.next_entry).copied();
        let next = next.unwrap_or(self.info.extent.end);
        match &self.rows {
            Some(rows) => next.saturating_sub(rows.n_left()),
            None => next,
        }
    }

    fn seek(&mut self, position: u64) -> Result<()> {
        // Always from the first row of a batch, so that losses do not depend on where reading began.
        let after = self.starts.partition_point(|&start| start <= position);
        self.next_entry = after.saturating_sub(1);
        self.rows = None;
        self.events = None;
        self.whole_events = None;
        Ok(())
    }

    fn next_events(&mut self) -> Result<Option<Vec<u64>>> {
        let path = self.info.path.clone();
        loop {
            if let Some(events) = self.whole_events.take() {
                return Ok(Some(events));
            }
            if let Some(events) = &mut self.events {
                match guarded(&path, || {
                    events
                        .next()
                        .map_err(|error| Error::input(&path, "cannot be read").with_source(error))
                }) {
                    Ok(Some(ids)) => return Ok(Some(ids)),
                    Err(error) if error.is_system_failure() => return Err(error),
                    Ok(None) | Err(_) => self.events = None,
                }
            }
            if !guarded(&path, || self.open_events())? {
                return Ok(None);
            }
        }
    }

    fn next_block(&mut self) -> Result<Option<Block>> {
        let path = self.info.path.clone();
        loop {
            if let Some(rows) = &mut self.rows {
                let entry = self.next_entry.saturating_sub(1);
                let start = self.starts.get(entry).copied().unwrap_or(0);
                let input_id = self.input_id;
                let block = guarded(&path, || {
                    rows.next_block(input_id, start)
                        .map_err(|error| Error::input(&path, "a column").with_source(error))
                });
                match block {
                    Ok(Some(block)) => return Ok(Some(block)),
                    Ok(None) => self.rows = None,
                    Err(error) => {
                        let n_left = rows.n_left();
                        self.rows = None;
                        return self.lose_batch(n_left, error);
                    }
                }
            }
            let Some(entry) = self.entries.get(self.next_entry).cloned() else {
                return Ok(None);
            };
            let start = self.starts.get(self.next_entry).copied().unwrap_or(0);
            self.next_entry += 1;
            match entry {
                Entry::Bad(_, rows, reason) => return Ok(Some(self.lose(rows, reason))),
                Entry::Batch(place) if place.rows == 0 => {}
                Entry::Batch(place) => match guarded(&path, || self.read_batch(&place, start)) {
                    Ok(Some(block)) => return Ok(Some(block)),
                    Ok(None) => {}
                    Err(error) => return self.lose_batch(place.rows, error),
                },
            }
        }
    }
}
