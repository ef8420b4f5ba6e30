//! Stage 5: the residual baseline of the deconvolved trace, and its noise, from which the threshold of hits follows.
//!
//! The deconvolved trace has no undershoot, so that without light it is the response R to the error b of the baseline:
//! trace = b R + light + noise, light >= 0. Blocks without light give b as sum(trace) / sum(R): first a low quantile over all blocks, then the
//! mean of the blocks below threshold.

use std::ops::Range;

use multiversion::multiversion;

use super::deconvolve::{BLOCK, DeconvolutionPlan};
use super::trace_blocks::{smooth_trace, sum_blocks_only, sum_trace_blocks};
use crate::extract::load_samples::tree_sum;
use crate::extract::select_nth::select_nth;

/// Number of blocks from which the quantile uses pairs of blocks.
pub(crate) const MIN_PAIRED_BLOCKS: usize = 32;
/// Number of blocks from which a minority of blocks without light is enough.
pub(crate) const MIN_LONG_BLOCKS: usize = 8;
/// Quantile of the values of blocks that is the first estimate: light in up to 70 % of the blocks does not matter.
pub(crate) const LEVEL_QUANTILE: f32 = 0.3;
/// That quantile of a Gaussian, in standard deviations below the mean.
pub(crate) const LEVEL_QUANTILE_SIGMA: f32 = 0.5244;
/// A block is lit if its smoothed trace exceeds this many standard deviations.
pub(crate) const LIT_SIGMA: f32 = 3.0;
/// Largest ratio of the noise measured in the trace to the calibrated noise.
pub(crate) const MAX_NOISE_RATIO: f32 = 4.0;
/// Least number of samples below 0 from which the noise is measured.
pub(crate) const MIN_NOISE_SAMPLES: f32 = 24.0;
/// Least number of unlit blocks for a baseline that is not flagged.
pub(crate) const MIN_UNLIT_BLOCKS: f32 = 3.0;
/// Difference of the two halves of the unlit blocks from which the baseline drifts, in standard deviations.
pub(crate) const DRIFT_SIGMA: f32 = 6.0;

/// Residual baseline and noise of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ResidualBaseline {
    /// Correction to the level used so far, in ADC counts with pulses upright.
    pub level_adc: f32,
    /// Standard deviation of the baseline.
    pub sigma_adc: f32,
    /// Ratio of the noise of the trace to that of white noise with the calibrated size; at least 1.
    pub noise_ratio: f32,
    /// True if few blocks are without light, or their level drifts.
    pub unstable: bool,
}

/// Buffers for the residual baseline; the smoothed trace and its maxima are used by later stages.
#[derive(Clone, Debug, Default)]
pub struct ResidualBaselineWorkspace {
    /// The trace smoothed over [`DeconvolutionPlan::smoothing`] samples, where hits are looked for.
    pub smooth: Vec<f32>,
    /// Largest smoothed value of each block of [`BLOCK`] samples; the last block may be short.
    pub block_max: Vec<f32>,
    /// Sum of the trace per whole block.
    pub block_sum: Vec<f32>,
    squares_below: Vec<f32>,
    count_below: Vec<f32>,
    values: Vec<f32>,
    dark: Vec<f32>,
}

/// Returns the standard deviation of the smoothed trace for white noise of `noise_adc`.
#[must_use]
pub fn smooth_noise(plan: &DeconvolutionPlan, noise_adc: f32) -> f32 {
    let width = plan.smoothing();
    plan.charge_noise.get(width).copied().unwrap_or(0.0) * noise_adc / (width as f32 * plan.step_ns)
}

/// Returns how far the kernel of light just outside the window reaches into it, in samples of the trace.
#[must_use]
pub fn margin(plan: &DeconvolutionPlan) -> usize {
    (3.0 * plan.kernel_sigma_ns / plan.step_ns).ceil() as usize
}

/// Returns the blocks of a trace of `length` samples that the kernel of light just outside the window does not reach.
fn inner_blocks(plan: &DeconvolutionPlan, length: usize) -> Range<usize> {
    inner_blocks_of(plan, length, BLOCK)
}

/// Returns the same for blocks of `size` samples.
pub(super) fn inner_blocks_of(
    plan: &DeconvolutionPlan,
    length: usize,
    size: usize,
) -> Range<usize> {
    let margin = margin(plan);
    let first = margin.div_ceil(size);
    let last = length.saturating_sub(margin) / size;
    first
        ..last
            .min(plan.block_response.len() * BLOCK / size)
            .max(first)
}

/// True if [`estimate_residual_baseline`] needs no first estimate of the level for a trace of `length` samples. A shorter one may hold nothing
/// but the light of a single pulse: it starts from the level of the raw samples.
#[must_use]
pub fn is_long(plan: &DeconvolutionPlan, length: usize) -> bool {
    inner_blocks(plan, length).len() >= MIN_LONG_BLOCKS
}

/// Subtracts the residual baseline from `trace`, and smooths it into `work.smooth`.
///
/// `noise_adc` is the noise of one raw sample. The trace must not be longer than the plan's longest window.
pub fn estimate_residual_baseline(
    trace: &mut [f32],
    plan: &DeconvolutionPlan,
    noise_adc: f32,
    work: &mut ResidualBaselineWorkspace,
) -> ResidualBaseline {
    let response = &plan.baseline_response[..trace.len()];
    let width = plan.smoothing();
    let sigma = smooth_noise(plan, noise_adc);
    let Range {
        start: first,
        end: last,
    } = inner_blocks(plan, trace.len());
    let responses = plan.block_response.as_slice();
    // Light just outside the window may reach all of it.
    if last <= first {
        smooth_and_sum(trace, width, work);
        return ResidualBaseline {
            sigma_adc: noise_adc,
            noise_ratio: 1.0,
            unstable: true,
            ..ResidualBaseline::default()
        };
    }
    // Noise of the sum of a number of samples of the trace.
    let sum_noise = |samples: usize| {
        plan.charge_noise.get(samples).copied().unwrap_or(0.0) / plan.step_ns * noise_adc
    };
    let block_sigma = sum_noise(BLOCK);
    let middle_response = responses[usize::midpoint(first, last - 1)];
    let start = if is_long(plan, trace.len()) {
        low_level(trace, &responses[..last], first, sum_noise, work)
    } else {
        0.0
    };
    subtract(trace, response, start);
    smooth_and_sum(trace, width, work);
    let mean_response = middle_response / BLOCK as f32;
    let (mut level, mut halves, mut noise) = (0.0, [UnlitSums::default(); 2], sigma);
    for _ in 0..3 {
        halves = UnlitSums::sum(
            work,
            responses,
            first..last,
            level * mean_response + LIT_SIGMA * noise,
        );
        let unlit = UnlitSums::join(halves);
        if unlit.blocks == 0.0 {
            break;
        }
        let before = (level, noise);
        level = unlit.sum / unlit.response;
        let measured = if unlit.below >= MIN_NOISE_SAMPLES {
            (unlit.squares_below / unlit.below).sqrt()
        } else {
            0.0
        };
        // Without a calibrated noise the measured one is not limited.
        let max_noise = if sigma > 0.0 {
            MAX_NOISE_RATIO * sigma
        } else {
            f32::INFINITY
        };
        // `clamp` panics if `sigma` is NaN, which it can be with a template of tiny samples.
        noise = if measured < sigma {
            sigma
        } else if measured > max_noise {
            max_noise
        } else {
            measured
        };
        if (level - before.0).abs() * mean_response < 0.1 * noise && noise < 1.2 * before.1 {
            break;
        }
    }
    let n_unlit = UnlitSums::join(halves).blocks;
    let mut unstable = n_unlit < MIN_UNLIT_BLOCKS;
    if n_unlit > 0.0 {
        subtract(trace, response, level);
        subtract(&mut work.smooth, response, level);
        for (max, response) in work.block_max.iter_mut().zip(response.chunks(BLOCK)) {
            if let Some(middle) = response.get(BLOCK / 2).or(response.last()) {
                *max -= level * middle;
            }
        }
        subtract(&mut work.block_sum, responses, level);
    }
    let sigma_adc = noise / sigma.max(f32::MIN_POSITIVE) * block_sigma
        / (middle_response * n_unlit.max(1.0).sqrt());
    let sigma_adc = if sigma > 0.0 { sigma_adc } else { noise_adc };
    if halves.iter().all(|half| half.blocks >= MIN_UNLIT_BLOCKS) {
        let [early, late] = halves.map(|half| half.sum / half.response);
        let error = sigma_adc * (n_unlit / halves[0].blocks + n_unlit / halves[1].blocks).sqrt();
        unstable |= (early - late).abs() > DRIFT_SIGMA * error;
    }
    ResidualBaseline {
        level_adc: start + level,
        sigma_adc,
        noise_ratio: if sigma > 0.0 {
            (noise / sigma).max(1.0)
        } else {
            1.0
        },
        unstable,
    }
}

/// Returns the level from a low quantile of the blocks from `first` on.
fn low_level(
    trace: &[f32],
    responses: &[f32],
    first: usize,
    sum_noise: impl Fn(usize) -> f32,
    work: &mut ResidualBaselineWorkspace,
) -> f32 {
    let last = responses.len();
    work.block_sum.resize(trace.len().div_ceil(BLOCK), 0.0);
    sum_blocks_only(trace, &mut work.block_sum);
    // In long waveforms a value is that of two blocks, which halves the values to rank.
    let per_value = if last - first < MIN_PAIRED_BLOCKS {
        1
    } else {
        2
    };
    work.values.clear();
    let (sums, responses_of) = (&work.block_sum[first..last], &responses[first..last]);
    if per_value == 1 {
        let all = sums.iter().zip(responses_of);
        work.values
            .extend(all.map(|(sum, response)| sum / response));
    } else {
        let all = sums.as_chunks().0.iter().zip(responses_of.as_chunks().0);
        work.values
            .extend(all.map(|([a, b], [c, d])| (a + b) / (c + d)));
    }
    let rank = ((work.values.len() - 1) as f32 * LEVEL_QUANTILE) as usize;
    let middle_response = responses[usize::midpoint(first, last - 1)];
    let sigma = sum_noise(per_value * BLOCK) / per_value as f32 / middle_response;
    select_nth(&mut work.values, rank) + LEVEL_QUANTILE_SIGMA * sigma
}

/// Sums over blocks without light.
#[derive(Clone, Copy, Debug, Default)]
struct UnlitSums {
    blocks: f32,
    sum: f32,
    response: f32,
    below: f32,
    squares_below: f32,
}

impl UnlitSums {
    /// Sums the blocks of the first and of the second half of `range` whose smoothed trace, and that of their
    /// neighbours, stays below `threshold`.
    fn sum(
        work: &mut ResidualBaselineWorkspace,
        responses: &[f32],
        range: Range<usize>,
        threshold: f32,
    ) -> [Self; 2] {
        // One more entry at either end, so that every block has neighbours; weights instead of branches.
        work.dark.clear();
        work.dark.resize(work.block_max.len() + 2, 1.0);
        mark_dark_blocks(&work.block_max, threshold, &mut work.dark[1..]);
        let middle = usize::midpoint(range.start, range.end);
        [range.start..middle, middle..range.end].map(|half| {
            sum_unlit(
                &work.dark[half.start..half.end + 2],
                &work.block_sum[half.clone()],
                &responses[half.clone()],
                &work.squares_below[half.clone()],
                &work.count_below[half],
            )
        })
    }

    fn join([a, b]: [Self; 2]) -> Self {
        Self {
            blocks: a.blocks + b.blocks,
            sum: a.sum + b.sum,
            response: a.response + b.response,
            below: a.below + b.below,
            squares_below: a.squares_below + b.squares_below,
        }
    }
}

/// Writes 1 for a block below `threshold`, 0 for one above.
#[multiversion(targets = "simd")]
fn mark_dark_blocks(block_max: &[f32], threshold: f32, dark: &mut [f32]) {
    for (dark, &max) in dark.iter_mut().zip(block_max) {
        *dark = if max > threshold { 0.0 } else { 1.0 };
    }
}

/// Returns the sums over the blocks that are dark and have dark neighbours. `dark` has one entry more at either end than the other slices.
#[multiversion(targets = "simd")]
fn sum_unlit(
    dark: &[f32],
    sums: &[f32],
    responses: &[f32],
    squares: &[f32],
    counts: &[f32],
) -> UnlitSums {
    let count = sums.len();
    let (before, here, after) = (&dark[..count], &dark[1..][..count], &dark[2..][..count]);
    let (responses, squares, counts) = (&responses[..count], &squares[..count], &counts[..count]);
    let mut blocks = [0.0_f32; BLOCK];
    let mut sum = [0.0_f32; BLOCK];
    let mut response = [0.0_f32; BLOCK];
    let mut below = [0.0_f32; BLOCK];
    let mut squares_below = [0.0_f32; BLOCK];
    let whole = count / BLOCK * BLOCK;
    for start in (0..whole).step_by(BLOCK) {
        for lane in 0..BLOCK {
            let index = start + lane;
            let weight = before[index] * here[index] * after[index];
            blocks[lane] += weight;
            sum[lane] += weight * sums[index];
            response[lane] += weight * responses[index];
            below[lane] += weight * counts[index];
            squares_below[lane] += weight * squares[index];
        }
    }
    for index in whole..count {
        let lane = index - whole;
        let weight = before[index] * here[index] * after[index];
        blocks[lane] += weight;
        sum[lane] += weight * sums[index];
        response[lane] += weight * responses[index];
        below[lane] += weight * counts[index];
        squares_below[lane] += weight * squares[index];
    }
    UnlitSums {
        blocks: tree_sum(blocks),
        sum: tree_sum(sum),
        response: tree_sum(response),
        below: tree_sum(below),
        squares_below: tree_sum(squares_below),
    }
}

#[multiversion(targets = "simd")]
fn subtract(trace: &mut [f32], response: &[f32], level: f32) {
    for (value, response) in trace.iter_mut().zip(response) {
        *value -= level * response;
    }
}

/// Smooths the trace and computes the sums of its blocks.
fn smooth_and_sum(trace: &[f32], width: usize, work: &mut ResidualBaselineWorkspace) {
    let length = trace.len();
    work.smooth.resize(length, 0.0);
    smooth_trace(trace, width, &mut work.smooth);
    let blocks = length.div_ceil(BLOCK);
    work.block_max.resize(blocks, 0.0);
    work.block_sum.resize(blocks, 0.0);
    work.squares_below.resize(blocks, 0.0);
    work.count_below.resize(blocks, 0.0);
    sum_trace_blocks(
        trace,
        &work.smooth,
        &mut work.block_sum,
        &mut work.block_max,
        &mut work.squares_below,
        &mut work.count_below,
    );
}
