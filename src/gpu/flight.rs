//! Chunks on their way to the device and back, the batches they belong to, and the account of what became of them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use super::adapter::Adapter;
use super::device::Device;
use super::failure::Failure;
use super::route::{Chunk, Reason, Router};
use super::slot::{Returned, Slot};
use super::tables::{DeviceTables, Tables};
use crate::extract::{BackendReport, Retry};
use crate::model::{Batch, Extracted};

/// Where a chunk is.
pub enum Way {
    /// On the device, in this slot.
    Device(Box<Slot>),
    /// Nowhere: it has nothing that the kernels take, only what the CPU does beside them.
    Beside,
    /// Left to the CPU, all of it.
    Cpu,
}

/// A chunk on its way.
pub struct Flight {
    /// Number of its batch.
    pub batch: u64,
    /// Its waveforms.
    pub chunk: Chunk,
    /// Where it is.
    pub way: Way,
    /// How often a device failed under it.
    pub tries: u32,
    /// The first of those failures.
    pub failure: Option<Failure>,
}

/// A batch that waits for its chunks.
pub struct Waiting<'a> {
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

/// The batch of a flight.
pub fn batch_of<'a>(waiting: &'a VecDeque<Waiting<'_>>, flight: &Flight) -> Option<&'a Batch> {
    waiting
        .iter()
        .find(|one| one.number == flight.batch)
        .map(|one| one.batch.as_ref())
}

/// A device with the ring on it.
pub struct Session {
    /// The device.
    pub device: Device,
    /// The tables, once there are any.
    pub tables: Option<DeviceTables>,
    /// Slots without a chunk.
    pub free: Vec<Slot>,
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
    pub tables: Tables,
    /// What is known of which waveforms go where.
    pub router: Router,
    /// The device, unless it was given up.
    pub session: Option<Session>,
    /// What there is to report.
    pub report: BackendReport,
    /// Devices that failed without a chunk in between.
    pub failures_in_a_row: u32,
}

impl State {
    /// Notes a chunk that came back from the device.
    pub fn note_done(&mut self, flight: &Flight, batch: &Batch, returned: &Returned) {
        let outgrown = returned.outgrown();
        self.report.on_gpu += flight.chunk.waveforms.len() as u64 - outgrown;
        if outgrown > 0 {
            self.note_reason(Reason::Crowded.name(), outgrown);
        }
        self.report.kernel_s += returned.kernel.unwrap_or_default().as_secs_f64();
        self.note_apart(flight);
        self.note_redone(flight, batch, "gpu");
    }

    /// Notes a chunk that the CPU had to do.
    pub fn note_cpu(&mut self, flight: &Flight, batch: &Batch) {
        let chunk = &flight.chunk;
        let lost = chunk.end - chunk.begin - chunk.on_cpu.len();
        self.note_reason("the GPU failed", lost as u64);
        self.note_apart(flight);
        self.note_redone(flight, batch, "cpu");
    }

    /// Notes what of a chunk was never the device's.
    fn note_apart(&mut self, flight: &Flight) {
        for (_, reason) in &flight.chunk.on_cpu {
            if *reason != Reason::Uncalibrated {
                self.note_reason(reason.name(), 1);
            }
        }
    }

    fn note_reason(&mut self, reason: &str, waveforms: u64) {
        *self.report.on_cpu.entry(reason.to_owned()).or_default() += waveforms;
    }

    fn note_redone(&mut self, flight: &Flight, batch: &Batch, on: &'static str) {
        let Some(failure) = &flight.failure else {
            return;
        };
        let begin = flight.chunk.begin;
        self.report.retries.push(Retry {
            input_id: batch.input_id(),
            first_event_id: batch.event_id().get(begin).copied().unwrap_or_default(),
            first_channel_id: batch.channel_id().get(begin).copied().unwrap_or_default(),
            waveforms: (flight.chunk.end - begin) as u64,
            reason: failure.to_string(),
            on: on.into(),
        });
    }
}
