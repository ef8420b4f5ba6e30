//! Stage 7b: the time of a hit, that of its first photoelectron, from the leading edge.
//!
//! For a Gaussian kernel of standard deviation s every photoelectron at t0 has d/dt ln(trace) = (t0 - t) / s^2, so that
//! t + s^2 d/dt ln(trace) is t0 everywhere on the flank, for any charge. Low on the flank the earliest photoelectron of a group has the
//! largest weight; the noise limits how low. Hits after a valley are on the flank of the one before and have the time of their peak.

use super::deconvolve::DeconvolutionPlan;
use super::hit_finding::FoundHit;
use crate::math;

/// Least height at which the edge is read, in standard deviations of the noise. A lower value is closer to the first photoelectron of a group
/// and noisier for a single one.
pub(crate) const EDGE_SIGMA: f32 = 6.0;
/// The same as a share of the peak: templates are not known well enough below.
pub(crate) const EDGE_PEAK_SHARE: f32 = 0.04;
/// A hit earlier than this many standard deviations of the kernel may lie in the samples of the baseline.
pub(crate) const EARLY_SIGMA: f32 = 2.0;

/// Returns the time of a hit from the first sample of the window; `noise` is the standard deviation of the trace in PE/ns.
#[must_use]
pub fn measure_time_ns(trace: &[f32], plan: &DeconvolutionPlan, hit: FoundHit, noise: f32) -> f32 {
    let peak_ns = peak_time_ns(trace, plan.step_ns, hit.peak);
    if !hit.leads {
        return peak_ns;
    }
    let peak = trace.get(hit.peak).copied().unwrap_or(0.0);
    let min_height = (EDGE_SIGMA * noise).max(EDGE_PEAK_SHARE * peak);
    let mut edge = hit.peak;
    while edge > hit.begin && trace[edge - 1] < trace[edge] && trace[edge - 1] > min_height {
        edge -= 1;
    }
    if edge == hit.peak {
        return peak_ns;
    }
    // The slope over two samples, where the flank is that long: half the noise.
    let after = (edge + 2).min(hit.peak);
    let slope = math::ln(trace[after] / trace[edge]) / plan.step_ns / (after - edge) as f32;
    let middle_ns = 0.5 * (edge + after) as f32 * plan.step_ns;
    middle_ns + plan.kernel_sigma_ns * plan.kernel_sigma_ns * slope
}

/// Returns the time of the peak: the vertex of the parabola through the logarithms of the highest sample and its neighbours
/// (exact for a Gaussian), or through the values where one of them is not positive.
fn peak_time_ns(trace: &[f32], step_ns: f32, peak: usize) -> f32 {
    let middle = peak as f32 * step_ns;
    let neighbours = peak.checked_sub(1).and_then(|previous| {
        Some([
            *trace.get(previous)?,
            *trace.get(peak)?,
            *trace.get(peak + 1)?,
        ])
    });
    let Some(values) = neighbours else {
        return middle;
    };
    let [a, b, c] = if values.iter().all(|&value| value > 0.0) {
        values.map(math::ln)
    } else {
        values
    };
    let curvature = a - 2.0 * b + c;
    if curvature < 0.0 {
        middle + step_ns * (0.5 * (a - c) / curvature).clamp(-1.0, 1.0)
    } else {
        middle
    }
}
