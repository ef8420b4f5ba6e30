//! Responses: the tables of `nuwave reconstruct` without `input_id`, as record batches.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Schema, SchemaRef};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::command::Output;
use super::rejection::{Reason, Rejection};
use crate::event::EventReconstructor;
use crate::io::tables::events::{columns_of, events_schema};
use crate::io::tables::{HitColumns, WaveformColumns, hits_schema, waveforms_schema};
use crate::model::{Batch, ChannelHit, Event, EventHits, Extracted, Hit, WaveformSummary};

/// The maximum number of hits per event.
const MAX_EVENT_HITS: usize = 1 << 21;
/// The number of events per core that are reconstructed at a time. Between two such chunks the waveforms of other clients are
/// extracted, and disconnected clients are noticed.
const EVENTS_PER_CORE: usize = 4;

/// Returns the schema of a response.
#[must_use]
pub fn schema(output: Output) -> SchemaRef {
    let table = match output {
        Output::Hits => hits_schema(),
        Output::Waveforms => waveforms_schema(),
        Output::Events => events_schema(),
    };
    // The first column, `input_id`, has no meaning in a stream.
    let fields: Vec<_> = table.fields().iter().skip(1).cloned().collect();
    Arc::new(Schema::new(fields))
}

/// Iterates over the waveforms with their summary and hits.
pub fn waveforms_with_hits<'a>(
    batch: &'a Batch,
    extracted: &'a Extracted,
) -> impl Iterator<Item = (u64, u32, &'a WaveformSummary, &'a [Hit])> {
    let ids = batch.event_id().iter().zip(batch.channel_id());
    let mut at = 0;
    ids.zip(&extracted.summaries)
        .map(move |((&event, &channel), summary)| {
            let end = at + summary.n_hits as usize;
            let hits = extracted.hits.get(at..end).unwrap_or_default();
            at = end;
            (event, channel, summary, hits)
        })
}

/// Encodes the hits of `batch`, one per row.
///
/// # Errors
/// Only on an internal error.
pub fn hits(batch: &Batch, extracted: &Extracted) -> Result<RecordBatch, Rejection> {
    let mut columns = HitColumns::default();
    for (event, channel, _, hits) in waveforms_with_hits(batch, extracted) {
        for hit in hits {
            columns.push((0, event, channel), hit);
        }
    }
    table(Output::Hits, columns.take())
}

/// Encodes the waveform summaries of `batch`, one per row.
///
/// # Errors
/// Only on an internal error.
pub fn waveforms(batch: &Batch, extracted: &Extracted) -> Result<RecordBatch, Rejection> {
    let mut columns = WaveformColumns::default();
    for (event, channel, summary, _) in waveforms_with_hits(batch, extracted) {
        columns.push((0, event, channel), summary);
    }
    table(Output::Waveforms, columns.take())
}

/// Encodes events, one per row.
///
/// # Errors
/// Only on an internal error.
pub fn events(events: &[Event]) -> Result<RecordBatch, Rejection> {
    table(Output::Events, columns_of(0, events))
}

/// Builds a table without its first column, `input_id`.
fn table(output: Output, columns: Vec<ArrayRef>) -> Result<RecordBatch, Rejection> {
    let columns = columns.into_iter().skip(1).collect();
    RecordBatch::try_new(schema(output), columns)
        .map_err(|error| Rejection::internal(format!("the table of {}: {error}", output.name())))
}

/// Groups the hits of waveforms by event. An event is complete when the next one begins.
#[derive(Debug, Default)]
pub struct EventGrouper {
    open: Option<EventHits>,
    complete: Vec<EventHits>,
}

impl EventGrouper {
    /// Adds the hits of a batch.
    ///
    /// # Errors
    /// If events are not in ascending order, or an event has too many hits.
    pub fn add(&mut self, batch: &Batch, extracted: &Extracted) -> Result<(), Rejection> {
        for (event_id, channel_id, _, hits) in waveforms_with_hits(batch, extracted) {
            match &mut self.open {
                Some(open) if open.event_id == event_id => {}
                Some(open) if open.event_id > event_id => {
                    return Err(Rejection::malformed(format!(
                        "event {event_id} comes after event {}; send waveforms in ascending order of `event_id`",
                        open.event_id
                    )));
                }
                _ => {
                    let new_event = EventHits {
                        event_id,
                        hits: Vec::new(),
                    };
                    self.complete.extend(self.open.replace(new_event));
                }
            }
            let Some(open) = &mut self.open else { continue };
            if open.hits.len() + hits.len() > MAX_EVENT_HITS {
                return Err(Rejection::new(
                    Reason::Memory,
                    format!("event {event_id} has more than {MAX_EVENT_HITS} hits"),
                ));
            }
            open.hits.extend(hits.iter().map(|hit| ChannelHit {
                channel_id,
                time_ns: hit.time_ns,
                charge_pe: hit.charge_pe,
                flags: hit.flags,
            }));
        }
        Ok(())
    }

    /// Takes the complete events; all of them if the stream has ended.
    pub fn take_complete(&mut self, ended: bool) -> Vec<EventHits> {
        if ended {
            self.complete.extend(self.open.take());
        }
        std::mem::take(&mut self.complete)
    }
}

/// Reconstructs `events` in order, in the threads of `pool`.
///
/// # Errors
/// Only on an internal error.
pub async fn reconstruct(
    reconstructor: &Arc<EventReconstructor>,
    pool: &Arc<ThreadPool>,
    events: Vec<EventHits>,
) -> Result<Vec<Event>, Rejection> {
    let chunk_size = EVENTS_PER_CORE * pool.current_num_threads();
    let mut found = Vec::with_capacity(events.len());
    let mut events = events.into_iter();
    loop {
        let some: Vec<EventHits> = events.by_ref().take(chunk_size).collect();
        if some.is_empty() {
            return Ok(found);
        }
        let (reconstructor, pool) = (Arc::clone(reconstructor), Arc::clone(pool));
        let work = move || -> Vec<Event> {
            pool.install(|| {
                let each = some.par_iter().with_max_len(1);
                each.map(|event| reconstructor.reconstruct(event)).collect()
            })
        };
        let more = tokio::task::spawn_blocking(work).await;
        found.extend(
            more.map_err(|_| Rejection::internal("the reconstruction of an event panicked"))?,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SamplesRef, Waveform};

    fn batch(events: &[u64]) -> (Batch, Extracted) {
        let mut batch = Batch::new_u16(0);
        let mut extracted = Extracted::default();
        for &event_id in events {
            batch.push(Waveform {
                event_id,
                channel_id: 3,
                start_ns: 0.0,
                samples: SamplesRef::U16(&[0; 32]),
            });
            extracted.hits.push(Hit {
                time_ns: event_id as f64,
                ..Hit::default()
            });
            extracted.summaries.push(WaveformSummary {
                n_hits: 1,
                ..WaveformSummary::default()
            });
        }
        (batch, extracted)
    }

    #[test]
    fn an_event_is_complete_when_the_next_begins_wherever_batches_end() {
        let ids = [1, 1, 2, 5, 5, 5, 9];
        for cut in 0..=ids.len() {
            let mut grouper = EventGrouper::default();
            let mut found = Vec::new();
            for part in [&ids[..cut], &ids[cut..]] {
                let (batch, extracted) = batch(part);
                grouper.add(&batch, &extracted).expect("they ascend");
                found.extend(grouper.take_complete(false));
            }
            found.extend(grouper.take_complete(true));
            let found: Vec<_> = found
                .iter()
                .map(|it| (it.event_id, it.hits.len()))
                .collect();
            assert_eq!(found, [(1, 2), (2, 1), (5, 3), (9, 1)], "cut at {cut}");
        }
    }

    #[test]
    fn events_out_of_order_are_rejected() {
        let (batch, extracted) = batch(&[4, 5, 4]);
        let rejected = EventGrouper::default().add(&batch, &extracted);
        let message = rejected.expect_err("4 came before 5").message;
        assert!(message.contains("event 4 comes after event 5"), "{message}");
    }
}
