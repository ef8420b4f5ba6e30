//! Arrow IPC, file and stream: the columns of the Parquet files, record batch by record batch.
//!
//! A file is a stream with eight bytes in front and a table of contents behind, so both are read as a stream: every
//! message is looked at before it is decoded, and the whole batches of a file that was cut off are still found.

mod messages;
mod write;

use std::path::Path;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::StreamDecoder;

use super::blocks::{Block, BlockReader, BlockSource};
use super::columns::Columns;
use super::{Loss, ReadOptions, Source, SourceInfo};
use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::model::Samples;
use messages::{MAX_MESSAGE_BYTES, Messages, Next, largest_unpacked, message_of};
pub(super) use write::ArrowSink;

/// Opens a file (`is_file`) or a stream.
pub(super) fn open(
    path: &Path,
    n_bytes: u64,
    is_file: bool,
    options: &ReadOptions,
) -> Result<Box<dyn Source>> {
    let format = if is_file {
        "Arrow IPC file"
    } else {
        "Arrow IPC stream"
    };
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
    Ok(Box::new(BlockSource::new(Batches {
        info,
        messages,
        decoder,
        columns,
        next_row: 0,
        next_batch: 0,
        ended: false,
    })))
}

struct Batches {
    info: SourceInfo,
    messages: Messages,
    decoder: StreamDecoder,
    columns: Columns,
    next_row: u64,
    next_batch: u64,
    ended: bool,
}

impl Batches {
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

    fn lose_rest(&mut self, reason: String) -> Block {
        self.ended = true;
        let mut block = Block::new(0, Samples::U16(Vec::new()));
        block.losses.push(Loss {
            place: format!(
                "batch {} at byte {}",
                self.next_batch, self.messages.position
            ),
            event_id: None,
            channel_id: None,
            n_waveforms: 1,
            reason,
        });
        block
    }
}

impl BlockReader for Batches {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next_block(&mut self) -> Result<Option<Block>> {
        while !self.ended {
            let begin = self.messages.position;
            let bytes = match self.messages.next()? {
                Next::Message(bytes) => bytes,
                Next::End => return Ok(None),
                Next::Bad(reason) => {
                    return Ok(Some(self.lose_rest(format!(
                        "the file {reason}; the rest of the file is left out"
                    ))));
                }
            };
            let path = self.info.path.clone();
            let decoded = guarded(&path, || Ok(self.decode(bytes)))
                .unwrap_or_else(|_| Err("the decoder gave up".to_owned()));
            match decoded {
                Ok(None) => {}
                Ok(Some(records)) => {
                    let block = self.columns.decode(&records, self.next_row, &path)?;
                    self.next_row += records.num_rows() as u64;
                    self.next_batch += 1;
                    return Ok(Some(block));
                }
                Err(reason) => {
                    self.messages.position = begin;
                    return Ok(Some(self.lose_rest(format!(
                        "the batch is damaged ({reason}); the rest of the file is left out"
                    ))));
                }
            }
        }
        Ok(None)
    }
}
