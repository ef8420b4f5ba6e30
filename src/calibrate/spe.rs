//! Three passes over a low-light or dark run, and what they yield for each channel.

use std::collections::{BTreeMap, HashMap};

use super::quiet::quiet;
use super::spectrum::{Content, Spectrum, SpectrumFit, fit};
use super::survey::{LIGHT_SIGMA, Span, Survey};
use super::template::{Aligner, Mean, Template, finish};
use crate::error::{Error, Result};
use crate::io::calibration_file::DEFAULT_CHARGE_SIGMA_PE;
use crate::model::{Calibration, ChannelCalibration, Flags, Polarity, Waveform};

/// Where light comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    /// A weak light source fires at the same time in every window.
    Led,
    /// Dark photoelectrons at any time.
    Dark,
}

/// What [`spe`] has to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct SpeParameters {
    /// Direction of the pulses.
    pub polarity: Polarity,
    /// Interval between samples.
    pub sampling_ns: f64,
    /// What kind of run it is; `None`: found out from the data.
    pub run: Option<RunKind>,
    /// Samples over which the charge is summed, the last not included; `None`: found out from the data.
    pub window: Option<(usize, usize)>,
    /// Fewest pulses of which a channel's own template is made.
    pub min_pulses: u64,
    /// When light reaches the PMTs, from the first sample on: offsets are such that it is seen then. `None`: offsets are zero.
    pub light_ns: Option<f64>,
}

/// Samples between the baseline's end and the light window's beginning.
const GUARD_SAMPLES: usize = 2;
/// Fewest samples before the light that a baseline is made of.
const MIN_BASELINE_SAMPLES: usize = 16;
/// Fewest lit waveforms for a light window of a channel's own; fewer take that of all channels.
const MIN_LIT: u64 = 30;
/// Least share of single photoelectrons among the selected pulses; the second where the first selects nothing.
const PURITIES: [f64; 2] = [0.75, 0.5];

/// What was found for one channel. Charges in ADC counts x samples.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelSpe {
    /// The channel.
    pub channel_id: u32,
    /// Waveforms of it in the run.
    pub n_waveforms: u64,
    /// Those that could not be used: of another length, or with samples that are not finite.
    pub n_skipped: u64,
    /// Mean baseline as it stands in the data.
    pub baseline_adc: f64,
    /// First sample of the charge window and the one after its last; in a dark run counted from 0 at the window's
    /// beginning before each pulse.
    pub window: Option<(usize, usize)>,
    /// Charge spectrum, empty where no light was seen.
    pub spectrum: Option<Spectrum>,
    /// Its fit.
    pub fit: Option<SpectrumFit>,
    /// Pulses in the template.
    pub n_pulses: u64,
    /// Height of the template.
    pub peak_adc: f64,
    /// Its full width at half maximum.
    pub fwhm_ns: f64,
    /// Mean time of the photoelectrons from the light source, from the first sample on.
    pub light_time_ns: Option<f64>,
    /// The row of the calibration file.
    pub calibration: ChannelCalibration,
}

/// What [`spe`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct SpeResult {
    /// What kind of run it is.
    pub run: RunKind,
    /// The channels in ascending order.
    pub channels: Vec<ChannelSpe>,
    /// The row for channels that are not in the run: the mean of all templates.
    pub default_row: ChannelCalibration,
}

impl SpeResult {
    /// The calibration, to be written or used.
    ///
    /// # Errors
    /// As [`ChannelCalibration::validate`].
    pub fn to_calibration(&self) -> Result<Calibration> {
        let mut calibration = Calibration::new();
        let row = calibration.add_row(self.default_row.clone())?;
        calibration.set_default(row);
        for channel in &self.channels {
            let row = calibration.add_row(channel.calibration.clone())?;
            calibration.assign(channel.channel_id, row);
        }
        Ok(calibration)
    }
}

/// Reads all waveforms of the run once, in order, and shows each to its argument.
pub type ReadAll<'a> = dyn FnMut(&mut dyn FnMut(Waveform<'_>)) -> Result<()> + 'a;

/// Learns the single-photoelectron response of every channel from a low-light or dark run. `type_of` names the PMT type of
/// a channel where it is known: a channel with too few pulses takes the mean template of its type before that of all.
///
/// # Errors
/// If the input cannot be read, or not one channel has enough single photoelectrons.
pub fn spe(
    read_all: &mut ReadAll<'_>,
    parameters: &SpeParameters,
    type_of: &dyn Fn(u32) -> Option<String>,
) -> Result<SpeResult> {
    let sign = parameters.polarity.sign();
    let mut upright = Vec::new();
    let mut stand_up = move |waveform: Waveform<'_>, visit: &mut dyn FnMut(&[f32])| {
        upright.clear();
        upright.extend(waveform.samples.to_f32().iter().map(|sample| sign * sample));
        visit(&upright);
    };
    let mut scratch = Vec::new();
    let mut surveys: BTreeMap<u32, Survey> = BTreeMap::new();
    read_all(&mut |waveform| {
        let survey = surveys.entry(waveform.channel_id).or_default();
        stand_up(waveform, &mut |samples| survey.add(samples, &mut scratch));
    })?;

    let (run, mut channels) = plan(&surveys, parameters);
    read_all(&mut |waveform| {
        if let Some(channel) = channels.get_mut(&waveform.channel_id) {
            stand_up(waveform, &mut |samples| channel.add_charge(samples));
        }
    })?;
    for channel in channels.values_mut() {
        channel.fit_spectrum();
    }
    read_all(&mut |waveform| {
        if let Some(channel) = channels.get_mut(&waveform.channel_id) {
            stand_up(waveform, &mut |samples| channel.add_pulse(samples));
        }
    })?;
    conclude(run, &surveys, &channels, parameters, type_of)
}

/// Decides what kind of run it is and where each channel's light is.
fn plan(
    surveys: &BTreeMap<u32, Survey>,
    parameters: &SpeParameters,
) -> (RunKind, BTreeMap<u32, Channel>) {
    let mut all: HashMap<usize, Survey> = HashMap::new();
    for survey in surveys.values() {
        all.entry(survey.n_samples).or_default().merge(survey);
    }
    // Channels with much light vote; where there is none of these, all channels together.
    let mut votes = (0_u64, 0_u64);
    let voters: Vec<&Survey> = surveys.values().filter(|s| s.n_lit >= MIN_LIT).collect();
    let together: Vec<&Survey> = all.values().collect();
    for survey in if voters.is_empty() { together } else { voters } {
        if survey.has_light_time() {
            votes.0 += survey.n_lit;
        } else {
            votes.1 += survey.n_lit;
        }
    }
    let run = parameters.run.unwrap_or(if votes.0 > votes.1 {
        RunKind::Led
    } else {
        RunKind::Dark
    });
    let channels = surveys
        .iter()
        .filter_map(|(&channel_id, survey)| {
            let many = survey.n_lit >= MIN_LIT;
            let source = if many {
                survey
            } else {
                all.get(&survey.n_samples)?
            };
            let channel = Channel::new(survey, source, run, parameters)?;
            Some((channel_id, channel))
        })
        .collect();
    (run, channels)
}

/// A channel in the second and third pass.
struct Channel {
    run: RunKind,
    n_samples: usize,
    noise_adc: f64,
    /// The light window (LED run), or the charge window of a pulse, its peak at `before_peak` (dark run).
    window: Span,
    before_peak: usize,
    pickup: Vec<f64>,
    aligner: Option<Aligner>,
    spectrum: Spectrum,
    dark_samples: u64,
    dark_hits: u64,
    quiet_noise_sum_adc2: f64,
    n_quiet: u64,
    /// Sum of triggers whose charge is that of the pedestal, after the first pick-up is subtracted.
    empty: Vec<f64>,
    n_empty: u64,
    first_mean: Mean,
    fit: Option<SpectrumFit>,
    selection: Option<(f64, f64)>,
    mean: Mean,
    charge_sum: f64,
    time_sum: f64,
    time_sum_squares: f64,
    upright: Vec<f64>,
    scratch: Vec<f32>,
}

impl Channel {
    fn new(
        survey: &Survey,
        source: &Survey,
        run: RunKind,
        parameters: &SpeParameters,
    ) -> Option<Self> {
        let (_, noise_adc) = survey.level()?;
        let n_samples = survey.n_samples;
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
            window,
            before_peak: before,
            pickup: match run {
                RunKind::Led => survey.pickup(),
                RunKind::Dark => vec![0.0; n_samples],
            },
            aligner: Aligner::new(&pulse, peak),
            spectrum: Spectrum::new(scale),
            dark_samples: 0,
            dark_hits: 0,
            quiet_noise_sum_adc2: 0.0,
            n_quiet: 0,
            empty: vec![0.0; n_samples],
            n_empty: 0,
            first_mean: Mean::new(n_samples),
            fit: None,
            selection: None,
            mean: Mean::new(n_samples),
            charge_sum: 0.0,
            time_sum: 0.0,
            time_sum_squares: 0.0,
            upright: Vec::with_capacity(n_samples),
            scratch: Vec::new(),
        })
    }

    fn threshold(&self) -> f64 {
        LIGHT_SIGMA * self.noise_adc
    }

    /// Standard deviation of the charge of `n` samples of white noise above a baseline of `n_baseline` samples.
    fn charge_noise(&self, n_baseline: usize) -> f64 {
        let n = self.window.len() as f64;
        self.noise_adc * (n * (1.0 + n / n_baseline.max(1) as f64)).sqrt()
    }

    /// End of the samples that a baseline is made of: before the light, if that is enough.
    fn baseline_end(&self, light_begins: usize) -> usize {
        match light_begins.saturating_sub(GUARD_SAMPLES) {
            end if end >= MIN_BASELINE_SAMPLES => end,
            _ => self.n_samples,
        }
    }

    /// Puts baseline and pick-up at zero; false if the waveform is of no use.
    fn level(&mut self, samples: &[f32], baseline: std::ops::Range<usize>) -> bool {
        if samples.len() != self.n_samples {
            return false;
        }
        let Some(quiet) = samples
            .get(baseline)
            .and_then(|part| quiet(part, &mut self.scratch))
        else {
            return false;
        };
        self.upright.clear();
        self.upright.extend(
            samples
                .iter()
                .zip(&self.pickup)
                .map(|(&sample, pickup)| f64::from(sample) - quiet.level_adc - pickup),
        );
        true
    }

    /// Number of pulses that begin in the first `end` samples.
    fn count_hits(&self, end: usize) -> u64 {
        let threshold = self.threshold();
        let dead_samples = self.aligner.as_ref().map_or(1, Aligner::after_peak);
        let mut hits = 0;
        let mut dead_until = 0;
        for (place, &value) in self.upright[..end].iter().enumerate() {
            if value > threshold {
                if place >= dead_until {
                    hits += 1;
                }
                dead_until = place + dead_samples;
            }
        }
        hits
    }

    /// The highest sample between `from` and `to`, if it is light.
    fn highest(&self, from: usize, to: usize) -> Option<usize> {
        let highest = (from..to).max_by(|&a, &b| self.upright[a].total_cmp(&self.upright[b]))?;
        (self.upright[highest] > self.threshold()).then_some(highest)
    }

    fn charge(&self, from: usize) -> Option<f64> {
        let part = self.upright.get(from..from + self.window.len())?;
        Some(part.iter().sum())
    }

    /// The pulse of a dark run's waveform that stands alone: its peak, with the baseline taken before it.
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
                let quiet = quiet(samples, &mut self.scratch)?;
                self.quiet_noise_sum_adc2 += quiet.noise_adc * quiet.noise_adc;
                self.n_quiet += 1;
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

    /// Second pass: charge spectrum, pedestal, rate, first mean pulse.
    fn add_charge(&mut self, samples: &[f32]) {
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
        if let Some(quiet) = quiet(&samples[..end], &mut self.scratch) {
            self.quiet_noise_sum_adc2 += quiet.noise_adc * quiet.noise_adc;
            self.n_quiet += 1;
        }
        if charge.abs() < 3.0 * self.charge_noise(end) && self.highest(0, self.n_samples).is_none()
        {
            self.n_empty += 1;
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

    /// Between second and third pass: the fit, which pulses are single, a better mean to align with.
    fn fit_spectrum(&mut self) {
        if self.n_quiet > 0 {
            self.noise_adc = (self.quiet_noise_sum_adc2 / self.n_quiet as f64).sqrt();
        }
        let pedestal_sigma = self.charge_noise(self.baseline_end(self.window.from));
        let content = match self.run {
            RunKind::Led => Content::EveryTrigger { pedestal_sigma },
            RunKind::Dark => Content::PulsesOnly { pedestal_sigma },
        };
        self.fit = fit(&self.spectrum, content);
        // What the empty triggers still hold comes off the pick-up, and moves the pedestal.
        let mut moved = 0.0;
        if self.n_empty >= 10 {
            let window = self.window;
            for (place, (pickup, sum)) in self.pickup.iter_mut().zip(&self.empty).enumerate() {
                let rest = sum / self.n_empty as f64;
                *pickup += rest;
                if (window.from..window.to).contains(&place) {
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

    /// Third pass: the mean of single photoelectrons.
    fn add_pulse(&mut self, samples: &[f32]) {
        let Some((low, high)) = self.selection else {
            return;
        };
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
            // Small charges may stay below the threshold; the charge has chosen them already.
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

    /// The template in ADC counts for one photoelectron, if there are enough pulses.
    fn template(&self, min_pulses: u64) -> Option<Template> {
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
        let mut template = finish(&self.mean, noise, noise / baseline.sqrt())?;
        // One photoelectron is what the fit says it is.
        let scale = fit.gain / mean_charge;
        template
            .samples
            .iter_mut()
            .for_each(|value| *value *= scale);
        template.peak *= scale;
        Some(template)
    }

    fn dark_rate_hz(&self, sampling_ns: f64) -> f64 {
        if self.dark_samples == 0 {
            return 0.0;
        }
        self.dark_hits as f64 / (self.dark_samples as f64 * sampling_ns * 1e-9)
    }

    /// Mean and standard deviation of the alignment points, in samples.
    fn times(&self) -> (f64, f64) {
        let n = self.mean.n_pulses.max(1) as f64;
        let mean = self.time_sum / n;
        let variance = (self.time_sum_squares / n - mean * mean).max(0.0);
        (mean, variance.sqrt())
    }
}

fn conclude(
    run: RunKind,
    surveys: &BTreeMap<u32, Survey>,
    channels: &BTreeMap<u32, Channel>,
    parameters: &SpeParameters,
    type_of: &dyn Fn(u32) -> Option<String>,
) -> Result<SpeResult> {
    let sampling_ns = parameters.sampling_ns;
    let own: BTreeMap<u32, (Template, &Channel)> = channels
        .iter()
        .filter_map(|(&id, channel)| {
            Some((id, (channel.template(parameters.min_pulses)?, channel)))
        })
        .collect();
    let row_of = |template: &Template, channel: &Channel| {
        let (time, spread) = channel.times();
        let light_ns = (time + template.reference) * sampling_ns;
        let is_led = run == RunKind::Led;
        ChannelCalibration {
            template_adc: template.samples.iter().map(|&value| value as f32).collect(),
            noise_adc: channel.noise_adc as f32,
            time_offset_ns: match parameters.light_ns {
                Some(expected_ns) if is_led => (light_ns - expected_ns) as f32,
                _ => 0.0,
            },
            dark_rate_hz: channel.dark_rate_hz(sampling_ns) as f32,
            charge_sigma_pe: channel.fit.map_or(DEFAULT_CHARGE_SIGMA_PE, |fit| {
                (fit.gain_sigma / fit.gain) as f32
            }),
            time_sigma_ns: if is_led {
                (spread * sampling_ns) as f32
            } else {
                0.0
            },
            sampling_ns: sampling_ns as f32,
            flags: Flags::NONE,
        }
    };
    let rows: BTreeMap<u32, ChannelCalibration> = own
        .iter()
        .map(|(&id, (template, channel))| (id, row_of(template, channel)))
        .collect();
    let default_row = mean_row(&rows.values().collect::<Vec<_>>()).ok_or_else(|| {
        let n_waveforms: u64 = surveys.values().map(|survey| survey.n_waveforms).sum();
        let most = channels.values().map(|channel| channel.mean.n_pulses).max();
        Error::usage(format!(
            "no channel has a single-photoelectron template: {} channels, {n_waveforms} waveforms, at most {} single pulses in a channel where {} are needed",
            surveys.len(),
            most.unwrap_or(0),
            parameters.min_pulses
        ))
        .with_hint("check `--polarity`, take a longer run, weaker light (0.1 to 1 photoelectrons a trigger), or lower `--min-pulses`")
    })?;
    let mut by_type: HashMap<String, Vec<&ChannelCalibration>> = HashMap::new();
    for (&id, row) in &rows {
        if let Some(name) = type_of(id) {
            by_type.entry(name).or_default().push(row);
        }
    }
    let by_type: HashMap<String, ChannelCalibration> = by_type
        .into_iter()
        .filter_map(|(name, rows)| Some((name, mean_row(&rows)?)))
        .collect();
    let channels = surveys
        .iter()
        .map(|(&channel_id, survey)| {
            let channel = channels.get(&channel_id);
            let level = survey.level();
            let fallback = || {
                let of_type = type_of(channel_id).and_then(|name| by_type.get(&name));
                of_type.unwrap_or(&default_row).clone()
            };
            let mut calibration = rows.get(&channel_id).cloned().unwrap_or_else(|| {
                let mut row = fallback();
                row.time_offset_ns = 0.0;
                row.flags |= Flags::TEMPLATE_FALLBACK;
                row
            });
            let fit = channel.and_then(|channel| channel.fit);
            if fit.is_none() {
                calibration.flags |= Flags::SPECTRUM_FIT_FAILED;
            }
            match (channel, level) {
                (Some(channel), _) => {
                    calibration.noise_adc = channel.noise_adc as f32;
                    calibration.dark_rate_hz = channel.dark_rate_hz(sampling_ns) as f32;
                }
                (None, Some((_, noise_adc))) => calibration.noise_adc = noise_adc as f32,
                (None, None) => calibration.flags |= Flags::NOISE_UNKNOWN,
            }
            let own = own.get(&channel_id);
            let template = &calibration.template_adc;
            ChannelSpe {
                channel_id,
                n_waveforms: survey.n_waveforms,
                n_skipped: survey.n_skipped,
                baseline_adc: level.map_or(0.0, |(level, _)| {
                    level * f64::from(parameters.polarity.sign())
                }),
                window: channel.map(|channel| (channel.window.from, channel.window.to)),
                spectrum: channel.map(|channel| channel.spectrum.clone()),
                fit,
                n_pulses: channel.map_or(0, |channel| channel.mean.n_pulses),
                peak_adc: template.iter().copied().fold(0.0_f32, f32::max).into(),
                fwhm_ns: own.map_or(0.0, |(template, _)| template.fwhm * sampling_ns),
                light_time_ns: own
                    .filter(|_| run == RunKind::Led)
                    .map(|(template, channel)| {
                        (channel.times().0 + template.reference) * sampling_ns
                    }),
                calibration,
            }
        })
        .collect();
    Ok(SpeResult {
        run,
        channels,
        default_row: ChannelCalibration {
            flags: Flags::TEMPLATE_FALLBACK,
            ..default_row
        },
    })
}

/// The mean of several rows; templates count as zero past their end. `None` of none.
fn mean_row(rows: &[&ChannelCalibration]) -> Option<ChannelCalibration> {
    let first = rows.first()?;
    let n = rows.len() as f32;
    let longest = rows.iter().map(|row| row.template_adc.len()).max()?;
    let mean =
        |value: fn(&ChannelCalibration) -> f32| rows.iter().map(|row| value(row)).sum::<f32>() / n;
    let template_adc = (0..longest)
        .map(|place| {
            let at = |row: &&ChannelCalibration| row.template_adc.get(place).copied();
            rows.iter().filter_map(at).sum::<f32>() / n
        })
        .collect();
    Some(ChannelCalibration {
        template_adc,
        noise_adc: mean(|row| row.noise_adc),
        time_offset_ns: 0.0,
        dark_rate_hz: mean(|row| row.dark_rate_hz),
        charge_sigma_pe: mean(|row| row.charge_sigma_pe),
        time_sigma_ns: mean(|row| row.time_sigma_ns),
        sampling_ns: first.sampling_ns,
        flags: Flags::NONE,
    })
}
