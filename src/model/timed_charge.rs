/// A time and a charge: a hit or a true photoelectron.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimedCharge {
    /// Time from the first sample of the window.
    pub time_ns: f64,
    /// Charge.
    pub charge_pe: f64,
}
