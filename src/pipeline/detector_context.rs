//! Detector and calibration, as read from the files that the settings name.

use std::path::Path;

use super::facts::{Expected, Observed};
use super::settings::InputOptions;
use crate::detector::{self, Detector};
use crate::error::{Error, Hint, MissingReadout, Result};
use crate::extract::DigitizerConfig;
use crate::io::{self, BatchLimit, SourceInfo, calibration};
use crate::model::{Calibration, Polarity};
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

impl DetectorContext {
    /// Returns what the detector and the calibration of a pass say.
    pub(super) fn expected(&self) -> Expected {
        let detector = self.detector.as_ref();
        let readout = detector.map(|detector| &detector.readout);
        let calibration = &self.calibration;
        let channels = calibration.channels();
        let rows = channels.iter().map(|&(_, row)| row);
        let rows = rows.chain(calibration.default_row().filter(|_| channels.is_empty()));
        let noises: Vec<f64> = rows
            .filter_map(|row| calibration.rows().get(row))
            .map(|row| f64::from(row.noise_adc))
            .filter(|&noise_adc| noise_adc > 0.0)
            .collect();
        Expected {
            detector: detector.map(|detector| detector.name.clone()),
            baseline_adc: readout.map(|readout| readout.baseline_adc),
            full_scale_adc: readout.map(|readout| f64::from(readout.full_scale_adc())),
            window_samples: readout.map(|readout| readout.window_samples as u64),
            has_channels: !channels.is_empty(),
            noise_adc: (!noises.is_empty())
                .then(|| noises.iter().sum::<f64>() / noises.len() as f64),
        }
    }
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
    /// presets, no detector needs to be given. `options` are what is stated about the inputs.
    ///
    /// # Errors
    /// If a file cannot be read, or there is neither detector nor calibration.
    pub fn read(
        named: Option<&str>,
        calibration: Option<&Path>,
        info: &SourceInfo,
        options: &InputOptions,
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
            (Some(path), _) => (
                calibration::read(path).map_err(Error::into_usage)?,
                format!("`{}`", path.display()),
            ),
            (None, Some(detector)) => (
                detector.nominal_calibration()?,
                format!("nominal templates of detector `{}`", detector.name),
            ),
            (None, None) => {
                let missing = MissingReadout {
                    detector: true,
                    polarity: options.polarity.or(info.polarity).is_none(),
                    sampling: options.sampling_ns.or(info.sampling_ns).is_none(),
                    pulses: None,
                };
                return Err(missing_readout(info, options, missing));
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
    /// detector, else of the calibration; the polarity of a calibration goes before that of the detector, as it was measured.
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
            .filter(|sampling_ns| sampling_ns.is_finite() && *sampling_ns > 0.0);
        let polarity = options
            .polarity
            .or(info.polarity)
            .or(self.calibration.polarity())
            .or(readout.map(|readout| readout.polarity));
        let (Some(sampling_ns), Some(polarity)) = (sampling_ns, polarity) else {
            let missing = MissingReadout {
                detector: false,
                polarity: polarity.is_none(),
                sampling: sampling_ns.is_none(),
                pulses: None,
            };
            return Err(missing_readout(info, options, missing));
        };
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

/// Returns the error of an input whose readout is not known: what is missing, with what its first waveforms show.
#[must_use]
pub fn missing_readout(
    info: &SourceInfo,
    options: &InputOptions,
    mut missing: MissingReadout,
) -> Error {
    if missing.polarity {
        missing.pulses = pulses_of(info, options);
    }
    let path = info.path.display();
    let mut unknown = Vec::new();
    unknown.extend(missing.polarity.then_some("the direction of its pulses"));
    unknown.extend(missing.sampling.then_some("its sampling interval"));
    let unknown = unknown.join(" and ");
    let message = match (missing.detector, unknown.is_empty()) {
        (true, true) => {
            format!(
                "`{path}` does not say which detector it comes from, and there is no calibration"
            )
        }
        (true, false) => format!(
            "`{path}` does not say which detector it comes from, and there is no calibration; {unknown} must be known too"
        ),
        (false, _) => format!("of `{path}` {unknown} must be known, and nothing states it"),
    };
    Error::usage(message).with_hint(Hint::StateReadout(missing))
}

/// Returns the number of the first waveforms of a file, and of those with a negative and a positive pulse.
fn pulses_of(info: &SourceInfo, options: &InputOptions) -> Option<(u64, u64, u64)> {
    // A stream has no file.
    if info.n_bytes == 0 {
        return None;
    }
    let batch = io::open(&info.path, &options.read)
        .and_then(|mut source| source.next_batch(BatchLimit::default()));
    let mut observed = Observed::default();
    observed.add(&batch.ok()??, Polarity::Negative, None);
    Some((observed.sampled, observed.pulses, observed.opposite_pulses))
}
