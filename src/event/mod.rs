//! Hits of all channels of an event in, its vertex, time and energy out.
//!
//! `prepare` checks and gathers hits, `seed` finds where to begin, `likelihood` says how likely the hits are for a vertex, a
//! time and an energy, `minimize` finds the best ones, `fit` puts it together. What the likelihood compares to is a
//! `LightModel`: light maps (`surface`), time distributions (`times`), charge spectra (`charges`), times of flight
//! (`flight`) and the sum over all channels (`total`, `harmonics`), all learnt by `calibrate light`.

mod bfgs;
mod charges;
mod expected_total;
mod fit;
mod flight;
mod harmonics;
mod light;
mod likelihood;
pub(crate) mod prepare;
pub(crate) mod seed;
mod surface;
mod times;

use serde::{Deserialize, Serialize};

pub use fit::{Fit, Reconstructor};
pub use flight::{Path, path};
pub use light::{Expected, LightModel};
pub use surface::Taps;
pub use times::Arrival;

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
