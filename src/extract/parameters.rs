//! The parameters of extraction, and the configuration of the digitizer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::Polarity;

/// The method by which charges and times are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Division by the spectrum of the template, low-pass, hit finding in the deconvolved trace.
    #[default]
    Deconvolution,
    /// Deconvolution, then a fit of few templates to the whole waveform, which separates pulses that overlap.
    Sparse,
    /// As `sparse`, after a fast test for empty waveforms.
    Auto,
    /// Baseline-subtracted integral of each pulse over threshold, one hit per group of pulses.
    Integral,
    /// Continuous over-threshold integral: the online method, with the charge above threshold only.
    Coti,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 5] = [
        Self::Deconvolution,
        Self::Sparse,
        Self::Auto,
        Self::Integral,
        Self::Coti,
    ];

    /// Returns the name, as in options, configuration files and reports.
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

    /// Returns a description of one line, for help texts.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Deconvolution => {
                "Division by the spectrum of the template, low-pass, hit finding in the deconvolved trace"
            }
            Self::Sparse => {
                "Deconvolution, then a fit of few templates to the whole waveform: separates pulses that overlap"
            }
            Self::Auto => "As `sparse`, after a fast test for empty waveforms",
            Self::Integral => {
                "Baseline-subtracted integral of each pulse over threshold, one hit per group of pulses"
            }
            Self::Coti => {
                "Continuous over-threshold integral: the online method, charge above threshold only"
            }
        }
    }

    /// True if the method begins with the deconvolution.
    #[must_use]
    pub fn deconvolves(self) -> bool {
        matches!(self, Self::Deconvolution | Self::Sparse | Self::Auto)
    }

    /// True if the method has a template fit.
    #[must_use]
    pub fn fits(self) -> bool {
        matches!(self, Self::Sparse | Self::Auto)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = || Self::ALL.map(Self::name).join("`, `");
        Self::ALL
            .into_iter()
            .find(|method| method.name() == text)
            .ok_or_else(|| {
                Error::usage(format!("`{text}` is not a method"))
                    .with_hint(format!("methods are `{}`", names()))
            })
    }
}

/// The low-pass filter of the deconvolution. Frequencies in MHz.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Filter {
    /// A Gaussian as wide as the noise allows: a single photoelectron is
    /// 14 standard deviations high in the deconvolved trace.
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

/// The parameters of extraction. The figures of docs/accuracy.md are made with the defaults.
///
/// # Examples
/// ```
/// use nuwave::extract::{Filter, Method, Parameters};
///
/// let parameters = Parameters {
///     method: Method::Sparse,
///     filter: "gaussian:60".parse()?,
///     ..Parameters::default()
/// };
/// assert_eq!(parameters.filter, Filter::Gaussian { sigma_mhz: 60.0 });
/// parameters.validate()?;
/// # Ok::<(), nuwave::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// Method of extraction.
    pub method: Method,
    /// Low-pass filter of the deconvolution.
    pub filter: Filter,
    /// Least height of a hit, in standard deviations of the noise where the threshold is applied.
    /// A lower value finds smaller charges, and about 50 times as many false hits per unit.
    pub threshold_sigma: f32,
    /// Least depth of the valley between two hits, in standard deviations of the deconvolved noise.
    /// A lower value separates closer photoelectrons, and splits more single ones.
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
    /// Checks that every parameter is in its range.
    ///
    /// # Errors
    /// If a parameter is out of range; the message names it.
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

/// The properties of the digitizer that extraction uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DigitizerConfig {
    /// Sampling interval.
    pub sampling_ns: f64,
    /// Direction of the pulses.
    pub polarity: Polarity,
    /// Resolution, from which the highest count follows, at which samples are saturated. `None`: the samples are not counts.
    pub adc_bits: Option<u32>,
}
