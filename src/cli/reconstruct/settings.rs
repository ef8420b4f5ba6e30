//! Settings of `nuwave reconstruct`, from the command line and a TOML file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cli::args::{
    DetectorArgs, EVENTS, EventArgs, ExtractionArgs, INPUT, InputArgs, OUTPUT, PERFORMANCE,
    ThreadArgs,
};
use crate::cli::backend::BackendArgs;
use crate::cli::duration::DurationArg;
use crate::error::{Error, Result};
use crate::pipeline::{InputKind, InputOptions, OnError, PassSettings};

/// Heading of the options about units.
pub(super) const WORK: &str = "Units of work";

/// `--on-error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnErrorArg {
    /// List losses in the report and continue, also after inputs that cannot be opened
    Skip,
    /// End at the first loss; finished units are kept
    Stop,
}

/// Settings of file and command line.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// Contents of the inputs [default: waveforms]
    #[arg(long, value_enum, value_name = "WHAT", help_heading = INPUT)]
    pub from: Option<InputKind>,
    #[command(flatten)]
    #[serde(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub known: DetectorArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub extraction: ExtractionArgs,
    /// Do not reconstruct events
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = EVENTS)]
    pub no_events: Option<bool>,
    #[command(flatten)]
    #[serde(flatten)]
    pub events: EventArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub backend: BackendArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub threads: ThreadArgs,
    /// Waveforms per batch; affects speed and memory, not the result [default: 4096, with a GPU 16384]
    #[arg(long, value_name = "N", help_heading = PERFORMANCE)]
    pub batch: Option<usize>,
    /// Waveforms per unit, about; with `--from hits` hits [default: 2^28 samples, 2^22 hits]
    #[arg(long, value_name = "N", help_heading = WORK)]
    pub unit_size: Option<u64>,
    /// Reaction to damage [default: skip inside inputs; an input that cannot be opened ends the run before it begins]
    #[arg(long, value_enum, value_name = "WHAT", help_heading = WORK)]
    pub on_error: Option<OnErrorArg>,
    /// Time between two lines of progress where stderr is not a terminal [default: 10s]
    #[arg(long, value_name = "DURATION", help_heading = OUTPUT)]
    pub progress_interval: Option<DurationArg>,
}

impl Settings {
    /// Returns the settings of the pass without those that are checked first: the reader's options and the threads.
    pub fn unchecked(&self) -> PassSettings {
        PassSettings {
            from: self.from.unwrap_or_default(),
            parameters: self.extraction.parameters(),
            events: self.no_events != Some(true),
            event_method: self.events.event_method,
            light_maps: self.events.light_maps.clone(),
            detector: self.known.detector.clone(),
            calibration: self.known.calibration.clone(),
            input: InputOptions::default(),
            unit_size: self.unit_size,
            on_error: match self.on_error {
                None => OnError::SkipLosses,
                Some(OnErrorArg::Skip) => OnError::SkipInputs,
                Some(OnErrorArg::Stop) => OnError::Stop,
            },
            backend: self.backend.backend.unwrap_or_default(),
            adapter: self.backend.adapter.clone(),
            threads: None,
            batch: self.batch,
        }
    }

    /// Returns the settings of the pass.
    pub fn pass_settings(&self) -> Result<PassSettings> {
        let settings = self.unchecked();
        let read = match settings.from {
            InputKind::Waveforms => self.input.read_options(0)?,
            InputKind::Hits => self.input.hit_options()?,
        };
        Ok(PassSettings {
            input: self.input.input_options(read),
            threads: Some(self.threads.count()?),
            ..settings
        })
    }

    /// Returns the time between two lines of progress.
    pub fn progress_interval(&self) -> Result<Duration> {
        const DEFAULT: Duration = Duration::from_secs(10);
        let interval = self
            .progress_interval
            .map_or(DEFAULT, |DurationArg(given)| given);
        if interval.is_zero() {
            return Err(Error::usage("`--progress-interval` must be positive"));
        }
        Ok(interval)
    }
}
