//! The truth of a simulation.

/// One true photoelectron. `time_ns` is relative to the first sample of the channel's window, like that of a hit, or to the
/// event's start if windows have a `start_ns`.
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
    /// Deposited energy.
    pub energy_mev: f64,
}

/// The truth of a file: photoelectrons, and events if the file has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    /// All photoelectrons, in the file's order.
    pub photoelectrons: Vec<Photoelectron>,
    /// All events; empty if the file has waveforms without a vertex.
    pub events: Vec<TrueEvent>,
}
