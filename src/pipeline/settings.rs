//! The settings of a pass.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::backend::{BackendChoice, BackendKind};
use crate::error::{Error, ErrorKind, Result};
use crate::event;
use crate::extract::{Filter, Method, Parameters};
use crate::io::{BatchLimit, ReadOptions};
use crate::model::Polarity;

/// The contents of the inputs, and so where reconstruction begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// Waveforms: extract hits, then reconstruct events
    #[default]
    Waveforms,
    /// Hits, of nuwave or of other programs: reconstruct events only
    Hits,
}

impl InputKind {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waveforms => "waveforms",
            Self::Hits => "hits",
        }
    }
}

/// The reaction to damaged inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnError {
    /// Lists losses inside inputs in the report and continues. An input that cannot be opened ends the pass before it begins.
    #[default]
    SkipLosses,
    /// Lists inputs that cannot be opened as well.
    SkipInputs,
    /// Ends the pass at the first loss; finished units stay.
    Stop,
}

/// How to read inputs whose files do not say it themselves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputOptions {
    /// Table and columns.
    pub read: ReadOptions,
    /// Sampling interval; overrides that of the file.
    pub sampling_ns: Option<f64>,
    /// Direction of the pulses; overrides that of the file.
    pub polarity: Option<Polarity>,
    /// Resolution of the digitiser; overrides that of the file.
    pub adc_bits: Option<u32>,
}

/// The settings of a pass: those that determine its result, and those that change its speed only.
#[derive(Clone, Debug)]
pub struct PassSettings {
    /// The contents of the inputs.
    pub from: InputKind,
    /// Extraction of hits.
    pub parameters: Parameters,
    /// False to stop at hits even where the detector has a geometry.
    pub events: bool,
    /// How events are reconstructed; `None`: [`event::EventMethod::Full`] with light maps, else [`event::EventMethod::Centroid`].
    pub event_method: Option<event::EventMethod>,
    /// Folder of light maps.
    pub light_maps: Option<PathBuf>,
    /// Preset or detector file.
    pub detector: Option<String>,
    /// Calibration file; `None`: the detector's nominal templates.
    pub calibration: Option<PathBuf>,
    /// How to read the inputs.
    pub input: InputOptions,
    /// Waveforms (or hits) per unit, about; `None`: 2^28 samples (2^22 hits).
    pub unit_size: Option<u64>,
    /// The reaction to damage.
    pub on_error: OnError,
    /// Where to compute.
    pub backend: BackendKind,
    /// The GPU to use: its index in the list of adapters, or a part of its name.
    pub adapter: Option<String>,
    /// CPU threads; `None` or 0: all cores.
    pub threads: Option<usize>,
    /// Waveforms per batch; `None`: 4096, with a GPU 16384.
    pub batch: Option<usize>,
}

impl Default for PassSettings {
    fn default() -> Self {
        Self {
            from: InputKind::default(),
            parameters: Parameters::default(),
            events: true,
            event_method: None,
            light_maps: None,
            detector: None,
            calibration: None,
            input: InputOptions::default(),
            unit_size: None,
            on_error: OnError::default(),
            backend: BackendKind::default(),
            adapter: None,
            threads: None,
            batch: None,
        }
    }
}

/// The `configuration` of a report. Its keys are those of the command line's configuration file.
#[derive(Serialize)]
struct Resolved<'a> {
    from: InputKind,
    method: Method,
    filter: Filter,
    threshold_sigma: f32,
    split_sigma: f32,
    no_events: Option<bool>,
    event_method: Option<event::EventMethod>,
    light_maps: Option<&'a Path>,
    unit_size: Option<u64>,
    detector: Option<&'a str>,
    calibration: Option<&'a Path>,
    table: Option<&'a str>,
    columns: Option<String>,
    channel_id: Option<String>,
    record_samples: Option<usize>,
    sampling_ns: Option<f64>,
    polarity: Option<Polarity>,
    adc_bits: Option<u32>,
}

impl PassSettings {
    /// Returns the settings that the result depends on, with every default spelled out.
    #[must_use]
    pub fn resolved(&self) -> serde_json::Value {
        let Parameters {
            method,
            filter,
            threshold_sigma,
            split_sigma,
        } = self.parameters;
        let InputOptions {
            read,
            sampling_ns,
            polarity,
            adc_bits,
        } = &self.input;
        let resolved = Resolved {
            from: self.from,
            method,
            filter,
            threshold_sigma,
            split_sigma,
            no_events: (!self.events).then_some(true),
            event_method: self.events.then(|| self.event_method()),
            light_maps: self.light_maps.as_deref().filter(|_| self.events),
            unit_size: self.unit_size,
            detector: self.detector.as_deref(),
            calibration: self.calibration.as_deref(),
            table: read.table.as_deref(),
            columns: columns(read),
            channel_id: read.channel_id.as_ref().map(ToString::to_string),
            record_samples: read.record_samples,
            sampling_ns: *sampling_ns,
            polarity: *polarity,
            adc_bits: *adc_bits,
        };
        let mut value = serde_json::to_value(resolved).unwrap_or_default();
        if let serde_json::Value::Object(map) = &mut value {
            map.retain(|_, value| !value.is_null());
        }
        value
    }

    /// Returns the method for events: the best one whose needs are met.
    #[must_use]
    pub fn event_method(&self) -> event::EventMethod {
        self.event_method.unwrap_or(match self.light_maps {
            Some(_) => event::EventMethod::Full,
            None => event::EventMethod::Centroid,
        })
    }

    /// Returns the size of batches for a backend.
    #[must_use]
    pub fn batch_limit(&self, choice: &BackendChoice) -> BatchLimit {
        let default = BatchLimit::default();
        let waveforms = choice.batch_waveforms(default.waveforms);
        BatchLimit {
            waveforms: self.batch.unwrap_or(waveforms).max(1),
            samples: default.samples * (waveforms / default.waveforms),
        }
    }

    /// Returns the number of CPU threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
            .filter(|&threads| threads > 0)
            .unwrap_or_else(|| {
                std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
            })
    }

    /// Returns one checksum of everything but the inputs that the result depends on. `sums` are the checksums of the files
    /// that the settings name.
    pub(super) fn checksum(&self, sums: &BTreeMap<String, String>) -> Result<String> {
        let text = serde_json::to_string(&(self.resolved(), sums))
            .map_err(|error| Error::internal(format!("settings: {error}")))?;
        let crc = crc32c::crc32c(crate::version::VERSION.as_bytes());
        let crc = crc32c::crc32c_append(crc, &crate::version::RESULTS_VERSION.to_le_bytes());
        let crc = crc32c::crc32c_append(crc, text.as_bytes());
        Ok(format!("{crc:08x}"))
    }

    /// Returns the options of the reader of input number `input_id`.
    pub(super) fn read_options(&self, input_id: u32) -> ReadOptions {
        ReadOptions {
            input_id,
            ..self.input.read.clone()
        }
    }

    /// Returns the reason to list for an input that cannot be opened, if the settings skip such inputs.
    ///
    /// # Errors
    /// Returns `error` if they do not, if the file does not exist, or if it may be readable later.
    pub(super) fn skip_reason(&self, path: &Path, error: Error) -> Result<String> {
        if error.is_system_failure() && path.exists() {
            return Err(error.into_retryable());
        }
        let is_damage = error.kind() == ErrorKind::Input && path.exists();
        if self.on_error == OnError::SkipInputs && is_damage {
            return Ok(error.reason());
        }
        Err(error)
    }
}

/// Returns the names of columns as `event=TriggerNo,channel=ChannelID`, or `None` if none is given.
fn columns(read: &ReadOptions) -> Option<String> {
    let roles = [
        ("event", &read.event_column),
        ("channel", &read.channel_column),
        ("samples", &read.samples_column),
        ("time", &read.time_column),
        ("charge", &read.charge_column),
    ];
    let named = roles
        .into_iter()
        .filter_map(|(role, name)| Some(format!("{role}={}", name.as_deref()?)));
    Some(named.collect::<Vec<_>>().join(",")).filter(|text| !text.is_empty())
}
