//! WaveDump binary: records of six 32-bit words and 16-bit samples, or bare samples.
//!
//! The words are the record's size in bytes (header included), board, pattern, channel, event counter and trigger
//! time tag, little-endian. Files of the x742 family with 32-bit floats cannot be distinguished from these
//! and are not supported.

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::path::Path;

use super::{BINARY, BINARY_WITHOUT_HEADERS, BLOCK_SAMPLES};
use crate::error::{Error, Result};
use crate::io::waveforms::blocks::{Block, BlockReader, Row, check_fixed_length, wrong_length};
use crate::io::waveforms::format::Probe;
use crate::io::waveforms::numpy::npy::read_up_to;
use crate::io::waveforms::scalar::{Scalar, ScalarType};
use crate::io::{Extent, Loss, ReadOptions, SourceInfo};
use crate::model::{MAX_SAMPLES, Samples, SamplesRef};

/// Bytes of a header.
pub(super) const HEADER_BYTES: u64 = 24;
/// Maximum number of channels of a board (V1740).
pub(super) const MAX_CHANNELS: u32 = 64;

const U16: ScalarType = ScalarType {
    scalar: Scalar::U16,
    big_endian: false,
};

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of the record, header included.
    pub size: u64,
    pub board: u32,
    pub channel: u32,
    pub event: u32,
}

impl Header {
    /// Decodes the header at the start of `bytes`, if it is plausible.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<4>();
        let word = |index: usize| words.get(index).map(|word| u32::from_le_bytes(*word));
        let header = Self {
            size: u64::from(word(0)?),
            board: word(1)?,
            channel: word(3)?,
            event: word(4)?,
        };
        word(5)?;
        let possible = header.size >= HEADER_BYTES
            && header.size.is_multiple_of(2)
            && u16::try_from(header.board).is_ok()
            && header.channel < MAX_CHANNELS;
        possible.then_some(header)
    }

    /// Returns the number of samples of the record.
    pub fn n_samples(self) -> u64 {
        (self.size - HEADER_BYTES) / 2
    }
}

/// Returns the first header of a file, if the file has headers. The second header has to agree with it.
pub(super) fn looks_like_records(probe: &mut Probe<'_>) -> Result<Option<Header>> {
    let Some(first) = Header::parse(&probe.head) else {
        return Ok(None);
    };
    if first.size + HEADER_BYTES > probe.n_bytes {
        return Ok(Some(first));
    }
    let mut second = [0; HEADER_BYTES as usize];
    probe.read_at(first.size, &mut second)?;
    let agrees = Header::parse(&second).is_some_and(|second| second.board == first.board);
    Ok(agrees.then_some(first))
}

/// Records with headers.
pub(super) struct Records {
    info: SourceInfo,
    input_id: u32,
    reader: BufReader<File>,
    n_bytes: u64,
    /// Offset of the next record.
    position: u64,
    /// Index of the next record.
    record: u64,
    /// Header of the next record, read ahead.
    ahead: Ahead,
    board: u32,
    /// Size of the previous record, and whether at least two records before it had the same size.
    previous_size: Option<u64>,
    uniform: bool,
    ended: bool,
}

/// The bytes at the position of the next header.
enum Ahead {
    Header(Header),
    /// Fewer bytes than a header has.
    Cut(usize),
    End,
    /// Bytes that are not a header of this file.
    Nonsense,
}

impl Records {
    pub fn open(path: &Path, n_bytes: u64, options: &ReadOptions) -> Result<Self> {
        let file = File::open(path)
            .map_err(|error| Error::input(path, "cannot be opened").with_source(error))?;
        let mut info = SourceInfo::new(path.to_owned(), BINARY.name, n_bytes);
        "records with headers, event = event counter".clone_into(&mut info.layout);
        "u16".clone_into(&mut info.sample_type);
        let mut records = Self {
            info,
            input_id: options.input_id,
            reader: BufReader::with_capacity(1 << 18, file),
            n_bytes,
            position: 0,
            record: 0,
            ahead: Ahead::End,
            board: 0,
            previous_size: None,
            uniform: false,
            ended: false,
        };
        let mut first = [0; HEADER_BYTES as usize];
        let n_read = read_up_to(&mut records.reader, &mut first)
            .map_err(|error| records.unreadable(error))?;
        match Header::parse(first.get(..n_read).unwrap_or_default()) {
            Some(header) => {
                records.board = header.board;
                let samples = header.n_samples();
                records.info.extent = Extent::bytes(n_bytes, header.size, samples);
                records.ahead = Ahead::Header(header);
            }
            None => return Err(Error::input(path, "does not begin with a WaveDump header")),
        }
        Ok(records)
    }

    fn unreadable(&self, error: io::Error) -> Error {
        Error::input(
            &self.info.path,
            format!("cannot be read at byte {}", self.position),
        )
        .with_source(error)
    }

    fn read_header(&mut self) -> Result<Ahead> {
        let mut bytes = [0; HEADER_BYTES as usize];
        let n_read =
            read_up_to(&mut self.reader, &mut bytes).map_err(|error| self.unreadable(error))?;
        if n_read == 0 {
            return Ok(Ahead::End);
        }
        if n_read < bytes.len() {
            // A truncated header holds some of the words only: missing words count as plausible.
            let mut whole = [0; HEADER_BYTES as usize];
            let word = |value: u64| u32::try_from(value).unwrap_or(0).to_le_bytes();
            if let Some(size) = whole.first_chunk_mut::<4>() {
                *size = word(HEADER_BYTES);
            }
            if let Some((_, board)) = whole.split_first_chunk_mut::<4>()
                && let Some(board) = board.first_chunk_mut::<4>()
            {
                *board = self.board.to_le_bytes();
            }
            let n_known = n_read - n_read % 4;
            if let (Some(to), Some(from)) = (whole.get_mut(..n_known), bytes.get(..n_known)) {
                to.copy_from_slice(from);
            }
            let fits = Header::parse(&whole).is_some_and(|header| header.board == self.board);
            return Ok(if fits {
                Ahead::Cut(n_read)
            } else {
                Ahead::Nonsense
            });
        }
        Ok(match Header::parse(&bytes) {
            Some(header) if header.board == self.board => Ahead::Header(header),
            _ => Ahead::Nonsense,
        })
    }

    /// Ends the file with the loss of everything from the current record on.
    fn lose_rest(&mut self, block: &mut Block, header: Option<Header>, reason: String) {
        block.losses.push(Loss {
            place: self.place(),
            event_id: header.map(|header| u64::from(header.event)),
            channel_id: header.map(|header| header.channel),
            n_waveforms: None,
            reason,
            position: self.position,
        });
        self.ended = true;
    }

    fn place(&self) -> String {
        format!("record {} at byte {}", self.record, self.position)
    }

    /// Reads the record of `header` into `block`, with `bytes` as the buffer of the samples.
    fn read_record(
        &mut self,
        header: Header,
        block: &mut Block,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        let left = self.n_bytes.saturating_sub(self.position);
        if header.size > left {
            let reason = format!(
                "the record says {} bytes, the file ends after {left} of them",
                header.size
            );
            self.lose_rest(block, Some(header), reason);
            return Ok(());
        }
        let payload = header.size - HEADER_BYTES;
        let too_long = header.n_samples() > MAX_SAMPLES as u64;
        bytes.clear();
        if too_long {
            let skip = i64::try_from(payload).unwrap_or(i64::MAX);
            self.reader
                .seek_relative(skip)
                .map_err(|error| self.unreadable(error))?;
        } else {
            bytes.resize(payload as usize, 0);
            let n_read =
                read_up_to(&mut self.reader, bytes).map_err(|error| self.unreadable(error))?;
            if n_read < bytes.len() {
                let reason = "the file became shorter while it was read".to_owned();
                self.lose_rest(block, Some(header), reason);
                return Ok(());
            }
        }
        let next = self.read_header()?;
        let doubtful = match next {
            Ahead::Nonsense => true,
            Ahead::Cut(n) => n < 4 && self.uniform,
            Ahead::Header(_) | Ahead::End => false,
        };
        // No record follows. If this record has the usual size, the next header is damaged, else the size is.
        if doubtful && self.previous_size != Some(header.size) {
            let reason = format!(
                "the record says {} bytes, but no record follows after them; the rest of the file is left out",
                header.size
            );
            self.lose_rest(block, Some(header), reason);
            return Ok(());
        }
        let place = || format!("record {} at byte {}", self.record, self.position);
        if too_long {
            let n_samples = usize::try_from(header.n_samples()).unwrap_or(usize::MAX);
            block.losses.push(Loss {
                place: place(),
                event_id: Some(u64::from(header.event)),
                channel_id: Some(header.channel),
                n_waveforms: Some(1),
                reason: wrong_length(n_samples).unwrap_or_default(),
                position: self.position,
            });
        } else if let Samples::U16(samples) = U16.samples(bytes) {
            let row = Row {
                event_id: Some(i128::from(header.event)),
                channel_id: Some(i128::from(header.channel)),
                start_ns: Some(0.0),
                samples: Some(SamplesRef::U16(&samples)),
            };
            block.push(row, self.position, place);
        }
        self.uniform = self.previous_size == Some(header.size);
        self.previous_size = Some(header.size);
        self.position += header.size;
        self.record += 1;
        self.ahead = next;
        Ok(())
    }
}

impl BlockReader for Records {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn next_block(&mut self) -> Result<Option<Block>> {
        if self.ended {
            return Ok(None);
        }
        let mut block = Block::new(self.input_id, U16.empty_samples());
        let mut bytes = Vec::new();
        while !self.ended
            && block.batch.samples().len() < BLOCK_SAMPLES
            && block.losses.len() < BLOCK_SAMPLES
        {
            match std::mem::replace(&mut self.ahead, Ahead::End) {
                Ahead::Header(header) => self.read_record(header, &mut block, &mut bytes)?,
                Ahead::End => self.ended = true,
                Ahead::Cut(n) => {
                    let reason =
                        format!("the file ends after {n} of the header's {HEADER_BYTES} bytes");
                    self.lose_rest(&mut block, None, reason);
                }
                Ahead::Nonsense => {
                    let reason =
                        "no record of this file begins here; the rest of the file is left out";
                    self.lose_rest(&mut block, None, reason.to_owned());
                }
            }
        }
        Ok(Some(block))
    }
}

/// Samples without headers.
pub(super) struct Bare {
    info: SourceInfo,
    input_id: u32,
    reader: BufReader<File>,
    record_samples: usize,
    record: u64,
    ended: bool,
}

impl Bare {
    pub fn open(
        path: &Path,
        n_bytes: u64,
        record_samples: usize,
        options: &ReadOptions,
    ) -> Result<Self> {
        check_fixed_length(path, "the stated record length", record_samples)?;
        let file = File::open(path)
            .map_err(|error| Error::input(path, "cannot be opened").with_source(error))?;
        let mut info = SourceInfo::new(path.to_owned(), BINARY_WITHOUT_HEADERS.name, n_bytes);
        info.layout =
            format!("records of {record_samples} samples, event = record number, channel = 0");
        info.n_waveforms = Some(n_bytes / (2 * record_samples as u64));
        info.n_samples = Some(record_samples);
        let n_records = n_bytes.div_ceil(2 * record_samples as u64);
        info.extent = Extent::rows(n_records, record_samples as u64);
        "u16".clone_into(&mut info.sample_type);
        Ok(Self {
            info,
            input_id: options.input_id,
            reader: BufReader::new(file),
            record_samples,
            record: 0,
            ended: false,
        })
    }
}

impl BlockReader for Bare {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn position(&self) -> u64 {
        self.record
    }

    fn seek(&mut self, position: u64) -> Result<()> {
        let byte = position.saturating_mul(2 * self.record_samples as u64);
        self.reader
            .seek(io::SeekFrom::Start(byte))
            .map_err(|error| Error::input(&self.info.path, "cannot be read").with_source(error))?;
        self.record = position;
        self.ended = false;
        Ok(())
    }

    fn next_block(&mut self) -> Result<Option<Block>> {
        if self.ended {
            return Ok(None);
        }
        let record_bytes = 2 * self.record_samples;
        let n_records = (BLOCK_SAMPLES / self.record_samples).max(1);
        let mut bytes = vec![0; n_records * record_bytes];
        let n_read = read_up_to(&mut self.reader, &mut bytes)
            .map_err(|error| Error::input(&self.info.path, "cannot be read").with_source(error))?;
        self.ended = n_read < bytes.len();
        bytes.truncate(n_read);
        let mut block = Block::new(self.input_id, U16.empty_samples());
        for record in bytes.chunks(record_bytes) {
            let place = format!(
                "record {} at byte {}",
                self.record,
                self.record * record_bytes as u64
            );
            if record.len() < record_bytes {
                block.losses.push(Loss {
                    place,
                    event_id: Some(self.record),
                    channel_id: Some(0),
                    n_waveforms: Some(1),
                    reason: format!(
                        "the file ends after {} of the record's {record_bytes} bytes",
                        record.len()
                    ),
                    position: self.record,
                });
            } else if let Samples::U16(samples) = U16.samples(record) {
                let row = Row {
                    event_id: Some(i128::from(self.record)),
                    channel_id: Some(0),
                    start_ns: Some(0.0),
                    samples: Some(SamplesRef::U16(&samples)),
                };
                block.push(row, self.record, || place);
            }
            self.record += 1;
        }
        Ok(Some(block))
    }
}
