//! Sampling, bits and polarity as files state them, taken only where they make sense.

use crate::model::Polarity;

/// A sampling interval, if it is one.
pub(crate) fn sampling_ns(value: f64) -> Option<f64> {
    (value.is_finite() && value > 0.0).then_some(value)
}

/// The bits of a digitiser, if they are.
pub(crate) fn adc_bits(value: f64) -> Option<u32> {
    (value.fract() == 0.0 && (1.0..=32.0).contains(&value)).then_some(value as u32)
}

/// `-1` and `+1` as polarity.
pub(crate) fn polarity_of_number(value: f64) -> Option<Polarity> {
    if value == -1.0 {
        Some(Polarity::Negative)
    } else if value == 1.0 {
        Some(Polarity::Positive)
    } else {
        None
    }
}

/// `negative`, `positive`, `-1`, `+1` as polarity.
pub(crate) fn polarity_of_text(text: &str) -> Option<Polarity> {
    match text.trim().to_ascii_lowercase().as_str() {
        "negative" | "neg" | "-" => Some(Polarity::Negative),
        "positive" | "pos" | "+" => Some(Polarity::Positive),
        other => polarity_of_number(other.parse().ok()?),
    }
}

/// The word that files carry for a polarity.
pub(crate) fn polarity_text(polarity: Polarity) -> &'static str {
    match polarity {
        Polarity::Negative => "negative",
        Polarity::Positive => "positive",
    }
}

/// What the origin of a file made by this program begins with.
const OWN_ORIGIN: &str = "nuwave";

/// The detector's name, from files that this program made; other programs put a sentence there.
pub(crate) fn detector(detector: Option<&str>, origin: Option<&str>) -> Option<String> {
    let own = origin.is_some_and(|origin| origin.starts_with(OWN_ORIGIN));
    detector.filter(|_| own).map(str::to_owned)
}

/// The origin as it is kept in files, with this program's name in front.
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
