//! The results of the single-photoelectron calibration.

use super::defects::DefectCounts;
use super::diagnosis::RunProblems;
use super::parameters::RunKind;
use super::quiet::QuietNoise;
use super::spectrum::{Spectrum, SpectrumFit};
use super::spectrum_quality::FitErrors;
pub use super::template::CutTail;
use crate::error::Result;
use crate::model::{Calibration, ChannelCalibration};

/// The result for one channel. Charges in ADC counts x samples.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelSpe {
    /// The channel.
    pub channel_id: u32,
    /// Waveforms of the channel in the run.
    pub n_waveforms: u64,
    /// Waveforms that were left out, by reason.
    pub left_out: DefectCounts,
    /// True if most pulses point away from the direction of light.
    pub is_upside_down: bool,
    /// Problems of the run, although it could be calibrated.
    pub problems: RunProblems,
    /// Noise of the windows without light; `None` without a charge window.
    pub quiet: Option<QuietNoise>,
    /// Mean baseline as recorded.
    pub baseline_adc: f64,
    /// First sample of the charge window and the one after its last; in a dark run counted from 0 at the window's
    /// beginning before each pulse.
    pub window: Option<(usize, usize)>,
    /// Charge spectrum; `None` without light.
    pub spectrum: Option<Spectrum>,
    /// Fit of the charge spectrum.
    pub fit: Option<SpectrumFit>,
    /// Statistical errors of the fit.
    pub fit_errors: Option<FitErrors>,
    /// Pulses in the template.
    pub n_pulses: u64,
    /// Height of the template.
    pub peak_adc: f64,
    /// Full width at half maximum of the template.
    pub fwhm_ns: f64,
    /// Its statistical error.
    pub fwhm_error_ns: f64,
    /// Where the template ends before its tail.
    pub cut: Option<CutTail>,
    /// Mean time of the photoelectrons from the light source, from the first sample on.
    pub light_time_ns: Option<f64>,
    /// The row of the calibration file, with errors in its `measurement`.
    pub calibration: ChannelCalibration,
}

/// The result of [`spe`](super::spe::spe).
#[derive(Clone, Debug, PartialEq)]
pub struct SpeResult {
    /// The kind of run.
    pub run: RunKind,
    /// The channels in ascending order.
    pub channels: Vec<ChannelSpe>,
    /// The row for channels that are not in the run, with the mean of all templates.
    pub default_row: ChannelCalibration,
}

impl SpeResult {
    /// Returns the numbers of waveforms of all channels that were left out.
    #[must_use]
    pub fn left_out(&self) -> DefectCounts {
        let mut all = DefectCounts::default();
        for channel in &self.channels {
            all.merge(&channel.left_out);
        }
        all
    }

    /// Returns the calibration.
    ///
    /// # Errors
    /// As [`ChannelCalibration::validate`].
    pub fn to_calibration(&self) -> Result<Calibration> {
        let mut calibration = Calibration::new();
        let row = calibration.add_row(self.default_row.clone())?;
        calibration.set_default(row);
        for channel in &self.channels {
            let row = calibration.add_row(channel.calibration.clone())?;
            calibration.assign(channel.channel_id, row);
        }
        Ok(calibration)
    }
}
