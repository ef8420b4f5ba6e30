//! Seeds of the fit from the hits of the deconvolved trace.

use super::config::{MIN_CHARGE_PE, MIN_SEED_DISTANCE, MIN_SEED_SHARE};
use super::state::FittedPulse;
use crate::extract::deconvolution::hit_finding::FoundHit;
use crate::model::Flags;

/// Appends the seeds of a hit of the deconvolved trace: its time, or, for a wide hit, one seed per photoelectron of its charge, each where the
/// trace has collected the share of another photoelectron.
///
/// `time` and `trace` are in samples of the trace, seeds in samples of the waveform, `decimation` times finer.
pub(crate) fn add_seeds(
    trace: &[f32],
    (hit, charge_pe, flags): (FoundHit, f32, Flags),
    time: f32,
    (kernel_sigma, decimation): (f32, f32),
    seeds: &mut Vec<FittedPulse>,
) {
    let seed = |time: f32, charge_pe: f32| FittedPulse {
        time: time * decimation,
        charge_pe,
        ..FittedPulse::default()
    };
    if !flags.contains(Flags::PILE_UP) {
        seeds.push(seed(time, charge_pe.max(MIN_CHARGE_PE)));
        return;
    }
    let samples = trace.get(hit.begin..hit.end).unwrap_or_default();
    let total: f32 = samples.iter().map(|value| value.max(0.0)).sum();
    let share = total / charge_pe.round().max(2.0);
    let gap = MIN_SEED_DISTANCE * kernel_sigma;
    let first = seeds.len();
    let (mut charge, mut moment) = (0.0, 0.0);
    let mut last = f32::NEG_INFINITY;
    for (index, value) in samples.iter().enumerate() {
        let mut value = value.max(0.0);
        let sample = (hit.begin + index) as f32;
        if charge + value >= share && sample - last >= gap && value > 0.0 {
            let part = (share - charge).max(0.0).min(value);
            charge += part;
            moment += part * sample;
            seeds.push(seed(moment / charge, charge_pe * charge / total));
            value -= part;
            (charge, moment, last) = (0.0, 0.0, sample);
        }
        charge += value;
        moment += value * sample;
    }
    if charge > MIN_SEED_SHARE * share {
        seeds.push(seed(moment / charge, charge_pe * charge / total));
    }
    if seeds.len() == first {
        seeds.push(seed(time, charge_pe.max(MIN_CHARGE_PE)));
    }
}
