//! Samples that no pulse can make: a spike of one or two samples, a missing sample stored as 0, a flipped high bit.
//!
//! Such samples exceed both neighbours by more than noise and the sharpness of the channel's pulses allow, or lie below both neighbours
//! and below the baseline. They are replaced by a line between their neighbours.

use multiversion::multiversion;

use super::baseline;
use super::load_samples::{LoadedSamples, greater, lesser};
use super::pulse_limits::PulseLimits;

/// Height of a glitch over its neighbours, in standard deviations of the noise.
pub(crate) const MIN_GLITCH: f32 = 8.0;
/// Range of the samples of a waveform, in standard deviations of the noise, from which glitches are looked for.
pub(crate) const MIN_GLITCH_RANGE: f32 = 10.0;

/// Ratio of two samples from which the first or last one of a window is a glitch, if pulses are not sharp.
pub(crate) const MAX_END_RATIO: f32 = 3.0;

/// Samples on either side that a glitch is compared with.
const AROUND: usize = 4;

/// Replaces the glitches of a waveform; returns their number. `sign` is the polarity of pulses.
pub(crate) fn remove_glitches(
    loaded: &mut LoadedSamples,
    limits: &PulseLimits,
    noise_adc: f32,
    sign: f32,
) -> usize {
    let least = MIN_GLITCH * noise_adc;
    let range = loaded.highest - loaded.lowest;
    if noise_adc <= 0.0 || range < MIN_GLITCH_RANGE * noise_adc {
        return 0;
    }
    let (even, odd) = (&loaded.even, &loaded.odd);
    if largest_bend(even, odd) <= 2.0 * least || largest_spike(even, odd) <= least {
        return 0;
    }
    let level_adc = baseline::rough_level_adc(loaded);
    let count = loaded.even.len() + loaded.odd.len();
    let mut n_glitches = 0;
    let mut index = 0;
    while index < count {
        let width = [1, 2]
            .into_iter()
            .find(|&width| is_glitch(loaded, limits, index, width, (level_adc, least, sign)));
        if let Some(width) = width {
            replace(loaded, index, width);
            n_glitches += 1;
            index += width;
        } else {
            index += 1;
        }
    }
    n_glitches
}

/// True if `width` samples from `index` on are a glitch.
fn is_glitch(
    loaded: &LoadedSamples,
    limits: &PulseLimits,
    index: usize,
    width: usize,
    (level_adc, least, sign): (f32, f32, f32),
) -> bool {
    let upright = |index: usize| Some(sign * (loaded.sample(index)? - level_adc));
    let (before, after) = match (
        index.checked_sub(1).and_then(upright),
        upright(index + width),
    ) {
        (Some(before), Some(after)) => (before, after),
        (Some(neighbour), None) | (None, Some(neighbour)) if width == 1 => {
            return is_end_glitch(upright(index), neighbour, least, limits.sharpness[0]);
        }
        _ => return false,
    };
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for value in (index..index + width).filter_map(upright) {
        (low, high) = (low.min(value), high.max(value));
    }
    let (lower, higher) = (before.min(after), before.max(after));
    if low - higher <= least && lower - high <= least {
        return false;
    }
    // In the overshoot of large pulses the baseline is below the level, and two of them may enclose a narrow valley.
    let around = (index.saturating_sub(AROUND)..index)
        .chain(index + width..index + width + AROUND)
        .filter_map(upright);
    let (lowest, highest) = around.fold((0.0_f32, 0.0_f32), |(lowest, highest), value| {
        (lowest.min(value), highest.max(value))
    });
    let above = low - higher;
    let sharpness = limits.sharpness[width - 1];
    let is_above =
        sharpness.is_finite() && above > least + sharpness * (0.5 * (before + after) - lowest);
    let is_below = lower - high > least + (highest - lowest) && high < -least;
    is_above || is_below
}

/// True if the first or last sample of the window, at `height`, is a glitch next to `neighbour`. A pulse does not fall that fast within one
/// sample; of one that begins in the last sample nothing can be said either.
fn is_end_glitch(height: Option<f32>, neighbour: f32, least: f32, sharpness: f32) -> bool {
    let ratio = MAX_END_RATIO + 2.0 * sharpness;
    sharpness.is_finite()
        && height.is_some_and(|height| {
            height > least + ratio * neighbour.max(0.0) || height < neighbour.min(0.0) - least
        })
}

/// Replaces samples by the line between their neighbours, or at an end of the window by the one neighbour.
fn replace(loaded: &mut LoadedSamples, index: usize, width: usize) {
    let before = index.checked_sub(1).and_then(|index| loaded.sample(index));
    let after = loaded.sample(index + width);
    let (Some(before), Some(after)) = (before.or(after), after.or(before)) else {
        return;
    };
    for offset in 0..width {
        let share = (offset + 1) as f32 / (width + 1) as f32;
        if let Some(sample) = loaded.sample_mut(index + offset) {
            *sample = before + share * (after - before);
        }
    }
}

/// Returns a bound of twice the height of the glitches: the largest difference of a jump and the next one, or the one after that. Takes half
/// the operations of [`largest_spike`], and is small unless light is bright.
#[multiversion(targets = "simd")]
fn largest_bend(even: &[f32], odd: &[f32]) -> f32 {
    largest_of_jumps(even, odd, 2.0, |jump, other| (jump - other).abs())
}

/// Returns a bound of the height of the glitches: the largest jump that is undone by the next jump, or by the one after that, or is the first or
/// last one of the window.
#[multiversion(targets = "simd")]
fn largest_spike(even: &[f32], odd: &[f32]) -> f32 {
    // The smaller one of two jumps, if the second undoes the first.
    largest_of_jumps(even, odd, 1.0, |jump, other| {
        greater(lesser(jump, -other), lesser(-jump, other))
    })
}

/// Returns the largest value of `compare` for a jump from one sample to the next and each of the two jumps after it, or of the first and last
/// jump of the window times `end_weight`.
#[inline(always)]
fn largest_of_jumps(
    even: &[f32],
    odd: &[f32],
    end_weight: f32,
    compare: impl Fn(f32, f32) -> f32,
) -> f32 {
    const LANES: usize = 8;
    let count = even.len().min(odd.len());
    if count < 3 {
        return f32::INFINITY;
    }
    let inner = count - 2;
    let mut largest = [0.0_f32; LANES];
    let (e0, _) = even[..inner].as_chunks::<LANES>();
    let (o0, _) = odd[..inner].as_chunks::<LANES>();
    let (e1, _) = even[1..][..inner].as_chunks::<LANES>();
    let (o1, _) = odd[1..][..inner].as_chunks::<LANES>();
    let (e2, _) = even[2..][..inner].as_chunks::<LANES>();
    for ((((e0, o0), e1), o1), e2) in e0.iter().zip(o0).zip(e1).zip(o1).zip(e2) {
        for lane in 0..LANES {
            let (first, second) = (o0[lane] - e0[lane], e1[lane] - o0[lane]);
            let (third, fourth) = (o1[lane] - e1[lane], e2[lane] - o1[lane]);
            let of_first = greater(compare(first, second), compare(first, third));
            let of_second = greater(compare(second, third), compare(second, fourth));
            largest[lane] = greater(largest[lane], greater(of_first, of_second));
        }
    }
    // What is left of the places, and the jumps at the ends.
    let sample = |index: usize| {
        let half = if index.is_multiple_of(2) { even } else { odd };
        half[index / 2]
    };
    let jump = |index: usize| sample(index + 1) - sample(index);
    let n_jumps = even.len() + odd.len() - 1;
    let mut of_ends = end_weight * greater(jump(0).abs(), jump(n_jumps - 1).abs());
    for index in 2 * (inner / LANES * LANES)..n_jumps {
        for next in index + 1..n_jumps.min(index + 3) {
            of_ends = greater(of_ends, compare(jump(index), jump(next)));
        }
    }
    largest.into_iter().fold(of_ends, greater)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::load_samples::load_samples;
    use crate::extract::tests::helpers::{PEAK_ADC, gaussian, juno_pulse, juno_template};
    use crate::model::SamplesRef;

    const NOISE: f32 = 8.0;

    /// The limits of the pulse at every sample, every second and every fourth one, calculated once.
    fn limits_of(step: usize) -> PulseLimits {
        static LIMITS: [std::sync::OnceLock<PulseLimits>; 3] =
            [const { std::sync::OnceLock::new() }; 3];
        *LIMITS[step.ilog2() as usize].get_or_init(|| {
            let template: Vec<f32> = juno_template(0.05).into_iter().step_by(step).collect();
            PulseLimits::new(&template)
        })
    }

    fn removed(samples: &[f32], step: usize) -> (usize, LoadedSamples) {
        let mut loaded = LoadedSamples::default();
        load_samples(
            SamplesRef::F32(samples),
            (f32::NEG_INFINITY, f32::INFINITY),
            &mut loaded,
        );
        let n = remove_glitches(&mut loaded, &limits_of(step), NOISE, 1.0);
        (n, loaded)
    }

    fn noisy(seed: u64, length: usize) -> Vec<f32> {
        gaussian(seed, length)
            .into_iter()
            .map(|value| 1000.0 + NOISE * value)
            .collect()
    }

    #[test]
    fn single_samples_that_no_pulse_can_make_are_replaced() {
        for index in [0, 1, 2, 17, 500, 501, 997, 998, 999] {
            for value in [0.0, 1000.0 + 200.0, 1000.0 + 4096.0] {
                let mut samples = noisy(index as u64, 1000);
                samples[index] = value;
                let (n, loaded) = removed(&samples, 1);
                assert_eq!(n, 1, "{index} {value}");
                let replaced = loaded.sample(index).expect("inside");
                assert!(
                    (replaced - 1000.0).abs() < 5.0 * NOISE,
                    "{index} {value}: {replaced}"
                );
            }
        }
        let mut samples = noisy(3, 1000);
        samples[400] += 500.0;
        samples[401] += 500.0;
        assert_eq!(removed(&samples, 1).0, 1);
    }

    #[test]
    fn glitches_are_found_at_every_place_of_windows_of_any_length() {
        for length in [40, 41, 55, 200] {
            for index in 0..length {
                let mut samples = noisy(length as u64, length);
                samples[index] = 1500.0;
                assert_eq!(removed(&samples, 1).0, 1, "{index} of {length}");
                if (1..length - 2).contains(&index) {
                    samples[index + 1] = 1500.0;
                    assert_eq!(
                        removed(&samples, 1).0,
                        1,
                        "{index} and the next of {length}"
                    );
                }
            }
        }
    }

    #[test]
    fn noise_and_pulses_of_any_charge_and_distance_are_no_glitches() {
        for (step, seed) in [(1, 0), (2, 1), (4, 2)] {
            for trial in 0..40_u64 {
                let mut samples = noisy(100 * seed + trial, 1000 / step);
                let charge = [0.0, 1.0, 7.0, 60.0, 400.0][trial as usize % 5];
                for (index, sample) in samples.iter_mut().enumerate() {
                    let time = (index * step) as f64 - 200.0 - 0.37 * trial as f64;
                    let later = time - 3.0 * trial as f64;
                    *sample += PEAK_ADC
                        * charge
                        * (juno_pulse(time, 0.05) + juno_pulse(later, 0.05)) as f32;
                }
                assert_eq!(removed(&samples, step).0, 0, "{step} {trial} {charge}");
            }
        }
    }
}
