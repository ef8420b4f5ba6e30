//! The charge spectrum of a channel and its fit: a Poisson number of photoelectrons, each with a Gaussian charge, on a
//! Gaussian pedestal.

use std::f64::consts::PI;

use super::nelder_mead::minimize;
use super::parameters::RunKind;
use crate::math;

/// Number of bins of a spectrum; fixed, so that memory does not grow with the run.
pub const N_BINS: usize = 2000;
/// Maximum number of photoelectrons per trigger in the model.
const MAX_PHOTOELECTRONS: usize = 40;
const MIN_ENTRIES: f64 = 200.0;
const MIN_SINGLE_PE: f64 = 40.0;

/// Returns the minimum number of charges for a fit.
pub(super) fn min_entries(run: RunKind) -> u64 {
    match run {
        RunKind::Led => MIN_ENTRIES as u64,
        RunKind::Dark => MIN_SINGLE_PE as u64,
    }
}

/// A histogram of charges in ADC counts x samples, with equal bins.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    /// Lower edge of the first bin.
    pub low: f64,
    /// Width of a bin.
    pub bin_width: f64,
    /// Entries of each bin.
    pub counts: Vec<u32>,
    /// Entries below the first bin.
    pub underflow: u64,
    /// Entries above the last bin.
    pub overflow: u64,
}

impl Spectrum {
    /// An empty spectrum for charges of the order of `scale`: from half of it below zero to 7.5 of it above.
    #[must_use]
    pub fn new(scale: f64) -> Self {
        Self {
            low: -0.5 * scale,
            bin_width: 8.0 * scale / N_BINS as f64,
            counts: vec![0; N_BINS],
            underflow: 0,
            overflow: 0,
        }
    }

    /// Adds one charge; NaN counts as underflow.
    pub fn fill(&mut self, charge: f64) {
        let bin = (charge - self.low) / self.bin_width;
        match self.counts.get_mut(bin as usize) {
            Some(count) if bin >= 0.0 => *count += 1,
            None if bin > 0.0 => self.overflow += 1,
            _ => self.underflow += 1,
        }
    }

    /// Returns the centre of bin `bin`.
    #[must_use]
    pub fn center(&self, bin: usize) -> f64 {
        self.low + (bin as f64 + 0.5) * self.bin_width
    }

    /// Returns the number of entries within the range.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.counts.iter().map(|&count| u64::from(count)).sum()
    }

    /// Returns number, mean and variance of the entries from `from` to `to`.
    #[must_use]
    pub fn moments(&self, from: f64, to: f64) -> (f64, f64, f64) {
        let inside = || {
            self.counts
                .iter()
                .enumerate()
                .map(|(bin, &count)| (self.center(bin), f64::from(count)))
                .filter(|&(q, count)| count > 0.0 && q >= from && q <= to)
        };
        let n: f64 = inside().map(|(_, count)| count).sum();
        if n == 0.0 {
            return (0.0, 0.0, 0.0);
        }
        let mean = inside().map(|(q, count)| q * count).sum::<f64>() / n;
        let variance = inside()
            .map(|(q, count)| (q - mean) * (q - mean) * count)
            .sum::<f64>()
            / n;
        (n, mean, variance)
    }
}

/// The fitted spectrum. Charges in ADC counts x samples, within the integration window.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct SpectrumFit {
    /// Mean number of photoelectrons per trigger; in a dark run the Poisson mean per pulse, before pulses without
    /// photoelectrons are excluded.
    pub mean_pe: f64,
    /// Mean charge of one photoelectron.
    pub gain: f64,
    /// Standard deviation of that charge.
    pub gain_sigma: f64,
    /// Mean of the pedestal.
    pub pedestal: f64,
    /// Standard deviation of the pedestal: noise within the window and the error of the baseline.
    pub pedestal_sigma: f64,
    /// -2 ln (L / L of the data itself), per degree of freedom.
    pub quality: f64,
    /// Number of entries in the fitted range.
    pub entries: f64,
}

impl SpectrumFit {
    /// Returns the probability density of charge `q` with `n` photoelectrons, times the probability of `n`. The variance of a
    /// bin of width `bin_width` is added (Sheppard's correction).
    #[must_use]
    pub fn component(&self, n: usize, q: f64, bin_width: f64) -> f64 {
        let mut weight = math::exp(-self.mean_pe);
        for k in 1..=n {
            weight *= self.mean_pe / k as f64;
        }
        let n = n as f64;
        let variance = self.pedestal_sigma.powi(2)
            + n * self.gain_sigma.powi(2)
            + bin_width * bin_width / 12.0;
        let distance = q - self.pedestal - n * self.gain;
        weight * math::exp(-0.5 * distance * distance / variance) / (2.0 * PI * variance).sqrt()
    }

    /// Returns the range of charge in which exactly one photoelectron contributes at least the share `purity` to the density;
    /// `None` if there is none.
    #[must_use]
    pub fn single_pe_range(&self, purity: f64) -> Option<(f64, f64)> {
        let pure = |q: f64| {
            let single = self.component(1, q, 0.0);
            let all: f64 = (0..8).map(|n| self.component(n, q, 0.0)).sum();
            single > purity * all
        };
        let q_of = |step: i32| self.pedestal + self.gain * f64::from(step) / 100.0;
        let steps: Vec<i32> = (40..=160).filter(|&step| pure(q_of(step))).collect();
        Some((q_of(*steps.first()?), q_of(*steps.last()?)))
    }
}

/// The entries of a spectrum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Content {
    /// One entry per trigger, including those without light.
    EveryTrigger {
        /// Expected pedestal spread.
        pedestal_sigma: f64,
    },
    /// One entry per pulse.
    PulsesOnly {
        /// Pedestal spread, which cannot be fitted here.
        pedestal_sigma: f64,
    },
}

/// Returns the density of all components at every bin centre, summed over the number of photoelectrons.
pub(super) fn densities(
    spectrum: &Spectrum,
    fit: &SpectrumFit,
    first_n: usize,
    bins: &[usize],
) -> Vec<f64> {
    let mut density = vec![0.0; bins.len()];
    let (Some(&first_bin), Some(&last_bin)) = (bins.first(), bins.last()) else {
        return density;
    };
    let mut weight = math::exp(-fit.mean_pe);
    for n in 0..=MAX_PHOTOELECTRONS {
        if n > 0 {
            weight *= fit.mean_pe / n as f64;
        }
        if n < first_n || weight < 1e-9 {
            continue;
        }
        let center = fit.pedestal + n as f64 * fit.gain;
        let variance = fit.pedestal_sigma.powi(2)
            + n as f64 * fit.gain_sigma.powi(2)
            + spectrum.bin_width.powi(2) / 12.0;
        let reach = 7.0 * variance.sqrt();
        let scale = weight / (2.0 * PI * variance).sqrt();
        let bin_of = |q: f64| ((q - spectrum.low) / spectrum.bin_width).max(0.0) as usize;
        let from = bin_of(center - reach).clamp(first_bin, last_bin + 1) - first_bin;
        let to = (bin_of(center + reach) + 1).clamp(first_bin, last_bin + 1) - first_bin;
        for (value, &bin) in density[from..to].iter_mut().zip(&bins[from..to]) {
            let distance = spectrum.center(bin) - center;
            *value += scale * math::exp(-0.5 * distance * distance / variance);
        }
    }
    density
}

/// Fits the spectrum by binned maximum likelihood; `None` if there are too few entries, no minimum is found, or the result is
/// not a single-photoelectron spectrum.
pub(super) fn fit(spectrum: &Spectrum, content: Content) -> Option<SpectrumFit> {
    let (start, first_n, from) = starting_values(spectrum, content)?;
    let bins: Vec<usize> = (0..spectrum.counts.len())
        .filter(|&bin| spectrum.center(bin) >= from)
        .collect();
    let entries: f64 = bins
        .iter()
        .map(|&bin| f64::from(spectrum.counts[bin]))
        .sum();
    let with_pedestal = first_n == 0;
    let unpack = |x: &[f64]| SpectrumFit {
        mean_pe: math::exp(x[0]),
        gain: start.gain * math::exp(x[1]),
        gain_sigma: start.gain * math::exp(x[2]),
        pedestal: if with_pedestal {
            x[3] * start.pedestal_sigma
        } else {
            0.0
        },
        pedestal_sigma: if with_pedestal {
            start.pedestal_sigma * math::exp(x[4])
        } else {
            start.pedestal_sigma
        },
        ..start
    };
    // The shape alone is fitted: the density over the range is normalised to the entries in it.
    let minus_two_log_likelihood = |fit: &SpectrumFit| {
        let density = densities(spectrum, fit, first_n, &bins);
        let total: f64 = density.iter().sum();
        let mut sum = 0.0;
        for (&bin, &density) in bins.iter().zip(&density) {
            let count = f64::from(spectrum.counts[bin]);
            if count > 0.0 {
                // The lower limit keeps one outlier from dominating the fit.
                let expected = entries * (density / total).max(1e-7);
                sum += count * math::ln(count / expected);
            }
        }
        2.0 * sum
    };
    let mut at = vec![
        math::ln(start.mean_pe),
        0.0,
        math::ln(start.gain_sigma / start.gain),
    ];
    let mut steps = vec![0.1, 0.1, 0.2];
    if with_pedestal {
        at.extend([start.pedestal / start.pedestal_sigma, 0.0]);
        steps.extend([0.5, 0.2]);
    }
    let minimum = minimize(|x| minus_two_log_likelihood(&unpack(x)), &at, &steps, 1e-5);
    let mut fit = unpack(&minimum.at);
    let filled = bins.iter().filter(|&&bin| spectrum.counts[bin] > 0).count();
    fit.quality = minimum.value / (filled.saturating_sub(at.len() + 1).max(1)) as f64;
    fit.entries = entries;
    let single = entries * fit.mean_pe * math::exp(-fit.mean_pe);
    let is_spectrum = minimum.converged
        && fit.gain > 2.5 * fit.pedestal_sigma
        && fit.gain_sigma < fit.gain
        && fit.gain_sigma > 0.01 * fit.gain
        && fit.mean_pe < 8.0
        && (!with_pedestal || single > MIN_SINGLE_PE)
        && fit.pedestal.abs() < fit.gain;
    is_spectrum.then_some(fit)
}

/// Returns starting values, the first number of photoelectrons of the model, and the lowest charge of the fit.
fn starting_values(spectrum: &Spectrum, content: Content) -> Option<(SpectrumFit, usize, f64)> {
    let (entries, mean, variance) = spectrum.moments(f64::MIN, f64::MAX);
    let guess = SpectrumFit {
        mean_pe: 0.1,
        gain: mean,
        gain_sigma: 0.35 * mean,
        pedestal: 0.0,
        pedestal_sigma: 1.0,
        quality: 0.0,
        entries,
    };
    match content {
        Content::EveryTrigger { pedestal_sigma } => {
            if entries < MIN_ENTRIES {
                return None;
            }
            // The pedestal is near zero; its share of the entries is exp(-mean_pe).
            let (mut pedestal, mut sigma) = (0.0, pedestal_sigma);
            let mut n_pedestal = 0.0;
            for _ in 0..3 {
                let reach = 2.5 * sigma;
                let (n, center, spread) = spectrum.moments(pedestal - reach, pedestal + reach);
                if n < 10.0 {
                    return None;
                }
                (pedestal, n_pedestal) = (center, n / 0.9876);
                // A Gaussian cut at 2.5 sigma has 0.923 of its spread left.
                sigma = (spread.sqrt() / 0.923).clamp(0.5 * pedestal_sigma, 2.0 * pedestal_sigma);
            }
            let mean_pe = math::ln(entries / n_pedestal).max(1e-3);
            let gain = (mean - pedestal) / mean_pe;
            if !(gain > 0.0 && gain.is_finite()) {
                return None;
            }
            let spread = ((variance - sigma * sigma) / mean_pe - gain * gain)
                .max(0.0)
                .sqrt();
            let gain_sigma = spread.clamp(0.15 * gain, 0.6 * gain);
            let guess = SpectrumFit {
                mean_pe,
                gain,
                gain_sigma,
                pedestal,
                pedestal_sigma: sigma,
                ..guess
            };
            Some((guess, 0, f64::MIN))
        }
        Content::PulsesOnly { pedestal_sigma } => {
            if entries < MIN_SINGLE_PE {
                return None;
            }
            let mut below = 0.0;
            let median_bin = spectrum.counts.iter().position(|&count| {
                below += f64::from(count);
                below >= 0.5 * entries
            })?;
            let gain = spectrum.center(median_bin);
            let guess = SpectrumFit {
                gain,
                gain_sigma: 0.35 * gain,
                pedestal_sigma,
                ..guess
            };
            // Small pulses stay below the threshold, so the fit begins where all are found.
            (gain > 0.0).then_some((guess, 1, 0.7 * gain))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal, Poisson};

    fn sample(
        mean_pe: f64,
        sigma: f64,
        pedestal_sigma: f64,
        n: usize,
        only_light: bool,
    ) -> Spectrum {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(42);
        let poisson = Poisson::new(mean_pe).expect("valid");
        let single = Normal::new(100.0, sigma).expect("valid");
        let pedestal = Normal::new(3.0, pedestal_sigma).expect("valid");
        let mut spectrum = Spectrum::new(100.0 * (1.0 + mean_pe));
        for _ in 0..n {
            let photoelectrons: f64 = poisson.sample(&mut random);
            let light: f64 = (0..photoelectrons as usize)
                .map(|_| single.sample(&mut random).max(0.0))
                .sum();
            if !only_light || light > 50.0 {
                let noise = pedestal.sample(&mut random) - if only_light { 3.0 } else { 0.0 };
                spectrum.fill(light + noise);
            }
        }
        spectrum
    }

    #[test]
    fn the_fit_gives_back_what_was_put_in() {
        for (mean_pe, sigma, noise, tolerance) in [
            (0.1, 30.0, 4.0, 0.01),
            (0.5, 30.0, 8.0, 0.01),
            (1.0, 40.0, 4.0, 0.015),
            (2.5, 40.0, 10.0, 0.03),
        ] {
            let spectrum = sample(mean_pe, sigma, noise, 30_000, false);
            let content = Content::EveryTrigger {
                pedestal_sigma: 1.3 * noise,
            };
            let fit = fit(&spectrum, content).expect("fits");
            assert!((fit.gain / 100.0 - 1.0).abs() < tolerance, "{fit:?}");
            assert!((fit.gain_sigma / sigma - 1.0).abs() < 0.05, "{fit:?}");
            assert!((fit.mean_pe / mean_pe - 1.0).abs() < 0.03, "{fit:?}");
            assert!((fit.pedestal - 3.0).abs() < 0.1 * noise, "{fit:?}");
            assert!((fit.pedestal_sigma / noise - 1.0).abs() < 0.05, "{fit:?}");
        }
    }

    #[test]
    fn pulses_alone_are_enough() {
        let spectrum = sample(0.05, 30.0, 5.0, 100_000, true);
        let content = Content::PulsesOnly {
            pedestal_sigma: 5.0,
        };
        let fit = fit(&spectrum, content).expect("fits");
        assert!((fit.gain / 100.0 - 1.0).abs() < 0.01, "{fit:?}");
        assert!((fit.gain_sigma / 30.0 - 1.0).abs() < 0.05, "{fit:?}");
    }

    #[test]
    fn no_light_and_too_few_entries_are_no_spectrum() {
        let content = Content::EveryTrigger {
            pedestal_sigma: 5.0,
        };
        let few = sample(0.5, 30.0, 5.0, 100, false);
        assert_eq!(fit(&few, content), None);
        let dark = sample(1e-9, 30.0, 5.0, 5000, false);
        assert_eq!(fit(&dark, content), None);
    }

    #[test]
    fn the_single_photoelectron_range_is_pure() {
        let fit = SpectrumFit {
            mean_pe: 2.5,
            gain: 100.0,
            gain_sigma: 40.0,
            pedestal: 0.0,
            pedestal_sigma: 8.0,
            quality: 1.0,
            entries: 1e4,
        };
        let (low, high) = fit.single_pe_range(0.75).expect("there is one");
        assert!(low < 70.0 && high > 80.0 && high < 130.0, "{low} {high}");
        let few = SpectrumFit {
            mean_pe: 0.1,
            ..fit
        };
        let (_, wider) = few.single_pe_range(0.75).expect("there is one");
        assert!(wider > high);
    }
}
