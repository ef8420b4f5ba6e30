//! The GPU backend: keeps a few chunks of waveforms in flight on a device and passes their hits on in order. Chunks that a failing
//! device loses are extracted again: on a new device first, then on the CPU.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::adapter::Adapter;
use super::driver_threads::DriverCallGuard;
use super::failure::{Failure, Faults};
use super::kernels::shared_types::DispatchParameters;
use super::routing::Router;
use super::transfer::chunk::{Chunk, ChunkInput, ChunkResults};
use super::transfer::in_flight::{
    InFlightChunk, PendingBatch, Placement, Session, State, find_batch,
};
use super::transfer::merge_results::{extract_cpu_part, merge_results};
use crate::error::{Error, ErrorKind, Hint, Result};
use crate::extract::{Backend, BackendReport, Extractor};
use crate::model::{Batch, Extracted};

/// Chunks in flight: one is computed, the next is uploaded, the last is read back.
const RING_DEPTH: usize = 3;
/// Device failures without a finished chunk in between after which the GPU is given up.
const MAX_CONSECUTIVE_FAILURES: u32 = 3;
/// Device failures in all after which the GPU is given up.
const MAX_FAILURES: u64 = 16;
/// Attempts to extract a chunk on a device before it is left to the CPU.
const MAX_ATTEMPTS: u32 = 2;
/// Bytes of samples of a chunk at most.
const CHUNK_BYTES: u64 = 64 << 20;
/// The same in software, which cannot compute during an upload.
const CHUNK_BYTES_SOFTWARE: u64 = 8 << 20;
/// Waveforms of a chunk at most.
const CHUNK_WAVEFORMS: usize = 1 << 17;

/// Options of the backend.
#[derive(Debug)]
pub struct Options {
    /// Time after which a chunk counts as hung.
    pub time_limit: Duration,
    /// Waveforms per chunk at most; `None`: as many as the adapter's limits allow.
    pub chunk_waveforms: Option<usize>,
    /// Failures to bring about, for tests.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            time_limit: Duration::from_secs(30),
            chunk_waveforms: None,
            faults: Faults::default(),
        }
    }
}

/// The GPU backend. It has an extractor on the CPU too, for waveforms that the kernels do not take and for those that a failing GPU
/// leaves.
///
/// # Examples
/// ```no_run
/// use nuwave::extract::{Backend as _, Extractor};
/// use nuwave::gpu::{GpuExtractor, Options, adapter};
/// use nuwave::model::{Batch, Extracted};
///
/// fn on_gpu(cpu: Extractor, batch: &Batch) -> nuwave::Result<Extracted> {
///     // The first usable adapter; a name or an index chooses another one.
///     let adapter = adapter::find(None)?;
///     let gpu = GpuExtractor::new(cpu, adapter, Options::default())?;
///     gpu.extract(batch)
/// }
/// ```
pub struct GpuExtractor {
    cpu: Extractor,
    adapter: Adapter,
    options: Options,
    run: DispatchParameters,
    state: Mutex<State>,
    /// The last field to be dropped: the owner may be a thread that is not joined.
    _guard: DriverCallGuard,
}

impl GpuExtractor {
    /// Opens a device on `adapter`; `cpu` has the calibration and the parameters.
    ///
    /// # Errors
    /// If the adapter gives no device ([`ErrorKind::Gpu`]).
    pub fn new(cpu: Extractor, adapter: Adapter, options: Options) -> Result<Self> {
        let guard = DriverCallGuard::enter();
        let run = run_parameters(&cpu);
        let session = Session::open(&adapter, options.time_limit).map_err(|failure| {
            Error::new(
                ErrorKind::Gpu,
                format!("`{}` gives no device: {failure}", adapter.info.name),
            )
            .with_hint(Hint::UseCpu)
        })?;
        let state = State {
            router: Router::default(),
            session: Some(session),
            report: BackendReport {
                adapter: adapter.info.description(),
                ..BackendReport::default()
            },
            ..State::default()
        };
        Ok(Self {
            cpu,
            adapter,
            options,
            run,
            state: Mutex::new(state),
            _guard: guard,
        })
    }

    /// Returns the extractor on the CPU with the same calibration and parameters.
    #[must_use]
    pub fn cpu(&self) -> &Extractor {
        &self.cpu
    }

    /// Returns the adapter.
    #[must_use]
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // State left by a panicking thread is checked before it is used: slots by the health of their device.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the end of the chunk that begins at `begin`.
    fn chunk_end(&self, batch: &Batch, begin: usize) -> usize {
        let info = &self.adapter.info;
        let wanted = if info.is_software() {
            CHUNK_BYTES_SOFTWARE
        } else {
            CHUNK_BYTES
        };
        // Buffers are made in powers of two.
        let room = info.binding_bytes.min(info.buffer_bytes / 2).max(1);
        let max_words = wanted.min(1 << room.ilog2()) as usize / 4;
        let max_waveforms = self
            .options
            .chunk_waveforms
            .unwrap_or(CHUNK_WAVEFORMS)
            .clamp(1, CHUNK_WAVEFORMS);
        let mut words = 0;
        let mut end = begin;
        while end < batch.len() && end - begin < max_waveforms {
            words += (batch.offsets()[end + 1] - batch.offsets()[end]).div_ceil(2);
            if words > max_words && end > begin {
                break;
            }
            end += 1;
        }
        end
    }

    /// Submits a chunk to the device; without a device it is left to the CPU.
    fn launch(
        &self,
        state: &mut State,
        entry: &mut InFlightChunk,
        batch: &Batch,
    ) -> std::result::Result<(), Failure> {
        let slot = match std::mem::replace(&mut entry.placement, Placement::Cpu) {
            Placement::Device(slot) => Some(*slot),
            Placement::NoGpuWork | Placement::Cpu => None,
        };
        let Some(session) = &mut state.session else {
            return Ok(());
        };
        if entry.chunk.waveforms.is_empty() {
            entry.placement = Placement::NoGpuWork;
            return Ok(());
        }
        let tables = state.tables.upload(&session.device, &mut session.tables);
        session.device.health.check()?;
        let mut slot = slot.or_else(|| session.free.pop()).unwrap_or_default();
        let input = ChunkInput {
            batch,
            chunk: &entry.chunk,
            run: self.run,
            state: None,
        };
        slot.submit(&mut session.device, tables, &input, &mut || {
            self.options.faults.next_fault()
        })?;
        entry.placement = Placement::Device(Box::new(slot));
        Ok(())
    }

    /// Records a failure, opens a new device and submits everything in flight to it. Chunks that failed too often are left to the
    /// CPU, and all of them if no device can be opened.
    fn recover(
        &self,
        state: &mut State,
        in_flight: &mut VecDeque<InFlightChunk>,
        pending: &VecDeque<PendingBatch<'_>>,
        mut failure: Failure,
    ) {
        loop {
            warn!(
                "{}: {failure}; its waveforms are extracted again",
                self.adapter.info.name
            );
            state.report.device_failures += 1;
            state.consecutive_failures += 1;
            if let Some(session) = state.session.take() {
                // A driver that hangs may block the thread that drops the device.
                let guard = DriverCallGuard::enter();
                std::thread::spawn(move || {
                    let _guard = guard;
                    drop(session);
                });
            }
            for entry in in_flight.iter_mut() {
                if !matches!(entry.placement, Placement::NoGpuWork) {
                    entry.placement = Placement::Cpu;
                    entry.tries += 1;
                    entry.failure.get_or_insert(failure.clone());
                }
            }
            if state.consecutive_failures >= MAX_CONSECUTIVE_FAILURES
                || state.report.device_failures >= MAX_FAILURES
            {
                warn!(
                    "{}: given up after {} failures; the CPU continues",
                    self.adapter.info.name, state.report.device_failures
                );
                state.report.given_up = Some(failure.to_string());
                return;
            }
            let again = Session::open(&self.adapter, self.options.time_limit).and_then(|session| {
                state.session = Some(session);
                for entry in in_flight.iter_mut() {
                    if entry.tries < MAX_ATTEMPTS
                        && let Some(batch) = find_batch(pending, entry)
                    {
                        self.launch(state, entry, batch)?;
                    }
                }
                Ok(())
            });
            match again {
                Ok(()) => return,
                Err(next) => failure = next,
            }
        }
    }

    /// Returns the hits of the first chunk in flight; `None` if it was submitted once more.
    fn finish_first(
        &self,
        state: &mut State,
        in_flight: &mut VecDeque<InFlightChunk>,
        pending: &VecDeque<PendingBatch<'_>>,
    ) -> Result<Option<(u64, Extracted)>> {
        let Some(entry) = in_flight.front_mut() else {
            return Ok(None);
        };
        let number = entry.batch;
        let Some(batch) = find_batch(pending, entry) else {
            return Err(Error::internal("a chunk without its batch"));
        };
        if matches!(entry.placement, Placement::Cpu) {
            let mut part = self
                .cpu
                .extract_range(batch, entry.chunk.begin..entry.chunk.end);
            part.left_to_cpu = part.summaries.len();
            state.record_cpu(entry, batch);
            in_flight.pop_front();
            return Ok(Some((number, part)));
        }
        // While the GPU computes, the CPU extracts what the kernels do not take.
        let cpu_part = extract_cpu_part(&self.cpu, batch, &entry.chunk);
        let Placement::Device(slot) = &mut entry.placement else {
            let nothing = ChunkResults::default();
            let part = merge_results(&self.cpu, batch, &entry.chunk, &nothing, &cpu_part);
            state.record_done(entry, batch, &nothing);
            in_flight.pop_front();
            return Ok(Some((number, part)));
        };
        let Some(session) = &mut state.session else {
            return Err(Error::internal("a slot without a device"));
        };
        let fault = self.options.faults.next_fault();
        let read = slot.read(&session.device, self.options.time_limit, fault);
        match read {
            Ok(Some(results)) => {
                let part = merge_results(&self.cpu, batch, &entry.chunk, &results, &cpu_part);
                state.consecutive_failures = 0;
                state.record_done(entry, batch, &results);
                if let Some(InFlightChunk {
                    placement: Placement::Device(slot),
                    ..
                }) = in_flight.pop_front()
                    && let Some(session) = &mut state.session
                {
                    session.free.push(*slot);
                }
                Ok(Some((number, part)))
            }
            Ok(None) => {
                if let Err(failure) = self.launch(state, entry, batch) {
                    self.recover(state, in_flight, pending, failure);
                }
                Ok(None)
            }
            Err(failure) => {
                self.recover(state, in_flight, pending, failure);
                Ok(None)
            }
        }
    }
}

/// Returns the parameters that all dispatches share, except for `first`, `count` and `capacity`.
pub(super) fn run_parameters(cpu: &Extractor) -> DispatchParameters {
    let (lowest, highest) = cpu.rails();
    let parameters = cpu.parameters();
    DispatchParameters {
        // The low rail itself counts as saturated; without a resolution there are no rails.
        rail_low: if lowest.is_finite() {
            lowest as u32 + 1
        } else {
            0
        },
        rail_high: if highest.is_finite() {
            highest as u32
        } else {
            u32::MAX
        },
        threshold_sigma: parameters.threshold_sigma,
        split_sigma: parameters.split_sigma,
        sign: cpu.readout().polarity.sign(),
        least_noise_adc: cpu.least_noise_adc(),
        ..DispatchParameters::default()
    }
}

impl Backend for GpuExtractor {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn cpu(&self) -> &Extractor {
        &self.cpu
    }

    fn extract(&self, batch: &Batch) -> Result<Extracted> {
        let mut all = Extracted::default();
        let mut once = std::iter::once(Cow::Borrowed(batch));
        self.stream(&mut once, &mut |_, extracted| {
            all = extracted;
            Ok(true)
        })?;
        Ok(all)
    }

    fn run(
        &self,
        batches: &mut dyn Iterator<Item = Batch>,
        emit: &mut dyn FnMut(Batch, Extracted) -> Result<bool>,
    ) -> Result<()> {
        self.stream(&mut batches.map(Cow::Owned), &mut |batch, extracted| {
            emit(batch.into_owned(), extracted)
        })
    }

    fn report(&self) -> Option<BackendReport> {
        Some(self.state().report.clone())
    }
}

impl GpuExtractor {
    /// Extracts batches, owned or borrowed, and passes each with its hits to `emit`, in order, until that returns `false`.
    fn stream<'a>(
        &self,
        batches: &mut dyn Iterator<Item = Cow<'a, Batch>>,
        emit: &mut dyn FnMut(Cow<'a, Batch>, Extracted) -> Result<bool>,
    ) -> Result<()> {
        let state = &mut *self.state();
        let mut pending: VecDeque<PendingBatch<'a>> = VecDeque::new();
        let mut in_flight: VecDeque<InFlightChunk> = VecDeque::new();
        let mut more = true;
        let mut number = 0;
        loop {
            while in_flight.len() < RING_DEPTH && more {
                if pending.back().is_none_or(|one| one.next >= one.batch.len()) {
                    let Some(batch) = batches.next() else {
                        more = false;
                        break;
                    };
                    number += 1;
                    pending.push_back(PendingBatch {
                        number,
                        batch,
                        next: 0,
                        parts: Vec::new(),
                        done: 0,
                    });
                }
                self.start_next(state, &mut in_flight, &mut pending);
            }
            if let Some((of, part)) = self.finish_first(state, &mut in_flight, &pending)?
                && let Some(one) = pending.iter_mut().find(|one| one.number == of)
            {
                one.done += part.summaries.len();
                one.parts.push(part);
            }
            while pending
                .front()
                .is_some_and(|one| one.done == one.batch.len())
            {
                let Some(one) = pending.pop_front() else {
                    break;
                };
                if !emit(one.batch, Extracted::joined(one.parts))? {
                    return Ok(());
                }
            }
            if in_flight.is_empty() && !more {
                return Ok(());
            }
        }
    }

    /// Starts the next chunk of the last batch.
    fn start_next(
        &self,
        state: &mut State,
        in_flight: &mut VecDeque<InFlightChunk>,
        pending: &mut VecDeque<PendingBatch<'_>>,
    ) {
        let Some(last) = pending.back_mut() else {
            return;
        };
        let (begin, end) = (last.next, self.chunk_end(&last.batch, last.next));
        last.next = end;
        if begin == end {
            return;
        }
        let chunk = match &state.session {
            Some(session) => state.router.route(
                &self.cpu,
                &mut state.tables,
                &session.device,
                &last.batch,
                begin,
                end,
            ),
            None => Chunk {
                begin,
                end,
                ..Chunk::default()
            },
        };
        let mut entry = InFlightChunk {
            batch: last.number,
            chunk,
            placement: Placement::Cpu,
            tries: 0,
            failure: None,
        };
        let launched = self.launch(state, &mut entry, &last.batch);
        in_flight.push_back(entry);
        if let Err(failure) = launched {
            self.recover(state, in_flight, pending, failure);
        }
    }
}
