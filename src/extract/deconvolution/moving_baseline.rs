//! Test for a baseline that moves within the window: overshoot of earlier light, drift, steps, pick-up.
//!
//! In the deconvolved trace light is a sum of narrow kernels, never negative, and grainy: a block that holds m PE scatters by sqrt(m). An
//! error of the baseline is smooth. A block without structure as narrow as the kernel therefore holds no light, whatever its level is, and
//! measures the baseline. The baseline moves if these dark blocks contradict one constant level.
//!
//! Nearly all waveforms with a constant baseline are settled by [`is_suspect`], a few comparisons per block; they are extracted as if the test
//! did not exist.

use std::ops::Range;

use super::deconvolve::DeconvolutionPlan;
use super::residual_baseline::{ResidualBaselineWorkspace, inner_blocks_of};
use crate::extract::select_nth::select_nth;

/// Samples of the trace per group of blocks.
pub(crate) const GROUP_SAMPLES: usize = 32;
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
        let (size, run) = if is_short { (4, 6) } else { (8, 4) };
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
    let (mut deepest, mut n_quiet) = (f32::INFINITY, 0_u32);
    for &mean in means {
        deepest = deepest.min(mean);
        n_quiet += u32::from(mean.abs() < QUIET_BLOCK * block_sigma);
    }
    if deepest < -SUSPECT_BLOCK_BELOW * block_sigma
        || (n_quiet as f32) < MIN_QUIET_SHARE * means.len() as f32
    {
        return true;
    }
    let light = CERTAIN_LIGHT * block_sigma;
    let is_level = |group: &[f32]| {
        let (low, high) = extremes(group);
        let mean = group.iter().sum::<f32>() / group.len() as f32;
        // Light that is higher is grainy.
        let is_flat = high - low < SUSPECT_FLAT_SHARE * mean;
        low > SUSPECT_ALL_ABOVE * block_sigma && (high < light || is_flat)
    };
    let (mut was_below, mut was_above) = (false, false);
    for group in means.chunks_exact(blocks.group) {
        let mean = group.iter().sum::<f32>() / group.len() as f32;
        let (_, high) = extremes(group);
        let is_below = mean < -SUSPECT_PAIR * group_sigma;
        let is_above = mean > SUSPECT_PAIR * group_sigma && high < light;
        if mean < -SUSPECT_GROUP_BELOW * group_sigma
            || (is_below && was_below)
            || (is_above && was_above)
            || is_level(group)
        {
            return true;
        }
        (was_below, was_above) = (is_below, is_above);
    }
    is_level(&means[means.len().saturating_sub(blocks.group)..])
}

fn extremes(values: &[f32]) -> (f32, f32) {
    values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| {
            (low.min(value), high.max(value))
        })
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
        if blocks.size == super::deconvolve::BLOCK {
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
        let responses = plan.baseline_response[..smooth.len()].chunks_exact(blocks.size);
        self.response
            .extend(responses.map(|block| block.iter().sum::<f32>() / blocks.size as f32));
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
        let end = smooth.len() - 1;
        self.dark.clear();
        self.dark.resize(blocks.count, false);
        for block in blocks.first..blocks.last {
            self.dark[block] = (block * blocks.size..(block + 1) * blocks.size).all(|index| {
                let before = smooth[index.saturating_sub(reach)];
                let after = smooth[(index + reach).min(end)];
                (smooth[index] - 0.5 * (before + after)).abs() < limit
            });
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
