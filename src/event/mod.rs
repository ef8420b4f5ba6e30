//! Hits of all channels of an event in, its vertex, time and energy out.
//!
//! `prepare` checks and gathers hits, `seed` finds where to begin, `likelihood` says how likely the hits are for a vertex, a
//! time and an energy, `minimise` finds the best ones, `fit` puts it together. What the likelihood compares to is a
//! `LightModel`: light maps (`surface`), time distributions (`times`), charge spectra (`charges`), times of flight
//! (`flight`) and the sum over all channels (`total`, `harmonics`), all learnt by `calibrate light`.

mod charges;
mod fit;
mod flight;
mod harmonics;
mod light;
mod likelihood;
mod minimise;
pub(crate) mod prepare;
pub(crate) mod seed;
mod surface;
mod times;
mod total;

use serde::{Deserialize, Serialize};

pub use charges::{ChargeTable, STEP_PE};
pub use fit::{Fit, Reconstructor};
pub use flight::{Flight, Path, path};
pub use light::{ChannelLight, EnergyScale, Expected, LightModel, LightTables, TypeLight};
pub use surface::{Axis, Surface, Taps};
pub use times::{Arrival, FROM_NS, Nodes, STEP_NS, TimeTable};

use crate::model::Flags;

/// One hit of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ChannelHit {
    /// Channel.
    pub channel_id: u32,
    /// Time in the event's window.
    pub time_ns: f32,
    /// Charge.
    pub charge_pe: f32,
    /// What is special about it.
    pub flags: Flags,
}

/// The hits of one event, in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventHits {
    /// Event.
    pub event_id: u64,
    /// Its hits.
    pub hits: Vec<ChannelHit>,
}

/// How an event is reconstructed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The centroid of the charges and the peak of the times; needs no light maps
    Centroid,
    /// A likelihood fit of the channels' charges
    Charge,
    /// A likelihood fit of the hits' times; the energy follows from the charge
    Time,
    /// One likelihood fit of charges and times together
    #[default]
    Full,
}
