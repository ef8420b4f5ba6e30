//! The calibration of each channel: template, noise, offset, spreads.

use std::collections::HashMap;

use super::Flags;
use crate::error::{Error, Result};

/// The calibration of one channel, or the default of all channels without one. Columns as in the calibration file.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelCalibration {
    /// Mean response to one photoelectron in ADC counts, positive whatever the polarity. Sample `k` stands `k`
    /// sampling intervals after the photoelectron's time; undershoot included.
    pub template_adc: Vec<f32>,
    /// Standard deviation of one sample where there is no light.
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
    /// Flags of this channel's calibration.
    pub flags: Flags,
}

impl ChannelCalibration {
    /// Area under the template: the gain, in ADC counts x samples per photoelectron.
    #[must_use]
    pub fn gain_adc_samples(&self) -> f32 {
        self.template_adc.iter().sum()
    }

    /// Checks what extraction relies on.
    ///
    /// # Errors
    /// Says which value is out of range: an empty, non-finite or all-negative template, a noise that is not a
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
                    "templates are stored upright, whatever the polarity of the waveforms",
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
        Ok(())
    }
}

/// The calibration of all channels. Channels that are alike share a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    rows: Vec<ChannelCalibration>,
    by_channel: HashMap<u32, usize>,
    default_row: Option<usize>,
}

impl Calibration {
    /// A calibration without any channel.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row and returns its place, to be given to [`assign`](Self::assign) or [`set_default`](Self::set_default).
    ///
    /// # Errors
    /// As [`ChannelCalibration::validate`].
    pub fn add_row(&mut self, row: ChannelCalibration) -> Result<usize> {
        row.validate()?;
        self.rows.push(row);
        Ok(self.rows.len() - 1)
    }

    /// Gives `channel_id` the row at `row`; false if the channel had one already.
    pub fn assign(&mut self, channel_id: u32, row: usize) -> bool {
        debug_assert!(row < self.rows.len());
        self.by_channel.insert(channel_id, row).is_none()
    }

    /// Makes the row at `row` the one of all channels without one; false if there was a default already.
    pub fn set_default(&mut self, row: usize) -> bool {
        debug_assert!(row < self.rows.len());
        self.default_row.replace(row).is_none()
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> &[ChannelCalibration] {
        &self.rows
    }

    /// The row of `channel_id`, and whether it is its own (true) or the default (false). `None` if there is neither.
    #[must_use]
    pub fn row_of(&self, channel_id: u32) -> Option<(usize, bool)> {
        self.by_channel
            .get(&channel_id)
            .map(|&row| (row, true))
            .or(self.default_row.map(|row| (row, false)))
    }

    /// The default row's place.
    #[must_use]
    pub fn default_row(&self) -> Option<usize> {
        self.default_row
    }

    /// The channels that have a row of their own, in ascending order, each with the row's place.
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
