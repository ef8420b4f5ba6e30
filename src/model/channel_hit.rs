//! The hits of all channels, as the input of event reconstruction.

use super::Flags;

/// One hit of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ChannelHit {
    /// Channel.
    pub channel_id: u32,
    /// Time on the axis of the input: in the event's window, or an absolute time.
    pub time_ns: f64,
    /// Charge.
    pub charge_pe: f32,
    /// Flags.
    pub flags: Flags,
}

/// The hits of one event, in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventHits {
    /// Event number.
    pub event_id: u64,
    /// The hits.
    pub hits: Vec<ChannelHit>,
}

impl EventHits {
    /// Returns the start of the event's window of `window_ns` on the time axis of the hits.
    ///
    /// It is 0 unless every hit is outside of `0..=window_ns`, as with absolute times. Then the window is laid around the hits,
    /// equally far before the first and after the last one; if they do not fit, it begins with the first.
    #[must_use]
    pub fn window_start_ns(&self, window_ns: f64) -> f64 {
        let (mut first_ns, mut last_ns) = (f64::INFINITY, f64::NEG_INFINITY);
        for hit in self.hits.iter().filter(|hit| hit.time_ns.is_finite()) {
            if (0.0..=window_ns).contains(&hit.time_ns) {
                return 0.0;
            }
            first_ns = first_ns.min(hit.time_ns);
            last_ns = last_ns.max(hit.time_ns);
        }
        if first_ns > last_ns {
            return 0.0;
        }
        first_ns - 0.5 * (window_ns - (last_ns - first_ns)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(times_ns: &[f64]) -> EventHits {
        let hit = |&time_ns| ChannelHit {
            time_ns,
            ..ChannelHit::default()
        };
        EventHits {
            event_id: 0,
            hits: times_ns.iter().map(hit).collect(),
        }
    }

    #[test]
    fn the_window_begins_at_zero_unless_no_hit_is_in_it() {
        assert_eq!(event(&[]).window_start_ns(100.0), 0.0);
        assert_eq!(event(&[f64::NAN]).window_start_ns(100.0), 0.0);
        assert_eq!(event(&[-5.0, 7.0, 1e9]).window_start_ns(100.0), 0.0);
        assert_eq!(
            event(&[1e9 + 20.0, 1e9 + 60.0]).window_start_ns(100.0),
            1e9 - 10.0
        );
        assert_eq!(event(&[1e9, 2e9]).window_start_ns(100.0), 1e9);
        assert_eq!(
            event(&[-90.0, -10.0, f64::NAN]).window_start_ns(100.0),
            -100.0
        );
    }
}
