//! Durations with a unit on the command line and in configuration files: `60s`, `1ms`, `0.5s`, `2min`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The units with their length in seconds.
const UNITS: [(&str, f64); 6] = [
    ("us", 1e-6),
    ("ms", 1e-3),
    ("min", 60.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("s", 1.0),
];
/// The maximum duration. Adding it to the current time cannot overflow.
const MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// A duration, as text with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct DurationArg(pub Duration);

impl FromStr for DurationArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number_of = |(suffix, seconds): &(&str, f64)| {
            let number: f64 = text.strip_suffix(suffix)?.trim_end().parse().ok()?;
            let duration = Duration::try_from_secs_f64(number * seconds).ok()?;
            (duration <= MAX).then_some(duration)
        };
        UNITS.iter().find_map(number_of).map(Self).ok_or_else(|| {
            Error::usage(format!(
                "`{text}` is not a duration of at most a year; write for example `60s`, `1ms` or `2min`"
            ))
        })
    }
}

impl fmt::Display for DurationArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        match micros {
            _ if micros.is_multiple_of(1_000_000) => write!(f, "{}s", micros / 1_000_000),
            _ if micros.is_multiple_of(1000) => write!(f, "{}ms", micros / 1000),
            _ => write!(f, "{micros}us"),
        }
    }
}

impl TryFrom<String> for DurationArg {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<DurationArg> for String {
    fn from(duration: DurationArg) -> Self {
        duration.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_are_printed_as_they_are_read() {
        for (text, micros, printed) in [
            ("60s", 60_000_000, "60s"),
            ("1ms", 1000, "1ms"),
            ("0.5s", 500_000, "500ms"),
            ("250us", 250, "250us"),
            ("2min", 120_000_000, "120s"),
            ("1m", 60_000_000, "60s"),
            ("1 h", 3_600_000_000, "3600s"),
            ("0s", 0, "0s"),
        ] {
            let DurationArg(duration) = text.parse().expect(text);
            assert_eq!(duration.as_micros(), micros, "{text}");
            assert_eq!(DurationArg(duration).to_string(), printed);
        }
        for wrong in [
            "", "60", "s", "-1s", "8761h", "1e30h", "1 week", "nans", "1.5.2s",
        ] {
            assert!(wrong.parse::<DurationArg>().is_err(), "{wrong}");
        }
    }
}
