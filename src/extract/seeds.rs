//! What the deconvolved trace gives the method `sparse` to begin with.

use super::find::Found;
use super::sparse::{LEAST_PE, Light};
use crate::model::Flags;

/// Least charge that becomes a seed of its own, in PE.
pub(crate) const SEED_PE: f32 = 0.4;

/// Appends the seeds that a hit of the deconvolved trace gives: its time, or, where it is wide, its charge in steps of two
/// standard deviations of the kernel. `at` and `trace` are in samples of the trace; seeds in those of the waveform.
pub fn add(
    trace: &[f32],
    (hit, charge_pe, flags): (Found, f32, Flags),
    at: f32,
    (kernel_sigma, step_ns, decimation): (f32, f32, f32),
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
    let width = ((2.0 * kernel_sigma) as usize).max(1);
    let samples = trace.get(hit.begin..hit.end).unwrap_or_default();
    let (mut charge, mut moment) = (0.0, 0.0);
    let first = light.len();
    for (bin, values) in samples.chunks(width).enumerate() {
        for (index, value) in values.iter().enumerate() {
            let value = value.max(0.0) * step_ns;
            charge += value;
            moment += value * (hit.begin + bin * width + index) as f32;
        }
        if charge > SEED_PE {
            light.push(seed(moment / charge, charge));
            (charge, moment) = (0.0, 0.0);
        }
    }
    if light.len() == first {
        light.push(seed(at, charge_pe.max(LEAST_PE)));
    }
}
