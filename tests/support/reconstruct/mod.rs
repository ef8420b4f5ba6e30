//! `nuwave reconstruct` as a user runs it, and its output as a user reads it.

pub mod events;
mod folder;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output as ProcessOutput};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use nuwave::io::tables::checksum;
use nuwave::io::{WriteInfo, create};
use nuwave::model::{
    Batch, Calibration, ChannelCalibration, Flags, Polarity, SamplesRef, Truth, Waveform,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

pub use folder::Folder;

use super::snapshot;

/// A run of the binary that has ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn new(command: &mut Command) -> Self {
        command.output().expect("runs").into()
    }

    /// Asserts that the run ended with `code`, and did not panic.
    #[track_caller]
    pub fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Asserts that the run was refused with `code`, and that its error equals the next snapshot of the test.
    #[track_caller]
    pub fn refused(self, code: i32) -> Self {
        let run = self.ended_with(code);
        snapshot::assert_next(&format!("exit code {code}\nerror: {}", run.error()));
        run
    }

    /// Asserts that the run was refused with `code`, and that the error contains each of `parts`: for texts that differ from machine to machine
    /// or from run to run.
    #[track_caller]
    pub fn refused_with(self, code: i32, parts: &[&str]) -> Self {
        let run = self.ended_with(code);
        let error = run.error();
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in\n{error}");
        }
        run
    }

    /// The error, which is the last thing on stderr: its message without a full stop (`<INPUT>...` is none), its hint in a paragraph of its own.
    #[track_caller]
    fn error(&self) -> &str {
        let (_, error) = self
            .stderr
            .split_once("error: ")
            .unwrap_or_else(|| panic!("no error: {}", self.stderr));
        let message = error.split("\n\n").next().unwrap_or_default().trim_end();
        assert!(
            !message.is_empty() && message.ends_with('.') == message.ends_with("..."),
            "{error}"
        );
        error
    }
}

impl From<ProcessOutput> for Run {
    fn from(output: ProcessOutput) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

pub fn nuwave() -> Command {
    Command::new(env!("CARGO_BIN_EXE_nuwave"))
}

/// `nuwave reconstruct INPUTS MORE -o OUTPUT`.
pub fn reconstruct<I: AsRef<OsStr>>(inputs: &[I], output: &Path, more: &[&str]) -> Run {
    Run::new(
        nuwave()
            .arg("reconstruct")
            .args(inputs)
            .args(more)
            .arg("-o")
            .arg(output),
    )
}

pub fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name)
}

/// Everything in `folder`, sorted; what a failed run must not have added to.
pub fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// A library made of the C source `source` below `tests/`, to be loaded before the system's.
pub fn shared_library(folder: &Path, source: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(source);
    let library = folder.join("preloaded.so");
    // A machine that can build Rust has a C compiler: it links.
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .status();
    assert!(built.is_ok_and(|status| status.success()), "cc");
    library
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HitRow {
    pub input_id: u32,
    pub event_id: u64,
    pub channel_id: u32,
    pub time_ns: f64,
    pub charge_pe: f32,
    pub charge_sigma_pe: Option<f32>,
    pub time_sigma_ns: Option<f32>,
    pub flags: Flags,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WaveformRow {
    pub input_id: u32,
    pub event_id: u64,
    pub channel_id: u32,
    pub charge_pe: f32,
    pub first_time_ns: Option<f64>,
    pub n_hits: u32,
    pub baseline_adc: f32,
    pub noise_adc: f32,
    pub chi2_ndf: Option<f32>,
    pub flags: Flags,
}

/// The output folder of a run.
#[derive(Debug)]
pub struct Output {
    pub folder: PathBuf,
    pub hits: Vec<HitRow>,
    pub waveforms: Vec<WaveformRow>,
    pub report: Value,
}

/// Reads an output folder and asserts what holds of every one: columns, order, sums, counts, checksums.
#[track_caller]
pub fn output(folder: &Path) -> Output {
    let text = std::fs::read_to_string(folder.join("report.json")).expect("a report");
    let output = Output {
        folder: folder.to_owned(),
        hits: hits(folder),
        waveforms: waveforms(folder),
        report: serde_json::from_str(&text).expect("JSON"),
    };
    output.is_consistent();
    output
}

impl Output {
    /// Waveforms with `flag`.
    pub fn flagged(&self, flag: Flags) -> usize {
        self.waveforms
            .iter()
            .filter(|row| row.flags.contains(flag))
            .count()
    }

    /// Hits of the waveform in row `row`.
    pub fn hits_of(&self, row: usize) -> &[HitRow] {
        let before: u32 = self.waveforms[..row].iter().map(|row| row.n_hits).sum();
        let before = before as usize;
        &self.hits[before..before + self.waveforms[row].n_hits as usize]
    }

    #[track_caller]
    fn is_consistent(&self) {
        let tables: &[&str] = match self.report["events"]["status"].as_str() {
            Some("present") => {
                let rows = events::events(&self.folder.join("events"));
                events::report_counts(&self.report, &rows);
                self.events_are_those_of_the_waveforms(&rows);
                &["events", "hits", "report.json", "waveforms"]
            }
            _ => &["hits", "report.json", "waveforms"],
        };
        assert_eq!(names_in(&self.folder), tables);
        let unusable = Flags::NON_FINITE | Flags::NO_CALIBRATION;
        let mut rest = self.hits.as_slice();
        for row in &self.waveforms {
            assert!(
                rest.len() >= row.n_hits as usize,
                "hits are missing: {row:?}"
            );
            let (mine, others) = rest.split_at(row.n_hits as usize);
            rest = others;
            let finite = [row.charge_pe, row.baseline_adc, row.noise_adc]
                .iter()
                .all(|value| value.is_finite());
            assert!(finite || row.flags.intersects(unusable), "{row:?}");
            assert_eq!(
                row.first_time_ns,
                mine.first().map(|hit| hit.time_ns),
                "{row:?}"
            );
            let mut sum = 0.0;
            for hit in mine {
                let ids = (hit.input_id, hit.event_id, hit.channel_id);
                assert_eq!(ids, (row.input_id, row.event_id, row.channel_id));
                assert!(
                    hit.time_ns.is_finite() && hit.charge_pe.is_finite(),
                    "{hit:?}"
                );
                assert!(row.flags.contains(hit.flags), "{hit:?} {row:?}");
                sum += f64::from(hit.charge_pe);
            }
            assert!(mine.is_sorted_by(|a, b| a.time_ns <= b.time_ns), "{mine:?}");
            if finite {
                let charge_pe = f64::from(row.charge_pe);
                assert!(
                    (charge_pe - sum).abs() <= 1e-5 * sum.abs(),
                    "{sum}: {row:?}"
                );
            } else {
                assert!(mine.is_empty(), "{row:?}");
            }
        }
        assert!(rest.is_empty(), "hits without a waveform: {rest:?}");
        self.report_counts_the_tables();
    }

    /// An event of the waveforms has a row, and no other has.
    #[track_caller]
    fn events_are_those_of_the_waveforms(&self, rows: &[events::EventRow]) {
        let mut keys: Vec<_> = self
            .waveforms
            .iter()
            .map(|row| (row.input_id, row.event_id))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let found = rows.iter().map(|row| (row.input_id, row.event_id));
        assert!(found.eq(keys));
    }

    #[track_caller]
    fn report_counts_the_tables(&self) {
        let report = &self.report;
        let totals = &report["totals"];
        let empty = self.waveforms.iter().filter(|row| row.n_hits == 0).count();
        assert_eq!(totals["waveforms"], self.waveforms.len());
        assert_eq!(totals["hits"], self.hits.len());
        assert_eq!(totals["empty"], empty);
        let sum: f64 = self.hits.iter().map(|hit| f64::from(hit.charge_pe)).sum();
        let reported = totals["charge_pe"].as_f64().expect("a number");
        assert!(
            (reported - sum).abs() <= 1e-5 * sum.abs(),
            "{reported} {sum}"
        );
        for (flag, name, _) in Flags::ALL {
            let reported = report["flags"][name].as_u64().unwrap_or(0);
            assert_eq!(reported, self.flagged(flag) as u64, "{name}");
        }
        let inputs = report["inputs"].as_array().expect("a list");
        for (place, input) in inputs.iter().enumerate() {
            let place = place as u32;
            assert_eq!(input["input_id"], place);
            let rows = self
                .waveforms
                .iter()
                .filter(|row| row.input_id == place)
                .count();
            assert_eq!(input["waveforms"], rows);
            let hits = self.hits.iter().filter(|row| row.input_id == place).count();
            assert_eq!(input["hits"], hits);
        }
        let lost: u64 = inputs
            .iter()
            .filter_map(|input| input["lost"].as_u64())
            .sum();
        assert_eq!(totals["lost"], lost);
        assert_eq!(report["selection"], "all");
        assert_eq!(
            report["status"],
            if lost == 0 { "complete" } else { "partial" }
        );
        let outputs = report["outputs"].as_array().expect("a list");
        let tables = 2 + usize::from(report["events"]["status"] == "present");
        let units = report["units"].as_array().expect("a list");
        assert_eq!(outputs.len(), tables * units.len());
        let planned: u64 = inputs.iter().filter_map(|it| it["units"].as_u64()).sum();
        assert_eq!(planned, units.len() as u64, "the units of all inputs");
        for part in outputs {
            let path = self.folder.join(part["path"].as_str().expect("a path"));
            let (bytes, crc32c) = checksum(&path).expect("the part");
            assert_eq!(
                (&part["bytes"], &part["crc32c"]),
                (&bytes.into(), &crc32c.into())
            );
        }
    }
}

/// The rows of a table, whose columns have to be exactly those: name, type, may be null.
#[track_caller]
fn table(folder: &Path, columns: &[(&str, DataType, bool)]) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for name in names_in(folder) {
        let file = File::open(folder.join(name)).expect("a part");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
        let found: Vec<_> = reader
            .schema()
            .fields()
            .iter()
            .map(|field| {
                (
                    field.name().as_str(),
                    field.data_type().clone(),
                    field.is_nullable(),
                )
            })
            .collect();
        assert_eq!(found, columns);
        batches.extend(
            reader
                .build()
                .expect("Parquet")
                .map(|batch| batch.expect("rows")),
        );
    }
    batches
}

const INPUT: (&str, DataType, bool) = ("input_id", DataType::UInt32, false);
const EVENT: (&str, DataType, bool) = ("event_id", DataType::UInt64, false);
const CHANNEL: (&str, DataType, bool) = ("channel_id", DataType::UInt32, false);
const CHARGE: (&str, DataType, bool) = ("charge_pe", DataType::Float32, false);
const FLAGS: (&str, DataType, bool) = ("flags", DataType::UInt32, false);

fn optional(batch: &RecordBatch, column: usize, row: usize) -> Option<f32> {
    let column = batch.column(column);
    let value = || column.as_primitive::<Float32Type>().value(row);
    column.is_valid(row).then(value)
}

#[track_caller]
pub fn hits(folder: &Path) -> Vec<HitRow> {
    let time = ("time_ns", DataType::Float64, false);
    let batches = table(
        &folder.join("hits"),
        &[
            INPUT,
            EVENT,
            CHANNEL,
            time,
            CHARGE,
            ("charge_sigma_pe", DataType::Float32, true),
            ("time_sigma_ns", DataType::Float32, true),
            FLAGS,
        ],
    );
    let row = |batch: &RecordBatch, k: usize| HitRow {
        input_id: batch.column(0).as_primitive::<UInt32Type>().value(k),
        event_id: batch.column(1).as_primitive::<UInt64Type>().value(k),
        channel_id: batch.column(2).as_primitive::<UInt32Type>().value(k),
        time_ns: batch.column(3).as_primitive::<Float64Type>().value(k),
        charge_pe: batch.column(4).as_primitive::<Float32Type>().value(k),
        charge_sigma_pe: optional(batch, 5, k),
        time_sigma_ns: optional(batch, 6, k),
        flags: Flags(batch.column(7).as_primitive::<UInt32Type>().value(k)),
    };
    batches
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(move |k| row(batch, k)))
        .collect()
}

#[track_caller]
pub fn waveforms(folder: &Path) -> Vec<WaveformRow> {
    let columns = [
        INPUT,
        EVENT,
        CHANNEL,
        CHARGE,
        ("first_time_ns", DataType::Float64, true),
        ("n_hits", DataType::UInt32, false),
        ("baseline_adc", DataType::Float32, false),
        ("noise_adc", DataType::Float32, false),
        ("chi2_ndf", DataType::Float32, true),
        FLAGS,
    ];
    let batches = table(&folder.join("waveforms"), &columns);
    let row = |batch: &RecordBatch, k: usize| {
        let float = |column: usize| batch.column(column).as_primitive::<Float32Type>().value(k);
        WaveformRow {
            input_id: batch.column(0).as_primitive::<UInt32Type>().value(k),
            event_id: batch.column(1).as_primitive::<UInt64Type>().value(k),
            channel_id: batch.column(2).as_primitive::<UInt32Type>().value(k),
            charge_pe: float(3),
            first_time_ns: batch
                .column(4)
                .is_valid(k)
                .then(|| batch.column(4).as_primitive::<Float64Type>().value(k)),
            n_hits: batch.column(5).as_primitive::<UInt32Type>().value(k),
            baseline_adc: float(6),
            noise_adc: float(7),
            chi2_ndf: optional(batch, 8, k),
            flags: Flags(batch.column(9).as_primitive::<UInt32Type>().value(k)),
        }
    };
    batches
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(move |k| row(batch, k)))
        .collect()
}

/// How often each (event, channel) stands in `rows`.
pub fn counted(rows: impl Iterator<Item = (u64, u32)>) -> HashMap<(u64, u32), usize> {
    let mut counts = HashMap::new();
    for row in rows {
        *counts.entry(row).or_default() += 1;
    }
    counts
}

/// Writes float waveforms, one an entry: event, channel, samples.
pub fn write_floats(path: &Path, sampling_ns: f64, waveforms: &[(u64, u32, Vec<f32>)]) {
    let mut batch = Batch::new_f32(0);
    for (event_id, channel_id, samples) in waveforms {
        batch.push(Waveform {
            event_id: *event_id,
            channel_id: *channel_id,
            start_ns: 0.0,
            samples: SamplesRef::F32(samples),
        });
    }
    write_batch(path, sampling_ns, &batch);
}

/// Writes counts, one waveform an entry: event, channel, samples.
pub fn write_counts(path: &Path, sampling_ns: f64, waveforms: &[(u64, u32, Vec<u16>)]) {
    let mut batch = Batch::new_u16(0);
    for (event_id, channel_id, samples) in waveforms {
        batch.push(Waveform {
            event_id: *event_id,
            channel_id: *channel_id,
            start_ns: 0.0,
            samples: SamplesRef::U16(samples),
        });
    }
    write_batch(path, sampling_ns, &batch);
}

/// Writes a batch of counts of 14 bits with negative pulses.
pub fn write_batch(path: &Path, sampling_ns: f64, batch: &Batch) {
    let info = WriteInfo {
        sampling_ns,
        adc_bits: 14,
        polarity: Polarity::Negative,
        detector: "that of a test".to_owned(),
        origin: "a test".to_owned(),
    };
    let mut sink = create(path, &info).expect("a file");
    sink.write(batch).expect("room on the disk");
    sink.finish(&Truth::default()).expect("room on the disk");
}

/// A calibration of the given template for `channels`, or as the default of all where there are none.
pub fn calibration(
    template_adc: Vec<f32>,
    noise_adc: f32,
    sampling_ns: f32,
    channels: &[u32],
) -> Calibration {
    let mut calibration = Calibration::new();
    let row = ChannelCalibration {
        template_adc,
        noise_adc,
        time_offset_ns: 0.0,
        dark_rate_hz: 0.0,
        charge_sigma_pe: 0.3,
        time_sigma_ns: 1.0,
        sampling_ns,
        baseline_noise_ratio: 1.0,
        flags: Flags::NONE,
        measurement: None,
    };
    let row = calibration.add_row(row).expect("a valid row");
    for &channel in channels {
        calibration.assign(channel, row);
    }
    if channels.is_empty() {
        calibration.set_default(row);
    }
    calibration
}

/// Writes a calibration file.
pub fn write_calibration(path: &Path, calibration: &Calibration) {
    nuwave::io::calibration::write(path, calibration, "a test").expect("room on the disk");
}

/// A pulse as a photomultiplier makes it: `height` at its peak, `rise` samples after its begin, `length` samples.
pub fn pulse(height: f32, rise: f32, length: usize) -> Vec<f32> {
    (0..length)
        .map(|sample| {
            let t = sample as f32 / rise;
            height * t * t * (2.0 * (1.0 - t)).exp()
        })
        .collect()
}

/// Uniform noise of the standard deviation `sigma`; equal seeds give equal noise.
pub fn noise(seed: u64, sigma: f32, length: usize) -> Vec<f32> {
    // Knuth's generator; the upper bits are good enough here.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    // The sum of four is near enough to a normal distribution; its variance is 4/12.
    (0..length)
        .map(|_| sigma * 3.0_f32.sqrt() * (0..4).map(|_| uniform()).sum::<f32>())
        .collect()
}
