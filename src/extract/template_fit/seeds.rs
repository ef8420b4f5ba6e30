//! What the deconvolved trace gives the method `sparse` to begin with.

use super::fit::{LEAST_PE, Light};
use crate::extract::deconvolution::hit_finding::Found;
use crate::model::Flags;

/// Least distance of two seeds from one hit, in standard deviations of the deconvolution's kernel.
pub(crate) const SEED_GAP: f32 = 0.4;
/// Part of a photoelectron's charge that is a seed of its own at a hit's end.
pub(crate) const SEED_REST: f32 = 0.3;

/// Appends the seeds that a hit of the deconvolved trace gives: its time, or, where it is wide, as many as its charge has photoelectrons, each where
/// the trace has collected another one's share. `at` and `trace` are in samples of the trace; seeds in those of the waveform.
pub fn add(
    trace: &[f32],
    (hit, charge_pe, flags): (Found, f32, Flags),
    at: f32,
    (kernel_sigma, decimation): (f32, f32),
    light: &mut Vec<Light>,
) {
    let seed = |at: f32, charge_pe: f32| Light {
        at: at * decimation,
        charge_pe,
        ..Light::default()
    };
    if !flags.contains(Flags::PILE_UP) {
        light.push(seed(at, charge_pe.max(LEAST_PE)));
        return;
    }
    let samples = trace.get(hit.begin..hit.end).unwrap_or_default();
    let all: f32 = samples.iter().map(|value| value.max(0.0)).sum();
    let share = all / charge_pe.round().max(2.0);
    let first = light.len();
    let (mut charge, mut moment) = (0.0, 0.0);
    let mut last = f32::NEG_INFINITY;
    for (index, value) in samples.iter().enumerate() {
        let (mut value, at) = (value.max(0.0), (hit.begin + index) as f32);
        if charge + value >= share && at - last >= SEED_GAP * kernel_sigma && value > 0.0 {
            let part = (share - charge).max(0.0).min(value);
            (charge, moment) = (charge + part, moment + part * at);
            light.push(seed(moment / charge, charge_pe * charge / all));
            value -= part;
            (charge, moment, last) = (0.0, 0.0, at);
        }
        (charge, moment) = (charge + value, moment + value * at);
    }
    if charge > SEED_REST * share {
        light.push(seed(moment / charge, charge_pe * charge / all));
    }
    if light.len() == first {
        light.push(seed(at, charge_pe.max(LEAST_PE)));
    }
}
