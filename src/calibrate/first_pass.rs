//! The first pass over a channel: its noise, the shape of its pulses, and the time of the light.

use super::defects::{Defect, DefectCounts};
use super::diagnosis::{RunProblems, Signs};
use super::noise_histogram::NoiseHistogram;
use super::pedestal::estimate_pedestal;

/// Samples kept before the peak of a pulse.
const BEFORE_PEAK: usize = 64;
/// Samples kept from the peak of a pulse on.
const AFTER_PEAK: usize = 192;
/// A sample this many standard deviations above the baseline is light. Less lets noise in, more loses small charges.
pub(super) const LIGHT_SIGMA: f64 = 5.0;
/// Light windows and pulses end where the mean pulse falls below this part of its height.
const WINDOW_FRACTION: f64 = 0.1;

/// Sums over the waveforms of one channel.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstPass {
    /// Samples per waveform; 0 before the first that can be used.
    pub n_samples: usize,
    pub n_waveforms: u64,
    /// Waveforms that are left out.
    pub defects: DefectCounts,
    pub signs: Signs,
    pub noise: NoiseHistogram,
    /// Sum of the waveforms with light anywhere, and their number.
    lit: Vec<f64>,
    pub n_lit: u64,
    /// Sum of the waveforms without light, dead ones among them; the second pass corrects the pick-up that follows from it.
    unlit: Vec<f64>,
    n_unlit: u64,
    /// Sum of the pulses, aligned to their highest samples.
    pulse: Vec<f64>,
    pub n_pulses: u64,
}

/// A range of samples around the peak of a pulse, or within the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub from: usize,
    pub to: usize,
}

impl Span {
    pub fn len(self) -> usize {
        self.to - self.from
    }
}

impl FirstPass {
    /// Counts a waveform that is left out.
    pub fn leave_out(&mut self, defect: Defect) {
        self.n_waveforms += 1;
        self.defects.add(defect);
    }

    /// Adds an upright waveform (light positive) without defects.
    pub fn add(&mut self, samples: &[f32], scratch: &mut Vec<f32>) {
        if self.n_samples == 0 {
            self.n_samples = samples.len();
            self.lit = vec![0.0; samples.len()];
            self.unlit = vec![0.0; samples.len()];
            self.pulse = vec![0.0; BEFORE_PEAK + AFTER_PEAK];
        }
        let level = estimate_pedestal(samples, scratch).filter(|_| samples.len() == self.n_samples);
        let Some(level) = level else {
            self.leave_out(Defect::OtherLength);
            return;
        };
        self.n_waveforms += 1;
        self.signs.add(samples, level, scratch);
        let baseline = level.level_adc;
        let threshold = baseline + LIGHT_SIGMA * level.noise_adc;
        let is_light = |sample: &f32| f64::from(*sample) > threshold;
        let first = samples.iter().position(is_light);
        let last = samples.iter().rposition(is_light);
        self.noise.add(level, first.is_some());
        let (sum, n) = if first.is_some() {
            (&mut self.lit, &mut self.n_lit)
        } else {
            (&mut self.unlit, &mut self.n_unlit)
        };
        *n += 1;
        for (sum, &sample) in sum.iter_mut().zip(samples) {
            *sum += f64::from(sample) - baseline;
        }
        let (Some(first), Some(last)) = (first, last) else {
            return;
        };
        let peak = (first..=last).max_by(|&a, &b| samples[a].total_cmp(&samples[b]));
        let peak = peak.unwrap_or(first);
        // A single pulse, complete as far as it matters.
        if last - first < BEFORE_PEAK && peak >= 8 && peak + 16 < samples.len() {
            self.n_pulses += 1;
            for (index, sum) in self.pulse.iter_mut().enumerate() {
                if let Some(&sample) = (index + peak)
                    .checked_sub(BEFORE_PEAK)
                    .and_then(|sample| samples.get(sample))
                {
                    *sum += f64::from(sample) - baseline;
                }
            }
        }
    }

    /// Adds the sums of `other`; returns false if its waveforms have another length.
    pub fn merge(&mut self, other: &Self) -> bool {
        if self.n_samples == 0 {
            self.clone_from(other);
            return true;
        }
        if self.n_samples != other.n_samples {
            return false;
        }
        for (ours, theirs) in [
            (&mut self.lit, &other.lit),
            (&mut self.unlit, &other.unlit),
            (&mut self.pulse, &other.pulse),
        ] {
            for (ours, theirs) in ours.iter_mut().zip(theirs) {
                *ours += theirs;
            }
        }
        self.n_lit += other.n_lit;
        self.n_unlit += other.n_unlit;
        self.n_pulses += other.n_pulses;
        true
    }

    /// Returns mean baseline and noise; `None` without a usable waveform.
    pub fn level(&self) -> Option<(f64, f64)> {
        let mean = self.noise.mean_pedestal()?;
        Some((mean.level_adc, mean.noise_adc))
    }

    /// Counts the dead waveforms as left out, once the first pass is complete.
    pub fn leave_out_dead(&mut self) {
        let n_dead = self.noise.n_dead();
        self.defects.add_many(Defect::Dead, n_dead);
    }

    /// Returns the problems of a run that could be calibrated.
    pub fn problems(&self) -> RunProblems {
        let mean = self.noise.mean_pedestal();
        self.signs.problems(
            self.noise.n_dead(),
            mean.map_or(1.0, |mean| mean.mean_over_rms),
        )
    }

    /// Returns the mean waveform without light: the pick-up from the light source's electronics.
    pub fn pickup(&self) -> Vec<f64> {
        let n = self.n_unlit.max(1) as f64;
        self.unlit.iter().map(|sum| sum / n).collect()
    }

    /// Returns the mean pulse and the index of its peak.
    pub fn pulse(&self) -> (Vec<f64>, usize) {
        let n = self.n_pulses.max(1) as f64;
        (self.pulse.iter().map(|sum| sum / n).collect(), BEFORE_PEAK)
    }

    /// Returns the core of the mean pulse: number of samples before its peak, and from the peak on.
    pub fn pulse_span(&self) -> Option<(usize, usize)> {
        let (pulse, peak) = self.pulse();
        let core = span_above(&pulse, peak, WINDOW_FRACTION)?;
        Some((peak - core.from, core.to - peak))
    }

    /// Returns the contribution of light to the mean waveform.
    fn light(&self) -> Vec<f64> {
        let pickup = self.pickup();
        let n = self.n_lit.max(1) as f64;
        self.lit
            .iter()
            .zip(&pickup)
            .map(|(sum, pickup)| sum / n - pickup)
            .collect()
    }

    /// Returns true if light arrives at a fixed time: the mean lit waveform is then about as high as a single pulse, while
    /// pulses at random times average out.
    pub fn has_light_time(&self) -> bool {
        let (pulse, peak) = self.pulse();
        let light = smooth(&self.light(), 2);
        let highest = light.iter().copied().fold(0.0, f64::max);
        self.n_pulses > 0 && highest > 0.2 * pulse.get(peak).copied().unwrap_or(f64::MAX)
    }

    /// Returns the samples in which light arrives, with a margin.
    pub fn light_window(&self) -> Option<Span> {
        let light = smooth(&self.light(), 1);
        let peak = (0..light.len()).max_by(|&a, &b| light[a].total_cmp(&light[b]))?;
        let core = span_above(&light, peak, WINDOW_FRACTION)?;
        let margin = 1 + core.len() / 10;
        Some(Span {
            from: core.from.saturating_sub(margin),
            to: (core.to + margin).min(light.len()),
        })
    }

    /// Returns the mean charge of a lit waveform within `window`.
    pub fn light_charge(&self, window: Span) -> f64 {
        self.light()
            .get(window.from..window.to)
            .map_or(0.0, |light| light.iter().sum())
    }

    /// Returns the mean charge of a pulse within its core.
    pub fn pulse_charge(&self) -> f64 {
        let (pulse, peak) = self.pulse();
        span_above(&pulse, peak, WINDOW_FRACTION)
            .map_or(0.0, |core| pulse[core.from..core.to].iter().sum())
    }
}

/// Returns the connected samples around `peak` that are above `fraction` of its height.
pub(super) fn span_above(values: &[f64], peak: usize, fraction: f64) -> Option<Span> {
    let height = *values.get(peak)?;
    if !(height.is_finite() && height > 0.0) {
        return None;
    }
    let is_below = |value: &f64| *value < fraction * height;
    let from = values[..peak]
        .iter()
        .rposition(is_below)
        .map_or(0, |index| index + 1);
    let to = values[peak..]
        .iter()
        .position(is_below)
        .map_or(values.len(), |index| peak + index);
    Some(Span { from, to })
}

/// Returns the moving average over `2 * half + 1` values; fewer at the ends.
fn smooth(values: &[f64], half: usize) -> Vec<f64> {
    (0..values.len())
        .map(|index| {
            let part = &values[index.saturating_sub(half)..(index + half + 1).min(values.len())];
            part.iter().sum::<f64>() / part.len() as f64
        })
        .collect()
}
