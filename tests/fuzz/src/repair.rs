//! Puts right what no damaged file would get past: magic words and the checksums of HDF5's metadata.

use super::overwrite;

/// The first bytes of an HDF5 file.
pub const HDF5_SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// The bytes as a Parquet file: its word at both ends.
pub fn parquet(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    overwrite(&mut bytes, 0, b"PAR1");
    let end = bytes.len().saturating_sub(4);
    overwrite(&mut bytes, end, b"PAR1");
    bytes
}

/// The bytes as an HDF5 file: its signature in front, and the checksums of what can be told apart.
///
/// Files of the old format have none. Of the new one's structures these have a length that they tell, or that is always
/// the same with addresses of eight bytes. Headers of extensible arrays keep theirs: after a right checksum the library
/// believes any geometry in them, and no file that is damaged by chance has one.
pub fn hdf5(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    overwrite(&mut bytes, 0, &HDF5_SIGNATURE);
    if matches!(bytes.get(8), Some(2 | 3)) {
        stamp(&mut bytes, 0, 48);
    }
    for at in 0..bytes.len().saturating_sub(4) {
        let length = match bytes.get(at..at + 4) {
            Some(b"OHDR") => object_header(&bytes, at),
            Some(b"FAHD") => Some(28),
            Some(b"BTHD") => Some(38),
            _ => None,
        };
        if let Some(length) = length {
            stamp(&mut bytes, at, length);
        }
    }
    bytes
}

/// Length of the first block of an object header, checksum included.
fn object_header(bytes: &[u8], at: usize) -> Option<usize> {
    let flags = *bytes.get(at + 5)?;
    let mut length = 6;
    // Times, and the limits of attributes.
    length += if flags & 0x20 == 0 { 0 } else { 16 };
    length += if flags & 0x10 == 0 { 0 } else { 4 };
    let width = 1 << (flags & 3);
    let size = bytes.get(at + length..at + length + width)?;
    let size = size
        .iter()
        .rev()
        .fold(0_u64, |size, &byte| (size << 8) | u64::from(byte));
    usize::try_from(size).ok()?.checked_add(length + width + 4)
}

/// Writes the checksum of the structure of `length` bytes at `at` into its last four.
fn stamp(bytes: &mut [u8], at: usize, length: usize) {
    let end = at.checked_add(length).filter(|end| *end <= bytes.len());
    if let Some(end) = end
        && length > 4
    {
        let sum = lookup3(&bytes[at..end - 4]);
        bytes[end - 4..end].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Bob Jenkins' `lookup3` (`hashlittle`), the checksum of HDF5's metadata.
fn lookup3(bytes: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(bytes.len() as u32);
    let [mut a, mut b, mut c] = [start; 3];
    let mut rest = bytes;
    loop {
        let (part, after) = rest.split_at(rest.len().min(12));
        let mut words = [0_u32; 3];
        for (k, &byte) in part.iter().enumerate() {
            words[k / 4] |= u32::from(byte) << (8 * (k % 4));
        }
        if part.is_empty() {
            return c;
        }
        a = a.wrapping_add(words[0]);
        b = b.wrapping_add(words[1]);
        c = c.wrapping_add(words[2]);
        rest = after;
        if rest.is_empty() {
            break;
        }
        for (turn, shift) in [4, 6, 8, 16, 19, 4].into_iter().enumerate() {
            // Each of the three words in turn.
            let (x, y, z) = match turn % 3 {
                0 => (&mut a, &mut c, &mut b),
                1 => (&mut b, &mut a, &mut c),
                _ => (&mut c, &mut b, &mut a),
            };
            *x = x.wrapping_sub(*y) ^ y.rotate_left(shift);
            *y = y.wrapping_add(*z);
        }
    }
    for (turn, shift) in [14, 11, 25, 16, 4, 14, 24].into_iter().enumerate() {
        let (x, y) = match turn % 3 {
            0 => (&mut c, b),
            1 => (&mut a, c),
            _ => (&mut b, a),
        };
        *x = (*x ^ y).wrapping_sub(y.rotate_left(shift));
    }
    c
}
