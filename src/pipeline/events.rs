//! Reconstruction of the events of one unit, in blocks and in order.

use std::ops::Range;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::cancel::CancelToken;
use super::event_builder::EventBuilder;
use super::observer::Observer;
use super::outcome::EventsOutcome;
use crate::error::{Error, Result};
use crate::event::EventReconstructor;
use crate::io::tables::events::EventsWriter;
use crate::model::{Event, EventHits};
use crate::threads::in_pool;

/// Maximum number of events per block; enough for every core to have several.
const BLOCK_EVENTS: usize = 1024;
/// Number of hits at which a block ends; one event may have more.
const BLOCK_HITS: usize = 1 << 20;

/// Reconstructs the events of `input` (its number in the source) whose first hit is in `positions` into `writer`, on the
/// current rayon pool.
///
/// # Errors
/// If the output cannot be written, or the run is cancelled.
pub(super) fn run_events(
    events: &mut EventBuilder,
    (input, positions): (u32, &Range<u64>),
    reconstructor: &EventReconstructor,
    mut writer: EventsWriter,
    observer: &dyn Observer,
    cancel: &CancelToken,
) -> Result<EventsOutcome> {
    let begin = Instant::now();
    let mut outcome = EventsOutcome::default();
    loop {
        let (block, cut) = next_block(events, input, positions);
        let n_hits: usize = block.iter().map(|event| event.hits.len()).sum();
        let ended = block.is_empty() || cut.is_some();
        let found: Vec<(Event, Duration)> = in_pool(|| {
            block
                .par_iter()
                .with_max_len(1)
                .map(|event| {
                    if cancel.is_cancelled() {
                        return Err(cancel.error());
                    }
                    let start = Instant::now();
                    Ok((reconstructor.reconstruct(event), start.elapsed()))
                })
                .collect::<Result<_>>()
        })?;
        for ((event, took), hits) in found.into_iter().zip(&block) {
            outcome.add(&event, hits, took);
            writer.push(event)?;
        }
        observer.advance_events(block.len() as u64, n_hits as u64);
        if ended {
            outcome.cut = cut;
            break;
        }
    }
    outcome.part = Some(writer.finish()?);
    outcome.took = begin.elapsed();
    Ok(outcome)
}

/// Returns the next events, and the error that ended their reading, if any.
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
