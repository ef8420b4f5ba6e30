//! Stage 1: converts samples to floats and flags waveforms that are not finite, flat or saturated.
//!
//! The same pass sums blocks of 16 samples (8 in short waveforms, 32 in long ones), from which the next stage estimates
//! baseline and noise, and separates even from odd samples for the decimation.

use multiversion::multiversion;

use crate::model::rails::rails_of_waveform;
use crate::model::{Flags, SamplesRef};

/// Block sizes: in waveforms of up to 79 samples, of up to 511, and in longer ones.
pub const BLOCKS: [usize; 3] = [8, 16, 32];

/// Returns the index in [`BLOCKS`] of the size for a waveform of `length` samples.
///
/// Each size is used from the length with enough of its blocks: 5 of 16 samples, 16 of 32. Blocks of 8 are used only below, since one may lie
/// in the plateau of the ringing of a pulse and look quiet.
#[must_use]
pub fn block_class(length: usize) -> usize {
    usize::from(length >= 80) + usize::from(length >= 512)
}

/// Number of samples at a rail from which a waveform is saturated. A single one may be a glitch or a value that happens to be 0.
pub(crate) const MIN_SATURATED: usize = 2;
/// Noise from rounding to whole counts: 1 / sqrt(12), rounded up.
pub(crate) const ROUNDING_ADC: f32 = 0.29;

/// The samples of one waveform as floats, even and odd ones separate, and mean and variance of each whole block.
#[derive(Clone, Debug, Default)]
pub struct LoadedSamples {
    /// Samples 0, 2, 4, ...
    pub even: Vec<f32>,
    /// Samples 1, 3, 5, ...
    pub odd: Vec<f32>,
    /// Mean of each whole block.
    pub block_mean: Vec<f32>,
    /// Variance of each whole block about its own mean (divided by one less than its samples).
    pub block_variance: Vec<f32>,
    /// Size of the blocks, as index in [`BLOCKS`].
    pub class: usize,
    /// Lowest sample.
    pub lowest: f32,
    /// Highest sample.
    pub highest: f32,
    /// Scratch memory of [`sum_raw_blocks`]: sums and sums of squares about the first sample of each block, in quarters.
    quarters: Vec<[[f32; 4]; 2]>,
}

impl LoadedSamples {
    /// Returns sample `index` of the waveform.
    #[must_use]
    pub fn sample(&self, index: usize) -> Option<f32> {
        let half = if index.is_multiple_of(2) {
            &self.even
        } else {
            &self.odd
        };
        half.get(index / 2).copied()
    }

    pub(super) fn sample_mut(&mut self, index: usize) -> Option<&mut f32> {
        let half = if index.is_multiple_of(2) {
            &mut self.even
        } else {
            &mut self.odd
        };
        half.get_mut(index / 2)
    }

    /// Sums the blocks again after a change of samples, and returns the flags.
    pub(super) fn measure(&mut self, rails: (f32, f32)) -> Flags {
        self.quarters.resize(self.block_mean.len(), [[0.0; 4]; 2]);
        let extremes = match self.class {
            0 => sum_raw_blocks::<{ BLOCKS[0] / 2 }>(self),
            1 => sum_raw_blocks::<{ BLOCKS[1] / 2 }>(self),
            _ => sum_raw_blocks::<{ BLOCKS[2] / 2 }>(self),
        };
        (self.lowest, self.highest) = (extremes.lowest, extremes.highest);
        let mut flags = Flags::NONE;
        if !extremes.finite {
            return Flags::NON_FINITE;
        }
        if extremes.lowest == extremes.highest {
            flags |= Flags::FLAT;
        }
        let rails = rails_of_waveform(rails, extremes.lowest);
        // Saturation is rare: only a waveform that touches a rail is counted.
        if extremes.lowest <= rails.0 && count(self, |value| value <= rails.0) >= MIN_SATURATED {
            flags |= Flags::SATURATED_LOW;
        }
        if extremes.highest >= rails.1 && count(self, |value| value >= rails.1) >= MIN_SATURATED {
            flags |= Flags::SATURATED_HIGH;
        }
        flags
    }
}

/// Loads a waveform into `loaded` and returns its flags.
///
/// `rails` are the lowest and highest value of the digitizer (infinities if not known).
pub fn load_samples(
    samples: SamplesRef<'_>,
    rails: (f32, f32),
    loaded: &mut LoadedSamples,
) -> Flags {
    let length = samples.len();
    loaded.even.resize(length.div_ceil(2), 0.0);
    loaded.odd.resize(length / 2, 0.0);
    loaded.class = block_class(length);
    let block = BLOCKS[loaded.class];
    loaded.block_mean.resize(length / block, 0.0);
    loaded.block_variance.resize(length / block, 0.0);
    match samples {
        SamplesRef::U16(samples) => {
            separate_u16(samples, &mut loaded.even, &mut loaded.odd);
            // The last sample of an odd number.
            if let (1, Some(&last), Some(even)) =
                (length % 2, samples.last(), loaded.even.last_mut())
            {
                *even = f32::from(last);
            }
        }
        SamplesRef::F32(samples) => {
            separate_f32(samples, &mut loaded.even, &mut loaded.odd);
            if let (1, Some(&last), Some(even)) =
                (length % 2, samples.last(), loaded.even.last_mut())
            {
                *even = last;
            }
        }
    }
    loaded.measure(rails)
}

fn count(loaded: &LoadedSamples, predicate: impl Fn(f32) -> bool) -> usize {
    loaded
        .even
        .iter()
        .chain(&loaded.odd)
        .filter(|&&value| predicate(value))
        .count()
}

struct Extremes {
    lowest: f32,
    highest: f32,
    finite: bool,
}

/// Separates even from odd counts; a pair is read as one 32-bit word, which vectorizes.
#[multiversion(targets = "simd")]
fn separate_u16(samples: &[u16], even: &mut [f32], odd: &mut [f32]) {
    let words: &[u8] = bytemuck::cast_slice(samples);
    for ((word, even), odd) in words.chunks_exact(4).zip(even).zip(odd) {
        let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        let (first, second) = if cfg!(target_endian = "little") {
            (word & 0xffff, word >> 16)
        } else {
            (word >> 16, word & 0xffff)
        };
        // By way of `i32`, which every vector unit converts in one step.
        *even = first.cast_signed() as f32;
        *odd = second.cast_signed() as f32;
    }
}

/// Separates even from odd samples.
#[multiversion(targets = "simd")]
fn separate_f32(samples: &[f32], even: &mut [f32], odd: &mut [f32]) {
    for ((pair, even), odd) in samples.chunks_exact(2).zip(even).zip(odd) {
        *even = pair[0];
        *odd = pair[1];
    }
}

/// Computes mean and variance of each block, and the extremes. Lanes are summed in a fixed order, so that the result does not
/// depend on the vector width of the processor; the last two steps of the sums are made for several blocks at once.
#[multiversion(targets = "simd")]
fn sum_raw_blocks<const HALF: usize>(loaded: &mut LoadedSamples) -> Extremes {
    let mut low = [f32::INFINITY; HALF];
    let mut high = [f32::NEG_INFINITY; HALF];
    // 0 x NaN and 0 x infinity are NaN: one sum shows whether all samples are finite.
    let mut poison = [0.0_f32; HALF];
    let size = 2.0 * HALF as f32;
    let (even, odd) = (loaded.even.as_slice(), loaded.odd.as_slice());
    let columns = even.chunks_exact(HALF).zip(odd.chunks_exact(HALF));
    let blocks = loaded.block_mean.iter_mut().zip(&mut loaded.quarters);
    for ((even, odd), (mean, quarters)) in columns.zip(blocks) {
        let pivot = even[0];
        let mut sum = [0.0_f32; HALF];
        let mut sum_of_squares = [0.0_f32; HALF];
        for lane in 0..HALF {
            let (a, b) = (even[lane], odd[lane]);
            let (smaller, larger) = if a < b { (a, b) } else { (b, a) };
            low[lane] = lesser(smaller, low[lane]);
            high[lane] = greater(larger, high[lane]);
            poison[lane] += 0.0 * a + 0.0 * b;
            let (a, b) = (a - pivot, b - pivot);
            sum[lane] = a + b;
            sum_of_squares[lane] = a * a + b * b;
        }
        *mean = pivot;
        *quarters = [quarter_sums(sum), quarter_sums(sum_of_squares)];
    }
    let blocks = loaded.block_mean.iter_mut().zip(&mut loaded.block_variance);
    for ((mean, variance), [sum, squares]) in blocks.zip(&loaded.quarters) {
        let sum = (sum[0] + sum[2]) + (sum[1] + sum[3]);
        let squares = (squares[0] + squares[2]) + (squares[1] + squares[3]);
        *mean += sum * (1.0 / size);
        *variance = greater(
            (squares - sum * sum * (1.0 / size)) * (1.0 / (size - 1.0)),
            0.0,
        );
    }
    // Samples after the last whole block: of an odd number both halves may have some.
    let rest = loaded.block_mean.len() * HALF;
    let rest = even[rest.min(even.len())..]
        .iter()
        .chain(&odd[rest.min(odd.len())..]);
    for (lane, &value) in rest.enumerate() {
        let lane = lane % HALF;
        low[lane] = lesser(value, low[lane]);
        high[lane] = greater(value, high[lane]);
        poison[lane] += 0.0 * value;
    }
    let mut half = HALF / 2;
    while half > 0 {
        for lane in 0..half {
            low[lane] = lesser(low[lane + half], low[lane]);
            high[lane] = greater(high[lane + half], high[lane]);
        }
        half /= 2;
    }
    Extremes {
        lowest: low[0],
        highest: high[0],
        finite: tree_sum(poison) == 0.0,
    }
}

/// Returns the lesser of two numbers, in a form that compiles to one instruction (`f32::min` handles NaN).
#[expect(
    clippy::inline_always,
    reason = "has to take on the vector width of the function it is called from"
)]
#[inline(always)]
pub(super) fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// Returns the greater of two numbers, likewise.
#[expect(
    clippy::inline_always,
    reason = "has to take on the vector width of the function it is called from"
)]
#[inline(always)]
pub(super) fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Returns the sums over every fourth lane of a power of two of lanes: all but the last two steps of [`tree_sum`].
#[expect(
    clippy::inline_always,
    reason = "has to take on the vector width of the function it is called from"
)]
#[inline(always)]
fn quarter_sums<const LANES: usize>(mut lanes: [f32; LANES]) -> [f32; 4] {
    let mut half = LANES / 2;
    while half >= 4 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    [lanes[0], lanes[1], lanes[2], lanes[3]]
}

/// Returns the sum of a power of two of lanes, halving their number in each step.
#[expect(
    clippy::inline_always,
    reason = "has to take on the vector width of the function it is called from"
)]
#[inline(always)]
pub(crate) fn tree_sum<const LANES: usize>(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAILS: (f32, f32) = (0.0, 1023.0);

    #[test]
    fn samples_come_out_as_they_went_in() {
        let samples: Vec<u16> = (0..77).map(|index| 500 + index * 3 % 17).collect();
        let mut loaded = LoadedSamples::default();
        assert_eq!(
            load_samples(SamplesRef::U16(&samples), RAILS, &mut loaded),
            Flags::NONE
        );
        let back: Vec<u16> = (0..77)
            .map(|index: usize| if index.is_multiple_of(2) { loaded.even[index / 2] } else { loaded.odd[index / 2] } as u16)
            .collect();
        assert_eq!(back, samples);
        let mean: f32 = samples[8..16]
            .iter()
            .map(|&sample| f32::from(sample))
            .sum::<f32>()
            / 8.0;
        assert!((loaded.block_mean[1] - mean).abs() < 1e-4);
    }

    #[test]
    fn every_sample_counts() {
        let mut loaded = LoadedSamples::default();
        for length in 32..600 {
            for index in 0..length {
                let mut samples = vec![500_u16; length];
                samples[index] = 0;
                if let Some(next) = samples.get_mut(index + 1) {
                    *next = 0;
                }
                let flags = load_samples(SamplesRef::U16(&samples), RAILS, &mut loaded);
                let expected = if index + 1 < length {
                    Flags::SATURATED_LOW
                } else {
                    Flags::NONE
                };
                assert_eq!(flags, expected, "{length} samples, {index}");
            }
        }
    }

    #[test]
    fn bad_samples_are_flagged() {
        let mut loaded = LoadedSamples::default();
        let mut flags =
            |samples: &[f32]| load_samples(SamplesRef::F32(samples), RAILS, &mut loaded);
        assert_eq!(flags(&[5.0; 40]), Flags::FLAT);
        assert_eq!(flags(&[1023.0; 40]), Flags::FLAT | Flags::SATURATED_HIGH);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 17, 39] {
                let mut samples = [5.0; 40];
                samples[place] = bad;
                assert_eq!(flags(&samples), Flags::NON_FINITE, "{bad} at {place}");
            }
        }
        let mut samples = [5.0; 40];
        samples[7] = 0.0;
        assert_eq!(
            flags(&samples),
            Flags::NONE,
            "one sample at a rail is not a saturated pulse"
        );
        samples[8] = -1.0;
        assert_eq!(flags(&samples), Flags::SATURATED_LOW);
    }
}
