//! One unit of work: source -> extract -> tables, and the record of what became of it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::plan::Unit;
use super::{EventsOutcome, Progress, Stop};
use crate::error::{Error, Result};
use crate::extract::Backend;
use crate::io::tables::{Part, TablesWriter};
use crate::io::{BatchLimit, Loss, Source};
use crate::model::{Batch, Extracted, Flags};

/// Losses of a unit listed one by one; more are counted only.
pub(super) const MOST_LISTED: usize = 100_000;

/// What became of a unit of work. Reports are made of these and of nothing else, so that it makes no difference which
/// process did a unit, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// What reports say of it.
    #[serde(flatten)]
    pub done: UnitReport,
    /// What could not be used.
    pub losses: Vec<Loss>,
    /// How long it took.
    pub timings: UnitTimings,
}

/// A unit in the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitReport {
    /// Place of its input.
    pub input_id: u32,
    /// Place of its block in the input.
    pub block: u32,
    /// `cpu` or `gpu`.
    pub backend: String,
    /// Waveforms in the output.
    pub waveforms: u64,
    /// Waveforms, or hits, lost.
    pub lost: u64,
    /// Losses that are counted but not listed.
    pub losses_not_listed: u64,
    /// Waveforms without a hit.
    pub empty: u64,
    /// Samples in the waveforms.
    pub samples: u64,
    /// Hits in the output, or of the input where that is hits.
    pub hits: u64,
    /// Sum of the hits' charges.
    pub charge_pe: f64,
    /// Waveforms with a finite baseline, the sums of their baselines and noises.
    pub levels: (u64, f64, f64),
    /// Waveforms by flag.
    pub flags: BTreeMap<String, u64>,
    /// Least and greatest event number.
    pub event_ids: Option<(u64, u64)>,
    /// True if event numbers ascend.
    pub ascending: bool,
    /// Its events, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<UnitEvents>,
    /// The part of the input's bytes that it took the checksum of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<BytesSum>,
    /// The parts written.
    pub parts: Vec<Part>,
}

/// The events of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitEvents {
    /// Events in the table.
    pub events: u64,
    /// Events without any hit.
    pub without_hits: u64,
    /// Their hits.
    pub hits: u64,
    /// Events by flag.
    pub flags: BTreeMap<String, u64>,
}

/// The CRC32C of some bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BytesSum {
    /// First byte.
    pub first: u64,
    /// Behind the last byte.
    pub end: u64,
    /// Their CRC32C.
    pub crc32c: String,
}

/// How long a unit took, and how much memory the process had at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitTimings {
    /// From its begin to its end.
    pub took_s: f64,
    /// Reading and decoding.
    pub reading_s: f64,
    /// Extracting.
    pub extracting_s: f64,
    /// Encoding and writing.
    pub writing_s: f64,
    /// Reconstructing events and writing them.
    pub events_s: f64,
    /// The same, of all threads together.
    pub events_working_s: f64,
    /// Resident memory, where the system tells.
    pub resident_mib: Option<f64>,
}

/// Batches that wait between two stages.
const QUEUE: usize = 2;

/// What the waveforms of a unit became.
#[derive(Debug, Default)]
pub struct UnitOutcome {
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
    /// Least and greatest event number.
    pub event_ids: Option<(u64, u64)>,
    /// True if event numbers ascend.
    pub ascending: bool,
    /// What could not be used.
    pub losses: Vec<Loss>,
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

/// What a unit is run with.
pub struct Tools<'a> {
    /// What extracts.
    pub backend: &'a dyn Backend,
    /// How large batches become.
    pub limit: BatchLimit,
    /// True if the first loss ends the run.
    pub stop_at_loss: bool,
    /// Who is told how far it has come.
    pub progress: &'a Progress,
    /// Who may end it early.
    pub stop: &'a Stop,
}

/// Runs the selected unit of `source` through the backend into `writer`. Extraction uses the rayon pool this is called on.
///
/// # Errors
/// If the source cannot be read, something is lost and that is to end the run, the backend fails, the output cannot be
/// written, or the run is asked to stop. What was written is gone then.
pub fn run_unit(
    source: &mut dyn Source,
    tools: &Tools<'_>,
    writer: TablesWriter,
) -> Result<UnitOutcome> {
    let path = source.info().path.clone();
    std::thread::scope(|scope| {
        let (to_extract, batches) = sync_channel::<Read>(QUEUE);
        let (to_write, results) = sync_channel::<(Batch, Extracted)>(QUEUE);
        scope.spawn(move || read(source, tools.limit, &to_extract));
        let writing = scope.spawn(move || write(writer, &results));
        let outcome = extract(&batches, tools, &path, &to_write);
        // The writer ends when nothing more can come, the reader when nobody listens.
        drop(to_write);
        drop(batches);
        let written = writing
            .join()
            .map_err(|_| Error::internal("the writing thread panicked"))?;
        // A failed writer is why extraction could not hand on its result.
        let (writer, took) = written?;
        let mut outcome = outcome?;
        if tools.stop.is_requested() {
            return Err(tools.stop.error());
        }
        let start = Instant::now();
        outcome.parts = writer.finish()?.into();
        outcome.writing = took + start.elapsed();
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
    failed: Option<Error>,
    stop: &'a Stop,
    stop_at_loss: bool,
}

impl Iterator for Intake<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        if self.stop.is_requested() || self.stop_at_loss && !self.losses.is_empty() {
            return None;
        }
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
        if self.stop_at_loss && !self.losses.is_empty() {
            return None;
        }
        batch
    }
}

fn extract(
    batches: &Receiver<Read>,
    tools: &Tools<'_>,
    path: &Path,
    to_write: &SyncSender<(Batch, Extracted)>,
) -> Result<UnitOutcome> {
    let mut outcome = UnitOutcome::default();
    let mut seen = Seen::new();
    let mut intake = Intake {
        batches,
        stop: tools.stop,
        stop_at_loss: tools.stop_at_loss,
        reading: Duration::ZERO,
        waiting: Duration::ZERO,
        losses: Vec::new(),
        failed: None,
    };
    let mut handing_on = Duration::ZERO;
    let start = Instant::now();
    tools
        .backend
        .run(&mut intake, &mut |batch, mut extracted| {
            let start = Instant::now();
            seen.mark(&batch, &mut extracted);
            outcome.add(&batch, &extracted);
            tools
                .progress
                .advance(batch.len() as u64, extracted.hits.len() as u64);
            let sent = to_write.send((batch, extracted));
            handing_on += start.elapsed();
            // If the writer has failed, its error is the one to report.
            Ok(sent.is_ok())
        })?;
    outcome.extracting = start.elapsed().saturating_sub(intake.waiting + handing_on);
    outcome.reading = intake.reading;
    outcome.losses = intake.losses;
    outcome.ascending = seen.ascending;
    if let Some(error) = intake.failed {
        return Err(error);
    }
    match outcome.losses.first() {
        Some(loss) if tools.stop_at_loss => Err(stopped_at(path, loss)),
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

/// The error of a run that ends at the first loss.
#[must_use]
pub fn stopped_at(path: &Path, loss: &Loss) -> Error {
    Error::input(path, format!("{}: {}", loss.place, loss.reason)).with_hint(
        "the run ends here as `--on-error stop` says; `--on-error skip` lists what is lost and goes on",
    )
}

/// Most waveforms that are remembered to know them again, where events do not ascend; then it begins anew.
const MOST_REMEMBERED: usize = 1 << 21;

/// The waveforms of a unit that were there already: a file in which a block stands twice.
struct Seen {
    waveforms: HashSet<(u64, u32, u64)>,
    greatest: Option<u64>,
    ascending: bool,
}

impl Seen {
    fn new() -> Self {
        Self {
            waveforms: HashSet::new(),
            greatest: None,
            ascending: true,
        }
    }

    /// Flags what comes for the second time: the same event, channel and begin of the window.
    fn mark(&mut self, batch: &Batch, extracted: &mut Extracted) {
        let mut hits = extracted.hits.iter_mut();
        for (waveform, summary) in batch.iter().zip(&mut extracted.summaries) {
            let event = waveform.event_id;
            if self.greatest < Some(event) {
                // What came before cannot come again while events ascend.
                if self.ascending || self.waveforms.len() > MOST_REMEMBERED {
                    self.waveforms.clear();
                }
                self.greatest = Some(event);
            } else if self.greatest > Some(event) {
                self.ascending = false;
            }
            let key = (event, waveform.channel_id, waveform.start_ns.to_bits());
            let again = !self.waveforms.insert(key);
            let mine = hits.by_ref().take(summary.n_hits as usize);
            if again {
                summary.flags |= Flags::REPEATED;
                mine.for_each(|hit| hit.flags |= Flags::REPEATED);
            } else {
                mine.for_each(drop);
            }
        }
    }
}

impl UnitOutcome {
    fn add(&mut self, batch: &Batch, extracted: &Extracted) {
        self.waveforms += batch.len() as u64;
        self.samples += batch.samples().len() as u64;
        self.hits += extracted.hits.len() as u64;
        for &event in batch.event_id() {
            let (least, greatest) = self.event_ids.unwrap_or((event, event));
            self.event_ids = Some((least.min(event), greatest.max(event)));
        }
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

/// Flags that were met, by name.
pub(super) fn by_name(counts: &[u64; Flags::ALL.len()]) -> BTreeMap<String, u64> {
    let named = Flags::ALL.into_iter().zip(counts);
    named
        .filter(|(_, count)| **count > 0)
        .map(|((_, name, _), count)| (name.to_owned(), *count))
        .collect()
}

impl UnitRecord {
    /// The record of a unit of waveforms.
    #[must_use]
    pub fn new(
        unit: Unit,
        backend: &str,
        outcome: UnitOutcome,
        events: Option<EventsOutcome>,
        read: Option<BytesSum>,
        took: Duration,
    ) -> Self {
        let lost = outcome.losses.iter().map(|loss| loss.n_waveforms).sum();
        let mut losses = outcome.losses;
        let losses_not_listed = losses.len().saturating_sub(MOST_LISTED) as u64;
        losses.truncate(MOST_LISTED);
        let mut parts = outcome.parts;
        let mut timings = UnitTimings {
            took_s: took.as_secs_f64(),
            reading_s: outcome.reading.as_secs_f64(),
            extracting_s: outcome.extracting.as_secs_f64(),
            writing_s: outcome.writing.as_secs_f64(),
            resident_mib: super::report::memory_mib("VmRSS:"),
            ..UnitTimings::default()
        };
        let events = events.map(|events| {
            timings.events_s = events.took.as_secs_f64();
            timings.events_working_s = events.working.as_secs_f64();
            parts.extend(events.part);
            UnitEvents {
                events: events.events,
                without_hits: events.without_hits,
                hits: events.hits,
                flags: by_name(&events.flagged),
            }
        });
        Self {
            done: UnitReport {
                input_id: unit.input_id,
                block: unit.block,
                backend: backend.to_owned(),
                waveforms: outcome.waveforms,
                lost,
                losses_not_listed,
                empty: outcome.empty,
                samples: outcome.samples,
                hits: outcome.hits,
                charge_pe: outcome.charge_pe,
                levels: outcome.levels,
                flags: by_name(&outcome.flagged),
                event_ids: outcome.event_ids,
                ascending: outcome.ascending,
                events,
                read,
                parts,
            },
            losses,
            timings,
        }
    }

    /// Its name.
    #[must_use]
    pub fn unit(&self) -> Unit {
        Unit {
            input_id: self.done.input_id,
            block: self.done.block,
        }
    }
}

impl BytesSum {
    /// The checksum of `bytes` of the file at `path`; a file that is shorter gives that of what there is.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(path: &Path, bytes: Range<u64>) -> Result<Self> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let failed = |error: std::io::Error| {
            Error::input(path, "cannot be read")
                .with_source(error)
                .to_be_tried_again()
        };
        let mut file = std::fs::File::open(path).map_err(failed)?;
        file.seek(SeekFrom::Start(bytes.start)).map_err(failed)?;
        let mut file = file.take(bytes.end - bytes.start);
        let mut buffer = vec![0; 1 << 20];
        let mut crc = 0;
        loop {
            let count = file.read(&mut buffer).map_err(failed)?;
            if count == 0 {
                break;
            }
            let read = buffer.get(..count).unwrap_or_default();
            crc = crc32c::crc32c_append(crc, read);
        }
        Ok(Self {
            first: bytes.start,
            end: bytes.end,
            crc32c: format!("{crc:08x}"),
        })
    }

    /// The checksum of a whole file of `n_bytes`, from those of its parts in their order; `None` if they are not all of it.
    #[must_use]
    pub fn combined<'a>(parts: impl IntoIterator<Item = &'a Self>, n_bytes: u64) -> Option<String> {
        let (mut crc, mut end) = (0, 0);
        for part in parts {
            if part.first != end || part.end < part.first {
                return None;
            }
            let more = u32::from_str_radix(&part.crc32c, 16).ok()?;
            let length = usize::try_from(part.end - part.first).ok()?;
            crc = crc32c::crc32c_combine(crc, more, length);
            end = part.end;
        }
        (end == n_bytes).then(|| format!("{crc:08x}"))
    }
}
