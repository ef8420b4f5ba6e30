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
use crate::extract::select_nth::select_nth;

/// Samples of the trace per group of blocks.
pub(crate) const GROUP_SAMPLES: usize = 32;
/// Samples per block of a short trace or a narrow kernel.
const SHORT_BLOCK: usize = 4;
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

// The decision.

/// Bump, in standard deviations, from which a block may hold light.
const MAX_BUMP: f32 = 3.5;
/// Height above the level from which a dark block needs neighbours that agree with it.
const MAX_ALONE_ABOVE: f32 = 3.5;
/// Difference of neighbours that agree, ...
const MAX_DISAGREEMENT: f32 = 4.5;
/// ... or as a share of the higher one.
const MAX_DISAGREEMENT_SHARE: f32 = 0.5;
/// Least number of dark blocks for a decision.
pub(super) const MIN_DARK_BLOCKS: usize = 6;
/// Error of the template's tail, as a share of its height.
const TAIL_ERROR: f32 = 5e-4;
/// Exponent x of the false alarms: e^-x for white noise (B. Laurent and P. Massart, doi:10.1214/aos/1015957395).
const FALSE_ALARM_EXPONENT: f32 = 9.0;
/// Depth of a block, in standard deviations, that no light can explain.
const TOO_DEEP: f32 = 5.0;
/// Number of such blocks from which the baseline is unstable.
pub(super) const MIN_TOO_DEEP: usize = 3;

/// Blocks of a trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    /// Samples of the trace per block.
    pub(super) size: usize,
    /// Least number of blocks that have to agree on a level above the others.
    run: usize,
    /// Blocks per group.
    pub(super) group: usize,
    /// Number of whole blocks.
    pub(super) count: usize,
    /// First block, and one past the last, that light just outside the window does not reach.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Ratio of the noise of means to that of white noise.
    noise_ratio: f32,
}

impl Blocks {
    fn new(plan: &DeconvolutionPlan, trace_length: usize, noise_ratio: f32) -> Self {
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
    response: Vec<f32>,
    /// Blocks that measure the baseline.
    pub(super) dark: Vec<bool>,
    is_kept: Vec<bool>,
    extended: Vec<f32>,
    sorted: Vec<f32>,
}

/// Result of the test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    /// True if the dark blocks contradict one constant level.
    pub(super) is_moving: bool,
    /// Error of the level so far, in ADC counts with pulses upright.
    pub(super) level_adc: f32,
    /// True if several blocks are deeper than light, which is never negative, allows.
    pub(super) is_too_deep: bool,
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

/// Marks the blocks of `SIZE` values that are all closer than `limit` to the mean of the values `reach` before and after. `values` begins `reach`
/// before the first block.
#[multiversion(targets = "simd")]
fn mark_flat_blocks<const SIZE: usize>(
    values: &[f32],
    reach: usize,
    limit: f32,
    is_flat: &mut [bool],
) {
    let (before, _) = values.as_chunks::<SIZE>();
    let (here, _) = values[reach..].as_chunks::<SIZE>();
    let (after, _) = values[2 * reach..].as_chunks::<SIZE>();
    for (((is_flat, before), here), after) in is_flat.iter_mut().zip(before).zip(here).zip(after) {
        let mut n_flat = [0_u32; SIZE];
        for lane in 0..SIZE {
            let bump = here[lane] - 0.5 * (before[lane] + after[lane]);
            n_flat[lane] = u32::from(bump.abs() < limit);
        }
        *is_flat = n_flat.iter().sum::<u32>() == SIZE as u32;
    }
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
        let share = 1.0 / blocks.size as f32;
        self.mean.clear();
        if blocks.size == BLOCK {
            let sums = residual.block_sum[..blocks.count].iter();
            self.mean.extend(sums.map(|sum| share * sum));
        } else {
            let sums = trace
                .chunks_exact(blocks.size)
                .map(|block| block.iter().sum::<f32>());
            self.mean.extend(sums.map(|sum| share * sum));
        }
    }

    /// Decides whether the baseline of a suspect waveform moves. [`is_suspect`] has measured its blocks.
    pub(super) fn test(
        &mut self,
        plan: &DeconvolutionPlan,
        smooth: &[f32],
        (noise_adc, noise_ratio): (f32, f32),
    ) -> (Verdict, Blocks) {
        let blocks = Blocks::new(plan, smooth.len(), noise_ratio);
        let block_sigma = blocks.mean_sigma(plan, 1, noise_adc);
        self.response.clear();
        if blocks.size == BLOCK {
            let responses = plan.block_response[..blocks.count].iter();
            let share = 1.0 / blocks.size as f32;
            self.response.extend(responses.map(|sum| share * sum));
        } else {
            let responses = plan.baseline_response[..smooth.len()].chunks_exact(blocks.size);
            self.response
                .extend(responses.map(|block| block.iter().sum::<f32>() / blocks.size as f32));
        }
        self.find_dark_blocks(plan, smooth, noise_adc, &blocks);
        let mut level_adc = self.median_level(&blocks);
        self.subtract(level_adc);
        self.keep_runs(&blocks, block_sigma);
        let (mut sum, mut squares, mut n_dark) = (0.0, 0.0, 0);
        for ((&mean, &response), _) in self
            .mean
            .iter()
            .zip(&self.response)
            .zip(&self.dark)
            .filter(|(_, dark)| **dark)
        {
            sum += mean * response;
            squares += response * response;
            n_dark += 1;
        }
        if n_dark < MIN_DARK_BLOCKS {
            let verdict = Verdict {
                is_moving: false,
                level_adc,
                is_too_deep: false,
            };
            return (verdict, blocks);
        }
        let rest = sum / squares.max(f32::MIN_POSITIVE);
        self.subtract(rest);
        level_adc += rest;
        let inner = &self.mean[blocks.first..blocks.last];
        let verdict = Verdict {
            is_moving: self.contradicts_constant(plan, noise_adc, &blocks),
            level_adc,
            is_too_deep: is_too_deep(inner.iter().copied(), block_sigma),
        };
        (verdict, blocks)
    }

    /// Marks the inner blocks without structure as narrow as the kernel.
    fn find_dark_blocks(
        &mut self,
        plan: &DeconvolutionPlan,
        smooth: &[f32],
        noise_adc: f32,
        blocks: &Blocks,
    ) {
        let reach = plan.bump_reach;
        let limit = MAX_BUMP * plan.bump_noise * noise_adc;
        self.dark.clear();
        self.dark.resize(blocks.count, false);
        let (Some(&first), Some(&last)) = (smooth.first(), smooth.last()) else {
            return;
        };
        // The first and the last value go on outside.
        self.extended.clear();
        self.extended.resize(reach, first);
        self.extended.extend_from_slice(smooth);
        self.extended.resize(smooth.len() + 2 * reach, last);
        let values = &self.extended[blocks.first * blocks.size..];
        let dark = &mut self.dark[blocks.first..blocks.last];
        if blocks.size == BLOCK {
            mark_flat_blocks::<{ BLOCK }>(values, reach, limit, dark);
        } else {
            mark_flat_blocks::<SHORT_BLOCK>(values, reach, limit, dark);
        }
    }

    /// Returns the median level of the dark blocks in ADC counts.
    fn median_level(&mut self, blocks: &Blocks) -> f32 {
        self.sorted.clear();
        self.sorted.extend(
            self.mean
                .iter()
                .zip(&self.dark)
                .filter(|(_, dark)| **dark)
                .map(|(mean, _)| mean),
        );
        if self.sorted.is_empty() {
            return 0.0;
        }
        let rank = (self.sorted.len() - 1) / 2;
        let response = self.response[usize::midpoint(blocks.first, blocks.last - 1)];
        select_nth(&mut self.sorted, rank) / response
    }

    fn subtract(&mut self, level_adc: f32) {
        for (mean, response) in self.mean.iter_mut().zip(&self.response) {
            *mean -= level_adc * response;
        }
    }

    /// Of the dark blocks above the level, keeps those in runs that agree: light that has no structure over that time would be more than ten
    /// photoelectrons per block.
    fn keep_runs(&mut self, blocks: &Blocks, block_sigma: f32) {
        self.is_kept.clear();
        self.is_kept.resize(blocks.count, false);
        let agrees = |mean: &[f32], block: usize| {
            let (a, b) = (mean[block], mean[block + 1]);
            let limit =
                (MAX_DISAGREEMENT * block_sigma).max(MAX_DISAGREEMENT_SHARE * a.abs().max(b.abs()));
            (b - a).abs() <= limit
        };
        let mut begin = blocks.first;
        while begin < blocks.last {
            if !self.dark[begin] {
                begin += 1;
                continue;
            }
            let mut end = begin + 1;
            while end < blocks.last && self.dark[end] && agrees(&self.mean, end - 1) {
                end += 1;
            }
            // An edge of the window counts as one block that agrees.
            let at_edges = usize::from(begin == blocks.first) + usize::from(end == blocks.last);
            if end - begin + at_edges >= blocks.run {
                self.is_kept[begin..end].fill(true);
            }
            begin = end;
        }
        for block in blocks.first..blocks.last {
            self.dark[block] &=
                self.mean[block] < MAX_ALONE_ABOVE * block_sigma || self.is_kept[block];
        }
    }

    /// True if the means of the dark blocks, in groups, are not those of one level.
    ///
    /// With k + 1 groups the sum of their squares is compared with k + 2 sqrt(k x) + 2 x. A group above the level counts without its highest
    /// block, which may hold a small pulse. The error of the template's tail after light counts as noise.
    fn contradicts_constant(
        &self,
        plan: &DeconvolutionPlan,
        noise_adc: f32,
        blocks: &Blocks,
    ) -> bool {
        let (mut sum, mut n_groups) = (0.0, 0_u32);
        let mut light_pe = 0.0;
        let block_ns = blocks.size as f32 * plan.step_ns;
        let groups = self
            .mean
            .chunks(blocks.group)
            .zip(self.dark.chunks(blocks.group));
        for (means, dark) in groups {
            let light_before_pe = light_pe;
            let (mut total, mut highest, mut count) = (0.0, f32::NEG_INFINITY, 0);
            for (&mean, &is_dark) in means.iter().zip(dark) {
                if is_dark {
                    total += mean;
                    highest = highest.max(mean);
                    count += 1;
                } else {
                    light_pe += mean.max(0.0) * block_ns;
                }
            }
            if count == 0 {
                continue;
            }
            n_groups += 1;
            let sigma = blocks.mean_sigma(plan, count, noise_adc);
            let mut significance = total / (count as f32 * sigma);
            if significance > 0.0 {
                let without_highest = if count > 1 {
                    let others = (count - 1) as f32;
                    (total - highest) / (others * blocks.mean_sigma(plan, count - 1, noise_adc))
                } else {
                    0.0
                };
                significance = significance.min(without_highest.max(0.0));
            }
            let tail = TAIL_ERROR * light_before_pe * plan.height_per_area / sigma;
            sum += significance * significance / (1.0 + tail * tail);
        }
        let freedom = n_groups.saturating_sub(1).max(1) as f32;
        sum > chi2_limit(freedom, freedom, FALSE_ALARM_EXPONENT)
    }
}

/// Returns k + 2 sqrt(f x) + 2 x, which chi-square of `freedom` f exceeds with the probability e^-x about its mean k.
pub(super) fn chi2_limit(mean: f32, freedom: f32, exponent: f32) -> f32 {
    mean + 2.0 * (freedom * exponent).sqrt() + 2.0 * exponent
}

/// True if so many blocks are so far below the baseline that light, which is never negative, cannot explain them.
pub(super) fn is_too_deep(means: impl Iterator<Item = f32>, block_sigma: f32) -> bool {
    means.filter(|mean| *mean < -TOO_DEEP * block_sigma).count() >= MIN_TOO_DEEP
}
