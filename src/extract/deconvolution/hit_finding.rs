//! Stage 6: hit finding in the deconvolved trace.
//!
//! A region is where the smoothed trace exceeds the threshold. It is extended on both sides by the length in which the kernel of a
//! photoelectron falls to zero, not to the first zero crossing of the noisy trace: that would keep noise above zero and drop noise below,
//! +2 % of the charge of one photoelectron. Regions whose extensions meet are divided at the lowest sample between them. Within a region the
//! hits are the peaks separated by valleys that are deep enough.

use super::deconvolve::{BLOCK, DeconvolutionPlan};

/// Extension of a hit beyond threshold, in standard deviations of the kernel.
const REACH_SIGMA: f32 = 1.7;

/// Parameters of hit finding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HitSearch {
    /// Least height of the smoothed trace, in PE/ns.
    pub threshold: f32,
    /// Least depth of a valley between two hits, in PE/ns.
    pub valley_depth: f32,
    /// Extension of a region, in samples of the trace.
    pub reach: usize,
}

/// The part of the trace that belongs to one hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundHit {
    /// First sample.
    pub begin: usize,
    /// One past the last sample.
    pub end: usize,
    /// The highest sample.
    pub peak: usize,
    /// True if the hit is the first one of its region, so that its leading edge is its own.
    pub leads: bool,
    /// True if no other hit adjoins this one before it, and after it.
    pub alone: (bool, bool),
}

/// Returns how far hits extend beyond threshold, in samples of the trace.
#[must_use]
pub fn reach(plan: &DeconvolutionPlan) -> usize {
    (REACH_SIGMA * plan.kernel_sigma_ns / plan.step_ns)
        .round()
        .max(1.0) as usize
}

/// Finds the hits of a trace, in time order. `block_max` holds the largest value of `smooth` in each block of
/// [`BLOCK`] samples; blocks below threshold are skipped.
pub fn find_hits(
    trace: &[f32],
    smooth: &[f32],
    block_max: &[f32],
    search: HitSearch,
    found: &mut Vec<FoundHit>,
) {
    found.clear();
    let mut open: Option<Region> = None;
    let mut previous_end = 0;
    for (block, &max) in block_max.iter().enumerate() {
        let range = block * BLOCK..((block + 1) * BLOCK).min(smooth.len());
        if max <= search.threshold {
            continue;
        }
        for index in range {
            if smooth[index] <= search.threshold {
                continue;
            }
            match &mut open {
                Some(region) if region.last + 1 == index => region.last = index,
                _ => {
                    let next = Region {
                        first: index,
                        last: index,
                    };
                    if let Some(region) = open.replace(next) {
                        previous_end =
                            close_region(trace, region, previous_end, Some(index), search, found);
                    }
                }
            }
        }
    }
    if let Some(region) = open {
        close_region(trace, region, previous_end, None, search, found);
    }
}

/// Consecutive samples over threshold.
#[derive(Clone, Copy)]
struct Region {
    first: usize,
    last: usize,
}

/// Extends and splits a region; returns its end.
fn close_region(
    trace: &[f32],
    region: Region,
    previous_end: usize,
    next: Option<usize>,
    search: HitSearch,
    found: &mut Vec<FoundHit>,
) -> usize {
    let begin = region.first.saturating_sub(search.reach).max(previous_end);
    let mut end = (region.last + 1 + search.reach).min(trace.len());
    let mut alone_before = begin + search.reach == region.first || begin == 0;
    let mut alone_after = true;
    if let Some(next) = next
        && end + search.reach > next
    {
        end = lowest_sample(trace, region.last + 1, next) + 1;
        alone_after = false;
    }
    let mut hit_begin = begin;
    let mut peak: Option<usize> = None;
    let mut leads = true;
    for index in region.first..=region.last {
        if !is_peak(trace, index) {
            continue;
        }
        let Some(previous) = peak else {
            peak = Some(index);
            continue;
        };
        let valley = lowest_sample(trace, previous, index);
        if trace[previous].min(trace[index]) - trace[valley] > search.valley_depth {
            let alone = (alone_before, false);
            found.push(FoundHit {
                begin: hit_begin,
                end: valley + 1,
                peak: previous,
                leads,
                alone,
            });
            alone_before = false;
            hit_begin = valley + 1;
            leads = false;
            peak = Some(index);
        } else if trace[index] > trace[previous] {
            peak = Some(index);
        }
    }
    // A region without a peak is the flank of light outside the window.
    let peak = peak.unwrap_or_else(|| {
        (region.first..=region.last).fold(region.first, |best, index| {
            if trace[index] > trace[best] {
                index
            } else {
                best
            }
        })
    });
    found.push(FoundHit {
        begin: hit_begin,
        end,
        peak,
        leads,
        alone: (alone_before, alone_after),
    });
    end
}

fn is_peak(trace: &[f32], index: usize) -> bool {
    let previous = index
        .checked_sub(1)
        .map_or(f32::NEG_INFINITY, |previous| trace[previous]);
    let after = trace.get(index + 1).copied().unwrap_or(f32::NEG_INFINITY);
    trace[index] >= previous && trace[index] > after
}

/// Returns the index of the lowest sample in `begin..end` (the first of equals), `begin` if there is none.
fn lowest_sample(trace: &[f32], begin: usize, end: usize) -> usize {
    (begin..end).fold(begin, |best, index| {
        if trace[index] < trace[best] {
            index
        } else {
            best
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math;

    const SEARCH: HitSearch = HitSearch {
        threshold: 0.02,
        valley_depth: 0.01,
        reach: 3,
    };

    fn kernel(height: f32, at: f32, length: usize) -> Vec<f32> {
        (0..length)
            .map(|index| height * math::exp(-0.5 * ((index as f32 - at) / 1.7).powi(2)))
            .collect()
    }

    fn hits(trace: &[f32]) -> Vec<FoundHit> {
        let block_max: Vec<f32> = trace
            .chunks(BLOCK)
            .map(|block| block.iter().copied().fold(f32::NEG_INFINITY, f32::max))
            .collect();
        let mut found = Vec::new();
        find_hits(trace, trace, &block_max, SEARCH, &mut found);
        found
    }

    #[test]
    fn nothing_gives_nothing_and_one_gives_one() {
        assert!(hits(&[0.0; 100]).is_empty());
        let found = hits(&kernel(0.1, 40.0, 100));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].peak, found[0].leads), (40, true));
        assert!(found[0].begin <= 35 && found[0].end >= 46, "{found:?}");
    }

    #[test]
    fn hits_share_the_trace_without_overlap() {
        for distance in 1..40 {
            let mut trace = kernel(0.1, 30.0, 100);
            for (sum, value) in trace
                .iter_mut()
                .zip(kernel(0.15, 30.0 + distance as f32, 100))
            {
                *sum += value;
            }
            let found = hits(&trace);
            assert_eq!(
                found.len(),
                if distance < 6 { found.len().min(2) } else { 2 },
                "{distance}"
            );
            for pair in found.windows(2) {
                assert!(pair[0].end <= pair[1].begin, "{distance}: {found:?}");
            }
            assert!(
                found
                    .iter()
                    .all(|hit| (hit.begin..hit.end).contains(&hit.peak)),
                "{distance}: {found:?}"
            );
            let kept: f32 = found
                .iter()
                .map(|hit| trace[hit.begin..hit.end].iter().sum::<f32>())
                .sum();
            assert!(
                (kept / trace.iter().sum::<f32>() - 1.0).abs() < 0.01,
                "{distance}: {kept}"
            );
        }
    }

    #[test]
    fn light_at_the_ends_stays_inside() {
        for at in [-2.0, 0.0, 1.0, 98.0, 99.0, 101.0] {
            let found = hits(&kernel(0.2, at, 100));
            assert_eq!(found.len(), 1, "{at}");
            assert!(
                found[0].begin < found[0].end && found[0].end <= 100,
                "{at}: {found:?}"
            );
        }
    }
}
