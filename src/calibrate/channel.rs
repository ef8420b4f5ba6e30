//! The second and third pass over a channel: charge spectrum, selection and mean of single photoelectrons.

use std::sync::Arc;

use super::first_pass::{FirstPass, LIGHT_SIGMA, Span};
use super::parameters::{RunKind, SpeParameters};
use super::pedestal::estimate_pedestal;
use super::quiet::{QuietNoise, QuietPlan, QuietSums};
use super::spectrum::{Content, Spectrum, SpectrumFit, fit};
use super::template::{Aligner, MeanPulse, Template, finish_template};

/// Samples between the end of the baseline and the start of the light window.
const GUARD_SAMPLES: usize = 2;
/// Minimum number of samples of a baseline before the light.
const MIN_BASELINE_SAMPLES: usize = 16;
/// Minimum share of single photoelectrons among the selected pulses; the second is used if the first selects nothing.
const PURITIES: [f64; 2] = [0.75, 0.5];

/// Sums and histograms of one channel, and the results of its first pass.
pub(super) struct ChannelSums {
    run: RunKind,
    n_samples: usize,
    pub noise_adc: f64,
    /// Noise below which a waveform is dead and left out; 0 if none is.
    dead_below_adc: f64,
    /// The light window (LED run), or the charge window of a pulse, its peak at `before_peak` (dark run).
    pub window: Span,
    before_peak: usize,
    pickup: Vec<f64>,
    aligner: Option<Aligner>,
    pub spectrum: Spectrum,
    dark_samples: u64,
    dark_hits: u64,
    pedestal_noise_sum_adc2: f64,
    n_pedestal_waveforms: u64,
    n_pedestal_samples: u64,
    quiet: QuietSums,
    /// Sum of triggers whose charge is that of the pedestal, after the first pick-up is subtracted.
    empty: Vec<f64>,
    n_empty: u64,
    first_mean: MeanPulse,
    pub fit: Option<SpectrumFit>,
    selection: Option<(f64, f64)>,
    pub mean: MeanPulse,
    charge_sum: f64,
    time_sum: f64,
    time_sum_squares: f64,
    upright: Vec<f64>,
    scratch: Vec<f32>,
}

impl ChannelSums {
    /// Takes the light window from the `first_pass` of the channel itself or, if that has too little light, from the `source`.
    /// `None` without any light.
    pub fn new(
        first_pass: &FirstPass,
        source: &FirstPass,
        run: RunKind,
        parameters: &SpeParameters,
        quiet: &Arc<QuietPlan>,
    ) -> Option<Self> {
        let (_, noise_adc) = first_pass.level()?;
        let n_samples = first_pass.n_samples;
        let (before, after) = source.pulse_span()?;
        let (window, scale) = match run {
            RunKind::Led => {
                let window = match parameters.window {
                    Some((from, to)) => Span {
                        from,
                        to: to.min(n_samples),
                    },
                    None => source.light_window()?,
                };
                if window.from >= window.to {
                    return None;
                }
                (window, source.light_charge(window))
            }
            RunKind::Dark => {
                let (from, to) = (0, before + after);
                (Span { from, to }, source.pulse_charge())
            }
        };
        if !(scale.is_finite() && scale > 0.0) {
            return None;
        }
        let (pulse, peak) = source.pulse();
        Some(Self {
            run,
            n_samples,
            noise_adc,
            dead_below_adc: first_pass.noise.dead_below_adc(),
            window,
            before_peak: before,
            pickup: match run {
                RunKind::Led => first_pass.pickup(),
                RunKind::Dark => vec![0.0; n_samples],
            },
            aligner: Aligner::new(&pulse, peak),
            spectrum: Spectrum::new(scale),
            dark_samples: 0,
            dark_hits: 0,
            pedestal_noise_sum_adc2: 0.0,
            n_pedestal_waveforms: 0,
            n_pedestal_samples: 0,
            quiet: QuietSums::new(quiet, before + after),
            empty: vec![0.0; n_samples],
            n_empty: 0,
            first_mean: MeanPulse::new(n_samples),
            fit: None,
            selection: None,
            mean: MeanPulse::new(n_samples),
            charge_sum: 0.0,
            time_sum: 0.0,
            time_sum_squares: 0.0,
            upright: Vec::with_capacity(n_samples),
            scratch: Vec::new(),
        })
    }

    /// True if a waveform is dead. The noise of all its samples is that of the first pass.
    fn is_dead(&mut self, samples: &[f32]) -> bool {
        self.dead_below_adc > 0.0
            && estimate_pedestal(samples, &mut self.scratch)
                .is_some_and(|pedestal| pedestal.noise_adc < self.dead_below_adc)
    }

    /// Returns the number of samples of a waveform.
    pub fn n_samples(&self) -> usize {
        self.n_samples
    }

    /// Returns the noise of windows without light.
    pub fn quiet_noise(&self) -> QuietNoise {
        self.quiet.finish()
    }

    fn threshold(&self) -> f64 {
        LIGHT_SIGMA * self.noise_adc
    }

    /// Returns the standard deviation of the charge in the window, from white noise and a baseline of `n_baseline` samples.
    fn charge_noise(&self, n_baseline: usize) -> f64 {
        let n = self.window.len() as f64;
        self.noise_adc * (n * (1.0 + n / n_baseline.max(1) as f64)).sqrt()
    }

    /// Returns the end of the samples for the baseline: before the light, if there are enough.
    fn baseline_end(&self, light_begins: usize) -> usize {
        match light_begins.saturating_sub(GUARD_SAMPLES) {
            end if end >= MIN_BASELINE_SAMPLES => end,
            _ => self.n_samples,
        }
    }

    /// Subtracts baseline and pick-up; returns false if the waveform cannot be used.
    fn level(&mut self, samples: &[f32], baseline: std::ops::Range<usize>) -> bool {
        if samples.len() != self.n_samples {
            return false;
        }
        let Some(pedestal) = samples
            .get(baseline)
            .and_then(|part| estimate_pedestal(part, &mut self.scratch))
        else {
            return false;
        };
        self.upright.clear();
        self.upright.extend(
            samples
                .iter()
                .zip(&self.pickup)
                .map(|(&sample, pickup)| f64::from(sample) - pedestal.level_adc - pickup),
        );
        true
    }

    /// Returns the number of pulses that begin in the first `end` samples.
    fn count_hits(&self, end: usize) -> u64 {
        let threshold = self.threshold();
        let part = &self.upright[..end];
        let is_wide = |index: usize| {
            let neighbour = |index: usize| part.get(index).copied().unwrap_or(0.0);
            neighbour(index.wrapping_sub(1)).max(neighbour(index + 1)) > 0.5 * threshold
        };
        let dead_samples = self.aligner.as_ref().map_or(1, Aligner::after_peak);
        let mut hits = 0;
        let mut dead_until = 0;
        for (index, &value) in part.iter().enumerate() {
            // A single high sample is noise: there is about one per million samples.
            if value > threshold && is_wide(index) {
                if index >= dead_until {
                    hits += 1;
                }
                dead_until = index + dead_samples;
            }
        }
        hits
    }

    /// Returns the highest sample between `from` and `to`, if it is light.
    fn highest(&self, from: usize, to: usize) -> Option<usize> {
        let highest = (from..to).max_by(|&a, &b| self.upright[a].total_cmp(&self.upright[b]))?;
        (self.upright[highest] > self.threshold()).then_some(highest)
    }

    fn charge(&self, from: usize) -> Option<f64> {
        let part = self.upright.get(from..from + self.window.len())?;
        Some(part.iter().sum())
    }

    /// Returns the peak of the only pulse of a dark run's waveform, with the baseline taken before it.
    fn lone_pulse(&mut self, samples: &[f32]) -> Option<usize> {
        if !self.level(samples, 0..samples.len()) {
            return None;
        }
        let threshold = self.threshold();
        self.dark_samples += samples.len() as u64;
        let hits = self.count_hits(samples.len());
        self.dark_hits += hits;
        if hits != 1 {
            if hits == 0 {
                let pedestal = estimate_pedestal(samples, &mut self.scratch)?;
                self.pedestal_noise_sum_adc2 += pedestal.noise_adc * pedestal.noise_adc;
                self.n_pedestal_waveforms += 1;
                self.n_pedestal_samples += samples.len() as u64;
                self.quiet.add(samples, pedestal.noise_adc);
            }
            return None;
        }
        let peak = self.highest(0, samples.len())?;
        let start = peak.checked_sub(2 * self.before_peak + GUARD_SAMPLES)?;
        if start < MIN_BASELINE_SAMPLES || !self.level(samples, 0..start) {
            return None;
        }
        (self.upright[peak] > threshold).then_some(peak)
    }

    /// Second pass: fills charge spectrum, pedestal, rate and first mean pulse.
    pub fn add_charge(&mut self, samples: &[f32]) {
        if self.is_dead(samples) {
            return;
        }
        if self.run == RunKind::Dark {
            if let Some(peak) = self.lone_pulse(samples)
                && let Some(time) = self.find(peak)
                && let Some(charge) = self.pulse_charge(time)
            {
                self.spectrum.fill(charge);
                let upright = std::mem::take(&mut self.upright);
                self.first_mean.add(&upright, time);
                self.upright = upright;
            }
            return;
        }
        let end = self.baseline_end(self.window.from);
        if !self.level(samples, 0..end) {
            return;
        }
        let Some(charge) = self.charge(self.window.from) else {
            return;
        };
        self.spectrum.fill(charge);
        let before = end.min(self.window.from);
        let hits = self.count_hits(before);
        self.dark_samples += before as u64;
        self.dark_hits += hits;
        if hits > 0 {
            return;
        }
        let pedestal = samples
            .get(..end)
            .and_then(|part| estimate_pedestal(part, &mut self.scratch));
        if let Some(pedestal) = pedestal {
            self.pedestal_noise_sum_adc2 += pedestal.noise_adc * pedestal.noise_adc;
            self.n_pedestal_waveforms += 1;
            self.n_pedestal_samples += end as u64;
        }
        if charge.abs() < 3.0 * self.charge_noise(end) && self.highest(0, self.n_samples).is_none()
        {
            self.n_empty += 1;
            if let Some(pedestal) = pedestal {
                self.quiet.add(samples, pedestal.noise_adc);
            }
            for (sum, value) in self.empty.iter_mut().zip(&self.upright) {
                *sum += value;
            }
        } else if let Some(time) = self
            .highest(self.window.from, self.window.to)
            .and_then(|peak| self.find(peak))
        {
            let upright = std::mem::take(&mut self.upright);
            self.first_mean.add(&upright, time);
            self.upright = upright;
        }
    }

    fn find(&self, peak: usize) -> Option<f64> {
        self.aligner.as_ref()?.find(&self.upright, peak)
    }

    fn pulse_charge(&self, time: f64) -> Option<f64> {
        let peak = time.round() as usize;
        self.charge(peak.checked_sub(self.before_peak)?)
    }

    /// Between second and third pass: fits the spectrum, selects single pulses, and improves the mean pulse for alignment.
    pub fn fit_spectrum(&mut self) {
        if self.n_pedestal_waveforms > 0 {
            self.noise_adc =
                (self.pedestal_noise_sum_adc2 / self.n_pedestal_waveforms as f64).sqrt();
        }
        let pedestal_sigma = self.charge_noise(self.baseline_end(self.window.from));
        let content = match self.run {
            RunKind::Led => Content::EveryTrigger { pedestal_sigma },
            RunKind::Dark => Content::PulsesOnly { pedestal_sigma },
        };
        self.fit = fit(&self.spectrum, content);
        // The mean of empty triggers corrects the pick-up, which shifts the pedestal.
        let mut moved = 0.0;
        if self.n_empty >= 10 {
            let window = self.window;
            for (index, (pickup, sum)) in self.pickup.iter_mut().zip(&self.empty).enumerate() {
                let rest = sum / self.n_empty as f64;
                *pickup += rest;
                if (window.from..window.to).contains(&index) {
                    moved += rest;
                }
            }
        }
        self.selection = self.fit.and_then(|fit| match self.run {
            RunKind::Led => PURITIES
                .iter()
                .find_map(|&purity| fit.single_pe_range(purity)),
            RunKind::Dark => Some((0.6 * fit.gain, 1.5 * fit.gain)),
        });
        self.selection = self
            .selection
            .map(|(low, high)| (low - moved, high - moved));
        if let Some((pulse, peak)) = self.first_mean.pulse()
            && self.first_mean.n_pulses >= 20
        {
            self.aligner = Aligner::new(&pulse, peak).or(self.aligner.take());
        }
    }

    /// Third pass: averages single photoelectrons.
    pub fn add_pulse(&mut self, samples: &[f32]) {
        let Some((low, high)) = self.selection else {
            return;
        };
        if self.is_dead(samples) {
            return;
        }
        let (time, charge) = if self.run == RunKind::Dark {
            let rate = (self.dark_samples, self.dark_hits);
            let peak = self.lone_pulse(samples);
            (self.dark_samples, self.dark_hits) = rate;
            let Some(time) = peak.and_then(|peak| self.find(peak)) else {
                return;
            };
            (time, self.pulse_charge(time))
        } else {
            let end = self.baseline_end(self.window.from);
            if !self.level(samples, 0..end) || self.count_hits(end.min(self.window.from)) > 0 {
                return;
            }
            let (from, to) = (self.window.from, self.window.to);
            // Small charges may be below the threshold; they are selected by charge.
            let peak = (from..to).max_by(|&a, &b| self.upright[a].total_cmp(&self.upright[b]));
            let Some(time) = peak.and_then(|peak| self.find(peak)) else {
                return;
            };
            (time, self.charge(from))
        };
        let Some(charge) = charge.filter(|&charge| charge >= low && charge <= high) else {
            return;
        };
        let after = self.aligner.as_ref().map_or(0, Aligner::after_peak);
        let pulse_end = (time as usize + 2 * after).min(self.n_samples);
        if self.highest(pulse_end, self.n_samples).is_some() {
            return;
        }
        self.mean.add(&self.upright, time);
        self.charge_sum += charge;
        self.time_sum += time;
        self.time_sum_squares += time * time;
    }

    /// Returns the template in ADC counts for one photoelectron, if there are enough pulses.
    pub fn template(&self, min_pulses: u64) -> Option<Template> {
        let n = self.mean.n_pulses;
        let fit = self.fit?;
        if n < min_pulses.max(1) {
            return None;
        }
        let mean_charge = self.charge_sum / n as f64;
        if mean_charge <= 0.0 {
            return None;
        }
        let per_pulse = 1.0 / n as f64 + 1.0 / self.n_empty.max(n) as f64;
        let noise = self.noise_adc * per_pulse.sqrt();
        let baseline = self.baseline_end(self.window.from) as f64;
        let mut template = finish_template(&self.mean, noise, noise / baseline.sqrt())?;
        // The charge of one photoelectron is the fitted gain.
        let scale = fit.gain / mean_charge;
        template
            .samples
            .iter_mut()
            .for_each(|value| *value *= scale);
        template.peak *= scale;
        template.noise *= scale;
        template.slope *= scale;
        Some(template)
    }

    /// Returns the error of the noise: that of white noise.
    pub fn noise_error(&self) -> f64 {
        self.noise_adc / (2.0 * self.n_pedestal_samples.max(1) as f64).sqrt()
    }

    /// Returns the error of the dark rate; of none, the rate of one pulse.
    pub fn dark_rate_error_hz(&self, sampling_ns: f64) -> f64 {
        if self.dark_samples == 0 {
            return f64::NAN;
        }
        let hits = self.dark_hits.max(1) as f64;
        hits.sqrt() / (self.dark_samples as f64 * sampling_ns * 1e-9)
    }

    pub fn dark_rate_hz(&self, sampling_ns: f64) -> f64 {
        if self.dark_samples == 0 {
            return 0.0;
        }
        self.dark_hits as f64 / (self.dark_samples as f64 * sampling_ns * 1e-9)
    }

    /// Returns mean and standard deviation of the alignment points, in samples.
    pub fn times(&self) -> (f64, f64) {
        let n = self.mean.n_pulses.max(1) as f64;
        let mean = self.time_sum / n;
        let variance = (self.time_sum_squares / n - mean * mean).max(0.0);
        (mean, variance.sqrt())
    }
}
