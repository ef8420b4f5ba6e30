//! Source -> extract -> sink: batching, back-pressure, order, report.
//!
//! Three things go on at once: a thread reads batches, the thread pool extracts them, a thread writes tables. The
//! queues between them hold few batches, so that a slow stage slows the others and memory stays flat. Batches come out
//! in the order they went in. Events follow where a detector has a geometry, from the hits that were written.

mod events;
mod group;
mod output;
mod progress;
mod report;
mod report_events;
mod summary;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

pub use events::{EventsOutcome, run_events};
pub use group::Events;
pub use output::OutputFolder;
pub use progress::{Progress, style as progress_style};
pub use report::{FinishedInput, InputReport, ListedLoss, Provenance, Report, Timings, Totals};
pub(crate) use report_events::method_name;
pub use report_events::{EventsPlan, EventsReport, LightMaps};

use crate::error::{Error, Result};
use crate::extract::Backend;
use crate::io::tables::{Part, TablesWriter};
use crate::io::{BatchLimit, Loss, Source};
use crate::model::{Batch, Extracted, Flags};

/// Batches that wait between two stages.
const QUEUE: usize = 2;

/// What one input became.
#[derive(Debug, Default)]
pub struct InputOutcome {
    /// Waveforms in the output.
    pub waveforms: u64,
    /// Waveforms without a hit.
    pub empty: u64,
    /// Samples in those waveforms.
    pub samples: u64,
    /// Hits in the output.
    pub hits: u64,
    /// Sum of the hits' charges.
    pub charge_pe: f64,
    /// Sums over waveforms with a finite baseline, for the summary: number, baseline, noise.
    pub levels: (u64, f64, f64),
    /// Waveforms by flag, in the order of [`Flags::ALL`].
    pub flagged: [u64; Flags::ALL.len()],
    /// What could not be used.
    pub losses: Vec<Loss>,
    /// An error that ended the input early; everything before it is in the output.
    pub cut: Option<Error>,
    /// The parts written.
    pub parts: Vec<Part>,
    /// Time spent reading and decoding.
    pub reading: Duration,
    /// Time spent extracting.
    pub extracting: Duration,
    /// Time spent encoding and writing.
    pub writing: Duration,
}

struct Read {
    batch: Option<Batch>,
    losses: Vec<Loss>,
    took: Duration,
    failed: Option<Error>,
}

/// Runs all of `source` through `backend` into `writer`. Extraction uses the rayon pool this is called on.
///
/// An input that fails half-way keeps what came before: the failure is in the outcome's `cut`. An input that fails before its first
/// waveform is an error.
///
/// # Errors
/// If the first read fails, the backend fails, or the output cannot be written.
pub fn run_input(
    mut source: Box<dyn Source>,
    backend: &dyn Backend,
    writer: TablesWriter,
    limit: BatchLimit,
    progress: &Progress,
) -> Result<InputOutcome> {
    std::thread::scope(|scope| {
        let (to_extract, batches) = sync_channel::<Read>(QUEUE);
        let (to_write, results) = sync_channel::<(Batch, Extracted)>(QUEUE);
        scope.spawn(move || read(source.as_mut(), limit, &to_extract));
        let writing = scope.spawn(move || write(writer, &results));
        let outcome = extract(&batches, backend, &to_write, progress);
        // The writer ends when nothing more can come, the reader when nobody listens.
        drop(to_write);
        drop(batches);
        let written = writing
            .join()
            .map_err(|_| Error::internal("the writing thread panicked"))?;
        // A failed writer is why extraction could not hand on its result.
        let (parts, took) = written?;
        let mut outcome = outcome?;
        outcome.parts = parts;
        outcome.writing = took;
        Ok(outcome)
    })
}

fn read(source: &mut dyn Source, limit: BatchLimit, to_extract: &SyncSender<Read>) {
    loop {
        let start = Instant::now();
        let result = source.next_batch(limit);
        let losses = source.take_losses();
        let (batch, failed) = match result {
            Ok(batch) => (batch, None),
            Err(error) => (None, Some(error)),
        };
        let last = batch.is_none();
        let sent = to_extract.send(Read {
            batch,
            losses,
            took: start.elapsed(),
            failed,
        });
        if last || sent.is_err() {
            return;
        }
    }
}

/// What comes out of the reading thread, as the backend takes it: batches, and on the side what is to be said of them.
struct Intake<'a> {
    batches: &'a Receiver<Read>,
    reading: Duration,
    /// Time spent waiting for the reading thread.
    waiting: Duration,
    losses: Vec<Loss>,
    read: u64,
    failed: Option<Error>,
}

impl Iterator for Intake<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let start = Instant::now();
        let received = self.batches.recv();
        self.waiting += start.elapsed();
        let Ok(Read {
            batch,
            losses,
            took,
            failed,
        }) = received
        else {
            return None;
        };
        self.reading += took;
        self.losses.extend(losses);
        if failed.is_some() {
            self.failed = failed;
        }
        self.read += batch.as_ref().map_or(0, |batch| batch.len() as u64);
        batch
    }
}

fn extract(
    batches: &Receiver<Read>,
    backend: &dyn Backend,
    to_write: &SyncSender<(Batch, Extracted)>,
    progress: &Progress,
) -> Result<InputOutcome> {
    let mut outcome = InputOutcome::default();
    let mut intake = Intake {
        batches,
        reading: Duration::ZERO,
        waiting: Duration::ZERO,
        losses: Vec::new(),
        read: 0,
        failed: None,
    };
    let mut handing_on = Duration::ZERO;
    let start = Instant::now();
    backend.run(&mut intake, &mut |batch, extracted| {
        let start = Instant::now();
        outcome.add(&batch, &extracted);
        progress.advance(batch.len() as u64, extracted.hits.len() as u64);
        let sent = to_write.send((batch, extracted));
        handing_on += start.elapsed();
        // If the writer has failed, its error is the one to report.
        Ok(sent.is_ok())
    })?;
    outcome.extracting = start.elapsed().saturating_sub(intake.waiting + handing_on);
    outcome.reading = intake.reading;
    outcome.losses = intake.losses;
    if let Some(error) = intake.failed {
        if intake.read == 0 {
            return Err(error);
        }
        outcome.cut = Some(error);
    }
    Ok(outcome)
}

fn write(
    mut writer: TablesWriter,
    results: &Receiver<(Batch, Extracted)>,
) -> Result<(Vec<Part>, Duration)> {
    let mut took = Duration::ZERO;
    for (batch, extracted) in results {
        let start = Instant::now();
        writer.write(&batch, &extracted)?;
        took += start.elapsed();
    }
    let start = Instant::now();
    let parts = writer.finish()?;
    Ok((parts.into(), took + start.elapsed()))
}

impl InputOutcome {
    fn add(&mut self, batch: &Batch, extracted: &Extracted) {
        self.waveforms += batch.len() as u64;
        self.samples += batch.samples().len() as u64;
        self.hits += extracted.hits.len() as u64;
        for summary in &extracted.summaries {
            if summary.n_hits == 0 {
                self.empty += 1;
            }
            if summary.charge_pe.is_finite() {
                self.charge_pe += f64::from(summary.charge_pe);
            }
            if summary.baseline_adc.is_finite() && summary.noise_adc.is_finite() {
                self.levels.0 += 1;
                self.levels.1 += f64::from(summary.baseline_adc);
                self.levels.2 += f64::from(summary.noise_adc);
            }
            for (count, (flag, _, _)) in self.flagged.iter_mut().zip(Flags::ALL) {
                *count += u64::from(summary.flags.contains(flag));
            }
        }
    }
}
