//! The noise of windows without light: how far it exceeds white noise over tens of nanoseconds, whether the baseline moves, and lines in its
//! spectrum.

use std::f64::consts::PI;
use std::sync::Arc;

use num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use crate::math;

/// Time over which the noise of means is compared with white noise.
const MEAN_NS: f64 = 64.0;
/// Ratios below are those of white noise.
const MIN_RATIO: f64 = 1.1;
/// Bins of the histogram of ratios, per factor of two of the squared ratio, and the bin of a ratio of 1.
const BINS_PER_OCTAVE: f64 = 8.0;
const BIN_OF_ONE: f64 = 32.0;
const N_BINS: usize = 160;
/// Minimum number of means in a window.
const MIN_MEANS: usize = 4;
/// Chance of e^-9 that noise alone passes for a moving baseline (Laurent and Massart 2000).
const CHANCE: f64 = 9.0;
/// A baseline that moves scatters by this share of the noise of a sample.
const MOVED_NOISE: f64 = 0.35;
/// Longest transform.
const MAX_TRANSFORM: usize = 2048;
/// Minimum number of windows for a spectrum.
const MIN_WINDOWS: u64 = 16;
/// A line exceeds its neighbours by this factor.
const LINE_FACTOR: f64 = 10.0;
/// Neighbours of a bin: from and to so many bins away.
const NEIGHBOURS: (usize, usize) = (3, 12);
/// Maximum number of lines that are reported.
const MAX_LINES: usize = 3;

/// A line in the spectrum of the noise.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct NoiseLine {
    /// Its frequency.
    pub frequency_mhz: f64,
    /// Its amplitude (half of peak to peak).
    pub amplitude_adc: f64,
}

/// The noise of a channel in windows without light.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct QuietNoise {
    /// Windows without light.
    pub n_windows: u64,
    /// Those whose baseline moves.
    pub n_moving: u64,
    /// RMS of means over 64 ns over that of white noise, at least 1.
    pub baseline_noise_ratio: f64,
    /// Lines that exceed their neighbours in the mean periodogram by a factor of 10; the strongest first.
    pub lines: Vec<NoiseLine>,
}

impl Default for QuietNoise {
    fn default() -> Self {
        Self {
            n_windows: 0,
            n_moving: 0,
            baseline_noise_ratio: 1.0,
            lines: Vec::new(),
        }
    }
}

/// The properties that all windows of one length have in common.
pub(super) struct QuietPlan {
    sampling_ns: f64,
    transform: Arc<dyn Fft<f32>>,
    /// Hann's window.
    taper: Vec<f32>,
}

impl QuietPlan {
    pub fn new(n_samples: usize, sampling_ns: f64) -> Self {
        let n = n_samples.clamp(1, MAX_TRANSFORM);
        Self {
            sampling_ns,
            transform: FftPlanner::new().plan_fft_forward(n),
            taper: (0..n)
                .map(|index| {
                    (0.5 - 0.5 * math::cos(2.0 * PI * (index as f64 + 0.5) / n as f64)) as f32
                })
                .collect(),
        }
    }
}

/// Sums over the windows without light of one channel.
pub(super) struct QuietSums {
    plan: Arc<QuietPlan>,
    /// Samples of a mean: of 64 ns, and of at least two pulses.
    mean_samples: usize,
    /// Degrees of freedom of the scatter of these means in a window; all windows of a channel have one length.
    degrees: f64,
    moving_samples: usize,
    n_windows: u64,
    n_moving: u64,
    /// Squared ratios of windows whose baseline does not move, and of all windows.
    ratios: [Vec<u32>; 2],
    power: Vec<f64>,
    buffer: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl QuietSums {
    /// Begins the sums of a channel whose pulses are `pulse_samples` long.
    pub fn new(plan: &Arc<QuietPlan>, pulse_samples: usize) -> Self {
        let mean_samples = ((MEAN_NS / plan.sampling_ns).round() as usize).max(1);
        Self {
            plan: Arc::clone(plan),
            mean_samples,
            moving_samples: mean_samples.max(2 * pulse_samples),
            degrees: 1.0,
            n_windows: 0,
            n_moving: 0,
            ratios: [Vec::new(), Vec::new()],
            power: Vec::new(),
            buffer: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Adds a window without light, with the noise of its samples.
    pub fn add(&mut self, samples: &[f32], noise_adc: f64) {
        self.n_windows += 1;
        let noise = noise_adc * noise_adc;
        let is_moving = scatter(samples, self.moving_samples).is_some_and(|(squares, k)| {
            let t = squares * self.moving_samples as f64 / noise;
            let limit = k + 2.0 * (CHANCE * k).sqrt() + 2.0 * CHANCE;
            t > limit && (squares / k).sqrt() > MOVED_NOISE * noise_adc
        });
        self.n_moving += u64::from(is_moving);
        if let Some((squares, degrees)) = scatter(samples, self.mean_samples) {
            self.degrees = degrees;
            let ratio = squares * self.mean_samples as f64 / noise / degrees;
            let bin = BIN_OF_ONE + BINS_PER_OCTAVE * math::ln(ratio.max(1e-9)) / math::ln(2.0);
            let bin = (bin.max(0.0) as usize).min(N_BINS - 1);
            let [still, all] = &mut self.ratios;
            let into = if is_moving {
                vec![all]
            } else {
                vec![still, all]
            };
            for histogram in into {
                histogram.resize(N_BINS, 0);
                histogram[bin] += 1;
            }
        }
        self.add_spectrum(samples);
    }

    fn add_spectrum(&mut self, samples: &[f32]) {
        let taper = &self.plan.taper;
        let Some(samples) = samples.get(..taper.len()) else {
            return;
        };
        let level =
            samples.iter().map(|&value| f64::from(value)).sum::<f64>() / samples.len() as f64;
        self.buffer.clear();
        self.buffer.extend(
            samples
                .iter()
                .zip(taper)
                .map(|(value, weight)| Complex32::new((value - level as f32) * weight, 0.0)),
        );
        self.scratch.resize(
            self.plan.transform.get_inplace_scratch_len(),
            Complex32::ZERO,
        );
        self.plan
            .transform
            .process_with_scratch(&mut self.buffer, &mut self.scratch);
        let half = taper.len() / 2;
        self.power.resize(half, 0.0);
        for (sum, bin) in self.power.iter_mut().zip(&self.buffer) {
            *sum += f64::from(bin.norm_sqr());
        }
    }

    /// Returns the noise.
    pub fn finish(&self) -> QuietNoise {
        QuietNoise {
            n_windows: self.n_windows,
            n_moving: self.n_moving,
            baseline_noise_ratio: self.ratio(),
            lines: self.lines(),
        }
    }

    /// Returns the ratio of the median window. Moving baselines do not count unless they are the rule.
    fn ratio(&self) -> f64 {
        let [still, all] = &self.ratios;
        let ratios = if 2 * self.n_moving > self.n_windows {
            all
        } else {
            still
        };
        let n: u32 = ratios.iter().sum();
        if u64::from(n) < MIN_WINDOWS {
            return 1.0;
        }
        let mut below = 0.0;
        let half = 0.5 * f64::from(n);
        for (bin, &count) in ratios.iter().enumerate() {
            let count = f64::from(count);
            if below + count >= half {
                let place = bin as f64 + (half - below) / count - BIN_OF_ONE;
                let squared = math::exp(place / BINS_PER_OCTAVE * math::ln(2.0));
                let degrees = self.degrees;
                // Median of a chi-square over its mean (Wilson and Hilferty).
                let median = (1.0 - 2.0 / (9.0 * degrees)).powi(3);
                let ratio = (squared / median).sqrt();
                return if ratio < MIN_RATIO { 1.0 } else { ratio };
            }
            below += count;
        }
        1.0
    }

    fn lines(&self) -> Vec<NoiseLine> {
        if self.n_windows < MIN_WINDOWS || self.power.len() < 2 * NEIGHBOURS.1 {
            return Vec::new();
        }
        let power = &self.power;
        let n = self.plan.taper.len() as f64;
        let taper: f64 = self
            .plan
            .taper
            .iter()
            .map(|&weight| f64::from(weight).powi(2))
            .sum();
        let mut lines = Vec::new();
        for bin in 2..power.len() - 1 {
            let here = power[bin];
            if here < power[bin - 1] || here < power[bin + 1] {
                continue;
            }
            let mut near: Vec<f64> = (NEIGHBOURS.0..=NEIGHBOURS.1)
                .flat_map(|away| [bin.checked_sub(away), Some(bin + away)])
                .flatten()
                .filter(|&bin| bin >= 1)
                .filter_map(|bin| power.get(bin).copied())
                .collect();
            near.sort_by(f64::total_cmp);
            let usual = near.get(near.len() / 2).copied().unwrap_or(0.0);
            if here <= LINE_FACTOR * usual {
                continue;
            }
            let around = bin - 1..=bin + 1;
            let excess = |bin: usize| (power[bin] - usual).max(0.0);
            let sum: f64 = around.clone().map(excess).sum();
            let center = around.map(|bin| bin as f64 * excess(bin)).sum::<f64>() / sum;
            lines.push(NoiseLine {
                frequency_mhz: center / n / self.plan.sampling_ns * 1e3,
                amplitude_adc: 2.0 * (sum / self.n_windows as f64 / n / taper).sqrt(),
            });
        }
        lines.sort_by(|a, b| b.amplitude_adc.total_cmp(&a.amplitude_adc));
        lines.truncate(MAX_LINES);
        lines
    }
}

/// Returns the sum of squares of the means over `size` samples about their mean, and their number less one; `None` if there are too few.
fn scatter(samples: &[f32], size: usize) -> Option<(f64, f64)> {
    let means: Vec<f64> = samples
        .chunks_exact(size)
        .map(|part| part.iter().map(|&value| f64::from(value)).sum::<f64>() / size as f64)
        .collect();
    if means.len() < MIN_MEANS {
        return None;
    }
    let n = means.len() as f64;
    let level = means.iter().sum::<f64>() / n;
    let squares = means.iter().map(|mean| (mean - level).powi(2)).sum();
    Some((squares, n - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_distr::{Distribution, Normal};

    const N: usize = 1000;

    fn noise_of(noise_adc: f64, shape: impl Fn(usize, f64) -> f64) -> QuietNoise {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let normal = Normal::new(0.0, 1.0).expect("valid");
        let mut sums = QuietSums::new(&Arc::new(QuietPlan::new(N, 1.0)), 30);
        for _ in 0..200 {
            let phase = random.random_range(0.0..2.0 * PI);
            let samples: Vec<f32> = (0..N)
                .map(|sample| (8.0 * normal.sample(&mut random) + shape(sample, phase)) as f32)
                .collect();
            sums.add(&samples, noise_adc);
        }
        sums.finish()
    }

    #[test]
    fn white_noise_has_a_ratio_of_one_and_no_line() {
        let noise = noise_of(8.0, |_, _| 0.0);
        assert_eq!(noise.baseline_noise_ratio, 1.0);
        assert_eq!((noise.n_moving, noise.n_windows), (0, 200));
        assert!(noise.lines.is_empty(), "{:?}", noise.lines);
    }

    #[test]
    fn a_line_is_found_with_frequency_and_amplitude() {
        let noise = noise_of(8.6, |sample, phase| {
            4.5 * math::sin(2.0 * PI * 0.0312 * sample as f64 + phase)
        });
        let line = noise.lines.first().expect("a line");
        assert_eq!(noise.lines.len(), 1, "{:?}", noise.lines);
        assert!((line.frequency_mhz - 31.2).abs() < 0.3, "{line:?}");
        assert!((line.amplitude_adc - 4.5).abs() < 0.2, "{line:?}");
    }

    #[test]
    fn slow_noise_raises_the_ratio_and_drifts_are_counted() {
        // A sine of 2.5 counts RMS and 500 ns: the means over 64 ns scatter by 1 (white) and 2.4.
        let noise = noise_of(8.38, |sample, phase| {
            2.5 * 1.414 * math::sin(2.0 * PI * sample as f64 / 500.0 + phase)
        });
        assert!(
            (noise.baseline_noise_ratio - 2.5).abs() < 0.2,
            "{}",
            noise.baseline_noise_ratio
        );
        let noise = noise_of(14.0, |sample, _| 0.04 * sample as f64);
        assert!(noise.n_moving > 190, "{}", noise.n_moving);
    }
}
