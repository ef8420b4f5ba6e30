//! The seam between formats and everything that reads waveforms: a [`Source`], and what is known of its file.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Result;
use crate::io::truth;
use crate::model::{Batch, Polarity};

/// What a source found out about its file before the first waveform is read.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceInfo {
    /// The file.
    pub path: PathBuf,
    /// Name of the format, as a person would say it (`HDF5`, `CAEN WaveDump binary`).
    pub format: &'static str,
    /// Where in the file the waveforms were found (`/waveforms`, `table Readout/Waveform`, `column samples`).
    pub layout: String,
    /// Number of waveforms, where the format says so without reading all.
    pub n_waveforms: Option<u64>,
    /// Samples of a waveform, where all have the same number and the format says so.
    pub n_samples: Option<usize>,
    /// Type of the samples in the file (`u16`, `f64`).
    pub sample_type: String,
    /// Sampling interval, where the file says so.
    pub sampling_ns: Option<f64>,
    /// Resolution of the digitiser, where the file says so.
    pub adc_bits: Option<u32>,
    /// Direction of the pulses, where the file says so.
    pub polarity: Option<Polarity>,
    /// The detector's name, where the file says so (files that `nuwave simulate` made).
    pub detector: Option<String>,
    /// True if the file also holds true photoelectrons.
    pub has_truth: bool,
    /// Size of the file.
    pub n_bytes: u64,
    /// What positions in the file count, and how far they go.
    pub extent: Extent,
}

/// Positions in a file of waveforms: rows where the format has a table of contents, else bytes, so that they are known
/// without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Position behind the last waveform.
    pub end: u64,
    /// Positions from one waveform to the next: 1 for rows; for bytes what the first waveform takes.
    pub of_waveform: u64,
    /// Samples of a waveform, about.
    pub samples: u64,
}

impl Extent {
    /// Rows of about `samples` samples.
    pub(crate) fn rows(n_rows: u64, samples: u64) -> Self {
        Self {
            end: n_rows,
            of_waveform: 1,
            samples: samples.max(1),
        }
    }

    /// A file of `n_bytes` whose first waveform takes `of_waveform` of them for `samples` samples.
    pub(crate) fn bytes(n_bytes: u64, of_waveform: u64, samples: u64) -> Self {
        Self {
            end: n_bytes,
            of_waveform: of_waveform.clamp(1, n_bytes.max(1)),
            samples: samples.max(1),
        }
    }
}

impl SourceInfo {
    /// What is known of a file before it is looked into.
    pub(crate) fn new(path: PathBuf, format: &'static str, n_bytes: u64) -> Self {
        Self {
            has_truth: truth::is_beside(&path),
            path,
            format,
            layout: String::new(),
            n_waveforms: None,
            n_samples: None,
            sample_type: String::new(),
            sampling_ns: None,
            adc_bits: None,
            polarity: None,
            detector: None,
            n_bytes,
            extent: Extent::bytes(n_bytes, 1, 1),
        }
    }
}

/// A part of an input that could not be used, for the report.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Loss {
    /// Where in the file: `record 117 at byte 48204`, `row 12`.
    pub place: String,
    /// The event, where it is known.
    pub event_id: Option<u64>,
    /// The channel, where it is known.
    pub channel_id: Option<u32>,
    /// Number of waveforms lost, where it is known; a cut-off tail counts as one.
    pub n_waveforms: u64,
    /// Why.
    pub reason: String,
    /// Position in the file, as the [`Extent`] of the source counts; not in reports, `place` is for people.
    #[serde(skip)]
    pub position: u64,
}

/// How large a batch may become; the first limit reached ends it. A batch holds at least one waveform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimit {
    /// Most waveforms.
    pub waveforms: usize,
    /// Most samples.
    pub samples: usize,
}

impl Default for BatchLimit {
    fn default() -> Self {
        Self {
            waveforms: 4096,
            samples: 4 << 20,
        }
    }
}

/// A stream of waveforms from one file, in the file's order, with memory use that does not depend on the file's size.
pub trait Source: Send {
    /// What is known before the first waveform.
    fn info(&self) -> &SourceInfo;

    /// The next batch, or `None` at the end. Waveforms with a length outside
    /// [`MIN_SAMPLES`](crate::model::MIN_SAMPLES)`..=`[`MAX_SAMPLES`](crate::model::MAX_SAMPLES) are left out and become losses.
    ///
    /// # Errors
    /// If the file cannot be read any further; what was returned before stays valid.
    fn next_batch(&mut self, limit: BatchLimit) -> Result<Option<Batch>>;

    /// The losses since the last call.
    fn take_losses(&mut self) -> Vec<Loss>;

    /// From here on only the unit of work at `positions`: the waveforms of every run of one event whose first waveform
    /// stands there, and the losses among them. A unit at position 0 also has what is lost before the first waveform.
    ///
    /// Units that follow one another are cheapest in their order; where a file can only be read forwards, others
    /// are read up to.
    ///
    /// # Errors
    /// If the file cannot be read.
    fn select(&mut self, positions: Range<u64>) -> Result<()>;

    /// True if every event has one run of waveforms and their numbers ascend: then units of work have whole events. Reads
    /// the file's event numbers from here to the end; what cannot be read is left out.
    ///
    /// # Errors
    /// If the system cannot read the file.
    fn events_ascend(&mut self) -> Result<bool>;

    /// Asks `stop` between two pieces of the file from here on, and ends with an error of kind
    /// [`TryAgain`](crate::ErrorKind::TryAgain) once it says so: reading up to a unit, or through all event numbers, may take long.
    fn stop_when(&mut self, stop: StopCheck);
}

/// Says whether reading is to end early.
pub type StopCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// What the user said about how to read inputs; everything is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The table to read where a file has several (`--table`).
    pub table: Option<String>,
    /// Name of the event column (`--columns event=..`).
    pub event_column: Option<String>,
    /// Name of the channel column (`--columns channel=..`).
    pub channel_column: Option<String>,
    /// Name of the samples column (`--columns samples=..`).
    pub samples_column: Option<String>,
    /// Name of the hits' time column (`--columns time=..`).
    pub time_column: Option<String>,
    /// Name of the hits' charge column (`--columns charge=..`).
    pub charge_column: Option<String>,
    /// Samples a record in a WaveDump binary without headers.
    pub record_samples: Option<usize>,
    /// Place of the input in the run's list of inputs.
    pub input_id: u32,
}
