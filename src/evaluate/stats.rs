//! Elementary statistics: means with errors, ratios, quantiles, shares.

use serde::Serialize;

/// A value with its statistical error (one standard deviation).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Its error; NaN (`null` in JSON) for a single entry.
    pub error: f64,
}

/// Mean and spread of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SampleStats {
    /// Number of entries.
    pub n: u64,
    /// Mean, with the error RMS / sqrt(n).
    pub mean: Estimate,
    /// Standard deviation about the mean, sqrt(sum (x - mean)^2 / (n - 1)); NaN for a single entry.
    pub rms: f64,
}

impl SampleStats {
    /// Returns the mean and the spread of `values`; `None` if there are none.
    #[must_use]
    pub fn from_values(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let rms = if values.len() > 1 {
            (squares / (n - 1.0)).sqrt()
        } else {
            f64::NAN
        };
        Some(Self {
            n: values.len() as u64,
            mean: Estimate {
                value: mean,
                error: rms / n.sqrt(),
            },
            rms,
        })
    }
}

/// `k` of `n`, with the Wilson interval of one standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Number tried.
    pub n: u64,
    /// Number that succeeded.
    pub k: u64,
    /// `k / n`.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Share {
    /// `k` of `n`; `None` if `n` is 0.
    #[must_use]
    pub fn new(k: u64, n: u64) -> Option<Self> {
        if n == 0 {
            return None;
        }
        let (successes, trials) = (k as f64, n as f64);
        let value = successes / trials;
        // Wilson (1927) with z = 1.
        let centre = (successes + 0.5) / (trials + 1.0);
        let half = (trials * value * (1.0 - value) + 0.25).sqrt() / (trials + 1.0);
        Some(Self {
            n,
            k,
            value,
            low: (centre - half).max(0.0),
            high: (centre + half).min(1.0),
        })
    }
}

/// Ratio of the sums of paired values, sum a / sum b, with the error from the scatter of the pairs about it:
/// sqrt(n / (n - 1) sum (a - R b)^2) / sum b. `None` if the sum of `b` is not positive.
#[must_use]
pub fn ratio_of_sums(pairs: &[(f64, f64)]) -> Option<Estimate> {
    let above: f64 = pairs.iter().map(|pair| pair.0).sum();
    let below: f64 = pairs.iter().map(|pair| pair.1).sum();
    if below <= 0.0 {
        return None;
    }
    let ratio = above / below;
    let scatter: f64 = pairs.iter().map(|(a, b)| (a - ratio * b).powi(2)).sum();
    let n = pairs.len() as f64;
    let error = if pairs.len() > 1 {
        (n / (n - 1.0) * scatter).sqrt() / below
    } else {
        f64::NAN
    };
    Some(Estimate {
        value: ratio,
        error,
    })
}

/// Rate of `k` counts in `n` trials, with the Poisson error sqrt(k) / n. `None` if `n` is 0.
#[must_use]
pub fn rate(k: u64, n: u64) -> Option<Estimate> {
    (n > 0).then(|| Estimate {
        value: k as f64 / n as f64,
        error: (k as f64).sqrt() / n as f64,
    })
}

/// The quantile `share` (0 to 1) of ascending `sorted`, linear between neighbours; `None` if it is empty.
#[must_use]
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let below = *sorted.get(place.floor() as usize)?;
    let above = *sorted.get(place.ceil() as usize)?;
    Some(below + (above - below) * place.fract())
}

/// Returns the bin between ascending `edges` that holds `value` (lower edge included); `None` outside.
#[must_use]
pub fn bin_of(edges: &[f64], value: f64) -> Option<usize> {
    let bin = edges
        .partition_point(|&edge| edge <= value)
        .checked_sub(1)?;
    (bin + 1 < edges.len()).then_some(bin)
}

/// Lower edges, in photoelectrons per waveform, of the bins by number of true photoelectrons; the last is open.
pub const COUNT_EDGES: [f64; 16] = [
    1.0,
    2.0,
    3.0,
    4.0,
    5.0,
    7.0,
    10.0,
    15.0,
    20.0,
    30.0,
    50.0,
    75.0,
    100.0,
    150.0,
    200.0,
    f64::INFINITY,
];

/// Edges of the bins by a waveform's true charge, in PE; the last bin is open.
pub const CHARGE_EDGES_PE: [f64; 27] = [
    0.0,
    0.5,
    1.0,
    1.5,
    2.0,
    3.0,
    4.0,
    5.0,
    7.0,
    10.0,
    15.0,
    20.0,
    30.0,
    40.0,
    50.0,
    60.0,
    70.0,
    80.0,
    90.0,
    100.0,
    120.0,
    140.0,
    160.0,
    180.0,
    200.0,
    250.0,
    f64::INFINITY,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_rms_are_the_textbook_ones() {
        let spread = SampleStats::from_values(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!((spread.n, spread.mean.value), (4, 2.5));
        assert!((spread.rms - (5.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((spread.mean.error - spread.rms / 2.0).abs() < 1e-12);
        assert_eq!(SampleStats::from_values(&[]), None);
        assert!(SampleStats::from_values(&[1.0]).unwrap().rms.is_nan());
    }

    #[test]
    fn a_ratio_without_scatter_has_no_error() {
        let ratio = ratio_of_sums(&[(0.9, 1.0), (9.0, 10.0), (90.0, 100.0)]).unwrap();
        assert!((ratio.value - 0.9).abs() < 1e-12 && ratio.error < 1e-12);
        assert_eq!(ratio_of_sums(&[(1.0, 0.0)]), None);
    }

    #[test]
    fn the_wilson_interval_holds_the_share_and_stays_within_0_and_1() {
        // Value from scipy.stats.binomtest(9, 10).proportion_ci(0.6826894921370859, "wilson").
        let share = Share::new(9, 10).unwrap();
        assert!((share.low - 0.766_147_22).abs() < 1e-6, "{share:?}");
        assert!((share.high - 0.961_125_50).abs() < 1e-6, "{share:?}");
        assert_eq!(Share::new(10, 10).unwrap().high, 1.0);
        assert_eq!(Share::new(0, 10).unwrap().low, 0.0);
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[0.0, 1.0, 2.0], 0.25), Some(0.5));
        assert_eq!(quantile(&[7.0], 0.9), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn bins_include_their_lower_edge() {
        assert_eq!(bin_of(&[0.0, 1.0, 2.0], 1.0), Some(1));
        assert_eq!(bin_of(&[0.0, 1.0, 2.0], 2.0), None);
        assert_eq!(bin_of(&[0.0, 1.0, 2.0], -0.1), None);
        assert_eq!(bin_of(&COUNT_EDGES, 1e9), Some(14));
    }
}
