//! Saturation below the rails of the digitizer: an amplifier cuts large pulses at one level, or the file does not state its bits.
//!
//! A peak is cut if a run of samples has exactly the extreme value, longer than noise allows, or if a plateau within the noise is wider than
//! the peak of a pulse of that height and falls off steeply at both ends.

use multiversion::multiversion;

use super::load_samples::LoadedSamples;
use super::pulse_limits::PulseLimits;

/// Height of a peak, in standard deviations of the noise, from which it is tested.
pub(crate) const MIN_FLAT_TOP: f32 = 40.0;
/// Depth below the highest sample within which a sample belongs to the plateau, in standard deviations of the noise.
pub(crate) const PLATEAU_DEPTH: f32 = 6.0;
/// Least width of a plateau relative to that of a pulse.
pub(crate) const MIN_PLATEAU_RATIO: f32 = 1.5;
/// Least width of a plateau beyond that, in samples.
pub(crate) const MIN_PLATEAU_SAMPLES: f32 = 3.0;
/// Largest difference between the middle and the sides of a plateau, in standard deviations of the noise.
const MAX_PLATEAU_BEND: f32 = 1.5;
/// Fall at either end of a plateau over half its width, in units of [`PLATEAU_DEPTH`].
const MIN_PLATEAU_FALL: f32 = 5.0;
/// Logarithm of the probability that noise makes a run of equal samples at the peak.
const EQUAL_RUN_LOG: f32 = 9.2;
/// Shortest run of equal samples.
const MIN_EQUAL_RUN: usize = 4;

/// True if the highest peak may be cut: enough samples are close to the extreme, or equal to it. Most peaks are too narrow.
pub(crate) fn may_have_flat_top(
    loaded: &LoadedSamples,
    limits: &PulseLimits,
    noise_adc: f32,
    sign: f32,
) -> bool {
    let range_adc = loaded.highest - loaded.lowest;
    let extreme = if sign > 0.0 {
        loaded.highest
    } else {
        loaded.lowest
    };
    let limit = extreme - sign * PLATEAU_DEPTH * noise_adc;
    let n_close = count_beyond(&loaded.even, &loaded.odd, limit, sign);
    // The height of the peak is not more than the range.
    n_close as f32 >= min_plateau(limits, noise_adc, range_adc)
        || (n_close as usize >= MIN_EQUAL_RUN
            && count_beyond(&loaded.even, &loaded.odd, extreme, sign) as usize
                >= equal_run(noise_adc))
}

/// Returns the number of samples at `limit` or beyond, in the direction `sign`.
#[multiversion(targets = "simd")]
fn count_beyond(even: &[f32], odd: &[f32], limit: f32, sign: f32) -> u32 {
    let mut count = 0;
    for half in [even, odd] {
        count += if sign > 0.0 {
            half.iter()
                .map(|&sample| u32::from(sample >= limit))
                .sum::<u32>()
        } else {
            half.iter().map(|&sample| u32::from(sample <= limit)).sum()
        };
    }
    count
}

/// Returns the number of samples from which the top of a peak of this height is too wide for a pulse.
fn min_plateau(limits: &PulseLimits, noise_adc: f32, height: f32) -> f32 {
    let pulse = 2.0 * limits.peak_width * (2.0 * PLATEAU_DEPTH * noise_adc / height).sqrt();
    MIN_PLATEAU_RATIO * pulse + MIN_PLATEAU_SAMPLES
}

/// True if the highest peak of the waveform, with pulses upright, is cut. `level_adc` is a first baseline.
pub(crate) fn has_flat_top(
    loaded: &LoadedSamples,
    limits: &PulseLimits,
    level_adc: f32,
    noise_adc: f32,
    sign: f32,
) -> bool {
    let extreme = if sign > 0.0 {
        loaded.highest
    } else {
        loaded.lowest
    };
    let height = sign * (extreme - level_adc);
    if noise_adc <= 0.0 || height < MIN_FLAT_TOP * noise_adc {
        return false;
    }
    let count = loaded.even.len() + loaded.odd.len();
    let depth = |index: usize| sign * (extreme - loaded.sample(index).unwrap_or(level_adc));
    let limit = PLATEAU_DEPTH * noise_adc;
    let min_plateau = min_plateau(limits, noise_adc, height);
    let min_run = equal_run(noise_adc);
    let (mut begin, mut n_equal) = (0, 0);
    let mut holds_extreme = false;
    for index in 0..=count {
        let here = if index < count {
            depth(index)
        } else {
            f32::INFINITY
        };
        n_equal = if here == 0.0 { n_equal + 1 } else { 0 };
        if n_equal >= min_run {
            return true;
        }
        if here <= limit {
            holds_extreme |= here == 0.0;
            continue;
        }
        if holds_extreme
            && (index - begin) as f32 >= min_plateau
            && is_plateau(begin..index, depth, noise_adc, count)
        {
            return true;
        }
        (begin, holds_extreme) = (index + 1, false);
    }
    false
}

/// Returns the length of a run of equal samples that noise does not make.
pub(crate) fn equal_run(noise_adc: f32) -> usize {
    let probability = 0.4 / noise_adc.max(0.6);
    let run = 1.0 + EQUAL_RUN_LOG / -crate::math::ln(probability);
    (run.ceil() as usize).max(MIN_EQUAL_RUN)
}

/// True if the run of samples is level, and falls off at once at both ends.
fn is_plateau(
    run: std::ops::Range<usize>,
    depth: impl Fn(usize) -> f32,
    noise_adc: f32,
    count: usize,
) -> bool {
    let third = run.len() / 3;
    let mean = |range: std::ops::Range<usize>| {
        let length = range.len() as f32;
        range.map(&depth).sum::<f32>() / length
    };
    let middle = run.start + third..run.end - third;
    let sides = 0.5 * (mean(run.start..run.start + third) + mean(run.end - third..run.end));
    if sides - mean(middle) > MAX_PLATEAU_BEND * noise_adc {
        return false;
    }
    let reach = (run.len() / 2).max(MIN_PLATEAU_SAMPLES as usize);
    let fall = MIN_PLATEAU_FALL * PLATEAU_DEPTH * noise_adc;
    let falls_before = run
        .start
        .checked_sub(reach)
        .is_some_and(|index| depth(index) > fall);
    let falls_after = run.end + reach <= count && depth(run.end + reach - 1) > fall;
    falls_before && falls_after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::load_samples::load_samples;
    use crate::extract::tests::helpers::{PEAK_ADC, gaussian, juno_pulse, juno_template};
    use crate::model::SamplesRef;

    const NOISE: f32 = 8.0;

    /// The pulse at the nearest of 20 steps per ns, calculated once.
    fn pulse_at(time_ns: f64) -> f64 {
        const STEPS: f64 = 20.0;
        static PULSE: std::sync::OnceLock<Vec<f64>> = std::sync::OnceLock::new();
        let pulse = PULSE.get_or_init(|| {
            (0..16_000)
                .map(|step| juno_pulse(f64::from(step) / STEPS, 0.05))
                .collect()
        });
        if time_ns < 0.0 {
            return 0.0;
        }
        let step = (STEPS * time_ns).round() as usize;
        pulse.get(step).copied().unwrap_or(0.0)
    }

    /// A flash of photoelectrons spread over `spread_ns`, cut at `cut_adc` before or after the noise.
    fn is_cut(
        seed: u64,
        charge: usize,
        spread_ns: f64,
        cut_adc: f32,
        before_noise: bool,
        step: usize,
    ) -> bool {
        let noise = gaussian(seed, 1000 / step);
        let spread = gaussian(seed + 1000, charge);
        let samples: Vec<f32> = noise
            .iter()
            .enumerate()
            .map(|(index, noise)| {
                let time = (index * step) as f64 - 300.0;
                let pulse: f64 = spread
                    .iter()
                    .map(|delay| pulse_at(time - spread_ns * f64::from(delay.abs())))
                    .sum();
                let light = PEAK_ADC * pulse as f32;
                let sample = if before_noise {
                    light.min(cut_adc) + NOISE * noise
                } else {
                    (light + NOISE * noise).min(cut_adc)
                };
                (5000.0 - sample).round()
            })
            .collect();
        let template: Vec<f32> = juno_template(0.05).into_iter().step_by(step).collect();
        let mut loaded = LoadedSamples::default();
        load_samples(SamplesRef::F32(&samples), (0.0, 16383.0), &mut loaded);
        has_flat_top(&loaded, &PulseLimits::new(&template), 5000.0, NOISE, -1.0)
    }

    #[test]
    fn tops_that_are_cut_are_found() {
        for seed in 0..3 {
            for charge in [40, 60, 100] {
                for before_noise in [false, true] {
                    for step in [1, 2] {
                        assert!(
                            is_cut(seed, charge, 5.0, 2000.0, before_noise, step),
                            "{seed} {charge} {before_noise} {step}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn tops_that_are_whole_are_not() {
        for seed in 0..6 {
            for (charge, spread_ns) in [(10, 3.0), (40, 5.0), (60, 30.0), (100, 10.0), (100, 200.0)]
            {
                for step in [1, 2, 4] {
                    assert!(
                        !is_cut(seed, charge, spread_ns, 1e9, true, step),
                        "{seed} {charge} {spread_ns} {step}"
                    );
                }
            }
        }
    }
}
