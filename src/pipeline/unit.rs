//! One unit of waveforms: source, extraction, tables.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::cancel::CancelToken;
use super::cut_pulses::CutLevels;
use super::duplicates::DuplicateFilter;
use super::facts::Observed;
use super::observer::Observer;
use super::outcome::UnitOutcome;
use super::sample_range::AboveRange;
use crate::detector::Detector;
use crate::error::{Error, Hint, Result};
use crate::extract::Backend;
use crate::io::tables::TablesWriter;
use crate::io::{BatchLimit, Loss, Source};
use crate::model::{Batch, Extracted, Polarity};

/// Batches that wait between two stages.
const QUEUE: usize = 2;

struct Read {
    batch: Option<Batch>,
    losses: Vec<Loss>,
    above_range: AboveRange,
    took: Duration,
    failed: Option<Error>,
}

/// The surroundings of a unit: backend, limits, observer, cancellation.
pub struct UnitContext<'a> {
    /// The backend that extracts.
    pub backend: &'a dyn Backend,
    /// The size of batches.
    pub limit: BatchLimit,
    /// Resolution of the digitiser, if it is known.
    pub adc_bits: Option<u32>,
    /// True if the first loss ends the run.
    pub stop_at_loss: bool,
    /// A folder for files without a name, of what does not fit into memory.
    pub folder: &'a Path,
    /// True if the events of the input are known to ascend.
    pub events_ascend: bool,
    /// The polarity that the input is read with.
    pub polarity: Polarity,
    /// The heights at which pulses of the input are cut.
    pub cut_levels: &'a CutLevels,
    /// The detector, where one was named.
    pub detector: Option<&'a Detector>,
    /// Receives progress.
    pub observer: &'a dyn Observer,
    /// Ends the unit early.
    pub cancel: &'a CancelToken,
}

/// Runs the selected unit of `source` through the backend into `writer`. Extraction uses the current rayon pool.
///
/// # Errors
/// If the source cannot be read, something is lost and that is to end the run, the backend fails, the output cannot be
/// written, or the run is cancelled. The parts are removed then.
pub fn run_unit(
    source: &mut dyn Source,
    context: &UnitContext<'_>,
    writer: TablesWriter,
) -> Result<UnitOutcome> {
    let path = source.info().path.clone();
    std::thread::scope(|scope| {
        let (to_extract, batches) = sync_channel::<Read>(QUEUE);
        let (to_write, results) = sync_channel::<(Batch, Extracted)>(QUEUE);
        scope.spawn(move || read(source, context.limit, context.adc_bits, &to_extract));
        let writing = scope.spawn(move || write(writer, &results));
        let outcome = extract(&batches, context, &path, &to_write);
        // The writer ends when its sender is dropped, the reader when its receiver is dropped.
        drop(to_write);
        drop(batches);
        let written = writing
            .join()
            .map_err(|_| Error::internal("the writing thread panicked"))?;
        // If the writer failed, extraction could not hand on its result: the error of the writer is the cause.
        let (writer, took) = written?;
        let mut outcome = outcome?;
        if context.cancel.is_cancelled() {
            return Err(context.cancel.error());
        }
        let start = Instant::now();
        outcome.parts = writer.finish()?.into();
        outcome.writing = took + start.elapsed();
        Ok(outcome)
    })
}

fn read(
    source: &mut dyn Source,
    limit: BatchLimit,
    adc_bits: Option<u32>,
    to_extract: &SyncSender<Read>,
) {
    loop {
        let start = Instant::now();
        let result = source.next_batch(limit);
        let losses = source.take_losses();
        let (batch, failed) = match result {
            Ok(batch) => (batch, None),
            Err(error) => (None, Some(error)),
        };
        let last = batch.is_none();
        let mut above_range = AboveRange::default();
        if let Some(batch) = &batch {
            above_range.add(batch, adc_bits);
        }
        let sent = to_extract.send(Read {
            batch,
            losses,
            above_range,
            took: start.elapsed(),
            failed,
        });
        if last || sent.is_err() {
            return;
        }
    }
}

/// The output of the reading thread as an iterator of batches for the backend, with losses and times collected aside.
struct Intake<'a> {
    batches: &'a Receiver<Read>,
    reading: Duration,
    /// Time spent waiting for the reading thread.
    waiting: Duration,
    losses: Vec<Loss>,
    above_range: AboveRange,
    failed: Option<Error>,
    cancel: &'a CancelToken,
    stop_at_loss: bool,
}

impl Iterator for Intake<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        if self.cancel.is_cancelled() || self.stop_at_loss && !self.losses.is_empty() {
            return None;
        }
        let start = Instant::now();
        let received = self.batches.recv();
        self.waiting += start.elapsed();
        let Ok(Read {
            batch,
            losses,
            above_range,
            took,
            failed,
        }) = received
        else {
            return None;
        };
        self.reading += took;
        self.losses.extend(losses);
        self.above_range.merge(above_range);
        if failed.is_some() {
            self.failed = failed;
        }
        if self.stop_at_loss && !self.losses.is_empty() {
            return None;
        }
        batch
    }
}

fn extract(
    batches: &Receiver<Read>,
    context: &UnitContext<'_>,
    path: &Path,
    to_write: &SyncSender<(Batch, Extracted)>,
) -> Result<UnitOutcome> {
    let mut outcome = UnitOutcome::default();
    let mut observed = Observed::default();
    let mut cut_levels = context.cut_levels.clone();
    let folder = context.folder.to_owned();
    let mut duplicates = DuplicateFilter::for_unit(folder, context.events_ascend);
    let mut intake = Intake {
        batches,
        cancel: context.cancel,
        stop_at_loss: context.stop_at_loss,
        reading: Duration::ZERO,
        waiting: Duration::ZERO,
        losses: Vec::new(),
        above_range: AboveRange::default(),
        failed: None,
    };
    let mut handing_on = Duration::ZERO;
    let start = Instant::now();
    context
        .backend
        .run(&mut intake, &mut |batch, mut extracted| {
            let start = Instant::now();
            duplicates.mark(&batch, &mut extracted)?;
            cut_levels.mark(&batch, &mut extracted);
            observed.add(&batch, context.polarity, context.detector);
            outcome.add(&batch, &extracted);
            context
                .observer
                .advance(batch.len() as u64, extracted.hits.len() as u64);
            let sent = to_write.send((batch, extracted));
            handing_on += start.elapsed();
            // If the writer has failed, its error is reported.
            Ok(sent.is_ok())
        })?;
    outcome.extracting = start.elapsed().saturating_sub(intake.waiting + handing_on);
    outcome.reading = intake.reading;
    outcome.losses = intake.losses;
    outcome.above_range = intake.above_range;
    outcome.observed = Some(observed);
    outcome.cut_pulses = cut_levels.into_pulses();
    outcome.fall_back = duplicates.fall_back();
    outcome.ascending = outcome.fall_back.is_none();
    if let Some(error) = intake.failed {
        return Err(error);
    }
    match outcome.losses.first() {
        Some(loss) if context.stop_at_loss => Err(stopped_at(path, loss)),
        _ => Ok(outcome),
    }
}

fn write(
    mut writer: TablesWriter,
    results: &Receiver<(Batch, Extracted)>,
) -> Result<(TablesWriter, Duration)> {
    let mut took = Duration::ZERO;
    for (batch, extracted) in results {
        let start = Instant::now();
        writer.write(&batch, &extracted)?;
        took += start.elapsed();
    }
    Ok((writer, took))
}

/// Returns the error of a run that ends at the first loss.
#[must_use]
pub fn stopped_at(path: &Path, loss: &Loss) -> Error {
    Error::input(path, &loss.reason)
        .at_place(&loss.place)
        .with_hint(Hint::SkipDamage)
}
