//! Turns the blocks of a format's decoder into batches of the requested size, limited to the requested unit of work.

use std::ops::Range;

use super::blocks::{Block, BlockReader};
use super::{BatchLimit, Loss, Source, SourceInfo, StopCheck};
use crate::error::{Error, Result};
use crate::io::catch_panic::guarded;
use crate::model::{Batch, Samples};

/// A [`Source`] of batches based on a format's decoder.
pub(crate) struct BlockSource<R> {
    reader: R,
    block: Option<Block>,
    /// Numbers of waveforms and losses of `block` that were processed already.
    taken: usize,
    lost: usize,
    losses: Vec<Loss>,
    /// An error that occurred after waveforms of the same batch; the next call returns it.
    error: Option<Error>,
    ended: bool,
    /// The unit of work, and whether its first waveform has been reached.
    unit: Range<u64>,
    inside: bool,
    /// Position where reading without a gap began, and the last event since then.
    since: u64,
    previous_event: Option<u64>,
    stop: Option<StopCheck>,
}

/// Reading begins one position before a unit, to find the event that continues into it. If no waveform is there, the
/// distance grows by this factor, repeatedly.
const LOOK_BACK: u64 = 64;

impl<R: BlockReader> BlockSource<R> {
    /// Creates a source of the whole file, starting with the reader's next block.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            block: None,
            taken: 0,
            lost: 0,
            losses: Vec::new(),
            error: None,
            ended: false,
            unit: 0..u64::MAX,
            inside: true,
            since: 0,
            previous_event: None,
            stop: None,
        }
    }

    fn stop_if_asked(&self) -> Result<()> {
        if self.stop.as_ref().is_some_and(|stop| stop()) {
            let path = self.reader.info().path.display();
            return Err(Error::try_again(format!("stopped while `{path}` was read")));
        }
        Ok(())
    }

    /// Ensures that `block` has waveforms left. Returns false at the end of the file.
    fn fill(&mut self) -> Result<bool> {
        while !self.ended {
            if let Some(block) = &self.block
                && self.taken < block.batch.len()
            {
                return Ok(true);
            }
            self.lose_before(u64::MAX);
            self.block = None;
            (self.taken, self.lost) = (0, 0);
            self.stop_if_asked()?;
            let path = self.reader.info().path.clone();
            // An error ends the file as well: the reader's position is no longer known.
            self.ended = true;
            match guarded(&path, || self.reader.next_block()) {
                Ok(None) => {}
                Ok(block) => {
                    self.block = block;
                    self.ended = false;
                }
                Err(error) if error.is_system_failure() => return Err(error.into_retryable()),
                Err(error) => {
                    if self.inside {
                        self.losses.push(self.lost_rest(&error));
                    }
                }
            }
        }
        Ok(false)
    }

    /// Returns the loss of everything from the reader's position on.
    fn lost_rest(&self, error: &Error) -> Loss {
        let position = self.reader.position();
        let info = self.reader.info();
        let left = info.n_waveforms.map(|n| n.saturating_sub(position));
        let place = match left {
            Some(_) => format!("row {position} and later"),
            None => format!("byte {position} and later"),
        };
        Loss {
            place,
            event_id: None,
            channel_id: None,
            n_waveforms: left.map(|left| left.max(1)),
            reason: error.reason(),
            position,
        }
    }

    /// Records the block's losses before `position` that belong to the unit.
    fn lose_before(&mut self, position: u64) {
        let Some(block) = &self.block else { return };
        let ahead = block.losses.get(self.lost..).unwrap_or_default();
        let before = ahead.iter().take_while(|loss| loss.position < position);
        let mut before: Vec<Loss> = before.cloned().collect();
        self.lost += before.len();
        if self.inside {
            self.losses.append(&mut before);
        }
    }

    /// Moves to `position` or before it. Returns false if the reader stays where it is.
    fn go_to(&mut self, position: u64) -> Result<bool> {
        let path = self.reader.info().path.clone();
        let here = self.reader.position();
        guarded(&path, || self.reader.seek(position)).map_err(Error::into_retryable)?;
        let moved = self.reader.position() != here;
        if moved {
            self.block = None;
            (self.taken, self.lost) = (0, 0);
            self.since = self.reader.position();
            self.previous_event = None;
            self.ended = false;
        }
        Ok(moved)
    }
}

/// The relation of a waveform to the unit of work.
enum Step {
    /// It belongs to an earlier unit.
    Skip,
    Take,
    /// It belongs to a later unit.
    End,
    /// The event before it is not known.
    LookBack,
}

impl<R> BlockSource<R> {
    fn step(&self, event_id: u64, position: u64) -> Step {
        if self.previous_event == Some(event_id) {
            return if self.inside { Step::Take } else { Step::Skip };
        }
        if position >= self.unit.end {
            return Step::End;
        }
        if self.inside {
            return Step::Take;
        }
        if position < self.unit.start {
            return Step::Skip;
        }
        if self.previous_event.is_none() && self.since > 0 {
            return Step::LookBack;
        }
        Step::Take
    }
}

impl<R: BlockReader> Source for BlockSource<R> {
    fn info(&self) -> &SourceInfo {
        self.reader.info()
    }

    fn next_batch(&mut self, limit: BatchLimit) -> Result<Option<Batch>> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let mut batch: Option<Batch> = None;
        let mut distance: u64 = 1;
        loop {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return Ok(batch),
                Err(error) if batch.is_some() => {
                    self.error = Some(error);
                    return Ok(batch);
                }
                Err(error) => return Err(error),
            }
            while let Some(block) = &self.block
                && let Some(waveform) = block.batch.get(self.taken)
            {
                let position = block.positions.get(self.taken).copied().unwrap_or(0);
                let event_id = waveform.event_id;
                if block
                    .losses
                    .get(self.lost)
                    .is_some_and(|loss| loss.position < position)
                {
                    self.lose_before(position);
                    continue;
                }
                match self.step(event_id, position) {
                    Step::Skip => {}
                    Step::End => return Ok(batch),
                    Step::LookBack => {
                        distance = distance.saturating_mul(LOOK_BACK);
                        let before = self.unit.start.saturating_sub(distance);
                        if !self.go_to(before)? {
                            self.since = 0;
                        }
                        continue;
                    }
                    Step::Take => {
                        self.inside = true;
                        let filled = batch.get_or_insert_with(|| empty_like(&block.batch));
                        let n_samples = filled.samples().len() + waveform.samples.len();
                        if !filled.is_empty()
                            && (filled.len() >= limit.waveforms || n_samples > limit.samples)
                        {
                            return Ok(batch);
                        }
                        filled.push(waveform);
                    }
                }
                self.previous_event = Some(event_id);
                self.taken += 1;
            }
        }
    }

    fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }

    fn select(&mut self, positions: Range<u64>) -> Result<()> {
        let before = positions.start.saturating_sub(1);
        let read = self.reader.position();
        let first = self
            .block
            .as_ref()
            .and_then(|block| block.positions.get(self.taken).copied())
            .unwrap_or(read);
        // Backwards, or beyond the block that is decoded already.
        if positions.start < first && self.unit.end > positions.start || before > read {
            self.go_to(before)?;
        }
        self.losses.clear();
        self.inside = positions.start == 0;
        self.unit = positions;
        Ok(())
    }

    fn stop_when(&mut self, stop: StopCheck) {
        self.stop = Some(stop);
    }

    fn events_ascend(&mut self) -> Result<bool> {
        let path = self.reader.info().path.clone();
        let mut last: Option<u64> = None;
        loop {
            self.stop_if_asked()?;
            let events = match guarded(&path, || self.reader.next_events()) {
                Ok(Some(events)) => events,
                Err(error) if error.is_system_failure() => return Err(error.into_retryable()),
                Ok(None) | Err(_) => return Ok(true),
            };
            for event in events {
                if last != Some(event) && last >= Some(event) {
                    return Ok(false);
                }
                last = Some(event);
            }
        }
    }
}

fn empty_like(batch: &Batch) -> Batch {
    match batch.samples() {
        Samples::U16(_) => Batch::new_u16(batch.input_id()),
        Samples::F32(_) => Batch::new_f32(batch.input_id()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::waveforms::blocks::Row;
    use crate::model::{MIN_SAMPLES, SamplesRef};
    use std::path::PathBuf;

    struct Panics(SourceInfo);

    impl BlockReader for Panics {
        fn info(&self) -> &SourceInfo {
            &self.0
        }

        fn next_block(&mut self) -> Result<Option<Block>> {
            panic!("as a library does on damaged input")
        }

        fn position(&self) -> u64 {
            7
        }
    }

    #[test]
    fn a_panic_in_a_decoder_is_a_loss_once() {
        let info = SourceInfo::new(PathBuf::from("damaged.bin"), "test", 10);
        let mut source = BlockSource::new(Panics(info));
        for n_lost in [1, 0] {
            let end = source.next_batch(BatchLimit::default());
            assert_eq!(end.expect("the end"), None);
            let losses = source.take_losses();
            assert_eq!(losses.len(), n_lost);
            assert!(losses.iter().all(|loss| loss.place.contains("byte 7")));
        }
    }

    /// Rows with the given events, some of them lost, three per block.
    struct Rows {
        info: SourceInfo,
        events: Vec<Option<u64>>,
        next: usize,
        /// True if it can seek.
        seeks: bool,
    }

    impl Rows {
        fn new(events: &[Option<u64>], seeks: bool) -> BlockSource<Self> {
            BlockSource::new(Self {
                info: SourceInfo::new(PathBuf::from("rows"), "test", 10),
                events: events.to_vec(),
                next: 0,
                seeks,
            })
        }
    }

    impl BlockReader for Rows {
        fn info(&self) -> &SourceInfo {
            &self.info
        }

        fn next_block(&mut self) -> Result<Option<Block>> {
            let first = self.next;
            self.next = (first + 3).min(self.events.len());
            if first == self.next {
                return Ok(None);
            }
            let mut block = Block::new(0, Samples::U16(Vec::new()));
            for row in first..self.next {
                let row_of = Row {
                    event_id: self.events[row].map(i128::from),
                    channel_id: Some(row as i128),
                    start_ns: Some(0.0),
                    samples: Some(SamplesRef::U16(&[0; MIN_SAMPLES])),
                };
                block.push(row_of, row as u64, || format!("row {row}"));
            }
            Ok(Some(block))
        }

        fn position(&self) -> u64 {
            self.next as u64
        }

        fn seek(&mut self, position: u64) -> Result<()> {
            if self.seeks {
                self.next = position as usize / 3 * 3;
            }
            Ok(())
        }
    }

    /// Reads the rows of a unit, and the lost ones.
    fn unit(source: &mut BlockSource<Rows>, positions: Range<u64>) -> (Vec<u32>, Vec<u64>) {
        source.select(positions).expect("rows");
        let (mut rows, mut lost) = (Vec::new(), Vec::new());
        let limit = BatchLimit {
            waveforms: 2,
            samples: 1 << 20,
        };
        loop {
            let batch = source.next_batch(limit).expect("rows");
            lost.extend(source.take_losses().iter().map(|loss| loss.position));
            let Some(batch) = batch else {
                return (rows, lost);
            };
            rows.extend(batch.channel_id());
        }
    }

    proptest::proptest! {
        /// However a file is divided into units, each row is in one of them, events are complete, and it makes no difference
        /// whether the units are read in order, separately, or by a reader that cannot seek.
        #[test]
        fn units_share_out_the_rows(
            runs in proptest::collection::vec((proptest::option::weighted(0.7, 0u64..4), 1usize..9), 0..20),
            size in 1u64..20,
        ) {
            let events: Vec<Option<u64>> = runs
                .iter()
                .flat_map(|(event, length)| std::iter::repeat_n(*event, *length))
                .collect();
            let n_units = (events.len() as u64).div_ceil(size).max(1);
            let range = |k: u64| k * size..if k + 1 == n_units { u64::MAX } else { (k + 1) * size };
            let mut in_order = Rows::new(&events, true);
            let mut forwards = Rows::new(&events, false);
            let (mut rows, mut lost) = (Vec::new(), Vec::new());
            for k in 0..n_units {
                let found = unit(&mut in_order, range(k));
                proptest::prop_assert_eq!(&found, &unit(&mut forwards, range(k)));
                proptest::prop_assert_eq!(&found, &unit(&mut Rows::new(&events, true), range(k)));
                proptest::prop_assert_eq!(&found, &unit(&mut Rows::new(&events, false), range(k)));
                rows.extend(found.0);
                lost.extend(found.1);
            }
            let of = |there: bool| -> Vec<usize> {
                (0..events.len()).filter(|row| events[*row].is_some() == there).collect()
            };
            proptest::prop_assert_eq!(rows.iter().map(|row| *row as usize).collect::<Vec<_>>(), of(true));
            proptest::prop_assert_eq!(lost.iter().map(|row| *row as usize).collect::<Vec<_>>(), of(false));
        }
    }
}
