//! The smoothed trace, and sums over the blocks of the trace, for the residual baseline.

use multiversion::multiversion;

use super::deconvolve::BLOCK;
use crate::extract::load_samples::tree_sum;

/// Computes the mean over `width` samples around each; outside the window the trace is 0.
pub(super) fn smooth_trace(trace: &[f32], width: usize, out: &mut [f32]) {
    let half = width / 2;
    let length = trace.len();
    let scale = 1.0 / width as f32;
    let inner = half..length.saturating_sub(half).max(half.min(length));
    match half {
        1 => smooth_inner::<1>(trace, scale, out),
        2 => smooth_inner::<2>(trace, scale, out),
        3 => smooth_inner::<3>(trace, scale, out),
        _ => smooth_wide(trace, half, scale, out),
    }
    for index in (0..inner.start.min(length)).chain(inner.end..length) {
        out[index] = scale
            * trace[index.saturating_sub(half)..(index + half + 1).min(length)]
                .iter()
                .sum::<f32>();
    }
}

/// Smooths the samples with `HALF` neighbours on both sides; pairs are added from the inside out.
///
/// Eight at a time: wider loads would nearly always cross a cache line.
#[multiversion(targets = "simd")]
fn smooth_inner<const HALF: usize>(trace: &[f32], scale: f32, out: &mut [f32]) {
    let Some(count) = trace.len().checked_sub(2 * HALF) else {
        return;
    };
    let out = &mut out[HALF..][..count];
    let whole = count / BLOCK * BLOCK;
    for start in (0..whole).step_by(BLOCK) {
        let taps = &trace[start..start + BLOCK + 2 * HALF];
        let out = &mut out[start..start + BLOCK];
        let mut sum = [0.0_f32; BLOCK];
        #[expect(
            clippy::manual_memcpy,
            reason = "a copy goes through memory and takes twice the time of the whole loop"
        )]
        for lane in 0..BLOCK {
            sum[lane] = taps[HALF + lane];
        }
        for offset in 1..=HALF {
            for lane in 0..BLOCK {
                sum[lane] += taps[HALF - offset + lane] + taps[HALF + offset + lane];
            }
        }
        for lane in 0..BLOCK {
            out[lane] = scale * sum[lane];
        }
    }
    for index in whole..count {
        let mut sum = trace[index + HALF];
        for offset in 1..=HALF {
            sum += trace[index + HALF - offset] + trace[index + HALF + offset];
        }
        out[index] = scale * sum;
    }
}

/// [`smooth_inner`] for any width.
fn smooth_wide(trace: &[f32], half: usize, scale: f32, out: &mut [f32]) {
    let Some(count) = trace.len().checked_sub(2 * half) else {
        return;
    };
    for index in half..half + count {
        let mut sum = trace[index];
        for offset in 1..=half {
            sum += trace[index - offset] + trace[index + offset];
        }
        out[index] = scale * sum;
    }
}

/// Computes the sum of the trace per block.
#[multiversion(targets = "simd")]
pub(super) fn sum_blocks_only(trace: &[f32], sums: &mut [f32]) {
    for (trace, sum) in trace.chunks_exact(BLOCK).zip(sums) {
        let mut values = [0.0_f32; BLOCK];
        values.copy_from_slice(trace);
        *sum = tree_sum(values);
    }
}

/// Computes per block: sum of the trace, largest smoothed value, number and squares of the smoothed values below 0.
#[multiversion(targets = "simd")]
pub(super) fn sum_trace_blocks(
    trace: &[f32],
    smooth: &[f32],
    sums: &mut [f32],
    maxima: &mut [f32],
    squares_below: &mut [f32],
    count_below: &mut [f32],
) {
    let whole = trace.len() / BLOCK;
    let blocks = trace.chunks_exact(BLOCK).zip(smooth.chunks_exact(BLOCK));
    let results = sums
        .iter_mut()
        .zip(maxima.iter_mut())
        .zip(squares_below.iter_mut().zip(count_below.iter_mut()));
    for ((trace, smooth), ((sum, max), (squares_below, count_below))) in blocks.zip(results) {
        let mut values = [0.0_f32; BLOCK];
        let mut squares = [0.0_f32; BLOCK];
        let mut counts = [0.0_f32; BLOCK];
        let mut highest = [0.0_f32; BLOCK];
        for lane in 0..BLOCK {
            values[lane] = trace[lane];
            highest[lane] = smooth[lane];
            let low = if smooth[lane] < 0.0 {
                smooth[lane]
            } else {
                0.0
            };
            squares[lane] = low * low;
            counts[lane] = if smooth[lane] < 0.0 { 1.0 } else { 0.0 };
        }
        *sum = tree_sum(values);
        *max = tree_max(highest);
        *squares_below = tree_sum(squares);
        *count_below = tree_sum(counts);
    }
    // A last block that is not whole is used only to find hits.
    if let (Some(max), rest) = (maxima.get_mut(whole), &smooth[whole * BLOCK..]) {
        *max = rest.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    }
}

/// Returns the largest of eight lanes.
#[expect(
    clippy::inline_always,
    reason = "has to take on the vector width of the function it is called from"
)]
#[inline(always)]
fn tree_max(lanes: [f32; BLOCK]) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let fours: [f32; 4] = std::array::from_fn(|lane| larger(lanes[lane], lanes[lane + 4]));
    larger(larger(fours[0], fours[2]), larger(fours[1], fours[3]))
}
