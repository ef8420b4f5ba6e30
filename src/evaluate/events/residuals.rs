//! Bias and spread of residuals with their statistical errors: mean, RMS, central 68 %, and a Gaussian's core.

use serde::Serialize;

use crate::evaluate::stats::{Estimate, SampleStats, quantile};

/// Share of a Gaussian within one standard deviation of its mean.
pub const CENTRAL: f64 = 0.682_689_492_137_085_9;
/// Half-width of the core's window in standard deviations.
const CORE_WIDTH: f64 = 2.0;
/// Share of a Gaussian's variance that is left within the window, `1 - 2 k phi(k) / (2 Phi(k) - 1)` at k = 2.
const CORE_VARIANCE: f64 = 0.773_741_299_340_374_6;
/// Error of the mean of the core and of its width, in sigma / sqrt(n) of all entries: those of an M-estimator,
/// `sqrt(E[psi^2]) / E[dpsi/dp]`, for a Gaussian and a window that moves with mean and width.
const CORE_MEAN_ERROR: f64 = 1.163_6;
const CORE_SIGMA_ERROR: f64 = 1.132_0;
/// Minimum number of entries for a core.
const MIN_CORE: usize = 10;

/// Bias and spread of residuals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Residuals {
    /// Entries.
    pub n: u64,
    /// Mean, with the error RMS / sqrt(n).
    pub bias: Option<Estimate>,
    /// Median, with the error of a quantile.
    pub median: Option<Estimate>,
    /// Half-width of the central 68.27 %, see [`central_68`].
    pub sigma_68: Option<Estimate>,
    /// Standard deviation about the mean, see [`rms`].
    pub rms: Option<Estimate>,
}

impl Residuals {
    /// Computes the statistics of `values`, all of which are finite.
    #[must_use]
    pub fn from_values(values: impl IntoIterator<Item = f64>) -> Self {
        let sorted = ascending(values);
        Self {
            n: sorted.len() as u64,
            bias: SampleStats::from_values(&sorted).map(|spread| spread.mean),
            median: quantile_with_error(&sorted, 0.5),
            sigma_68: central_68(&sorted),
            rms: rms(&sorted),
        }
    }
}

/// The values in ascending order.
#[must_use]
pub fn ascending(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Half the distance between the quantiles that hold the central 68.27 % of ascending `sorted`.
///
/// Error: that of two correlated quantiles of a Gaussian, var q = p (1 - p) / (n f^2) and cov = p1 (1 - p2) / (n f1 f2)
/// (H. Cramer, Mathematical Methods of Statistics, 28.5), which is 0.962 sigma / sqrt(n). `None` for fewer than two entries.
#[must_use]
pub fn central_68(sorted: &[f64]) -> Option<Estimate> {
    if sorted.len() < 2 {
        return None;
    }
    let low = quantile(sorted, (1.0 - CENTRAL) / 2.0)?;
    let high = quantile(sorted, f64::midpoint(1.0, CENTRAL))?;
    let value = (high - low) / 2.0;
    Some(Estimate {
        value,
        error: 0.9617 * value / (sorted.len() as f64).sqrt(),
    })
}

/// Standard deviation about the mean. Error: `sqrt(var s^2) / (2 s)` with `var s^2 = (m4 - s^4 (n - 3) / (n - 1)) / n` of the
/// sample itself, so that tails count. `None` for fewer than two entries.
#[must_use]
pub fn rms(values: &[f64]) -> Option<Estimate> {
    let spread = SampleStats::from_values(values).filter(|spread| spread.n > 1)?;
    let n = values.len() as f64;
    let fourth = values
        .iter()
        .map(|value| (value - spread.mean.value).powi(4))
        .sum::<f64>()
        / n;
    let variance = ((fourth - spread.rms.powi(4) * (n - 3.0) / (n - 1.0)) / n).max(0.0);
    let error = if spread.rms > 0.0 {
        variance.sqrt() / (2.0 * spread.rms)
    } else {
        0.0
    };
    Some(Estimate {
        value: spread.rms,
        error,
    })
}

/// The quantile `share` of ascending `sorted`. Error: half the distance of the quantiles one binomial standard deviation,
/// `sqrt(p (1 - p) / n)`, to either side, whatever the distribution.
#[must_use]
pub fn quantile_with_error(sorted: &[f64], share: f64) -> Option<Estimate> {
    let value = quantile(sorted, share)?;
    let step = (share * (1.0 - share) / sorted.len() as f64).sqrt();
    let error = if sorted.len() > 1 {
        (quantile(sorted, share + step)? - quantile(sorted, share - step)?) / 2.0
    } else {
        f64::NAN
    };
    Some(Estimate { value, error })
}

/// A Gaussian fitted to the core of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Core {
    /// Mean.
    pub mean: Estimate,
    /// Standard deviation.
    pub sigma: Estimate,
}

/// Fits a Gaussian to the entries of ascending `sorted` within two of its standard deviations: the maximum of the likelihood
/// of a truncated Gaussian, whose mean and variance must be those of the entries within. The window follows the fit until it
/// no longer moves. `None` for fewer than ten entries, or if there is no spread.
#[must_use]
pub fn gaussian_core(sorted: &[f64]) -> Option<Core> {
    const MAX_STEPS: usize = 100;
    if sorted.len() < MIN_CORE {
        return None;
    }
    let mut mean = quantile(sorted, 0.5)?;
    let mut sigma = central_68(sorted)?.value;
    for _ in 0..MAX_STEPS {
        let low = sorted.partition_point(|value| *value < mean - CORE_WIDTH * sigma);
        let high = sorted.partition_point(|value| *value <= mean + CORE_WIDTH * sigma);
        let within =
            SampleStats::from_values(sorted.get(low..high)?).filter(|within| within.n > 2)?;
        let wider = within.rms / CORE_VARIANCE.sqrt();
        let still = (within.mean.value - mean).abs() + (wider - sigma).abs() < 1e-9 * sigma;
        (mean, sigma) = (within.mean.value, wider);
        if still {
            break;
        }
    }
    if !(sigma > 0.0 && sigma.is_finite()) {
        return None;
    }
    let unit = sigma / (sorted.len() as f64).sqrt();
    Some(Core {
        mean: Estimate {
            value: mean,
            error: CORE_MEAN_ERROR * unit,
        },
        sigma: Estimate {
            value: sigma,
            error: CORE_SIGMA_ERROR * unit,
        },
    })
}

/// A histogram.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Histogram {
    /// Lower edge of the first bin.
    pub low: f64,
    /// Width of a bin.
    pub step: f64,
    /// Entries per bin.
    pub counts: Vec<u64>,
    /// Entries below the first bin.
    pub below: u64,
    /// Entries above the last bin.
    pub above: u64,
}

impl Histogram {
    /// `bins` bins from `low` to `high` filled with `values`.
    #[must_use]
    pub fn new(values: &[f64], low: f64, high: f64, bins: usize) -> Self {
        let bins = bins.max(1);
        let mut histogram = Self {
            low,
            step: (high - low) / bins as f64,
            counts: vec![0; bins],
            below: 0,
            above: 0,
        };
        for value in values {
            let place = ((value - low) / histogram.step).floor();
            if place < 0.0 {
                histogram.below += 1;
            } else if let Some(count) = histogram.counts.get_mut(place as usize) {
                *count += 1;
            } else {
                histogram.above += 1;
            }
        }
        histogram
    }

    /// Bins over six of the central widths of `values` to either side of their median.
    #[must_use]
    pub fn around(values: &[f64]) -> Self {
        let sorted = ascending(values.iter().copied());
        let middle = quantile(&sorted, 0.5).unwrap_or(0.0);
        let width = central_68(&sorted).map_or(0.0, |width| width.value);
        let width = if width > 0.0 { width } else { 1.0 };
        Self::new(&sorted, middle - 6.0 * width, middle + 6.0 * width, 60)
    }
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, Normal};

    use super::*;
    use rand_chacha::rand_core::SeedableRng as _;

    fn gaussian(n: usize, mean: f64, sigma: f64, seed: u64) -> Vec<f64> {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let normal = Normal::new(mean, sigma).unwrap();
        (0..n).map(|_| normal.sample(&mut random)).collect()
    }

    #[test]
    fn a_gaussian_has_the_same_width_by_every_measure() {
        let residuals = Residuals::from_values(gaussian(20_000, 3.0, 2.0, 1));
        for estimate in [residuals.sigma_68, residuals.rms] {
            let estimate = estimate.unwrap();
            assert!(
                (estimate.value - 2.0).abs() < 4.0 * estimate.error,
                "{estimate:?}"
            );
        }
        let core = gaussian_core(&ascending(gaussian(20_000, 3.0, 2.0, 1))).unwrap();
        assert!(
            (core.sigma.value - 2.0).abs() < 4.0 * core.sigma.error,
            "{core:?}"
        );
        assert!(
            (core.mean.value - 3.0).abs() < 4.0 * core.mean.error,
            "{core:?}"
        );
    }

    #[test]
    fn tails_widen_the_rms_alone() {
        let mut values = gaussian(5000, 0.0, 1.0, 2);
        values.extend(gaussian(250, 0.0, 30.0, 3));
        let core = gaussian_core(&ascending(values.iter().copied())).unwrap();
        let residuals = Residuals::from_values(values);
        assert!((core.sigma.value - 1.0).abs() < 0.08, "{core:?}");
        assert!(residuals.sigma_68.unwrap().value < 1.12);
        assert!(residuals.rms.unwrap().value > 5.0);
    }

    #[test]
    fn errors_are_those_of_repetition() {
        let trials: Vec<_> = (0..400)
            .map(|seed| ascending(gaussian(400, 0.0, 1.0, 100 + seed)))
            .collect();
        let scatter = |of: &dyn Fn(&[f64]) -> Estimate| {
            let found: Vec<_> = trials.iter().map(|trial| of(trial)).collect();
            let values: Vec<_> = found.iter().map(|one| one.value).collect();
            let said = found.iter().map(|one| one.error).sum::<f64>() / 400.0;
            SampleStats::from_values(&values).unwrap().rms / said
        };
        // 400 repetitions know a standard deviation to 3.5 %.
        for ratio in [
            scatter(&|sorted| central_68(sorted).unwrap()),
            scatter(&|sorted| rms(sorted).unwrap()),
            scatter(&|sorted| quantile_with_error(sorted, CENTRAL).unwrap()),
            scatter(&|sorted| gaussian_core(sorted).unwrap().sigma),
            scatter(&|sorted| gaussian_core(sorted).unwrap().mean),
        ] {
            assert!((ratio - 1.0).abs() < 0.15, "{ratio}");
        }
    }

    #[test]
    fn few_entries_have_no_spread() {
        assert_eq!(Residuals::from_values([]), Residuals::default());
        let one = Residuals::from_values([4.0]);
        assert_eq!((one.n, one.bias.unwrap().value), (1, 4.0));
        assert_eq!((one.sigma_68, one.rms), (None, None));
        assert_eq!(gaussian_core(&[1.0; 20]), None);
    }

    #[test]
    fn a_histogram_counts_what_lies_beyond() {
        let histogram = Histogram::new(&[-1.0, 0.0, 0.9, 1.0, 2.0], 0.0, 2.0, 2);
        assert_eq!(histogram.counts, [2, 1]);
        assert_eq!((histogram.below, histogram.above), (1, 1));
    }
}
