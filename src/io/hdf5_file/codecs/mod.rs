//! Decodes the chunks of HDF5 datasets: deflate, shuffle, Fletcher32, LZ4, Zstandard, bitshuffle and Blosc.
//!
//! Sizes in chunks are not trusted: nothing is allocated beyond the size that the dataset's chunks have.

mod bitshuffle;
mod blosc;

use std::io::Read;

use flate2::read::ZlibDecoder;
use hdf5_pure::Filter;

use super::checksum::fletcher32;

/// Numbers of the filters, as registered with the HDF Group.
pub(super) mod id {
    pub const DEFLATE: u16 = 1;
    pub const SHUFFLE: u16 = 2;
    pub const FLETCHER32: u16 = 3;
    pub const BLOSC: u16 = 32001;
    pub const LZ4: u16 = 32004;
    pub const BITSHUFFLE: u16 = 32008;
    pub const ZSTANDARD: u16 = 32015;
}

/// The filters that [`decode`] inverts.
pub(super) const DECODED: [u16; 7] = [
    id::DEFLATE,
    id::SHUFFLE,
    id::FLETCHER32,
    id::BLOSC,
    id::LZ4,
    id::BITSHUFFLE,
    id::ZSTANDARD,
];

/// Bytes that a filter may add to a chunk: a checksum, or the header of a frame.
const MAX_ADDED_BYTES: usize = 4096;
/// Bytes that are inflated at a time.
const STEP_BYTES: usize = 1 << 16;

/// Decodes a chunk of `n_bytes` bytes, whose elements have `element_bytes`, from the `n_stored` bytes of `stored`. Bit i of `skipped`
/// is set if filter i was not applied to this chunk.
pub(super) fn decode(
    stored: impl Read,
    n_stored: usize,
    filters: &[Filter],
    skipped: u32,
    element_bytes: usize,
    n_bytes: usize,
) -> Result<Vec<u8>, String> {
    let applied: Vec<&Filter> = filters
        .iter()
        .enumerate()
        .filter(|(index, _)| skipped.checked_shr(*index as u32).unwrap_or(0) & 1 == 0)
        .map(|(_, filter)| filter)
        .collect();
    let ids: Vec<u16> = applied.iter().map(|filter| filter.id).collect();
    // The usual pipelines need no second copy of a chunk, which may be large.
    match ids.as_slice() {
        [id::DEFLATE] => return inflate(stored, 1, n_bytes),
        [id::SHUFFLE, id::DEFLATE] => {
            let width = shuffled_bytes(applied[0], element_bytes);
            return inflate(stored, width, n_bytes);
        }
        _ => {}
    }
    let mut bytes = Vec::new();
    let n_read = stored
        .take(n_stored as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if n_read < n_stored {
        return Err("the file ends within the chunk".to_owned());
    }
    for filter in applied.into_iter().rev() {
        let limit = n_bytes.saturating_add(MAX_ADDED_BYTES);
        bytes = match filter.id {
            id::DEFLATE => inflate_up_to(&bytes, limit)?,
            id::SHUFFLE => unshuffle(&bytes, shuffled_bytes(filter, element_bytes)),
            id::FLETCHER32 => without_checksum(bytes)?,
            id::LZ4 => lz4_blocks(&bytes, limit)?,
            id::ZSTANDARD => zstandard(&bytes, limit)?,
            id::BITSHUFFLE => bitshuffle::decode(&bytes, &filter.client_data, limit)?,
            id::BLOSC => blosc::decode(&bytes, limit)?,
            other => return Err(format!("the filter {other} is not known")),
        };
    }
    if bytes.len() == n_bytes {
        Ok(bytes)
    } else {
        Err(wrong_size(bytes.len(), n_bytes))
    }
}

fn wrong_size(found: usize, expected: usize) -> String {
    format!("the chunk has {found} bytes instead of {expected}")
}

/// Returns the bytes per element that the shuffle filter states, else those of the dataset.
fn shuffled_bytes(filter: &Filter, element_bytes: usize) -> usize {
    let stated = filter.client_data.first().map(|&bytes| bytes as usize);
    stated.unwrap_or(element_bytes).max(1)
}

/// Inflates a chunk of elements of `width` bytes, and puts each byte where it was before shuffling.
fn inflate(stored: impl Read, width: usize, n_bytes: usize) -> Result<Vec<u8>, String> {
    let mut decoder = ZlibDecoder::new(stored);
    let mut bytes = vec![0; n_bytes];
    let mut step = vec![0; STEP_BYTES];
    let n_elements = n_bytes / width;
    let mut n_read = 0;
    loop {
        let n = decoder.read(&mut step).map_err(|error| error.to_string())?;
        if n == 0 {
            break;
        }
        if n_read + n > n_bytes {
            return Err(wrong_size(n_read + n, n_bytes));
        }
        let mut new = step.get(..n).unwrap_or_default();
        while !new.is_empty() {
            // Bytes beyond the last whole element are not shuffled.
            let is_shuffled = width > 1 && n_read < n_elements * width;
            let (place, stride, n_here) = if is_shuffled {
                let (plane, element) = (n_read / n_elements, n_read % n_elements);
                (element * width + plane, width, n_elements - element)
            } else {
                (n_read, 1, new.len())
            };
            let (here, rest) = new.split_at(n_here.min(new.len()));
            let places = bytes.iter_mut().skip(place).step_by(stride);
            for (to, from) in places.zip(here) {
                *to = *from;
            }
            n_read += here.len();
            new = rest;
        }
    }
    if n_read == n_bytes {
        Ok(bytes)
    } else {
        Err(wrong_size(n_read, n_bytes))
    }
}

fn inflate_up_to(bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut inflated = Vec::new();
    ZlibDecoder::new(bytes)
        .take(limit as u64 + 1)
        .read_to_end(&mut inflated)
        .map_err(|error| error.to_string())?;
    within(inflated, limit)
}

fn within(bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, String> {
    if bytes.len() <= limit {
        Ok(bytes)
    } else {
        Err(format!("the chunk has more than {limit} bytes"))
    }
}

/// Puts the bytes of elements of `width` bytes together. Bytes beyond the last whole element are where they were.
fn unshuffle(bytes: &[u8], width: usize) -> Vec<u8> {
    let n_elements = bytes.len() / width;
    if width < 2 || n_elements < 2 {
        return bytes.to_vec();
    }
    let mut whole = vec![0; bytes.len()];
    let (shuffled, rest) = bytes.split_at(n_elements * width);
    for (place, plane) in shuffled.chunks_exact(n_elements).enumerate() {
        for (to, from) in whole.iter_mut().skip(place).step_by(width).zip(plane) {
            *to = *from;
        }
    }
    let end = n_elements * width;
    if let Some(end) = whole.get_mut(end..) {
        end.copy_from_slice(rest);
    }
    whole
}

fn without_checksum(mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let checksum = bytes
        .len()
        .checked_sub(4)
        .map(|end| bytes.split_off(end))
        .and_then(|raw| raw.try_into().ok())
        .map(u32::from_le_bytes);
    if checksum == Some(fletcher32(&bytes)) {
        Ok(bytes)
    } else {
        Err("the checksum of the chunk does not match".to_owned())
    }
}

fn zstandard(bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    zstd::bulk::decompress(bytes, limit).map_err(|error| format!("Zstandard: {error}"))
}

fn lz4_block(bytes: &[u8], n_bytes: usize) -> Result<Vec<u8>, String> {
    lz4_flex::block::decompress(bytes, n_bytes).map_err(|error| format!("LZ4: {error}"))
}

/// Reads the pieces of a frame.
struct Pieces<'a>(&'a [u8]);

impl<'a> Pieces<'a> {
    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], String> {
        let (piece, rest) = self
            .0
            .split_at_checked(n_bytes)
            .ok_or_else(|| "the chunk ends within a block".to_owned())?;
        self.0 = rest;
        Ok(piece)
    }

    /// Reads a number, the most significant byte first.
    fn number(&mut self, width: usize) -> Result<usize, String> {
        let bytes = self.take(width)?;
        let value = bytes
            .iter()
            .fold(0_u64, |all, &byte| all << 8 | u64::from(byte));
        usize::try_from(value).map_err(|_| "a block has an impossible size".to_owned())
    }
}

/// Decodes the frame of the LZ4 filter: the size of all bytes, that of a block, and blocks with their sizes.
fn lz4_blocks(bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut pieces = Pieces(bytes);
    let n_bytes = pieces.number(8)?;
    let block_bytes = pieces.number(4)?;
    if n_bytes > limit || (block_bytes == 0 && n_bytes > 0) {
        return Err(wrong_size(n_bytes, limit));
    }
    let mut whole = Vec::with_capacity(n_bytes);
    while whole.len() < n_bytes {
        let block_bytes = block_bytes.min(n_bytes - whole.len());
        let n_stored = pieces.number(4)?;
        let stored = pieces.take(n_stored)?;
        // A block that does not get smaller is stored as it is.
        if n_stored == block_bytes {
            whole.extend_from_slice(stored);
            continue;
        }
        let block = lz4_block(stored, block_bytes)?;
        if block.len() != block_bytes {
            return Err(wrong_size(block.len(), block_bytes));
        }
        whole.extend_from_slice(&block);
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shuffled(bytes: &[u8], width: usize) -> Vec<u8> {
        let n = bytes.len() / width;
        let mut planes: Vec<u8> = (0..width)
            .flat_map(|place| (0..n).map(move |element| element * width + place))
            .map(|from| bytes[from])
            .collect();
        planes.extend_from_slice(&bytes[n * width..]);
        planes
    }

    #[test]
    fn shuffled_bytes_come_back_with_and_without_deflate() {
        use std::io::Write as _;
        let bytes: Vec<u8> = (0..203_u32).map(|i| (i * 7 % 251) as u8).collect();
        for width in [1, 2, 4, 8] {
            let planes = shuffled(&bytes, width);
            assert_eq!(unshuffle(&planes, width), bytes, "{width}");
            let mut encoder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&planes).expect("memory");
            let stored = encoder.finish().expect("memory");
            let whole = inflate(stored.as_slice(), width, bytes.len());
            assert_eq!(whole.as_ref(), Ok(&bytes));
            assert!(inflate(stored.as_slice(), width, bytes.len() - 1).is_err());
            assert!(inflate(stored.as_slice(), width, bytes.len() + 1).is_err());
        }
    }

    #[test]
    fn lz4_frames_are_read_block_by_block_and_cut_ones_refused() {
        let bytes: Vec<u8> = (0..1000_u32).map(|i| (i / 50) as u8).collect();
        let mut frame = 1000_u64.to_be_bytes().to_vec();
        frame.extend_from_slice(&300_u32.to_be_bytes());
        for block in bytes.chunks(300) {
            let stored = lz4_flex::block::compress(block);
            frame.extend_from_slice(&(stored.len() as u32).to_be_bytes());
            frame.extend_from_slice(&stored);
        }
        assert_eq!(lz4_blocks(&frame, 1000).as_ref(), Ok(&bytes));
        assert!(lz4_blocks(&frame, 999).is_err());
        for end in 0..frame.len() {
            assert!(lz4_blocks(&frame[..end], 1000).is_err(), "{end}");
        }
    }
}
