//! The chunks in flight, the batches that they are parts of, and the report of what happened to them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use super::chunk::{Chunk, ChunkResults, CpuReason};
use super::ring_slot::RingSlot;
use crate::extract::{BackendReport, Retry};
use crate::gpu::adapter::Adapter;
use crate::gpu::device::Device;
use crate::gpu::failure::Failure;
use crate::gpu::routing::Router;
use crate::gpu::template_tables::{DeviceTables, TemplateTables};
use crate::model::{Batch, Extracted};

/// Where a chunk is.
pub enum Placement {
    /// On the device, in this slot.
    Device(Box<RingSlot>),
    /// On the CPU, because the kernels take none of its waveforms.
    NoGpuWork,
    /// On the CPU, all of it: the device failed.
    Cpu,
}

/// A chunk that was started and whose hits have not been handed on.
pub struct InFlightChunk {
    /// Number of its batch in the stream.
    pub batch: u64,
    /// Its waveforms.
    pub chunk: Chunk,
    /// Where it is.
    pub placement: Placement,
    /// Number of device failures while it was on the device.
    pub tries: u32,
    /// The first of those failures.
    pub failure: Option<Failure>,
}

/// A batch some of whose chunks are not finished.
pub struct PendingBatch<'a> {
    /// Its number in the stream.
    pub number: u64,
    /// The batch.
    pub batch: Cow<'a, Batch>,
    /// Index of the first waveform of its next chunk.
    pub next: usize,
    /// The results so far, in order.
    pub parts: Vec<Extracted>,
    /// Number of waveforms in them.
    pub done: usize,
}

/// Returns the batch of a chunk.
pub fn find_batch<'a>(
    pending: &'a VecDeque<PendingBatch<'_>>,
    entry: &InFlightChunk,
) -> Option<&'a Batch> {
    pending
        .iter()
        .find(|one| one.number == entry.batch)
        .map(|one| one.batch.as_ref())
}

/// A device with its ring of slots.
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

/// The part of the backend that changes during a run.
#[derive(Default)]
pub struct State {
    /// The tables on the host.
    pub tables: TemplateTables,
    /// The routes that are known.
    pub router: Router,
    /// The device; `None` after it was given up.
    pub session: Option<Session>,
    /// The report so far.
    pub report: BackendReport,
    /// Number of device failures since the last chunk that succeeded.
    pub consecutive_failures: u32,
}

impl State {
    /// Records a chunk that the device extracted.
    pub fn record_done(&mut self, entry: &InFlightChunk, batch: &Batch, results: &ChunkResults) {
        self.report.on_gpu += entry.chunk.waveforms.len() as u64;
        for (reason, count) in results.left_to_cpu() {
            if count > 0 {
                self.report.on_gpu -= count;
                self.record_cpu_reason(reason.name(), count);
            }
        }
        self.report.kernel_s += results.kernel.unwrap_or_default().as_secs_f64();
        self.record_cpu_reasons(entry);
        self.record_retry(entry, batch, "gpu");
    }

    /// Records a chunk that was left to the CPU.
    pub fn record_cpu(&mut self, entry: &InFlightChunk, batch: &Batch) {
        let chunk = &entry.chunk;
        let lost = chunk.end - chunk.begin - chunk.on_cpu.len();
        self.record_cpu_reason("the GPU failed", lost as u64);
        self.record_cpu_reasons(entry);
        self.record_retry(entry, batch, "cpu");
    }

    /// Records the waveforms of a chunk that the kernels do not take.
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
