//! Files in and out: one file a format, each a [`Source`] of waveforms or a sink of tables.

pub(crate) mod atomic;

use std::path::PathBuf;

use crate::error::Result;
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
}

/// A part of an input that could not be used, for the report.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
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
            waveforms: 8192,
            samples: 8 << 20,
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
}

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
    /// Samples a record in a WaveDump binary without headers.
    pub record_samples: Option<usize>,
    /// Place of the input in the run's list of inputs.
    pub input_id: u32,
}

/// Where `nuwave simulate` puts its waveforms, one implementation a format.
pub trait WaveformSink {
    /// Appends a batch.
    ///
    /// # Errors
    /// If the file cannot be written, or the format cannot hold the batch (float samples, mixed lengths).
    fn write(&mut self, batch: &Batch) -> Result<()>;

    /// Writes the truth, closes the file and gives it its final name.
    ///
    /// # Errors
    /// If the file cannot be written.
    fn finish(self: Box<Self>, truth: &crate::model::Truth) -> Result<()>;
}

/// What the writer of a waveform file has to know before the first batch.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteInfo {
    /// Sampling interval.
    pub sampling_ns: f64,
    /// Resolution of the digitiser.
    pub adc_bits: u32,
    /// Direction of the pulses.
    pub polarity: Polarity,
    /// Name of the detector.
    pub detector: String,
    /// The command and seed, kept in the file where the format has a place for it.
    pub origin: String,
}
