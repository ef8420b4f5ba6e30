//! Flags duplicate waveforms, as in a file that contains a block twice, or two runs whose event counters begin alike.

mod seen;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use seen::SeenSet;

use crate::error::Result;
use crate::model::{Batch, Extracted, Flags};

/// Maximum number of entries in memory: 70 MiB. An entry has up to 64 channels of an event.
const MAX_ENTRIES: usize = (1 << 22) / 8 * 7;
/// The same for a stream, since there may be many streams: ten times the channels of a large detector, each with a start of its own.
const MAX_ENTRIES_STREAM: usize = 1 << 18;

/// Stands for any start of a window; as a float it is NaN, which no start is.
const ANY_START: u64 = u64::MAX;

/// A place where the event number falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallBack {
    /// Index of the waveform among those of the unit.
    pub waveform: u64,
    /// Its event.
    pub event_id: u64,
    /// The event before it.
    pub after: u64,
    /// True if waveforms from here on have event, channel and start of an earlier one.
    pub repeats: bool,
    /// True if waveforms from here on have event and channel of one before, with another start.
    pub reappears: bool,
}

/// The waveforms of a unit, or of a stream, of which a duplicate can follow.
#[derive(Debug)]
pub struct DuplicateFilter {
    seen: SeenSet,
    /// True if the events are known to ascend: no duplicate of an earlier event can follow.
    ascending: bool,
    greatest: Option<u64>,
    previous: Option<u64>,
    n_waveforms: u64,
    /// The first place where the event number falls, and the last one.
    fall_backs: Option<(FallBack, FallBack)>,
}

impl DuplicateFilter {
    /// Returns a filter for the waveforms of a unit. Duplicates are found wherever they stand; what does not fit into memory is kept
    /// in files without a name in `folder`. If the events are known to be `ascending`, earlier events are forgotten.
    #[must_use]
    pub fn for_unit(folder: PathBuf, ascending: bool) -> Self {
        Self::with(SeenSet::new(MAX_ENTRIES, Some(folder)), ascending)
    }

    /// Returns a filter for a stream: duplicates are found as far back as memory reaches.
    #[must_use]
    pub fn for_stream() -> Self {
        Self::with(SeenSet::new(MAX_ENTRIES_STREAM, None), false)
    }

    fn with(seen: SeenSet, ascending: bool) -> Self {
        Self {
            seen,
            ascending,
            greatest: None,
            previous: None,
            n_waveforms: 0,
            fall_backs: None,
        }
    }

    /// Flags duplicates: waveforms with event, channel and start of the window of an earlier one.
    ///
    /// # Errors
    /// If what does not fit into memory cannot be kept on disk.
    pub fn mark(&mut self, batch: &Batch, extracted: &mut Extracted) -> Result<()> {
        let mut hits = extracted.hits.iter_mut();
        let has_starts = !batch.start_ns().is_empty();
        for (place, summary) in extracted.summaries.iter_mut().enumerate() {
            let (Some(&event), Some(&channel)) =
                (batch.event_id().get(place), batch.channel_id().get(place))
            else {
                return Ok(());
            };
            let start_ns = batch.start_ns().get(place).copied().unwrap_or(0.0);
            self.follow(event);
            let again = !self.seen.insert(event, channel, start_ns.to_bits())?;
            let reappears = has_starts && !again && self.reappears(event, channel)?;
            let mine = hits.by_ref().take(summary.n_hits as usize);
            if again {
                summary.flags |= Flags::REPEATED;
                mine.for_each(|hit| hit.flags |= Flags::REPEATED);
                self.blame(event, |place| place.repeats = true);
            } else {
                mine.for_each(drop);
            }
            if reappears {
                self.blame(event, |place| place.reappears = true);
            }
        }
        Ok(())
    }

    /// Notes where the event number falls.
    fn follow(&mut self, event: u64) {
        if let Some(after) = self.previous.filter(|&before| before > event) {
            let here = FallBack {
                waveform: self.n_waveforms,
                event_id: event,
                after,
                repeats: false,
                reappears: false,
            };
            let first = self.fall_backs.map_or(here, |(first, _)| first);
            self.fall_backs = Some((first, here));
        }
        if self.greatest < Some(event) {
            if self.ascending && self.fall_backs.is_none() {
                self.seen.clear();
            }
            self.greatest = Some(event);
        }
        self.previous = Some(event);
        self.n_waveforms += 1;
    }

    /// Returns true if a waveform of this event and channel was there before the event number fell for the first time.
    fn reappears(&mut self, event: u64, channel: u32) -> Result<bool> {
        if self.fall_backs.is_none() {
            self.seen.insert(event, channel, ANY_START)?;
            return Ok(false);
        }
        self.seen.contains(event, channel, ANY_START)
    }

    /// Notes that a waveform of `event` was there before: the last place where the event number fell is where the numbers begin again.
    fn blame(&mut self, event: u64, note: impl FnOnce(&mut FallBack)) {
        if let Some((first, last)) = &mut self.fall_backs
            && event <= last.after
        {
            if !first.repeats && !first.reappears {
                *first = *last;
            }
            note(first);
        }
    }

    /// Returns where the event numbers begin again, or fall for the first time; `None` if they ascend.
    #[must_use]
    pub fn fall_back(&self) -> Option<FallBack> {
        self.fall_backs.map(|(first, _)| first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SamplesRef, Waveform, WaveformSummary};

    /// Returns which of the waveforms, each an event, a channel and a start, are flagged.
    fn flagged(filter: &mut DuplicateFilter, waveforms: &[(u64, u32, f64)]) -> Vec<bool> {
        let mut batch = Batch::new_u16(0);
        let mut extracted = Extracted::default();
        for &(event_id, channel_id, start_ns) in waveforms {
            batch.push(Waveform {
                event_id,
                channel_id,
                start_ns,
                samples: SamplesRef::U16(&[0; 32]),
            });
            extracted.summaries.push(WaveformSummary::default());
        }
        filter
            .mark(&batch, &mut extracted)
            .expect("room on the disk");
        let flags = extracted.summaries.iter().map(|summary| summary.flags);
        flags.map(|flags| flags.contains(Flags::REPEATED)).collect()
    }

    /// Waveforms of events 0 to 4 in channels of two words.
    fn run() -> Vec<(u64, u32, f64)> {
        let event = |event: u64| [3, 70, 71].map(|channel| (event, channel, 0.0));
        (0..5).flat_map(event).collect()
    }

    #[test]
    fn a_second_run_is_flagged_in_whole_also_beyond_the_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        for capacity in [1, 2, 3, 7, 1000] {
            let seen = SeenSet::new(capacity, Some(folder.path().to_owned()));
            let mut filter = DuplicateFilter::with(seen, false);
            assert_eq!(flagged(&mut filter, &run()), [false; 15], "{capacity}");
            assert_eq!(filter.fall_back(), None);
            assert_eq!(flagged(&mut filter, &run()), [true; 15], "{capacity}");
            let expected = FallBack {
                waveform: 15,
                event_id: 0,
                after: 4,
                repeats: true,
                reappears: false,
            };
            assert_eq!(filter.fall_back(), Some(expected));
            // Other channels, starts and events are new, also now.
            let other = [(2, 69, 0.0), (2, 70, 8.0), (5, 70, 0.0), (2, 70, 0.0)];
            let found = flagged(&mut filter, &other);
            assert_eq!(found, [false, false, false, true], "{capacity}");
        }
    }

    #[test]
    fn scattered_events_are_no_second_run() {
        let by_channel = |channel| (0..4).map(move |event| (event, channel, 0.0));
        let waveforms: Vec<_> = [0, 1].into_iter().flat_map(by_channel).collect();
        let mut filter = DuplicateFilter::for_stream();
        assert_eq!(flagged(&mut filter, &waveforms), [false; 8]);
        let fall_back = filter.fall_back().expect("a place");
        assert_eq!((fall_back.waveform, fall_back.repeats), (4, false));
    }

    #[test]
    fn a_second_run_with_other_starts_is_noticed() {
        let at = |start_ns: f64| {
            run()
                .into_iter()
                .map(move |(event, channel, _)| (event, channel, start_ns))
        };
        let waveforms: Vec<_> = at(8.0).chain(at(1e9)).collect();
        let mut filter = DuplicateFilter::for_stream();
        assert_eq!(flagged(&mut filter, &waveforms), [false; 30]);
        let place = filter.fall_back().expect("a place");
        assert_eq!(
            (place.waveform, place.repeats, place.reappears),
            (15, false, true)
        );
    }

    #[test]
    fn a_stream_remembers_at_least_half_of_its_capacity() {
        let first = [(0, 1, 0.0), (0, 70, 0.0)];
        let mut filter = DuplicateFilter::with(SeenSet::new(8, None), false);
        assert_eq!(flagged(&mut filter, &first), [false; 2]);
        // Each waveform of an event in memory is found, wherever the memory was full.
        for event in 1..50 {
            let event = [3, 70, 140].map(|channel| (event, channel, 0.0));
            assert_eq!(flagged(&mut filter, &event), [false; 3]);
            assert_eq!(flagged(&mut filter, &event), [true; 3]);
        }
        assert_eq!(flagged(&mut filter, &first), [false; 2], "too long ago");
    }

    #[test]
    fn repeats_within_an_event_are_found_where_events_ascend() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut filter = DuplicateFilter::for_unit(folder.path().to_owned(), true);
        let waveforms = [(7, 1, 0.0), (7, 2, 0.0), (7, 1, 0.0), (8, 1, 0.0)];
        assert_eq!(
            flagged(&mut filter, &waveforms),
            [false, false, true, false]
        );
        assert_eq!(filter.fall_back(), None);
    }
}
