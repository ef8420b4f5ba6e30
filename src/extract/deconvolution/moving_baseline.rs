//! Test for a baseline that moves within the window: overshoot of earlier light, drift, steps, pick-up.
//!
//! In the deconvolved trace light is a sum of narrow kernels, never negative, and grainy: a block that holds m PE scatters by sqrt(m). An
//! error of the baseline is smooth. A block without structure as narrow as the kernel therefore holds no light, whatever its level is, and
//! measures the baseline. The baseline moves if these dark blocks contradict one constant level.
//!
//! Nearly all waveforms with a constant baseline are settled by [`is_suspect`], a few comparisons per block; they are extracted as if the test
//! did not exist.

use std::ops::Range;

use multiversion::multiversion;

use super::deconvolve::{BLOCK, DeconvolutionPlan};
use super::residual_baseline::{ResidualBaselineWorkspace, inner_blocks_of};
use crate::extract::load_samples::{greater, lesser};

/// Samples of the trace per group of blocks.
pub(crate) const GROUP_SAMPLES: usize = 32;
/// Samples per block of a short trace or a narrow kernel.
pub(super) const SHORT_BLOCK: usize = 4;
/// Blocks per group, of 8 samples each, ...
const LONG_GROUP: usize = GROUP_SAMPLES / BLOCK;
/// ... or of 4.
const SHORT_GROUP: usize = 2 * LONG_GROUP;
/// Length of a block of 8 samples, in standard deviations of the kernel, from which blocks of 4 samples are used.
pub(crate) const MAX_BLOCK_SIGMA: f32 = 5.5;
/// Length of a trace below which blocks of 4 samples are used.
pub(crate) const MIN_LONG_TRACE: usize = 192;

// The first test, in standard deviations of the block or group.

/// Depth of a single block.
pub(crate) const SUSPECT_BLOCK_BELOW: f32 = 4.2;
/// Depth of a group.
pub(crate) const SUSPECT_GROUP_BELOW: f32 = 4.0;
/// Distance of two neighbouring groups on one side.
pub(crate) const SUSPECT_PAIR: f32 = 2.5;
/// Height above which every block of a group is suspect.
pub(crate) const SUSPECT_ALL_ABOVE: f32 = 2.0;
/// Height from which a block certainly holds light.
pub(crate) const CERTAIN_LIGHT: f32 = 30.0;
/// Largest difference of the blocks of a group that is suspect whatever its height, as a share of its mean.
pub(crate) const SUSPECT_FLAT_SHARE: f32 = 0.25;
/// Distance within which a block agrees with the level, ...
pub(crate) const QUIET_BLOCK: f32 = 3.0;
/// ... and the least share of blocks that agree.
pub(crate) const MIN_QUIET_SHARE: f32 = 0.6;

/// Blocks of a trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    /// Samples of the trace per block.
    pub(super) size: usize,
    /// Least number of blocks that have to agree on a level above the others.
    pub(super) run: usize,
    /// Blocks per group.
    pub(super) group: usize,
    /// Number of whole blocks.
    pub(super) count: usize,
    /// First block, and one past the last, that light just outside the window does not reach.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Ratio of the noise of means to that of white noise.
    pub(super) noise_ratio: f32,
}

impl Blocks {
    pub(super) fn new(plan: &DeconvolutionPlan, trace_length: usize, noise_ratio: f32) -> Self {
        let is_short = 8.0 * plan.step_ns > MAX_BLOCK_SIGMA * plan.kernel_sigma_ns
            || trace_length < MIN_LONG_TRACE;
        let (size, run) = if is_short {
            (SHORT_BLOCK, 6)
        } else {
            (BLOCK, 4)
        };
        let Range { start, end } = inner_blocks_of(plan, trace_length, size);
        Self {
            size,
            run,
            group: GROUP_SAMPLES / size,
            count: trace_length / size,
            first: start,
            last: end,
            noise_ratio,
        }
    }

    /// Returns the standard deviation of the mean of `count` neighbouring blocks, in PE/ns.
    pub(super) fn mean_sigma(&self, plan: &DeconvolutionPlan, count: usize, noise_adc: f32) -> f32 {
        let samples = count * self.size;
        let sum = plan.charge_noise.get(samples).copied().unwrap_or(0.0);
        self.noise_ratio * sum * noise_adc / (samples.max(1) as f32 * plan.step_ns)
    }
}

/// Buffers of the test; afterwards they hold its result.
#[derive(Clone, Debug, Default)]
pub(crate) struct MovingBaselineWorkspace {
    /// Mean of the trace per block, minus the level: PE/ns.
    pub(super) mean: Vec<f32>,
    /// Mean response to a baseline error of 1 ADC count per block.
    pub(super) response: Vec<f32>,
    /// Blocks that measure the baseline.
    pub(super) dark: Vec<bool>,
    pub(super) is_kept: Vec<bool>,
    pub(super) extended: Vec<f32>,
    pub(super) sorted: Vec<f32>,
}

/// True if the blocks of a trace do not obviously agree on the level that was subtracted from it. `noise_adc` is the noise of a sample,
/// `noise_ratio` that of means over many samples relative to white noise.
pub(super) fn is_suspect(
    trace: &[f32],
    plan: &DeconvolutionPlan,
    (noise_adc, noise_ratio): (f32, f32),
    residual: &ResidualBaselineWorkspace,
    work: &mut MovingBaselineWorkspace,
) -> bool {
    let blocks = Blocks::new(plan, trace.len(), noise_ratio);
    let block_sigma = blocks.mean_sigma(plan, 1, noise_adc);
    if blocks.last <= blocks.first || block_sigma <= 0.0 {
        return false;
    }
    work.measure_means(trace, &blocks, residual);
    let means = &work.mean[blocks.first..blocks.last];
    let group_sigma = blocks.mean_sigma(plan, blocks.group, noise_adc);
    let (is_deep, n_quiet) = check_blocks(means, block_sigma);
    if is_deep || (n_quiet as f32) < MIN_QUIET_SHARE * means.len() as f32 {
        return true;
    }
    if blocks.group == LONG_GROUP {
        has_suspect_group::<LONG_GROUP>(means, block_sigma, group_sigma)
    } else {
        has_suspect_group::<SHORT_GROUP>(means, block_sigma, group_sigma)
    }
}

/// Returns whether a block is deeper than noise allows, and the number of blocks that agree with the level.
#[multiversion(targets = "simd")]
fn check_blocks(means: &[f32], block_sigma: f32) -> (bool, u32) {
    let (deep, quiet) = (
        -SUSPECT_BLOCK_BELOW * block_sigma,
        QUIET_BLOCK * block_sigma,
    );
    let (mut n_deep, mut n_quiet) = ([0_u32; BLOCK], [0_u32; BLOCK]);
    let mut check = |lane: usize, mean: f32| {
        n_deep[lane] += u32::from(mean < deep);
        n_quiet[lane] += u32::from(mean.abs() < quiet);
    };
    let (whole, rest) = means.as_chunks::<BLOCK>();
    for means in whole {
        for (lane, &mean) in means.iter().enumerate() {
            check(lane, mean);
        }
    }
    for (lane, &mean) in rest.iter().enumerate() {
        check(lane, mean);
    }
    (n_deep.iter().any(|n| *n > 0), n_quiet.iter().sum())
}

/// True if a group of `SIZE` blocks, or two neighbouring ones, contradict the level.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "on noise every second branch would be predicted wrongly"
)]
#[multiversion(targets = "simd")]
fn has_suspect_group<const SIZE: usize>(means: &[f32], block_sigma: f32, group_sigma: f32) -> bool {
    let light = CERTAIN_LIGHT * block_sigma;
    let all_above = SUSPECT_ALL_ABOVE * block_sigma;
    let pair = SUSPECT_PAIR * group_sigma;
    let below = -SUSPECT_GROUP_BELOW * group_sigma;
    let summarise = |group: &[f32; SIZE]| {
        let (mut low, mut high, mut sum) = (group[0], group[0], group[0]);
        for &mean in &group[1..] {
            (low, high) = (lesser(mean, low), greater(mean, high));
            sum += mean;
        }
        (low, high, sum / SIZE as f32)
    };
    // Light that is higher than `light` is grainy.
    let is_level = |low: f32, high: f32, mean: f32| {
        (low > all_above) & ((high < light) | (high - low < SUSPECT_FLAT_SHARE * mean))
    };
    let (mut is_suspect, mut was_below, mut was_above) = (false, false, false);
    for group in means.as_chunks().0 {
        let (low, high, mean) = summarise(group);
        let is_below = mean < -pair;
        let is_above = (mean > pair) & (high < light);
        is_suspect |= is_level(low, high, mean)
            | (mean < below)
            | (is_below & was_below)
            | (is_above & was_above);
        (was_below, was_above) = (is_below, is_above);
    }
    // The blocks at the end may be no whole group.
    let last = means.last_chunk().map(summarise);
    is_suspect | last.is_some_and(|(low, high, mean)| is_level(low, high, mean))
}

impl MovingBaselineWorkspace {
    fn measure_means(
        &mut self,
        trace: &[f32],
        blocks: &Blocks,
        residual: &ResidualBaselineWorkspace,
    ) {
        block_means(trace, &residual.block_sum, blocks, &mut self.mean);
    }
}

/// Writes the mean of each block of `values`. `sums` are those of blocks of [`BLOCK`] values.
pub(super) fn block_means(values: &[f32], sums: &[f32], blocks: &Blocks, means: &mut Vec<f32>) {
    let share = 1.0 / blocks.size as f32;
    means.clear();
    if blocks.size == BLOCK {
        means.extend(sums[..blocks.count].iter().map(|sum| share * sum));
    } else {
        let blocks = values.chunks_exact(blocks.size);
        means.extend(blocks.map(|block| share * block.iter().sum::<f32>()));
    }
}
