//! Settings of `nuwave simulate waveforms`: from the command line and a TOML file to a plan.

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde::{Deserialize, Serialize};

use crate::detector::{self, Detector};
use crate::error::{Error, Result};
use crate::model::Polarity;
use crate::simulate::{LightLevel, Overrides, Profile, WaveformPlan};

const DEFAULT_DETECTOR: &str = "juno";
const DEFAULT_EVENTS: u64 = 10;
const DEFAULT_CHANNELS: u32 = 64;
const DEFAULT_SEED: u64 = 1;
const DEFAULT_MEAN_PE: f64 = 1.0;
const DEFAULT_PROFILE: &str = "ls";

/// The keys for the amount of light, of which only one may be given.
pub(super) const LIGHT_KEYS: [&str; 4] =
    ["mean_pe", "fixed_pe", "pair_separation_ns", "charge_range"];

/// Settings from the command line or a file; absent ones have their default.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// Preset or detector file [default: juno]
    #[arg(long, short, value_name = "NAME|FILE")]
    pub detector: Option<String>,
    /// Seed of all random numbers [default: 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Number of events [default: 10]
    #[arg(long, value_name = "N")]
    pub events: Option<u64>,
    /// Channels: a number N for the first N, a range (`0-63`), or a list of numbers and ranges (`3,7,20-29`; `5,` for
    /// channel 5 alone) [default: the first 64, or all if there are fewer]
    #[arg(long, value_name = "LIST")]
    pub channels: Option<String>,

    /// Poisson-distributed number of photoelectrons per waveform with this mean [default: 1]
    #[arg(long, value_name = "MU", group = "light", help_heading = "Light")]
    pub mean_pe: Option<f64>,
    /// The same number of photoelectrons in every waveform
    #[arg(long, value_name = "K", group = "light", help_heading = "Light")]
    pub fixed_pe: Option<u32>,
    /// Two photoelectrons of equal charge this many ns apart, without time profile and transit-time spread
    #[arg(long, value_name = "NS", group = "light", help_heading = "Light")]
    pub pair_separation_ns: Option<f64>,
    /// With `--pair-separation-ns`: both have exactly 1 PE
    #[arg(long, help_heading = "Light")]
    pub equal_charge: bool,
    /// Total true charge per waveform, log-uniform from LO to HI, as `1:200`
    #[arg(long, value_name = "LO:HI", group = "light", help_heading = "Light")]
    pub charge_range: Option<String>,
    /// When the light is emitted; see the list below [default: ls]
    #[arg(long, value_name = "NAME", help_heading = "Light")]
    pub profile: Option<String>,

    /// White noise as a share of the single-photoelectron peak; coloured noise is dropped
    #[arg(long, value_name = "X", help_heading = "Changes to the detector")]
    pub noise_pe: Option<f64>,
    /// Amplitude of all undershoots together, as a share of the peak
    #[arg(long, value_name = "X", help_heading = "Changes to the detector")]
    pub undershoot: Option<f64>,
    /// Spread of a Gaussian single-photoelectron charge; an exponential tail is dropped
    #[arg(long, value_name = "X", help_heading = "Changes to the detector")]
    pub charge_sigma: Option<f64>,
    /// Transit-time spread (sigma) in ns
    #[arg(long, value_name = "NS", help_heading = "Changes to the detector")]
    pub tts_ns: Option<f64>,
    /// Dark photoelectrons per second
    #[arg(
        long,
        value_name = "HZ",
        conflicts_with = "no_dark",
        help_heading = "Changes to the detector"
    )]
    pub dark_rate: Option<f64>,
    /// No dark photoelectrons
    #[arg(long, help_heading = "Changes to the detector")]
    pub no_dark: bool,
    /// Peak of the mean single photoelectron in ADC counts
    #[arg(long, value_name = "X", help_heading = "Changes to the detector")]
    pub spe_adc: Option<f64>,
    /// Interval between samples in ns
    #[arg(long, value_name = "NS", help_heading = "Changes to the detector")]
    pub sampling_ns: Option<f64>,
    /// Samples per waveform
    #[arg(long, value_name = "N", help_heading = "Changes to the detector")]
    pub samples: Option<usize>,
    /// When the first light arrives in the window, in ns
    #[arg(long, value_name = "NS", help_heading = "Changes to the detector")]
    pub trigger_ns: Option<f64>,
    /// Direction of the pulses
    #[arg(
        long,
        value_name = "WHICH",
        value_parser = PossibleValuesParser::new(["negative", "positive"]).map(polarity),
        help_heading = "Changes to the detector"
    )]
    pub polarity: Option<Polarity>,
    /// Sixteen bits with room for large pulses, for studies of linearity
    #[arg(long, help_heading = "Changes to the detector")]
    pub no_saturation: bool,
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "clap hands the possible value over"
)]
fn polarity(name: String) -> Polarity {
    if name == "positive" {
        Polarity::Positive
    } else {
        Polarity::Negative
    }
}

impl Settings {
    fn to_table(&self) -> Result<toml::Table> {
        toml::Table::try_from(self).map_err(|error| {
            Error::usage("a setting cannot be written as TOML")
                .with_source(error)
                .with_hint("whole numbers end at 9223372036854775807 there")
        })
    }

    /// The settings as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(&self.to_table()?)
            .map_err(|error| Error::internal("cannot write the settings").with_source(error))
    }

    /// Returns the plan of the simulation.
    pub fn plan(&self) -> Result<WaveformPlan> {
        let name = self.detector.as_deref().unwrap_or(DEFAULT_DETECTOR);
        let detector = self.overrides().apply(detector::load(name)?)?;
        let profile = self.profile.as_deref().unwrap_or(DEFAULT_PROFILE);
        let plan = WaveformPlan {
            seed: self.seed.unwrap_or(DEFAULT_SEED),
            events: self.events.unwrap_or(DEFAULT_EVENTS),
            channels: match &self.channels {
                None => (0..detector.n_channels().min(DEFAULT_CHANNELS)).collect(),
                Some(text) => parse_channels(text, &detector)?,
            },
            light: self.light()?,
            profile: Profile::named(profile, &detector)?,
            detector,
        };
        plan.validate()?;
        Ok(plan)
    }

    /// Returns these settings with the defaults of `plan` filled in.
    pub fn resolved(&self, plan: &WaveformPlan) -> Self {
        let mut resolved = self.clone();
        resolved
            .detector
            .get_or_insert_with(|| DEFAULT_DETECTOR.to_owned());
        resolved.seed = Some(plan.seed);
        resolved.events = Some(plan.events);
        resolved
            .channels
            .get_or_insert_with(|| plan.channels.len().to_string());
        if let LightLevel::MeanPe(mean_pe) = plan.light {
            resolved.mean_pe = Some(mean_pe);
        }
        resolved.profile = Some(plan.profile.name().to_owned());
        resolved
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            noise_pe: self.noise_pe,
            undershoot: self.undershoot,
            charge_sigma_pe: self.charge_sigma,
            transit_time_sigma_ns: self.tts_ns,
            dark_rate_hz: if self.no_dark {
                Some(0.0)
            } else {
                self.dark_rate
            },
            spe_peak_adc: self.spe_adc,
            sampling_ns: self.sampling_ns,
            window_samples: self.samples,
            trigger_ns: self.trigger_ns,
            polarity: self.polarity,
            no_saturation: self.no_saturation,
        }
    }

    fn light(&self) -> Result<LightLevel> {
        let given = [
            self.mean_pe.is_some(),
            self.fixed_pe.is_some(),
            self.pair_separation_ns.is_some(),
            self.charge_range.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() > 1 {
            return Err(Error::usage(format!(
                "only one of `{}` can be given",
                LIGHT_KEYS.join("`, `")
            )));
        }
        if self.equal_charge && self.pair_separation_ns.is_none() {
            return Err(Error::usage("`equal_charge` applies to pairs only")
                .with_hint("add `--pair-separation-ns NS`"));
        }
        if let Some(number) = self.fixed_pe {
            return Ok(LightLevel::FixedPe(number));
        }
        if let Some(separation_ns) = self.pair_separation_ns {
            return Ok(LightLevel::Pair {
                separation_ns,
                equal_charge: self.equal_charge,
            });
        }
        if let Some(range) = &self.charge_range {
            let parsed = range.split_once(':').and_then(|(low, high)| {
                Some((low.trim().parse().ok()?, high.trim().parse().ok()?))
            });
            let Some((low_pe, high_pe)) = parsed else {
                return Err(Error::usage(format!(
                    "the charge range `{range}` is not two numbers separated by a colon"
                ))
                .with_hint("write it as `1:200`"));
            };
            return Ok(LightLevel::ChargeRange { low_pe, high_pe });
        }
        Ok(LightLevel::MeanPe(self.mean_pe.unwrap_or(DEFAULT_MEAN_PE)))
    }
}

/// Returns the channels of `text`: `N` for the first N, else numbers and ranges separated by commas.
fn parse_channels(text: &str, detector: &Detector) -> Result<Vec<u32>> {
    let wrong = |part: &str| {
        Error::usage(format!(
            "the channels `{text}`: `{part}` is neither a number nor a range, or not within the {} channels of `{}`",
            detector.n_channels(),
            detector.name
        ))
        .with_hint("`64` is the first 64, `0-63` a range, `3,7,20-29` a list, `5,` channel 5 alone")
    };
    let n_channels = detector.n_channels();
    let number = |part: &str| part.trim().parse::<u32>().map_err(|_| wrong(part));
    if !text.contains([',', '-']) {
        let count = number(text)?;
        if count == 0 || count > n_channels {
            return Err(wrong(text));
        }
        return Ok((0..count).collect());
    }
    let mut channels = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last || last >= n_channels {
            return Err(wrong(part));
        }
        channels.extend(first..=last);
        if channels.len() > n_channels as usize {
            break;
        }
    }
    let mut seen = channels.clone();
    seen.sort_unstable();
    if seen.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Error::usage(format!(
            "the channels `{text}` name a channel twice"
        )));
    }
    Ok(channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_a_count_a_range_or_a_list() {
        let detector = detector::load("jinping").expect("a preset");
        let parse = |text| parse_channels(text, &detector).map_err(|error| error.to_string());
        assert_eq!(parse("3"), Ok(vec![0, 1, 2]));
        assert_eq!(parse("4-6"), Ok(vec![4, 5, 6]));
        assert_eq!(parse("9, 2-3"), Ok(vec![9, 2, 3]));
        assert_eq!(parse("5,"), Ok(vec![5]));
        for wrong in [
            "0",
            "61",
            "x",
            "3-2",
            "0-60",
            "1,1",
            "1,0-3",
            "-3",
            "4294967296",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
