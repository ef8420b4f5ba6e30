//! Time of the first hit against that of the first true photoelectron.
//!
//! A hit more than [`WINDOW_NS`] before the first photoelectron cannot be caused by it: it is counted as false, and the next
//! hit takes its place. The bias and the RMS are of the residuals within +-[`WINDOW_NS`]; the half-width (half the
//! distance between the 16th and 84th percentile) is of all residuals and hardly feels the tails.

use serde::Serialize;

use super::matching::MatchedWaveform;
use super::stats::{CHARGE_EDGES_PE, COUNT_EDGES, Estimate, SampleStats, bin_of, quantile};

/// Half-width of the window in which residuals count for bias and RMS.
pub const WINDOW_NS: f64 = 20.0;
/// Width of the bins of the histogram.
const HISTOGRAM_STEP_NS: f64 = 0.25;

/// Residuals of a set of waveforms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Residuals {
    /// Residuals.
    pub n: u64,
    /// Residuals within the window.
    pub n_within: u64,
    /// Mean within the window.
    pub bias_ns: Option<Estimate>,
    /// Standard deviation within the window.
    pub rms_ns: Option<f64>,
    /// Median of all.
    pub median_ns: Option<f64>,
    /// Half the distance between the 16th and the 84th percentile of all.
    pub half_width_68_ns: Option<f64>,
}

/// Residuals of the waveforms in one range of number or charge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TimingBin {
    /// Lower end.
    pub low: f64,
    /// Upper end; infinite (`null` in JSON) for the last bin.
    pub high: f64,
    /// Mean of the quantity in the bin.
    pub mean: f64,
    /// The residuals.
    pub residuals: Residuals,
}

/// A histogram of residuals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// Lower edge of the first bin.
    pub low_ns: f64,
    /// Width of a bin.
    pub step_ns: f64,
    /// Entries per bin.
    pub counts: Vec<u64>,
}

/// The results for the time of the first hit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimingResult {
    /// All waveforms that have truth and a hit that is not early.
    pub overall: Residuals,
    /// Hits earlier than the window allows, left out of the residuals.
    pub early_hits: u64,
    /// Waveforms with such hits.
    pub waveforms_with_early_hits: u64,
    /// Waveforms that have no other hits than such.
    pub waveforms_with_only_early_hits: u64,
    /// Waveforms whose first hit is later than the window: the first photoelectron was missed.
    pub late_first_hits: u64,
    /// By number of true photoelectrons.
    pub by_n_pe: Vec<TimingBin>,
    /// By true charge of the waveform, in PE.
    pub by_charge: Vec<TimingBin>,
    /// The residuals within the window.
    pub histogram: Histogram,
}

/// Computes the residuals, first hit minus first true photoelectron.
#[must_use]
pub fn evaluate(waveforms: &[MatchedWaveform<'_>]) -> TimingResult {
    let mut early = (0, 0, 0);
    let mut late = 0;
    // Residual, number of photoelectrons, true charge.
    let mut entries = Vec::new();
    for waveform in waveforms {
        let Some(first) = waveform.truth.first() else {
            continue;
        };
        let n_early = waveform
            .hits
            .partition_point(|hit| hit.time_ns < first.time_ns - WINDOW_NS);
        early.0 += n_early as u64;
        early.1 += u64::from(n_early > 0);
        match waveform.hits.get(n_early) {
            Some(hit) => {
                let residual_ns = hit.time_ns - first.time_ns;
                late += u64::from(residual_ns > WINDOW_NS);
                entries.push((residual_ns, waveform.truth.len() as f64, waveform.true_pe()));
            }
            None => early.2 += u64::from(n_early > 0),
        }
    }
    let mut counts = vec![0; (2.0 * WINDOW_NS / HISTOGRAM_STEP_NS) as usize];
    for (residual_ns, ..) in &entries {
        let bin = ((residual_ns + WINDOW_NS) / HISTOGRAM_STEP_NS).floor();
        if let Some(count) = (bin >= 0.0).then(|| counts.get_mut(bin as usize)).flatten() {
            *count += 1;
        }
    }
    TimingResult {
        overall: residuals(entries.iter().map(|entry| entry.0).collect()),
        early_hits: early.0,
        waveforms_with_early_hits: early.1,
        waveforms_with_only_early_hits: early.2,
        late_first_hits: late,
        by_n_pe: binned(&COUNT_EDGES, entries.iter().map(|e| (e.1, e.0))),
        by_charge: binned(&CHARGE_EDGES_PE, entries.iter().map(|e| (e.2, e.0))),
        histogram: Histogram {
            low_ns: -WINDOW_NS,
            step_ns: HISTOGRAM_STEP_NS,
            counts,
        },
    }
}

fn residuals(mut values_ns: Vec<f64>) -> Residuals {
    values_ns.sort_by(f64::total_cmp);
    let within: Vec<f64> = values_ns
        .iter()
        .copied()
        .filter(|value| value.abs() <= WINDOW_NS)
        .collect();
    let spread = SampleStats::from_values(&within);
    let (low, high) = (quantile(&values_ns, 0.16), quantile(&values_ns, 0.84));
    Residuals {
        n: values_ns.len() as u64,
        n_within: within.len() as u64,
        bias_ns: spread.map(|spread| spread.mean),
        rms_ns: spread.map(|spread| spread.rms),
        median_ns: quantile(&values_ns, 0.5),
        half_width_68_ns: low.zip(high).map(|(low, high)| (high - low) / 2.0),
    }
}

fn binned(edges: &[f64], entries: impl Iterator<Item = (f64, f64)>) -> Vec<TimingBin> {
    let mut bins = vec![(0.0, Vec::new()); edges.len() - 1];
    for (quantity, residual_ns) in entries {
        if let Some(bin) = bin_of(edges, quantity) {
            bins[bin].0 += quantity;
            bins[bin].1.push(residual_ns);
        }
    }
    edges
        .windows(2)
        .zip(bins)
        .filter(|(_, (_, values))| !values.is_empty())
        .map(|(edge, (sum, values))| TimingBin {
            low: edge[0],
            high: edge[1],
            mean: sum / values.len() as f64,
            residuals: residuals(values),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Flags, TimedCharge};

    fn at(times_ns: &[f64]) -> Vec<TimedCharge> {
        times_ns
            .iter()
            .map(|&time_ns| TimedCharge {
                time_ns,
                charge_pe: 1.0,
            })
            .collect()
    }

    fn result_of(pairs: &[(Vec<TimedCharge>, Vec<TimedCharge>)]) -> TimingResult {
        let waveforms: Vec<_> = pairs
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
    fn a_shift_is_a_bias_without_spread() {
        let result = result_of(&[
            (at(&[103.0, 140.0]), at(&[100.0, 140.0])),
            (at(&[203.0]), at(&[200.0])),
        ]);
        assert_eq!(result.overall.bias_ns.unwrap().value, 3.0);
        assert_eq!(result.overall.rms_ns, Some(0.0));
        assert_eq!(result.overall.half_width_68_ns, Some(0.0));
        // 3 ns lies in the bin that begins there.
        let bin = ((3.0 + WINDOW_NS) / HISTOGRAM_STEP_NS) as usize;
        assert_eq!(result.histogram.counts[bin], 2);
        assert_eq!(result.histogram.counts.iter().sum::<u64>(), 2);
    }

    #[test]
    fn a_false_hit_long_before_is_counted_and_does_not_count_as_the_first() {
        let result = result_of(&[
            (at(&[10.0, 50.0, 101.0]), at(&[100.0])),
            (at(&[10.0]), at(&[100.0])),
            (at(&[150.0]), at(&[100.0])),
        ]);
        assert_eq!(result.early_hits, 3);
        assert_eq!(result.waveforms_with_early_hits, 2);
        assert_eq!(result.waveforms_with_only_early_hits, 1);
        assert_eq!(result.late_first_hits, 1);
        assert_eq!((result.overall.n, result.overall.n_within), (2, 1));
        assert_eq!(result.overall.bias_ns.unwrap().value, 1.0);
    }

    #[test]
    fn half_width_and_rms_of_a_uniform_distribution_are_the_known_ones() {
        // Uniform over +-10 ns: 68 % lie within +-6.8 ns, the RMS is 10 / sqrt(3).
        let pairs: Vec<_> = (0..=1000)
            .map(|i| (at(&[90.0 + 0.02 * f64::from(i)]), at(&[100.0])))
            .collect();
        let result = result_of(&pairs);
        assert!((result.overall.half_width_68_ns.unwrap() - 6.8).abs() < 0.01);
        assert!((result.overall.rms_ns.unwrap() - 10.0 / 3.0_f64.sqrt()).abs() < 0.01);
    }
}
