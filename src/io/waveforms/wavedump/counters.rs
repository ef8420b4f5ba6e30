//! Event counters and channels of consecutive records: how many records are missing between two of them?

/// The order of the records of a file: the same channels in each event, and events that count up by one.
///
/// The number of records that are missing between two of them follows from it, as long as the records keep to the order.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordOrder {
    /// Channels of the first event, in their order; complete once a second event has begun.
    channels: Vec<u32>,
    is_complete: bool,
    /// True once records were in another order.
    is_broken: bool,
    /// Event of the last record, and the index of its channel.
    last: Option<(u64, usize)>,
}

impl RecordOrder {
    /// Adds a record that follows the last one without a gap.
    pub fn add(&mut self, event: u64, channel: u32) {
        let index = self.channels.iter().position(|&it| it == channel);
        let expected = self.last.map(|(event, index)| {
            if index + 1 < self.channels.len() {
                (event, index + 1)
            } else {
                (event + 1, 0)
            }
        });
        let is_in_order = match (self.last, index) {
            (None, _) => true,
            // Another channel of the first event.
            (Some((last, _)), None) => !self.is_complete && last == event,
            (Some(_), Some(index)) => expected == Some((event, index)),
        };
        if index.is_none() && is_in_order {
            self.channels.push(channel);
        }
        self.is_complete |= self.last.is_some_and(|(last, _)| last != event);
        self.is_broken |= !is_in_order;
        self.last = Some((
            event,
            index.unwrap_or(self.channels.len().saturating_sub(1)),
        ));
    }

    /// Adds a record that follows after damage. Returns the number of records that are missing between it and the last
    /// one, if the order of the records tells it.
    pub fn add_after_gap(&mut self, event: u64, channel: u32) -> Option<u64> {
        let missing = self.missing_before(event, channel);
        if missing.is_some() {
            let index = self.channels.iter().position(|&it| it == channel);
            self.is_complete |= self.last.is_some_and(|(last, _)| last != event);
            self.last = Some((event, index.unwrap_or(0)));
        } else {
            // What follows has an order of its own, which may be the same.
            *self = Self::default();
            self.add(event, channel);
        }
        missing
    }

    fn missing_before(&self, event: u64, channel: u32) -> Option<u64> {
        let (last_event, last_index) = self.last.filter(|_| !self.is_broken)?;
        // In the first event it is not known which channels follow.
        if !self.is_complete {
            return None;
        }
        let index = self.channels.iter().position(|&it| it == channel)? as u64;
        let n_channels = self.channels.len() as u64;
        let whole = event.checked_sub(last_event)?.checked_mul(n_channels)?;
        whole.checked_add(index)?.checked_sub(last_index as u64 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order_of(records: &[(u64, u32)]) -> RecordOrder {
        let mut order = RecordOrder::default();
        for &(event, channel) in records {
            order.add(event, channel);
        }
        order
    }

    #[test]
    fn the_number_of_missing_records_follows_from_counter_and_channel() {
        let mut one = order_of(&[(7, 3), (8, 3), (9, 3)]);
        assert_eq!(one.clone().add_after_gap(10, 3), Some(0));
        assert_eq!(one.add_after_gap(14, 3), Some(4));
        one.add(15, 3);
        assert_eq!(one.add_after_gap(17, 3), Some(1));
        let two = [(0, 1), (0, 5), (1, 1), (1, 5), (2, 1)];
        assert_eq!(order_of(&two).add_after_gap(3, 1), Some(1));
        assert_eq!(order_of(&two).add_after_gap(3, 5), Some(2));
        assert_eq!(order_of(&two).add_after_gap(2, 5), Some(0));
    }

    #[test]
    fn the_number_is_unknown_where_the_records_keep_no_order() {
        // The first event may have more channels.
        assert_eq!(order_of(&[(0, 1), (0, 5)]).add_after_gap(2, 1), None);
        // Counters with gaps of their own, counters that begin again, a channel that was not there.
        let skips = [(0, 1), (1, 1), (5, 1)];
        assert_eq!(order_of(&skips).add_after_gap(7, 1), None);
        let good = [(0, 1), (1, 1), (2, 1)];
        assert_eq!(order_of(&good).add_after_gap(0, 1), None);
        assert_eq!(order_of(&good).add_after_gap(5, 2), None);
        assert_eq!(
            order_of(&[(0, 1), (0, 1), (0, 1)]).add_after_gap(0, 1),
            None
        );
        assert_eq!(RecordOrder::default().add_after_gap(3, 1), None);
    }
}
