//! Matches the hits of two results of a waveform, and measures how far the results differ.

use crate::model::{Flags, Hit, WaveformSummary};

/// Charges that differ by no more than this are the same: the promise that CPU and GPU give the same hits.
const CHARGE_PE: f32 = 1e-3;
/// The same relative to the charge, if that is more.
const CHARGE_SHARE: f32 = 1e-5;
/// Times that differ by no more than this are the same.
const TIME_NS: f64 = 0.01;

/// The hits of two results of a waveform, matched by time and charge.
#[derive(Default)]
pub struct Matches<'a> {
    /// Hits without a partner; true if the hit is one of the first result.
    pub unmatched: Vec<(bool, &'a Hit)>,
    /// Largest difference of charge among matched hits.
    pub worst_charge_pe: f32,
    /// Largest difference of time among matched hits.
    pub worst_time_ns: f64,
    /// Largest relative difference of the errors of matched hits.
    pub worst_error_share: f32,
}

impl<'a> Matches<'a> {
    /// Matches the hits of a waveform.
    #[must_use]
    pub fn new(first: &'a [Hit], second: &'a [Hit]) -> Self {
        let mut matches = Self::default();
        let (mut i, mut j) = (0, 0);
        loop {
            match (first.get(i), second.get(j)) {
                (Some(a), Some(b)) if same(a, b) => {
                    matches.add_pair(a, b);
                    (i, j) = (i + 1, j + 1);
                }
                (Some(a), Some(b)) => {
                    // The earlier hit has no partner; of two hits at one time neither has. A time that is NaN is not ordered.
                    let is_later = b.time_ns <= a.time_ns + TIME_NS;
                    if a.time_ns <= b.time_ns + TIME_NS || !is_later {
                        matches.unmatched.push((true, a));
                        i += 1;
                    }
                    if is_later {
                        matches.unmatched.push((false, b));
                        j += 1;
                    }
                }
                (Some(a), None) => {
                    matches.unmatched.push((true, a));
                    i += 1;
                }
                (None, Some(b)) => {
                    matches.unmatched.push((false, b));
                    j += 1;
                }
                (None, None) => return matches,
            }
        }
    }

    fn add_pair(&mut self, a: &Hit, b: &Hit) {
        self.worst_charge_pe = self.worst_charge_pe.max((a.charge_pe - b.charge_pe).abs());
        self.worst_time_ns = self.worst_time_ns.max((a.time_ns - b.time_ns).abs());
        self.worst_error_share = self
            .worst_error_share
            .max(relative(a.charge_sigma_pe, b.charge_sigma_pe))
            .max(relative(a.time_sigma_ns, b.time_sigma_ns));
    }
}

/// Returns true if two hits are the same within the promise.
#[must_use]
pub fn same(a: &Hit, b: &Hit) -> bool {
    let tolerance_pe = CHARGE_PE.max(CHARGE_SHARE * a.charge_pe.abs());
    (a.charge_pe - b.charge_pe).abs() <= tolerance_pe
        && (a.time_ns - b.time_ns).abs() <= TIME_NS
        && Flags(a.flags.0 ^ b.flags.0) == Flags::NONE
}

/// Returns the relative difference of two numbers that are not negative; 0 if both are NaN.
fn relative(a: f32, b: f32) -> f32 {
    if a == b || (a.is_nan() && b.is_nan()) {
        return 0.0;
    }
    (a - b).abs() / a.max(1e-6)
}

/// Returns the largest relative difference of noise, baseline error and chi-square.
#[must_use]
pub fn difference_of_errors(a: &WaveformSummary, b: &WaveformSummary) -> f32 {
    let chi2 = |summary: &WaveformSummary| summary.chi2_ndf.unwrap_or(f32::NAN);
    relative(a.baseline_sigma_adc, b.baseline_sigma_adc)
        .max(relative(a.noise_adc, b.noise_adc))
        .max(relative(chi2(a), chi2(b)))
}

/// Returns the difference of the baselines, in units of the standard deviation of the first one.
#[must_use]
pub fn difference_of_baselines(a: &WaveformSummary, b: &WaveformSummary) -> f32 {
    let sigma_adc = a.baseline_sigma_adc.max(1e-3);
    ((a.baseline_adc - b.baseline_adc) / sigma_adc).abs()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn hit(time_ns: f64, charge_pe: f32) -> Hit {
        Hit {
            time_ns,
            charge_pe,
            ..Hit::default()
        }
    }

    fn compared(first: &[Hit], second: &[Hit]) -> usize {
        Matches::new(first, second).unmatched.len()
    }

    #[test]
    fn differences_of_both_backends_are_counted() {
        let (a, b, c) = (hit(10.0, 1.0), hit(20.0, 2.0), hit(30.0, 3.0));
        assert_eq!(compared(&[a, b, c], &[a, b, c]), 0);
        assert_eq!(compared(&[a, b, c], &[a, c]), 1);
        assert_eq!(compared(&[a, c], &[a, b, c]), 1);
        assert_eq!(compared(&[a, b, c], &[a, hit(20.0, 2.002), c]), 2);
        assert_eq!(compared(&[a, b, c], &[a, hit(20.02, 2.0), c]), 2);
        assert_eq!(compared(&[a, b, c], &[a, hit(20.009, 2.0009), c]), 0);
        assert_eq!(compared(&[], &[a]), 1);
        let mut flagged = b;
        flagged.flags = Flags::PILE_UP;
        assert_eq!(compared(&[b], &[flagged]), 2, "a flag is part of a hit");
    }
}
