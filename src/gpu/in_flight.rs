//! Chunks on their way to the device and back, the batches they belong to, and the account of what became of them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use super::adapter::Adapter;
use super::device::Device;
use super::failure::Failure;
use super::ring_slot::{ChunkResults, RingSlot};
use super::routing::{Chunk, CpuReason, Router};
use super::template_tables::{DeviceTables, TemplateTables};
use crate::extract::{BackendReport, Retry};
use crate::model::{Batch, Extracted};

/// Where a chunk is.
pub enum Placement {
    /// On the device, in this slot.
    Device(Box<RingSlot>),
    /// Nowhere: it has nothing that the kernels take, only what the CPU does beside them.
    NoGpuWork,
    /// Left to the CPU, all of it.
    Cpu,
}

/// A chunk on its way.
pub struct InFlightChunk {
    /// Number of its batch.
    pub batch: u64,
    /// Its waveforms.
    pub chunk: Chunk,
    /// Where it is.
    pub placement: Placement,
    /// How often a device failed under it.
    pub tries: u32,
    /// The first of those failures.
    pub failure: Option<Failure>,
}

/// A batch that waits for its chunks.
pub struct PendingBatch<'a> {
    /// Its number in the stream.
    pub number: u64,
    /// The batch.
    pub batch: Cow<'a, Batch>,
    /// Where its next chunk begins.
    pub next: usize,
    /// What came back so far, in order.
    pub parts: Vec<Extracted>,
    /// Waveforms in them.
    pub done: usize,
}

/// The batch of a chunk.
pub fn find_batch<'a>(
    pending: &'a VecDeque<PendingBatch<'_>>,
    entry: &InFlightChunk,
) -> Option<&'a Batch> {
    pending
        .iter()
        .find(|one| one.number == entry.batch)
        .map(|one| one.batch.as_ref())
}

/// A device with the ring on it.
pub struct Session {
    /// The device.
    pub device: Device,
    /// The tables, once there are any.
    pub tables: Option<DeviceTables>,
    /// Slots without a chunk.
    pub free: Vec<RingSlot>,
}

impl Session {
    /// Opens a device on `adapter`.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn open(adapter: &Adapter, time_limit: Duration) -> Result<Self, Failure> {
        Ok(Self {
            device: Device::open(adapter, time_limit)?,
            tables: None,
            free: Vec::new(),
        })
    }
}

/// What changes as work goes on.
#[derive(Default)]
pub struct State {
    /// The tables on the host.
    pub tables: TemplateTables,
    /// What is known of which waveforms go where.
    pub router: Router,
    /// The device, unless it was given up.
    pub session: Option<Session>,
    /// What there is to report.
    pub report: BackendReport,
    /// Devices that failed without a chunk in between.
    pub consecutive_failures: u32,
}

impl State {
    /// Notes a chunk that came back from the device.
    pub fn record_done(&mut self, entry: &InFlightChunk, batch: &Batch, results: &ChunkResults) {
        let n_left_to_cpu = results.n_left_to_cpu();
        self.report.on_gpu += entry.chunk.waveforms.len() as u64 - n_left_to_cpu;
        if n_left_to_cpu > 0 {
            self.record_cpu_reason(CpuReason::TooManyPulses.name(), n_left_to_cpu);
        }
        self.report.kernel_s += results.kernel.unwrap_or_default().as_secs_f64();
        self.record_cpu_reasons(entry);
        self.record_retry(entry, batch, "gpu");
    }

    /// Notes a chunk that the CPU had to do.
    pub fn record_cpu(&mut self, entry: &InFlightChunk, batch: &Batch) {
        let chunk = &entry.chunk;
        let lost = chunk.end - chunk.begin - chunk.on_cpu.len();
        self.record_cpu_reason("the GPU failed", lost as u64);
        self.record_cpu_reasons(entry);
        self.record_retry(entry, batch, "cpu");
    }

    /// Notes what of a chunk was never the device's.
    fn record_cpu_reasons(&mut self, entry: &InFlightChunk) {
        for (_, reason) in &entry.chunk.on_cpu {
            if *reason != CpuReason::Uncalibrated {
                self.record_cpu_reason(reason.name(), 1);
            }
        }
    }

    fn record_cpu_reason(&mut self, reason: &str, waveforms: u64) {
        *self.report.on_cpu.entry(reason.to_owned()).or_default() += waveforms;
    }

    fn record_retry(&mut self, entry: &InFlightChunk, batch: &Batch, on: &'static str) {
        let Some(failure) = &entry.failure else {
            return;
        };
        let begin = entry.chunk.begin;
        self.report.retries.push(Retry {
            input_id: batch.input_id(),
            first_event_id: batch.event_id().get(begin).copied().unwrap_or_default(),
            first_channel_id: batch.channel_id().get(begin).copied().unwrap_or_default(),
            waveforms: (entry.chunk.end - begin) as u64,
            reason: failure.to_string(),
            on: on.into(),
        });
    }
}
