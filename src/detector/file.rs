//! Reads and checks detector files (TOML).

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use super::{
    ColouredNoise, Detector, Geometry, Medium, PRESETS, Placement, PmtType, Pulse, Sensors,
    sensor_table,
};
use crate::error::{Error, Hint, Result};
use crate::model::{MAX_SAMPLES, MIN_SAMPLES};

/// Maximum size of a detector file; a real one has a few kilobytes.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Maximum number of channels of a detector.
const MAX_CHANNELS: u64 = 10_000_000;

/// Loads the detector `name_or_path`: the name of a preset, or a file.
///
/// ```
/// let juno = nuwave::detector::load("juno")?;
/// assert_eq!(juno.readout.sampling_ns, 1.0);
/// let sensors = juno.sensors().expect("a geometry");
/// assert_eq!(sensors.len(), 17_612);
/// // Templates of the described pulses, for data without a measured calibration.
/// let calibration = juno.nominal_calibration()?;
/// assert!(calibration.row_of(0).is_some());
/// # Ok::<(), nuwave::Error>(())
/// ```
///
/// # Errors
/// If there is neither, or as [`parse`].
pub fn load(name_or_path: &str) -> Result<Detector> {
    let (text, origin) = text(name_or_path)?;
    parse(&text, &origin)
}

/// Reads the text of the detector file `name_or_path`. Returns it with its origin, for messages. The name of a preset takes
/// precedence; everything else that exists on disk, has a path separator or ends in `.toml` is a file.
///
/// # Errors
/// If there is neither, or the file cannot be read.
pub fn text(name_or_path: &str) -> Result<(String, String)> {
    if let Some((name, text)) = PRESETS.iter().find(|(name, _)| *name == name_or_path) {
        return Ok(((*text).to_owned(), format!("preset {name}")));
    }
    let path = Path::new(name_or_path);
    let is_path = path.exists()
        || name_or_path.contains(std::path::is_separator)
        || path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    if !is_path {
        let names: Vec<_> = PRESETS.iter().map(|(name, _)| *name).collect();
        return Err(Error::usage(format!(
            "there is no detector `{name_or_path}`, expected a preset or a detector file"
        ))
        .with_hint(format!(
            "presets are {}; a file's name ends in `.toml`",
            names.join(", ")
        )));
    }
    let unreadable = |error: std::io::Error| {
        Error::usage(format!("`{name_or_path}`: cannot read the detector file"))
            .with_source(error)
            .with_hint("`nuwave detector juno > FILE.toml` makes one to start from")
    };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() || metadata.len() > MAX_FILE_BYTES {
        return Err(Error::usage(format!(
            "`{name_or_path}` is a folder or too large, expected a detector file (TOML) of a few kilobytes"
        ))
        .with_hint("`nuwave detector juno > FILE.toml` makes one to start from"));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Ok((text, name_or_path.to_owned()))
}

/// Parses the text of a detector file. `origin` names it in messages; a relative path of a sensor table is relative to its
/// folder.
///
/// # Errors
/// Names file, line and key if the text is not TOML, a key is unknown or missing, or a value is of the wrong type
/// or out of range.
pub fn parse(text: &str, origin: &str) -> Result<Detector> {
    let mut detector: Detector = toml::from_str(text).map_err(|error| {
        let place = error.span().map_or_else(String::new, |span| {
            let line = 1 + text
                .bytes()
                .take(span.start)
                .filter(|&byte| byte == b'\n')
                .count();
            format!(" line {line}:")
        });
        let message = error.message().trim_end_matches('.');
        Error::usage(format!("`{origin}`:{place} {message}"))
            .with_hint("`nuwave detector juno` prints a detector file with every key explained")
    })?;
    if let Some(Geometry {
        sensors: Placement::Table { file, .. },
        ..
    }) = &mut detector.geometry
        && let Some(folder) = Path::new(origin).parent()
    {
        // Absolute, so that the description can be written to another folder and read there.
        let joined = folder.join(&file);
        *file = std::path::absolute(&joined).unwrap_or(joined);
    }
    detector.validate(origin)?;
    detector.place_sensors(origin)?;
    Ok(detector)
}

/// A value that is out of range or missing.
struct Problem {
    key: String,
    found: String,
    expected: String,
}

impl Problem {
    fn new(
        key: impl Into<String>,
        found: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    fn into_error(self, origin: &str) -> Error {
        Error::usage(format!(
            "`{origin}`: `{}` is {}, expected {}",
            self.key, self.found, self.expected
        ))
        .with_hint("`nuwave detector juno` prints a detector file with every key explained")
    }
}

/// Checks that `value` lies in `range`.
fn check(
    key: impl Into<String>,
    value: f64,
    range: RangeInclusive<f64>,
) -> std::result::Result<(), Problem> {
    if range.contains(&value) {
        return Ok(());
    }
    let expected = format!("a number from {} to {}", range.start(), range.end());
    Err(Problem::new(key, value, expected))
}

impl Detector {
    /// Checks every value against its range, as [`parse`] does, for a detector that was changed.
    ///
    /// # Errors
    /// Names `origin` and the key, what was found and what was expected.
    pub fn validate(&self, origin: &str) -> Result<()> {
        self.find_problem()
            .map_err(|problem| problem.into_error(origin))
    }

    /// Computes the positions of the PMTs. They are kept until the geometry is read again.
    fn place_sensors(&mut self, origin: &str) -> Result<()> {
        let sensors = match self.geometry.as_ref().map(|geometry| &geometry.sensors) {
            None => return Ok(()),
            Some(Placement::Rings { radius_mm }) => Sensors::rings(self, *radius_mm),
            Some(Placement::Table { file, types }) => {
                sensor_table::read(file, types, &self.pmt_types)?
            }
        };
        if let Some(radius_mm) = self.geometry.as_ref().and_then(Geometry::vessel_radius_mm)
            && let Some(inside) = sensors.all().iter().find(|sensor| {
                sensor.position_mm.iter().map(|x| x * x).sum::<f64>().sqrt() < radius_mm
            })
        {
            return Err(Problem::new(
                format!("the place of channel {}", inside.channel_id),
                format!("{:?} mm", inside.position_mm),
                format!("outside the vessel of radius {radius_mm} mm"),
            )
            .into_error(origin));
        }
        self.sensors = Some(Arc::new(sensors));
        Ok(())
    }

    fn find_problem(&self) -> std::result::Result<(), Problem> {
        let name_is_plain = !self.name.is_empty()
            && self.name.len() <= 64
            && !self.name.chars().any(char::is_control);
        if !name_is_plain {
            return Err(Problem::new(
                "name",
                format!("{:?}", self.name),
                "a name of 1 to 64 printable characters",
            ));
        }
        self.validate_readout()?;
        check(
            "scintillation.rise_ns",
            self.scintillation.rise_ns,
            0.0..=1e6,
        )?;
        if self.scintillation.components.is_empty() {
            return Err(Problem::new(
                "scintillation.components",
                "empty",
                "at least one `{ tau_ns = .., weight = .. }`",
            ));
        }
        for (index, part) in self.scintillation.components.iter().enumerate() {
            let key = format!("scintillation.components[{index}]");
            check(format!("{key}.tau_ns"), part.tau_ns, 0.0..=1e9)?;
            check(format!("{key}.weight"), part.weight, 1e-9..=1e9)?;
        }
        if let Some(geometry) = &self.geometry {
            geometry.validate()?;
        }
        if let Some(medium) = &self.medium {
            medium.validate()?;
        }
        let channels: u64 = self
            .pmt_types
            .iter()
            .map(|pmt| u64::from(pmt.channels))
            .sum();
        let least = u64::from(!self.has_table());
        if self.pmt_types.is_empty() || !(least..=MAX_CHANNELS).contains(&channels) {
            return Err(Problem::new(
                "pmt_type",
                format!("{} types with {channels} channels", self.pmt_types.len()),
                format!("at least one type and 1 to {MAX_CHANNELS} channels"),
            ));
        }
        for (index, pmt) in self.pmt_types.iter().enumerate() {
            pmt.validate(&format!("pmt_type[{index}]"))?;
        }
        Ok(())
    }

    fn validate_readout(&self) -> std::result::Result<(), Problem> {
        let readout = &self.readout;
        check("readout.sampling_ns", readout.sampling_ns, 1e-3..=1e6)?;
        if !(1..=16).contains(&readout.adc_bits) {
            return Err(Problem::new(
                "readout.adc_bits",
                readout.adc_bits,
                "a whole number from 1 to 16",
            ));
        }
        let full_scale_adc = f64::from(readout.full_scale_adc());
        check(
            "readout.baseline_adc",
            readout.baseline_adc,
            0.0..=full_scale_adc,
        )?;
        check(
            "readout.baseline_spread_adc",
            readout.baseline_spread_adc,
            0.0..=full_scale_adc,
        )?;
        if !(MIN_SAMPLES..=MAX_SAMPLES).contains(&readout.window_samples) {
            return Err(Problem::new(
                "readout.window_samples",
                readout.window_samples,
                format!("a whole number from {MIN_SAMPLES} to {MAX_SAMPLES}"),
            ));
        }
        check(
            "readout.trigger_ns",
            readout.trigger_ns,
            0.0..=readout.window_ns(),
        )
    }
}

impl Geometry {
    fn validate(&self) -> std::result::Result<(), Problem> {
        let far = 1e7;
        check(
            "geometry.sensor_radius_mm",
            self.sensor_radius_mm,
            1.0..=1e5,
        )?;
        check(
            "geometry.vessel_thickness_mm",
            self.vessel_thickness_mm,
            0.0..=far,
        )?;
        if let Some(radius_mm) = self.scintillator_radius_mm {
            check("geometry.scintillator_radius_mm", radius_mm, 1.0..=far)?;
        }
        if let Placement::Rings { radius_mm } = self.sensors {
            let least = self.vessel_radius_mm().unwrap_or(1.0);
            check("geometry.sensors.radius_mm", radius_mm, least..=far)?;
        }
        Ok(())
    }

    /// Returns the outer radius of the vessel of a spherical detector.
    #[must_use]
    pub fn vessel_radius_mm(&self) -> Option<f64> {
        Some(self.scintillator_radius_mm? + self.vessel_thickness_mm)
    }
}

impl Medium {
    fn validate(&self) -> std::result::Result<(), Problem> {
        check("medium.light_pe_per_mev", self.light_pe_per_mev, 1e-3..=1e7)?;
        for (name, index) in [
            ("scintillator_index", Some(self.scintillator_index)),
            ("scintillator_group_index", self.scintillator_group_index),
            ("vessel_index", Some(self.vessel_index)),
            ("buffer_index", Some(self.buffer_index)),
        ] {
            if let Some(index) = index {
                check(format!("medium.{name}"), index, 1.0..=4.0)?;
            }
        }
        check("medium.absorption_mm", self.absorption_mm, 1.0..=1e12)?;
        check("medium.rayleigh_mm", self.rayleigh_mm, 1.0..=1e12)?;
        if let Some(curve) = &self.nonlinearity {
            check("medium.nonlinearity.p_low", curve.p_low, -0.9..=10.0)?;
            check(
                "medium.nonlinearity.p_rate_per_mev",
                curve.p_rate_per_mev,
                0.0..=1e3,
            )?;
            check(
                "medium.nonlinearity.p_linear_per_mev",
                curve.p_linear_per_mev,
                -1e-3..=1.0,
            )?;
            check(
                "medium.nonlinearity.reference_mev",
                curve.reference_mev,
                1e-3..=1e3,
            )?;
        }
        Ok(())
    }
}

impl PmtType {
    fn validate(&self, key: &str) -> std::result::Result<(), Problem> {
        let check = |name: &str, value: f64, range: RangeInclusive<f64>| {
            check(format!("{key}.{name}"), value, range)
        };
        check("spe_peak_adc", self.spe_peak_adc, 1e-3..=65_535.0)?;
        check("charge_sigma_pe", self.charge_sigma_pe, 0.0..=2.0)?;
        check("tail_fraction", self.tail_fraction, 0.0..=0.9)?;
        let least_decay_pe = if self.tail_fraction > 0.0 { 1e-3 } else { 0.0 };
        check("tail_decay_pe", self.tail_decay_pe, least_decay_pe..=100.0)?;
        check("noise_adc", self.noise_adc, 0.0..=65_535.0)?;
        match self.coloured_noise {
            None => {}
            Some(ColouredNoise::Correlated {
                sigma_adc,
                correlation_ns,
            }) => {
                check("coloured_noise.sigma_adc", sigma_adc, 0.0..=65_535.0)?;
                check("coloured_noise.correlation_ns", correlation_ns, 1e-3..=1e9)?;
            }
            Some(ColouredNoise::Ripple {
                amplitude_adc,
                period_ns,
            }) => {
                check(
                    "coloured_noise.amplitude_adc",
                    amplitude_adc,
                    0.0..=65_535.0,
                )?;
                check("coloured_noise.period_ns", period_ns, 1e-3..=1e9)?;
            }
        }
        check(
            "transit_time_sigma_ns",
            self.transit_time_sigma_ns,
            0.0..=1e4,
        )?;
        check("dark_rate_hz", self.dark_rate_hz, 0.0..=1e9)?;
        check("efficiency", self.efficiency, 1e-6..=1e6)?;
        check("efficiency_spread", self.efficiency_spread, 0.0..=0.5)?;
        check(
            "time_offset_spread_ns",
            self.time_offset_spread_ns,
            0.0..=1e4,
        )?;
        let mut least_angle = 0.0;
        for (index, [angle, efficiency]) in self.angular_response.iter().enumerate() {
            let place = format!("angular_response[{index}]");
            check(&format!("{place}[0]"), *angle, least_angle..=180.0)?;
            check(&format!("{place}[1]"), *efficiency, 0.0..=1e3)?;
            least_angle = *angle;
        }
        match &self.pulse {
            Pulse::LogNormal { peak_ns, width, .. } => {
                check("pulse.peak_ns", *peak_ns, 1e-2..=1e5)?;
                check("pulse.width", *width, 0.02..=1.5)?;
            }
            Pulse::Exponential {
                tau_ns, sigma_ns, ..
            } => {
                check("pulse.tau_ns", *tau_ns, 1e-2..=1e5)?;
                check("pulse.sigma_ns", *sigma_ns, 1e-2..=1e5)?;
            }
            Pulse::Tabulated {
                samples, step_ns, ..
            } => {
                check("pulse.step_ns", *step_ns, 1e-3..=1e5)?;
                if !(2..=65_536).contains(&samples.len()) {
                    return Err(Problem::new(
                        format!("{key}.pulse.samples"),
                        format!("a list of {}", samples.len()),
                        "2 to 65536 samples",
                    ));
                }
                for (index, sample) in samples.iter().enumerate() {
                    check(&format!("pulse.samples[{index}]"), *sample, -1e9..=1e9)?;
                }
            }
        }
        for (index, tail) in self.pulse.undershoots().iter().enumerate() {
            let place = format!("pulse.undershoots[{index}]");
            check(&format!("{place}.amplitude"), tail.amplitude, -1.0..=1.0)?;
            check(&format!("{place}.tau_ns"), tail.tau_ns, 1e-2..=1e6)?;
        }
        self.pulse.shape().map(drop).map_err(|error| {
            let mut found = format!("unusable: {error}");
            for hint in error.hints() {
                if let Hint::Text(advice) = hint {
                    found.push_str("; ");
                    found.push_str(advice);
                }
            }
            Problem::new(
                format!("{key}.pulse"),
                found,
                "a pulse with positive charge and a tail of sensible length",
            )
        })
    }
}
