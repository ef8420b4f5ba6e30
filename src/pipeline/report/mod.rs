//! The report of a run: counts in and out, losses, flags, units, timings, provenance.

mod build;
mod events;
mod read;
mod summary;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use events::{EventsPlan, EventsReport, LightMaps};

use super::facts::Expected;
use super::plan::{PlannedInput, Unit};
use super::record::{UnitRecord, UnitReport, UnitTimings};
use super::run_manifest::RunManifest;
use super::sample_range::AboveRange;
use crate::error::EXIT_PARTIAL;
use crate::extract::BackendReport;
use crate::io::Loss;
use crate::io::tables::Part;
use crate::model::Polarity;

/// `report.json`. Everything in it except the timings follows from the inputs and the configuration, however many runs did the
/// units.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// nuwave's version.
    pub nuwave: String,
    /// The commit that nuwave was built from.
    #[serde(default)]
    pub commit: String,
    /// [`crate::RESULTS_VERSION`] of that commit.
    #[serde(default)]
    pub results_version: u32,
    /// `complete`, or `partial` where something is listed as lost.
    pub status: String,
    /// The contents of the inputs: `waveforms` or `hits`. For hits, counts of waveforms are 0 and losses count hits.
    pub from: String,
    /// The units in this output: `all`, a shard or a range.
    pub selection: String,
    /// The inputs, in order; `input_id` of a row is the index here.
    pub inputs: Vec<InputReport>,
    /// Sums over the inputs.
    pub totals: Totals,
    /// Waveforms by flag.
    pub flags: BTreeMap<String, u64>,
    /// The parts written.
    pub outputs: Vec<Part>,
    /// The `events` table, or why there is none.
    pub events: EventsReport,
    /// `cpu`, `gpu`, or `cpu and gpu` if units were done by both.
    pub backend: String,
    /// The GPU and its driver, where one was used.
    pub adapter: Option<String>,
    /// Waveforms extracted on the GPU and on the CPU, and retries, where a GPU was used.
    pub gpu: Option<BackendReport>,
    /// The configuration as resolved: options and `--config` combined, with the defaults.
    pub configuration: serde_json::Value,
    /// CRC32C of the configuration, the checksums in `sums`, the version and the results version: if it is equal, equal inputs give
    /// equal results.
    pub configuration_crc32c: String,
    /// CRC32C of the calibration, the detector, the geometry and the light maps, as far as they were used.
    pub sums: BTreeMap<String, String>,
    /// Contradictions between what is stated about an input and what its data show, and other reasons to doubt the result.
    #[serde(default)]
    pub warnings: Vec<InputWarning>,
    /// Waveforms that were not used, each with location and reason.
    pub losses: Vec<ListedLoss>,
    /// Losses that are counted but not listed.
    pub losses_not_listed: u64,
    /// The units, in order.
    pub units: Vec<UnitReport>,
    /// Times. The only part that differs between two runs over the same input.
    pub timings: Timings,
}

/// One input of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InputReport {
    /// Its index, and that of its rows in the tables.
    pub input_id: u32,
    /// The file as given.
    pub path: String,
    /// Its format.
    pub format: String,
    /// The location of the waveforms in it.
    pub layout: String,
    /// Size.
    pub bytes: u64,
    /// CRC32C of the file; absent if some of its units are in other outputs.
    pub crc32c: Option<String>,
    /// Interval between samples, as used; absent for hits.
    pub sampling_ns: Option<f64>,
    /// Direction of the pulses, as used; absent for hits.
    pub polarity: Option<Polarity>,
    /// Resolution of the digitiser, as used; absent for hits and where it is unknown.
    pub adc_bits: Option<u32>,
    /// The facts about the waveforms that detector and calibration state; absent for hits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expected: Option<Expected>,
    /// The input's number in a table of hits that distinguishes several inputs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub input_of_table: Option<u32>,
    /// Waveforms, or hits, that the file states.
    pub rows: Option<u64>,
    /// Units that it is divided into, in this and other outputs.
    pub units: u32,
    /// Positions (rows or bytes) of a unit.
    pub unit_size: u64,
    /// True if its events in this output ascend, so that none of them can be in two units.
    pub ascending: bool,
    /// Waveforms in the output.
    pub waveforms: u64,
    /// Waveforms lost; at least so many if `lost_unknown` is not 0.
    pub lost: u64,
    /// Losses of which the file does not tell how many waveforms they are; each counts as one in `lost`.
    #[serde(default)]
    pub lost_unknown: u64,
    /// Waveforms with samples that the digitiser cannot have given, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_range: Option<AboveRange>,
    /// Hits in the output, or of the input where that is hits.
    pub hits: u64,
    /// Events in the output.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub events: Option<u64>,
    /// The reason why it could not be read at all.
    pub cut: Option<String>,
}

/// A reason to doubt the result of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputWarning {
    /// The input.
    pub input_id: u32,
    /// The reason, with the numbers.
    pub text: String,
}

/// A loss and the unit it belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListedLoss {
    /// The input.
    pub input_id: u32,
    /// The block.
    pub block: u32,
    /// The loss.
    #[serde(flatten)]
    pub loss: Loss,
}

/// Sums over all inputs.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Waveforms in the output.
    pub waveforms: u64,
    /// Waveforms lost; at least so many if `lost_unknown` is not 0.
    pub lost: u64,
    /// Losses of which the file does not tell how many waveforms they are; each counts as one in `lost`.
    #[serde(default)]
    pub lost_unknown: u64,
    /// Waveforms without a hit.
    pub empty: u64,
    /// Samples in the waveforms.
    pub samples: u64,
    /// Hits.
    pub hits: u64,
    /// Charge of all hits.
    pub charge_pe: f64,
    /// Mean baseline.
    pub mean_baseline_adc: Option<f64>,
    /// Mean noise of a sample.
    pub mean_noise_adc: Option<f64>,
}

/// Times. The stages overlap: their sum exceeds the total.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Timings {
    /// The whole run; of a resumed one the last part.
    pub total_s: f64,
    /// Reading and decoding.
    pub reading_s: f64,
    /// Extracting.
    pub extracting_s: f64,
    /// Encoding and writing.
    pub writing_s: f64,
    /// Reading hits back, reconstructing events and writing them.
    pub events_s: f64,
    /// Mean time of one thread for an event, where there are events.
    pub mean_event_ms: Option<f64>,
    /// The GPU's kernels, where the adapter measures them.
    pub gpu_kernel_s: Option<f64>,
    /// Waveforms of the (last) run divided by its total time.
    pub waveforms_per_s: f64,
    /// Threads that extracted.
    pub threads: usize,
    /// Units done by the (last) run.
    pub units_done: u64,
    /// Peak resident memory, where the system states it.
    pub peak_memory_mib: Option<f64>,
    /// The units, in order.
    pub units: Vec<UnitTiming>,
}

/// The timings of one unit.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct UnitTiming {
    /// Its input.
    pub input_id: u32,
    /// Its block.
    pub block: u32,
    /// Waveforms per second.
    pub waveforms_per_s: f64,
    /// Times of the stages.
    #[serde(flatten)]
    pub timings: UnitTimings,
}

/// The contents of a report that do not come from unit records.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// The manifest of the run.
    pub manifest: RunManifest,
    /// The plan for events.
    pub events: EventsPlan,
    /// CRC32C of the configuration, the checksums in `sums`, the version and the results version.
    pub configuration_crc32c: String,
    /// The report of the GPU backend, where it was used.
    pub gpu: Option<BackendReport>,
    /// Threads that extracted.
    pub threads: usize,
    /// The time it took.
    pub took_s: f64,
    /// The units done in that time.
    pub done: BTreeSet<Unit>,
}

impl Report {
    /// Returns the exit code of the run: 0, or [`EXIT_PARTIAL`] if something was lost.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.totals.lost == 0 && self.losses.is_empty() {
            0
        } else {
            EXIT_PARTIAL
        }
    }

    /// Returns the manifest of the run, without the times of the files, which a report does not contain.
    #[must_use]
    pub fn manifest(&self) -> RunManifest {
        let inputs = self.inputs.iter().map(|input| PlannedInput {
            path: input.path.clone().into(),
            format: input.format.clone(),
            layout: input.layout.clone(),
            bytes: input.bytes,
            modified_ns: None,
            changed_ns: None,
            // For waveforms the units have the checksums.
            crc32c: input.crc32c.clone().filter(|_| self.from == "hits"),
            sampling_ns: input.sampling_ns,
            polarity: input.polarity,
            adc_bits: input.adc_bits,
            expected: input.expected.clone(),
            input_of_table: input.input_of_table,
            rows: input.rows,
            unit_size: input.unit_size,
            units: input.units,
            unusable: input.cut.clone(),
        });
        RunManifest {
            nuwave: self.nuwave.clone(),
            commit: self.commit.clone(),
            results_version: self.results_version,
            from: self.from.clone(),
            configuration: self.configuration.clone(),
            sums: self.sums.clone(),
            selection: self.selection.clone(),
            inputs: inputs.collect(),
        }
    }

    /// Returns the records that the report was made from, in order.
    #[must_use]
    pub fn records(&self) -> Vec<UnitRecord> {
        let mut losses: BTreeMap<Unit, Vec<Loss>> = BTreeMap::new();
        for ListedLoss {
            input_id,
            block,
            loss,
        } in &self.losses
        {
            let unit = Unit {
                input_id: *input_id,
                block: *block,
            };
            losses.entry(unit).or_default().push(loss.clone());
        }
        let timings = self.timings.units.iter();
        let mut timings: BTreeMap<(u32, u32), UnitTimings> = timings
            .map(|unit| ((unit.input_id, unit.block), unit.timings))
            .collect();
        let mut records: Vec<UnitRecord> = self
            .units
            .iter()
            .map(|done| UnitRecord {
                done: done.clone(),
                losses: Vec::new(),
                timings: timings
                    .remove(&(done.input_id, done.block))
                    .unwrap_or_default(),
            })
            .collect();
        for record in &mut records {
            record.losses = losses.remove(&record.unit()).unwrap_or_default();
        }
        records
    }
}
