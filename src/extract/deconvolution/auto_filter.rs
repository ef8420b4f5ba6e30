//! The filter `auto`: how wide a low-pass suits a template and its noise.

use crate::math;

/// Share of the maximum of the spectrum below which the division is regularized.
pub(super) const REGULARIZATION: f64 = 1e-4;
/// Height of a single photoelectron over the standard deviation of the deconvolved noise for the filter `auto`. A lower value separates
/// closer photoelectrons, a higher one times first hits better.
pub const AUTO_SIGNIFICANCE: f64 = 14.0;
/// Largest width of `auto`, as a share of the frequency where the spectrum of the template has fallen to [`BAND_END`]: a wider filter makes
/// errors of the template ring.
const AUTO_BANDWIDTH_SHARE: f64 = 0.7;
/// Share of the maximum of the spectrum of the template at which its band ends.
const BAND_END: f64 = 0.05;
/// Share of the maximum that a spectrum reaches again beyond a notch.
const BEYOND_NOTCH: f64 = 0.15;
/// Least share of the maximum at which a notch is filtered.
const MIN_NOTCH: f64 = 1e-3;

/// Returns the part of a spectrum of this magnitude that passes: 1 without notches, little in one.
pub(super) fn pass_of_notches(magnitude: f64, notch_power: f64) -> f64 {
    if notch_power > 0.0 {
        magnitude * magnitude / (magnitude * magnitude + notch_power)
    } else {
        1.0
    }
}

/// Returns the bin in which the band of the template ends, and the power of its notches: 0 if the spectrum only falls from its maximum. A
/// pulse that comes with echoes or oscillates has notches, beyond which there is signal.
pub(super) fn find_band(magnitude: &[f64], peak: f64, noise_power: f64) -> (usize, f64) {
    let last = magnitude.len() - 1;
    // A dip at 0 (undershoot) does not end the band.
    let top = magnitude.iter().position(|&s| s == peak).unwrap_or(0);
    let fallen = (top..=last).find(|&bin| magnitude[bin] < BAND_END * peak);
    let Some(fallen) = fallen else {
        return (last, 0.0);
    };
    let beyond = magnitude[fallen..].iter().copied().fold(0.0, f64::max);
    if beyond < BEYOND_NOTCH * peak {
        return (fallen, 0.0);
    }
    let end = magnitude.iter().rposition(|&s| s >= BAND_END * peak);
    // Less leaves more noise, more leaves light where there is none, a period of the notches away.
    let notch_power = noise_power.clamp((MIN_NOTCH * peak).powi(2), (BAND_END * peak).powi(2));
    (end.unwrap_or(last), notch_power)
}

/// Returns the largest width of the Gaussian for a band that ends at `end` (cycles per sample).
pub(super) fn widest_sigma(end: f64) -> f64 {
    (AUTO_BANDWIDTH_SHARE * end).clamp(0.01, 0.25)
}

/// Returns the widest Gaussian (sigma in cycles per sample), up to `widest`, for which a photoelectron has the required significance in the
/// deconvolved trace.
pub(super) fn auto_sigma(magnitude: &[f64], widest: f64, notch_power: f64, noise_adc: f64) -> f64 {
    let length = 2 * (magnitude.len() - 1);
    let peak = magnitude.iter().copied().fold(0.0, f64::max);
    let smallest = REGULARIZATION * peak;
    let significance = |sigma: f64| {
        let (mut height, mut noise_power) = (0.0, 0.0);
        for (bin, &s) in magnitude.iter().enumerate() {
            let over = bin as f64 / length as f64 / sigma;
            let filter = math::exp(-0.5 * over * over) * pass_of_notches(s, notch_power);
            let gain = filter * s / (s * s + smallest * smallest);
            let weight = if bin == 0 { 1.0 } else { 2.0 };
            height += filter * weight;
            noise_power += gain * gain * weight;
        }
        let height = if notch_power > 0.0 {
            height / length as f64
        } else {
            sigma * (2.0 * std::f64::consts::PI).sqrt()
        };
        height / (noise_adc * (noise_power / length as f64).sqrt())
    };
    let (mut low, mut high) = (0.2 * widest, widest);
    if significance(high) >= AUTO_SIGNIFICANCE {
        return high;
    }
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if significance(middle) >= AUTO_SIGNIFICANCE {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}
