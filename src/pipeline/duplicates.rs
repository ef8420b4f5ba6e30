//! Flags duplicate waveforms, as in a file that contains a block twice.

use std::collections::HashSet;

use crate::model::{Batch, Extracted, Flags};

/// Maximum number of waveforms to remember where events do not ascend; the memory is cleared when it is full.
const MAX_REMEMBERED: usize = 1 << 21;

/// The same for a stream, since there may be many streams: ten times the channels of a large detector.
const MAX_REMEMBERED_STREAM: usize = 1 << 18;

/// The waveforms of a unit, or of a stream, of which a duplicate can follow.
#[derive(Debug)]
pub struct DuplicateFilter {
    capacity: usize,
    waveforms: HashSet<(u64, u32, u64)>,
    greatest: Option<u64>,
    descended: bool,
}

impl Default for DuplicateFilter {
    fn default() -> Self {
        Self {
            capacity: MAX_REMEMBERED,
            waveforms: HashSet::new(),
            greatest: None,
            descended: false,
        }
    }
}

impl DuplicateFilter {
    /// Returns a filter for a stream.
    #[must_use]
    pub fn for_stream() -> Self {
        Self {
            capacity: MAX_REMEMBERED_STREAM,
            ..Self::default()
        }
    }

    /// Flags duplicates: waveforms with event, channel and start of the window of an earlier one.
    pub fn mark(&mut self, batch: &Batch, extracted: &mut Extracted) {
        let mut hits = extracted.hits.iter_mut();
        for (place, summary) in extracted.summaries.iter_mut().enumerate() {
            let (Some(&event), Some(&channel)) =
                (batch.event_id().get(place), batch.channel_id().get(place))
            else {
                return;
            };
            let start_ns = batch.start_ns().get(place).copied().unwrap_or(0.0);
            if self.greatest < Some(event) {
                // While events ascend, no duplicate of an earlier event can follow.
                if !self.descended {
                    self.waveforms.clear();
                }
                self.greatest = Some(event);
            } else if self.greatest > Some(event) {
                self.descended = true;
            }
            if self.waveforms.len() >= self.capacity {
                self.waveforms.clear();
            }
            let key = (event, channel, start_ns.to_bits());
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

    /// Returns true if the events so far ascend.
    #[must_use]
    pub fn ascends(&self) -> bool {
        !self.descended
    }
}
