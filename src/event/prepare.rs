//! Checks the hits of an event and groups them by channel.

use crate::detector::Sensors;
use crate::model::{ChannelHit, EventHits, Flags};

/// Maximum charge of a hit; hits with more are invalid.
const MAX_CHARGE_PE: f32 = 1e5;

/// Hits with less charge are taken as single photoelectrons.
const MAX_SINGLE_PE: f32 = 1.6;

/// A channel with hits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HitChannel {
    /// Index among the sensors.
    pub index: usize,
    /// Time of the first hit.
    pub first_ns: f64,
    /// Charge of all hits.
    pub charge_pe: f64,
    /// Its later hits, a range of `Prepared::later`.
    pub later: (usize, usize),
    /// How many of them, from the first on, follow hits of single photoelectrons only: the end of larger hits is not known.
    pub after_single: usize,
}

/// The valid hits of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Prepared {
    /// Channels with hits, in the order of the sensors.
    pub channels: Vec<HitChannel>,
    /// Times of all but the channels' first hits.
    pub later: Vec<f64>,
    /// The reasons why hits were left out.
    pub flags: Flags,
}

/// Checks the hits of `event` and sorts them by channel and time. Times then count from the start of the event's window. `keep` may reject a hit, given its channel's index and time.
pub(crate) fn prepare(
    event: &EventHits,
    sensors: &Sensors,
    offset_ns: impl Fn(usize) -> f64,
    window_ns: f64,
    keep: impl Fn(usize, f64) -> bool,
) -> Prepared {
    let mut prepared = Prepared::default();
    let start_ns = event.window_start_ns(window_ns);
    let mut good: Vec<(usize, f64, f32)> = Vec::with_capacity(event.hits.len());
    for &ChannelHit {
        channel_id,
        time_ns,
        charge_pe,
        flags,
    } in &event.hits
    {
        if flags.contains(Flags::REPEATED) {
            prepared.flags |= Flags::DUPLICATE_HITS;
            continue;
        }
        if !(time_ns.is_finite() && charge_pe > 0.0 && charge_pe < MAX_CHARGE_PE) {
            prepared.flags |= Flags::BAD_HITS;
            continue;
        }
        let Some(index) = sensors.index_of(channel_id) else {
            prepared.flags |= Flags::UNKNOWN_CHANNEL;
            continue;
        };
        let time_ns = time_ns - start_ns;
        if !(0.0..=window_ns).contains(&time_ns) {
            prepared.flags |= Flags::HITS_OUTSIDE_WINDOW;
            continue;
        }
        let time_ns = time_ns - offset_ns(index);
        if keep(index, time_ns) {
            good.push((index, time_ns, charge_pe));
        }
    }
    // The charge is compared too, so that the order, and with it every sum, does not depend on the order of the input.
    good.sort_by(|a, b| {
        a.0.cmp(&b.0)
            .then(a.1.total_cmp(&b.1))
            .then(b.2.total_cmp(&a.2))
    });
    let before = good.len();
    good.dedup_by(|a, b| a.0 == b.0 && a.1 == b.1);
    if good.len() < before {
        prepared.flags |= Flags::DUPLICATE_HITS;
    }
    for hits in good.chunk_by(|a, b| a.0 == b.0) {
        let Some(&(index, first_ns, _)) = hits.first() else {
            continue;
        };
        let start = prepared.later.len();
        prepared.later.extend(hits[1..].iter().map(|hit| hit.1));
        prepared.channels.push(HitChannel {
            index,
            first_ns,
            charge_pe: hits.iter().map(|hit| f64::from(hit.2)).sum(),
            later: (start, prepared.later.len()),
            after_single: hits[..hits.len() - 1]
                .iter()
                .take_while(|hit| hit.2 < MAX_SINGLE_PE)
                .count(),
        });
    }
    prepared
}

impl Prepared {
    /// Returns the charge of all hits.
    pub(crate) fn charge_pe(&self) -> f64 {
        self.channels.iter().map(|channel| channel.charge_pe).sum()
    }

    /// Returns the number of hits.
    pub(crate) fn n_hits(&self) -> usize {
        self.channels.len() + self.later.len()
    }
}
