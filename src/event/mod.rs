//! Event reconstruction: from the hits of all channels to vertex, time and energy.
//!
//! `prepare` checks and groups hits, `seed` finds starting values, `likelihood` is the likelihood of the hits as a function of
//! vertex, time and energy, `bfgs` maximises it, and `fit` combines these steps. The likelihood compares the hits with a
//! `LightModel`: light maps (`surface`), time distributions (`times`), charge spectra (`charges`), times of flight
//! (`time_of_flight`) and the sum over all channels (`expected_total`, `harmonics`), all made by `calibrate light`.

mod bfgs;
mod charges;
mod expected_total;
mod fit;
mod harmonics;
mod light;
mod likelihood;
pub(crate) mod prepare;
pub(crate) mod seed;
mod surface;
mod time_of_flight;
mod times;

use serde::{Deserialize, Serialize};

pub use fit::{EventFit, EventReconstructor};
pub use light::{Expected, LightModel};
pub use surface::CubicTaps;
pub use time_of_flight::{LightPath, light_path};
pub use times::Arrival;

/// The method of the event reconstruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum EventMethod {
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
