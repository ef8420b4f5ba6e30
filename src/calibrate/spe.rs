//! Single-photoelectron calibration in three passes over a low-light or dark run.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::channel::ChannelSums;
use super::defects::find_defect;
use super::finalize::finalize;
use super::first_pass::FirstPass;
use super::quiet::QuietPlan;
use crate::error::Result;
use crate::model::Waveform;
use crate::model::rails::{rails, rails_of_waveform};

pub use super::parameters::{RunKind, SpeParameters};
pub use super::result::{ChannelSpe, CutTail, SpeResult};

/// Minimum number of lit waveforms for a channel's own light window; channels with fewer use that of all channels.
const MIN_LIT: u64 = 30;

/// Reads all waveforms of the run once, in order, and calls its argument with each.
pub type ReadAll<'a> = dyn FnMut(&mut dyn FnMut(Waveform<'_>)) -> Result<()> + 'a;

/// Calibrates the single-photoelectron response of every channel with a low-light or dark run. `type_of` returns the PMT type
/// of a channel if it is known: a channel with too few pulses uses the mean template of its type, else that of all channels.
///
/// # Examples
/// Calibrates a channel with simulated waveforms of weak light:
/// ```
/// use nuwave::calibrate::spe::{RunKind, SpeParameters, spe};
/// use nuwave::model::Waveform;
/// use nuwave::simulate::{self, LightLevel, Profile, WaveformPlan};
///
/// # fn main() -> nuwave::Result<()> {
/// let detector = nuwave::detector::load("juno")?;
/// let parameters = SpeParameters {
///     polarity: detector.readout.polarity,
///     sampling_ns: detector.readout.sampling_ns,
///     adc_bits: Some(detector.readout.adc_bits),
///     run: Some(RunKind::Led),
///     window: None,
///     min_pulses: 50,
///     light_ns: None,
/// };
/// let plan = WaveformPlan {
///     profile: Profile::named("prompt", &detector)?,
///     detector,
///     seed: 1,
///     events: 1500,
///     channels: vec![0],
///     light: LightLevel::MeanPe(0.3),
/// };
/// let blocks: Vec<_> = simulate::waveforms(&plan)?.collect();
/// let mut read_all = |visit: &mut dyn FnMut(Waveform<'_>)| {
///     for block in &blocks {
///         block.batch.iter().for_each(&mut *visit);
///     }
///     Ok(())
/// };
/// let result = spe(&mut read_all, &parameters, &|_| None)?;
/// let fit = result.channels[0].fit.expect("a charge spectrum");
/// assert!((fit.mean_pe - 0.3).abs() < 0.1);
/// let calibration = result.to_calibration()?;
/// assert_eq!(calibration.channels().len(), 1);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the input cannot be read, or no channel has enough single photoelectrons.
pub fn spe(
    read_all: &mut ReadAll<'_>,
    parameters: &SpeParameters,
    type_of: &dyn Fn(u32) -> Option<String>,
) -> Result<SpeResult> {
    let sign = parameters.polarity.sign();
    let unsigned = parameters.adc_bits.map(rails);
    let mut scratch = Vec::new();
    // A waveform with light positive, or why it is left out: the same in all passes.
    let mut turn_upright = |waveform: &Waveform<'_>, n_samples: Option<usize>| {
        let mut upright = waveform.samples.to_f32();
        let limits = unsigned.map(|unsigned| {
            let lowest = upright.iter().copied().fold(f32::INFINITY, f32::min);
            let (low, high) = rails_of_waveform(unsigned, lowest);
            ((sign * low).min(sign * high), (sign * low).max(sign * high))
        });
        for sample in &mut upright {
            *sample *= sign;
        }
        match find_defect(&upright, n_samples, limits, &mut scratch) {
            None => Ok(upright),
            Some(defect) => Err(defect),
        }
    };
    let mut pedestal_scratch = Vec::new();
    let mut first_passes: BTreeMap<u32, FirstPass> = BTreeMap::new();
    read_all(&mut |waveform| {
        let first_pass = first_passes.entry(waveform.channel_id).or_default();
        let n_samples = Some(first_pass.n_samples).filter(|&n| n > 0);
        match turn_upright(&waveform, n_samples) {
            Ok(samples) => first_pass.add(&samples, &mut pedestal_scratch),
            Err(defect) => first_pass.leave_out(defect),
        }
    })?;

    first_passes
        .values_mut()
        .for_each(FirstPass::leave_out_dead);
    let (run, mut channels) = plan(&first_passes, parameters);
    read_all(&mut |waveform| {
        if let Some(channel) = channels.get_mut(&waveform.channel_id)
            && let Ok(samples) = turn_upright(&waveform, Some(channel.n_samples()))
        {
            channel.add_charge(&samples);
        }
    })?;
    for channel in channels.values_mut() {
        channel.fit_spectrum();
    }
    read_all(&mut |waveform| {
        if let Some(channel) = channels.get_mut(&waveform.channel_id)
            && let Ok(samples) = turn_upright(&waveform, Some(channel.n_samples()))
        {
            channel.add_pulse(&samples);
        }
    })?;
    finalize(run, &first_passes, &channels, parameters, type_of)
}

/// Determines the kind of run and each channel's light window.
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
    // Channels with enough light vote; without any, all channels together.
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
    let mut quiet_plans: HashMap<usize, Arc<QuietPlan>> = HashMap::new();
    let channels = first_passes
        .iter()
        .filter_map(|(&channel_id, first_pass)| {
            let many = first_pass.n_lit >= MIN_LIT;
            let source = if many {
                first_pass
            } else {
                all.get(&first_pass.n_samples)?
            };
            let n_samples = first_pass.n_samples;
            let quiet = quiet_plans
                .entry(n_samples)
                .or_insert_with(|| Arc::new(QuietPlan::new(n_samples, parameters.sampling_ns)));
            let channel = ChannelSums::new(first_pass, source, run, parameters, quiet)?;
            Some((channel_id, channel))
        })
        .collect();
    (run, channels)
}
