//! The results of one unit: counts, losses, parts written, time spent.

use std::time::Duration;

use super::cut_pulses::CutPulses;
use super::duplicates::FallBack;
use super::facts::Observed;
use super::sample_range::AboveRange;
use crate::error::Error;
use crate::io::Loss;
use crate::io::tables::Part;
use crate::model::{Batch, Event, EventHits, Extracted, Flags};

/// The result of the waveforms of a unit.
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
    /// Where they do not.
    pub fall_back: Option<FallBack>,
    /// The facts that the waveforms show, to be compared with what is stated about them.
    pub observed: Option<Observed>,
    /// The channels whose pulses are cut, with the waveforms that were flagged because of it.
    pub cut_pulses: Vec<CutPulses>,
    /// Waveforms that could not be used.
    pub losses: Vec<Loss>,
    /// Waveforms with samples that the digitiser cannot have given.
    pub above_range: AboveRange,
    /// The parts written.
    pub parts: Vec<Part>,
    /// Time spent reading and decoding.
    pub reading: Duration,
    /// Time spent extracting.
    pub extracting: Duration,
    /// Time spent encoding and writing.
    pub writing: Duration,
}

impl UnitOutcome {
    /// Counts a batch.
    pub(super) fn add(&mut self, batch: &Batch, extracted: &Extracted) {
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

/// The result of the events of a unit.
#[derive(Debug, Default)]
pub struct EventsOutcome {
    /// Events in the output.
    pub events: u64,
    /// Events without any hit.
    pub without_hits: u64,
    /// Their hits.
    pub hits: u64,
    /// Events by flag, in the order of [`Flags::ALL`].
    pub flagged: [u64; Flags::ALL.len()],
    /// Time from the first to the last of them.
    pub took: Duration,
    /// Time of all threads together for the events.
    pub working: Duration,
    /// Least and greatest event number.
    pub event_ids: Option<(u64, u64)>,
    /// An error of reading that ended the unit early; the events before it are in the output.
    pub cut: Option<Error>,
    /// The part written.
    pub part: Option<Part>,
}

impl EventsOutcome {
    /// Counts an event.
    pub(super) fn add(&mut self, event: &Event, hits: &EventHits, took: Duration) {
        self.events += 1;
        let id = event.event_id;
        let (least, greatest) = self.event_ids.unwrap_or((id, id));
        self.event_ids = Some((least.min(id), greatest.max(id)));
        self.without_hits += u64::from(hits.hits.is_empty());
        self.hits += hits.hits.len() as u64;
        self.working += took;
        for (count, (flag, _, _)) in self.flagged.iter_mut().zip(Flags::ALL) {
            *count += u64::from(event.flags.contains(flag));
        }
    }
}
