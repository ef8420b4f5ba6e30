//! Saturation below the rails of the digitizer: an amplifier cuts large pulses at one level, or the file does not state its bits.
//!
//! A peak is cut if a run of samples has exactly the extreme value, longer than noise allows, or if a plateau within the noise is wider than
//! the peak of a pulse of that height, falls off steeply at both ends, and is fitted by a constant better than by a sum of pulses: photoelectrons
//! that follow each other closely can make a flat top too.

use std::ops::Range;

use multiversion::multiversion;

use super::load_samples::LoadedSamples;
use super::nonnegative_fit::fit_samples;
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
/// Distance of the mean of a plateau, in standard deviations of the noise, from which its first and last samples belong to its flanks.
const FLANK_DEPTH: f64 = 2.5;
/// Chi-square, summed over the plateau, by which a sum of pulses has to fit it better than a constant does.
const MIN_CHI2_GAIN: f64 = 4.0;
/// Height, in standard deviations of the noise, above which light before the plateau is part of it.
const MIN_LIGHT: f64 = 3.0;
/// Samples before and after the plateau that are fitted with it, and next to it on which the fit is judged, in widths of the peak.
const FIT_BEFORE: f32 = 8.0;
const FIT_AFTER: f32 = 2.5;
const FIT_EDGE: f32 = 1.5;
/// Distance of the pulses of the fit at a height of one standard deviation, in widths of the peak: the error of the interpolation between
/// them, which grows with the square of the distance and with the height, stays below half a standard deviation.
const PULSE_DISTANCE: f32 = 3.4;
/// Least distance, in widths of the peak. Brighter pulses are fitted less well, and their plateaus pass for cut.
const MIN_PULSE_DISTANCE: f32 = 0.25;
/// Longest plateau, in widths of the peak, that photoelectrons are taken to make; it limits the size of the fit.
const MAX_SUM_OF_PULSES: f32 = 10.0;
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
    template_adc: &[f32],
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
            let upright = Upright {
                loaded,
                level_adc,
                noise_adc,
                sign,
            };
            if !upright.is_sum_of_pulses(begin..index, template_adc, limits, height / noise_adc) {
                return true;
            }
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
    run: Range<usize>,
    depth: impl Fn(usize) -> f32,
    noise_adc: f32,
    count: usize,
) -> bool {
    let third = run.len() / 3;
    let mean = |range: Range<usize>| {
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

/// The samples of a waveform with pulses upright, without its baseline, in standard deviations of the noise.
struct Upright<'a> {
    loaded: &'a LoadedSamples,
    level_adc: f32,
    noise_adc: f32,
    sign: f32,
}

impl Upright<'_> {
    fn at(&self, index: usize) -> f64 {
        let sample = self.loaded.sample(index).unwrap_or(self.level_adc);
        f64::from(self.sign * (sample - self.level_adc) / self.noise_adc)
    }

    /// True if pulses with charges of at least 0 fit the samples of the plateau `run` and next to it better than a constant fits the plateau. `height` is that of the plateau, in standard deviations of the noise.
    fn is_sum_of_pulses(
        &self,
        run: Range<usize>,
        template_adc: &[f32],
        limits: &PulseLimits,
        height: f32,
    ) -> bool {
        let width = limits.peak_width;
        if run.len() as f32 > MAX_SUM_OF_PULSES * width + MIN_PLATEAU_SAMPLES {
            return false;
        }
        let count = self.loaded.even.len() + self.loaded.odd.len();
        let before = (FIT_BEFORE * width).ceil() as usize;
        let first = (run.start.saturating_sub(before)..run.start)
            .rev()
            .find(|&index| self.at(index) <= MIN_LIGHT)
            .unwrap_or(run.start.saturating_sub(before));
        let end = count.min(run.end + (FIT_AFTER * width).ceil() as usize);
        let samples: Vec<f64> = (first..end).map(|index| self.at(index)).collect();
        let distance = width * (PULSE_DISTANCE / height.sqrt()).max(MIN_PULSE_DISTANCE);
        let earliest = -limits.peak_index.cast_signed();
        let latest = samples.len().cast_signed() - (limits.peak_index / 2).cast_signed();
        let starts: Vec<isize> = (earliest..latest)
            .step_by(distance.round().max(1.0) as usize)
            .collect();
        let fitted = fit_samples(&samples, template_adc, &starts);
        let edge = (FIT_EDGE * width).ceil() as usize;
        let judged =
            run.start.saturating_sub(first + edge)..(run.end + edge - first).min(samples.len());
        let n_judged = judged.len() as f64;
        let chi2_pulses: f64 = fitted[judged.clone()]
            .iter()
            .zip(&samples[judged])
            .map(|(fitted, sample)| (fitted - sample).powi(2))
            .sum();
        // Both per sample, and then for the samples of the plateau.
        let gain = self.chi2_of_constant(run.clone()) - chi2_pulses / n_judged;
        gain * run.len() as f64 > MIN_CHI2_GAIN
    }

    /// Returns the chi-square per degree of freedom of a constant for the samples of the plateau, without its flanks.
    fn chi2_of_constant(&self, run: Range<usize>) -> f64 {
        let mut samples: Vec<f64> = run.map(|index| self.at(index)).collect();
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let limit = sorted[sorted.len() / 2] - FLANK_DEPTH;
        let is_level = |sample: &f64| *sample >= limit;
        let first = samples.iter().position(is_level).unwrap_or(0);
        let end = samples
            .iter()
            .rposition(is_level)
            .map_or(samples.len(), |last| last + 1);
        samples.truncate(end);
        samples.drain(..first);
        let n_samples = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / n_samples;
        let chi2: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
        chi2 / (n_samples - 1.0).max(1.0)
    }
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
        has_flat_top(
            &loaded,
            &template,
            &PulseLimits::new(&template),
            5000.0,
            NOISE,
            -1.0,
        )
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

    /// True if pulses of `charges_pe` at `times_ns` after each other are taken for a peak that is cut.
    fn sum_is_cut(seed: u64, times_ns: &[f64], charges_pe: &[f32], cut_adc: f32) -> bool {
        let samples: Vec<f32> = gaussian(seed, 1000)
            .iter()
            .enumerate()
            .map(|(index, noise)| {
                let light: f32 = times_ns
                    .iter()
                    .zip(charges_pe)
                    .map(|(time_ns, charge)| {
                        charge * PEAK_ADC * pulse_at(index as f64 - 300.0 - time_ns) as f32
                    })
                    .sum();
                (5000.0 - light.min(cut_adc) - NOISE * noise).round()
            })
            .collect();
        let template = juno_template(0.05);
        let mut loaded = LoadedSamples::default();
        load_samples(SamplesRef::F32(&samples), (0.0, 16383.0), &mut loaded);
        let limits = PulseLimits::new(&template);
        has_flat_top(&loaded, &template, &limits, 5000.0, NOISE, -1.0)
    }

    #[test]
    fn photoelectrons_that_make_a_plateau_are_not_cut() {
        // Times and charges found by trial, whose sums have level tops.
        let sums: [(&[f64], &[f32]); 4] = [
            (&[0.0, 3.0, 12.0], &[2.8, 4.0, 3.3]),
            (&[0.0, 1.0, 11.0, 18.0, 22.0], &[2.5, 2.6, 2.7, 1.9, 1.4]),
            (
                &[0.0, 3.0, 3.0, 4.0, 12.0, 16.0],
                &[2.2, 2.5, 2.4, 2.7, 3.6, 2.6],
            ),
            (
                &[0.0, 9.0, 12.0, 16.0, 18.0, 24.0, 26.0],
                &[2.6, 3.0, 3.8, 3.4, 3.1, 2.7, 3.1],
            ),
        ];
        let (mut n_whole, mut n_cut) = (0, 0);
        for seed in 0..25 {
            for (times_ns, charges_pe) in sums {
                n_whole += u32::from(sum_is_cut(seed, times_ns, charges_pe, f32::INFINITY));
                let more: Vec<f32> = charges_pe.iter().map(|charge| 3.0 * charge).collect();
                n_cut += u32::from(sum_is_cut(seed, times_ns, &more, 8.0 * PEAK_ADC));
            }
        }
        // Without the comparison with pulses it is five of six.
        assert!(
            n_whole <= 15,
            "{n_whole} of 100 whole tops are taken for cut"
        );
        assert!(n_cut >= 97, "{n_cut} of 100 cut tops are found");
    }
}
