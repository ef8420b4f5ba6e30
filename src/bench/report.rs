//! The results of a benchmark: one row per measurement, with all its conditions.

use serde::Serialize;

use super::Settings;
use super::input::Occupancy;
use super::machine::Machine;
use super::quantiles::Quantiles;
use crate::gpu::adapter::AdapterInfo;
use crate::gpu::bandwidth::Bandwidth;

/// A kind of measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measurement {
    /// The CPU with one thread.
    CpuOneThread,
    /// The CPU with all threads it was given.
    CpuAllThreads,
    /// The GPU's kernels, extraction and compaction, samples and hits in device memory.
    GpuKernel,
    /// One batch from host memory to hits in host memory, the next one begun when it is back.
    GpuOneBatch,
    /// Many batches from host memory to hits in host memory, several in flight.
    GpuStream,
}

impl Measurement {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 5] = [
        Self::CpuOneThread,
        Self::CpuAllThreads,
        Self::GpuKernel,
        Self::GpuOneBatch,
        Self::GpuStream,
    ];

    /// As a person reads it.
    #[must_use]
    pub fn label(self, threads: usize) -> String {
        match self {
            Self::CpuOneThread => "CPU, 1 thread".to_owned(),
            Self::CpuAllThreads => format!("CPU, {threads} threads"),
            Self::GpuKernel => "GPU, kernel alone".to_owned(),
            Self::GpuOneBatch => "GPU, one batch with transfers".to_owned(),
            Self::GpuStream => "GPU, end to end".to_owned(),
        }
    }
}

/// A measured rate that limits a measurement: the samples are transferred there at least once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Copies within host memory, by one thread or by all threads like the measurement itself.
    HostCopy,
    /// Copies from the host to the device.
    HostToDevice,
    /// Copies within device memory.
    DeviceCopy,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The kind of measurement.
    pub measurement: Measurement,
    /// The stage; `null` for the whole.
    pub stage: Option<&'static str>,
    /// Samples per waveform.
    pub samples: usize,
    /// Light of the waveforms.
    pub mean_pe: Occupancy,
    /// Waveforms per batch.
    pub batch: usize,
    /// Waveforms per second.
    pub waveforms_s: Quantiles,
    /// Raw samples, two bytes each, at the median rate.
    pub input_gb_s: f64,
    /// The limit that the samples' rate is compared with.
    pub limit: Option<Limit>,
    /// The share.
    pub share_of_limit: Option<f64>,
    /// Time per batch; for a stream, from submitting a batch to receiving its hits.
    pub batch_ms: Quantiles,
}

/// Measured limits, in GB/s (10^9 bytes per second).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Limits {
    /// Copies within the host's memory by one thread, bytes read and bytes written both counted.
    pub host_copy_one_thread_gb_s: f64,
    /// The same by all threads.
    pub host_copy_gb_s: f64,
    /// The GPU's.
    pub gpu: Option<Bandwidth>,
}

/// The report of a benchmark.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// nuwave's version.
    pub nuwave: &'static str,
    /// The commit that nuwave was built from.
    pub commit: String,
    /// Start of the benchmark.
    pub date_utc: String,
    /// The machine.
    pub machine: Machine,
    /// The GPU, where one took part.
    pub adapter: Option<AdapterInfo>,
    /// Measured limits.
    pub limits: Limits,
    /// The settings.
    pub settings: Settings,
    /// Cost of one reading of the clock; subtracted from the CPU's stages.
    pub clock_ns: f64,
    /// The results.
    pub rows: Vec<Row>,
    /// Notes on the results.
    pub notes: Vec<String>,
}

impl Report {
    /// Returns the lengths and batch sizes of the rows, in their order.
    #[must_use]
    pub fn shapes(&self) -> Vec<(usize, usize)> {
        let mut shapes = Vec::new();
        for row in &self.rows {
            if !shapes.contains(&(row.samples, row.batch)) {
                shapes.push((row.samples, row.batch));
            }
        }
        shapes
    }

    /// Returns the rows with a length and a batch size.
    pub fn of_shape(&self, (samples, batch): (usize, usize)) -> impl Iterator<Item = &Row> {
        self.rows
            .iter()
            .filter(move |row| (row.samples, row.batch) == (samples, batch))
    }

    /// Returns the limit of a measurement and its rate.
    #[must_use]
    pub fn limit_gb_s(&self, measurement: Measurement) -> (Limit, Option<f64>) {
        let limits = &self.limits;
        match measurement {
            Measurement::CpuOneThread => (Limit::HostCopy, Some(limits.host_copy_one_thread_gb_s)),
            Measurement::CpuAllThreads => (Limit::HostCopy, Some(limits.host_copy_gb_s)),
            Measurement::GpuKernel => (Limit::DeviceCopy, limits.gpu.map(|gpu| gpu.device_gb_s)),
            Measurement::GpuOneBatch | Measurement::GpuStream => {
                (Limit::HostToDevice, limits.gpu.map(|gpu| gpu.upload_gb_s))
            }
        }
    }
}
