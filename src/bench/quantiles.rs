//! Quantiles of repetitions: median, 10th and 90th percentile.

use serde::Serialize;

/// Median, 10th and 90th percentile of repetitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// 50th percentile.
    pub median: f64,
    /// 10th percentile.
    pub p10: f64,
    /// 90th percentile.
    pub p90: f64,
}

impl Quantiles {
    /// Returns the quantiles of `values`, interpolated between two of them; zeros if there are none.
    #[must_use]
    pub fn from_values(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * sorted.len().saturating_sub(1) as f64;
            let value = |index: usize| sorted.get(index).copied().unwrap_or_default();
            let (low, high) = (value(place.floor() as usize), value(place.ceil() as usize));
            low + (high - low) * place.fract()
        };
        Self {
            median: at(0.5),
            p10: at(0.1),
            p90: at(0.9),
        }
    }

    /// Returns the quantiles of `number / time`: the slowest repetition has the lowest rate.
    #[must_use]
    pub fn from_rates(number: f64, times_s: &[f64]) -> Self {
        let rates: Vec<f64> = times_s
            .iter()
            .map(|&time_s| number / time_s.max(1e-12))
            .collect();
        Self::from_values(&rates)
    }

    /// Returns the quantiles multiplied by `factor`.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self {
            median: factor * self.median,
            p10: factor * self.p10,
            p90: factor * self.p90,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let values: Vec<f64> = (0..=10).rev().map(f64::from).collect();
        let spread = Quantiles::from_values(&values);
        assert_eq!((spread.median, spread.p10, spread.p90), (5.0, 1.0, 9.0));
        let spread = Quantiles::from_values(&[4.0, 2.0]);
        assert_eq!(spread.median, 3.0);
        assert!((spread.p10 - 2.2).abs() < 1e-12 && (spread.p90 - 3.8).abs() < 1e-12);
        assert_eq!(Quantiles::from_values(&[]), Quantiles::default());
    }

    #[test]
    fn a_rate_is_low_where_it_took_long() {
        let rate = Quantiles::from_rates(100.0, &[1.0, 2.0, 4.0]);
        assert_eq!(rate.median, 50.0);
        assert!(rate.p10 < 50.0 && rate.p90 > 50.0);
    }
}
