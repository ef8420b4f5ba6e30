//! Stage 5: the baseline once more, from the deconvolved trace, and the noise that hits have to exceed.
//!
//! The template's undershoot is gone from the deconvolved trace, so that what is left where there is no light is the
//! response R to the baseline's error b: trace = b R + light + noise, light >= 0. Blocks without light give b as
//! sum(trace) / sum(R): first a low quantile over all blocks, then the mean of the blocks that stay below threshold.

use multiversion::multiversion;

use super::deconvolve::Plan;
use super::sanity::tree_sum;

/// Samples of the trace a block.
pub const BLOCK: usize = 8;
/// Quantile of the blocks' values that starts the search: light in up to 70 % of the blocks does not matter.
const QUANTILE: f32 = 0.3;
/// Where that quantile of a Gaussian lies, in standard deviations below the mean.
const QUANTILE_SIGMA: f32 = 0.5244;
/// A block is lit if its smoothed trace exceeds this many standard deviations.
const LIT_SIGMA: f32 = 3.0;
/// The noise seen in the trace counts up to this many times what the calibration leads to expect.
const MOST_NOISE: f32 = 4.0;
/// Fewest samples below the floor from which the noise is measured.
const MIN_NOISE_SAMPLES: f32 = 24.0;
/// Fewest unlit blocks for a baseline that is not flagged.
const MIN_BLOCKS: usize = 3;
/// The two halves of the unlit blocks may differ by this many standard deviations before the baseline counts as drifting.
const DRIFT_SIGMA: f32 = 6.0;

/// What is known of the trace's floor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Floor {
    /// What the level used so far lacks, in ADC counts, upright.
    pub level_adc: f32,
    /// Standard deviation of the baseline.
    pub sigma_adc: f32,
    /// Noise of the trace over what white noise of the calibration's size makes of it; at least 1.
    pub noise_ratio: f32,
    /// True if few blocks are without light, or their level drifts.
    pub unstable: bool,
}

/// Room for the floor's search, and its result's by-product: the smoothed trace.
#[derive(Debug, Default)]
pub struct Work {
    /// The trace smoothed over [`smoothing`] samples, where hits are looked for.
    pub smooth: Vec<f32>,
    /// Largest smoothed value of each block of [`BLOCK`] samples; the last block may be short.
    pub block_max: Vec<f32>,
    block_sum: Vec<f32>,
    block_below: Vec<(f32, f32)>,
    values: Vec<f32>,
    lit: Vec<bool>,
}

/// Samples of the trace over which it is smoothed to find hits: as wide as a matched filter would be, and odd.
#[must_use]
pub fn smoothing(plan: &Plan) -> usize {
    let wanted = 2.8 * plan.kernel_sigma_ns / plan.step_ns;
    (2 * (0.5 * wanted) as usize + 1).max(3)
}

/// Standard deviation of the smoothed trace for white noise of `noise_adc`.
#[must_use]
pub fn smooth_noise(plan: &Plan, noise_adc: f32) -> f32 {
    let width = smoothing(plan);
    plan.charge_noise.get(width).copied().unwrap_or(0.0) * noise_adc / (width as f32 * plan.step_ns)
}

/// Takes what is left of the baseline off `trace`, and smooths it into `work.smooth`.
///
/// `noise_adc` is the noise of one raw sample. The trace must not be longer than the plan's longest window.
pub fn refine(trace: &mut [f32], plan: &Plan, noise_adc: f32, work: &mut Work) -> Floor {
    let response = &plan.baseline_response[..trace.len()];
    let width = smoothing(plan);
    let sigma = smooth_noise(plan, noise_adc);
    // The kernel of light just outside the window reaches this far in.
    let margin = (3.0 * plan.kernel_sigma_ns / plan.step_ns).ceil() as usize;
    let first = margin.div_ceil(BLOCK);
    let last = (trace.len().saturating_sub(margin) / BLOCK).max(first);
    let response_of = |block: usize| {
        (plan.baseline_response_sum[(block + 1) * BLOCK] - plan.baseline_response_sum[block * BLOCK]) as f32
    };
    if last == first {
        smooth_and_sum(trace, width, work);
        return Floor { sigma_adc: noise_adc, noise_ratio: 1.0, unstable: true, ..Floor::default() };
    }
    let block_sigma = plan.charge_noise.get(BLOCK).copied().unwrap_or(0.0) / plan.step_ns * noise_adc;

    work.values.clear();
    work.values.extend((first..last).map(|block| {
        let sum = tree_sum(std::array::from_fn(|lane| trace[block * BLOCK + lane]));
        sum / response_of(block)
    }));
    let place = ((work.values.len() - 1) as f32 * QUANTILE) as usize;
    let (_, &mut quantile, _) = work.values.select_nth_unstable_by(place, f32::total_cmp);
    let start = quantile + QUANTILE_SIGMA * block_sigma / response_of(usize::midpoint(first, last));

    subtract(trace, response, start);
    smooth_and_sum(trace, width, work);
    let (mut level, mut n_unlit, mut noise) = (0.0, 0, sigma);
    for _ in 0..3 {
        let mean_response = response_of(usize::midpoint(first, last)) / BLOCK as f32;
        work.lit.clear();
        work.lit.extend(work.block_max.iter().map(|&max| max - level * mean_response > LIT_SIGMA * noise));
        let unlit = |lit: &[bool], block: usize| {
            !lit[block] && !lit[block.saturating_sub(1)] && !lit[(block + 1).min(lit.len() - 1)]
        };
        let (mut sum, mut responses, mut below) = (0.0, 0.0, (0.0, 0.0));
        n_unlit = 0;
        for block in (first..last).filter(|&block| unlit(&work.lit, block)) {
            sum += work.block_sum[block];
            responses += response_of(block);
            below.0 += work.block_below[block].0;
            below.1 += work.block_below[block].1;
            n_unlit += 1;
        }
        if n_unlit == 0 {
            break;
        }
        let before = level;
        level = sum / responses;
        let measured = if below.1 >= MIN_NOISE_SAMPLES { (below.0 / below.1).sqrt() } else { 0.0 };
        // A channel without a known noise has the one that is seen.
        let most = if sigma > 0.0 { MOST_NOISE * sigma } else { f32::INFINITY };
        let noise_before = noise;
        noise = measured.clamp(sigma, most);
        let settled = (level - before).abs() * mean_response < 0.05 * noise && noise < 1.2 * noise_before;
        if settled {
            break;
        }
    }
    let mut unstable = n_unlit < MIN_BLOCKS;
    if n_unlit > 0 {
        subtract(trace, response, level);
        subtract(&mut work.smooth, response, level);
        for (block, max) in work.block_max.iter_mut().enumerate() {
            *max -= level * response[(block * BLOCK + BLOCK / 2).min(response.len() - 1)];
        }
    }
    let sigma_adc = noise / sigma.max(f32::MIN_POSITIVE) * block_sigma
        / (response_of(usize::midpoint(first, last)) * (n_unlit.max(1) as f32).sqrt());
    let sigma_adc = if sigma > 0.0 { sigma_adc } else { noise_adc };
    unstable |= n_unlit >= 2 * MIN_BLOCKS && drifts(work, level, first..last, n_unlit, response_of, sigma_adc);
    Floor {
        level_adc: start + level,
        sigma_adc,
        noise_ratio: if sigma > 0.0 { (noise / sigma).max(1.0) } else { 1.0 },
        unstable,
    }
}

/// True if the earlier half of the unlit blocks has another level than the later.
fn drifts(
    work: &Work,
    level: f32,
    blocks: std::ops::Range<usize>,
    n_unlit: usize,
    response_of: impl Fn(usize) -> f32,
    sigma_adc: f32,
) -> bool {
    let mut halves = [(0.0_f32, 0.0_f32); 2];
    let mut seen = 0;
    for block in blocks {
        let neighbours = [block.saturating_sub(1), block, (block + 1).min(work.lit.len() - 1)];
        if neighbours.iter().all(|&block| !work.lit[block]) {
            let half = &mut halves[usize::from(2 * seen >= n_unlit)];
            half.0 += work.block_sum[block] - level * response_of(block);
            half.1 += response_of(block);
            seen += 1;
        }
    }
    let [early, late] = halves.map(|(sum, responses)| sum / responses);
    // Each half has half of the blocks: its error is sqrt(2) times as large, that of the difference twice.
    (early - late).abs() > DRIFT_SIGMA * 2.0 * sigma_adc
}

#[multiversion(targets = "simd")]
fn subtract(trace: &mut [f32], response: &[f32], level: f32) {
    for (value, response) in trace.iter_mut().zip(response) {
        *value -= level * response;
    }
}

/// Smooths the trace, and sums it, its largest smoothed value and its squares below zero, block by block.
fn smooth_and_sum(trace: &[f32], width: usize, work: &mut Work) {
    let length = trace.len();
    work.smooth.resize(length, 0.0);
    smooth(trace, width, &mut work.smooth);
    let blocks = length.div_ceil(BLOCK);
    work.block_max.resize(blocks, 0.0);
    work.block_sum.resize(blocks, 0.0);
    work.block_below.resize(blocks, (0.0, 0.0));
    sum_blocks(trace, &work.smooth, &mut work.block_sum, &mut work.block_max, &mut work.block_below);
}

/// Mean over `width` samples round each; beyond the ends the trace counts as 0.
#[multiversion(targets = "simd")]
fn smooth(trace: &[f32], width: usize, out: &mut [f32]) {
    let half = width / 2;
    let scale = 1.0 / width as f32;
    let length = trace.len();
    if length <= 2 * half {
        for (index, value) in out.iter_mut().enumerate() {
            *value = scale * trace[index.saturating_sub(half)..(index + half + 1).min(length)].iter().sum::<f32>();
        }
        return;
    }
    for index in (0..half).chain(length - half..length) {
        out[index] = scale * trace[index.saturating_sub(half)..(index + half + 1).min(length)].iter().sum::<f32>();
    }
    let inner = &mut out[half..length - half];
    // Pairs from the outside in, the same order whatever the vector width.
    let count = inner.len();
    let middle = &trace[half..][..count];
    for (value, middle) in inner.iter_mut().zip(middle) {
        *value = *middle;
    }
    for offset in 1..=half {
        let (left, right) = (&trace[half - offset..][..count], &trace[half + offset..][..count]);
        for ((value, left), right) in inner.iter_mut().zip(left).zip(right) {
            *value += left + right;
        }
    }
    for value in inner {
        *value *= scale;
    }
}

#[multiversion(targets = "simd")]
fn sum_blocks(trace: &[f32], smooth: &[f32], sums: &mut [f32], maxima: &mut [f32], below: &mut [(f32, f32)]) {
    let blocks = trace.chunks(BLOCK).zip(smooth.chunks(BLOCK));
    let results = sums.iter_mut().zip(maxima).zip(below);
    for ((trace, smooth), ((sum, max), below)) in blocks.zip(results) {
        let mut lanes = [[0.0_f32; BLOCK]; 3];
        let mut highest = [f32::NEG_INFINITY; BLOCK];
        for (lane, (&value, &smooth)) in trace.iter().zip(smooth).enumerate() {
            lanes[0][lane] = value;
            highest[lane] = smooth;
            let low = smooth.min(0.0);
            lanes[1][lane] = low * low;
            lanes[2][lane] = f32::from(u8::from(smooth < 0.0));
        }
        *sum = tree_sum(lanes[0]);
        *max = highest.into_iter().fold(f32::NEG_INFINITY, f32::max);
        *below = (tree_sum(lanes[1]), tree_sum(lanes[2]));
    }
}
