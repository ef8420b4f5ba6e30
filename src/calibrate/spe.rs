//! Three passes over a low-light or dark run, and what they yield for each channel.

use std::collections::{BTreeMap, HashMap};

use super::channel::ChannelSums;
use super::finalize::finalize;
use super::first_pass::FirstPass;
use super::spectrum::{Spectrum, SpectrumFit};
use crate::error::Result;
use crate::model::{Calibration, ChannelCalibration, Polarity, Waveform};

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

/// Fewest lit waveforms for a light window of a channel's own; fewer take that of all channels.
const MIN_LIT: u64 = 30;
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
    let mut with_upright = move |waveform: Waveform<'_>, visit: &mut dyn FnMut(&[f32])| {
        upright.clear();
        upright.extend(waveform.samples.to_f32().iter().map(|sample| sign * sample));
        visit(&upright);
    };
    let mut scratch = Vec::new();
    let mut first_passes: BTreeMap<u32, FirstPass> = BTreeMap::new();
    read_all(&mut |waveform| {
        let first_pass = first_passes.entry(waveform.channel_id).or_default();
        with_upright(waveform, &mut |samples| {
            first_pass.add(samples, &mut scratch)
        });
    })?;

    let (run, mut channels) = plan(&first_passes, parameters);
    read_all(&mut |waveform| {
        if let Some(channel) = channels.get_mut(&waveform.channel_id) {
            with_upright(waveform, &mut |samples| channel.add_charge(samples));
        }
    })?;
    for channel in channels.values_mut() {
        channel.fit_spectrum();
    }
    read_all(&mut |waveform| {
        if let Some(channel) = channels.get_mut(&waveform.channel_id) {
            with_upright(waveform, &mut |samples| channel.add_pulse(samples));
        }
    })?;
    finalize(run, &first_passes, &channels, parameters, type_of)
}

/// Decides what kind of run it is and where each channel's light is.
fn plan(
    first_passes: &BTreeMap<u32, FirstPass>,
    parameters: &SpeParameters,
) -> (RunKind, BTreeMap<u32, ChannelSums>) {
    let mut all: HashMap<usize, FirstPass> = HashMap::new();
    for first_pass in first_passes.values() {
        all.entry(first_pass.n_samples)
            .or_default()
            .merge(first_pass);
    }
    // Channels with much light vote; where there is none of these, all channels together.
    let mut votes = (0_u64, 0_u64);
    let well_lit: Vec<&FirstPass> = first_passes
        .values()
        .filter(|s| s.n_lit >= MIN_LIT)
        .collect();
    let together: Vec<&FirstPass> = all.values().collect();
    for first_pass in if well_lit.is_empty() {
        together
    } else {
        well_lit
    } {
        if first_pass.has_light_time() {
            votes.0 += first_pass.n_lit;
        } else {
            votes.1 += first_pass.n_lit;
        }
    }
    let run = parameters.run.unwrap_or(if votes.0 > votes.1 {
        RunKind::Led
    } else {
        RunKind::Dark
    });
    let channels = first_passes
        .iter()
        .filter_map(|(&channel_id, first_pass)| {
            let many = first_pass.n_lit >= MIN_LIT;
            let source = if many {
                first_pass
            } else {
                all.get(&first_pass.n_samples)?
            };
            let channel = ChannelSums::new(first_pass, source, run, parameters)?;
            Some((channel_id, channel))
        })
        .collect();
    (run, channels)
}
