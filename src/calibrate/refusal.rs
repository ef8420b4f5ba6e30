//! The error of a run in which no channel has a single-photoelectron template: why, with numbers.

use std::collections::BTreeMap;

use super::channel::ChannelSums;
use super::defects::DefectCounts;
use super::diagnosis::Signs;
use super::first_pass::FirstPass;
use super::parameters::{RunKind, SpeParameters};
use super::spectrum::min_entries;
use crate::error::{Error, Hint};
use crate::text::{counted, thousands};

/// Mean number of photoelectrons per trigger from which light is too strong for single ones to be selected.
const MAX_MEAN_PE: f64 = 4.0;

/// Returns the error: what the waveforms look like, which were left out, and how far the best channel came.
pub(super) fn refuse(
    run: RunKind,
    first_passes: &BTreeMap<u32, FirstPass>,
    channels: &BTreeMap<u32, ChannelSums>,
    parameters: &SpeParameters,
) -> Error {
    let n_waveforms: u64 = first_passes.values().map(|first| first.n_waveforms).sum();
    let (mut signs, mut left_out) = (Signs::default(), DefectCounts::default());
    for first_pass in first_passes.values() {
        signs.merge(&first_pass.signs);
        left_out.merge(&first_pass.defects);
    }
    let mut reasons: Vec<String> = left_out
        .found()
        .map(|(defect, count)| {
            format!(
                "{} of {} left out: {}",
                thousands(count),
                counted(n_waveforms, "waveform"),
                defect.words()
            )
        })
        .collect();
    reasons.extend(signs.reasons());
    reasons.push(best_channel(run, channels, parameters));
    let error = Error::usage(format!(
        "no channel has a single-photoelectron template: {}, {}; {}",
        counted(first_passes.len() as u64, "channel"),
        counted(n_waveforms, "waveform"),
        reasons.join("; ")
    ));
    if signs.is_upside_down() {
        error.with_hint(Hint::StatePolarity)
    } else if signs.is_moving() {
        error.with_hint(
            "a calibration needs windows whose baseline stays at one level: take a run without the pick-up, or cut the windows so that they begin after earlier light has faded",
        )
    } else if left_out.total() * 2 > n_waveforms {
        error.with_hint(
            "`nuwave inspect` shows these waveforms; calibrate with a run in which the channels were read out",
        )
    } else {
        error.with_hint(Hint::SinglePulses)
    }
}

/// Returns how far the channel with most charges came.
fn best_channel(
    run: RunKind,
    channels: &BTreeMap<u32, ChannelSums>,
    parameters: &SpeParameters,
) -> String {
    let best = channels.iter().max_by_key(|(_, channel)| {
        (
            channel.fit.is_some(),
            channel.mean.n_pulses,
            channel.spectrum.entries(),
        )
    });
    let Some((id, channel)) = best else {
        return "no pulses in any channel".to_owned();
    };
    let needed = min_entries(run);
    let entries = channel.spectrum.entries();
    match channel.fit {
        None if entries < needed => format!(
            "the charge spectrum of channel {id}, that with most, has {} where {} are needed",
            counted(entries, "charge"),
            thousands(needed)
        ),
        None => format!(
            "the charge spectrum of channel {id} ({}) shows no peak of single photoelectrons next to the pedestal",
            counted(entries, "charge")
        ),
        Some(fit) if fit.mean_pe > MAX_MEAN_PE => format!(
            "channel {id} has {:.1} photoelectrons per trigger on average, too many to select single ones",
            fit.mean_pe
        ),
        Some(_) => format!(
            "at most {} in a channel where {} are needed",
            counted(channel.mean.n_pulses, "single pulse"),
            thousands(parameters.min_pulses)
        ),
    }
}
