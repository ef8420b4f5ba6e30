//! The GPU backend: keeps a few chunks of waveforms in flight on a device, hands their hits on in order, and does again
//! what a failing device loses: on a new device, then on the CPU.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::adapter::Adapter;
use super::assemble::joined;
use super::device::Device;
use super::failure::{Failure, Fault, Faults};
use super::layout::Run;
use super::route::{Chunk, Reason, Router};
use super::slot::{Returned, Slot, Work};
use super::tables::{DeviceTables, Tables};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::{Account, Backend, Extractor, Redone};
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
}

/// What changes as work goes on.
#[derive(Default)]
struct State {
    tables: Tables,
    router: Router,
    session: Option<Session>,
    account: Account,
    failures_in_a_row: u32,
}

/// A device with the ring on it.
struct Session {
    device: Device,
    tables: Option<DeviceTables>,
    free: Vec<Slot>,
}

/// A chunk on its way. Without a slot it is the CPU's.
struct Flight {
    /// Number of its batch.
    batch: u64,
    chunk: Chunk,
    slot: Option<Slot>,
    tries: u32,
    /// What it was lost to.
    failure: Option<Failure>,
}

/// A batch that waits for its chunks.
struct Waiting {
    number: u64,
    batch: Batch,
    /// Where its next chunk begins.
    next: usize,
    parts: Vec<Extracted>,
    done: usize,
}

impl GpuExtractor {
    /// Opens a device on `adapter`; `cpu` has the calibration and the parameters.
    ///
    /// # Errors
    /// If the adapter gives no device ([`ErrorKind::Gpu`]).
    pub fn new(cpu: Extractor, adapter: Adapter, options: Options) -> Result<Self> {
        let run = run_of(&cpu);
        let session = Session::open(&adapter, options.time_limit).map_err(|failure| {
            Error::new(
                ErrorKind::Gpu,
                format!("`{}` gives no device: {failure}", adapter.facts.name),
            )
            .with_hint("`--backend cpu` gives the same hits without a GPU")
        })?;
        let state = State {
            session: Some(session),
            account: Account {
                adapter: adapter.facts.line(),
                ..Account::default()
            },
            ..State::default()
        };
        Ok(Self {
            cpu,
            adapter,
            options,
            run,
            state: Mutex::new(state),
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

    /// Steps so far, of those at which [`Faults`] can make something fail.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.options.faults.steps()
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

    /// Sends a chunk to the device, and to the CPU if there is none any more.
    fn launch(
        &self,
        state: &mut State,
        flight: &mut Flight,
        batch: &Batch,
    ) -> std::result::Result<(), Failure> {
        let Some(session) = &mut state.session else {
            return Ok(());
        };
        if flight.chunk.waveforms.is_empty() {
            return Ok(());
        }
        state.tables.upload(&session.device, &mut session.tables);
        session.device.health.check()?;
        let Some(tables) = &session.tables else {
            return Ok(());
        };
        let mut slot = flight
            .slot
            .take()
            .or_else(|| session.free.pop())
            .unwrap_or_default();
        let work = Work {
            batch,
            waveforms: &flight.chunk.waveforms,
            places: &flight.chunk.places,
            groups: &flight.chunk.groups,
            words: flight.chunk.words,
            run: self.run,
            state: None,
        };
        slot.submit(&mut session.device, tables, &work, &mut || {
            self.options.faults.at_next_step()
        })?;
        flight.slot = Some(slot);
        Ok(())
    }

    /// Notes a failure, opens a new device and sends everything in flight there; what has failed too often, and everything
    /// if there is no device to be had, is left to the CPU.
    fn recover(
        &self,
        state: &mut State,
        flights: &mut VecDeque<Flight>,
        waiting: &VecDeque<Waiting>,
        mut failure: Failure,
    ) {
        loop {
            warn!(
                "{}: {failure}; its work is done again",
                self.adapter.facts.name
            );
            state.account.device_failures += 1;
            state.failures_in_a_row += 1;
            if let Some(session) = state.session.take() {
                // A driver that hangs may keep whoever lets go of its device.
                std::thread::spawn(move || drop(session));
            }
            for flight in flights.iter_mut() {
                if flight.chunk.waveforms.is_empty() {
                    continue;
                }
                flight.slot = None;
                flight.tries += 1;
                flight.failure.get_or_insert(failure.clone());
            }
            if state.failures_in_a_row >= MOST_FAILURES_IN_A_ROW
                || state.account.device_failures >= MOST_FAILURES
            {
                warn!(
                    "{}: given up after {} failures; the CPU goes on",
                    self.adapter.facts.name, state.account.device_failures
                );
                state.account.given_up = Some(failure.to_string());
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
        waiting: &VecDeque<Waiting>,
    ) -> Result<Option<(u64, Extracted)>> {
        let Some(flight) = flights.front_mut() else {
            return Ok(None);
        };
        let number = flight.batch;
        let Some(batch) = batch_of(waiting, flight) else {
            return Err(Error::internal("a chunk without its batch"));
        };
        if flight.slot.is_none() && !flight.chunk.waveforms.is_empty() {
            let part = self.on_cpu(batch, flight.chunk.begin, flight.chunk.end);
            state.note_cpu(flight, batch);
            flights.pop_front();
            return Ok(Some((number, part)));
        }
        // While the GPU works, the CPU does what the kernels do not take.
        let apart = self.apart(batch, &flight.chunk);
        let Some(slot) = &mut flight.slot else {
            let part = self.assemble(batch, &flight.chunk, &Returned::default(), &apart);
            state.note_done(flight, batch, None);
            flights.pop_front();
            return Ok(Some((number, part)));
        };
        let Some(session) = &mut state.session else {
            return Err(Error::internal("a slot without a device"));
        };
        let fault = self.options.faults.at_next_step();
        // A hang that a test wants must not wait for its time limit.
        let read = slot.read(&session.device, self.options.time_limit, fault);
        debug_assert!(fault != Some(Fault::Hang) || read.is_err());
        match read {
            Ok(Some(returned)) => {
                let part = self.assemble(batch, &flight.chunk, &returned, &apart);
                session.free.extend(flight.slot.take());
                state.failures_in_a_row = 0;
                state.note_done(flight, batch, returned.kernel);
                flights.pop_front();
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

fn batch_of<'a>(waiting: &'a VecDeque<Waiting>, flight: &Flight) -> Option<&'a Batch> {
    waiting
        .iter()
        .find(|one| one.number == flight.batch)
        .map(|one| &one.batch)
}

impl Session {
    fn open(adapter: &Adapter, time_limit: Duration) -> std::result::Result<Self, Failure> {
        Ok(Self {
            device: Device::open(adapter, time_limit)?,
            tables: None,
            free: Vec::new(),
        })
    }
}

impl State {
    /// Notes a chunk that came back from the device.
    fn note_done(&mut self, flight: &Flight, batch: &Batch, kernel: Option<Duration>) {
        self.account.on_gpu += flight.chunk.waveforms.len() as u64;
        self.account.kernel_s += kernel.unwrap_or_default().as_secs_f64();
        self.note_apart(flight);
        self.note_redone(flight, batch, "gpu");
    }

    /// Notes what of a chunk was never the device's.
    fn note_apart(&mut self, flight: &Flight) {
        for (_, reason) in &flight.chunk.on_cpu {
            if *reason != Reason::Uncalibrated {
                self.note_reason(reason.name(), 1);
            }
        }
    }

    /// Notes a chunk that the CPU had to do.
    fn note_cpu(&mut self, flight: &Flight, batch: &Batch) {
        self.note_reason("the GPU failed", flight.chunk.waveforms.len() as u64);
        self.note_apart(flight);
        self.note_redone(flight, batch, "cpu");
    }

    fn note_reason(&mut self, reason: &str, waveforms: u64) {
        *self.account.on_cpu.entry(reason.to_owned()).or_default() += waveforms;
    }

    fn note_redone(&mut self, flight: &Flight, batch: &Batch, on: &'static str) {
        let Some(failure) = &flight.failure else {
            return;
        };
        self.account.redone.push(Redone {
            input_id: batch.input_id(),
            first_event_id: batch.event_id()[flight.chunk.begin],
            first_channel_id: batch.channel_id()[flight.chunk.begin],
            waveforms: (flight.chunk.end - flight.chunk.begin) as u64,
            reason: failure.to_string(),
            on,
        });
    }
}

impl Backend for GpuExtractor {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn extract(&self, batch: &Batch) -> Result<Extracted> {
        let mut all = Extracted::default();
        let mut once = std::iter::once(batch.clone());
        self.run(&mut once, &mut |_, extracted| {
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
        let state = &mut *self.state();
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
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
            while let Some(one) = waiting.front()
                && one.done == one.batch.len()
                && one.next == one.batch.len()
            {
                let Some(mut one) = waiting.pop_front() else {
                    break;
                };
                let extracted = match one.parts.len() {
                    1 => one.parts.swap_remove(0),
                    _ => joined(one.parts),
                };
                if !emit(one.batch, extracted)? {
                    return Ok(());
                }
            }
            if flights.is_empty() && !more {
                return Ok(());
            }
        }
    }

    fn account(&self) -> Option<Account> {
        Some(self.state().account.clone())
    }
}

impl GpuExtractor {
    /// Starts the next chunk of the last batch.
    fn start_next(
        &self,
        state: &mut State,
        flights: &mut VecDeque<Flight>,
        waiting: &mut VecDeque<Waiting>,
    ) {
        let Some(last) = waiting.back_mut() else {
            return;
        };
        let (begin, end) = (last.next, self.chunk_end(&last.batch, last.next));
        last.next = end;
        if begin == end {
            return;
        }
        let batch = last.number;
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
                // Any waveform will do: without a slot the CPU does the chunk whole.
                waveforms: vec![super::layout::Waveform::default(); end - begin],
                ..Chunk::default()
            },
        };
        flights.push_back(Flight {
            batch,
            chunk,
            slot: None,
            tries: 0,
            failure: None,
        });
        let Some(mut flight) = flights.pop_back() else {
            return;
        };
        let launched = match batch_of(waiting, &flight) {
            Some(batch) => self.launch(state, &mut flight, batch),
            None => Ok(()),
        };
        flights.push_back(flight);
        if let Err(failure) = launched {
            self.recover(state, flights, waiting, failure);
        }
    }
}
