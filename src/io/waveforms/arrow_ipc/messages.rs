//! The messages of an Arrow stream, checked before anything is decoded or allocated for them.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use arrow_ipc::{Message, MessageHeader, root_as_message};

use crate::error::{Error, Result};
use crate::io::waveforms::numpy::npy::read_up_to;

/// Maximum number of bytes before the stream in a file: the magic word and padding up to the alignment that the writer chose.
const FILE_MAGIC_BYTES: u64 = 8;
const MAX_PADDING: u64 = 128;
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Maximum size of a message; a batch is held in memory as a whole.
pub(super) const MAX_MESSAGE_BYTES: u64 = 1 << 30;

/// The messages of a stream, each with its eight leading bytes and its body.
pub(super) struct Messages {
    path: PathBuf,
    reader: BufReader<File>,
    /// Offset of the next message.
    pub position: u64,
    /// Offset of the end of the last message.
    end: u64,
    /// True for a file without its footer: the end was cut off.
    cut: bool,
}

/// The next element of the stream.
pub(super) enum Next {
    Message(Vec<u8>),
    End,
    /// Why the rest cannot be read.
    Bad(String),
}

impl Messages {
    pub fn open(path: &Path, n_bytes: u64, is_file: bool) -> Result<Self> {
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
            let end = messages.footer(n_bytes);
            messages.cut = end.is_none();
            messages.end = end.unwrap_or(n_bytes);
            messages.position = messages.first_message();
        }
        messages
            .reader
            .seek(SeekFrom::Start(messages.position))
            .map_err(|error| messages.unreadable(error))?;
        Ok(messages)
    }

    /// Returns the offset of the first message of a file, after the magic word and its zeros.
    fn first_message(&mut self) -> u64 {
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

    /// Returns the offset of the footer of a complete file.
    fn footer(&mut self, n_bytes: u64) -> Option<u64> {
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

    /// Reads the next message. Its sizes are compared with the file before anything is allocated for them.
    pub fn next(&mut self) -> Result<Next> {
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

/// Returns the message in `bytes`, which begin with its marker and length.
pub(super) fn message_of(bytes: &[u8]) -> Option<Message<'_>> {
    let (words, _) = bytes.as_chunks::<4>();
    let length = u32::from_le_bytes(*words.get(1)?) as usize;
    root_as_message(bytes.get(8..8_usize.checked_add(length)?)?).ok()
}

/// Returns the number of rows of a record batch by its header, at most the bytes of the message; `None` for another message.
pub(super) fn rows_of(bytes: &[u8]) -> Option<u64> {
    let rows = message_of(bytes)?.header_as_record_batch()?.length();
    u64::try_from(rows)
        .ok()
        .map(|rows| rows.min(bytes.len() as u64))
}

/// Returns the length of the body, if all buffers of the message lie inside it.
pub(super) fn body_bytes(message: &Message<'_>) -> Option<u64> {
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

/// Returns the largest declared uncompressed size of a buffer of this message.
pub(super) fn largest_unpacked(bytes: &[u8]) -> Option<u64> {
    let message = message_of(bytes)?;
    let body = bytes.get(
        bytes
            .len()
            .checked_sub(usize::try_from(message.bodyLength()).ok()?)?..,
    )?;
    unpacked(&message, body)?.max()
}

/// Returns the declared uncompressed sizes of the buffers of a record batch with this body; `None` if nothing is compressed.
pub(super) fn unpacked<'a>(
    message: &Message<'a>,
    body: &'a [u8],
) -> Option<impl Iterator<Item = u64> + 'a> {
    let records = message.header_as_record_batch()?;
    records.compression()?;
    let claims = records.buffers()?.iter().filter_map(move |buffer| {
        let begin = usize::try_from(buffer.offset()).ok()?;
        let claimed = body.get(begin..)?.first_chunk::<8>()?;
        (buffer.length() >= 8).then(|| u64::try_from(i64::from_le_bytes(*claimed)).unwrap_or(0))
    });
    Some(claims)
}
