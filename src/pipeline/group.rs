//! Hits come row by row, events leave one by one: those without a hit too, where a table says that they are there.

use crate::error::Result;
use crate::event::EventHits;
use crate::io::hit_source::{EventKey, EventKeys, HitRow, HitRows, HitSource};

/// The events of a source, in ascending order of input and number.
pub struct Events {
    rows: HitRows,
    block: std::vec::IntoIter<HitRow>,
    /// The first hit of the next event that has any.
    first: Option<HitRow>,
    keys: Option<EventKeys>,
    /// The next event of the table of events.
    key: Option<EventKey>,
}

impl Events {
    /// The events of `source`, from the first on.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(source: &HitSource) -> Result<Self> {
        let mut events = Self {
            rows: source.hits()?,
            block: Vec::new().into_iter(),
            first: None,
            keys: source.events()?,
            key: None,
        };
        events.first = events.next_row()?;
        events.key = events.next_key()?;
        Ok(events)
    }

    /// The next event of `input`; `None` behind its last.
    ///
    /// # Errors
    /// If the source cannot be read any further; an event that was begun is lost.
    pub fn next_of(&mut self, input: u32) -> Result<Option<EventHits>> {
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
        while let Some(row) = self.first.filter(|row| row.event == event) {
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
