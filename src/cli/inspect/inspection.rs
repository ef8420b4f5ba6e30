//! The results of `nuwave inspect`, by kind of file.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::evaluate::survey::SurveyResult;
use crate::io::Loss;
use crate::model::Polarity;

/// The content by kind of file, which is also the JSON of `--json`.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Inspection {
    Waveforms(Box<WaveformFile>),
    Truth(TruthFile),
    Hits(HitsFile),
    Calibration(CalibrationFile),
    Output(OutputFolder),
}

#[derive(Debug, Serialize)]
pub(super) struct WaveformFile {
    pub format: &'static str,
    pub layout: String,
    pub bytes: u64,
    pub sample_type: String,
    /// `None` where the format does not say and the survey ended before the file did.
    pub n_waveforms: Option<u64>,
    pub sampling_ns: Option<f64>,
    pub adc_bits: Option<u32>,
    pub polarity: Option<Polarity>,
    #[serde(skip)]
    pub given: Given,
    pub detector: Option<String>,
    pub survey: Option<SurveyResult>,
    /// Remarks of the reader on how it reads the file.
    pub remarks: Vec<String>,
    pub losses: Vec<Loss>,
    pub truth: Option<TruthFile>,
}

/// The values that options of the command line state, not the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    pub sampling_ns: bool,
    pub adc_bits: bool,
    pub polarity: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct TruthFile {
    pub photoelectrons: usize,
    pub events: usize,
    pub waveforms_with_photoelectrons: usize,
    pub time_min_ns: Option<f64>,
    pub time_max_ns: Option<f64>,
    pub mean_charge_pe: Option<f64>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct HitsFile {
    pub hits: u64,
    pub events: usize,
    pub event_min: Option<u64>,
    pub event_max: Option<u64>,
    pub channels: usize,
    /// Minimum over hits with a finite time.
    pub time_min_ns: Option<f64>,
    pub time_max_ns: Option<f64>,
    /// Mean over hits with a finite charge.
    pub mean_charge_pe: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct CalibrationFile {
    pub channels: usize,
    pub has_default: bool,
    pub rows: Vec<CalibrationRow>,
}

#[derive(Debug, Serialize)]
pub(super) struct CalibrationRow {
    /// `None`: the default of all channels without a row.
    pub channel_id: Option<u32>,
    /// Mean charge of one photoelectron within the charge window, where the file has it.
    pub gain_adc_samples: Option<f32>,
    pub gain_error_adc_samples: Option<f32>,
    /// Sum of the template.
    pub area_adc_samples: f32,
    /// Pulses in the template, where the file has their number.
    pub n_pulses: Option<u64>,
    pub baseline_noise_ratio: f32,
    pub peak_adc: f32,
    pub template_samples: usize,
    pub sampling_ns: f32,
    pub noise_adc: f32,
    pub charge_sigma_pe: f32,
    pub time_offset_ns: f32,
    pub flags: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct OutputFolder {
    /// Rows of the table; `None` where there is none, as in a folder made from hits.
    pub hits: Option<u64>,
    /// Rows of the table; `None` where there is none.
    pub waveforms: Option<u64>,
    /// The table of events, where there is one.
    pub events: Option<EventsTable>,
    pub report: serde_json::Value,
}

#[derive(Debug, Serialize)]
pub(super) struct EventsTable {
    pub rows: u64,
    /// Events by flag.
    pub flags: BTreeMap<&'static str, u64>,
    /// Events that have a vertex.
    pub with_vertex: u64,
    /// Events that have an energy.
    pub with_energy: u64,
    pub mean_energy_mev: Option<f64>,
    /// First and last number.
    pub event_min: Option<u64>,
    pub event_max: Option<u64>,
}
