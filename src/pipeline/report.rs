//! What a run leaves behind beside its tables: counts in and out, losses, flags, timings, provenance.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::{EventsOutcome, EventsPlan, EventsReport, InputOutcome};
use crate::error::EXIT_PARTIAL;
use crate::extract::Account;
use crate::io::tables::Part;
use crate::io::{Loss, SourceInfo};
use crate::model::{Flags, Polarity};

/// Losses listed one by one; more are counted only.
const MOST_LISTED: usize = 100_000;

/// `report.json`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// nuwave's version.
    pub nuwave: &'static str,
    /// `complete`, or `partial` where something is listed as lost.
    pub status: &'static str,
    /// What the inputs held: `waveforms` or `hits`. What is said below of waveforms is 0 for hits, and hits are what is lost.
    pub from: &'static str,
    /// The inputs, in order; a row's `input_id` is the place here.
    pub inputs: Vec<InputReport>,
    /// Sums over the inputs.
    pub totals: Totals,
    /// Waveforms by flag.
    pub flags: BTreeMap<&'static str, u64>,
    /// The parts written.
    pub outputs: Vec<Part>,
    /// The `events` table, or why there is none.
    pub events: EventsReport,
    /// `cpu` or `gpu`.
    pub backend: &'static str,
    /// The GPU and its driver, where one was used.
    pub adapter: Option<String>,
    /// What went to the GPU and what did not, and what had to be done again, where one was used.
    pub gpu: Option<Account>,
    /// The configuration as resolved.
    pub configuration: serde_json::Value,
    /// CRC32C of the configuration, the calibration and the version: equal means equal results from equal inputs.
    pub configuration_crc32c: String,
    /// Waveforms that were not used, each with its place and reason.
    pub losses: Vec<ListedLoss>,
    /// Losses that are counted but not listed.
    pub losses_not_listed: u64,
    /// How long it took. The only part that differs between two runs over the same input.
    pub timings: Timings,
}

/// One input of a run.
#[derive(Debug, Serialize)]
pub struct InputReport {
    /// Its place, and that of its rows in the tables.
    pub input_id: u32,
    /// The file as given.
    pub path: String,
    /// Its format.
    pub format: &'static str,
    /// Where in it the waveforms were found.
    pub layout: String,
    /// Size.
    pub bytes: u64,
    /// CRC32C of the file.
    pub crc32c: String,
    /// Interval between samples, as used; absent for hits.
    pub sampling_ns: Option<f64>,
    /// Direction of the pulses, as used; absent for hits.
    pub polarity: Option<Polarity>,
    /// Which of the inputs that a table of hits tells apart this one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_of_table: Option<u32>,
    /// Waveforms in the output.
    pub waveforms: u64,
    /// Waveforms lost.
    pub lost: u64,
    /// Hits in the output, or of the input where that is hits.
    pub hits: u64,
    /// Events in the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// What ended it early, if anything did.
    pub cut: Option<String>,
}

/// A loss with the input it belongs to.
#[derive(Debug, Serialize)]
pub struct ListedLoss {
    /// The input.
    pub input_id: u32,
    /// The loss.
    #[serde(flatten)]
    pub loss: Loss,
}

/// Sums over all inputs.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Totals {
    /// Waveforms in the output.
    pub waveforms: u64,
    /// Waveforms lost.
    pub lost: u64,
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

/// Where the time went. The stages overlap, so that their sum exceeds the whole.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Timings {
    /// The whole run.
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
    /// The GPU's kernels, where one was used that tells.
    pub gpu_kernel_s: Option<f64>,
    /// Waveforms over the whole time.
    pub waveforms_per_s: f64,
    /// Threads that extracted.
    pub threads: usize,
    /// Largest resident memory, where the system tells.
    pub peak_memory_mib: Option<f64>,
}

/// What the report's configuration part holds.
#[derive(Debug)]
pub struct Provenance {
    /// `waveforms` or `hits`.
    pub from: &'static str,
    /// What was to be done about events.
    pub events: EventsPlan,
    /// `cpu` or `gpu`.
    pub backend: &'static str,
    /// The configuration as resolved.
    pub configuration: serde_json::Value,
    /// Its checksum, calibration and version included.
    pub configuration_crc32c: String,
    /// Threads that extract.
    pub threads: usize,
    /// What the GPU backend has to say, where it was used.
    pub gpu: Option<Account>,
}

/// One input with what it became.
#[derive(Debug)]
pub struct FinishedInput {
    /// What the source said of itself.
    pub info: SourceInfo,
    /// Checksum of the file.
    pub crc32c: String,
    /// As used; absent for hits.
    pub sampling_ns: Option<f64>,
    /// As used; absent for hits.
    pub polarity: Option<Polarity>,
    /// Which of the inputs that a table of hits tells apart this one is, where it tells several.
    pub input_of_table: Option<u32>,
    /// What became of it.
    pub outcome: InputOutcome,
    /// What became of its events, where there are any.
    pub events: Option<EventsOutcome>,
}

impl Report {
    /// The report of a run over `inputs` that took `took_s`.
    #[must_use]
    pub fn new(inputs: Vec<FinishedInput>, provenance: Provenance, took_s: f64) -> Self {
        let mut totals = Totals::default();
        let mut timings = Timings {
            total_s: took_s,
            threads: provenance.threads,
            peak_memory_mib: peak_memory_mib(),
            gpu_kernel_s: provenance.gpu.as_ref().map(|gpu| gpu.kernel_s),
            ..Timings::default()
        };
        let mut flags: BTreeMap<&'static str, u64> = BTreeMap::new();
        let (mut reports, mut outputs, mut losses) = (Vec::new(), Vec::new(), Vec::new());
        let mut of_events: Vec<EventsOutcome> = Vec::new();
        let (mut levels, mut losses_not_listed) = ((0, 0.0, 0.0), 0);
        for (place, input) in inputs.into_iter().enumerate() {
            let input_id = place as u32;
            let FinishedInput {
                info,
                crc32c,
                sampling_ns,
                polarity,
                input_of_table,
                outcome,
                events,
            } = input;
            let mut lost: u64 = outcome.losses.iter().map(|loss| loss.n_waveforms).sum();
            lost += u64::from(outcome.cut.is_some());
            reports.push(InputReport {
                input_id,
                path: info.path.display().to_string(),
                format: info.format,
                layout: info.layout,
                bytes: info.n_bytes,
                crc32c,
                sampling_ns,
                polarity,
                input_of_table,
                waveforms: outcome.waveforms,
                lost,
                hits: outcome.hits,
                events: events.as_ref().map(|events| events.events),
                cut: outcome.cut.map(|error| error.to_string()),
            });
            totals.waveforms += outcome.waveforms;
            totals.lost += lost;
            totals.empty += outcome.empty;
            totals.samples += outcome.samples;
            totals.hits += outcome.hits;
            totals.charge_pe += outcome.charge_pe;
            levels = (
                levels.0 + outcome.levels.0,
                levels.1 + outcome.levels.1,
                levels.2 + outcome.levels.2,
            );
            timings.reading_s += outcome.reading.as_secs_f64();
            timings.extracting_s += outcome.extracting.as_secs_f64();
            timings.writing_s += outcome.writing.as_secs_f64();
            for ((_, name, _), count) in Flags::ALL.into_iter().zip(outcome.flagged) {
                if count > 0 {
                    *flags.entry(name).or_default() += count;
                }
            }
            outputs.extend(outcome.parts);
            if let Some(mut events) = events {
                outputs.extend(events.part.take());
                of_events.push(events);
            }
            for loss in outcome.losses {
                if losses.len() < MOST_LISTED {
                    losses.push(ListedLoss { input_id, loss });
                } else {
                    losses_not_listed += 1;
                }
            }
        }
        if levels.0 > 0 {
            totals.mean_baseline_adc = Some(levels.1 / levels.0 as f64);
            totals.mean_noise_adc = Some(levels.2 / levels.0 as f64);
        }
        timings.count_events(&of_events);
        timings.waveforms_per_s = totals.waveforms as f64 / took_s.max(1e-9);
        Self {
            nuwave: env!("CARGO_PKG_VERSION"),
            status: ["complete", "partial"][usize::from(totals.lost > 0)],
            from: provenance.from,
            inputs: reports,
            totals,
            flags,
            outputs,
            events: EventsReport::new(provenance.events, &of_events),
            backend: provenance.backend,
            adapter: provenance.gpu.as_ref().map(|gpu| gpu.adapter.clone()),
            gpu: provenance.gpu,
            configuration: provenance.configuration,
            configuration_crc32c: provenance.configuration_crc32c,
            losses,
            losses_not_listed,
            timings,
        }
    }

    /// The exit code of the run: 0, or [`EXIT_PARTIAL`] where something was lost.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.totals.lost == 0 {
            0
        } else {
            EXIT_PARTIAL
        }
    }
}

impl Timings {
    fn count_events(&mut self, inputs: &[EventsOutcome]) {
        let took: Duration = inputs.iter().map(|events| events.took).sum();
        let working: Duration = inputs.iter().map(|events| events.working).sum();
        let n_events: u64 = inputs.iter().map(|events| events.events).sum();
        self.events_s = took.as_secs_f64();
        self.mean_event_ms = (n_events > 0).then(|| 1e3 * working.as_secs_f64() / n_events as f64);
    }
}

/// Largest resident memory of this process so far (Linux; elsewhere unknown).
#[must_use]
pub fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
