//! The record batches of an Arrow IPC file or stream: where they are, and how many rows they have.
//!
//! A file that is complete is read by its footer. A stream, and a file whose end is missing or damaged, is walked message by
//! message; only the headers are read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::{MessageHeader, root_as_footer, root_as_message};
use arrow_schema::Schema;

use super::messages::body_bytes;
use crate::error::{Error, Result};

/// Maximum number of bytes before the stream in a file: the magic word and padding up to the alignment that the writer chose.
const FILE_MAGIC_BYTES: u64 = 8;
const MAX_PADDING: u64 = 128;
const MAGIC: &[u8] = b"ARROW1";
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Maximum size of a message's header, and of a footer.
const MAX_HEADER_BYTES: u64 = 1 << 28;
/// Maximum number of rows per byte of a batch: the best compression of a constant column.
const MAX_ROWS_PER_BYTE: u64 = 1 << 16;

/// A record batch.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Offset of the message.
    pub begin: u64,
    /// The header.
    pub header: Range<u64>,
    /// The body.
    pub body: Range<u64>,
    /// Number of rows by the header.
    pub rows: u64,
}

/// An element of the index.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Batch(Place),
    /// A part of the file that cannot be read: its offset, the number of rows if it is known, and the reason.
    Bad(u64, Option<u64>, String),
}

/// The schema and the record batches of a file, in order.
pub(super) struct Index {
    pub schema: Schema,
    pub entries: Vec<Entry>,
}

impl Index {
    /// Reads the index of a file (`is_file`) or stream of `n_bytes`.
    pub fn read(path: &Path, n_bytes: u64, is_file: bool, format: &str) -> Result<Self> {
        let unreadable = |error: io::Error| Error::input(path, "cannot be read").with_source(error);
        let file = File::open(path)
            .map_err(|error| Error::input(path, "cannot be opened").with_source(error))?;
        let mut reader = Reader { file, n_bytes };
        let by_footer = if is_file {
            by_footer(&mut reader).map_err(unreadable)?
        } else {
            None
        };
        let is_whole = |index: &Self| {
            let mut entries = index.entries.iter();
            entries.all(|entry| matches!(entry, Entry::Batch(_)))
        };
        if let Some(index) = by_footer.as_ref().filter(|index| is_whole(index)) {
            return Ok(Self {
                schema: index.schema.clone(),
                entries: index.entries.clone(),
            });
        }
        // The footer is missing or damaged, or a message that it names is: perhaps the stream tells more.
        let walked = walk(&mut reader, is_file).map_err(unreadable)?;
        match (by_footer, walked) {
            (Some(index), Ok(walked))
                if is_whole(&walked) && walked.entries.len() >= index.entries.len() =>
            {
                Ok(walked)
            }
            (Some(index), _) => Ok(index),
            (None, Ok(walked)) => Ok(walked),
            (None, Err(reason)) => Err(Error::input(path, format!("is an {format} that {reason}"))
                .with_hint(
                    "a file that was cut off while it was written or copied looks like this",
                )),
        }
    }
}

struct Reader {
    file: File,
    n_bytes: u64,
}

impl Reader {
    /// Reads `range`, or `None` if the file ends before.
    fn read(&mut self, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let length = range.end.checked_sub(range.start);
        let Some(length) = length.filter(|_| range.end <= self.n_bytes) else {
            return Ok(None);
        };
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file.seek(SeekFrom::Start(range.start))?;
        match self.file.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A message by its header.
enum Message {
    Schema(Schema),
    Batch(Place),
    /// Another kind, which ends at this offset.
    Other(u64),
}

/// Reads the index in the footer, if there is a footer that can be understood.
fn by_footer(reader: &mut Reader) -> io::Result<Option<Index>> {
    let n_bytes = reader.n_bytes;
    let tail = reader.read(n_bytes.saturating_sub(10)..n_bytes)?;
    let Some((length, MAGIC)) = tail
        .as_deref()
        .and_then(|tail| tail.split_first_chunk::<4>())
    else {
        return Ok(None);
    };
    let length = u64::from(u32::from_le_bytes(*length));
    let Some(begin) = (n_bytes - 10)
        .checked_sub(length)
        .filter(|_| length <= MAX_HEADER_BYTES)
    else {
        return Ok(None);
    };
    let Some(bytes) = reader.read(begin..n_bytes - 10)? else {
        return Ok(None);
    };
    let Ok(footer) = root_as_footer(&bytes) else {
        return Ok(None);
    };
    let Some(Ok(schema)) = footer.schema().map(try_fb_to_schema) else {
        return Ok(None);
    };
    let mut entries = Vec::new();
    for block in footer.recordBatches().iter().flatten() {
        let start = u64::try_from(block.offset()).unwrap_or(u64::MAX);
        let header = u64::try_from(block.metaDataLength()).ok();
        let body = u64::try_from(block.bodyLength()).ok();
        let end = header
            .zip(body)
            .and_then(|(header, body)| start.checked_add(header)?.checked_add(body))
            .filter(|&end| end <= begin);
        let message = match end {
            Some(_) => message_at(reader, start, header)?,
            None => Err("lies outside the file".to_owned()),
        };
        entries.push(match message {
            Ok(Message::Batch(place)) if place.body.end <= begin => Entry::Batch(place),
            Ok(_) => Entry::Bad(
                start,
                None,
                "a batch of the table of contents is none".to_owned(),
            ),
            Err(reason) => Entry::Bad(
                start,
                None,
                format!("a batch of the table of contents {reason}"),
            ),
        });
    }
    Ok(Some(Index { schema, entries }))
}

/// Walks the messages. Returns why the file cannot be read if it has no schema.
fn walk(reader: &mut Reader, is_file: bool) -> io::Result<std::result::Result<Index, String>> {
    let mut position = 0;
    if is_file {
        position = FILE_MAGIC_BYTES;
        // The magic word is followed by zeros.
        while position < MAX_PADDING && reader.read(position..position + 8)? == Some(vec![0; 8]) {
            position += 8;
        }
    }
    let mut schema = None;
    let mut entries = Vec::new();
    loop {
        if position >= reader.n_bytes {
            if is_file {
                let reason = "the file ends without its table of contents".to_owned();
                entries.push(Entry::Bad(position, None, reason));
            }
            break;
        }
        if is_end(reader, position)? {
            let end = position + 8;
            if is_file || end >= reader.n_bytes {
                break;
            }
            // Another stream may follow, as `cat` puts one after another.
            match message_at(reader, end, None)? {
                Ok(Message::Schema(next)) if schema.as_ref() == Some(&next) => {
                    position = end_of_message(reader, end)?;
                    continue;
                }
                Ok(Message::Schema(_)) => {
                    let reason = "a stream with other columns follows the first; it is left out";
                    entries.push(Entry::Bad(end, None, reason.to_owned()));
                }
                _ => {
                    let reason = format!(
                        "{} bytes follow the end of the stream; they are left out",
                        reader.n_bytes - end
                    );
                    entries.push(Entry::Bad(end, None, reason));
                }
            }
            break;
        }
        match message_at(reader, position, None)? {
            Ok(Message::Schema(found)) if schema.is_none() => {
                schema = Some(found);
                position = end_of_message(reader, position)?;
            }
            Ok(Message::Batch(place)) => {
                let end = place.body.end;
                if end > reader.n_bytes {
                    let reason =
                        format!("the file ends inside a batch of {} waveforms", place.rows);
                    entries.push(Entry::Bad(position, Some(place.rows), reason));
                    if is_file {
                        let reason = "the file ends without its table of contents".to_owned();
                        entries.push(Entry::Bad(reader.n_bytes, None, reason));
                    }
                    break;
                }
                entries.push(Entry::Batch(place));
                position = end;
            }
            Ok(Message::Other(end)) => position = end,
            Ok(Message::Schema(_)) => position = end_of_message(reader, position)?,
            Err(reason) => {
                if schema.is_none() {
                    return Ok(Err(reason));
                }
                let reason = format!("the file {reason}; the rest of the file is left out");
                entries.push(Entry::Bad(position, None, reason));
                break;
            }
        }
    }
    Ok(match schema {
        Some(schema) => Ok(Index { schema, entries }),
        None => Err("ends before its schema".to_owned()),
    })
}

/// Returns whether the mark of the end of a stream is at `position`.
fn is_end(reader: &mut Reader, position: u64) -> io::Result<bool> {
    let bytes = reader.read(position..position + 8)?;
    Ok(bytes.is_some_and(|bytes| bytes.starts_with(&CONTINUATION) && bytes.ends_with(&[0; 4])))
}

/// Returns the range of the header of the message at `position`.
fn header_at(
    reader: &mut Reader,
    position: u64,
) -> io::Result<std::result::Result<Range<u64>, String>> {
    let Some(bytes) = reader.read(position..position.saturating_add(8))? else {
        return Ok(Err("ends inside the length of a message".to_owned()));
    };
    let (words, _) = bytes.as_chunks::<4>();
    let [CONTINUATION, length] = *words else {
        return Ok(Err("has no message where one should begin".to_owned()));
    };
    let length = u64::from(u32::from_le_bytes(length));
    if length > MAX_HEADER_BYTES {
        return Ok(Err(format!("claims a message header of {length} bytes")));
    }
    let begin = position + 8;
    Ok(if begin + length > reader.n_bytes {
        Err("ends inside the header of a message".to_owned())
    } else {
        Ok(begin..begin + length)
    })
}

fn end_of_message(reader: &mut Reader, position: u64) -> io::Result<u64> {
    Ok(header_at(reader, position)?.map_or(reader.n_bytes, |header| header.end))
}

/// Reads the header of the message at `position`. `header_bytes` is the size of the header with its length, as a footer states
/// it. Returns what is wrong with the file if there is no message.
fn message_at(
    reader: &mut Reader,
    position: u64,
    header_bytes: Option<u64>,
) -> io::Result<std::result::Result<Message, String>> {
    let range = match header_at(reader, position)? {
        Ok(range) => range,
        Err(reason) => return Ok(Err(reason)),
    };
    let body_begin = header_bytes.map_or(range.end, |n_bytes| position + n_bytes);
    let Some(bytes) = reader.read(range.clone())? else {
        return Ok(Err("ends inside the header of a message".to_owned()));
    };
    let unknown = || Ok(Err("has a message that cannot be understood".to_owned()));
    let Ok(message) = root_as_message(&bytes) else {
        return unknown();
    };
    let Some(length) = body_bytes(&message) else {
        return unknown();
    };
    let Some(end) = body_begin
        .checked_add(length)
        .filter(|_| body_begin >= range.end)
    else {
        return unknown();
    };
    Ok(Ok(match message.header_type() {
        MessageHeader::Schema => {
            let schema = message.header_as_schema().map(try_fb_to_schema);
            let Some(Ok(schema)) = schema else {
                return Ok(Err("has a schema that cannot be understood".to_owned()));
            };
            Message::Schema(schema)
        }
        MessageHeader::RecordBatch => {
            let records = message.header_as_record_batch();
            let rows = records.and_then(|records| u64::try_from(records.length()).ok());
            let Some(rows) = rows.filter(|&rows| rows / MAX_ROWS_PER_BYTE <= length) else {
                return unknown();
            };
            Message::Batch(Place {
                begin: position,
                header: range,
                body: body_begin..end,
                rows,
            })
        }
        _ => Message::Other(end),
    }))
}
