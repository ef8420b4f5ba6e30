//! Arrow IPC, file and stream: the columns of the Parquet files, record batch by record batch.
//!
//! A file is a stream with eight bytes in front and a table of contents behind, so both are read as a stream: every
//! message is looked at before it is decoded, and the whole batches of a file that was cut off are still found.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::FileWriter;
use arrow_ipc::{Message, MessageHeader, root_as_message};

use super::atomic::{AtomicFile, write_error};
use super::blocks::{Block, BlockReader, BlockSource, guarded};
use super::columns::{self, Columns};
use super::numpy::npy::read_up_to;
use super::sink::Pieces;
use super::{Loss, ReadOptions, Source, SourceInfo, WaveformSink, WriteInfo, truth};
use crate::error::{Error, Result};
use crate::model::{Batch, Samples, Truth};

/// Bytes in front of the stream in a file: the magic word and padding, up to the alignment that the writer chose.
const FILE_MAGIC_BYTES: u64 = 8;
const MAX_PADDING: u64 = 128;
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Largest message that is believed; a batch is held in memory as a whole.
const MAX_MESSAGE_BYTES: u64 = 1 << 30;

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

/// The messages of a stream, each with the eight bytes in front of it and its body.
struct Messages {
    path: PathBuf,
    reader: BufReader<File>,
    /// Byte of the next message.
    position: u64,
    /// Byte behind the last message.
    end: u64,
    /// True for a file whose table of contents is missing: its end was cut off.
    cut: bool,
}

enum Next {
    Message(Vec<u8>),
    End,
    /// Why the rest cannot be read.
    Bad(String),
}

impl Messages {
    fn open(path: &Path, n_bytes: u64, is_file: bool) -> Result<Self> {
        let mut messages = Self {
            path: path.to_owned(),
            reader: BufReader::new(
                File::open(path)
                    .map_err(|error| Error::input(path, "cannot be opened").with_source(error))?,
            ),
            position: 0,
            end: n_bytes,
            cut: false,
        };
        if is_file {
            let end = messages.behind_last(n_bytes);
            messages.cut = end.is_none();
            messages.end = end.unwrap_or(n_bytes);
            messages.position = messages.behind_padding();
        }
        messages
            .reader
            .seek(SeekFrom::Start(messages.position))
            .map_err(|error| messages.unreadable(error))?;
        Ok(messages)
    }

    /// Where the first message of a file begins: behind the magic word and its zeros.
    fn behind_padding(&mut self) -> u64 {
        let mut position = FILE_MAGIC_BYTES;
        let mut word = [0; 8];
        while position < MAX_PADDING
            && self.reader.seek(SeekFrom::Start(position)).is_ok()
            && self.reader.read_exact(&mut word).is_ok()
            && word == [0; 8]
        {
            position += 8;
        }
        position
    }

    /// Where the table of contents of a complete file begins.
    fn behind_last(&mut self, n_bytes: u64) -> Option<u64> {
        let mut tail = [0; 10];
        let begin = n_bytes.checked_sub(tail.len() as u64)?;
        self.reader.seek(SeekFrom::Start(begin)).ok()?;
        self.reader.read_exact(&mut tail).ok()?;
        let (length, magic) = tail.split_first_chunk::<4>()?;
        let length = u64::from(u32::from_le_bytes(*length));
        (magic == b"ARROW1").then(|| begin.checked_sub(length))?
    }

    fn unreadable(&self, error: std::io::Error) -> Error {
        Error::input(
            &self.path,
            format!("cannot be read at byte {}", self.position),
        )
        .with_source(error)
    }

    fn read(&mut self, n_bytes: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(n_bytes).unwrap_or(0)];
        let n_read =
            read_up_to(&mut self.reader, &mut bytes).map_err(|error| self.unreadable(error))?;
        bytes.truncate(n_read);
        Ok(bytes)
    }

    /// The next message; its sizes are compared with the file before anything is allocated for them.
    fn next(&mut self) -> Result<Next> {
        let left = self.end.saturating_sub(self.position);
        if left == 0 && self.cut {
            return Ok(Next::Bad("ends without its table of contents".to_owned()));
        }
        if left == 0 {
            return Ok(Next::End);
        }
        let cut = |what: &str| Ok(Next::Bad(format!("ends inside {what}")));
        if left < 8 {
            return cut("the length of a message");
        }
        let mut bytes = self.read(8)?;
        let length = match bytes.as_chunks::<4>() {
            ([CONTINUATION, length], _) => *length,
            _ => {
                return Ok(Next::Bad(
                    "has no message where one should begin".to_owned(),
                ));
            }
        };
        let length = u64::from(u32::from_le_bytes(length));
        if length == 0 {
            return Ok(Next::End);
        }
        if length > MAX_MESSAGE_BYTES {
            return Ok(Next::Bad(format!(
                "claims a message header of {length} bytes"
            )));
        }
        if length > left - 8 {
            return cut("the header of a message");
        }
        let header = self.read(length)?;
        bytes.extend_from_slice(&header);
        let Some(body) = message_of(&bytes).and_then(|message| body_bytes(&message)) else {
            return Ok(Next::Bad(
                "has a message that cannot be understood".to_owned(),
            ));
        };
        if body > MAX_MESSAGE_BYTES {
            return Ok(Next::Bad(format!("claims a batch of {body} bytes")));
        }
        if body > left - 8 - length {
            return cut("a batch");
        }
        let body = self.read(body)?;
        bytes.extend_from_slice(&body);
        self.position += bytes.len() as u64;
        Ok(Next::Message(bytes))
    }
}

/// The message in `bytes`, which begin with its marker and length.
fn message_of(bytes: &[u8]) -> Option<Message<'_>> {
    let (words, _) = bytes.as_chunks::<4>();
    let length = u32::from_le_bytes(*words.get(1)?) as usize;
    root_as_message(bytes.get(8..8_usize.checked_add(length)?)?).ok()
}

/// Length of the body, if every buffer that the message announces lies inside it.
fn body_bytes(message: &Message<'_>) -> Option<u64> {
    let body = u64::try_from(message.bodyLength()).ok()?;
    let records = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch()?,
        MessageHeader::DictionaryBatch => message.header_as_dictionary_batch()?.data()?,
        _ => return Some(body),
    };
    u64::try_from(records.length()).ok()?;
    for buffer in records.buffers()? {
        let end = u64::try_from(buffer.offset())
            .ok()?
            .checked_add(u64::try_from(buffer.length()).ok()?)?;
        if end > body {
            return None;
        }
    }
    for node in records.nodes()? {
        let rows = u64::try_from(node.length()).ok()?;
        if u64::try_from(node.null_count()).ok()? > rows {
            return None;
        }
    }
    Some(body)
}

/// Largest buffer that a compressed one of this message claims to unpack to.
fn largest_unpacked(bytes: &[u8]) -> Option<u64> {
    let message = message_of(bytes)?;
    let records = message.header_as_record_batch()?;
    records.compression()?;
    let body = bytes.get(
        bytes
            .len()
            .checked_sub(usize::try_from(message.bodyLength()).ok()?)?..,
    )?;
    records
        .buffers()?
        .iter()
        .filter_map(|buffer| {
            let begin = usize::try_from(buffer.offset()).ok()?;
            let claimed = body.get(begin..)?.first_chunk::<8>()?;
            (buffer.length() >= 8).then(|| u64::try_from(i64::from_le_bytes(*claimed)).unwrap_or(0))
        })
        .max()
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

/// Writes an Arrow IPC file; a batch is a piece.
pub(super) struct ArrowSink {
    /// The file until the first waveform tells the type of the samples.
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
            return Err(super::sink::cannot_hold(
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
        truth::write_beside(&self.path, truth)?;
        target.commit()
    }
}
