//! Arrow IPC, file and stream: the columns of the Parquet files, record batch by record batch.
//!
//! A file is a stream after eight bytes and before a footer, so both are read as a stream. Every message is checked before
//! it is decoded, and the complete batches of a file that was cut off are found.

mod messages;
#[cfg(feature = "service")]
mod received;
mod write;

use std::path::Path;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::StreamDecoder;

use super::block_source::BlockSource;
use super::blocks::{Block, BlockReader};
use super::columns::{Columns, integers};
use super::format::Format;
use super::{Extent, Loss, ReadOptions, Source, SourceInfo};
use crate::error::{Error, Result};
use crate::io::catch_panic::guarded;
use crate::model::Samples;
use messages::{MAX_MESSAGE_BYTES, Messages, Next, largest_unpacked, message_of, rows_of};
#[cfg(feature = "service")]
pub(crate) use received::{Received, size_of};
use write::ArrowSink;

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
    let format = if is_file { FILE.name } else { STREAM.name };
    let mut info = SourceInfo::new(path.to_owned(), format, n_bytes);
    let mut messages = Messages::open(path, n_bytes, is_file)?;
    let damaged = |what: &str| {
        Error::input(path, format!("is an {format} that {what}"))
            .with_hint("a file that was cut off while it was written or copied looks like this")
    };
    let first = match messages.next()? {
        Next::Message(bytes) => bytes,
        Next::End => return Err(damaged("ends before its schema")),
        Next::Bad(reason) => return Err(damaged(&reason)),
    };
    let mut decoder = StreamDecoder::new();
    let columns = guarded(path, || {
        let schema = message_of(&first)
            .and_then(|message| message.header_as_schema())
            .ok_or_else(|| damaged("does not begin with a schema"))?;
        let schema = try_fb_to_schema(schema).map_err(|error| {
            damaged("has a schema that cannot be understood").with_source(error)
        })?;
        decoder
            .decode(&mut Buffer::from(first.as_slice()))
            .map_err(|error| damaged("has a schema that cannot be read").with_source(error))?;
        Columns::find(&schema, path, options, &mut info)
    })?;
    let mut batches = Batches {
        info,
        messages,
        schema: first,
        decoder,
        columns,
        next_row: 0,
        next_batch: 0,
        ahead: None,
        ended: false,
    };
    batches.look_ahead()?;
    Ok(Box::new(BlockSource::new(batches)))
}

struct Batches {
    info: SourceInfo,
    messages: Messages,
    /// The message with the schema, which every decoder starts with.
    schema: Vec<u8>,
    decoder: StreamDecoder,
    columns: Columns,
    next_row: u64,
    next_batch: u64,
    /// The next message if it was read already, and its offset.
    ahead: Option<(u64, Next)>,
    ended: bool,
}

impl Batches {
    /// Reads the first message after the schema, to estimate the size of a waveform.
    fn look_ahead(&mut self) -> Result<()> {
        let begin = self.messages.position;
        let next = self.messages.next()?;
        if let Next::Message(bytes) = &next
            && let Some(rows) = rows_of(bytes).filter(|&rows| rows > 0)
        {
            let per_waveform = bytes.len() as u64 / rows;
            let samples = self.info.n_samples.map_or(per_waveform / 2, |n| n as u64);
            self.info.extent = Extent::bytes(self.info.n_bytes, per_waveform, samples);
        }
        self.ahead = Some((begin, next));
        Ok(())
    }

    /// Reads the next message. Returns it with its offset.
    fn next_message(&mut self) -> Result<(u64, Next)> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(ahead);
        }
        let begin = self.messages.position;
        Ok((begin, self.messages.next()?))
    }

    fn decode(&mut self, bytes: Vec<u8>) -> std::result::Result<Option<RecordBatch>, String> {
        if let Some(size) = largest_unpacked(&bytes)
            && size > MAX_MESSAGE_BYTES
        {
            return Err(format!("it claims to unpack to {size} bytes"));
        }
        let mut buffer = Buffer::from(bytes);
        let mut found = None;
        while !buffer.is_empty() {
            match self.decoder.decode(&mut buffer) {
                Ok(Some(records)) => found = Some(records),
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(found)
    }

    /// Adds the loss of `n_waveforms` from the message at `position` on.
    fn lose(&self, position: u64, n_waveforms: Option<u64>, reason: String) -> Block {
        let mut block = Block::new(0, Samples::U16(Vec::new()));
        block.losses.push(Loss {
            place: format!("batch {} at byte {position}", self.next_batch),
            event_id: None,
            channel_id: None,
            n_waveforms,
            reason,
            position,
        });
        block
    }

    /// Replaces the decoder after a failure, which leaves it in an unknown state.
    fn reset_decoder(&mut self) {
        self.decoder = StreamDecoder::new();
        let mut schema = Buffer::from(self.schema.as_slice());
        // It accepted the same bytes before.
        let _ = self.decoder.decode(&mut schema);
    }
}

impl BlockReader for Batches {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn position(&self) -> u64 {
        let ahead = self.ahead.as_ref().map(|(begin, _)| *begin);
        ahead.unwrap_or(self.messages.position)
    }

    fn next_events(&mut self) -> Result<Option<Vec<u64>>> {
        loop {
            let (_, Next::Message(bytes)) = self.next_message()? else {
                return Ok(None);
            };
            let path = self.info.path.clone();
            let column = self.columns.event_column();
            let ids = guarded(&path, || {
                let records = self.decode(bytes).unwrap_or_else(|_| {
                    // Its waveforms are lost and belong to no event.
                    self.reset_decoder();
                    None
                });
                Ok(records.and_then(|records| integers(records.columns().get(column)?)))
            })?;
            if let Some(ids) = ids {
                let ids = ids.into_iter().flatten();
                return Ok(Some(ids.filter_map(|id| u64::try_from(id).ok()).collect()));
            }
        }
    }

    fn next_block(&mut self) -> Result<Option<Block>> {
        while !self.ended {
            let (begin, next) = self.next_message()?;
            let bytes = match next {
                Next::Message(bytes) => bytes,
                Next::End => return Ok(None),
                Next::Bad(reason) => {
                    self.ended = true;
                    let reason = format!("the file {reason}; the rest of the file is left out");
                    return Ok(Some(self.lose(begin, None, reason)));
                }
            };
            let path = self.info.path.clone();
            let (size, rows) = (bytes.len() as u64, rows_of(&bytes));
            let decoded = guarded(&path, || Ok(self.decode(bytes)))
                .unwrap_or_else(|_| Err("the decoder gave up".to_owned()));
            match decoded {
                Ok(None) => {}
                Ok(Some(records)) => {
                    let rows = (records.num_rows() as u64).max(1);
                    let position = |row: u64| begin + size * row / rows;
                    let first = self.next_row;
                    let block = guarded(&path, || {
                        self.columns.decode(&records, first, position, &path)
                    });
                    self.next_row += records.num_rows() as u64;
                    let block = block.unwrap_or_else(|error| {
                        self.lose(begin, Some(records.num_rows() as u64), error.reason())
                    });
                    self.next_batch += 1;
                    return Ok(Some(block));
                }
                // Messages are delimited before they are decoded: a failure does not move the next one.
                Err(reason) => {
                    self.reset_decoder();
                    let rows = rows.unwrap_or(0);
                    let block = self.lose(
                        begin,
                        Some(rows.max(1)),
                        format!("the batch of {rows} waveforms is damaged ({reason})"),
                    );
                    self.next_row += rows;
                    self.next_batch += 1;
                    return Ok(Some(block));
                }
            }
        }
        Ok(None)
    }
}
