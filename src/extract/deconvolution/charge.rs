//! Stage 7a: the charge of a hit: the integral of its part of the trace, corrected for the parts that window and filter cut.

use super::deconvolve::DeconvolutionPlan;
use super::hit_finding::FoundHit;
use crate::math;
use crate::model::Flags;

/// Share of the charge inside the window below which a hit is flagged.
pub(crate) const EDGE_CHARGE_SHARE: f32 = 0.98;
/// Share of the charge inside the window below which it is not corrected: the position of such a hit is not known well enough, and the
/// correction would triple noise and tails in the last samples.
pub(crate) const MIN_SEEN_SHARE: f32 = 0.5;
/// Ratio of the charge to that of a kernel of the same height above which a hit is several photoelectrons.
pub(crate) const PILE_UP_RATIO: f32 = 1.25;

/// Returns the number of samples at the beginning of the trace in which light before the window may be seen.
#[must_use]
pub fn edge_reach(plan: &DeconvolutionPlan) -> usize {
    (2.0 * plan.kernel_sigma_ns / plan.step_ns) as usize
}

/// Returns the charge of a hit, its standard deviation and flags.
///
/// `q = sum(trace) step / share`, where `share` is the part of a photoelectron at that distance from the end inside the window, minus the
/// part of its kernel outside the hit, unless that belongs to another hit. The error is that of white noise of `noise_adc` in the same sum,
/// and of a baseline error of `baseline_sigma_adc`.
#[must_use]
pub fn measure_charge(
    trace: &[f32],
    plan: &DeconvolutionPlan,
    hit: FoundHit,
    noise_adc: f32,
    baseline_sigma_adc: f32,
) -> (f32, f32, Flags) {
    let samples = trace.get(hit.begin..hit.end).unwrap_or_default();
    let sum = samples.iter().sum::<f32>() * plan.step_ns;
    let mut flags = Flags::NONE;
    let share = plan
        .share_before_end
        .get(trace.len() - hit.peak.min(trace.len()))
        .copied()
        .unwrap_or(1.0);
    if share < EDGE_CHARGE_SHARE || hit.peak < edge_reach(plan) {
        flags |= Flags::TRUNCATED_AT_EDGE;
    }
    let corrected = (MIN_SEEN_SHARE..EDGE_CHARGE_SHARE).contains(&share);
    let share = if corrected { share } else { 1.0 };
    let peak_ns = hit.peak as f32 * plan.step_ns;
    let edge_ns = |sample: usize| (sample as f32 - 0.5) * plan.step_ns - peak_ns;
    let before = if hit.alone.0 {
        plan.kernel_integral(edge_ns(hit.begin))
    } else {
        0.0
    };
    let after = if hit.alone.1 && hit.end < trace.len() {
        1.0 - plan.kernel_integral(edge_ns(hit.end))
    } else {
        0.0
    };
    let share = share * (1.0 - before - after).max(MIN_SEEN_SHARE);
    let height = trace.get(hit.peak).copied().unwrap_or(0.0);
    let one_kernel = height * plan.kernel_sigma_ns * (2.0 * std::f32::consts::PI).sqrt();
    let longest = plan.charge_noise.len() - 1;
    let width = samples.len();
    // Samples farther apart than the table reaches have independent noise.
    let noise = plan.charge_noise[width.min(longest)]
        * (width as f32 / longest as f32).max(1.0).sqrt()
        * noise_adc;
    if sum > PILE_UP_RATIO * one_kernel + 3.0 * noise {
        flags |= Flags::PILE_UP;
    }
    let response = plan.baseline_response.get(hit.peak).copied().unwrap_or(0.0);
    let baseline_error = baseline_sigma_adc * response * width as f32 * plan.step_ns;
    (
        sum / share,
        math::hypot(noise, baseline_error) / share,
        flags,
    )
}
