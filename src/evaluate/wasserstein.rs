//! The charge-normalised 1-Wasserstein distance between hits and true photoelectrons: how far, on average, charge
//! has to be moved in time to turn one into the other.

use serde::Serialize;

use super::matching::MatchedWaveform;
use super::stats::{COUNT_EDGES, Estimate, SampleStats, bin_of, quantile};
use crate::model::TimedCharge;

/// W1 in ns between two lists of pulses in ascending time, each normalised to a total charge of 1: the integral over time
/// of |F - G|, with the cumulative charges F and G (`scipy.stats.wasserstein_distance` with weights). Pulses without
/// positive charge carry no weight; `None` if either side has no weight at all.
#[must_use]
pub fn wasserstein_ns(hits: &[TimedCharge], truth: &[TimedCharge]) -> Option<f64> {
    debug_assert!(hits.is_sorted_by_key(|pulse| pulse.time_ns));
    debug_assert!(truth.is_sorted_by_key(|pulse| pulse.time_ns));
    let total = |pulses: &[TimedCharge]| pulses.iter().map(|p| p.charge_pe.max(0.0)).sum::<f64>();
    let (all_hits, all_truth) = (total(hits), total(truth));
    if all_hits <= 0.0 || all_truth <= 0.0 {
        return None;
    }
    let (mut next_hit, mut next_truth) = (hits.iter().peekable(), truth.iter().peekable());
    // Charge to the left of `here`, hits less truth.
    let (mut difference, mut here, mut distance) = (0.0_f64, 0.0_f64, 0.0_f64);
    loop {
        let take_hit = match (next_hit.peek(), next_truth.peek()) {
            (Some(hit), Some(pe)) => hit.time_ns <= pe.time_ns,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return Some(distance),
        };
        let (pulse, weight) = if take_hit {
            (next_hit.next(), all_hits.recip())
        } else {
            (next_truth.next(), -all_truth.recip())
        };
        let Some(pulse) = pulse else {
            return Some(distance);
        };
        distance += difference.abs() * (pulse.time_ns - here);
        here = pulse.time_ns;
        difference += pulse.charge_pe.max(0.0) * weight;
    }
}

/// W1 of the waveforms with a range of numbers of true photoelectrons.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WassersteinBin {
    /// Fewest true photoelectrons.
    pub low: f64,
    /// First number above the bin; infinite (`null` in JSON) for the last.
    pub high: f64,
    /// Mean and spread of W1 in ns.
    pub w1_ns: SampleStats,
}

/// W1 over all waveforms that have both hits and truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WassersteinResult {
    /// Waveforms with both.
    pub n: u64,
    /// Mean, with its error.
    pub mean_ns: Option<Estimate>,
    /// Median.
    pub median_ns: Option<f64>,
    /// By number of true photoelectrons.
    pub by_n_pe: Vec<WassersteinBin>,
}

/// Computes W1 of every waveform that has both hits and truth.
#[must_use]
pub fn evaluate(waveforms: &[MatchedWaveform<'_>]) -> WassersteinResult {
    let mut all = Vec::new();
    let mut bins = vec![Vec::new(); COUNT_EDGES.len() - 1];
    for waveform in waveforms {
        if let Some(distance_ns) = wasserstein_ns(waveform.hits, waveform.truth) {
            all.push(distance_ns);
            if let Some(bin) = bin_of(&COUNT_EDGES, waveform.truth.len() as f64) {
                bins[bin].push(distance_ns);
            }
        }
    }
    let by_n_pe = COUNT_EDGES
        .windows(2)
        .zip(&bins)
        .filter_map(|(edge, values)| {
            Some(WassersteinBin {
                low: edge[0],
                high: edge[1],
                w1_ns: SampleStats::from_values(values)?,
            })
        })
        .collect();
    let mean_ns = SampleStats::from_values(&all).map(|spread| spread.mean);
    all.sort_by(f64::total_cmp);
    WassersteinResult {
        n: all.len() as u64,
        mean_ns,
        median_ns: quantile(&all, 0.5),
        by_n_pe,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pulses(times_ns: &[f64], charges_pe: &[f64]) -> Vec<TimedCharge> {
        times_ns
            .iter()
            .zip(charges_pe)
            .map(|(&time_ns, &charge_pe)| TimedCharge { time_ns, charge_pe })
            .collect()
    }

    #[test]
    fn agrees_with_scipy() {
        // scipy.stats.wasserstein_distance(times_a, times_b, charges_a, charges_b), scipy 1.x.
        type Side = (&'static [f64], &'static [f64]);
        let cases: [(Side, Side, f64); 4] = [
            (
                (&[10.5, 33.25, 80.0], &[1.2, 0.4, 2.5]),
                (&[9.0, 12.0, 40.0, 77.5], &[0.9, 1.1, 1.3, 0.7]),
                23.413_109_756_097_555,
            ),
            (
                (&[100.0], &[3.0]),
                (&[90.0, 95.0, 120.0], &[1.0, 0.5, 2.0]),
                15.0,
            ),
            (
                (&[1.0, 2.0, 3.0, 4.0], &[0.1, 5.0, 0.3, 2.0]),
                (&[2.5, 300.5], &[0.25, 4.0]),
                280.403_020_667_726_54,
            ),
            (
                (&[5.0, 5.0, 7.0], &[1.0, 2.0, 1.0]),
                (&[5.0, 7.0, 7.0], &[1.0, 1.0, 2.0]),
                1.0,
            ),
        ];
        for ((times_a, charges_a), (times_b, charges_b), expected) in cases {
            let (a, b) = (pulses(times_a, charges_a), pulses(times_b, charges_b));
            let found = wasserstein_ns(&a, &b).unwrap();
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }

    #[test]
    fn there_is_no_distance_to_nothing() {
        let one = pulses(&[1.0], &[1.0]);
        assert_eq!(wasserstein_ns(&one, &[]), None);
        assert_eq!(wasserstein_ns(&pulses(&[1.0], &[0.0]), &one), None);
    }

    fn any_pulses() -> impl Strategy<Value = Vec<TimedCharge>> {
        prop::collection::vec((0.0..1000.0_f64, 0.01..5.0_f64), 1..20).prop_map(|mut list| {
            list.sort_by(|a, b| a.0.total_cmp(&b.0));
            list.into_iter()
                .map(|(time_ns, charge_pe)| TimedCharge { time_ns, charge_pe })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn it_is_symmetric(a in any_pulses(), b in any_pulses()) {
            let (there, back) = (wasserstein_ns(&a, &b).unwrap(), wasserstein_ns(&b, &a).unwrap());
            prop_assert!((there - back).abs() < 1e-9);
            prop_assert!(there >= 0.0);
        }

        #[test]
        fn a_detour_is_never_shorter(a in any_pulses(), b in any_pulses(), c in any_pulses()) {
            let direct = wasserstein_ns(&a, &c).unwrap();
            let detour = wasserstein_ns(&a, &b).unwrap() + wasserstein_ns(&b, &c).unwrap();
            prop_assert!(direct <= detour + 1e-9);
        }

        #[test]
        fn a_shift_costs_the_shift_whatever_the_scale_of_the_charge(
            a in any_pulses(), shift_ns in -50.0..50.0_f64, scale in 0.1..10.0_f64,
        ) {
            let moved: Vec<_> = a
                .iter()
                .map(|p| TimedCharge { time_ns: p.time_ns + shift_ns, charge_pe: p.charge_pe * scale })
                .collect();
            prop_assert!((wasserstein_ns(&a, &moved).unwrap() - shift_ns.abs()).abs() < 1e-9);
        }
    }
}
