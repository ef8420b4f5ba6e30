//! Events of one unit through the reconstruction, in blocks, in their order.

use std::ops::Range;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::{CancelToken, EventBuilder, Progress};
use crate::error::{Error, Result};
use crate::event::{EventHits, Reconstructor};
use crate::io::events::EventsWriter;
use crate::io::tables::Part;
use crate::model::{Event, Flags};

/// Most events that are reconstructed together; enough for every core to have several.
const BLOCK_EVENTS: usize = 1024;
/// Most hits that are held for that; one event may have more.
const BLOCK_HITS: usize = 1 << 20;

/// What the events of a unit became.
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

/// Reconstructs the events of `input` (its number in the source) whose hits begin in `positions` into `writer`, on the
/// rayon pool this is called on.
///
/// # Errors
/// If the output cannot be written, or the run is asked to stop.
pub fn run_events(
    events: &mut EventBuilder,
    (input, positions): (u32, &Range<u64>),
    reconstructor: &Reconstructor,
    mut writer: EventsWriter,
    progress: &Progress,
    cancel: &CancelToken,
) -> Result<EventsOutcome> {
    let begin = Instant::now();
    let mut outcome = EventsOutcome::default();
    loop {
        let (block, cut) = next_block(events, input, positions);
        let n_hits: usize = block.iter().map(|event| event.hits.len()).sum();
        let ended = block.is_empty() || cut.is_some();
        let found: Vec<(Event, Duration)> = block
            .par_iter()
            .with_max_len(1)
            .map(|event| {
                if cancel.is_cancelled() {
                    return Err(cancel.error());
                }
                let start = Instant::now();
                Ok((reconstructor.reconstruct(event), start.elapsed()))
            })
            .collect::<Result<_>>()?;
        for ((event, took), hits) in found.into_iter().zip(&block) {
            outcome.add(&event, hits, took);
            writer.push(event)?;
        }
        progress.advance_events(block.len() as u64, n_hits as u64);
        if ended {
            outcome.cut = cut;
            break;
        }
    }
    outcome.part = Some(writer.finish()?);
    outcome.took = begin.elapsed();
    Ok(outcome)
}

/// The next events, and what ended their reading, if anything did.
fn next_block(
    events: &mut EventBuilder,
    input: u32,
    positions: &Range<u64>,
) -> (Vec<EventHits>, Option<Error>) {
    let (mut block, mut n_hits) = (Vec::new(), 0);
    while block.len() < BLOCK_EVENTS && n_hits < BLOCK_HITS {
        match events.next_in(input, positions) {
            Ok(Some(event)) => {
                n_hits += event.hits.len();
                block.push(event);
            }
            Ok(None) => break,
            Err(error) => return (block, Some(error)),
        }
    }
    (block, None)
}

impl EventsOutcome {
    fn add(&mut self, event: &Event, hits: &EventHits, took: Duration) {
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
