//! Charge: bias, resolution and residual nonlinearity of a waveform's charge sum against its true charge.
//!
//! Saturated waveforms are excluded and counted: their charge is lost, not misreconstructed.

use serde::Serialize;

use super::matching::MatchedWaveform;
use super::stats::{CHARGE_EDGES_PE, COUNT_EDGES, Estimate, SampleStats, bin_of, ratio_of_sums};

/// Range of true charge, in PE, whose ratio of sums is the reference of the nonlinearity: far from the threshold, far
/// from the digitiser's range.
pub const REFERENCE_PE: (f64, f64) = (10.0, 30.0);
/// The reference where fewer than [`MIN_ENTRIES`] waveforms lie in [`REFERENCE_PE`].
pub const WIDE_REFERENCE_PE: (f64, f64) = (1.0, 200.0);
/// Range of true charge, in PE, the largest deviation is searched in.
pub const LINEARITY_RANGE_PE: (f64, f64) = (1.0, 200.0);
/// Fewest waveforms for a reference, and for a bin that may be the largest deviation.
pub const MIN_ENTRIES: u64 = 20;

/// The waveforms in one range of true charge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ChargeBin {
    /// Lowest true charge.
    pub low_pe: f64,
    /// Upper end; infinite (`null` in JSON) for the last bin.
    pub high_pe: f64,
    /// Mean true charge.
    pub mean_true_pe: f64,
    /// Mean and RMS of reco / true - 1: bias and resolution.
    pub deviation: SampleStats,
    /// Sum of reconstructed over sum of true charge.
    pub ratio: Estimate,
    /// `ratio` / reference - 1, with the bin's own error.
    pub nonlinearity: Option<Estimate>,
}

/// The waveforms with one range of numbers of true photoelectrons.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CountBin {
    /// Fewest true photoelectrons.
    pub low: f64,
    /// First number above the bin; infinite (`null` in JSON) for the last.
    pub high: f64,
    /// Mean number of true photoelectrons.
    pub mean_n_pe: f64,
    /// Mean and RMS of (reconstructed charge / number of photoelectrons) - 1.
    pub deviation: SampleStats,
    /// RMS of (true charge / number of photoelectrons) - 1 of the same waveforms, for the picture; not in the JSON.
    #[serde(skip)]
    pub true_rms: f64,
}

/// The reference of the nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reference {
    /// Lowest true charge.
    pub low_pe: f64,
    /// Upper end.
    pub high_pe: f64,
    /// Waveforms in the range.
    pub n: u64,
    /// Sum of reconstructed over sum of true charge.
    pub ratio: Estimate,
}

/// The bin that deviates most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LargestDeviation {
    /// Lowest true charge of the bin.
    pub low_pe: f64,
    /// Upper end of the bin.
    pub high_pe: f64,
    /// Its nonlinearity.
    pub nonlinearity: Estimate,
}

/// The results for the charge.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChargeResult {
    /// Waveforms used: with true charge, not saturated.
    pub n: u64,
    /// Waveforms with truth left out because they are saturated.
    pub n_saturated: u64,
    /// Waveforms left out because their photoelectrons sum to no positive charge.
    pub n_without_charge: u64,
    /// Sum of reconstructed over sum of true charge, minus 1.
    pub bias: Option<Estimate>,
    /// Spread of the true single-photoelectron charge over its mean.
    pub single_pe_sigma: Option<f64>,
    /// By true charge.
    pub by_charge: Vec<ChargeBin>,
    /// By number of true photoelectrons.
    pub by_n_pe: Vec<CountBin>,
    /// The reference of the nonlinearity.
    pub reference: Option<Reference>,
    /// The largest deviation within [`LINEARITY_RANGE_PE`] among bins of at least [`MIN_ENTRIES`] waveforms.
    pub largest_nonlinearity: Option<LargestDeviation>,
}

/// Computes bias, resolution and nonlinearity.
#[must_use]
pub fn evaluate(waveforms: &[MatchedWaveform<'_>]) -> ChargeResult {
    // Reconstructed charge, true charge.
    let mut pairs = Vec::new();
    let mut by_charge = vec![Vec::new(); CHARGE_EDGES_PE.len() - 1];
    // Reconstructed charge, true charge, number of photoelectrons.
    let mut by_count = vec![Vec::new(); COUNT_EDGES.len() - 1];
    let (mut n_saturated, mut n_without_charge) = (0, 0);
    let mut single = Vec::new();
    for waveform in waveforms.iter().filter(|w| !w.truth.is_empty()) {
        single.extend(waveform.truth.iter().map(|pe| pe.charge_pe));
        if waveform.is_saturated() {
            n_saturated += 1;
            continue;
        }
        let (found_pe, true_pe) = (waveform.reconstructed_pe(), waveform.true_pe());
        if true_pe <= 0.0 {
            n_without_charge += 1;
            continue;
        }
        pairs.push((found_pe, true_pe));
        if let Some(bin) = bin_of(&CHARGE_EDGES_PE, true_pe) {
            by_charge[bin].push((found_pe, true_pe));
        }
        let n_pe = waveform.truth.len() as f64;
        if let Some(bin) = bin_of(&COUNT_EDGES, n_pe) {
            by_count[bin].push((found_pe, true_pe, n_pe));
        }
    }
    let reference = reference(&pairs, REFERENCE_PE)
        .filter(|reference| reference.n >= MIN_ENTRIES)
        .or_else(|| reference(&pairs, WIDE_REFERENCE_PE));
    let by_charge: Vec<_> = CHARGE_EDGES_PE
        .windows(2)
        .zip(&by_charge)
        .filter_map(|(edge, pairs)| charge_bin(edge, pairs, reference))
        .collect();
    ChargeResult {
        n: pairs.len() as u64,
        n_saturated,
        n_without_charge,
        bias: ratio_of_sums(&pairs).map(|ratio| Estimate {
            value: ratio.value - 1.0,
            ..ratio
        }),
        single_pe_sigma: SampleStats::from_values(&single)
            .map(|spread| spread.rms / spread.mean.value)
            .filter(|sigma| sigma.is_finite()),
        largest_nonlinearity: largest(&by_charge),
        by_charge,
        by_n_pe: COUNT_EDGES
            .windows(2)
            .zip(&by_count)
            .filter_map(|(edge, waveforms)| count_bin(edge, waveforms))
            .collect(),
        reference,
    }
}

fn reference(pairs: &[(f64, f64)], (low_pe, high_pe): (f64, f64)) -> Option<Reference> {
    let inside: Vec<_> = pairs
        .iter()
        .copied()
        .filter(|pair| (low_pe..high_pe).contains(&pair.1))
        .collect();
    let ratio = ratio_of_sums(&inside).filter(|ratio| ratio.value > 0.0)?;
    Some(Reference {
        low_pe,
        high_pe,
        n: inside.len() as u64,
        ratio,
    })
}

fn charge_bin(
    edge: &[f64],
    pairs: &[(f64, f64)],
    reference: Option<Reference>,
) -> Option<ChargeBin> {
    let deviations: Vec<f64> = pairs.iter().map(|(found, t)| found / t - 1.0).collect();
    let ratio = ratio_of_sums(pairs)?;
    Some(ChargeBin {
        low_pe: edge[0],
        high_pe: edge[1],
        mean_true_pe: pairs.iter().map(|pair| pair.1).sum::<f64>() / pairs.len() as f64,
        deviation: SampleStats::from_values(&deviations)?,
        ratio,
        nonlinearity: reference.map(|reference| Estimate {
            value: ratio.value / reference.ratio.value - 1.0,
            error: ratio.error / reference.ratio.value,
        }),
    })
}

fn count_bin(edge: &[f64], waveforms: &[(f64, f64, f64)]) -> Option<CountBin> {
    let relative = |of: fn(&(f64, f64, f64)) -> f64| {
        let deviations: Vec<f64> = waveforms.iter().map(|one| of(one) / one.2 - 1.0).collect();
        SampleStats::from_values(&deviations)
    };
    Some(CountBin {
        low: edge[0],
        high: edge[1],
        mean_n_pe: waveforms.iter().map(|one| one.2).sum::<f64>() / waveforms.len() as f64,
        deviation: relative(|one| one.0)?,
        true_rms: relative(|one| one.1)?.rms,
    })
}

fn largest(bins: &[ChargeBin]) -> Option<LargestDeviation> {
    bins.iter()
        .filter(|bin| {
            bin.low_pe >= LINEARITY_RANGE_PE.0
                && bin.high_pe <= LINEARITY_RANGE_PE.1
                && bin.deviation.n >= MIN_ENTRIES
        })
        .filter_map(|bin| {
            Some(LargestDeviation {
                low_pe: bin.low_pe,
                high_pe: bin.high_pe,
                nonlinearity: bin.nonlinearity?,
            })
        })
        .max_by(|a, b| {
            let size = |deviation: &LargestDeviation| deviation.nonlinearity.value.abs();
            size(a).total_cmp(&size(b))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Flags, TimedCharge};

    fn one(charge_pe: f64) -> Vec<TimedCharge> {
        vec![TimedCharge {
            time_ns: 100.0,
            charge_pe,
        }]
    }

    /// Waveforms of 0.25 to 199.75 PE whose reconstructed charge is `response(true charge)`.
    fn result_of(response: impl Fn(f64) -> f64) -> ChargeResult {
        let pulses: Vec<_> = (0..4000)
            .map(|i| 0.25 + f64::from(i % 400) * 0.5)
            .map(|true_pe| (one(response(true_pe)), one(true_pe)))
            .collect();
        let waveforms: Vec<_> = pulses
            .iter()
            .map(|(hits, truth)| MatchedWaveform {
                hits,
                truth,
                flags: Flags::NONE,
            })
            .collect();
        evaluate(&waveforms)
    }

    #[test]
    fn a_scaled_charge_is_a_bias_and_no_nonlinearity() {
        let result = result_of(|pe| 0.97 * pe);
        assert!((result.bias.unwrap().value + 0.03).abs() < 1e-12);
        assert!(
            result
                .largest_nonlinearity
                .unwrap()
                .nonlinearity
                .value
                .abs()
                < 1e-12
        );
        for bin in &result.by_charge {
            assert!((bin.deviation.mean.value + 0.03).abs() < 1e-12);
            assert!(bin.deviation.rms < 1e-12);
        }
    }

    #[test]
    fn a_response_that_droops_is_a_nonlinearity_where_it_droops_most() {
        // 2 % less per 100 PE.
        let result = result_of(|pe| pe * (1.0 - 0.0002 * pe));
        let largest = result.largest_nonlinearity.unwrap();
        assert_eq!((largest.low_pe, largest.high_pe), (180.0, 200.0));
        let reference = result.reference.unwrap();
        assert_eq!((reference.low_pe, reference.high_pe), REFERENCE_PE);
        // Mean charges, weighted by charge, of the bin and of the reference: sum q^2 / sum q.
        let weighted =
            |low: f64, high: f64| (high.powi(3) - low.powi(3)) / 1.5 / (high * high - low * low);
        let expected =
            (1.0 - 0.0002 * weighted(180.0, 200.0)) / (1.0 - 0.0002 * weighted(10.0, 30.0)) - 1.0;
        assert!((largest.nonlinearity.value - expected).abs() < 1e-5);
    }

    #[test]
    fn saturated_waveforms_are_left_out_and_counted() {
        let (half, full) = (one(50.0), one(100.0));
        let good = MatchedWaveform {
            hits: &full,
            truth: &full,
            flags: Flags::NONE,
        };
        let cut = MatchedWaveform {
            hits: &half,
            truth: &full,
            flags: Flags::SATURATED_LOW,
        };
        let result = evaluate(&[good, cut, good]);
        assert_eq!((result.n, result.n_saturated), (2, 1));
        assert_eq!(result.bias.unwrap().value, 0.0);
    }

    #[test]
    fn a_missed_waveform_counts_as_lost_charge() {
        let full = one(10.0);
        let found = MatchedWaveform {
            hits: &full,
            truth: &full,
            flags: Flags::NONE,
        };
        let missed = MatchedWaveform { hits: &[], ..found };
        assert_eq!(evaluate(&[found, missed]).bias.unwrap().value, -0.5);
    }
}
