//! Efficiency, purity, false hits and hits per photoelectron.
//!
//! A photoelectron is found if a hit lies within +-[`TOLERANCE_NS`]; a hit is real if a true photoelectron does. Several
//! photoelectrons may share a hit: how well they are told apart is the business of pair separation and of W1.

use serde::Serialize;

use super::matching::MatchedWaveform;
use super::stats::{COUNT_EDGES, Estimate, Share, bin_of, rate, ratio_of_sums};
use crate::model::TimedCharge;

/// Maximum time between a hit and a photoelectron that belong together.
pub const TOLERANCE_NS: f64 = 10.0;

/// Edges of the bins in the charge of a single photoelectron, in PE; the first and the last bin are open.
const EDGES_PE: [f64; 20] = [
    f64::NEG_INFINITY,
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    1.0,
    1.1,
    1.2,
    1.4,
    1.6,
    1.8,
    2.0,
    2.5,
    3.0,
    f64::INFINITY,
];

/// Photoelectrons in one range of charge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EfficiencyBin {
    /// Lowest charge; infinite (`null` in JSON) for the first bin.
    pub low_pe: f64,
    /// Upper end; infinite (`null` in JSON) for the last bin.
    pub high_pe: f64,
    /// Mean charge.
    pub mean_pe: f64,
    /// Share found.
    pub found: Share,
}

/// Hits per photoelectron of the waveforms with one range of numbers of true photoelectrons.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HitsBin {
    /// Fewest true photoelectrons.
    pub low: f64,
    /// First number above the bin; infinite (`null` in JSON) for the last.
    pub high: f64,
    /// Mean number of true photoelectrons.
    pub mean_n_pe: f64,
    /// Hits over photoelectrons.
    pub hits_per_pe: Estimate,
}

/// The results for the detection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DetectionResult {
    /// Share of the true photoelectrons with a hit near.
    pub efficiency: Option<Share>,
    /// The same by the photoelectron's charge.
    pub efficiency_by_charge: Vec<EfficiencyBin>,
    /// Share of the hits with a true photoelectron near.
    pub purity: Option<Share>,
    /// Hits without a true photoelectron near.
    pub false_hits: u64,
    /// Those per waveform.
    pub false_hits_per_waveform: Option<Estimate>,
    /// Hits in waveforms that have no true photoelectron.
    pub false_hits_in_empty: u64,
    /// Those per such waveform.
    pub false_hits_per_empty_waveform: Option<Estimate>,
    /// Hits over true photoelectrons, in waveforms that have any.
    pub hits_per_pe: Option<Estimate>,
    /// The same by number of true photoelectrons.
    pub hits_per_pe_by_n_pe: Vec<HitsBin>,
}

/// Computes efficiency, purity and hits per photoelectron.
#[must_use]
pub fn evaluate(waveforms: &[MatchedWaveform<'_>]) -> DetectionResult {
    // Sum of charges, found, all.
    let mut by_charge = [(0.0, 0, 0); EDGES_PE.len() - 1];
    let mut by_count = vec![Vec::new(); COUNT_EDGES.len() - 1];
    let mut counts = Vec::new();
    let (mut hits, mut false_hits, mut false_in_empty, mut empty) = (0, 0, 0, 0);
    for waveform in waveforms {
        for pe in waveform.truth {
            if let Some(bin) = bin_of(&EDGES_PE, pe.charge_pe) {
                by_charge[bin].0 += pe.charge_pe;
                by_charge[bin].1 += u64::from(has_near(waveform.hits, pe.time_ns));
                by_charge[bin].2 += 1;
            }
        }
        hits += waveform.hits.len() as u64;
        let stray = waveform
            .hits
            .iter()
            .filter(|hit| !has_near(waveform.truth, hit.time_ns))
            .count() as u64;
        false_hits += stray;
        if waveform.truth.is_empty() {
            empty += 1;
            false_in_empty += stray;
        } else {
            let n_pe = waveform.truth.len() as f64;
            let pair = (waveform.hits.len() as f64, n_pe);
            counts.push(pair);
            if let Some(bin) = bin_of(&COUNT_EDGES, n_pe) {
                by_count[bin].push(pair);
            }
        }
    }
    let found = by_charge.iter().map(|bin| bin.1).sum();
    let all = by_charge.iter().map(|bin| bin.2).sum();
    DetectionResult {
        efficiency: Share::new(found, all),
        efficiency_by_charge: EDGES_PE
            .windows(2)
            .zip(by_charge)
            .filter_map(|(edge, (sum_pe, found, all))| {
                Some(EfficiencyBin {
                    low_pe: edge[0],
                    high_pe: edge[1],
                    mean_pe: sum_pe / all as f64,
                    found: Share::new(found, all)?,
                })
            })
            .collect(),
        purity: Share::new(hits - false_hits, hits),
        false_hits,
        false_hits_per_waveform: rate(false_hits, waveforms.len() as u64),
        false_hits_in_empty: false_in_empty,
        false_hits_per_empty_waveform: rate(false_in_empty, empty),
        hits_per_pe: ratio_of_sums(&counts),
        hits_per_pe_by_n_pe: COUNT_EDGES
            .windows(2)
            .zip(&by_count)
            .filter_map(|(edge, pairs)| {
                Some(HitsBin {
                    low: edge[0],
                    high: edge[1],
                    mean_n_pe: pairs.iter().map(|pair| pair.1).sum::<f64>() / pairs.len() as f64,
                    hits_per_pe: ratio_of_sums(pairs)?,
                })
            })
            .collect(),
    }
}

/// True if one of `pulses` (in ascending time) lies within the tolerance of `time_ns`.
fn has_near(pulses: &[TimedCharge], time_ns: f64) -> bool {
    let first = pulses.partition_point(|pulse| pulse.time_ns < time_ns - TOLERANCE_NS);
    pulses
        .get(first)
        .is_some_and(|pulse| pulse.time_ns <= time_ns + TOLERANCE_NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Flags;

    fn pulses(list: &[(f64, f64)]) -> Vec<TimedCharge> {
        list.iter()
            .map(|&(time_ns, charge_pe)| TimedCharge { time_ns, charge_pe })
            .collect()
    }

    #[test]
    fn an_added_false_hit_lowers_the_purity_by_what_it_should() {
        let truth = pulses(&[(100.0, 1.0), (200.0, 0.2), (300.0, 1.0)]);
        let hits = pulses(&[(50.0, 0.4), (100.0, 1.0), (200.0, 0.2), (300.0, 1.0)]);
        let perfect = MatchedWaveform {
            hits: &truth,
            truth: &truth,
            flags: Flags::NONE,
        };
        let noisy = MatchedWaveform {
            hits: &hits,
            truth: &truth,
            flags: Flags::NONE,
        };
        let result = evaluate(&[perfect]);
        assert_eq!(result.purity.unwrap().value, 1.0);
        assert_eq!(result.efficiency.unwrap().value, 1.0);
        assert_eq!(result.hits_per_pe.unwrap().value, 1.0);
        let result = evaluate(&[perfect, noisy]);
        assert_eq!(result.purity.unwrap().value, 6.0 / 7.0);
        assert_eq!(result.efficiency.unwrap().value, 1.0);
        assert_eq!(result.false_hits_per_waveform.unwrap().value, 0.5);
        assert_eq!(result.false_hits_in_empty, 0);
        assert_eq!(result.hits_per_pe.unwrap().value, 7.0 / 6.0);
    }

    #[test]
    fn a_missed_photoelectron_lowers_the_efficiency_at_its_charge_only() {
        let truth = pulses(&[(100.0, 1.05), (200.0, 0.25)]);
        let hits = pulses(&[(110.0, 1.0)]);
        let result = evaluate(&[MatchedWaveform {
            hits: &hits,
            truth: &truth,
            flags: Flags::NONE,
        }]);
        assert_eq!(result.efficiency.unwrap().value, 0.5);
        let shares: Vec<_> = result
            .efficiency_by_charge
            .iter()
            .map(|bin| (bin.low_pe, bin.found.value))
            .collect();
        assert_eq!(shares, [(0.2, 0.0), (1.0, 1.0)]);
    }

    #[test]
    fn hits_of_empty_waveforms_are_all_false() {
        let hits = pulses(&[(100.0, 1.0), (101.0, 1.0)]);
        let dark = MatchedWaveform {
            hits: &hits,
            truth: &[],
            flags: Flags::NONE,
        };
        let quiet = MatchedWaveform::default();
        let result = evaluate(&[dark, quiet]);
        assert_eq!((result.false_hits, result.false_hits_in_empty), (2, 2));
        assert_eq!(result.false_hits_per_empty_waveform.unwrap().value, 1.0);
        assert_eq!(result.purity.unwrap().value, 0.0);
        assert!(result.efficiency.is_none() && result.hits_per_pe.is_none());
    }
}
