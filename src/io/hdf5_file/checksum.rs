//! Checksums of HDF5: Jenkins's lookup3 of metadata, and Fletcher's of chunks.

/// Returns lookup3 of `bytes`, which all metadata of the newer formats end with.
pub(super) fn lookup3(bytes: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(bytes.len() as u32);
    let (mut a, mut b, mut c) = (start, start, start);
    let word = |raw: &[u8], at: usize| {
        let mut word = [0; 4];
        for (to, from) in word.iter_mut().zip(raw.iter().skip(at)) {
            *to = *from;
        }
        u32::from_le_bytes(word)
    };
    let mut rest = bytes;
    // The last block, of 1 to 12 bytes, is mixed in another way.
    while rest.len() > 12 {
        let (block, after) = rest.split_at(12);
        rest = after;
        a = a.wrapping_add(word(block, 0));
        b = b.wrapping_add(word(block, 4));
        c = c.wrapping_add(word(block, 8));
        // mix(): six steps, in each of which the three numbers change their roles.
        for turn in [4, 6, 8, 16, 19, 4] {
            let changed = a.wrapping_sub(c) ^ c.rotate_left(turn);
            (a, b, c) = (b, c.wrapping_add(b), changed);
        }
    }
    if rest.is_empty() {
        return c;
    }
    a = a.wrapping_add(word(rest, 0));
    b = b.wrapping_add(word(rest, 4));
    c = c.wrapping_add(word(rest, 8));
    let mix = |to: &mut u32, by: u32, turn: u32| {
        *to = (*to ^ by).wrapping_sub(by.rotate_left(turn));
    };
    mix(&mut c, b, 14);
    mix(&mut a, c, 11);
    mix(&mut b, a, 25);
    mix(&mut c, b, 16);
    mix(&mut a, c, 4);
    mix(&mut b, a, 14);
    mix(&mut c, b, 24);
    c
}

/// Returns the checksum of the Fletcher32 filter: over words of 16 bits, the most significant byte first.
pub(super) fn fletcher32(bytes: &[u8]) -> u32 {
    let (mut sum, mut sum_of_sums) = (0_u64, 0_u64);
    let (pairs, last) = bytes.as_chunks::<2>();
    let last = last.first().map(|&byte| [byte, 0]);
    for &pair in pairs.iter().chain(&last) {
        sum = fold(sum + u64::from(u16::from_be_bytes(pair)));
        sum_of_sums = fold(sum_of_sums + sum);
    }
    (sum_of_sums as u32) << 16 | sum as u32
}

/// Returns a sum modulo 65535, where only 0 itself becomes 0.
fn fold(sum: u64) -> u64 {
    sum.checked_sub(1).map_or(0, |sum| sum % 65_535 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup3_is_that_of_its_author() {
        // From the self-test of lookup3.c: hashlittle of these texts with the initial value 0.
        assert_eq!(lookup3(b""), 0xdead_beef);
        assert_eq!(lookup3(b"Four score and seven years ago"), 0x1777_0551);
    }

    #[test]
    fn fletcher32_folds_words_of_16_bits() {
        assert_eq!(fletcher32(&[0, 1, 0, 2]), 0x0004_0003);
        assert_eq!(fletcher32(&[0, 1, 2]), 0x0202_0201);
        assert_eq!(fletcher32(&[0xff, 0xff]), 0xffff_ffff);
    }
}
