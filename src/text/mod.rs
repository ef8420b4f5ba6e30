//! Numbers and tables as text for people.

#[cfg(feature = "plots")]
use crate::math;

#[cfg(feature = "cli")]
pub(crate) mod table;

/// Returns the text for a missing number.
#[cfg(feature = "plots")]
pub(crate) fn missing() -> String {
    "-".to_owned()
}

/// Returns `value` with `decimals` decimals, or a dash if it is missing or not finite.
#[cfg(feature = "plots")]
pub(crate) fn number(value: Option<f64>, decimals: usize) -> String {
    value
        .filter(|value| value.is_finite())
        .map_or_else(missing, |value| format!("{:.decimals$}", value + 0.0))
}

/// Returns `value` with its `error`, with at least `decimals` decimals and at most two more, so that the error is not 0.
#[cfg(feature = "plots")]
pub(crate) fn value_with_error(value: f64, error: f64, decimals: usize) -> String {
    let first_digit = -math::log10(error.abs()).floor();
    let decimals = if first_digit.is_finite() {
        (first_digit.max(0.0) as usize).clamp(decimals, decimals + 2)
    } else {
        decimals
    };
    let error = number(Some(error), decimals);
    format!("{} \u{b1} {error}", number(Some(value), decimals))
}

/// Returns `value` with its `error` where that is known.
#[cfg(feature = "plots")]
pub(crate) fn with_error(value: f64, error: f64, decimals: usize) -> String {
    if error.is_finite() {
        value_with_error(value, error, decimals)
    } else {
        number(Some(value), decimals)
    }
}

/// Returns a count with commas between groups of three digits.
pub(crate) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a count with its noun, in the plural unless it is 1: `1 unit`, `1,234 units`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", thousands(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1,000");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn a_noun_is_in_the_plural_unless_there_is_one() {
        assert_eq!(counted(0, "unit"), "0 units");
        assert_eq!(counted(1, "unit"), "1 unit");
        assert_eq!(counted(12_345, "unit"), "12,345 units");
    }

    #[test]
    fn a_small_error_gets_the_decimals_to_show_it() {
        let text = |error| value_with_error(0.125_04, error, 2);
        assert_eq!(text(0.2), "0.13 \u{b1} 0.20");
        assert_eq!(text(0.002), "0.125 \u{b1} 0.002");
        assert_eq!(text(0.0), "0.13 \u{b1} 0.00");
    }
}
