//! The record of a finished unit, from which reports are made.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cut_pulses::CutPulses;
use super::duplicates::FallBack;
use super::facts::Observed;
use super::memory::memory_mib;
use super::outcome::{EventsOutcome, UnitOutcome};
use super::plan::Unit;
use super::sample_range::AboveRange;
use crate::error::{Error, Result};
use crate::io::Loss;
use crate::io::tables::Part;
use crate::model::Flags;

/// Maximum number of losses that a unit lists one by one; more are counted only.
pub(super) const MAX_LISTED: usize = 100_000;

/// The result of a unit. Reports are made from records and nothing else, so that it does not matter which process did a unit,
/// and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// The part that reports contain.
    #[serde(flatten)]
    pub done: UnitReport,
    /// Waveforms that could not be used.
    pub losses: Vec<Loss>,
    /// The time it took.
    pub timings: UnitTimings,
}

/// A unit in the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitReport {
    /// Index of its input.
    pub input_id: u32,
    /// Index of its block in the input.
    pub block: u32,
    /// `cpu` or `gpu`.
    pub backend: String,
    /// Waveforms in the output.
    pub waveforms: u64,
    /// Waveforms, or hits, lost; at least so many if `lost_unknown` is not 0.
    pub lost: u64,
    /// Losses of which the file does not tell how many waveforms they are; each counts as one in `lost`.
    #[serde(default)]
    pub lost_unknown: u64,
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
    /// Waveforms with samples that the digitiser cannot have given, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_range: Option<AboveRange>,
    /// Least and greatest event number.
    pub event_ids: Option<(u64, u64)>,
    /// True if event numbers ascend.
    pub ascending: bool,
    /// Where they do not: where they begin again, or fall for the first time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fall_back: Option<FallBack>,
    /// The facts that its waveforms show, to be compared with what is stated about them; absent for hits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub observed: Option<Observed>,
    /// The channels whose pulses are cut, if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub cut_pulses: Vec<CutPulses>,
    /// Its events, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<UnitEvents>,
    /// Checksum of its share of the input's bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<RangeChecksum>,
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
pub struct RangeChecksum {
    /// First byte.
    pub first: u64,
    /// One past the last byte.
    pub end: u64,
    /// Their CRC32C.
    pub crc32c: String,
}

/// Times of a unit, and the memory of the process at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitTimings {
    /// From start to end.
    pub took_s: f64,
    /// Reading and decoding.
    pub reading_s: f64,
    /// Extracting.
    pub extracting_s: f64,
    /// Encoding and writing.
    pub writing_s: f64,
    /// Reconstructing events and writing them.
    pub events_s: f64,
    /// The same, summed over threads.
    pub events_working_s: f64,
    /// Resident memory, where the system states it.
    pub resident_mib: Option<f64>,
}

/// Returns the number of waveforms or events by flag name, without zeros.
pub(super) fn by_name(counts: &[u64; Flags::ALL.len()]) -> BTreeMap<String, u64> {
    let named = Flags::ALL.into_iter().zip(counts);
    named
        .filter(|(_, count)| **count > 0)
        .map(|((_, name, _), count)| (name.to_owned(), *count))
        .collect()
}

impl UnitRecord {
    /// Returns the record of a unit.
    #[must_use]
    pub fn new(
        unit: Unit,
        backend: &str,
        outcome: UnitOutcome,
        events: Option<EventsOutcome>,
        read: Option<RangeChecksum>,
        took: Duration,
    ) -> Self {
        let lost = outcome.losses.iter().map(Loss::at_least).sum();
        let is_unknown = |loss: &&Loss| loss.n_waveforms.is_none();
        let lost_unknown = outcome.losses.iter().filter(is_unknown).count() as u64;
        let mut losses = outcome.losses;
        let losses_not_listed = losses.len().saturating_sub(MAX_LISTED) as u64;
        losses.truncate(MAX_LISTED);
        let mut parts = outcome.parts;
        let mut timings = UnitTimings {
            took_s: took.as_secs_f64(),
            reading_s: outcome.reading.as_secs_f64(),
            extracting_s: outcome.extracting.as_secs_f64(),
            writing_s: outcome.writing.as_secs_f64(),
            resident_mib: memory_mib("VmRSS:"),
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
                lost_unknown,
                losses_not_listed,
                empty: outcome.empty,
                samples: outcome.samples,
                hits: outcome.hits,
                charge_pe: outcome.charge_pe,
                levels: outcome.levels,
                flags: by_name(&outcome.flagged),
                above_range: Some(outcome.above_range).filter(|above| !above.is_empty()),
                event_ids: outcome.event_ids,
                ascending: outcome.ascending,
                fall_back: outcome.fall_back,
                cut_pulses: outcome.cut_pulses,
                observed: outcome.observed,
                events,
                read,
                parts,
            },
            losses,
            timings,
        }
    }

    /// Returns its name.
    #[must_use]
    pub fn unit(&self) -> Unit {
        Unit {
            input_id: self.done.input_id,
            block: self.done.block,
        }
    }
}

impl RangeChecksum {
    /// Returns the checksum of `bytes` of the file at `path`, as far as the file has them.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn from_file(path: &Path, bytes: Range<u64>) -> Result<Self> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let failed = |error: std::io::Error| {
            Error::input(path, "cannot be read")
                .with_source(error)
                .into_retryable()
        };
        let mut file = std::fs::File::open(path).map_err(failed)?;
        file.seek(SeekFrom::Start(bytes.start)).map_err(failed)?;
        let mut file = file.take(bytes.end.saturating_sub(bytes.start));
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

    /// Returns the checksum of a whole file of `n_bytes` from those of its ranges in order; `None` if a range is missing.
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
