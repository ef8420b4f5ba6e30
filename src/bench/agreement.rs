//! Compares the hits of CPU and GPU, also stage by stage.

use std::fmt::Write as _;

use serde::Serialize;

use super::input::{self, Occupancy};
use super::{extractor, machine};
use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::extract::{Backend as _, Method, Parameters, Stage};
use crate::gpu::adapter::{Adapter, AdapterInfo};
use crate::gpu::comparison::compare::{Comparison, ERROR_SHARE};
use crate::gpu::comparison::stage_by_stage::StageByStage;
use crate::gpu::{GpuExtractor, MAX_GPU_SAMPLES, Options};
use crate::text::thousands;
use crate::threads::thread_pool;
use crate::version;

/// Waveforms that are compared at a time.
const PART: usize = 8192;
/// Maximum number of unmatched hits listed per row.
const MAX_LISTED: usize = 5;

/// The settings of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// The detector whose waveforms are simulated.
    #[serde(serialize_with = "super::name_of")]
    pub detector: Detector,
    /// The methods, one after the other.
    pub methods: Vec<Method>,
    /// Samples per waveform, compared one after the other.
    pub lengths: Vec<usize>,
    /// Number of waveforms, from no light to 100 photoelectrons.
    pub waveforms: usize,
    /// Stage by stage, for the deconvolution.
    pub by_stage: bool,
    /// Threads of the CPU.
    pub threads: usize,
}

/// The result of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Agreement {
    /// nuwave's version.
    pub nuwave: &'static str,
    /// The commit that nuwave was built from.
    pub commit: String,
    /// Start of the comparison.
    pub date_utc: String,
    /// The machine.
    pub machine: machine::Machine,
    /// The GPU.
    pub adapter: AdapterInfo,
    /// The settings.
    pub settings: Settings,
    /// True if every row's `holds` is.
    pub holds: bool,
    /// One row per method and length, and per stage in a comparison by stage.
    pub rows: Vec<Row>,
}

/// One comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The method.
    pub method: Method,
    /// Samples per waveform.
    pub samples: usize,
    /// The first stage that ran on the GPU, in a comparison by stage; all later stages ran there too.
    pub gpu_from: Option<&'static str>,
    /// Waveforms that ran on the GPU; the others ran on the CPU twice.
    pub on_gpu: u64,
    /// Devices that failed; their waveforms were repeated.
    pub device_failures: u64,
    /// True if the hits agree within the tolerance, and come from the GPU.
    pub holds: bool,
    /// Unmatched over all hits.
    pub unmatched_share: f64,
    /// The counts.
    #[serde(flatten)]
    pub comparison: Comparison,
}

impl Row {
    fn new(method: Method, samples: usize, comparison: Comparison) -> Self {
        Self {
            method,
            samples,
            gpu_from: None,
            on_gpu: comparison.waveforms,
            device_failures: 0,
            holds: comparison.holds(),
            unmatched_share: comparison.unmatched_share(),
            comparison,
        }
    }
}

/// Compares the hits of the CPU and of `adapter`. `progress` is called with the next step.
///
/// # Errors
/// If a setting is out of range or the adapter gives no device; not if the hits differ, which [`Agreement::holds`] says.
pub fn run(
    settings: Settings,
    adapter: &Adapter,
    progress: &mut dyn FnMut(&str),
) -> Result<Agreement> {
    if settings.waveforms == 0 {
        return Err(Error::usage("0 waveforms: at least one is needed"));
    }
    if let Some(samples) = settings
        .lengths
        .iter()
        .find(|&&samples| samples > MAX_GPU_SAMPLES)
    {
        return Err(Error::usage(format!(
            "{samples} samples: the GPU takes waveforms of up to {MAX_GPU_SAMPLES} samples, longer ones run on the CPU"
        )));
    }
    let mut agreement = Agreement {
        nuwave: env!("CARGO_PKG_VERSION"),
        commit: version::COMMIT.to_owned(),
        date_utc: machine::now_utc(),
        machine: machine::Machine::this(),
        adapter: adapter.info.clone(),
        holds: false,
        rows: Vec::new(),
        settings,
    };
    let settings = &agreement.settings;
    let pool = thread_pool(settings.threads)?;
    for &samples in &settings.lengths {
        let detector = input::with_window(&settings.detector, samples)?;
        for &method in &settings.methods {
            progress(&format!(
                "{}, {} waveforms of {samples} samples",
                method.name(),
                thousands(settings.waveforms as u64)
            ));
            let parameters = Parameters {
                method,
                ..Parameters::default()
            };
            let cpu = extractor(&detector, parameters)?;
            let gpu = GpuExtractor::new(cpu, adapter.clone(), Options::default())?;
            let rows = pool.install(|| {
                if settings.by_stage {
                    by_stage(&gpu, &detector, settings.waveforms)
                } else {
                    Ok(vec![whole(&gpu, &detector, settings.waveforms)?])
                }
            })?;
            agreement.rows.extend(rows);
        }
    }
    agreement.holds = agreement.rows.iter().all(|row| row.holds);
    Ok(agreement)
}

/// Returns the number of the first waveform and the number of waveforms of each part.
fn parts(waveforms: usize) -> impl Iterator<Item = (u64, usize)> {
    (0..waveforms)
        .step_by(PART)
        .map(move |first| (first as u64, PART.min(waveforms - first)))
}

fn whole(gpu: &GpuExtractor, detector: &Detector, waveforms: usize) -> Result<Row> {
    let mut comparison = Comparison::default();
    for (begin, count) in parts(waveforms) {
        let batch = input::batch(detector, Occupancy::Spread, count, begin)?;
        let first = gpu.cpu().extract(&batch)?;
        let second = gpu.extract(&batch)?;
        comparison.add(gpu.cpu(), &batch, &first, &second);
    }
    let report = gpu.report().unwrap_or_default();
    let samples = detector.readout.window_samples;
    let mut row = Row::new(gpu.cpu().parameters().method, samples, comparison);
    row.on_gpu = report.on_gpu;
    row.device_failures = report.device_failures;
    // If nothing ran on the GPU, the CPU was compared with itself.
    row.holds &= row.on_gpu > 0 && row.device_failures == 0;
    Ok(row)
}

fn by_stage(gpu: &GpuExtractor, detector: &Detector, waveforms: usize) -> Result<Vec<Row>> {
    let mut staged = StageByStage::new(gpu)?;
    let mut comparisons = vec![Comparison::default(); Stage::ALL.len()];
    for (begin, count) in parts(waveforms) {
        let batch = input::batch(detector, Occupancy::Spread, count, begin)?;
        let first = gpu.cpu().extract(&batch)?;
        for (stage, comparison) in Stage::ALL.into_iter().zip(&mut comparisons) {
            let second = staged.extract_from(stage, &batch)?;
            comparison.add(gpu.cpu(), &batch, &first, &second);
        }
    }
    let method = gpu.cpu().parameters().method;
    let samples = detector.readout.window_samples;
    Ok(Stage::ALL
        .into_iter()
        .zip(comparisons)
        .map(|(stage, comparison)| Row {
            gpu_from: Some(stage.name()),
            ..Row::new(method, samples, comparison)
        })
        .collect())
}

/// Returns the table of `agreement` with a final line end.
#[must_use]
pub fn table(agreement: &Agreement) -> String {
    let by_stage = agreement.settings.by_stage;
    let mut text = format!("Hits of the CPU and of {}", agreement.adapter.description());
    text.push_str("\nwaveforms with a mean of 0 to 100 photoelectrons; ");
    text.push_str(if by_stage {
        "stages before the named one on the CPU, it and all later ones on the GPU\n\n"
    } else {
        "worst differences are those of matched hits\n\n"
    });
    let first = if by_stage { "GPU from" } else { "method" };
    let _ = writeln!(
        text,
        "{first:14} {:>7} {:>10} {:>10} {:>10} {:>9} {:>7} {:>9} {:>9} {:>9} {:>7} {:>9} {:>9}  same",
        "samples",
        "waveforms",
        "on GPU",
        "hits",
        "unmatched",
        "on edge",
        "share",
        "dq (PE)",
        "dt (ns)",
        "flags",
        "baseline",
        "errors",
    );
    for row in &agreement.rows {
        let found = &row.comparison;
        let _ = writeln!(
            text,
            "{:14} {:>7} {:>10} {:>10} {:>10} {:>9} {:>7} {:>9.1e} {:>9.1e} {:>9.1e} {:>7} {:>9.1e} {:>9.1e}  {}",
            row.gpu_from.unwrap_or(row.method.name()),
            row.samples,
            thousands(found.waveforms),
            thousands(row.on_gpu),
            thousands(found.hits),
            thousands(found.unmatched),
            thousands(found.on_the_edge),
            row.unmatched_share,
            found.worst_charge_pe,
            found.worst_time_ns,
            thousands(found.flags_differ),
            found.worst_baseline_sigma,
            found.worst_error_share,
            if row.holds { "yes" } else { "NO" },
        );
    }
    text.push_str(
        "\non edge: unmatched hits in waveforms in which the CPU alone decides otherwise once every sample moves by a rounding\n\
         error (1e-6 of the waveform's range, at least a sample's last bit); they may be 1 in 10,000, any other unmatched\n\
         hit is a defect; flags, baseline and errors are those of waveforms that do not stand on an edge\n\
         flags: waveforms whose flags differ; baseline: largest difference in its standard deviations;\n\
         errors: largest relative difference of a charge's or baseline's error and of the noise, up to 1e-2\n",
    );
    for row in agreement.rows.iter().filter(|row| !row.holds) {
        let name = row.gpu_from.unwrap_or(row.method.name());
        if row.on_gpu == 0 {
            let _ = writeln!(text, "{name}: nothing ran on the GPU");
        }
        if row.device_failures > 0 {
            let _ = writeln!(
                text,
                "{name}: the device failed {} times",
                row.device_failures
            );
        }
        if let Some((event_id, channel_id)) = row.comparison.worst_error_in
            && row.comparison.worst_error_share > ERROR_SHARE
        {
            let _ = writeln!(
                text,
                "{name}: errors differ most in waveform {event_id}, channel {channel_id}",
            );
        }
        for hit in row.comparison.listed.iter().take(MAX_LISTED) {
            let _ = writeln!(
                text,
                "{name}: only on the {}: waveform {}, channel {}: {:.4} PE at {:.3} ns{}",
                if hit.of_first { "CPU" } else { "GPU" },
                hit.event_id,
                hit.channel_id,
                hit.charge_pe,
                hit.time_ns,
                if hit.on_the_edge { ", on an edge" } else { "" },
            );
        }
    }
    text
}
