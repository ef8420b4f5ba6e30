//! Stage 1: samples to floats, and what is wrong with them: non-finite, flat, saturated.
//!
//! The same pass sums blocks of 16 samples, from which the next stage takes baseline and noise, and separates
//! even from odd samples, as the decimation wants them.

use multiversion::multiversion;

use crate::model::{Flags, SamplesRef};

/// Samples a block.
pub const BLOCK: usize = 16;

/// Samples at a rail that make a waveform saturated. One alone may be a digitiser's glitch or a value that happens to be 0.
const MIN_SATURATED: u32 = 2;

/// The samples of one waveform as floats, even and odd ones apart, and the mean and variance of each whole block.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Samples 0, 2, 4, ...
    pub even: Vec<f32>,
    /// Samples 1, 3, 5, ...
    pub odd: Vec<f32>,
    /// Mean of each whole block.
    pub block_mean: Vec<f32>,
    /// Variance of each whole block about its own mean (divided by [`BLOCK`]` - 1`).
    pub block_variance: Vec<f32>,
}

/// Loads a waveform into `loaded` and says what is wrong with it.
///
/// `rails` are the lowest and highest value the digitiser can give (`f32` infinities where not known).
pub fn load(samples: SamplesRef<'_>, rails: (f32, f32), loaded: &mut Loaded) -> Flags {
    let length = samples.len();
    loaded.even.resize(length.div_ceil(2), 0.0);
    loaded.odd.resize(length / 2, 0.0);
    loaded.block_mean.resize(length / BLOCK, 0.0);
    loaded.block_variance.resize(length / BLOCK, 0.0);
    let extremes = match samples {
        SamplesRef::U16(samples) => load_u16(samples, loaded),
        SamplesRef::F32(samples) => load_f32(samples, loaded),
    };
    let mut flags = Flags::NONE;
    if !extremes.finite {
        return Flags::NON_FINITE;
    }
    if extremes.lowest == extremes.highest {
        flags |= Flags::FLAT;
    }
    // Rails are rare; only a waveform that touches one is looked at again.
    if extremes.lowest <= rails.0 && count(loaded, |value| value <= rails.0) >= MIN_SATURATED {
        flags |= Flags::SATURATED_LOW;
    }
    if extremes.highest >= rails.1 && count(loaded, |value| value >= rails.1) >= MIN_SATURATED {
        flags |= Flags::SATURATED_HIGH;
    }
    flags
}

fn count(loaded: &Loaded, predicate: impl Fn(f32) -> bool) -> u32 {
    loaded.even.iter().chain(&loaded.odd).filter(|&&value| predicate(value)).count() as u32
}

struct Extremes {
    lowest: f32,
    highest: f32,
    finite: bool,
}

#[multiversion(targets = "simd")]
fn load_u16(samples: &[u16], loaded: &mut Loaded) -> Extremes {
    load_as(samples, |&sample| f32::from(sample), loaded)
}

#[multiversion(targets = "simd")]
fn load_f32(samples: &[f32], loaded: &mut Loaded) -> Extremes {
    load_as(samples, |&sample| sample, loaded)
}

/// The lanes are summed in a fixed order, so that the result does not depend on the processor's vector width.
#[inline(always)]
fn load_as<T>(samples: &[T], value: impl Fn(&T) -> f32, loaded: &mut Loaded) -> Extremes {
    const HALF: usize = BLOCK / 2;
    let whole = samples.len() / BLOCK;
    let mut low = [f32::INFINITY; HALF];
    let mut high = [f32::NEG_INFINITY; HALF];
    // 0 x NaN and 0 x infinity are NaN: one sum tells whether all samples are finite.
    let mut poison = [0.0_f32; HALF];
    let rows = samples.chunks_exact(BLOCK);
    let rest = rows.remainder();
    let columns = loaded.even.chunks_exact_mut(HALF).zip(loaded.odd.chunks_exact_mut(HALF));
    let blocks = loaded.block_mean.iter_mut().zip(loaded.block_variance.iter_mut());
    for ((row, (even, odd)), (mean, variance)) in rows.zip(columns).zip(blocks) {
        let pivot = value(&row[0]);
        let mut sum = [0.0_f32; HALF];
        let mut sum_of_squares = [0.0_f32; HALF];
        for lane in 0..HALF {
            let (a, b) = (value(&row[2 * lane]), value(&row[2 * lane + 1]));
            even[lane] = a;
            odd[lane] = b;
            low[lane] = low[lane].min(a).min(b);
            high[lane] = high[lane].max(a).max(b);
            poison[lane] += 0.0 * a + 0.0 * b;
            let (a, b) = (a - pivot, b - pivot);
            sum[lane] = a + b;
            sum_of_squares[lane] = a * a + b * b;
        }
        let sum = tree_sum(sum);
        let size = BLOCK as f32;
        *mean = pivot + sum / size;
        *variance = ((tree_sum(sum_of_squares) - sum * sum / size) / (size - 1.0)).max(0.0);
    }
    for (offset, sample) in rest.iter().enumerate() {
        let sample = value(sample);
        let index = whole * BLOCK + offset;
        let half = if index % 2 == 0 { &mut loaded.even } else { &mut loaded.odd };
        half[index / 2] = sample;
        low[0] = low[0].min(sample);
        high[0] = high[0].max(sample);
        poison[0] += 0.0 * sample;
    }
    Extremes {
        lowest: low.into_iter().fold(f32::INFINITY, f32::min),
        highest: high.into_iter().fold(f32::NEG_INFINITY, f32::max),
        finite: tree_sum(poison) == 0.0,
    }
}

/// Sum of eight lanes, pairwise.
#[inline(always)]
pub(super) fn tree_sum(lanes: [f32; 8]) -> f32 {
    ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAILS: (f32, f32) = (0.0, 1023.0);

    #[test]
    fn samples_come_out_as_they_went_in() {
        let samples: Vec<u16> = (0..77).map(|index| 500 + index * 3 % 17).collect();
        let mut loaded = Loaded::default();
        assert_eq!(load(SamplesRef::U16(&samples), RAILS, &mut loaded), Flags::NONE);
        let back: Vec<u16> = (0..77)
            .map(|index: usize| if index % 2 == 0 { loaded.even[index / 2] } else { loaded.odd[index / 2] } as u16)
            .collect();
        assert_eq!(back, samples);
        let mean: f32 = samples[16..32].iter().map(|&sample| f32::from(sample)).sum::<f32>() / 16.0;
        assert!((loaded.block_mean[1] - mean).abs() < 1e-4);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut loaded = Loaded::default();
        let mut flags = |samples: &[f32]| load(SamplesRef::F32(samples), RAILS, &mut loaded);
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
        assert_eq!(flags(&samples), Flags::NONE, "one sample at a rail is not a saturated pulse");
        samples[8] = -1.0;
        assert_eq!(flags(&samples), Flags::SATURATED_LOW);
    }
}
