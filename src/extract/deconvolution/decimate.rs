//! Stage 3: turns pulses upright, subtracts the level, and halves the sampling rate where the low-pass filter allows it.
//!
//! A binomial low-pass (1 6 15 20 15 6 1)/64 prevents aliasing. Its response cos^6(pi f) is known exactly and divided out with the
//! spectrum of the template in the next stage.

use multiversion::multiversion;

use crate::extract::load_samples::LoadedSamples;
use crate::math;

/// Weights of the low-pass, before division by their sum.
pub const LOW_PASS_WEIGHTS: [f64; 7] = [1.0, 6.0, 15.0, 20.0, 15.0, 6.0, 1.0];

/// Returns the response of the low-pass at `frequency` in cycles per sample: cos^6(pi f).
#[must_use]
pub fn low_pass_response(frequency: f64) -> f64 {
    math::cos(std::f64::consts::PI * frequency).powi(6)
}

/// Writes `scale * (sample - level)` to `out`, which must be as long as the waveform.
pub fn keep_all(loaded: &LoadedSamples, level: f32, scale: f32, out: &mut [f32]) {
    for (pair, (even, odd)) in out
        .chunks_exact_mut(2)
        .zip(loaded.even.iter().zip(&loaded.odd))
    {
        pair[0] = scale * (even - level);
        pair[1] = scale * (odd - level);
    }
    if loaded.even.len() > loaded.odd.len()
        && let (Some(last), Some(even)) = (out.last_mut(), loaded.even.last())
    {
        *last = scale * (even - level);
    }
}

/// Writes the low-passed even samples of `scale * (sample - level)` to `out`, which must be as long as `loaded.even`.
/// Outside the window samples are equal to the nearest one inside.
pub fn halve(loaded: &LoadedSamples, level: f32, scale: f32, out: &mut [f32]) {
    let (even, odd) = (loaded.even.as_slice(), loaded.odd.as_slice());
    let length = out.len();
    // The weights sum to 64.
    let scale = scale / 64.0;
    let inner_end = odd.len().min(even.len()).saturating_sub(1).max(2);
    let inner = 2..inner_end.min(length.max(2));
    if inner.start < inner.end {
        halve_inner(even, odd, level, scale, inner.clone(), out);
    }
    let count = even.len() + odd.len();
    // The sample `before` before or `after` after `index`, or the last one inside.
    let tap = |index: usize, before: usize, after: usize| {
        let index = (index + after)
            .saturating_sub(before)
            .min(count.saturating_sub(1));
        let half = if index.is_multiple_of(2) { even } else { odd };
        half.get(index / 2).map_or(0.0, |value| value - level)
    };
    for index in (0..inner.start.min(length)).chain(inner.end..length) {
        let k = 2 * index;
        let sum = 20.0 * tap(k, 0, 0)
            + 15.0 * (tap(k, 1, 0) + tap(k, 0, 1))
            + 6.0 * (tap(k, 2, 0) + tap(k, 0, 2))
            + (tap(k, 3, 0) + tap(k, 0, 3));
        out[index] = scale * sum;
    }
}

#[multiversion(targets = "simd")]
fn halve_inner(
    even: &[f32],
    odd: &[f32],
    level: f32,
    scale: f32,
    inner: std::ops::Range<usize>,
    out: &mut [f32],
) {
    let count = inner.end - inner.start;
    let (e0, e1, e2) = (
        &even[inner.start - 1..][..count],
        &even[inner.start..][..count],
        &even[inner.start + 1..][..count],
    );
    let (o0, o1) = (
        &odd[inner.start - 2..][..count],
        &odd[inner.start - 1..][..count],
    );
    let (o2, o3) = (
        &odd[inner.start..][..count],
        &odd[inner.start + 1..][..count],
    );
    let out = &mut out[inner][..count];
    for k in 0..count {
        let sum = 20.0 * (e1[k] - level)
            + 15.0 * ((o1[k] - level) + (o2[k] - level))
            + 6.0 * ((e0[k] - level) + (e2[k] - level))
            + ((o0[k] - level) + (o3[k] - level));
        out[k] = scale * sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::load_samples::load_samples;
    use crate::model::SamplesRef;

    fn loaded(samples: &[f32]) -> LoadedSamples {
        let mut loaded = LoadedSamples::default();
        load_samples(
            SamplesRef::F32(samples),
            (f32::NEG_INFINITY, f32::INFINITY),
            &mut loaded,
        );
        loaded
    }

    #[test]
    fn halving_is_the_binomial_filter_at_every_second_sample() {
        for length in [32, 33, 40, 101] {
            let samples: Vec<f32> = (0..length)
                .map(|index| ((index * 37) % 101) as f32)
                .collect();
            let loaded = loaded(&samples);
            let mut out = vec![0.0; loaded.even.len()];
            halve(&loaded, 10.0, -2.0, &mut out);
            for (k, &found) in out.iter().enumerate() {
                let weights = [1.0, 6.0, 15.0, 20.0, 15.0, 6.0, 1.0];
                let expected: f32 = (0..7)
                    .map(|tap| {
                        weights[tap]
                            * (samples[(2 * k + tap).saturating_sub(3).min(length - 1)] - 10.0)
                    })
                    .sum::<f32>()
                    * -2.0
                    / 64.0;
                assert!(
                    (found - expected).abs() < 1e-3,
                    "length {length}, sample {k}: {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn keeping_all_only_turns_and_shifts() {
        for length in [32, 33] {
            let samples: Vec<f32> = (0..length).map(|index| index as f32).collect();
            let mut out = vec![0.0; length];
            keep_all(&loaded(&samples), 5.0, -1.0, &mut out);
            assert!(
                out.iter()
                    .zip(&samples)
                    .all(|(&found, &sample)| found == 5.0 - sample)
            );
        }
    }

    #[test]
    fn the_response_is_that_of_the_weights() {
        for frequency in [0.0, 0.1, 0.25, 0.4, 0.5] {
            let angle = 2.0 * std::f64::consts::PI * frequency;
            let sum = (20.0
                + 30.0 * math::cos(angle)
                + 12.0 * math::cos(2.0 * angle)
                + 2.0 * math::cos(3.0 * angle))
                / 64.0;
            assert!((low_pass_response(frequency) - sum).abs() < 1e-12);
        }
    }
}
