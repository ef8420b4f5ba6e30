//! The truth of a simulation: photoelectrons and events that reconstruction has to find.

/// One true photoelectron. `time_ns` counts as a hit's does: from the first sample of the channel's window
/// (from the event's start where windows carry `start_ns`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Photoelectron {
    /// Event.
    pub event_id: u64,
    /// Channel.
    pub channel_id: u32,
    /// Arrival time, transit-time spread included.
    pub time_ns: f64,
    /// Charge in units of the mean single photoelectron.
    pub charge_pe: f32,
}

/// One true event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrueEvent {
    /// Event.
    pub event_id: u64,
    /// Vertex.
    pub x_mm: f64,
    /// Vertex.
    pub y_mm: f64,
    /// Vertex.
    pub z_mm: f64,
    /// Time of the deposit.
    pub time_ns: f64,
    /// Energy deposited.
    pub energy_mev: f64,
}

/// The truth of a file: photoelectrons, and events where the file has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    /// All photoelectrons, in the file's order.
    pub photoelectrons: Vec<Photoelectron>,
    /// All events; empty where the file has waveforms without a vertex.
    pub events: Vec<TrueEvent>,
}
