//! Event builder: groups rows of hits into events. Events without hits are included where a table lists them.

use std::ops::Range;

use crate::error::Result;
use crate::io::hits::{EventKey, EventKeys, HitRow, HitRows, HitSource};
use crate::model::EventHits;

/// The events of a source, in ascending order of input and number.
pub struct EventBuilder {
    rows: HitRows,
    block: std::vec::IntoIter<HitRow>,
    /// The first hit of the next event that has any.
    first: Option<HitRow>,
    keys: Option<EventKeys>,
    /// The next entry of the table of events.
    key: Option<EventKey>,
    /// The input that was read last, and the number of its hits read so far.
    read: (u32, u64),
}

impl EventBuilder {
    /// Returns a builder of the events of `source`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn new(source: &HitSource) -> Result<Self> {
        let mut events = Self {
            rows: source.hits()?,
            block: Vec::new().into_iter(),
            first: None,
            keys: source.events()?,
            key: None,
            read: (0, 0),
        };
        events.first = events.next_row()?;
        events.key = events.next_key()?;
        Ok(events)
    }

    /// Returns the next event of `input` whose first hit is in `positions`, counted in hits of the input; `None` after the last.
    ///
    /// # Errors
    /// As [`next_of_input`](Self::next_of_input).
    pub fn next_in(&mut self, input: u32, positions: &Range<u64>) -> Result<Option<EventHits>> {
        loop {
            let next = self.first.map(|row| row.event).into_iter().chain(self.key);
            let Some((of_input, _)) = next.min() else {
                return Ok(None);
            };
            if of_input < input {
                self.next_of_input(of_input)?;
                continue;
            }
            let position = if self.read.0 == of_input {
                self.read.1
            } else {
                0
            };
            if of_input > input || position >= positions.end {
                return Ok(None);
            }
            let event = self.next_of_input(input)?;
            if position >= positions.start {
                return Ok(event);
            }
        }
    }

    /// Returns the next event of `input`; `None` after its last.
    ///
    /// # Errors
    /// If the source cannot be read any further; an incomplete event is lost.
    pub fn next_of_input(&mut self, input: u32) -> Result<Option<EventHits>> {
        let first = self.first.map(|row| row.event);
        let Some(event) = first.into_iter().chain(self.key).min() else {
            return Ok(None);
        };
        if event.0 != input {
            return Ok(None);
        }
        if self.key == Some(event) {
            self.key = self.next_key()?;
        }
        let mut hits = Vec::new();
        if self.read.0 != input {
            self.read = (input, 0);
        }
        while let Some(row) = self.first.filter(|row| row.event == event) {
            self.read.1 += 1;
            hits.push(row.hit);
            self.first = self.next_row()?;
        }
        Ok(Some(EventHits {
            event_id: event.1,
            hits,
        }))
    }

    fn next_row(&mut self) -> Result<Option<HitRow>> {
        loop {
            if let Some(row) = self.block.next() {
                return Ok(Some(row));
            }
            match self.rows.next_block()? {
                Some(block) => self.block = block.into_iter(),
                None => return Ok(None),
            }
        }
    }

    fn next_key(&mut self) -> Result<Option<EventKey>> {
        self.keys.as_mut().map_or(Ok(None), EventKeys::next_key)
    }
}
