//! Detector and calibration, as read from the files that the settings name.

use std::path::Path;

use super::settings::InputOptions;
use crate::detector::{self, Detector};
use crate::error::{Error, Hint, Result};
use crate::extract::DigitizerConfig;
use crate::io::{SourceInfo, calibration};
use crate::model::Calibration;
use crate::text::{counted, thousands};

/// Detector and calibration of a pass.
#[derive(Debug)]
pub struct DetectorContext {
    /// The detector, where one was named.
    pub detector: Option<Detector>,
    /// The calibration of the file, else the detector's nominal one.
    pub calibration: Calibration,
    /// The origin of the calibration, for the user.
    pub origin: String,
}

/// Continues the tails of templates that end before they have come to rest, and warns if there are any. `origin` names the calibration.
pub(crate) fn continue_tails(calibration: &mut Calibration, origin: &str) {
    let (continued, left) = calibration.continue_tails();
    if continued + left == 0 {
        return;
    }
    let mut outcome = Vec::new();
    if continued > 0 {
        outcome.push(format!(
            "{} continued by an exponential",
            thousands(continued as u64)
        ));
    }
    if left > 0 {
        outcome.push(format!(
            "{} left as they are, since their ends show no decay: expect false light after large pulses",
            thousands(left as u64)
        ));
    }
    tracing::warn!(
        "of {} in {origin} {} before the tail has come to rest ({}); calibrate with longer windows",
        counted(calibration.rows().len() as u64, "template"),
        match continued + left {
            1 => "1 ends".to_owned(),
            n => format!("{} end", thousands(n as u64)),
        },
        outcome.join(", ")
    );
}

impl DetectorContext {
    /// Reads the detector `named` and the calibration file. `info` is the first input's: where its file names one of the
    /// presets, no detector needs to be given.
    ///
    /// # Errors
    /// If a file cannot be read, or there is neither detector nor calibration.
    pub fn read(
        named: Option<&str>,
        calibration: Option<&Path>,
        info: &SourceInfo,
    ) -> Result<Self> {
        let named = named.or_else(|| {
            let name = info.detector.as_deref()?;
            detector::PRESETS
                .iter()
                .find(|(preset, _)| *preset == name)
                .map(|(preset, _)| *preset)
        });
        let detector = named.map(detector::load).transpose()?;
        let (mut calibration, origin) = match (calibration, &detector) {
            (Some(path), _) => (calibration::read(path)?, format!("`{}`", path.display())),
            (None, Some(detector)) => (
                detector.nominal_calibration()?,
                format!("nominal templates of detector `{}`", detector.name),
            ),
            (None, None) => {
                return Err(Error::usage(format!(
                    "`{}` does not say which detector it comes from, and there is no calibration",
                    info.path.display()
                ))
                .with_hint(Hint::NameCalibrationOrDetector));
            }
        };
        continue_tails(&mut calibration, &origin);
        Ok(Self {
            detector,
            calibration,
            origin,
        })
    }

    /// Returns sampling, polarity and resolution of an input: those of the options, else of the file, else of the
    /// detector, else of the calibration (sampling only).
    ///
    /// # Errors
    /// If none of them states the sampling interval or the polarity.
    pub fn readout(&self, info: &SourceInfo, options: &InputOptions) -> Result<DigitizerConfig> {
        let readout = self.detector.as_ref().map(|detector| &detector.readout);
        let of_calibration = || {
            self.calibration
                .rows()
                .first()
                .map(|row| f64::from(row.sampling_ns))
        };
        let sampling_ns = options
            .sampling_ns
            .or(info.sampling_ns)
            .or(readout.map(|readout| readout.sampling_ns))
            .or_else(of_calibration)
            .filter(|sampling_ns| sampling_ns.is_finite() && *sampling_ns > 0.0)
            .ok_or_else(|| {
                Error::usage(format!(
                    "the sampling interval of `{}` is not known",
                    info.path.display()
                ))
                .with_hint(Hint::StateSamplingInterval)
            })?;
        let polarity = options
            .polarity
            .or(info.polarity)
            .or(readout.map(|readout| readout.polarity))
            .ok_or_else(|| {
                Error::usage(format!(
                    "the direction of the pulses in `{}` is not known",
                    info.path.display()
                ))
                .with_hint(Hint::StatePolarity)
            })?;
        // A floating-point file without a resolution holds volts or the like; the detector's rails say nothing about it.
        let is_counts = !info.sample_type.starts_with('f');
        let of_detector = readout
            .filter(|_| is_counts)
            .map(|readout| readout.adc_bits);
        Ok(DigitizerConfig {
            sampling_ns,
            polarity,
            adc_bits: options.adc_bits.or(info.adc_bits).or(of_detector),
        })
    }
}
