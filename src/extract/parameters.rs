//! What the user can set about extraction, and the facts of the readout it needs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::Polarity;

/// How charge and time are taken from a waveform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Divide by the template's spectrum, low-pass, find hits in the deconvolved trace
    #[default]
    Deconvolution,
    /// Deconvolution, then a fit of few templates to the whole waveform: separates what deconvolution lumps
    Sparse,
    /// As `sparse`; waveforms in which a first look finds no light cost next to nothing
    Auto,
    /// Baseline-subtracted integral of each pulse over threshold, one hit a pulse group
    Integral,
    /// Continuous over-threshold integral: the online method, charge above threshold only
    Coti,
}

impl Method {
    /// The name as typed and reported.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deconvolution => "deconvolution",
            Self::Sparse => "sparse",
            Self::Auto => "auto",
            Self::Integral => "integral",
            Self::Coti => "coti",
        }
    }

    /// True if it begins with the deconvolution.
    #[must_use]
    pub fn deconvolves(self) -> bool {
        matches!(self, Self::Deconvolution | Self::Sparse | Self::Auto)
    }

    /// True if it goes on to a fit of templates.
    #[must_use]
    pub fn fits(self) -> bool {
        matches!(self, Self::Sparse | Self::Auto)
    }
}

/// The low-pass filter of the deconvolution. Frequencies in MHz.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Filter {
    /// A Gaussian, as wide as the noise allows: a single photoelectron stands
    /// [`AUTO_SIGNIFICANCE`](crate::extract::deconvolution::filter::AUTO_SIGNIFICANCE) standard deviations high in the deconvolved trace.
    #[default]
    Auto,
    /// exp(-f^2 / (2 sigma^2)).
    Gaussian {
        /// Standard deviation.
        sigma_mhz: f64,
    },
    /// 1 up to `flat_mhz`, then a Gaussian roll-off.
    Flat {
        /// End of the flat part.
        flat_mhz: f64,
        /// Standard deviation of the roll-off.
        sigma_mhz: f64,
    },
    /// |S|^2 / (|S|^2 + |N|^2) for one photoelectron over white noise.
    Wiener,
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hint =
            "filters are `auto`, `wiener`, `gaussian:SIGMA_MHZ` and `flat:FLAT_MHZ:SIGMA_MHZ`";
        let wrong = || Error::usage(format!("`{text}` is not a filter")).with_hint(hint);
        let number = |part: &str| {
            part.parse()
                .ok()
                .filter(|value: &f64| value.is_finite() && *value > 0.0)
                .ok_or_else(wrong)
        };
        match text.split(':').collect::<Vec<_>>().as_slice() {
            ["auto"] => Ok(Self::Auto),
            ["wiener"] => Ok(Self::Wiener),
            ["gaussian", sigma] => Ok(Self::Gaussian {
                sigma_mhz: number(sigma)?,
            }),
            ["flat", flat, sigma] => Ok(Self::Flat {
                flat_mhz: number(flat)?,
                sigma_mhz: number(sigma)?,
            }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Gaussian { sigma_mhz } => write!(f, "gaussian:{sigma_mhz}"),
            Self::Flat {
                flat_mhz,
                sigma_mhz,
            } => write!(f, "flat:{flat_mhz}:{sigma_mhz}"),
            Self::Wiener => f.write_str("wiener"),
        }
    }
}

impl Serialize for Filter {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|error: Error| serde::de::Error::custom(error.to_string()))
    }
}

/// Everything that can be set about extraction. The defaults are what the README's figures are made with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// How charge and time are taken.
    pub method: Method,
    /// The deconvolution's low-pass filter.
    pub filter: Filter,
    /// Least height of a hit, in standard deviations of the noise where the threshold is applied.
    /// Lower finds smaller charges, and about 50 times as many false hits a unit.
    pub threshold_sigma: f32,
    /// Least depth of the valley between two hits, in standard deviations of the deconvolved noise.
    /// Lower separates closer photoelectrons, and splits more single ones.
    pub split_sigma: f32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            method: Method::default(),
            filter: Filter::default(),
            threshold_sigma: 5.0,
            split_sigma: 2.0,
        }
    }
}

impl Parameters {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the parameter that is out of range.
    pub fn validate(&self) -> Result<()> {
        for (name, value, range) in [
            ("threshold_sigma", self.threshold_sigma, 1.0..=100.0),
            ("split_sigma", self.split_sigma, 0.5..=100.0),
        ] {
            if !range.contains(&value) {
                return Err(Error::usage(format!(
                    "`{name}` is {value}, expected {} to {}",
                    range.start(),
                    range.end()
                )));
            }
        }
        Ok(())
    }
}

/// What extraction has to know about the digitiser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadoutFacts {
    /// Interval between samples.
    pub sampling_ns: f64,
    /// Direction of the pulses.
    pub polarity: Polarity,
    /// Resolution; gives the highest count, at which samples are saturated. `None`: only 0 is known as a rail.
    pub adc_bits: Option<u32>,
}
