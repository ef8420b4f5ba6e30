//! The waveforms that were there already, to flag those that come again: a file in which a block stands twice.

use std::collections::HashSet;

use crate::model::{Batch, Extracted, Flags};

/// Most waveforms that are remembered to know them again, where events do not ascend; then it begins anew.
const MAX_REMEMBERED: usize = 1 << 21;

/// The same for a stream, of which there may be many: ten times the channels of a large detector.
const MAX_REMEMBERED_STREAM: usize = 1 << 18;

/// The waveforms of a unit of work, or of a stream, as far as they can come again.
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
    /// Those of a stream.
    #[must_use]
    pub fn for_stream() -> Self {
        Self {
            capacity: MAX_REMEMBERED_STREAM,
            ..Self::default()
        }
    }

    /// Flags what comes for the second time: the same event, channel and begin of the window.
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
                // What came before cannot come again while events ascend.
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

    /// True if the events that came so far ascend.
    #[must_use]
    pub fn ascends(&self) -> bool {
        !self.descended
    }
}
