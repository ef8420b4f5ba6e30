//! The GPU backend: keeps a few chunks of waveforms in flight on a device, hands their hits on in order, and does again
//! what a failing device loses: on a new device, then on the CPU.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::adapter::Adapter;
use super::failure::{Failure, Faults};
use super::flight::{Flight, Session, State, Waiting, Way, batch_of};
use super::driver_threads::DriverCallGuard;
use super::layout::Run;
use super::route::{Chunk, Router};
use super::slot::{Returned, Work};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::{Backend, BackendReport, Extractor};
use crate::model::{Batch, Extracted};

/// Chunks in flight: one computes, the next goes up, the last comes back.
const DEPTH: usize = 3;
/// Devices that may fail one after the other without a chunk in between before the GPU is given up.
const MOST_FAILURES_IN_A_ROW: u32 = 3;
/// Devices that may fail in all.
const MOST_FAILURES: u64 = 16;
/// How often a chunk is tried on a device before the CPU takes it.
const MOST_TRIES: u32 = 2;
/// Most bytes of samples of a chunk, and most waveforms; a software rasteriser has nothing to hide behind a long upload.
const CHUNK_BYTES: u64 = 64 << 20;
const CHUNK_BYTES_SOFTWARE: u64 = 8 << 20;
const CHUNK_WAVEFORMS: usize = 1 << 17;

/// How the backend is run.
#[derive(Debug)]
pub struct Options {
    /// Time after which a chunk counts as hung.
    pub time_limit: Duration,
    /// Most waveforms of a chunk; `None`: as many as the adapter's limits allow.
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

/// The backend. It holds the CPU's extractor as well: for what the kernels do not take, and for what a failing GPU leaves.
pub struct GpuExtractor {
    cpu: Extractor,
    adapter: Adapter,
    options: Options,
    run: Run,
    state: Mutex<State>,
    /// Held to the last: a thread that nobody waits for may be the owner.
    _guard: DriverCallGuard,
}

impl GpuExtractor {
    /// Opens a device on `adapter`; `cpu` has the calibration and the parameters.
    ///
    /// # Errors
    /// If the adapter gives no device ([`ErrorKind::Gpu`]).
    pub fn new(cpu: Extractor, adapter: Adapter, options: Options) -> Result<Self> {
        let guard = DriverCallGuard::enter();
        let run = run_of(&cpu);
        let session = Session::open(&adapter, options.time_limit).map_err(|failure| {
            Error::new(
                ErrorKind::Gpu,
                format!("`{}` gives no device: {failure}", adapter.facts.name),
            )
            .with_hint("`--backend cpu` gives the same hits without a GPU")
        })?;
        let state = State {
            router: Router::default(),
            session: Some(session),
            report: BackendReport {
                adapter: adapter.facts.line(),
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

    /// The CPU's extractor with the same calibration and parameters.
    #[must_use]
    pub fn cpu(&self) -> &Extractor {
        &self.cpu
    }

    /// The adapter.
    #[must_use]
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panicking thread left behind is checked before it is used: slots by their device's health.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Most waveforms of the chunk that begins at `begin`.
    fn chunk_end(&self, batch: &Batch, begin: usize) -> usize {
        let facts = &self.adapter.facts;
        let wanted = if facts.is_software() {
            CHUNK_BYTES_SOFTWARE
        } else {
            CHUNK_BYTES
        };
        // Buffers are made in powers of two.
        let room = facts.binding_bytes.min(facts.buffer_bytes / 2).max(1);
        let most_words = wanted.min(1 << room.ilog2()) as usize / 4;
        let most = self
            .options
            .chunk_waveforms
            .unwrap_or(CHUNK_WAVEFORMS)
            .clamp(1, CHUNK_WAVEFORMS);
        let mut words = 0;
        let mut end = begin;
        while end < batch.len() && end - begin < most {
            words += (batch.offsets()[end + 1] - batch.offsets()[end]).div_ceil(2);
            if words > most_words && end > begin {
                break;
            }
            end += 1;
        }
        end
    }

    /// Sends a chunk to the device; if there is none any more, it is the CPU's.
    fn launch(
        &self,
        state: &mut State,
        flight: &mut Flight,
        batch: &Batch,
    ) -> std::result::Result<(), Failure> {
        let slot = match std::mem::replace(&mut flight.way, Way::Cpu) {
            Way::Device(slot) => Some(*slot),
            Way::Beside | Way::Cpu => None,
        };
        let Some(session) = &mut state.session else {
            return Ok(());
        };
        if flight.chunk.waveforms.is_empty() {
            flight.way = Way::Beside;
            return Ok(());
        }
        let tables = state.tables.upload(&session.device, &mut session.tables);
        session.device.health.check()?;
        let mut slot = slot.or_else(|| session.free.pop()).unwrap_or_default();
        let work = Work {
            batch,
            chunk: &flight.chunk,
            run: self.run,
            state: None,
        };
        slot.submit(&mut session.device, tables, &work, &mut || {
            self.options.faults.at_next_step()
        })?;
        flight.way = Way::Device(Box::new(slot));
        Ok(())
    }

    /// Notes a failure, opens a new device and sends everything in flight there; what has failed too often, and everything
    /// if there is no device to be had, is left to the CPU.
    fn recover(
        &self,
        state: &mut State,
        flights: &mut VecDeque<Flight>,
        waiting: &VecDeque<Waiting<'_>>,
        mut failure: Failure,
    ) {
        loop {
            warn!(
                "{}: {failure}; its work is done again",
                self.adapter.facts.name
            );
            state.report.device_failures += 1;
            state.failures_in_a_row += 1;
            if let Some(session) = state.session.take() {
                // A driver that hangs may keep whoever lets go of its device.
                let guard = DriverCallGuard::enter();
                std::thread::spawn(move || {
                    let _guard = guard;
                    drop(session);
                });
            }
            for flight in flights.iter_mut() {
                if !matches!(flight.way, Way::Beside) {
                    flight.way = Way::Cpu;
                    flight.tries += 1;
                    flight.failure.get_or_insert(failure.clone());
                }
            }
            if state.failures_in_a_row >= MOST_FAILURES_IN_A_ROW
                || state.report.device_failures >= MOST_FAILURES
            {
                warn!(
                    "{}: given up after {} failures; the CPU goes on",
                    self.adapter.facts.name, state.report.device_failures
                );
                state.report.given_up = Some(failure.to_string());
                return;
            }
            let again = Session::open(&self.adapter, self.options.time_limit).and_then(|session| {
                state.session = Some(session);
                for flight in flights.iter_mut() {
                    if flight.tries < MOST_TRIES
                        && let Some(batch) = batch_of(waiting, flight)
                    {
                        self.launch(state, flight, batch)?;
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

    /// The hits of the chunk that is first in flight; `None` if it has to be waited for once more.
    fn land(
        &self,
        state: &mut State,
        flights: &mut VecDeque<Flight>,
        waiting: &VecDeque<Waiting<'_>>,
    ) -> Result<Option<(u64, Extracted)>> {
        let Some(flight) = flights.front_mut() else {
            return Ok(None);
        };
        let number = flight.batch;
        let Some(batch) = batch_of(waiting, flight) else {
            return Err(Error::internal("a chunk without its batch"));
        };
        if matches!(flight.way, Way::Cpu) {
            let mut part = self
                .cpu
                .extract_range(batch, flight.chunk.begin..flight.chunk.end);
            part.left_to_cpu = part.summaries.len();
            state.note_cpu(flight, batch);
            flights.pop_front();
            return Ok(Some((number, part)));
        }
        // While the GPU works, the CPU does what the kernels do not take.
        let apart = self.apart(batch, &flight.chunk);
        let Way::Device(slot) = &mut flight.way else {
            let nothing = Returned::default();
            let part = self.assemble(batch, &flight.chunk, &nothing, &apart);
            state.note_done(flight, batch, &nothing);
            flights.pop_front();
            return Ok(Some((number, part)));
        };
        let Some(session) = &mut state.session else {
            return Err(Error::internal("a slot without a device"));
        };
        let fault = self.options.faults.at_next_step();
        let read = slot.read(&session.device, self.options.time_limit, fault);
        match read {
            Ok(Some(returned)) => {
                let part = self.assemble(batch, &flight.chunk, &returned, &apart);
                state.failures_in_a_row = 0;
                state.note_done(flight, batch, &returned);
                if let Some(Flight {
                    way: Way::Device(slot),
                    ..
                }) = flights.pop_front()
                    && let Some(session) = &mut state.session
                {
                    session.free.push(*slot);
                }
                Ok(Some((number, part)))
            }
            Ok(None) => {
                if let Err(failure) = self.launch(state, flight, batch) {
                    self.recover(state, flights, waiting, failure);
                }
                Ok(None)
            }
            Err(failure) => {
                self.recover(state, flights, waiting, failure);
                Ok(None)
            }
        }
    }
}

/// What all dispatches with `cpu`'s parameters share.
pub(super) fn run_of(cpu: &Extractor) -> Run {
    let (lowest, highest) = cpu.rails();
    let parameters = cpu.parameters();
    Run {
        // Counts up to and including the low rail are at it; without a resolution there are no rails.
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
        ..Run::default()
    }
}

impl Backend for GpuExtractor {
    fn name(&self) -> &'static str {
        "gpu"
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
    /// Extracts batches, owned or borrowed, and hands each on with its hits, in order, until `emit` says `false`.
    fn stream<'a>(
        &self,
        batches: &mut dyn Iterator<Item = Cow<'a, Batch>>,
        emit: &mut dyn FnMut(Cow<'a, Batch>, Extracted) -> Result<bool>,
    ) -> Result<()> {
        let state = &mut *self.state();
        let mut waiting: VecDeque<Waiting<'a>> = VecDeque::new();
        let mut flights: VecDeque<Flight> = VecDeque::new();
        let mut more = true;
        let mut number = 0;
        loop {
            while flights.len() < DEPTH && more {
                if waiting.back().is_none_or(|one| one.next >= one.batch.len()) {
                    let Some(batch) = batches.next() else {
                        more = false;
                        break;
                    };
                    number += 1;
                    waiting.push_back(Waiting {
                        number,
                        batch,
                        next: 0,
                        parts: Vec::new(),
                        done: 0,
                    });
                }
                self.start_next(state, &mut flights, &mut waiting);
            }
            if let Some((of, part)) = self.land(state, &mut flights, &waiting)?
                && let Some(one) = waiting.iter_mut().find(|one| one.number == of)
            {
                one.done += part.summaries.len();
                one.parts.push(part);
            }
            while waiting
                .front()
                .is_some_and(|one| one.done == one.batch.len())
            {
                let Some(one) = waiting.pop_front() else {
                    break;
                };
                if !emit(one.batch, Extracted::joined(one.parts))? {
                    return Ok(());
                }
            }
            if flights.is_empty() && !more {
                return Ok(());
            }
        }
    }

    /// Starts the next chunk of the last batch.
    fn start_next(
        &self,
        state: &mut State,
        flights: &mut VecDeque<Flight>,
        waiting: &mut VecDeque<Waiting<'_>>,
    ) {
        let Some(last) = waiting.back_mut() else {
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
        let mut flight = Flight {
            batch: last.number,
            chunk,
            way: Way::Cpu,
            tries: 0,
            failure: None,
        };
        let launched = self.launch(state, &mut flight, &last.batch);
        flights.push_back(flight);
        if let Err(failure) = launched {
            self.recover(state, flights, waiting, failure);
        }
    }
}
