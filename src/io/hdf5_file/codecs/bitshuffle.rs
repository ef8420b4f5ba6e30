//! The bitshuffle filter (32008): bits of equal significance next to each other, in blocks, which LZ4 or Zstandard may compress.

use super::{Pieces, lz4_block, wrong_size, zstandard};

/// Elements of a block and of the rest are processed in groups of this many.
const GROUP: usize = 8;

/// Decodes a chunk. `settings` are the filter's: versions, bytes per element, elements per block, compression.
pub(super) fn decode(bytes: &[u8], settings: &[u32], limit: usize) -> Result<Vec<u8>, String> {
    let setting = |index: usize| settings.get(index).map_or(0, |&value| value as usize);
    let (width, compression) = (setting(2), setting(4));
    if width == 0 {
        return Err("bitshuffle: the bytes per element are not stated".to_owned());
    }
    let mut pieces = Pieces(bytes);
    let (n_bytes, block_bytes) = if compression == 0 {
        let n_elements = match setting(3) {
            0 => default_block(width),
            n_elements => n_elements,
        };
        (bytes.len(), n_elements.saturating_mul(width))
    } else {
        (pieces.number(8)?, pieces.number(4)?)
    };
    if n_bytes > limit || block_bytes < width * GROUP || block_bytes % (width * GROUP) != 0 {
        return Err(format!(
            "bitshuffle: a chunk of {n_bytes} bytes in blocks of {block_bytes} is impossible"
        ));
    }
    let mut whole = Vec::with_capacity(n_bytes);
    // The elements beyond the last group are stored as they are.
    let grouped_bytes = n_bytes / (width * GROUP) * (width * GROUP);
    while whole.len() < grouped_bytes {
        let block_bytes = block_bytes.min(grouped_bytes - whole.len());
        if compression == 0 {
            append_whole(pieces.take(block_bytes)?, width, &mut whole);
            continue;
        }
        let n_stored = pieces.number(4)?;
        let stored = pieces.take(n_stored)?;
        let block = match compression {
            2 => lz4_block(stored, block_bytes)?,
            3 => zstandard(stored, block_bytes)?,
            other => return Err(format!("bitshuffle: the compression {other} is not known")),
        };
        if block.len() != block_bytes {
            return Err(wrong_size(block.len(), block_bytes));
        }
        append_whole(&block, width, &mut whole);
    }
    whole.extend_from_slice(pieces.take(n_bytes - grouped_bytes)?);
    Ok(whole)
}

/// Returns the elements per block where the filter does not state them.
fn default_block(width: usize) -> usize {
    const TARGET_BYTES: usize = 8192;
    const MIN_ELEMENTS: usize = 128;
    (TARGET_BYTES / width / GROUP * GROUP).max(MIN_ELEMENTS)
}

/// Appends the elements of a block. Their number is a multiple of [`GROUP`].
pub(super) fn append_whole(block: &[u8], width: usize, whole: &mut Vec<u8>) {
    let start = whole.len();
    whole.resize(start + block.len(), 0);
    let Some(elements) = whole.get_mut(start..) else {
        return;
    };
    // Plane b holds bit b of all elements, eight elements a byte.
    let plane_bytes = block.len() / (width * GROUP);
    for (group, elements) in elements.chunks_exact_mut(width * GROUP).enumerate() {
        for byte in 0..width {
            let mut planes = [0; GROUP];
            for (bit, plane) in planes.iter_mut().enumerate() {
                *plane = block
                    .get((byte * GROUP + bit) * plane_bytes + group)
                    .copied()
                    .unwrap_or(0);
            }
            let bytes = transposed(u64::from_le_bytes(planes)).to_le_bytes();
            let targets = elements.iter_mut().skip(byte).step_by(width);
            for (to, from) in targets.zip(bytes) {
                *to = from;
            }
        }
    }
}

/// Transposes a matrix of 8 x 8 bits (Hacker's Delight, 7-3).
fn transposed(mut bits: u64) -> u64 {
    for (distance, mask) in [
        (7, 0x00aa_00aa_00aa_00aa),
        (14, 0x0000_cccc_0000_cccc),
        (28, 0x0000_0000_f0f0_f0f0),
    ] {
        let swapped = (bits ^ (bits >> distance)) & mask;
        bits ^= swapped ^ (swapped << distance);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: bit m of byte i of plane b is bit b of element 8 i + m.
    fn planes(elements: &[u8], width: usize) -> Vec<u8> {
        let n = elements.len() / width;
        let mut planes = vec![0; elements.len()];
        for element in 0..n {
            for bit in 0..width * 8 {
                let value = elements[element * width + bit / 8] >> (bit % 8) & 1;
                planes[bit * (n / 8) + element / 8] |= value << (element % 8);
            }
        }
        planes
    }

    #[test]
    fn bits_come_back_to_their_elements() {
        for width in [1, 2, 4, 8] {
            let elements: Vec<u8> = (0..40 * width).map(|i| (i * 37 % 255) as u8).collect();
            let mut whole = Vec::new();
            append_whole(&planes(&elements, width), width, &mut whole);
            assert_eq!(whole, elements, "{width}");
        }
    }

    #[test]
    fn chunks_of_all_compressions_are_read_and_cut_ones_refused() {
        // 35 elements: two blocks of 16, no whole group after them, three elements as they are.
        let elements: Vec<u8> = (0..70_u8).map(|i| i / 3).collect();
        let blocks = || elements[..64].chunks(32).map(|block| planes(block, 2));
        for compression in [0_u32, 2, 3] {
            let mut chunk = Vec::new();
            if compression != 0 {
                chunk.extend_from_slice(&70_u64.to_be_bytes());
                chunk.extend_from_slice(&32_u32.to_be_bytes());
            }
            for block in blocks() {
                let stored = match compression {
                    0 => block,
                    2 => lz4_flex::block::compress(&block),
                    _ => zstd::bulk::compress(&block, 1).expect("memory"),
                };
                if compression != 0 {
                    chunk.extend_from_slice(&(stored.len() as u32).to_be_bytes());
                }
                chunk.extend_from_slice(&stored);
            }
            chunk.extend_from_slice(&elements[64..]);
            let settings = [0, 4, 2, 16, compression];
            assert_eq!(decode(&chunk, &settings, 70).as_ref(), Ok(&elements));
            if compression != 0 {
                assert!(decode(&chunk, &settings, 69).is_err());
                for end in 0..chunk.len() {
                    assert!(decode(&chunk[..end], &settings, 70).is_err(), "{end}");
                }
            }
        }
    }
}
