//! Probability of a charge for a number of photoelectrons, from a measured spectrum of single ones.

use crate::math;
use crate::model::light_maps::{CHARGE_BINS, ChargeTable, MAX_TABLE_PE, STEP_PE};

/// Range of sums over Gaussians, in standard deviations.
const REACH: f64 = 6.0;
/// Minimum density: an unexplained charge must not make the fit impossible.
const MIN_DENSITY: f64 = 1e-12;

/// `sum_n w_n(m) f_n(q)` and its derivative with `m`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sum {
    /// Logarithm of the sum.
    pub log: f64,
    /// Its derivative with respect to `m`.
    pub slope: f64,
}

/// `f_n(charge)` of one charge for `n` from 1 on, each over `(n - 1)!`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FewPe([f64; MAX_TABLE_PE]);

impl FewPe {
    /// As [`ChargeTable::beyond_first`], but returns the sum itself, and the derivative of its logarithm.
    #[must_use]
    #[inline]
    pub fn beyond_first(&self, m: f64) -> (f64, f64) {
        // Horner's scheme for the polynomial and its slope.
        let (mut sum, mut slope) = (0.0, 0.0);
        for f in self.0.iter().rev() {
            slope = slope * m + sum;
            sum = sum * m + f;
        }
        (sum, slope / sum)
    }
}

impl ChargeTable {
    /// `f_n(charge)`, for `n` from 1.
    fn density(&self, n: usize, charge_pe: f64) -> f64 {
        let place = charge_pe / STEP_PE;
        if n <= MAX_TABLE_PE && place < (CHARGE_BINS - 1) as f64 {
            let index = place.max(0.0) as usize;
            let t = place - index as f64;
            if let (Some(low), Some(high)) = (self.table.get(index), self.table.get(index + 1)) {
                return low[n - 1] + t * (high[n - 1] - low[n - 1]);
            }
        }
        let variance = self.variance * n as f64;
        let pull = charge_pe - self.mean_pe * n as f64;
        math::exp(-0.5 * pull * pull / variance) / (std::f64::consts::TAU * variance).sqrt()
    }

    /// Returns the range of numbers of photoelectrons that can have the charge `charge_pe`.
    fn range(&self, charge_pe: f64) -> (usize, usize) {
        let n = charge_pe / self.mean_pe;
        let spread = REACH * (self.variance * n.max(1.0)).sqrt() / self.mean_pe;
        let most = (n + spread).ceil().max(2.0) as usize;
        if most <= MAX_TABLE_PE {
            return (1, MAX_TABLE_PE);
        }
        (((n - spread).floor().max(1.0)) as usize, most)
    }

    /// Returns the densities of a charge for few photoelectrons; `None` if it may come from more.
    #[must_use]
    pub fn few(&self, charge_pe: f64) -> Option<FewPe> {
        if self.range(charge_pe).1 > MAX_TABLE_PE {
            return None;
        }
        let mut factorial = 1.0;
        let mut few = [0.0; MAX_TABLE_PE];
        for (k, f) in few.iter_mut().enumerate() {
            factorial *= k.max(1) as f64;
            *f = (self.density(k + 1, charge_pe) + MIN_DENSITY) / factorial;
        }
        Some(FewPe(few))
    }

    /// Returns the sum for a first photoelectron and `m` more expected ones: `sum_{n >= 1} m^(n-1) / (n-1)! f_n(q)`.
    #[must_use]
    pub fn beyond_first(&self, charge_pe: f64, m: f64) -> Sum {
        self.sum(charge_pe, m, 1)
    }

    /// Returns the sum for `m` expected photoelectrons: `sum_{n >= 1} m^n / n! f_n(q)`.
    #[must_use]
    pub fn all(&self, charge_pe: f64, m: f64) -> Sum {
        self.sum(charge_pe, m, 0)
    }

    /// `sum_n m^(n-k) / (n-k)! f_n(q)`. Weights are relative to the largest, so that nothing overflows.
    fn sum(&self, charge_pe: f64, m: f64, taken: usize) -> Sum {
        let m = m.max(1e-12);
        let (from, upto) = self.range(charge_pe);
        // Where the weights of the range are largest, and their logarithm there.
        let top = (m as usize + taken).clamp(from, upto);
        let log_top = (top - taken) as f64 * math::ln(m) - ln_factorial(top - taken);
        let (mut sum, mut slope) = (0.0, 0.0);
        let mut add = |n: usize, weight: f64| {
            let term = weight * self.density(n, charge_pe);
            sum += term;
            slope += term * (n - taken) as f64;
        };
        let mut weight = 1.0;
        for n in top..=upto {
            add(n, weight);
            weight *= m / (n + 1 - taken) as f64;
        }
        weight = 1.0;
        for n in (from..top).rev() {
            weight *= (n + 1 - taken) as f64 / m;
            add(n, weight);
        }
        let sum = sum + MIN_DENSITY;
        Sum {
            log: math::ln(sum) + log_top,
            // The derivative of the factor that was divided out is included in n - k; MIN_DENSITY scales with it.
            slope: slope / sum / m + MIN_DENSITY * (top - taken) as f64 / sum / m,
        }
    }
}

/// `ln n!`, by Stirling's series beyond a short table.
fn ln_factorial(n: usize) -> f64 {
    const TABLE: [f64; 10] = [
        1.0, 1.0, 2.0, 6.0, 24.0, 120.0, 720.0, 5040.0, 40_320.0, 362_880.0,
    ];
    if let Some(factorial) = TABLE.get(n) {
        return math::ln(*factorial);
    }
    let x = n as f64 + 1.0;
    (x - 0.5) * math::ln(x) - x + 0.5 * math::ln(std::f64::consts::TAU) + 1.0 / (12.0 * x)
        - 1.0 / (360.0 * x.powi(3))
        + 1.0 / (1260.0 * x.powi(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(sigma: f64) -> ChargeTable {
        let single: Vec<f64> = (0..200)
            .map(|k| {
                let q = f64::from(k) * STEP_PE;
                math::exp(-0.5 * ((q - 1.0) / sigma).powi(2))
            })
            .collect();
        ChargeTable::new(&single).expect("a good spectrum")
    }

    #[test]
    fn the_expected_sum_over_charges_is_that_of_poisson() {
        let table = table(0.3);
        for m in [0.01, 0.7, 5.0, 30.0] {
            let step = 0.01;
            let integral: f64 = (1..20_000)
                .map(|k| math::exp(table.all(step * f64::from(k), m).log) * step)
                .sum();
            let expected = math::exp(m) - 1.0;
            assert!(
                (integral / expected - 1.0).abs() < 5e-3,
                "{m} {integral} {expected}"
            );
        }
    }

    #[test]
    fn a_few_photoelectrons_are_the_same_sum() {
        let table = table(0.3);
        for (q, m) in [(0.9, 0.05), (2.2, 0.7), (3.1, 2.5), (0.4, 1.5)] {
            let few = table.few(q).expect("a small charge");
            let (sum, slope) = few.beyond_first(m);
            let all = table.beyond_first(q, m);
            assert!((math::ln(sum) - all.log).abs() < 1e-9, "{q} {m}");
            assert!((slope - all.slope).abs() < 1e-6 * (1.0 + all.slope.abs()));
        }
        assert!(table.few(40.0).is_none());
    }

    #[test]
    fn slopes_are_those_of_the_logarithm() {
        let table = table(0.35);
        for (q, m) in [
            (0.8, 0.02),
            (1.4, 1.3),
            (6.3, 4.0),
            (25.0, 31.0),
            (3.0, 60.0),
        ] {
            for sum in [ChargeTable::all, ChargeTable::beyond_first] {
                let h = 1e-5 * m;
                let slope = (sum(&table, q, m + h).log - sum(&table, q, m - h).log) / (2.0 * h);
                let found = sum(&table, q, m).slope;
                assert!(
                    (slope - found).abs() < 1e-4 * (1.0 + slope.abs()),
                    "{q} {m}: {slope} {found}"
                );
            }
        }
        assert!((ln_factorial(12) - math::ln(479_001_600.0_f64)).abs() < 1e-9);
    }
}
