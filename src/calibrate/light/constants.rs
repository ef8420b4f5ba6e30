//! Dark rates and the charges of single photoelectrons, from hits before the light.

use super::first_pass::FirstPass;
use crate::detector::Sensors;
use crate::error::{Error, Result};
use crate::model::light_maps::ChargeTable;

/// Minimum number of hits of a charge spectrum.
const MIN_HITS: f64 = 500.0;
/// A spectrum is averaged over as many bins as contain this many hits ...
const SMOOTH_HITS: f64 = 60.0;
/// ... but at most over this share of the charge on both sides.
const SMOOTH_SHARE: f64 = 0.1;

/// Returns the dark photoelectrons per ns by channel. A channel's own rate is shrunk towards the mean of its type according
/// to the spread between channels.
pub(super) fn dark_per_ns(first_pass: &FirstPass, sensors: &Sensors, n_types: usize) -> Vec<f64> {
    let mut rates = vec![0.0; sensors.len()];
    if first_pass.dark_ns <= 0.0 {
        return rates;
    }
    for kind in 0..n_types {
        let members: Vec<usize> = (0..sensors.len())
            .filter(|&index| sensors.all()[index].type_index == kind)
            .collect();
        let counts: Vec<f64> = members
            .iter()
            .map(|&index| first_pass.dark_hits[index] as f64)
            .collect();
        let noise: Vec<f64> = counts.iter().map(|count| count.max(1.0)).collect();
        for (index, count) in members.into_iter().zip(towards_mean(&counts, &noise)) {
            rates[index] = count / first_pass.dark_ns;
        }
    }
    rates
}

/// Returns `values` shrunk towards their mean, each according to its `noise` (a variance) and the true spread of the values.
pub(super) fn towards_mean(values: &[f64], noise: &[f64]) -> Vec<f64> {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let spread = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let true_spread = (spread - noise.iter().sum::<f64>() / n).max(0.0);
    values
        .iter()
        .zip(noise)
        .map(|(x, noise)| mean + (x - mean) * true_spread / (true_spread + noise).max(1e-300))
        .collect()
}

/// Returns the charge spectra of single photoelectrons by type: from dark hits, or from light so dim that few channels have
/// more than one.
pub(super) fn charges(first_pass: &FirstPass, names: &[&str]) -> Result<Vec<ChargeTable>> {
    let dark = first_pass.dark_charges.iter().map(|counts| (counts, 0.0));
    let mean_pe = first_pass.dim_mean / first_pass.dim_hits.max(1.0);
    let dim = first_pass
        .dim_charges
        .iter()
        .map(|counts| (counts, 0.5 * mean_pe));
    dark.zip(dim)
        .zip(names)
        .map(|((dark, dim), name)| {
            let enough = |counts: &[f64]| counts.iter().sum::<f64>() >= MIN_HITS;
            let (counts, pairs) = if enough(dark.0) { dark } else { dim };
            if !enough(counts) {
                return Err(Error::usage(format!(
                    "PMT type `{name}`: fewer than {MIN_HITS} hits before the light, and no light dim enough to see single photoelectrons"
                ))
                .with_hint("take more events, a run of less energy, or a window that begins earlier before the light"));
            }
            ChargeTable::new(&without_pairs(&smoothed(counts), pairs)).ok_or_else(|| {
                Error::usage(format!("PMT type `{name}`: no single photoelectrons in the hits"))
            })
        })
        .collect()
}

/// Returns a spectrum averaged where it has few hits: the tail becomes smooth, the peak stays unchanged.
fn smoothed(counts: &[f64]) -> Vec<f64> {
    (0..counts.len())
        .map(|bin| {
            let most = (SMOOTH_SHARE * bin as f64) as usize;
            let mut reach = 0;
            loop {
                let from = bin.saturating_sub(reach);
                let upto = (bin + reach + 1).min(counts.len());
                let sum: f64 = counts[from..upto].iter().sum();
                if sum >= SMOOTH_HITS || reach >= most {
                    return sum / (upto - from) as f64;
                }
                reach += 1;
            }
        })
        .collect()
}

/// Removes the share `pairs` of two photoelectrons from a charge spectrum: `h = (1 - w) f + w f * f`.
fn without_pairs(spectrum: &[f64], pairs: f64) -> Vec<f64> {
    let total: f64 = spectrum.iter().sum();
    let all: Vec<f64> = spectrum.iter().map(|x| x / total.max(1e-300)).collect();
    let mut single = all.clone();
    if pairs <= 0.0 {
        return single;
    }
    for _ in 0..8 {
        let mut double = vec![0.0; all.len()];
        for (k, a) in single.iter().enumerate().filter(|(_, a)| **a > 0.0) {
            for (sum, b) in double[k..].iter_mut().zip(&single) {
                *sum += a * b;
            }
        }
        single = all
            .iter()
            .zip(&double)
            .map(|(all, double)| ((all - pairs * double) / (1.0 - pairs)).max(0.0))
            .collect();
    }
    single
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math;

    #[test]
    fn pairs_are_taken_out() {
        let single: Vec<f64> = (0..200)
            .map(|k| math::exp(-0.5 * ((f64::from(k) - 20.0) / 6.0).powi(2)))
            .collect();
        let total: f64 = single.iter().sum();
        let single: Vec<f64> = single.iter().map(|x| x / total).collect();
        let w = 0.08;
        let mut mixed: Vec<f64> = single.iter().map(|x| (1.0 - w) * x).collect();
        for (i, a) in single.iter().enumerate() {
            for (j, b) in single.iter().enumerate() {
                if let Some(sum) = mixed.get_mut(i + j) {
                    *sum += w * a * b;
                }
            }
        }
        let found = without_pairs(&mixed, w);
        for (a, b) in single.iter().zip(&found) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn values_go_to_their_mean_as_far_as_they_are_noise() {
        let equal = towards_mean(&[9.0, 11.0, 10.0], &[4.0; 3]);
        assert!(equal.iter().all(|x| (x - 10.0).abs() < 1e-12));
        let known = towards_mean(&[1.0, 3.0], &[1e-9; 2]);
        assert!((known[0] - 1.0).abs() < 1e-6 && (known[1] - 3.0).abs() < 1e-6);
    }
}
