//! Sampling interval, resolution and polarity as files state them, accepted only if they are plausible.

use crate::model::Polarity;

/// Returns the sampling interval, if it is plausible.
pub(crate) fn sampling_ns(value: f64) -> Option<f64> {
    (value.is_finite() && value > 0.0).then_some(value)
}

/// Returns the resolution in bits, if it is plausible.
pub(crate) fn adc_bits(value: f64) -> Option<u32> {
    (value.fract() == 0.0 && (1.0..=32.0).contains(&value)).then_some(value as u32)
}

/// Converts `-1` and `+1` to a polarity.
pub(crate) fn polarity_of_number(value: f64) -> Option<Polarity> {
    if value == -1.0 {
        Some(Polarity::Negative)
    } else if value == 1.0 {
        Some(Polarity::Positive)
    } else {
        None
    }
}

/// Converts `negative`, `positive`, `-1`, `+1` to a polarity.
pub(crate) fn polarity_of_text(text: &str) -> Option<Polarity> {
    match text.trim().to_ascii_lowercase().as_str() {
        "negative" | "neg" | "-" => Some(Polarity::Negative),
        "positive" | "pos" | "+" => Some(Polarity::Positive),
        other => polarity_of_number(other.parse().ok()?),
    }
}

/// Returns the word for a polarity in files.
pub(crate) fn polarity_text(polarity: Polarity) -> &'static str {
    match polarity {
        Polarity::Negative => "negative",
        Polarity::Positive => "positive",
    }
}

/// The first word of the origin of a file that this program made.
const OWN_ORIGIN: &str = "nuwave";

/// Returns the detector's name, from files that this program made. Other programs put a sentence there.
pub(crate) fn detector(detector: Option<&str>, origin: Option<&str>) -> Option<String> {
    let own = origin.is_some_and(|origin| origin.starts_with(OWN_ORIGIN));
    detector.filter(|_| own).map(str::to_owned)
}

/// Returns the origin as files state it, after this program's name.
pub(crate) fn origin(origin: &str) -> String {
    if origin.starts_with(OWN_ORIGIN) {
        origin.to_owned()
    } else {
        format!("{OWN_ORIGIN} {origin}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_not_taken() {
        assert_eq!(sampling_ns(f64::NAN), None);
        assert_eq!(sampling_ns(-2.0), None);
        assert_eq!(adc_bits(14.0), Some(14));
        assert_eq!(adc_bits(1e9), None);
        assert_eq!(polarity_of_text("-1"), Some(Polarity::Negative));
        assert_eq!(polarity_of_text("sideways"), None);
    }
}
