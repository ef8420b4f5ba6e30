//! The header of a WaveDump binary record, and the search for one after damage.

use std::io;

use super::window::FileWindow;
use crate::error::{Error, Result};
use crate::io::waveforms::format::Probe;
use crate::model::MAX_SAMPLES;

/// Bytes of a header.
pub(super) const HEADER_BYTES: u64 = 24;
/// Maximum number of channels of a board (V1740).
pub(super) const MAX_CHANNELS: u32 = 64;
/// Maximum size of a record: the longest waveform in 64-bit samples.
const MAX_RECORD_BYTES: u64 = HEADER_BYTES + 8 * MAX_SAMPLES as u64;
/// Bytes that are searched at a time.
const SEARCH_BYTES: usize = 1 << 20;
/// Number of events within which a record of the usual size is taken for the next one without a look at what follows it.
const NEAR_EVENTS: u32 = 64;
/// Number of events that may lie between two records that follow one another.
const MAX_SKIPPED_EVENTS: u32 = 1 << 16;

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the record, header included.
    pub size: u64,
    pub board: u32,
    pub channel: u32,
    pub event: u32,
}

/// The facts about the records that are known when another one is searched for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// The board, once a record was read.
    pub board: Option<u32>,
    /// Event of the last record.
    pub last_event: Option<u32>,
    /// The size of all records so far, if it is the same.
    pub size: Option<u64>,
}

impl Header {
    /// Decodes the header at the start of `bytes`, if it is plausible.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Self::parse_any(bytes).filter(|header| header.size.is_multiple_of(2))
    }

    /// Decodes the header at the start of `bytes`, of a record of an even or odd number of bytes.
    fn parse_any(bytes: &[u8]) -> Option<Self> {
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
            && u16::try_from(header.board).is_ok()
            && header.channel < MAX_CHANNELS;
        possible.then_some(header)
    }

    /// Returns true if a record with this header may have `n_samples` samples of 8, 16, 32 or 64 bits.
    pub fn may_hold(self, n_samples: u64) -> bool {
        let payload = self.size - HEADER_BYTES;
        [1, 2, 4, 8].map(|size| size * n_samples).contains(&payload)
    }

    /// Returns true if a record of `next` may follow this one: the same board, and a counter that goes on.
    fn goes_on_with(self, next: Self) -> bool {
        next.board == self.board && next.event.wrapping_sub(self.event) <= MAX_SKIPPED_EVENTS
    }
}

/// Returns the first header of a file, if the file has headers: the second one agrees with it. If the first one is damaged,
/// returns another one that two more follow.
pub(super) fn looks_like_records(probe: &mut Probe<'_>) -> Result<Option<Header>> {
    if let Some(first) = Header::parse(&probe.head) {
        if first.size + HEADER_BYTES > probe.n_bytes {
            return Ok(Some(first));
        }
        let mut second = [0; HEADER_BYTES as usize];
        probe.read_at(first.size, &mut second)?;
        if Header::parse(&second).is_some_and(|second| second.board == first.board) {
            return Ok(Some(first));
        }
    }
    let path = probe.path;
    let search = || -> io::Result<Option<(u64, Header)>> {
        let mut window = FileWindow::open(path, SEARCH_BYTES)?;
        find_first(&mut window, probe.n_bytes)
    };
    let found =
        search().map_err(|error| Error::input(path, "cannot be read").with_source(error))?;
    match found {
        Some((_, header)) => Ok(Some(header)),
        // The user says that there are no headers.
        None if probe.record_samples.is_some() => Ok(None),
        None => why_unreadable(probe)?.map_or(Ok(None), Err),
    }
}

/// Returns why records with headers cannot be read, if the file begins with such records: they are of several boards, or have
/// an odd number of bytes.
fn why_unreadable(probe: &mut Probe<'_>) -> Result<Option<Error>> {
    let mut headers: Vec<Header> = Vec::new();
    let mut offset = 0;
    while headers.len() < 3 && offset < probe.n_bytes {
        let mut bytes = [0; HEADER_BYTES as usize];
        if offset + HEADER_BYTES > probe.n_bytes {
            return Ok(None);
        }
        probe.read_at(offset, &mut bytes)?;
        let Some(header) = Header::parse_any(&bytes).filter(|it| it.size > HEADER_BYTES) else {
            return Ok(None);
        };
        offset += header.size;
        headers.push(header);
    }
    let Some((first, others)) = headers
        .split_first()
        .filter(|(_, others)| !others.is_empty())
    else {
        return Ok(None);
    };
    let error = |message| Error::input(probe.path, message);
    if let Some(other) = others.iter().find(|it| it.board != first.board) {
        let message = format!(
            "has records of the boards {} and {}; nuwave reads WaveDump files of one board",
            first.board, other.board
        );
        let hint = "write the records of each board to a file of their own";
        return Ok(Some(error(message).with_hint(hint)));
    }
    let odd = headers.iter().find(|it| !it.size.is_multiple_of(2));
    Ok(odd.map(|header| {
        let n_samples = header.size - HEADER_BYTES;
        error(format!(
            "has WaveDump records of {n_samples} bytes of samples, an odd number, which nuwave does not read"
        ))
        .with_hint("record an even number of samples")
    }))
}

/// Finds the first record of a file near its beginning, with two more records after it or one that ends the file.
pub(super) fn find_first(
    window: &mut FileWindow,
    n_bytes: u64,
) -> io::Result<Option<(u64, Header)>> {
    let known = Known {
        board: None,
        last_event: None,
        size: None,
    };
    let mut offset = 0;
    while let Some((begin, header)) = next_candidate(window, offset, SEARCH_BYTES as u64, known)? {
        if chain(window, begin, header, n_bytes, 2)? {
            return Ok(Some((begin, header)));
        }
        offset = begin + 1;
    }
    Ok(None)
}

/// Finds the next record from `offset` on: a header of the same board, with a counter that goes on and another record after
/// it, or with three more records after it. `probe` is a second window, for a look at these.
pub(super) fn find_next(
    window: &mut FileWindow,
    probe: &mut FileWindow,
    offset: u64,
    n_bytes: u64,
    known: Known,
) -> io::Result<Option<(u64, Header)>> {
    let mut offset = offset;
    while let Some((begin, header)) = next_candidate(window, offset, n_bytes, known)? {
        let ahead = known.last_event.map(|last| header.event.wrapping_sub(last));
        let is_usual = known.size == Some(header.size);
        let is_near = is_usual
            && begin + header.size <= n_bytes
            && ahead.is_some_and(|ahead| ahead <= NEAR_EVENTS);
        let n_following = match ahead {
            Some(ahead) if ahead <= MAX_SKIPPED_EVENTS => 1,
            _ => 3,
        };
        if is_near || chain(probe, begin, header, n_bytes, n_following)? {
            return Ok(Some((begin, header)));
        }
        offset = begin + 1;
    }
    Ok(None)
}

/// Returns true if `n_following` records follow the one at `begin`, or fewer that end with the file.
fn chain(
    window: &mut FileWindow,
    begin: u64,
    header: Header,
    n_bytes: u64,
    n_following: usize,
) -> io::Result<bool> {
    let (mut begin, mut header) = (begin, header);
    for place in 0..n_following {
        let next = begin + header.size;
        if next >= n_bytes {
            // A single record at the end of a file may be anything.
            return Ok(next == n_bytes && (place > 0 || n_following == 1));
        }
        let bytes = window.at(next, HEADER_BYTES as usize)?;
        match Header::parse(bytes).filter(|it| header.goes_on_with(*it)) {
            Some(it) => (begin, header) = (next, it),
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Finds the next bytes before `end` that may be a header.
fn next_candidate(
    window: &mut FileWindow,
    offset: u64,
    end: u64,
    known: Known,
) -> io::Result<Option<(u64, Header)>> {
    let mut offset = offset;
    while offset < end {
        let bytes = window.at(offset, SEARCH_BYTES)?;
        if bytes.len() < HEADER_BYTES as usize {
            return Ok(None);
        }
        let found = bytes
            .windows(HEADER_BYTES as usize)
            .enumerate()
            .find_map(|(index, bytes)| {
                let header = Header::parse(bytes)?;
                let fits = header.size > HEADER_BYTES
                    && header.size <= MAX_RECORD_BYTES
                    && known.board.is_none_or(|board| board == header.board)
                    && known.size.is_none_or(|size| size == header.size);
                fits.then_some((offset + index as u64, header))
            });
        if found.is_some() {
            return Ok(found.filter(|(begin, _)| *begin < end));
        }
        offset += (bytes.len() - HEADER_BYTES as usize + 1) as u64;
    }
    Ok(None)
}
