//! The number type of WaveDump's binary samples, which the headers do not state.
//!
//! Most digitisers write 16-bit numbers; those of the families x721 and x731 write one byte per sample, x742 writes 32-bit
//! floats. Programs that convert files write 32-bit integers and doubles as well. Another type is taken only where 16-bit
//! numbers make no sense.

use std::ops::RangeInclusive;

use crate::io::Remark;
use crate::io::waveforms::scalar::{Scalar, ScalarType};

/// Minimum number of bytes from which another type than 16-bit numbers is recognised.
const MIN_BYTES: usize = 128;
/// Median difference of neighbouring 16-bit numbers above which they are no samples of a pulse.
const MAX_STEP: u32 = 512;
/// Magnitude of a float that may be a sample, in ADC counts or in volts.
const FLOAT_RANGE: RangeInclusive<f64> = 1e-7..=1e6;

/// Returns the number type of the samples in `records`, the bytes of some records each.
pub(super) fn recognise(records: &[Vec<u8>]) -> ScalarType {
    let n_bytes: usize = records.iter().map(Vec::len).sum();
    let are_words = records.iter().all(|record| record.len() % 4 == 0);
    if n_bytes < MIN_BYTES {
        return ScalarType::new(Scalar::U16, false);
    }
    let (scalar, big_endian) = if are_words && are_integers(records, false) {
        (Scalar::I32, false)
    } else if are_words && are_doubles(records) {
        (Scalar::F64, false)
    } else if are_words && are_floats(records) {
        (Scalar::F32, false)
    } else if are_words && are_integers(records, true) {
        // After the floats: whole numbers among these have two bytes in front that are 0 as well.
        (Scalar::I32, true)
    } else if are_bytes(records) {
        (Scalar::U8, false)
    } else {
        (Scalar::U16, false)
    };
    ScalarType::new(scalar, big_endian)
}

/// Returns the resolution that follows from a number type.
pub(super) fn adc_bits(kind: ScalarType) -> Option<u32> {
    (kind.scalar == Scalar::U8).then_some(8)
}

/// Returns the remark on a number type that was recognised.
pub(super) fn remark(kind: ScalarType) -> Option<Remark> {
    let words = match kind.scalar {
        Scalar::U8 => "8-bit numbers, as digitisers of the families x721 and x731 write them",
        Scalar::F32 => "32-bit floats, as digitisers of the family x742 write them",
        Scalar::F64 => "64-bit floats",
        Scalar::I32 if kind.big_endian => "32-bit integers of big-endian order",
        Scalar::I32 => "32-bit integers",
        _ => return None,
    };
    Some(Remark::warning(format!(
        "its samples are read as {words}; as 16-bit numbers they would be no waveforms"
    )))
}

/// Returns true if the bytes are 32-bit integers: all have values of 16 bits, so that every second 16-bit number would be 0
/// or 0xffff, and many of the others are neither.
fn are_integers(records: &[Vec<u8>], big_endian: bool) -> bool {
    let (mut n_integers, mut n_large) = (0_usize, 0_usize);
    for record in records {
        for bytes in record.as_chunks::<4>().0 {
            let value = if big_endian {
                i32::from_be_bytes(*bytes)
            } else {
                i32::from_le_bytes(*bytes)
            };
            if !(i32::from(i16::MIN)..=i32::from(u16::MAX)).contains(&value) {
                return false;
            }
            n_integers += 1;
            n_large += usize::from(!(-1..=0).contains(&value));
        }
    }
    n_large * 4 >= n_integers
}

/// Returns true if the bytes are 64-bit floats: nearly all have a plausible magnitude, and their lower halves are no 32-bit
/// floats of a plausible one, as those of 32-bit floats and of 16-bit numbers would be.
fn are_doubles(records: &[Vec<u8>]) -> bool {
    if records.iter().any(|record| record.len() % 8 != 0) {
        return false;
    }
    let (mut n_doubles, mut n_plausible, mut n_zero, mut n_half) = (0, 0, 0, 0);
    for record in records {
        for bytes in record.as_chunks::<8>().0 {
            let value = f64::from_le_bytes(*bytes);
            let [a, b, c, d, ..] = *bytes;
            let half = f32::from_le_bytes([a, b, c, d]);
            n_doubles += 1;
            n_zero += usize::from(value == 0.0);
            n_plausible += usize::from(value == 0.0 || is_plausible(value));
            n_half += usize::from(is_plausible(f64::from(half)));
        }
    }
    n_plausible * 100 >= n_doubles * 99 && n_zero * 2 <= n_doubles && n_half * 2 <= n_doubles
}

/// Returns true if the bytes are 32-bit floats: nearly all have a plausible magnitude, and read as 16-bit numbers,
/// neighbours have nothing in common.
fn are_floats(records: &[Vec<u8>]) -> bool {
    let (mut n_floats, mut n_plausible) = (0_usize, 0_usize);
    for record in records {
        for bytes in record.as_chunks::<4>().0 {
            let value = f64::from(f32::from_le_bytes(*bytes));
            n_floats += 1;
            n_plausible += usize::from(value == 0.0 || is_plausible(value));
        }
    }
    n_plausible * 100 >= n_floats * 99 && are_rough(records)
}

/// Returns true for a float that may be a sample other than 0.
fn is_plausible(value: f64) -> bool {
    FLOAT_RANGE.contains(&value.abs())
}

/// Returns true if neighbouring 16-bit numbers have nothing in common.
fn are_rough(records: &[Vec<u8>]) -> bool {
    let steps = records.iter().flat_map(|record| {
        let words = record.as_chunks::<2>().0.iter();
        differences(words.map(|word| u32::from(u16::from_le_bytes(*word))))
    });
    median(&mut steps.collect::<Vec<_>>()) > MAX_STEP
}

/// Returns true if the bytes are 8-bit numbers: bytes at even and odd offsets, which would be the low and the high bytes of
/// 16-bit numbers, vary about the same value, by as much and as often.
fn are_bytes(records: &[Vec<u8>]) -> bool {
    let mut steps = Vec::new();
    let mut counts = [[0_u64; 256]; 2];
    for record in records {
        steps.extend(differences(record.iter().copied().map(u32::from)));
        for (index, &byte) in record.iter().enumerate() {
            if let Some(count) = counts[index % 2].get_mut(usize::from(byte)) {
                *count += 1;
            }
        }
    }
    let [low, high] = counts.map(|counts| Spread::new(&counts));
    let is_alike = |a: f64, b: f64, extra: f64| a <= 2.0 * b + extra && b <= 2.0 * a + extra;
    median(&mut steps) <= 8
        && low.median.abs_diff(high.median) <= 2
        && low.range.min(high.range) >= 1
        && is_alike(low.range as f64, high.range as f64, 2.0)
        && is_alike(low.deviating, high.deviating, 0.0)
}

/// Median, range, and share of the bytes that differ from the median.
struct Spread {
    median: usize,
    range: usize,
    deviating: f64,
}

impl Spread {
    fn new(counts: &[u64; 256]) -> Self {
        let total: u64 = counts.iter().sum();
        let mut before = 0;
        let median = counts.iter().position(|count| {
            before += count;
            2 * before >= total
        });
        let median = median.unwrap_or(0);
        let at_median = counts.get(median).copied().unwrap_or(0);
        let first = counts.iter().position(|&count| count > 0);
        let last = counts.iter().rposition(|&count| count > 0);
        Self {
            median,
            range: last.unwrap_or(0) - first.unwrap_or(0),
            deviating: (total - at_median) as f64 / total.max(1) as f64,
        }
    }
}

fn differences(values: impl Iterator<Item = u32> + Clone) -> impl Iterator<Item = u32> {
    let next = values.clone().skip(1);
    values.zip(next).map(|(value, next)| value.abs_diff(next))
}

fn median(values: &mut [u32]) -> u32 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0;
    }
    *values.select_nth_unstable(middle).1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples at `level` with noise of `noise` counts, and a pulse of `height` counts in each record.
    fn counts(level: f64, noise: f64, height: f64) -> Vec<Vec<f64>> {
        let mut state = 1_u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        let record = |_| {
            let sample = |index: u32| {
                let pulse = if (100..110).contains(&index) {
                    height
                } else {
                    0.0
                };
                level - pulse + 2.0 * noise * (random() + random() + random())
            };
            (0..300).map(sample).collect()
        };
        (0..8).map(record).collect()
    }

    fn kind_of(records: &[Vec<f64>], encode: impl Fn(f64) -> Vec<u8>) -> Scalar {
        let encode = |record: &Vec<f64>| record.iter().flat_map(|&it| encode(it)).collect();
        recognise(&records.iter().map(encode).collect::<Vec<_>>()).scalar
    }

    fn u16_of(value: f64) -> Vec<u8> {
        (value.round() as u16).to_le_bytes().to_vec()
    }

    #[test]
    fn counts_of_every_level_stay_16_bit_numbers() {
        for level in (0..=16_u32).map(|k| f64::from(k * 4096).min(65_000.0)) {
            // Levels whose two bytes are equal are the hardest.
            for level in [level, 4626.0, 257.0 * 32.0, 257.0 * 69.0, 17_800.0] {
                for noise in [0.0, 0.3, 2.0, 8.0, 60.0] {
                    for height in [0.0, 3.0, 256.0, 1000.0] {
                        let records = counts(level, noise, height);
                        let kind = kind_of(&records, u16_of);
                        assert_eq!(kind, Scalar::U16, "{level} {noise} {height}");
                    }
                }
            }
        }
    }

    #[test]
    fn bytes_and_floats_are_recognised() {
        for (level, noise, height) in [
            (74.7, 0.12, 12.0),
            (200.0, 1.0, 60.0),
            (128.0, 0.4, 3.0),
            (20.0, 2.0, 15.0),
        ] {
            let records = counts(level, noise, height);
            let kind = kind_of(&records, |value| vec![value.round() as u8]);
            assert_eq!(kind, Scalar::U8, "{level} {noise} {height}");
        }
        for (level, noise, height) in [
            (4784.0, 8.0, 700.0),
            (0.0, 1.0, 50.0),
            (-3.5, 0.3, 20.0),
            (2000.25, 4.0, 0.0),
        ] {
            let records = counts(level, noise, height);
            let floats = |value: f64| (value as f32).to_le_bytes().to_vec();
            assert_eq!(kind_of(&records, floats), Scalar::F32, "{level}");
            let whole = |value: f64| (value.round() as f32).to_le_bytes().to_vec();
            assert_eq!(kind_of(&records, whole), Scalar::F32, "{level}, whole");
            let volts = |value: f64| (value as f32 / 16_384.0).to_le_bytes().to_vec();
            assert_eq!(kind_of(&records, volts), Scalar::F32, "{level}, volts");
            for scale in [1.0, 1.0 / 16_384.0] {
                let doubles = |value: f64| (value * scale).to_le_bytes().to_vec();
                assert_eq!(kind_of(&records, doubles), Scalar::F64, "{level} {scale}");
                let whole = |value: f64| (value.round() * scale).to_le_bytes().to_vec();
                assert_eq!(kind_of(&records, whole), Scalar::F64, "{level} {scale}");
            }
        }
    }

    #[test]
    fn integers_of_32_bits_are_recognised_in_either_order() {
        for (level, noise, height) in [
            (4784.0, 8.0, 700.0),
            (0.0, 3.0, 50.0),
            (-3.5, 0.3, 20.0),
            (60_000.0, 0.0, 0.0),
        ] {
            let records = counts(level, noise, height);
            let little = |value: f64| (value.round() as i32).to_le_bytes().to_vec();
            assert_eq!(kind_of(&records, little), Scalar::I32, "{level}");
            let big = |value: f64| (value.round() as i32).to_be_bytes().to_vec();
            let kind = recognise(&[records.iter().flatten().flat_map(|&it| big(it)).collect()]);
            assert_eq!(kind, ScalarType::new(Scalar::I32, true), "{level}");
        }
    }
}
