//! The calibration of the channels: templates, noise, offsets, spreads.

use std::collections::HashMap;

use super::template_tail::{Tail, continue_tail};
use super::{Flags, Polarity};
use crate::error::{Error, Result};

/// The kind of a run for single photoelectrons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    /// A weak light source fires at the same time in every window.
    Led,
    /// Dark photoelectrons at any time.
    Dark,
}

impl RunKind {
    /// Returns the name of the kind in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Led => "led",
            Self::Dark => "dark",
        }
    }

    /// Returns the kind of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Led, Self::Dark]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// How a row was measured, with statistical errors (standard deviations). Nothing is reconstructed from these values; NaN where
/// one is not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeMeasurement {
    /// The kind of run; `None` if it is not known.
    pub run: Option<RunKind>,
    /// Waveforms of the channel in the run.
    pub n_waveforms: u64,
    /// Those that were left out: dead, saturated, padded, not finite, or of another length.
    pub n_left_out: u64,
    /// Pulses in the template.
    pub n_pulses: u64,
    /// Mean number of photoelectrons per trigger.
    pub mean_pe: f32,
    /// Its error.
    pub mean_pe_error: f32,
    /// The gain: mean charge of one photoelectron within the charge window, from the fit of the charge spectrum.
    pub gain_adc_samples: f32,
    /// Its error.
    pub gain_error_adc_samples: f32,
    /// Error of `charge_sigma_pe`.
    pub charge_sigma_error_pe: f32,
    /// Error of `noise_adc`.
    pub noise_error_adc: f32,
    /// Error of the height of the template.
    pub peak_error_adc: f32,
    /// Error of `time_offset_ns`, and of the time of the light.
    pub time_offset_error_ns: f32,
    /// Error of `dark_rate_hz`.
    pub dark_rate_error_hz: f32,
    /// Pearson's chi-square of the fit of the charge spectrum, of bins with at least five expected entries.
    pub chi2: f32,
    /// Its number of degrees of freedom; 0 if it is not known.
    pub degrees_of_freedom: u32,
}

impl Default for SpeMeasurement {
    fn default() -> Self {
        Self {
            run: None,
            n_waveforms: 0,
            n_left_out: 0,
            n_pulses: 0,
            mean_pe: f32::NAN,
            mean_pe_error: f32::NAN,
            gain_adc_samples: f32::NAN,
            gain_error_adc_samples: f32::NAN,
            charge_sigma_error_pe: f32::NAN,
            noise_error_adc: f32::NAN,
            peak_error_adc: f32::NAN,
            time_offset_error_ns: f32::NAN,
            dark_rate_error_hz: f32::NAN,
            chi2: f32::NAN,
            degrees_of_freedom: 0,
        }
    }
}

/// The calibration of one channel, or the default of all channels without one. Columns as in the calibration file.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelCalibration {
    /// Mean response to one photoelectron in ADC counts, positive for either polarity, with the undershoot. Sample `k` is `k`
    /// sampling intervals after the photoelectron's time.
    pub template_adc: Vec<f32>,
    /// Standard deviation of one sample without light.
    pub noise_adc: f32,
    /// Time to subtract from this channel's hits.
    pub time_offset_ns: f32,
    /// Rate of dark photoelectrons.
    pub dark_rate_hz: f32,
    /// Spread of the single-PE charge, relative to its mean.
    pub charge_sigma_pe: f32,
    /// Transit-time spread (standard deviation).
    pub time_sigma_ns: f32,
    /// Interval between samples.
    pub sampling_ns: f32,
    /// RMS of means over 64 ns in windows without light over that of white noise with `noise_adc`, at least 1: how much the
    /// noise of the baseline exceeds that of white noise.
    pub baseline_noise_ratio: f32,
    /// Flags of this channel's calibration.
    pub flags: Flags,
    /// How the row was measured, if that is known.
    pub measurement: Option<SpeMeasurement>,
}

impl ChannelCalibration {
    /// Returns the area of the template, undershoot included, in ADC counts x samples: the charge of a hit of 1 PE. The
    /// [gain](SpeMeasurement::gain_adc_samples) is the charge within the charge window only.
    #[must_use]
    pub fn area_adc_samples(&self) -> f32 {
        self.template_adc.iter().sum()
    }

    /// Checks the values that extraction relies on.
    ///
    /// # Errors
    /// If a value is out of range: an empty or non-finite template, one without a positive sample, a noise that is not a
    /// non-negative number, a sampling interval that is not positive.
    pub fn validate(&self) -> Result<()> {
        if self.template_adc.is_empty() || self.template_adc.iter().any(|value| !value.is_finite())
        {
            return Err(Error::usage(
                "the template is empty or holds values that are not finite",
            ));
        }
        let peak_adc = self.template_adc.iter().copied().fold(f32::MIN, f32::max);
        if peak_adc <= 0.0 {
            return Err(
                Error::usage("the template has no positive sample").with_hint(
                    "templates are stored as positive pulses, for either polarity of the waveforms",
                ),
            );
        }
        if !(self.noise_adc.is_finite() && self.noise_adc >= 0.0) {
            return Err(Error::usage(format!(
                "noise_adc is {}, expected a number >= 0",
                self.noise_adc
            )));
        }
        if !(self.sampling_ns.is_finite() && self.sampling_ns > 0.0) {
            return Err(Error::usage(format!(
                "sampling_ns is {}, expected a number > 0",
                self.sampling_ns
            )));
        }
        if !self.time_offset_ns.is_finite() {
            return Err(Error::usage("time_offset_ns is not finite"));
        }
        if !(self.baseline_noise_ratio.is_finite() && self.baseline_noise_ratio >= 1.0) {
            return Err(Error::usage(format!(
                "baseline_noise_ratio is {}, expected a number >= 1",
                self.baseline_noise_ratio
            )));
        }
        Ok(())
    }
}

/// The calibration of all channels. Equal channels share a row.
///
/// ```
/// use nuwave::model::{Calibration, ChannelCalibration, Flags};
///
/// let mut calibration = Calibration::new();
/// let row = calibration.add_row(ChannelCalibration {
///     template_adc: vec![0.0, 20.0, 60.0, 35.0, 10.0],
///     noise_adc: 2.5,
///     time_offset_ns: 0.0,
///     dark_rate_hz: 1e4,
///     charge_sigma_pe: 0.3,
///     time_sigma_ns: 1.5,
///     sampling_ns: 1.0,
///     baseline_noise_ratio: 1.0,
///     flags: Flags::NONE,
///     measurement: None,
/// })?;
/// calibration.assign(7, row);
/// assert_eq!(calibration.row_of(7), Some((row, true)));
/// assert_eq!(calibration.row_of(8), None);
/// assert_eq!(calibration.rows()[row].area_adc_samples(), 125.0);
/// # Ok::<(), nuwave::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    rows: Vec<ChannelCalibration>,
    by_channel: HashMap<u32, usize>,
    default_row: Option<usize>,
    polarity: Option<Polarity>,
}

impl Calibration {
    /// Creates a calibration without channels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row and returns its index, for [`assign`](Self::assign) and [`set_default`](Self::set_default).
    ///
    /// # Errors
    /// As [`ChannelCalibration::validate`].
    pub fn add_row(&mut self, row: ChannelCalibration) -> Result<usize> {
        row.validate()?;
        self.rows.push(row);
        Ok(self.rows.len() - 1)
    }

    /// Assigns the row at index `row` to `channel_id`. Returns false if the channel had one already.
    pub fn assign(&mut self, channel_id: u32, row: usize) -> bool {
        debug_assert!(row < self.rows.len());
        self.by_channel.insert(channel_id, row).is_none()
    }

    /// Makes the row at index `row` the default of all channels without one. Returns false if there was a default already.
    pub fn set_default(&mut self, row: usize) -> bool {
        debug_assert!(row < self.rows.len());
        self.default_row.replace(row).is_none()
    }

    /// Continues the tails of templates that end before they have come to rest, where an exponential is determined by their
    /// end. Other templates stay as they are. Returns how many rows were continued, and how many could not be.
    pub fn continue_tails(&mut self) -> (usize, usize) {
        let (mut continued, mut left) = (0, 0);
        for row in &mut self.rows {
            match continue_tail(&mut row.template_adc) {
                Tail::AtRest => {}
                Tail::Continued { .. } => continued += 1,
                Tail::Undetermined => left += 1,
            }
        }
        (continued, left)
    }

    /// Sets the direction of the pulses in the waveforms that the calibration was made of.
    pub fn set_polarity(&mut self, polarity: Polarity) {
        self.polarity = Some(polarity);
    }

    /// Returns the direction of the pulses in the waveforms that the calibration was made of, if it is known.
    #[must_use]
    pub fn polarity(&self) -> Option<Polarity> {
        self.polarity
    }

    /// Returns all rows.
    #[must_use]
    pub fn rows(&self) -> &[ChannelCalibration] {
        &self.rows
    }

    /// Returns the row of `channel_id`, and true if it is its own or false if it is the default. `None` if there is neither.
    #[must_use]
    pub fn row_of(&self, channel_id: u32) -> Option<(usize, bool)> {
        self.by_channel
            .get(&channel_id)
            .map(|&row| (row, true))
            .or(self.default_row.map(|row| (row, false)))
    }

    /// Returns the index of the default row.
    #[must_use]
    pub fn default_row(&self) -> Option<usize> {
        self.default_row
    }

    /// Returns the channels with a row of their own, in ascending order, each with the index of the row.
    #[must_use]
    pub fn channels(&self) -> Vec<(u32, usize)> {
        let mut channels: Vec<_> = self
            .by_channel
            .iter()
            .map(|(&channel, &row)| (channel, row))
            .collect();
        channels.sort_unstable();
        channels
    }
}
