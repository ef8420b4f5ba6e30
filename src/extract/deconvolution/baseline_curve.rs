//! The curve of a baseline that moves: a smoothing spline through the blocks without light of the deconvolved trace.
//!
//! The stiffest spline that describes the dark blocks is taken, then one step softer, which removes the bias that just passed the test. A
//! jump between dark blocks follows the smoothed trace if there is no light in the gap. Where the curve is not determined well enough for
//! the light on top of it, the baseline is flagged as unstable.

use super::baseline_decision::{MIN_DARK_BLOCKS, chi2_limit, is_too_deep};
use super::deconvolve::DeconvolutionPlan;
use super::moving_baseline::{Blocks, MovingBaselineWorkspace};
use super::residual_baseline::{margin, smooth_noise};
use super::smoothing_spline::{SplineWorkspace, smooth};
use super::trace_blocks::smooth_trace;

/// Stiffness of the splines that are tried, in this order.
const LAMBDAS: [f64; 5] = [200.0, 40.0, 8.0, 1.5, 0.3];
/// Sizes of the groups of blocks in which the residual has to be noise.
const RESIDUAL_GROUPS: [usize; 3] = [1, 2, 4];
/// Exponent of the limit of the residual's chi-square.
const RESIDUAL_EXPONENT: f32 = 3.0;
/// Largest residual of a single block, in standard deviations, ...
const MAX_SINGLE: f32 = 4.0;
/// ... and of a pair of blocks.
const MAX_PAIR: f32 = 3.5;
/// Height of the smoothed trace over the curve below which a block and its neighbours hold no light, in standard deviations.
const DARK_ABOVE: f32 = 3.5;
/// Height over the curve at the beginning of the window from which it opened in light.
const START_ABOVE: f32 = 5.0;
/// Longest gap of a jump, in blocks.
const MAX_JUMP_GAP: usize = 5;
/// Least jump that is followed, in standard deviations of a block.
const MIN_JUMP: f32 = 6.0;
/// Height over the higher side below which there is no light in a jump.
const JUMP_LIGHT: f32 = 4.0;
/// Jump, as charge of a photoelectron of that height, from which the baseline is unstable: it looks like a small photoelectron.
const STEPPED_PE: f32 = 0.2;
/// Shortest gap, in blocks, in which the curve may be wrong.
const MIN_RISK_GAP: usize = 3;
/// Error of the charge in a gap that is tolerated, ...
const RISK_PE: f32 = 0.25;
/// ... or as a share of the light there.
const RISK_SHARE: f32 = 0.03;

/// Buffers for the curve.
#[derive(Clone, Debug, Default)]
pub(crate) struct BaselineCurveWorkspace {
    /// The baseline per sample of the trace, minus the response to the level: PE/ns.
    pub(super) curve: Vec<f32>,
    nodes: Vec<f64>,
    dark: Vec<bool>,
    is_bridged: Vec<bool>,
    flat: Vec<f32>,
    above: Vec<f32>,
    smooth: Vec<f32>,
    spline: SplineWorkspace,
}

/// The trace and the blocks that a curve runs through.
pub(super) struct CurveInput<'a> {
    /// The trace minus the response to the level.
    pub(super) trace: &'a [f32],
    pub(super) plan: &'a DeconvolutionPlan,
    pub(super) blocks: Blocks,
    /// Means and dark blocks of the test.
    pub(super) test: &'a MovingBaselineWorkspace,
    /// Noise of a sample.
    pub(super) noise_adc: f32,
}

impl CurveInput<'_> {
    fn block_sigma(&self, count: usize) -> f32 {
        self.blocks.mean_sigma(self.plan, count, self.noise_adc)
    }
}

impl BaselineCurveWorkspace {
    /// Finds the curve; returns whether it is reliable, or `None` if no curve describes the dark blocks.
    pub(super) fn find(&mut self, input: &CurveInput<'_>) -> Option<bool> {
        let means = &input.test.mean;
        self.dark.clone_from(&input.test.dark);
        self.fit_nodes(input);
        let sigma = smooth_noise(input.plan, input.noise_adc);
        self.measure_above(input);
        let margin = margin(input.plan).min(self.above.len() - 1);
        let opens_in_light = self.above[..=margin]
            .iter()
            .any(|&above| above > START_ABOVE * sigma);
        self.find_darker_blocks(input, DARK_ABOVE * sigma);
        if !self.fit_nodes(input) {
            return None;
        }
        self.write_curve(input);
        let is_stepped = self.follow_jumps(input, JUMP_LIGHT * sigma);
        let residual = means
            .iter()
            .zip(&self.nodes)
            .take(input.blocks.last)
            .skip(input.blocks.first)
            .map(|(&mean, &node)| mean - node as f32);
        let is_too_deep = is_too_deep(residual, input.block_sigma(1));
        Some(!is_stepped && !opens_in_light && !is_too_deep && self.risk(input) <= 1.0)
    }

    /// Fits the spline to the dark blocks; returns false if none describes them.
    fn fit_nodes(&mut self, input: &CurveInput<'_>) -> bool {
        let means = &input.test.mean;
        for (index, &lambda) in LAMBDAS.iter().enumerate() {
            smooth(means, &self.dark, lambda, &mut self.spline, &mut self.nodes);
            if self.describes(input) {
                if let Some(&softer) = LAMBDAS.get(index + 1) {
                    smooth(means, &self.dark, softer, &mut self.spline, &mut self.nodes);
                }
                return true;
            }
        }
        false
    }

    /// True if the residual of the dark blocks is noise.
    fn describes(&self, input: &CurveInput<'_>) -> bool {
        RESIDUAL_GROUPS.iter().all(|&size| {
            let (mut sum, mut n_groups, mut largest) = (0.0, 0_u32, 0.0_f32);
            let groups = input
                .test
                .mean
                .chunks(size)
                .zip(self.nodes.chunks(size))
                .zip(self.dark.chunks(size));
            for ((means, nodes), dark) in groups {
                let (mut total, mut count) = (0.0, 0);
                for ((&mean, &node), _) in
                    means.iter().zip(nodes).zip(dark).filter(|(_, dark)| **dark)
                {
                    total += mean - node as f32;
                    count += 1;
                }
                if count > 0 {
                    let significance = total / (count as f32 * input.block_sigma(count));
                    sum += significance * significance;
                    largest = largest.max(significance.abs());
                    n_groups += 1;
                }
            }
            let max = match size {
                1 => MAX_SINGLE,
                2 => MAX_PAIR,
                _ => f32::INFINITY,
            };
            let freedom = n_groups.max(1) as f32;
            sum < chi2_limit(freedom, freedom, RESIDUAL_EXPONENT) && largest < max
        })
    }

    /// Returns the spline at sample `index` of the trace: linear between the centres of blocks, and beyond the first and last one.
    fn node_at(&self, size: usize, index: usize) -> f32 {
        let position = (index as f32 - 0.5 * (size - 1) as f32) / size as f32;
        let block = (position.max(0.0) as usize).min(self.nodes.len() - 2);
        let share = f64::from(position) - block as f64;
        (self.nodes[block] * (1.0 - share) + self.nodes[block + 1] * share) as f32
    }

    /// Smooths the trace over the curve into `above`.
    fn measure_above(&mut self, input: &CurveInput<'_>) {
        let mut flat = std::mem::take(&mut self.flat);
        flat.clear();
        let size = input.blocks.size;
        let values = input.trace.iter().enumerate();
        flat.extend(values.map(|(index, value)| value - self.node_at(size, index)));
        self.above.resize(flat.len(), 0.0);
        smooth_trace(&flat, input.plan.smoothing(), &mut self.above);
        self.flat = flat;
    }

    /// Adds the blocks that, with their neighbours, are dark over the curve.
    fn find_darker_blocks(&mut self, input: &CurveInput<'_>, limit: f32) {
        let blocks = &input.blocks;
        let highest = |block: usize| {
            self.above[block * blocks.size..(block + 1) * blocks.size]
                .iter()
                .copied()
                .fold(f32::NEG_INFINITY, f32::max)
        };
        let is_low: Vec<bool> = (0..blocks.count)
            .map(|block| highest(block) < limit)
            .collect();
        let mut dark = self.dark.clone();
        for block in blocks.first..blocks.last {
            let before = block == 0 || is_low[block - 1];
            let after = is_low.get(block + 1).copied().unwrap_or(true);
            dark[block] |= before && is_low[block] && after;
        }
        if dark.iter().filter(|dark| **dark).count() >= MIN_DARK_BLOCKS {
            self.dark = dark;
        }
    }

    fn write_curve(&mut self, input: &CurveInput<'_>) {
        let mut curve = std::mem::take(&mut self.curve);
        curve.clear();
        let size = input.blocks.size;
        curve.extend((0..input.trace.len()).map(|index| self.node_at(size, index)));
        self.curve = curve;
        self.smooth.resize(input.trace.len(), 0.0);
        smooth_trace(input.trace, input.plan.smoothing(), &mut self.smooth);
    }

    /// Lets the curve follow the smoothed trace through jumps without light; returns true if a jump is as high as a small photoelectron.
    fn follow_jumps(&mut self, input: &CurveInput<'_>, light: f32) -> bool {
        let size = input.blocks.size;
        let last = self.nodes.len() - 1;
        let positive_area_ns = 1.0 / input.plan.height_per_area;
        let mut is_stepped = false;
        self.is_bridged.clear();
        self.is_bridged.resize(self.nodes.len(), false);
        let dark: Vec<usize> = (0..self.dark.len())
            .filter(|&block| self.dark[block])
            .collect();
        for pair in dark.windows(2) {
            let &[a, b] = pair else { continue };
            if b - a > MAX_JUMP_GAP {
                continue;
            }
            let slope = |from: usize, to: usize| 0.5 * (self.nodes[to] - self.nodes[from]).abs();
            let before = slope(a.saturating_sub(3), a.saturating_sub(1));
            let after = slope((b + 1).min(last), (b + 3).min(last));
            let jump =
                ((self.nodes[b] - self.nodes[a]).abs() - (b - a) as f64 * before.max(after)) as f32;
            is_stepped |= jump * positive_area_ns > STEPPED_PE;
            if jump < MIN_JUMP * input.block_sigma(1) {
                continue;
            }
            // The levels of the two sides, not smoothed across the jump.
            let level = |range: std::ops::Range<usize>| {
                let (mut sum, mut count) = (0.0, 0.0);
                for block in range.filter(|&block| self.dark[block]) {
                    sum += input.test.mean[block];
                    count += 1.0;
                }
                sum / count
            };
            let left = level(a.saturating_sub(2)..a + 1);
            let right = level(b..(b + 3).min(self.dark.len()));
            let (low, high) = (left.min(right), left.max(right));
            let samples = a * size + size / 2..b * size + size / 2;
            let highest = self.smooth[samples.clone()]
                .iter()
                .copied()
                .fold(f32::NEG_INFINITY, f32::max);
            if highest - high < light {
                for index in samples {
                    self.curve[index] = self.smooth[index].max(low).min(high);
                }
                self.is_bridged[a + 1..b].fill(true);
            }
        }
        is_stepped
    }

    /// Returns what the curve may be wrong by where dark blocks are far apart, relative to what is tolerated.
    fn risk(&self, input: &CurveInput<'_>) -> f32 {
        let blocks = &input.blocks;
        let block_ns = f64::from(blocks.size as f32 * input.plan.step_ns);
        let nodes = self.nodes.as_slice();
        let last = nodes.len() - 1;
        let dark: Vec<usize> = (0..self.dark.len())
            .filter(|&block| self.dark[block])
            .collect();
        let (Some(&first_dark), Some(&last_dark)) = (dark.first(), dark.last()) else {
            return f32::INFINITY;
        };
        let light_pe = |range: std::ops::Range<usize>| {
            let above =
                range.map(|block| (f64::from(input.test.mean[block]) - nodes[block]).max(0.0));
            above.sum::<f64>() * block_ns
        };
        let tolerated = |light_pe: f64| f64::from(RISK_PE).max(f64::from(RISK_SHARE) * light_pe);
        let inner = &nodes[blocks.first..blocks.last];
        let bends: f64 = inner
            .windows(3)
            .map(|three| (three[2] - 2.0 * three[1] + three[0]).powi(2))
            .sum();
        let bend = (bends / (inner.len().saturating_sub(2).max(1)) as f64).sqrt();
        let mut worst = 0.0_f64;
        for pair in dark.windows(2) {
            let &[a, b] = pair else { continue };
            let gap = b - a;
            if gap < MIN_RISK_GAP || self.is_bridged[a + 1..b].iter().all(|bridged| *bridged) {
                continue;
            }
            let before = nodes[a] - nodes[a.saturating_sub(1)];
            let after = nodes[(b + 1).min(last)] - nodes[b];
            let blocks_wide = gap as f64;
            let height = (nodes[b] - nodes[a]).abs() / 4.0
                + (before - after).abs() * blocks_wide / 16.0
                + bend * blocks_wide * blocks_wide / 16.0;
            let error_pe = (blocks_wide - 1.0) * block_ns * height;
            worst = worst.max(error_pe / tolerated(light_pe(a + 1..b)));
        }
        let ends = [
            (
                first_dark.saturating_sub(blocks.first),
                nodes[first_dark] - nodes[(first_dark + 1).min(last)],
                light_pe(0..first_dark),
            ),
            (
                (blocks.last - 1).saturating_sub(last_dark),
                nodes[last_dark] - nodes[last_dark.saturating_sub(1)],
                light_pe(last_dark + 1..nodes.len()),
            ),
        ];
        for (count, slope, light_pe) in ends {
            if count >= 2 {
                let beyond = count as f64;
                let error_pe = beyond * block_ns * slope.abs() * beyond / 2.0;
                worst = worst.max(error_pe / tolerated(light_pe));
            }
        }
        worst as f32
    }
}
