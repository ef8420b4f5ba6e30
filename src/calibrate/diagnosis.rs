//! Why does a run give no single photoelectrons? What its waveforms look like: moving baselines, single samples that stick out, pulses in
//! the other direction, no light.

use super::pedestal::{Pedestal, min_noise_adc};
use super::quantile::median;
use crate::text::thousands;

/// Blocks of a waveform whose levels are compared.
const BLOCKS: usize = 12;
/// Minimum number of samples of a block.
const MIN_BLOCK: usize = 8;
/// The level of a block moves if it differs by so many standard deviations of its own.
const MOVED_SIGMA: f64 = 6.0;
/// It has to move by this share of the noise of a sample too; less does not disturb a calibration.
const MOVED_NOISE: f64 = 0.5;
/// Share of the variance that a straight line, or a step, has to describe.
const SHAPE_SHARE: f64 = 0.8;
/// Single samples stick out by so many standard deviations.
const SPIKE_SIGMA: f64 = 10.0;
/// Pulses are seen from so many standard deviations on, in two neighbouring samples.
const PULSE_SIGMA: [f64; 2] = [6.0, 3.0];
/// Median of the absolute value of a normal distribution, over its standard deviation.
const MEDIAN_DEVIATION: f64 = 0.6745;
/// Standard deviation of a median over that of a mean.
const MEDIAN_ERROR: f64 = 1.2533;
/// Share of the waveforms from which a sign is a reason.
const REASON_SHARE: f64 = 0.3;
/// Share of the waveforms from which a problem is reported although the calibration succeeded.
const PROBLEM_SHARE: f64 = 0.1;
/// Mean over RMS of the noise of waveforms below which it is uneven.
const MIN_NOISE_MEAN_OVER_RMS: f64 = 0.95;

/// Signs of trouble, counted over waveforms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Signs {
    n_waveforms: u64,
    n_drift: u64,
    n_step: u64,
    n_other: u64,
    range_sum_adc: f64,
    noise_sum_adc: f64,
    difference_noise_sum_adc: f64,
    n_spiked: u64,
    n_up: u64,
    n_down: u64,
}

/// Problems of a run that could still be calibrated; its results may be wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunProblems {
    /// Waveforms without defects.
    pub n_waveforms: u64,
    /// Waveforms whose baseline moves.
    pub n_moving: u64,
    /// Waveforms with samples that stick out from both neighbours.
    pub n_spiked: u64,
    /// Mean of the noise of the waveforms that are not dead over its RMS; 1 if all waveforms have the same noise.
    pub noise_mean_over_rms: f64,
}

impl RunProblems {
    /// True if the baseline moves in many waveforms.
    #[must_use]
    pub fn has_moving_baseline(&self) -> bool {
        self.is_many(self.n_moving)
    }

    /// True if many waveforms have spikes.
    #[must_use]
    pub fn has_spikes(&self) -> bool {
        self.is_many(self.n_spiked)
    }

    /// True if the noise differs between waveforms, for example because of pick-up in part of the run.
    #[must_use]
    pub fn has_uneven_noise(&self) -> bool {
        self.n_waveforms > 0 && self.noise_mean_over_rms < MIN_NOISE_MEAN_OVER_RMS
    }

    fn is_many(&self, count: u64) -> bool {
        count > 0 && count as f64 >= PROBLEM_SHARE * self.n_waveforms as f64
    }
}

/// How the baseline moves within a waveform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Movement {
    Drift,
    Step,
    Other,
}

impl Signs {
    /// Adds an upright waveform with its pedestal.
    pub fn add(&mut self, samples: &[f32], pedestal: Pedestal, scratch: &mut Vec<f32>) {
        self.n_waveforms += 1;
        scratch.clear();
        scratch.extend(samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()));
        let noise = (f64::from(median(scratch)) / MEDIAN_DEVIATION / std::f64::consts::SQRT_2)
            .max(min_noise_adc(samples));
        self.noise_sum_adc += pedestal.noise_adc;
        self.difference_noise_sum_adc += noise;
        if let Some((movement, range)) = movement(samples, noise, scratch) {
            *match movement {
                Movement::Drift => &mut self.n_drift,
                Movement::Step => &mut self.n_step,
                Movement::Other => &mut self.n_other,
            } += 1;
            self.range_sum_adc += range;
        }
        self.n_spiked += u64::from(is_spiked(samples, noise));
        let distances = |sign: f64| {
            samples
                .windows(2)
                .map(move |pair| {
                    [pair[0], pair[1]].map(|v| sign * (f64::from(v) - pedestal.level_adc))
                })
                .any(|[a, b]| {
                    a.max(b) > PULSE_SIGMA[0] * pedestal.noise_adc
                        && a.min(b) > PULSE_SIGMA[1] * pedestal.noise_adc
                })
        };
        self.n_up += u64::from(distances(1.0));
        self.n_down += u64::from(distances(-1.0));
    }

    /// Adds the signs of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.n_waveforms += other.n_waveforms;
        self.n_drift += other.n_drift;
        self.n_step += other.n_step;
        self.n_other += other.n_other;
        self.range_sum_adc += other.range_sum_adc;
        self.noise_sum_adc += other.noise_sum_adc;
        self.difference_noise_sum_adc += other.difference_noise_sum_adc;
        self.n_spiked += other.n_spiked;
        self.n_up += other.n_up;
        self.n_down += other.n_down;
    }

    /// Returns the problems of a run that could be calibrated, with `n_dead` dead waveforms and this mean over RMS of the noise of the others.
    pub fn problems(&self, n_dead: u64, noise_mean_over_rms: f64) -> RunProblems {
        RunProblems {
            n_waveforms: self.n_waveforms.saturating_sub(n_dead),
            n_moving: self.n_drift + self.n_step + self.n_other,
            n_spiked: self.n_spiked,
            noise_mean_over_rms,
        }
    }

    /// Returns true if most pulses point away from the direction of light.
    pub fn is_upside_down(&self) -> bool {
        self.n_down >= 10
            && self.n_down > 2 * self.n_up
            && self.n_down as f64 > 0.01 * self.n_waveforms as f64
    }

    /// Returns true if the baseline moves within many waveforms.
    pub fn is_moving(&self) -> bool {
        self.is_many(self.n_drift + self.n_step + self.n_other)
    }

    fn is_many(&self, count: u64) -> bool {
        count > 0 && count as f64 >= REASON_SHARE * self.n_waveforms as f64
    }

    /// Returns what disturbs the calibration, in words with numbers; nothing for ordinary waveforms.
    pub fn reasons(&self) -> Vec<String> {
        let all = thousands(self.n_waveforms);
        let n = self.n_waveforms.max(1) as f64;
        let mut reasons = Vec::new();
        if self.is_upside_down() {
            reasons.push(format!(
                "pulses point away from the stated direction of light in {} of {all} waveforms, along it in {}",
                thousands(self.n_down),
                thousands(self.n_up)
            ));
        }
        let moving = self.n_drift + self.n_step + self.n_other;
        if self.is_moving() {
            let kinds: Vec<String> = [
                (self.n_drift, "a drift"),
                (self.n_step, "a step"),
                (self.n_other, "pick-up, or the recovery from earlier light,"),
            ]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{name} in {}", thousands(count)))
            .collect();
            reasons.push(format!(
                "the baseline moves within {} of {all} waveforms ({}), by {:.1} ADC counts on average, where the noise from sample to sample is {:.1}",
                thousands(moving),
                kinds.join(", "),
                self.range_sum_adc / moving as f64,
                self.difference_noise_sum_adc / n
            ));
        } else if self.noise_sum_adc > 1.5 * self.difference_noise_sum_adc {
            reasons.push(format!(
                "the noise is {:.1} ADC counts within a waveform, but {:.1} from sample to sample: pick-up or a moving baseline",
                self.noise_sum_adc / n,
                self.difference_noise_sum_adc / n
            ));
        }
        if self.is_many(self.n_spiked) {
            reasons.push(format!(
                "single samples stick out of the noise by more than {SPIKE_SIGMA} standard deviations in {} of {all} waveforms: spikes, or pulses shorter than two samples",
                thousands(self.n_spiked)
            ));
        }
        if reasons.is_empty() && 50 * self.n_up < self.n_waveforms {
            reasons.push(format!(
                "light in {} of {all} waveforms",
                thousands(self.n_up)
            ));
        }
        reasons
    }
}

/// Returns how the baseline moves and by how much; `None` if it does not. Blocks with light and the one after them are left out as far as they
/// are few: they are the highest.
fn movement(samples: &[f32], noise: f64, scratch: &mut Vec<f32>) -> Option<(Movement, f64)> {
    let size = (samples.len() / BLOCKS).max(MIN_BLOCK);
    let mut levels: Vec<(f64, f64)> = samples
        .chunks_exact(size)
        .enumerate()
        .map(|(index, block)| {
            scratch.clear();
            scratch.extend_from_slice(block);
            (index as f64, f64::from(median(scratch)))
        })
        .collect();
    let highest = (0..levels.len()).max_by(|&a, &b| levels[a].1.total_cmp(&levels[b].1))?;
    levels.drain(highest..(highest + 2).min(levels.len()));
    if levels.len() < 4 {
        return None;
    }
    let n = levels.len() as f64;
    let low = levels
        .iter()
        .map(|level| level.1)
        .fold(f64::INFINITY, f64::min);
    let high = levels
        .iter()
        .map(|level| level.1)
        .fold(f64::NEG_INFINITY, f64::max);
    let error = MEDIAN_ERROR * noise / (size as f64).sqrt();
    if high - low <= (MOVED_SIGMA * error + 0.5).max(MOVED_NOISE * noise) {
        return None;
    }
    let mean = |values: &[(f64, f64)]| {
        let sum: f64 = values.iter().map(|value| value.1).sum();
        sum / values.len().max(1) as f64
    };
    let squares = |values: &[(f64, f64)]| {
        let mean = mean(values);
        values
            .iter()
            .map(|value| (value.1 - mean).powi(2))
            .sum::<f64>()
    };
    let all = squares(&levels);
    let center = levels.iter().map(|level| level.0).sum::<f64>() / n;
    let level = mean(&levels);
    let covariance: f64 = levels.iter().map(|(x, y)| (x - center) * (y - level)).sum();
    let spread: f64 = levels.iter().map(|(x, _)| (x - center).powi(2)).sum();
    let line = covariance * covariance / spread / all;
    let step = (1..levels.len())
        .map(|cut| {
            let (before, after) = levels.split_at(cut);
            1.0 - (squares(before) + squares(after)) / all
        })
        .fold(0.0, f64::max);
    let movement = if line.max(step) < SHAPE_SHARE {
        Movement::Other
    } else if line >= step {
        Movement::Drift
    } else {
        Movement::Step
    };
    Some((movement, high - low))
}

/// Returns true if a sample sticks out that both of its neighbours do not follow.
fn is_spiked(samples: &[f32], noise: f64) -> bool {
    samples.windows(3).any(|three| {
        let [before, here, after] = [three[0], three[1], three[2]].map(f64::from);
        let out = here - 0.5 * (before + after);
        out.abs() > SPIKE_SIGMA * noise && (before - after).abs() < 0.3 * out.abs()
    })
}

#[cfg(test)]
mod tests {
    use super::super::pedestal::estimate_pedestal;
    use super::*;
    use crate::math;
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal};

    fn reasons(shape: impl Fn(usize, usize) -> f64) -> String {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let normal = Normal::new(0.0, 8.0).expect("valid");
        let (mut signs, mut scratch) = (Signs::default(), Vec::new());
        for waveform in 0..100 {
            let samples: Vec<f32> = (0..500)
                .map(|sample| {
                    (4000.0 + normal.sample(&mut random) + shape(waveform, sample)).round() as f32
                })
                .collect();
            let pedestal = estimate_pedestal(&samples, &mut scratch).expect("a pedestal");
            signs.add(&samples, pedestal, &mut scratch);
        }
        signs.reasons().join("; ")
    }

    /// Light of one photoelectron at `time`.
    fn pulse(sample: usize, time: f64) -> f64 {
        let t = (sample as f64 - time) / 5.0;
        115.0 * math::exp(-0.5 * t * t)
    }

    #[test]
    fn each_trouble_is_named_with_its_numbers() {
        let light = |waveform: usize, sample| {
            if waveform.is_multiple_of(4) {
                pulse(sample, 200.0)
            } else {
                0.0
            }
        };
        assert_eq!(reasons(light), "");
        let text = reasons(|w, s| light(w, s) + 0.08 * s as f64);
        assert!(
            text.starts_with("the baseline moves within 100 of 100"),
            "{text}"
        );
        assert!(
            text.contains("a drift in 9") || text.contains("a drift in 100"),
            "{text}"
        );
        let text = reasons(|w, s| light(w, s) + if s > 100 + 3 * w { 30.0 } else { 0.0 });
        assert!(text.contains("a step in "), "{text}");
        let text = reasons(|w, s| light(w, s) + 20.0 * math::sin((s + 31 * w) as f64 * 0.021));
        assert!(text.contains("pick-up"), "{text}");
        let text = reasons(|w, s| light(w, s) + if s == 100 + w { 400.0 } else { 0.0 });
        assert!(text.contains("in 100 of 100 waveforms: spikes"), "{text}");
        let text = reasons(|w, s| -light(w, s));
        assert!(text.contains("pulses point away"), "{text}");
        assert_eq!(reasons(|_, _| 0.0), "light in 0 of 100 waveforms");
    }
}
