//! The decision whether the baseline of a suspect waveform moves, from its dark blocks (see [`moving_baseline`](super::moving_baseline)).

use multiversion::multiversion;

use super::deconvolve::{BLOCK, DeconvolutionPlan};
use super::moving_baseline::{Blocks, MovingBaselineWorkspace, SHORT_BLOCK, block_means};
use crate::extract::select_nth::select_nth;

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

impl MovingBaselineWorkspace {
    /// Decides whether the baseline of a suspect waveform moves. [`is_suspect`](super::moving_baseline::is_suspect) has measured its blocks.
    pub(super) fn test(
        &mut self,
        plan: &DeconvolutionPlan,
        smooth: &[f32],
        (noise_adc, noise_ratio): (f32, f32),
    ) -> (Verdict, Blocks) {
        let blocks = Blocks::new(plan, smooth.len(), noise_ratio);
        let block_sigma = blocks.mean_sigma(plan, 1, noise_adc);
        let responses = &plan.baseline_response[..smooth.len()];
        block_means(responses, &plan.block_response, &blocks, &mut self.response);
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
