//! The detector's description: readout, PMT types, pulse shape, scintillation, geometry, medium; presets and detector files.

mod file;
mod geometry;
mod presets;
mod pulse;
mod sensor_table;

use std::f64::consts::FRAC_1_SQRT_2;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use file::{load, parse, text};
pub use geometry::{Geometry, Medium, Nonlinearity, Placement, Sensor, Sensors};
pub use presets::PRESETS;
pub use pulse::{Pulse, PulseShape, Undershoot};

use crate::error::Result;
use crate::math;
use crate::model::{Calibration, ChannelCalibration, Flags, Polarity};

/// Maximum number of samples of a template made by [`Detector::nominal_calibration`].
pub const MAX_TEMPLATE_SAMPLES: usize = 1024;
/// Fraction of the peak below which the tail of a nominal template is cut off.
const TEMPLATE_TAIL: f64 = 1e-4;

/// A detector as its file describes it. Made by [`load`] or [`parse`], which check every value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// Short name.
    pub name: String,
    /// One line for a list of detectors.
    pub description: String,
    /// How the channels are digitised.
    pub readout: Readout,
    /// The emission of light after a prompt deposit of energy.
    pub scintillation: Scintillation,
    /// Its shape and the positions of the PMTs. Events can be reconstructed if this is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geometry: Option<Geometry>,
    /// The optical medium. Events can be simulated if this is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<Medium>,
    /// The positions of the PMTs, which follow from the geometry.
    #[serde(skip)]
    pub(crate) sensors: Option<Arc<Sensors>>,
    /// The types of PMT, at least one (`[[pmt_type]]` in the file).
    #[serde(rename = "pmt_type")]
    pub pmt_types: Vec<PmtType>,
}

/// How the channels are digitised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Readout {
    /// Interval between samples.
    pub sampling_ns: f64,
    /// Resolution: samples are clipped to `0..=2^adc_bits - 1`.
    pub adc_bits: u32,
    /// Direction of the pulses.
    pub polarity: Polarity,
    /// Sample value without light.
    pub baseline_adc: f64,
    /// Standard deviation of the baseline from channel to channel.
    #[serde(default)]
    pub baseline_spread_adc: f64,
    /// Samples per waveform.
    pub window_samples: usize,
    /// Time of the first light of an event, from the first sample of the window.
    pub trigger_ns: f64,
}

impl Readout {
    /// Returns the largest sample value that the digitiser can write.
    #[must_use]
    pub fn full_scale_adc(&self) -> u16 {
        u16::try_from((1_u32 << self.adc_bits.min(16)) - 1).unwrap_or(u16::MAX)
    }

    /// Returns the length of the window.
    #[must_use]
    pub fn window_ns(&self) -> f64 {
        self.window_samples as f64 * self.sampling_ns
    }
}

/// The emission of light: the emission time after a prompt deposit is the sum of an exponential rise and one of
/// several exponential decays, `p(t) = sum_i w_i (exp(-t / tau_i) - exp(-t / rise)) / (tau_i - rise)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scintillation {
    /// Time constant of the rise; 0 for none.
    #[serde(default)]
    pub rise_ns: f64,
    /// The decays; their weights need not add up to 1.
    pub components: Vec<DecayComponent>,
}

/// One exponential decay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecayComponent {
    /// Time constant.
    pub tau_ns: f64,
    /// Relative share of the light.
    pub weight: f64,
}

impl Scintillation {
    /// Returns the mean emission time: `rise + sum_i w_i tau_i / sum_i w_i`.
    #[must_use]
    pub fn mean_ns(&self) -> f64 {
        let total: f64 = self.components.iter().map(|part| part.weight).sum();
        let weighted: f64 = self
            .components
            .iter()
            .map(|part| part.weight * part.tau_ns)
            .sum();
        self.rise_ns + weighted / total
    }
}

/// One type of PMT with its electronics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PmtType {
    /// Name of the type.
    pub name: String,
    /// Number of channels of this type; a sensor table's own numbers go first.
    #[serde(default)]
    pub channels: u32,
    /// Peak of the response to one photoelectron of mean charge.
    pub spe_peak_adc: f64,
    /// Standard deviation of the Gaussian part of the single-photoelectron charge, relative to that Gaussian's mean.
    pub charge_sigma_pe: f64,
    /// Share of photoelectrons whose charge is exponential instead (the tail of a micro-channel plate).
    #[serde(default)]
    pub tail_fraction: f64,
    /// Decay constant of that tail, relative to the Gaussian's mean.
    #[serde(default)]
    pub tail_decay_pe: f64,
    /// White noise: standard deviation of a sample.
    pub noise_adc: f64,
    /// Correlated noise, in addition to the white noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coloured_noise: Option<ColouredNoise>,
    /// Transit-time spread (standard deviation).
    pub transit_time_sigma_ns: f64,
    /// Rate of dark photoelectrons.
    pub dark_rate_hz: f64,
    /// Efficiency to detect a photon, relative to the other types.
    #[serde(default = "one")]
    pub efficiency: f64,
    /// Spread of that from PMT to PMT, relative.
    #[serde(default)]
    pub efficiency_spread: f64,
    /// Spread of the channels' time offsets.
    #[serde(default)]
    pub time_offset_spread_ns: f64,
    /// Relative efficiency against the angle of the light to the PMT's axis: pairs of degrees (ascending from 0) and
    /// efficiency, linearly interpolated. `None`: independent of the angle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub angular_response: Vec<[f64; 2]>,
    /// The response to one photoelectron.
    pub pulse: Pulse,
}

fn one() -> f64 {
    1.0
}

/// Noise whose samples are correlated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ColouredNoise {
    /// A first-order autoregressive process: samples `t` apart are correlated by `exp(-t / correlation_ns)`.
    Correlated {
        /// Standard deviation of a sample.
        sigma_adc: f64,
        /// Correlation time.
        correlation_ns: f64,
    },
    /// A sine whose phase is random in each waveform.
    Ripple {
        /// Amplitude (not peak to peak).
        amplitude_adc: f64,
        /// Period.
        period_ns: f64,
    },
}

impl ColouredNoise {
    /// Standard deviation of a sample.
    #[must_use]
    pub fn sigma_adc(&self) -> f64 {
        match self {
            Self::Correlated { sigma_adc, .. } => *sigma_adc,
            Self::Ripple { amplitude_adc, .. } => amplitude_adc * FRAC_1_SQRT_2,
        }
    }
}

impl PmtType {
    /// Returns the standard deviation of a sample without light: white and correlated noise and rounding to whole counts
    /// (variance 1/12), in quadrature.
    #[must_use]
    pub fn total_noise_adc(&self) -> f64 {
        let coloured_adc = self.coloured_noise.map_or(0.0, |noise| noise.sigma_adc());
        (self.noise_adc.powi(2) + coloured_adc.powi(2) + 1.0 / 12.0).sqrt()
    }

    /// Returns the mean of the charge spectrum before it is scaled to 1 PE:
    /// `(1 - f) m + f d` with `m` the mean of a Gaussian of mean 1 and sigma `charge_sigma_pe` cut at 0, `f`
    /// `tail_fraction` and `d` `tail_decay_pe`. Drawn charges are divided by it.
    #[must_use]
    pub fn unscaled_mean_charge(&self) -> f64 {
        let (mean, _) = cut_gaussian_moments(self.charge_sigma_pe);
        (1.0 - self.tail_fraction) * mean + self.tail_fraction * self.tail_decay_pe
    }

    /// Returns the standard deviation of the single-photoelectron charge relative to its mean, including the tail.
    #[must_use]
    pub fn total_charge_sigma_pe(&self) -> f64 {
        let (_, square) = cut_gaussian_moments(self.charge_sigma_pe);
        let mean = self.unscaled_mean_charge();
        // The second moment of an exponential is twice the square of its mean.
        let second = (1.0 - self.tail_fraction) * square
            + self.tail_fraction * 2.0 * self.tail_decay_pe.powi(2);
        (second / mean.powi(2) - 1.0).max(0.0).sqrt()
    }
}

/// Returns the first and second moment of a Gaussian of mean 1 and standard deviation `sigma`, cut off below 0.
fn cut_gaussian_moments(sigma: f64) -> (f64, f64) {
    if sigma <= 0.0 {
        return (1.0, 1.0);
    }
    let (low, high) = ((1.0 - 10.0 * sigma).max(0.0), 1.0 + 10.0 * sigma);
    let steps = 20_000;
    let width = (high - low) / f64::from(steps);
    let (mut weight, mut first, mut second) = (0.0, 0.0, 0.0);
    for step in 0..steps {
        let charge = low + (f64::from(step) + 0.5) * width;
        let density = math::exp(-0.5 * ((charge - 1.0) / sigma).powi(2));
        weight += density;
        first += density * charge;
        second += density * charge * charge;
    }
    (first / weight, second / weight)
}

impl Detector {
    /// Returns the positions of the PMTs, if the detector has a geometry.
    #[must_use]
    pub fn sensors(&self) -> Option<&Arc<Sensors>> {
        self.sensors.as_ref()
    }

    /// Returns the number of channels of all types; channels are numbered from 0. With a sensor table, one more than its
    /// largest channel.
    #[must_use]
    pub fn n_channels(&self) -> u32 {
        if let (Some(sensors), true) = (&self.sensors, self.has_table()) {
            return sensors.channel_end();
        }
        self.pmt_types
            .iter()
            .fold(0, |sum, pmt| sum.saturating_add(pmt.channels))
    }

    /// Returns true if the positions and types of the PMTs come from a table.
    fn has_table(&self) -> bool {
        let placement = self.geometry.as_ref().map(|geometry| &geometry.sensors);
        matches!(placement, Some(Placement::Table { .. }))
    }

    /// Returns the type of `channel_id`. With a sensor table, the table states it. Otherwise types are interleaved in proportion
    /// to their numbers, so that any range of channels has the mixture of the whole detector; a number past the last channel
    /// wraps.
    ///
    /// # Panics
    /// If the detector has no PMT type, which [`load`] and [`parse`] refuse.
    #[must_use]
    pub fn type_of(&self, channel_id: u32) -> &PmtType {
        &self.pmt_types[self.type_index_of(channel_id)]
    }

    /// Returns the index in `pmt_types` of the type of `channel_id`.
    #[must_use]
    pub fn type_index_of(&self, channel_id: u32) -> usize {
        if let (Some(sensors), true) = (&self.sensors, self.has_table()) {
            return sensors
                .get(channel_id)
                .map_or(0, |sensor| sensor.type_index);
        }
        self.interleaved_type(channel_id)
    }

    fn interleaved_type(&self, channel_id: u32) -> usize {
        // Of `remaining` consecutive channels, type `n` takes those at which floor(index * channels / remaining) increases:
        // exactly `channels` of them, evenly spread. The others are renumbered for the next type.
        let mut remaining = u64::from(self.n_channels().max(1));
        let mut place = u64::from(channel_id) % remaining;
        for (index, pmt) in self.pmt_types.iter().enumerate() {
            let channels = u64::from(pmt.channels);
            let before = place * channels / remaining;
            if (place + 1) * channels / remaining > before {
                return index;
            }
            place -= before;
            remaining -= channels;
            if remaining == 0 {
                break;
            }
        }
        self.pmt_types.len().saturating_sub(1)
    }

    /// Returns the calibration that follows from the description alone: templates sampled from the described pulse, true
    /// noise and spreads, no time offsets. Channels of a type share a row; the default row belongs to the most common type.
    ///
    /// # Errors
    /// If a pulse shape cannot be built, see [`PulseShape::new`].
    pub fn nominal_calibration(&self) -> Result<Calibration> {
        let mut calibration = Calibration::new();
        let mut rows = Vec::with_capacity(self.pmt_types.len());
        for pmt in &self.pmt_types {
            let template_adc = pmt
                .pulse
                .shape()?
                .template(
                    self.readout.sampling_ns,
                    TEMPLATE_TAIL,
                    MAX_TEMPLATE_SAMPLES,
                )
                .iter()
                .map(|value| (value * pmt.spe_peak_adc) as f32)
                .collect();
            rows.push(calibration.add_row(ChannelCalibration {
                template_adc,
                noise_adc: pmt.total_noise_adc() as f32,
                time_offset_ns: 0.0,
                dark_rate_hz: pmt.dark_rate_hz as f32,
                charge_sigma_pe: pmt.total_charge_sigma_pe() as f32,
                time_sigma_ns: pmt.transit_time_sigma_ns as f32,
                sampling_ns: self.readout.sampling_ns as f32,
                baseline_noise_ratio: 1.0,
                flags: Flags::default(),
                measurement: None,
            })?);
        }
        for channel_id in 0..self.n_channels() {
            if let Some(&row) = rows.get(self.type_index_of(channel_id)) {
                calibration.assign(channel_id, row);
            }
        }
        let most_common = self
            .pmt_types
            .iter()
            .zip(&rows)
            .max_by_key(|(pmt, row)| (pmt.channels, std::cmp::Reverse(**row)));
        if let Some((_, &row)) = most_common {
            calibration.set_default(row);
        }
        Ok(calibration)
    }
}
