//! Quality of the fit of a charge spectrum: expected entries, chi-square, and the statistical error of the gain.

use super::parameters::RunKind;
use super::spectrum::{Spectrum, SpectrumFit, densities};
use crate::math::matrix::Matrix;

/// Minimum number of expected entries of a bin in the chi-square.
const MIN_EXPECTED: f64 = 5.0;
/// Step of a numerical derivative, relative to the parameter's scale.
const STEP: f64 = 1e-3;

/// A range of charge: what was found and what the fit expects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct QualityBin {
    pub low: f64,
    pub high: f64,
    pub found: f64,
    pub expected: f64,
}

impl QualityBin {
    /// Returns (found - expected) / sqrt(expected).
    pub fn pull(&self) -> f64 {
        (self.found - self.expected) / self.expected.sqrt()
    }
}

/// The comparison of a fit with its spectrum.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Quality {
    /// Entries per charge that the density of the fit has to be multiplied with.
    pub scale: f64,
    /// The first number of photoelectrons of the model.
    pub first_n: usize,
    /// The fitted range in bins of at least five expected entries.
    pub bins: Vec<QualityBin>,
    /// Pearson's chi-square over these bins.
    pub chi2: f64,
    /// Number of these bins, less the number of parameters and 1 for the number of entries; `None` if there are too few bins.
    pub degrees_of_freedom: Option<usize>,
    /// Statistical errors; `None` if the parameters cannot be separated.
    pub errors: Option<FitErrors>,
}

impl Quality {
    /// Compares `fit` with its `spectrum`, `merge` bins of which count as one.
    pub fn new(spectrum: &Spectrum, fit: &SpectrumFit, run: RunKind, merge: usize) -> Self {
        let first_n = match run {
            RunKind::Led => 0,
            RunKind::Dark => 1,
        };
        let fitted = fitted_bins(spectrum, fit.entries);
        let density = densities(spectrum, fit, first_n, &fitted);
        let total: f64 = density.iter().sum();
        let fine: Vec<QualityBin> = fitted
            .iter()
            .zip(&density)
            .map(|(&bin, density)| QualityBin {
                low: spectrum.center(bin) - spectrum.bin_width / 2.0,
                high: spectrum.center(bin) + spectrum.bin_width / 2.0,
                found: spectrum.counts.get(bin).map_or(0.0, |&n| f64::from(n)),
                expected: fit.entries * density / total,
            })
            .collect();
        let bins = merged(&fine, merge);
        let n_parameters = parameters(fit, first_n).len();
        Self {
            scale: fit.entries / (total * spectrum.bin_width),
            first_n,
            chi2: bins.iter().map(|bin| bin.pull().powi(2)).sum(),
            degrees_of_freedom: bins
                .len()
                .checked_sub(n_parameters + 1)
                .filter(|&degrees| degrees > 0),
            bins,
            errors: fit_errors(spectrum, fit, first_n, &fitted),
        }
    }

    /// Compares `fit` with its `spectrum` in bins of a tenth of the spread of one photoelectron.
    pub fn from_fit(spectrum: &Spectrum, fit: &SpectrumFit, run: RunKind) -> Self {
        let width = 0.2 * fit.gain_sigma.min(2.0 * fit.pedestal_sigma);
        let merge = (width / spectrum.bin_width).round().max(1.0);
        Self::new(spectrum, fit, run, merge as usize)
    }
}

/// Statistical errors of the parameters of a fit (standard deviations).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct FitErrors {
    /// Of the mean number of photoelectrons.
    pub mean_pe: f64,
    /// Of the gain.
    pub gain: f64,
    /// Of the charge spread relative to the gain.
    pub relative_sigma: f64,
}

/// The bins of the fit: the upper part of the spectrum with so many entries, which is all of it for a run with light.
fn fitted_bins(spectrum: &Spectrum, entries: f64) -> Vec<usize> {
    let mut above = 0.0;
    let within = |count: &&u32| {
        above += f64::from(**count);
        above <= entries
    };
    let n = spectrum.counts.iter().rev().take_while(within).count();
    (spectrum.counts.len() - n..spectrum.counts.len()).collect()
}

/// Joins `merge` bins, and more where fewer than [`MIN_EXPECTED`] entries are expected; the rest at the end joins the last.
fn merged(fine: &[QualityBin], merge: usize) -> Vec<QualityBin> {
    let add = |sum: &mut QualityBin, next: &QualityBin| {
        sum.high = next.high;
        sum.found += next.found;
        sum.expected += next.expected;
    };
    let mut bins: Vec<QualityBin> = Vec::new();
    let mut open: Option<QualityBin> = None;
    for chunk in fine.chunks(merge.max(1)) {
        for bin in chunk {
            match &mut open {
                Some(open) => add(open, bin),
                None => open = Some(*bin),
            }
        }
        if open.is_some_and(|open| open.expected >= MIN_EXPECTED) {
            bins.extend(open.take());
        }
    }
    match (bins.last_mut(), open) {
        (Some(last), Some(rest)) => add(last, &rest),
        (None, Some(rest)) => bins.push(rest),
        _ => (),
    }
    bins
}

/// The parameters of the fit, each with the scale on which it varies: the gain is the second.
fn parameters(fit: &SpectrumFit, first_n: usize) -> Vec<(f64, f64)> {
    let mut all = vec![
        (fit.mean_pe, fit.mean_pe),
        (fit.gain, fit.gain),
        (fit.gain_sigma, fit.gain_sigma),
    ];
    // Without the pedestal its mean and spread are not fitted.
    if first_n == 0 {
        all.push((fit.pedestal, fit.pedestal_sigma));
        all.push((fit.pedestal_sigma, fit.pedestal_sigma));
    }
    all
}

/// Returns the statistical errors: from the inverse of the Fisher information of all parameters, the shape of the spectrum
/// being that of the fit. Errors of the model are not included.
fn fit_errors(
    spectrum: &Spectrum,
    fit: &SpectrumFit,
    first_n: usize,
    fitted: &[usize],
) -> Option<FitErrors> {
    let parameters = parameters(fit, first_n);
    let shares = |values: &[f64]| -> Vec<f64> {
        let [mean_pe, gain, gain_sigma, rest @ ..] = values else {
            return Vec::new();
        };
        let mut moved = SpectrumFit {
            mean_pe: *mean_pe,
            gain: *gain,
            gain_sigma: *gain_sigma,
            ..*fit
        };
        if let [pedestal, pedestal_sigma] = rest {
            moved.pedestal = *pedestal;
            moved.pedestal_sigma = *pedestal_sigma;
        }
        let density = densities(spectrum, &moved, first_n, fitted);
        let total: f64 = density.iter().sum();
        density.iter().map(|value| value / total).collect()
    };
    let values: Vec<f64> = parameters.iter().map(|parameter| parameter.0).collect();
    let here = shares(&values);
    // Derivatives with respect to each parameter in units of its scale.
    let slopes: Vec<Vec<f64>> = parameters
        .iter()
        .enumerate()
        .map(|(index, &(value, scale))| {
            let at = |step: f64| {
                let mut moved = values.clone();
                if let Some(moved) = moved.get_mut(index) {
                    *moved = value + step * scale;
                }
                shares(&moved)
            };
            let pairs = at(STEP).into_iter().zip(at(-STEP));
            pairs.map(|(up, down)| (up - down) / (2.0 * STEP)).collect()
        })
        .collect();
    let n = parameters.len();
    let mut information = Matrix::zeros(n);
    for (row, a) in slopes.iter().enumerate() {
        for (column, b) in slopes.iter().enumerate() {
            let sum: f64 = here
                .iter()
                .zip(a.iter().zip(b))
                .filter(|(share, _)| **share > 1e-12)
                .map(|(share, (a, b))| a * b / share)
                .sum();
            information[(row, column)] = fit.entries * sum;
        }
    }
    // Columns of the covariance of mean, gain and spread, each in units of its own value.
    let covariance: Vec<Vec<f64>> = (0..3)
        .map(|column| {
            let mut unit = vec![0.0; n];
            *unit.get_mut(column)? = 1.0;
            information.clone().solve(&unit)
        })
        .collect::<Option<_>>()?;
    let [mean, gain, sigma] = covariance.as_slice() else {
        return None;
    };
    let relative = gain[1] + sigma[2] - 2.0 * gain[2];
    let errors = FitErrors {
        mean_pe: fit.mean_pe * mean[0].sqrt(),
        gain: fit.gain * gain[1].sqrt(),
        relative_sigma: fit.gain_sigma / fit.gain * relative.max(0.0).sqrt(),
    };
    let all = [errors.mean_pe, errors.gain, errors.relative_sigma];
    all.iter().all(|error| error.is_finite()).then_some(errors)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_distr::{Distribution as _, Normal, Poisson};

    use super::super::spectrum::{Content, fit};
    use super::*;

    fn sample(seed: u64, n: usize) -> Spectrum {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let (poisson, unit) = (Poisson::new(0.4).unwrap(), Normal::new(0.0, 1.0).unwrap());
        let mut spectrum = Spectrum::new(140.0);
        for _ in 0..n {
            let k: f64 = poisson.sample(&mut random);
            let sigma = (25.0_f64 + k * 900.0).sqrt();
            let charge: f64 = unit.sample(&mut random);
            spectrum.fill(100.0 * k + sigma * charge);
        }
        spectrum
    }

    #[test]
    fn the_error_of_the_gain_is_that_of_repetition() {
        let content = Content::EveryTrigger {
            pedestal_sigma: 5.0,
        };
        let (mut gains, mut errors, mut ratios) = (Vec::new(), 0.0, 0.0);
        let (mut means, mut mean_errors) = (Vec::new(), 0.0);
        let (mut sigmas, mut sigma_errors) = (Vec::new(), 0.0);
        for seed in 0..40 {
            let spectrum = sample(seed, 3000);
            let fit = fit(&spectrum, content).expect("a fit");
            let quality = Quality::new(&spectrum, &fit, RunKind::Led, 20);
            gains.push(fit.gain);
            let quality_errors = quality.errors.expect("errors");
            means.push(fit.mean_pe);
            mean_errors += quality_errors.mean_pe / 40.0;
            sigmas.push(fit.gain_sigma / fit.gain);
            sigma_errors += quality_errors.relative_sigma / 40.0;
            errors += quality.errors.expect("errors").gain / 40.0;
            ratios += quality.chi2 / quality.degrees_of_freedom.expect("bins") as f64 / 40.0;
            let found: f64 = quality.bins.iter().map(|bin| bin.found).sum();
            let expected: f64 = quality.bins.iter().map(|bin| bin.expected).sum();
            assert_eq!(found, fit.entries);
            assert!((expected / found - 1.0).abs() < 1e-9);
        }
        let mean = gains.iter().sum::<f64>() / 40.0;
        let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / 39.0;
        let spread = |values: &[f64]| {
            let mean = values.iter().sum::<f64>() / 40.0;
            (values
                .iter()
                .map(|value| (value - mean).powi(2))
                .sum::<f64>()
                / 39.0)
                .sqrt()
        };
        for (values, error) in [(&means, mean_errors), (&sigmas, sigma_errors)] {
            let ratio = spread(values) / error;
            assert!((ratio - 1.0).abs() < 0.35, "{ratio}: error {error}");
        }
        // Forty repetitions know a standard deviation to 11 %.
        let ratio = variance.sqrt() / errors;
        assert!((ratio - 1.0).abs() < 0.35, "{ratio}: error {errors}");
        assert!(
            (mean - 100.0).abs() < 3.0 * errors / 40.0_f64.sqrt() + 0.3,
            "{mean}"
        );
        assert!(
            (ratios - 1.0).abs() < 0.2,
            "chi-square per degree of freedom {ratios}"
        );
    }

    #[test]
    fn a_wrong_gain_has_a_large_chi_square() {
        let spectrum = sample(1, 3000);
        let content = Content::EveryTrigger {
            pedestal_sigma: 5.0,
        };
        let right = fit(&spectrum, content).expect("a fit");
        let wrong = SpectrumFit {
            gain: 1.1 * right.gain,
            ..right
        };
        let chi2 = |fit| Quality::new(&spectrum, fit, RunKind::Led, 20).chi2;
        assert!(chi2(&wrong) > 2.0 * chi2(&right));
    }
}
