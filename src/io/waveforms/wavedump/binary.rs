//! WaveDump binary: records of six 32-bit words and samples.
//!
//! The words are the record's size in bytes (header included), board, pattern, channel, event counter and trigger
//! time tag, little-endian. Where a header is damaged, reading goes on at the next one that fits the records before it.

use std::io;
use std::path::Path;

use super::counters::RecordOrder;
use super::header::{HEADER_BYTES, Header, Known, find_first, find_next};
use super::window::FileWindow;
use super::{BINARY, BLOCK_SAMPLES, sample_kind};
use crate::error::{Error, Result};
use crate::io::waveforms::blocks::{Block, BlockReader, Row, wrong_length};
use crate::io::waveforms::numpy::slice;
use crate::io::waveforms::scalar::ScalarType;
use crate::io::{Extent, Loss, ReadOptions, SourceInfo};
use crate::model::MAX_SAMPLES;
use crate::text::counted;

/// Bytes read at a time.
const WINDOW_BYTES: usize = 1 << 20;
/// Bytes read for a look at what follows a header.
const PROBE_BYTES: usize = 4096;
/// Records from which the number type of the samples is recognised.
const FIRST_RECORDS: usize = 16;

/// Records with headers.
pub(super) struct Records {
    info: SourceInfo,
    input_id: u32,
    window: FileWindow,
    probe: FileWindow,
    n_bytes: u64,
    kind: ScalarType,
    board: u32,
    /// Offset and index of the next record.
    position: u64,
    record: u64,
    /// Least and greatest size of the records so far.
    sizes: Option<(u64, u64)>,
    last_event: Option<u32>,
    order: RecordOrder,
    /// Bytes without records before the next one, and why.
    gap: Option<Gap>,
    ended: bool,
}

/// Bytes that are no records.
struct Gap {
    begin: u64,
    record: u64,
    reason: String,
    /// Event and channel of the header at its beginning, if that is whole.
    header: Option<Header>,
}

impl Records {
    pub fn open(path: &Path, n_bytes: u64, options: &ReadOptions) -> Result<Self> {
        let open = |size| {
            FileWindow::open(path, size)
                .map_err(|error| Error::input(path, "cannot be opened").with_source(error))
        };
        let (mut window, probe) = (open(WINDOW_BYTES)?, open(PROBE_BYTES)?);
        let anchor = first_header(&mut window, n_bytes)
            .map_err(|error| Error::input(path, "cannot be read").with_source(error))?;
        let Some((begin, header)) = anchor else {
            return Err(Error::input(path, "does not begin with a WaveDump header"));
        };
        let first = first_payloads(&mut window, begin, header)
            .map_err(|error| Error::input(path, "cannot be read").with_source(error))?;
        let kind = sample_kind::recognise(&first);
        let mut info = SourceInfo::new(path.to_owned(), BINARY.name, n_bytes);
        "records with headers, event = event counter".clone_into(&mut info.layout);
        kind.scalar.name().clone_into(&mut info.sample_type);
        info.remarks.extend(sample_kind::remark(kind));
        info.adc_bits = sample_kind::adc_bits(kind);
        let n_samples = (header.size - HEADER_BYTES) / kind.size() as u64;
        info.extent = Extent::bytes(n_bytes, header.size, n_samples);
        Ok(Self {
            info,
            input_id: options.input_id,
            window,
            probe,
            n_bytes,
            kind,
            board: header.board,
            position: 0,
            record: 0,
            sizes: None,
            last_event: None,
            order: RecordOrder::default(),
            gap: None,
            ended: false,
        })
    }

    fn unreadable(&self, error: io::Error) -> Error {
        Error::input(
            &self.info.path,
            format!("cannot be read at byte {}", self.position),
        )
        .with_source(error)
    }

    /// Returns the header of this board at `offset`; `None` if there is none.
    fn header_at(&mut self, offset: u64) -> Result<Option<Header>> {
        let bytes = self.window.at(offset, HEADER_BYTES as usize);
        match bytes {
            Ok(bytes) => Ok(Header::parse(bytes).filter(|header| header.board == self.board)),
            Err(error) => Err(self.unreadable(error)),
        }
    }

    /// Returns true if the file ends within a header that begins at `offset`, after a record of `size` bytes: the words that
    /// are there are those of a header.
    fn is_cut_header(&mut self, offset: u64, size: u64) -> Result<bool> {
        let bytes = match self.window.at(offset, HEADER_BYTES as usize) {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.unreadable(error)),
        };
        let (words, _) = bytes.as_chunks::<4>();
        let word = |index: usize| words.get(index).map(|word| u32::from_le_bytes(*word));
        let next_size = word(0).map(u64::from);
        let fits = next_size.is_none_or(|size| size >= HEADER_BYTES && size.is_multiple_of(2))
            && word(1).is_none_or(|board| board == self.board);
        let is_cut = bytes.len() < HEADER_BYTES as usize;
        // Without a word to compare, the size has to be one that the records had before.
        Ok(is_cut && fits && (next_size.is_some() || self.is_usual(size, Some(size))))
    }

    /// Returns the size of the records, if it is the same for all so far.
    fn uniform_size(&self) -> Option<u64> {
        let (least, greatest) = self.sizes?;
        (least == greatest).then_some(least)
    }

    /// Returns true if the records so far have sizes like `size`. Of the first record the size of the next one tells.
    fn is_usual(&self, size: u64, next: Option<u64>) -> bool {
        match self.sizes {
            Some((least, greatest)) => (least..=greatest).contains(&size),
            None => next == Some(size),
        }
    }

    /// Finds the next record from `offset` on.
    fn find(&mut self, offset: u64) -> Result<Option<(u64, Header)>> {
        let mut known = Known {
            board: Some(self.board),
            last_event: self.last_event,
            size: self.uniform_size(),
        };
        loop {
            let found = find_next(
                &mut self.window,
                &mut self.probe,
                offset,
                self.n_bytes,
                known,
            )
            .map_err(|error| self.unreadable(error))?;
            // Records of another size only if there is none of the usual one.
            if found.is_some() || known.size.take().is_none() {
                return Ok(found);
            }
        }
    }

    /// Reads the record at the position, or moves over what is none.
    fn step(&mut self, block: &mut Block) -> Result<()> {
        let left = self.n_bytes.saturating_sub(self.position);
        if left == 0 {
            self.end_gap(None, block);
            self.ended = true;
            return Ok(());
        }
        if left < HEADER_BYTES {
            let reason = format!("the file ends after {left} of the header's {HEADER_BYTES} bytes");
            self.end_cut(None, reason, block);
            return Ok(());
        }
        let Some(header) = self.header_at(self.position)? else {
            let next = self.find(self.position + 1)?;
            let reason = "no record of this file begins here".to_owned();
            self.skip_to(next, None, reason, block);
            return Ok(());
        };
        let end = self.position + header.size;
        let is_followed = end < self.n_bytes
            && (self.header_at(end)?.is_some() || self.is_cut_header(end, header.size)?);
        if is_followed || end == self.n_bytes {
            return self.read_record(header, block);
        }
        // The size is damaged, the next header is, or bytes are missing.
        let next = self.find(self.position + HEADER_BYTES)?;
        let is_whole = self.is_usual(header.size, next.map(|(_, next)| next.size))
            && next.is_none_or(|(begin, _)| begin >= end + HEADER_BYTES);
        if end < self.n_bytes && is_whole {
            return self.read_record(header, block);
        }
        if end > self.n_bytes && next.is_none() {
            let reason = format!(
                "the record says {} bytes, the file ends after {left} of them",
                header.size
            );
            self.end_cut(Some(header), reason, block);
            return Ok(());
        }
        let reason = match next {
            Some((begin, _)) if begin < end => format!(
                "the record says {} bytes, but another one begins after {}",
                header.size,
                begin - self.position
            ),
            _ => format!(
                "the record says {} bytes, but no record follows after them",
                header.size
            ),
        };
        self.skip_to(next, Some(header), reason, block);
        Ok(())
    }

    /// Ends the file with a record that is cut off.
    fn end_cut(&mut self, header: Option<Header>, reason: String, block: &mut Block) {
        self.end_gap(None, block);
        let usual = self.sizes.map_or(u64::MAX, |(_, greatest)| greatest);
        let left = self.n_bytes - self.position;
        block.losses.push(Loss {
            place: place(self.record, self.position),
            event_id: header.map(|header| u64::from(header.event)),
            channel_id: header.map(|header| header.channel),
            // Bytes for more than one record are more than the one that is cut off.
            n_waveforms: (left <= usual).then_some(1),
            reason,
            position: self.position,
        });
        self.ended = true;
    }

    /// Moves over bytes that are no record, to the record `next` or to the end.
    fn skip_to(
        &mut self,
        next: Option<(u64, Header)>,
        header: Option<Header>,
        reason: String,
        block: &mut Block,
    ) {
        self.gap.get_or_insert(Gap {
            begin: self.position,
            record: self.record,
            reason,
            header,
        });
        if let Some((begin, _)) = next {
            self.position = begin;
        } else {
            self.position = self.n_bytes;
            self.end_gap(None, block);
            self.ended = true;
        }
    }

    /// Adds the loss of the bytes before the record `next`, or before the end of the file.
    fn end_gap(&mut self, next: Option<Header>, block: &mut Block) {
        let Some(gap) = self.gap.take() else {
            if let Some(next) = next {
                self.order.add(u64::from(next.event), next.channel);
            }
            return;
        };
        let n_bytes = self.position - gap.begin;
        let size = match (self.sizes, next) {
            (None, Some(next)) => Some(next.size),
            _ => self.uniform_size(),
        };
        let by_size = size
            .filter(|&size| n_bytes.is_multiple_of(size))
            .map(|size| n_bytes / size);
        let (n_waveforms, told_by) = match next {
            None => (by_size, "by their size"),
            Some(next) => {
                let by_order = self
                    .order
                    .add_after_gap(u64::from(next.event), next.channel);
                match by_order {
                    Some(missing) => (Some(missing), "by the event counter"),
                    None => (by_size, "by their size"),
                }
            }
        };
        let mut reason = gap.reason;
        let left_out = match n_waveforms {
            Some(n) => format!("{told_by} {}", counted(n, "record")),
            None => "an unknown number of records".to_owned(),
        };
        reason = format!("{reason}; {n_bytes} bytes are left out, {left_out}");
        if next.is_some() {
            reason = format!("{reason}, reading goes on at byte {}", self.position);
        }
        block.losses.push(Loss {
            place: place(gap.record, gap.begin),
            event_id: gap.header.map(|header| u64::from(header.event)),
            channel_id: gap.header.map(|header| header.channel),
            n_waveforms,
            reason,
            position: gap.begin,
        });
        self.record = gap.record + n_waveforms.unwrap_or(1);
    }

    /// Reads the record of `header` at the position into `block`.
    fn read_record(&mut self, header: Header, block: &mut Block) -> Result<()> {
        self.end_gap(Some(header), block);
        let payload = header.size - HEADER_BYTES;
        let n_samples = payload / self.kind.size() as u64;
        let (record, position) = (self.record, self.position);
        let lost = |reason: String| Loss {
            place: place(record, position),
            event_id: Some(u64::from(header.event)),
            channel_id: Some(header.channel),
            n_waveforms: Some(1),
            reason,
            position,
        };
        if n_samples > MAX_SAMPLES as u64 {
            let n_samples = usize::try_from(n_samples).unwrap_or(usize::MAX);
            block
                .losses
                .push(lost(wrong_length(n_samples).unwrap_or_default()));
        } else {
            let n_bytes = payload as usize;
            let bytes = match self.window.at(position + HEADER_BYTES, n_bytes) {
                Ok(bytes) => bytes,
                Err(error) => return Err(self.unreadable(error)),
            };
            if bytes.len() < n_bytes {
                let reason = "the file became shorter while it was read".to_owned();
                block.losses.push(lost(reason));
                self.ended = true;
                return Ok(());
            }
            let samples = self.kind.samples(bytes);
            let row = Row {
                event_id: Some(i128::from(header.event)),
                channel_id: Some(i128::from(header.channel)),
                start_ns: Some(0.0),
                samples: slice(&samples, 0..samples.len()),
            };
            block.push(row, position, || place(record, position));
        }
        let (least, greatest) = self.sizes.unwrap_or((header.size, header.size));
        self.sizes = Some((least.min(header.size), greatest.max(header.size)));
        self.last_event = Some(header.event);
        self.position += header.size;
        self.record += 1;
        Ok(())
    }
}

fn place(record: u64, position: u64) -> String {
    format!("record {record} at byte {position}")
}

/// Returns the first header of a file that the next one agrees with, and its offset.
fn first_header(window: &mut FileWindow, n_bytes: u64) -> io::Result<Option<(u64, Header)>> {
    let first = Header::parse(window.at(0, HEADER_BYTES as usize)?);
    if let Some(first) = first.filter(|first| first.size + HEADER_BYTES <= n_bytes) {
        let second = Header::parse(window.at(first.size, HEADER_BYTES as usize)?);
        if second.is_some_and(|second| second.board == first.board) {
            return Ok(Some((0, first)));
        }
    }
    let found = find_first(window, n_bytes)?;
    Ok(found.or(first.map(|first| (0, first))))
}

/// Returns the samples' bytes of the first records.
fn first_payloads(window: &mut FileWindow, begin: u64, header: Header) -> io::Result<Vec<Vec<u8>>> {
    let (mut begin, mut header) = (begin, Some(header));
    let mut payloads = Vec::new();
    while let Some(current) = header
        && payloads.len() < FIRST_RECORDS
    {
        let payload = (current.size - HEADER_BYTES).min(8 * MAX_SAMPLES as u64);
        payloads.push(window.at(begin + HEADER_BYTES, payload as usize)?.to_vec());
        begin += current.size;
        let next = Header::parse(window.at(begin, HEADER_BYTES as usize)?);
        header = next.filter(|next| next.board == current.board);
    }
    Ok(payloads)
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
        let mut block = Block::new(self.input_id, self.kind.empty_samples());
        while !self.ended
            && block.batch.samples().len() < BLOCK_SAMPLES
            && block.losses.len() < BLOCK_SAMPLES
        {
            self.step(&mut block)?;
        }
        Ok(Some(block))
    }
}
