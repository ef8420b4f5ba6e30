//! Pair separation: the distance in time from which two photoelectrons get a hit each.

use serde::Serialize;

use super::matching::MatchedWaveform;
use super::stats::{Share, bin_of};
use crate::model::TimedCharge;

/// A photoelectron is found if a hit lies within this time of it, or within half the pair's distance if that is less.
pub const TOLERANCE_NS: f64 = 5.0;

/// Edges of the bins in the true distance.
const EDGES_NS: [f64; 32] = [
    0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0,
    18.0, 20.0, 22.0, 24.0, 27.0, 30.0, 35.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0, 200.0, 400.0,
];

/// The pairs in one range of distance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairBin {
    /// Lowest distance.
    pub low_ns: f64,
    /// Upper end.
    pub high_ns: f64,
    /// Mean distance.
    pub mean_ns: f64,
    /// Share of the pairs whose photoelectrons each have a hit of their own.
    pub resolved: Share,
}

/// Separation of pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairResult {
    /// Waveforms with exactly two true photoelectrons.
    pub n: u64,
    /// By distance.
    pub by_distance: Vec<PairBin>,
    /// Distance from which half of the pairs are resolved; `None` if it is never reached.
    pub resolved_50_ns: Option<f64>,
    /// Distance from which 90 % of the pairs are resolved; `None` if it is never reached.
    pub resolved_90_ns: Option<f64>,
}

/// Computes the share of resolved pairs by distance, from the waveforms with exactly two true photoelectrons.
#[must_use]
pub fn evaluate(waveforms: &[MatchedWaveform<'_>]) -> PairResult {
    // Sum of distances, resolved, all.
    let mut bins = [(0.0, 0_u64, 0_u64); EDGES_NS.len() - 1];
    let mut n = 0;
    for waveform in waveforms {
        let [first, second] = waveform.truth else {
            continue;
        };
        n += 1;
        let distance_ns = second.time_ns - first.time_ns;
        if let Some(bin) = bin_of(&EDGES_NS, distance_ns) {
            bins[bin].0 += distance_ns;
            bins[bin].1 += u64::from(is_resolved(waveform.hits, *first, *second));
            bins[bin].2 += 1;
        }
    }
    let by_distance: Vec<_> = EDGES_NS
        .windows(2)
        .zip(bins)
        .filter_map(|(edge, (sum_ns, resolved, all))| {
            Some(PairBin {
                low_ns: edge[0],
                high_ns: edge[1],
                mean_ns: sum_ns / all as f64,
                resolved: Share::new(resolved, all)?,
            })
        })
        .collect();
    let curve = monotone(&by_distance);
    PairResult {
        n,
        resolved_50_ns: crossing(&curve, 0.5),
        resolved_90_ns: crossing(&curve, 0.9),
        by_distance,
    }
}

/// True if each of the two photoelectrons has a hit of its own within its tolerance.
#[must_use]
pub fn is_resolved(hits: &[TimedCharge], first: TimedCharge, second: TimedCharge) -> bool {
    let tolerance_ns = TOLERANCE_NS.min((second.time_ns - first.time_ns) / 2.0);
    let near = |pe: TimedCharge| {
        move |hit: &&TimedCharge| (hit.time_ns - pe.time_ns).abs() <= tolerance_ns
    };
    let of_first = hits.iter().filter(near(first)).count();
    let of_second = hits.iter().filter(near(second)).count();
    // A hit exactly half-way lies in both windows and can serve only one.
    let of_both = hits.iter().filter(near(first)).filter(near(second)).count();
    of_first > 0 && of_second > 0 && of_first + of_second - of_both >= 2
}

/// The bins' shares made to rise with distance (pool adjacent violators, weighted by the entries): the distance and
/// share of every bin. Without this a fluctuation of one bin would move the distance at which a level is reached.
fn monotone(bins: &[PairBin]) -> Vec<(f64, f64)> {
    // Share, entries, bins pooled.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for bin in bins {
        let mut block = (bin.resolved.value, bin.resolved.n as f64, 1);
        while let Some(last) = blocks.last().copied().filter(|last| last.0 > block.0) {
            let n = last.1 + block.1;
            block = (
                (last.0 * last.1 + block.0 * block.1) / n,
                n,
                last.2 + block.2,
            );
            blocks.pop();
        }
        blocks.push(block);
    }
    let shares = blocks
        .iter()
        .flat_map(|block| std::iter::repeat_n(block.0, block.2));
    bins.iter().map(|bin| bin.mean_ns).zip(shares).collect()
}

/// Returns where a rising curve first reaches `level`, linear between its points.
fn crossing(curve: &[(f64, f64)], level: f64) -> Option<f64> {
    let above = curve.iter().position(|point| point.1 >= level)?;
    let (x, y) = curve[above];
    let Some(&(x_before, y_before)) = above.checked_sub(1).and_then(|before| curve.get(before))
    else {
        return Some(x);
    };
    Some(x_before + (x - x_before) * (level - y_before) / (y - y_before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Flags;

    fn at(times_ns: &[f64]) -> Vec<TimedCharge> {
        times_ns
            .iter()
            .map(|&time_ns| TimedCharge {
                time_ns,
                charge_pe: 1.0,
            })
            .collect()
    }

    fn resolved(hits_ns: &[f64], first_ns: f64, second_ns: f64) -> bool {
        let pair = at(&[first_ns, second_ns]);
        is_resolved(&at(hits_ns), pair[0], pair[1])
    }

    #[test]
    fn each_photoelectron_needs_a_hit_of_its_own() {
        assert!(resolved(&[100.0, 110.0], 100.0, 110.0));
        assert!(resolved(&[104.9, 124.0], 100.0, 120.0));
        assert!(!resolved(&[100.0], 100.0, 110.0));
        assert!(!resolved(&[100.0, 130.0], 100.0, 120.0), "10 ns off");
        assert!(!resolved(&[105.0], 100.0, 110.0), "one hit half-way");
        assert!(
            !resolved(&[102.0, 102.5], 100.0, 110.0),
            "both of the first"
        );
        assert!(!resolved(&[], 100.0, 110.0));
    }

    #[test]
    fn a_method_that_merges_below_8_ns_reaches_both_levels_there() {
        let pairs: Vec<_> = (0..4000)
            .map(|i| f64::from(i) * 0.01)
            .map(|d| {
                let truth = at(&[100.0, 100.0 + d]);
                let hits = if d < 8.0 {
                    at(&[100.0 + d / 2.0])
                } else {
                    truth.clone()
                };
                (hits, truth)
            })
            .collect();
        let waveforms: Vec<_> = pairs
            .iter()
            .map(|(hits, truth)| MatchedWaveform {
                hits,
                truth,
                flags: Flags::NONE,
            })
            .collect();
        let result = evaluate(&waveforms);
        assert_eq!(result.n, 4000);
        assert!((result.resolved_50_ns.unwrap() - 8.0).abs() <= 0.5);
        assert!((result.resolved_90_ns.unwrap() - 8.0).abs() <= 0.5);
        // The other photoelectrons of a waveform may hide a miss: only exact pairs count.
        let three = at(&[1.0, 2.0, 3.0]);
        let waveform = MatchedWaveform {
            hits: &three,
            truth: &three,
            flags: Flags::NONE,
        };
        assert_eq!(evaluate(&[waveform]).n, 0);
    }

    #[test]
    fn one_low_bin_does_not_move_the_level_to_far_distances() {
        let bin = |mean_ns, k| PairBin {
            low_ns: mean_ns - 0.5,
            high_ns: mean_ns + 0.5,
            mean_ns,
            resolved: Share::new(k, 100).unwrap(),
        };
        let curve = monotone(&[bin(5.0, 20), bin(10.0, 96), bin(15.0, 88), bin(20.0, 99)]);
        let shares: Vec<_> = curve.iter().map(|point| point.1).collect();
        assert_eq!(shares, [0.2, 0.92, 0.92, 0.99]);
        assert!(crossing(&curve, 0.9).unwrap() < 10.0);
        assert_eq!(crossing(&curve, 1.0), None);
    }
}
