//! `nuwave bench`: measures the speed of the extraction and compares the hits of CPU and GPU.
//!
//! [`input`] generates the waveforms, [`cpu`] and [`gpu`] time them, [`quantiles`] summarises repetitions, and [`machine`]
//! describes the machine; [`report`] holds the results, [`table`] and [`plot`] present them. [`agreement`] compares hits.

use serde::Serialize;

pub mod agreement;
pub mod cpu;
pub mod gpu;
pub mod input;
pub mod machine;
pub mod plot;
pub mod quantiles;
pub mod report;
pub mod table;
#[cfg(test)]
mod testing;

pub use input::Occupancy;
pub use report::Report;

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::extract::{Backend as _, DigitizerConfig, Extractor, Method, Parameters};
use crate::gpu::adapter::Adapter;
use crate::gpu::comparison::stage_by_stage::StageByStage;
use crate::gpu::{GpuExtractor, MAX_GPU_SAMPLES, Options, bandwidth};
use crate::model::Batch;
use crate::threads::thread_pool;
use crate::version;
use quantiles::Quantiles;
use report::{Limits, Measurement, Row};

/// Maximum number of bytes of samples per batch.
const MAX_BATCH_BYTES: usize = 1 << 30;
/// Maximum number of waveforms per batch.
const MAX_BATCH_WAVEFORMS: usize = 1 << 20;
/// Maximum number of repetitions.
const MAX_REPETITIONS: usize = 10_000;
/// Bytes that are copied to measure the memory bandwidth, and in a short run.
const COPY_BYTES: u64 = 256 << 20;
const COPY_BYTES_SHORT: u64 = 16 << 20;
/// Repetitions of those copies.
const COPIES: usize = 5;
/// Maximum number of waveforms for timing the stages' kernels, on hardware and in software.
const STAGED_WAVEFORMS: usize = 16_384;
const STAGED_WAVEFORMS_SOFTWARE: usize = 512;

/// The settings of a measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// The detector whose waveforms are simulated.
    #[serde(serialize_with = "name_of")]
    pub detector: Detector,
    /// Parameters of the extraction.
    #[serde(flatten)]
    pub parameters: Parameters,
    /// Samples per waveform, measured one after the other.
    pub lengths: Vec<usize>,
    /// Their occupancies.
    pub mean_pe: Vec<Occupancy>,
    /// Waveforms per batch.
    pub batches: Vec<usize>,
    /// Repetitions, without warm-up.
    pub repetitions: usize,
    /// All threads.
    pub threads: usize,
    /// A quick run with larger errors.
    pub quick: bool,
}

fn name_of<S: serde::Serializer>(
    detector: &Detector,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&detector.name)
}

impl Settings {
    /// Checks the ranges of all values.
    ///
    /// # Errors
    /// Names the value that is out of range.
    pub fn validate(&self) -> Result<()> {
        self.parameters.validate()?;
        let range = |name: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(Error::usage(format!(
                "`{name} {value}`: expected 1 to {most}"
            )))
        };
        range("repetitions", self.repetitions, MAX_REPETITIONS)?;
        for (name, is_empty) in [
            ("lengths", self.lengths.is_empty()),
            ("mean-pe", self.mean_pe.is_empty()),
            ("batch", self.batches.is_empty()),
        ] {
            if is_empty {
                return Err(Error::usage(format!("`{name}` is empty")));
            }
        }
        for &batch in &self.batches {
            range("batch", batch, MAX_BATCH_WAVEFORMS)?;
            for &samples in &self.lengths {
                let detector = input::with_window(&self.detector, samples)?;
                if 2 * batch * detector.readout.window_samples > MAX_BATCH_BYTES {
                    return Err(Error::usage(format!(
                        "batches of {batch} waveforms of {samples} samples: a batch has at most 1 GiB of samples"
                    ))
                    .with_hint("give a smaller batch"));
                }
            }
        }
        Ok(())
    }
}

/// Returns the CPU extractor with the detector's nominal templates.
///
/// # Errors
/// If a parameter is out of range or the detector's pulse shape cannot be built.
pub fn extractor(detector: &Detector, parameters: Parameters) -> Result<Extractor> {
    let readout = DigitizerConfig {
        sampling_ns: detector.readout.sampling_ns,
        polarity: detector.readout.polarity,
        adc_bits: Some(detector.readout.adc_bits),
    };
    Extractor::new(detector.nominal_calibration()?, readout, parameters)
}

/// Measures as `settings` ask, on the CPU and, if there is one, on the GPU. `progress` is called with the next step.
///
/// # Errors
/// If a setting is out of range, or the GPU gives no device.
pub fn run(
    settings: Settings,
    adapter: Option<Adapter>,
    progress: &mut dyn FnMut(&str),
) -> Result<Report> {
    settings.validate()?;
    let mut report = Report {
        nuwave: env!("CARGO_PKG_VERSION"),
        commit: version::COMMIT.to_owned(),
        date_utc: machine::now_utc(),
        machine: machine::Machine::this(),
        adapter: adapter.as_ref().map(|adapter| adapter.info.clone()),
        limits: Limits::default(),
        clock_ns: cpu::clock_ns(),
        rows: Vec::new(),
        notes: Vec::new(),
        settings,
    };
    let settings = report.settings.clone();
    let pools = (thread_pool(1)?, thread_pool(settings.threads)?);
    let copy_bytes = if settings.quick {
        COPY_BYTES_SHORT
    } else {
        COPY_BYTES
    };
    progress("memory bandwidth");
    report.limits.host_copy_one_thread_gb_s = cpu::copy_gb_s(&pools.0, copy_bytes as usize, COPIES);
    report.limits.host_copy_gb_s = cpu::copy_gb_s(&pools.1, copy_bytes as usize, COPIES);
    if let Some(adapter) = &adapter {
        let measured = pools
            .1
            .install(|| bandwidth::measure(adapter, copy_bytes, COPIES))?;
        report.limits.gpu = Some(measured);
    }

    let extractor = || extractor(&settings.detector, settings.parameters);
    let gpu = adapter
        .map(|adapter| GpuExtractor::new(extractor()?, adapter, Options::default()))
        .transpose()?;
    let bench = Bench {
        cpu: extractor()?,
        pools,
        staged: gpu
            .as_ref()
            .filter(|_| settings.parameters.method == Method::Deconvolution)
            .map(StageByStage::new)
            .transpose()?,
        gpu: gpu.as_ref(),
        report,
    };
    bench.run(progress)
}

/// A running benchmark.
struct Bench<'a> {
    cpu: Extractor,
    /// One thread, all threads.
    pools: (rayon::ThreadPool, rayon::ThreadPool),
    gpu: Option<&'a GpuExtractor>,
    staged: Option<StageByStage<'a>>,
    report: Report,
}

/// The conditions of a row.
#[derive(Clone, Copy)]
struct Case {
    samples: usize,
    occupancy: Occupancy,
    batch: usize,
}

impl Bench<'_> {
    fn run(mut self, progress: &mut dyn FnMut(&str)) -> Result<Report> {
        let settings = self.report.settings.clone();
        for &samples in &settings.lengths {
            if self.gpu.is_some() && samples > MAX_GPU_SAMPLES {
                self.note(format!(
                    "waveforms of {samples} samples run on the CPU: the GPU takes up to {MAX_GPU_SAMPLES}"
                ));
            }
        }
        let smallest = settings.batches.iter().min().copied();
        if self.gpu.is_some() && settings.batches.iter().max().copied() != smallest {
            self.note(
                "the CPU is timed with the smallest batches: larger ones take it longer and give the same rate"
                    .to_owned(),
            );
        }
        let on_gpu: &[bool] = match self.gpu {
            None => &[false],
            // Once a software rasteriser has computed in this process, extraction by several threads has been seen to take
            // turns instead of running side by side.
            Some(gpu) if gpu.adapter().info.is_software() => &[false, true],
            // The GPU comes first, since the CPU takes most of the time.
            Some(_) => &[true, false],
        };
        for &on_gpu in on_gpu {
            for &samples in &settings.lengths {
                let detector = input::with_window(&settings.detector, samples)?;
                if on_gpu && samples > MAX_GPU_SAMPLES {
                    continue;
                }
                for &occupancy in &settings.mean_pe {
                    for &batch in &settings.batches {
                        if !on_gpu && self.gpu.is_some() && Some(batch) != smallest {
                            continue;
                        }
                        progress(&format!(
                            "{}: {samples} samples, mean PE {occupancy}, batches of {batch}",
                            if on_gpu { "gpu" } else { "cpu" }
                        ));
                        let case = Case {
                            samples,
                            occupancy,
                            batch,
                        };
                        let waveforms = self
                            .pools
                            .1
                            .install(|| input::batch(&detector, occupancy, batch, 0))?;
                        if on_gpu {
                            self.time_gpu(case, &waveforms)?;
                        } else {
                            self.time_cpu(case, &waveforms)?;
                        }
                    }
                }
            }
        }
        Ok(self.report)
    }

    fn time_cpu(&mut self, case: Case, waveforms: &Batch) -> Result<()> {
        let repetitions = self.report.settings.repetitions;
        let clock_ns = self.report.clock_ns;
        let mut measured = Vec::new();
        for (measurement, pool) in [
            (Measurement::CpuOneThread, &self.pools.0),
            (Measurement::CpuAllThreads, &self.pools.1),
        ] {
            // One thread is not measured twice.
            if measurement == Measurement::CpuAllThreads && self.report.settings.threads == 1 {
                continue;
            }
            let whole_s = cpu::whole_s(pool, &self.cpu, waveforms, repetitions)?;
            let stages = cpu::stages(pool, &self.cpu, waveforms, repetitions, clock_ns);
            measured.push((measurement, whole_s, stages));
        }
        for (measurement, whole_s, stages) in measured {
            let batch_ms = Quantiles::from_values(&whole_s).scaled(1e3);
            self.whole(measurement, case, &whole_s, batch_ms);
            self.stages(measurement, case, &stages);
        }
        Ok(())
    }

    fn time_gpu(&mut self, case: Case, waveforms: &Batch) -> Result<()> {
        let Some(gpu) = self.gpu else {
            return Ok(());
        };
        let settings = &self.report.settings;
        let (repetitions, quick) = (settings.repetitions, settings.quick);
        let is_software = gpu.adapter().info.is_software();
        let extent = if quick || is_software {
            gpu::Extent::SHORT
        } else {
            gpu::Extent::FULL
        };
        let before = gpu.report().unwrap_or_default();
        let one = gpu::one_batch(&self.pools.1, gpu, waveforms, repetitions)?;
        let stream = gpu::stream(&self.pools.1, gpu, waveforms, repetitions, extent)?;
        let after = gpu.report().unwrap_or_default();
        if let Some(reservation) = gpu::reservation(&before, &after) {
            self.note(format!(
                "{} samples, mean PE {}: {reservation}",
                case.samples, case.occupancy
            ));
        }
        if one.kernel_s.is_empty() {
            self.note("the adapter has no timestamps: its kernels cannot be timed".to_owned());
        } else {
            let kernel_ms = Quantiles::from_values(&one.kernel_s).scaled(1e3);
            self.whole(Measurement::GpuKernel, case, &one.kernel_s, kernel_ms);
        }
        let one_ms = Quantiles::from_values(&one.whole_s).scaled(1e3);
        self.whole(Measurement::GpuOneBatch, case, &one.whole_s, one_ms);
        let latency_ms = Quantiles::from_values(&stream.latency_s).scaled(1e3);
        self.whole(Measurement::GpuStream, case, &stream.batch_s, latency_ms);

        let Some(staged) = &mut self.staged else {
            return Ok(());
        };
        let most = if is_software {
            STAGED_WAVEFORMS_SOFTWARE
        } else {
            STAGED_WAVEFORMS
        };
        let mut some = Batch::new_u16(0);
        for waveform in waveforms.iter().take(most) {
            some.push(waveform);
        }
        let parts = gpu::stages(staged, &some, repetitions)?;
        self.stages(Measurement::GpuKernel, case, &parts);
        Ok(())
    }

    /// Adds the row of a whole extraction: `times_s` per batch in each repetition.
    fn whole(
        &mut self,
        measurement: Measurement,
        case: Case,
        times_s: &[f64],
        batch_ms: Quantiles,
    ) {
        let waveforms_s = Quantiles::from_rates(case.batch as f64, times_s);
        let input_gb_s = 2e-9 * case.samples as f64 * waveforms_s.median;
        let (limit, limit_gb_s) = self.report.limit_gb_s(measurement);
        self.report.rows.push(Row {
            measurement,
            stage: None,
            samples: case.samples,
            mean_pe: case.occupancy,
            batch: case.batch,
            waveforms_s,
            input_gb_s,
            limit: Some(limit),
            share_of_limit: limit_gb_s
                .filter(|&gb_s| gb_s > 0.0)
                .map(|gb_s| input_gb_s / gb_s),
            batch_ms,
        });
    }

    /// Adds the rows of the stages.
    fn stages(&mut self, measurement: Measurement, case: Case, parts: &[cpu::Part]) {
        for part in parts {
            let time_ns = Quantiles::from_values(&part.waveform_ns);
            // The minimum is due to the cost of the CPU's clock; kernels are timed by the device's.
            if measurement != Measurement::GpuKernel && time_ns.median < cpu::MIN_STAGE_NS {
                self.note(format!(
                    "a CPU stage without a number takes less than {} ns per waveform",
                    cpu::MIN_STAGE_NS
                ));
                continue;
            }
            let times_s: Vec<f64> = part.waveform_ns.iter().map(|ns| 1e-9 * ns).collect();
            let waveforms_s = Quantiles::from_rates(1.0, &times_s);
            self.report.rows.push(Row {
                measurement,
                stage: Some(part.name),
                samples: case.samples,
                mean_pe: case.occupancy,
                batch: case.batch,
                waveforms_s,
                input_gb_s: 2e-9 * case.samples as f64 * waveforms_s.median,
                // The bandwidth for raw samples limits only the whole.
                limit: None,
                share_of_limit: None,
                batch_ms: time_ns.scaled(1e-6 * case.batch as f64),
            });
        }
    }

    fn note(&mut self, note: String) {
        if !self.report.notes.contains(&note) {
            self.report.notes.push(note);
        }
    }
}
