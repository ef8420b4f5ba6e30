//! Results as text for the cells of a table.

use super::stats::{Estimate, Share};
use crate::text::{missing, number, value_with_error};

/// Returns a value with its error, as [`value_with_error`] does.
pub(super) fn with_error(estimate: Option<Estimate>, decimals: usize) -> String {
    estimate.map_or_else(missing, |estimate| {
        value_with_error(estimate.value, estimate.error, decimals)
    })
}

fn scaled(estimate: Option<Estimate>, factor: f64) -> Option<Estimate> {
    estimate.map(|estimate| Estimate {
        value: factor * estimate.value,
        error: factor * estimate.error,
    })
}

/// Returns a fraction with its error in percent.
pub(super) fn percent_error(estimate: Option<Estimate>) -> String {
    with_error(scaled(estimate, 100.0), 2)
}

/// Returns a rate with its error per thousand.
pub(super) fn per_thousand(estimate: Option<Estimate>) -> String {
    with_error(scaled(estimate, 1000.0), 2)
}

/// Returns a share in percent.
pub(super) fn percent(share: Option<Share>) -> String {
    number(share.map(|share| 100.0 * share.value), 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_results_are_a_dash() {
        assert_eq!(percent_error(None), "-");
        assert_eq!(number(Some(f64::NAN), 2), "-");
        let single = Estimate {
            value: -0.012_34,
            error: f64::NAN,
        };
        assert_eq!(percent_error(Some(single)), "-1.23 \u{b1} -");
    }
}
