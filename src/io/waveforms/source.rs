//! The interface between formats and everything that reads waveforms: [`Source`], and the description of its file.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::channel::{ChannelId, ChannelOrigin};
use crate::error::{Hint, Result};
use crate::io::truth;
use crate::model::{Batch, Polarity};

/// The description of a file, known before the first waveform is read.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceInfo {
    /// The file.
    pub path: PathBuf,
    /// Name of the format (`HDF5`, `CAEN WaveDump binary`).
    pub format: &'static str,
    /// Location of the waveforms in the file (`/waveforms`, `table Readout/Waveform`, `column samples`).
    pub layout: String,
    /// Number of waveforms, if the format states it.
    pub n_waveforms: Option<u64>,
    /// Samples per waveform, if all have the same number and the format states it.
    pub n_samples: Option<usize>,
    /// Type of the samples in the file (`u16`, `f64`).
    pub sample_type: String,
    /// Sampling interval, if the file states it.
    pub sampling_ns: Option<f64>,
    /// Resolution of the digitiser, if the file states it.
    pub adc_bits: Option<u32>,
    /// Direction of the pulses, if the file states it.
    pub polarity: Option<Polarity>,
    /// The detector's name, if the file states it (files that `nuwave simulate` made).
    pub detector: Option<String>,
    /// True if the file also holds true photoelectrons.
    pub has_truth: bool,
    /// Size of the file.
    pub n_bytes: u64,
    /// The range of positions in the file.
    pub extent: Extent,
    /// How the channel of the waveforms is known.
    pub channel_origin: ChannelOrigin,
    /// Remarks for the user on how the file is read.
    pub remarks: Vec<Remark>,
}

/// A remark on how a file is read: something was guessed, or is not used.
#[derive(Clone, Debug, PartialEq)]
pub struct Remark {
    /// The text, without the name of the file.
    pub text: String,
    /// True if the result may not be what the user expects.
    pub is_warning: bool,
    /// Advice to the user.
    pub hint: Option<Hint>,
}

impl Remark {
    /// Creates a remark that the user need not act on.
    #[must_use]
    pub fn note(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_warning: false,
            hint: None,
        }
    }

    /// Creates a remark on something that may not be what the user expects.
    #[must_use]
    pub fn warning(text: impl Into<String>) -> Self {
        Self {
            is_warning: true,
            ..Self::note(text)
        }
    }

    /// Sets the hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Hint>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The range of positions in a file of waveforms. Positions count rows if the format has a table of contents, else bytes,
/// so that the range is known without reading the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Position after the last waveform.
    pub end: u64,
    /// Positions per waveform: 1 for rows, the size of the first waveform for bytes.
    pub per_waveform: u64,
    /// Approximate number of samples per waveform.
    pub samples: u64,
}

impl Extent {
    /// Creates the range of a file of rows of about `samples` samples.
    pub(crate) fn rows(n_rows: u64, samples: u64) -> Self {
        Self {
            end: n_rows,
            per_waveform: 1,
            samples: samples.max(1),
        }
    }

    /// Creates the range of a file of `n_bytes` whose first waveform takes `per_waveform` bytes for `samples` samples.
    pub(crate) fn bytes(n_bytes: u64, per_waveform: u64, samples: u64) -> Self {
        Self {
            end: n_bytes,
            per_waveform: per_waveform.clamp(1, n_bytes.max(1)),
            samples: samples.max(1),
        }
    }
}

impl SourceInfo {
    /// Creates the description of a file that has not been read.
    pub(crate) fn new(path: PathBuf, format: &'static str, n_bytes: u64) -> Self {
        Self {
            has_truth: truth::has_truth_file(&path),
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
            channel_origin: ChannelOrigin::default(),
            remarks: Vec::new(),
        }
    }
}

/// A part of an input that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Loss {
    /// Location in the file: `record 117 at byte 48204`, `row 12`.
    pub place: String,
    /// The event, if it is known.
    pub event_id: Option<u64>,
    /// The channel, if it is known.
    pub channel_id: Option<u32>,
    /// Number of lost waveforms; null if the file does not tell it.
    pub n_waveforms: Option<u64>,
    /// The reason.
    pub reason: String,
    /// Position in the file in units of the source's [`Extent`]. Reports have `place` instead.
    #[serde(skip)]
    pub position: u64,
}

impl Loss {
    /// Returns the number of lost waveforms that is certain: one if the number is unknown.
    #[must_use]
    pub fn at_least(&self) -> u64 {
        self.n_waveforms.unwrap_or(1)
    }
}

/// The maximum size of a batch. The first limit that is reached ends it. A batch holds at least one waveform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimit {
    /// Maximum number of waveforms.
    pub waveforms: usize,
    /// Maximum number of samples.
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

/// A stream of waveforms from one file, in the file's order. Memory use does not depend on the file's size.
pub trait Source: Send {
    /// Returns the description of the file.
    fn info(&self) -> &SourceInfo;

    /// Reads the next batch, or `None` at the end. Waveforms with a length outside
    /// [`MIN_SAMPLES`](crate::model::MIN_SAMPLES)`..=`[`MAX_SAMPLES`](crate::model::MAX_SAMPLES) are left out and become losses.
    ///
    /// # Errors
    /// If the file cannot be read any further. Batches that were returned before stay valid.
    fn next_batch(&mut self, limit: BatchLimit) -> Result<Option<Batch>>;

    /// Returns the losses since the last call.
    fn take_losses(&mut self) -> Vec<Loss>;

    /// Selects the unit of work at `positions`. From here on the source reads every run of one event whose first waveform is
    /// there, and the losses among them. A unit at position 0 also has the losses before the first waveform.
    ///
    /// Consecutive units are cheapest in order. In a file that can only be read forwards, the waveforms before a unit are
    /// read as well.
    ///
    /// # Errors
    /// If the file cannot be read.
    fn select(&mut self, positions: Range<u64>) -> Result<()>;

    /// Returns true if every event has one run of waveforms and the event numbers ascend, so that units of work have complete
    /// events. Reads the event numbers from here to the end; those that cannot be read are left out.
    ///
    /// # Errors
    /// If the operating system cannot read the file.
    fn events_ascend(&mut self) -> Result<bool>;

    /// Calls `stop` between the blocks of the file from here on, and ends with an error of kind
    /// [`TryAgain`](crate::ErrorKind::TryAgain) once it returns true. Reading up to a unit, or all event numbers, may take long.
    fn stop_when(&mut self, stop: StopCheck);
}

/// Returns whether reading should end early.
pub type StopCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// Options for reading inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The table to read if a file has several.
    pub table: Option<String>,
    /// Name of the event column.
    pub event_column: Option<String>,
    /// Name of the channel column.
    pub channel_column: Option<String>,
    /// Name of the samples column.
    pub samples_column: Option<String>,
    /// Column of the starts of the windows, in ns.
    pub start_column: Option<String>,
    /// Name of the hits' time column.
    pub time_column: Option<String>,
    /// Name of the hits' charge column.
    pub charge_column: Option<String>,
    /// The channel of inputs that state none.
    pub channel_id: Option<ChannelId>,
    /// Samples per waveform in files without headers.
    pub record_samples: Option<usize>,
    /// Index of the input in the list of inputs.
    pub input_id: u32,
}
