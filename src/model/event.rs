//! The result of event reconstruction: vertex, time, energy.

use super::Flags;

/// One reconstructed event. A quantity that could not be determined is NaN, and a flag states why.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Event {
    /// Event.
    pub event_id: u64,
    /// Vertex.
    pub x_mm: f64,
    /// Vertex.
    pub y_mm: f64,
    /// Vertex.
    pub z_mm: f64,
    /// Time of the deposit, on the time axis of the hits.
    pub time_ns: f64,
    /// Deposited energy.
    pub energy_mev: f64,
    /// Standard deviation of `x_mm`, from the curvature of the likelihood.
    pub x_sigma_mm: f64,
    /// Standard deviation of `y_mm`.
    pub y_sigma_mm: f64,
    /// Standard deviation of `z_mm`.
    pub z_sigma_mm: f64,
    /// Standard deviation of `time_ns`.
    pub time_sigma_ns: f64,
    /// Standard deviation of `energy_mev`.
    pub energy_sigma_mev: f64,
    /// Charge of the hits that were used.
    pub charge_pe: f64,
    /// Channels with a hit that was used.
    pub n_channels_hit: u32,
    /// -2 ln L per degree of freedom.
    pub fit_quality: f64,
    /// Flags of the event.
    pub flags: Flags,
}

impl Event {
    /// Creates an event without results; `flags` state why.
    #[must_use]
    pub fn unknown(event_id: u64, flags: Flags) -> Self {
        Self {
            event_id,
            x_mm: f64::NAN,
            y_mm: f64::NAN,
            z_mm: f64::NAN,
            time_ns: f64::NAN,
            energy_mev: f64::NAN,
            x_sigma_mm: f64::NAN,
            y_sigma_mm: f64::NAN,
            z_sigma_mm: f64::NAN,
            time_sigma_ns: f64::NAN,
            energy_sigma_mev: f64::NAN,
            charge_pe: 0.0,
            n_channels_hit: 0,
            fit_quality: f64::NAN,
            flags,
        }
    }
}
