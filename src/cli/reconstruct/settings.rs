//! Settings of `nuwave reconstruct`: from the command line and a TOML file to what runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cli::args::{DetectorArgs, InputArgs, ThreadArgs, seconds};
use crate::cli::backend::{BackendArgs, Choice};
use crate::error::{Error, ErrorKind, Result};
use crate::event;
use crate::extract::{Filter, Method, Parameters};
use crate::io::BatchLimit;
use crate::model::Calibration;
use crate::pipeline::EventsPlan;

/// Heading of the options about events.
const EVENTS: &str = "Events";
/// Heading of the options about dividing and resuming the work.
pub(super) const WORK: &str = "Units of work";

/// `--from`: where reconstruction begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum From {
    /// Waveforms: hits are found in them, then events in the hits
    #[default]
    Waveforms,
    /// Hits, of nuwave's own output or of others: events only
    Hits,
}

impl From {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waveforms => "waveforms",
            Self::Hits => "hits",
        }
    }
}

/// `--on-error`: what is done about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnError {
    /// List what is lost and go on; also past inputs that cannot be opened
    Skip,
    /// End at the first loss; what is finished before it stays
    Stop,
}

/// What file and command line can both set.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// What the inputs hold [default: waveforms]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub from: Option<From>,
    /// How charge and time are taken
    #[arg(long, value_enum)]
    pub method: Option<Method>,
    /// Low-pass of the deconvolution: `auto`, `wiener`, `gaussian:SIGMA_MHZ`, `flat:FLAT_MHZ:SIGMA_MHZ`
    #[arg(long)]
    pub filter: Option<Filter>,
    /// Least height of a hit in standard deviations of the noise [default: 5]
    #[arg(long, value_name = "N")]
    pub threshold_sigma: Option<f32>,
    /// Least depth of the valley between two hits in standard deviations of the noise [default: 2]
    #[arg(long, value_name = "N")]
    pub split_sigma: Option<f32>,
    /// Leave it at hits, whether or not the detector has a geometry
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = EVENTS)]
    pub no_events: Option<bool>,
    /// How events are reconstructed [default: full, without light maps centroid]
    #[arg(long, value_enum, value_name = "METHOD", help_heading = EVENTS)]
    pub event_method: Option<event::Method>,
    /// Folder of light maps, as `nuwave calibrate light` makes it
    #[arg(long, value_name = "DIR", help_heading = EVENTS)]
    pub light_maps: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub backend: BackendArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub threads: ThreadArgs,
    /// Waveforms a batch; changes speed and memory, never the result [default: 4096, with a GPU 16384]
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Waveforms per unit, about; with `--from hits` hits [default: 2^28 samples, 2^22 hits]
    #[arg(long, value_name = "N", help_heading = WORK)]
    pub unit_size: Option<u64>,
    /// What to do about damage [default: skip inside inputs; an input that cannot be opened ends the run before it begins]
    #[arg(long, value_enum, value_name = "WHAT", help_heading = WORK)]
    pub on_error: Option<OnError>,
    /// Seconds between two lines of progress where stderr is not a terminal [default: 10]
    #[arg(long, value_name = "SECONDS", help_heading = WORK)]
    pub progress_interval: Option<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    pub known: DetectorArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub input: InputArgs,
}

impl Settings {
    pub fn parameters(&self) -> Parameters {
        let default = Parameters::default();
        Parameters {
            method: self.method.unwrap_or(default.method),
            filter: self.filter.unwrap_or(default.filter),
            threshold_sigma: self.threshold_sigma.unwrap_or(default.threshold_sigma),
            split_sigma: self.split_sigma.unwrap_or(default.split_sigma),
        }
    }

    /// What is to be listed of an input that cannot be opened, where those are skipped.
    ///
    /// # Errors
    /// The error itself where they are not, the name is wrong, or the input may be readable another time.
    pub fn skipped(&self, path: &Path, error: Error) -> Result<String> {
        if error.is_of_the_system() && path.exists() {
            return Err(error.to_be_tried_again());
        }
        let is_damage = error.kind() == ErrorKind::Input && path.exists();
        if self.on_error == Some(OnError::Skip) && is_damage {
            return Ok(error.reason());
        }
        Err(error)
    }

    pub fn from(&self) -> From {
        self.from.unwrap_or_default()
    }

    /// The method for events: the best that there is what it needs for.
    pub fn event_method(&self) -> event::Method {
        self.event_method.unwrap_or(match self.light_maps {
            Some(_) => event::Method::Full,
            None => event::Method::Centroid,
        })
    }

    /// The settings with every default spelled out, except those that change speed and not the result.
    pub fn resolved(&self) -> serde_json::Value {
        let Parameters {
            method,
            filter,
            threshold_sigma,
            split_sigma,
        } = self.parameters();
        let no_events = self.no_events.unwrap_or(false);
        let spelled_out = Self {
            from: Some(self.from()),
            no_events: no_events.then_some(true),
            event_method: (!no_events).then(|| self.event_method()),
            light_maps: self.light_maps.clone().filter(|_| !no_events),
            method: Some(method),
            filter: Some(filter),
            threshold_sigma: Some(threshold_sigma),
            split_sigma: Some(split_sigma),
            backend: BackendArgs::default(),
            threads: ThreadArgs::default(),
            batch: None,
            unit_size: self.unit_size,
            on_error: None,
            progress_interval: None,
            known: self.known.clone(),
            input: self.input.clone(),
        };
        let mut value = serde_json::to_value(spelled_out).unwrap_or_default();
        if let serde_json::Value::Object(map) = &mut value {
            map.retain(|_, value| !value.is_null());
        }
        value
    }

    /// Checksums of what the settings name and the result depends on.
    pub fn sums(calibration: Option<&Calibration>, plan: &EventsPlan) -> BTreeMap<String, String> {
        let mut sums = BTreeMap::new();
        if let EventsPlan::Present {
            light,
            geometry_crc32c,
            ..
        } = plan
        {
            sums.insert("geometry".to_owned(), geometry_crc32c.clone());
            if let Some(maps) = light {
                sums.insert("light maps".to_owned(), maps.crc32c.clone());
            }
        }
        if let Some(calibration) = calibration {
            sums.insert("calibration".to_owned(), checksum_of(calibration));
        }
        sums
    }

    /// One checksum of everything but the input that the result depends on.
    pub fn checksum(&self, sums: &BTreeMap<String, String>) -> Result<String> {
        let text = serde_json::to_string(&(self.resolved(), sums))
            .map_err(|error| Error::internal(format!("settings: {error}")))?;
        let crc = crc32c::crc32c(env!("CARGO_PKG_VERSION").as_bytes());
        let crc = crc32c::crc32c_append(crc, text.as_bytes());
        Ok(format!("{crc:08x}"))
    }

    /// The time between two lines of progress.
    pub fn progress_interval(&self) -> Result<Duration> {
        const DEFAULT_S: f64 = 10.0;
        seconds(
            "progress-interval",
            self.progress_interval.unwrap_or(DEFAULT_S),
        )
    }

    pub fn limit(&self, choice: &Choice) -> BatchLimit {
        let default = BatchLimit::default();
        let waveforms = choice.batch_waveforms(default.waveforms);
        BatchLimit {
            waveforms: self.batch.unwrap_or(waveforms).max(1),
            samples: default.samples * (waveforms / default.waveforms),
        }
    }
}

/// CRC32C of a calibration's templates and constants.
fn checksum_of(calibration: &Calibration) -> String {
    let mut crc = 0;
    for row in calibration.rows() {
        for value in
            row.template_adc
                .iter()
                .chain([&row.noise_adc, &row.time_offset_ns, &row.sampling_ns])
        {
            crc = crc32c::crc32c_append(crc, &value.to_le_bytes());
        }
    }
    for (channel, row) in calibration.channels() {
        crc = crc32c::crc32c_append(crc, &channel.to_le_bytes());
        crc = crc32c::crc32c_append(crc, &(row as u64).to_le_bytes());
    }
    format!("{crc:08x}")
}
