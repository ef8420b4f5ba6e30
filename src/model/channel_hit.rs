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
    /// It is 0 unless every hit is outside of `0..=window_ns`, as with absolute times. Then the window is laid around the hits, equally far
    /// before the first and after the last one; if they do not all fit, around the largest number of hits that do.
    #[must_use]
    pub fn window_start_ns(&self, window_ns: f64) -> f64 {
        let is_inside = |hit: &ChannelHit| (0.0..=window_ns).contains(&hit.time_ns);
        if self.hits.iter().any(is_inside) {
            return 0.0;
        }
        let times = self.hits.iter().map(|hit| hit.time_ns);
        let mut times_ns: Vec<f64> = times.filter(|time_ns| time_ns.is_finite()).collect();
        times_ns.sort_by(f64::total_cmp);
        // The first hit, the last one and the number of the fullest window so far.
        let mut fullest = (0.0, window_ns, 0);
        let mut end = 0;
        for (begin, &first_ns) in times_ns.iter().enumerate() {
            while times_ns
                .get(end)
                .is_some_and(|&last_ns| last_ns - first_ns <= window_ns)
            {
                end += 1;
            }
            if end - begin > fullest.2 {
                fullest = (first_ns, times_ns[end - 1], end - begin);
            }
        }
        let (first_ns, last_ns, _) = fullest;
        first_ns - 0.5 * (window_ns - (last_ns - first_ns))
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
        assert_eq!(event(&[1e9, 2e9]).window_start_ns(100.0), 1e9 - 50.0);
        // One early hit does not decide where the light is.
        assert_eq!(
            event(&[1e9, 2e9, 2e9 + 40.0, 2e9 + 60.0]).window_start_ns(100.0),
            2e9 - 20.0
        );
        assert_eq!(
            event(&[-90.0, -10.0, f64::NAN]).window_start_ns(100.0),
            -100.0
        );
    }
}
