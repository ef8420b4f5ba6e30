//! The hits of all channels, as the input of event reconstruction.

use super::Flags;

/// One hit of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ChannelHit {
    /// Channel.
    pub channel_id: u32,
    /// Time in the event's window.
    pub time_ns: f32,
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
