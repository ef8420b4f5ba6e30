//! The Blosc filter (32001): blocks of shuffled bytes or bits, compressed by one of several codecs.

use super::bitshuffle::append_whole;
use super::{inflate_up_to, lz4_block, unshuffle, wrong_size, zstandard};

const HEADER_BYTES: usize = 16;
/// Flags of the header.
const SHUFFLED: u8 = 0x01;
const STORED: u8 = 0x02;
const BITS_SHUFFLED: u8 = 0x04;
const NOT_SPLIT: u8 = 0x10;

/// Decodes a chunk.
pub(super) fn decode(bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let cut = || "Blosc: the chunk is cut off".to_owned();
    let word = |at: usize| {
        let raw = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(raw.try_into().ok()?) as usize)
    };
    let header = bytes.get(..HEADER_BYTES).ok_or_else(cut)?;
    let (flags, width) = (header[2], usize::from(header[3]).max(1));
    let (n_bytes, block_bytes) = (word(4).ok_or_else(cut)?, word(8).ok_or_else(cut)?);
    if n_bytes > limit {
        return Err(wrong_size(n_bytes, limit));
    }
    if n_bytes == 0 {
        return Ok(Vec::new());
    }
    if flags & STORED != 0 {
        let stored = bytes.get(HEADER_BYTES..HEADER_BYTES + n_bytes);
        return stored.map(<[u8]>::to_vec).ok_or_else(cut);
    }
    if block_bytes == 0 {
        return Err("Blosc: blocks of no bytes".to_owned());
    }
    let mut whole = Vec::with_capacity(n_bytes);
    let mut index = 0;
    while whole.len() < n_bytes {
        let here = block_bytes.min(n_bytes - whole.len());
        let is_last_part = here < block_bytes;
        let mut at = word(HEADER_BYTES + 4 * index).ok_or_else(cut)?;
        // Blocks may be compressed in one part per byte of the elements.
        let n_parts = if flags & NOT_SPLIT != 0 || is_last_part || !here.is_multiple_of(width) {
            1
        } else {
            width
        };
        let part_bytes = here / n_parts;
        let mut block = Vec::with_capacity(here);
        for _ in 0..n_parts {
            let n_stored = word(at).ok_or_else(cut)?;
            let start = at.saturating_add(4);
            at = start.saturating_add(n_stored);
            let stored = bytes.get(start..at).ok_or_else(cut)?;
            if n_stored == part_bytes {
                block.extend_from_slice(stored);
                continue;
            }
            let part = decompress(flags >> 5, stored, part_bytes)?;
            if part.len() != part_bytes {
                return Err(wrong_size(part.len(), part_bytes));
            }
            block.extend_from_slice(&part);
        }
        let n_elements = here / width;
        if flags & SHUFFLED != 0 && width > 1 {
            whole.extend_from_slice(&unshuffle(&block, width));
        } else if flags & BITS_SHUFFLED != 0 && n_elements.is_multiple_of(8) && n_elements > 0 {
            let (elements, rest) = block.split_at(n_elements * width);
            append_whole(elements, width, &mut whole);
            whole.extend_from_slice(rest);
        } else {
            whole.extend_from_slice(&block);
        }
        index += 1;
    }
    Ok(whole)
}

fn decompress(codec: u8, stored: &[u8], n_bytes: usize) -> Result<Vec<u8>, String> {
    match codec {
        0 => blosclz(stored, n_bytes),
        1 => lz4_block(stored, n_bytes),
        2 => {
            // The size is stated before the bytes.
            match snap::raw::decompress_len(stored) {
                Ok(stated) if stated == n_bytes => snap::raw::Decoder::new()
                    .decompress_vec(stored)
                    .map_err(|error| format!("Blosc: {error}")),
                _ => Err("Blosc: a block has an impossible size".to_owned()),
            }
        }
        3 => inflate_up_to(stored, n_bytes),
        4 => zstandard(stored, n_bytes),
        other => Err(format!("Blosc: the codec {other} is not known")),
    }
}

/// Decompresses BloscLZ: runs of literal bytes, and repetitions of earlier ones.
fn blosclz(stored: &[u8], n_bytes: usize) -> Result<Vec<u8>, String> {
    /// Distances beyond this one follow in two more bytes.
    const FAR: usize = 8191;
    let bad = || "BloscLZ: the block is damaged".to_owned();
    let mut bytes = Vec::with_capacity(n_bytes);
    let mut input = stored.iter().map(|&byte| usize::from(byte));
    let mut control = input.next().ok_or_else(bad)? & 31;
    loop {
        if control < 32 {
            for _ in 0..=control {
                bytes.push(input.next().ok_or_else(bad)? as u8);
            }
        } else {
            let mut length = (control >> 5) + 2;
            let high = control & 31;
            if length == 9 {
                loop {
                    let more = input.next().ok_or_else(bad)?;
                    length += more;
                    if more != 255 || length > n_bytes {
                        break;
                    }
                }
            }
            let low = input.next().ok_or_else(bad)?;
            let distance = if low == 255 && high == 31 {
                let (first, second) =
                    (input.next().ok_or_else(bad)?, input.next().ok_or_else(bad)?);
                (first << 8) + second + FAR + 1
            } else {
                (high << 8) + low + 1
            };
            let from = bytes.len().checked_sub(distance).ok_or_else(bad)?;
            if bytes.len() + length > n_bytes {
                return Err(bad());
            }
            for index in from..from + length {
                let byte = bytes.get(index).copied().ok_or_else(bad)?;
                bytes.push(byte);
            }
        }
        if bytes.len() > n_bytes {
            return Err(bad());
        }
        match input.next() {
            Some(next) => control = next,
            None => return Ok(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blosclz_repeats_what_came_before() {
        // Three literals, then seven bytes from a distance of three.
        let stored = [2, 1, 2, 3, 5 << 5, 2];
        let expected = [1, 2, 3, 1, 2, 3, 1, 2, 3, 1];
        assert_eq!(blosclz(&stored, 10), Ok(expected.to_vec()));
        assert!(blosclz(&stored, 9).is_err());
        for end in [0, 1, 2, 3, 5] {
            assert!(blosclz(&stored[..end], 10).is_err(), "{end}");
        }
        // Before the first byte.
        assert!(blosclz(&[0, 1, 5 << 5, 200], 10).is_err());
    }

    #[test]
    fn frames_are_decoded_by_their_flags() {
        let elements: Vec<u8> = (0..64_u8).flat_map(|i| [i / 4, 0]).collect();
        let planes: Vec<u8> = (0..2)
            .flat_map(|place| elements.iter().skip(place).step_by(2))
            .copied()
            .collect();
        let mut frame = vec![2, 1, SHUFFLED | 1 << 5, 2];
        for number in [128_u32, 128, 0] {
            frame.extend_from_slice(&number.to_le_bytes());
        }
        frame.extend_from_slice(&20_u32.to_le_bytes());
        for part in planes.chunks(64) {
            let stored = lz4_flex::block::compress(part);
            frame.extend_from_slice(&(stored.len() as u32).to_le_bytes());
            frame.extend_from_slice(&stored);
        }
        assert_eq!(decode(&frame, 128).as_ref(), Ok(&elements));
        assert!(decode(&frame, 127).is_err());
        for end in 0..frame.len() {
            assert!(decode(&frame[..end], 128).is_err(), "{end}");
        }
    }
}
