//! What is to be simulated: where, how much, of what.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::deposit::Particle;
use super::photons::isotropic;
use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::model::vector::{Vector, norm};

/// Most visible energy of an event.
const MAX_MEV: f64 = 1e4;

/// Where events are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Vertex {
    /// All at one place.
    Fixed([f64; 3]),
    /// Evenly in the sphere of this radius.
    Within(f64),
}

/// How much energy events have.
#[derive(Clone, Debug, PartialEq)]
pub enum Energy {
    /// All the same.
    Fixed(f64),
    /// Evenly between two.
    Between(f64, f64),
    /// Any of these with these weights.
    Spectrum(Vec<(f64, f64)>),
}

/// Some events that are alike: a source at a place, or physics in the whole volume.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSource {
    /// Number of events.
    pub events: u64,
    /// Where they are.
    pub vertex: Vertex,
    /// How much energy they have.
    pub energy: Energy,
    /// What deposits it.
    pub particle: Particle,
}

/// What is to be simulated. The same plan gives the same events, whatever the number of threads.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPlan {
    /// The detector.
    pub detector: Detector,
    /// What fixes all random numbers of the events.
    pub seed: u64,
    /// What fixes the PMTs' own efficiencies and time offsets.
    pub detector_seed: u64,
    /// Number of the first event.
    pub first_event: u64,
    /// The events, source after source.
    pub sources: Vec<EventSource>,
    /// Half the width of the events' times round the trigger.
    pub time_spread_ns: f64,
    /// Dark photoelectrons, or none.
    pub dark: bool,
    /// A second event of the same kind this much later in every event.
    pub pile_up_ns: Option<f64>,
}

impl EventPlan {
    /// Number of events.
    #[must_use]
    pub fn n_events(&self) -> u64 {
        self.sources
            .iter()
            .fold(0, |sum, source| sum.saturating_add(source.events))
    }

    /// Checks what does not depend on the detector file.
    pub(super) fn validate(&self) -> Result<()> {
        let out_of_range = |what: &str, found: String, expected: String| {
            Err(Error::usage(format!(
                "{what} is {found}, expected {expected}"
            )))
        };
        if self.n_events() == 0 {
            return Err(Error::usage("there is nothing to simulate: no event"));
        }
        let geometry = self.detector.geometry.as_ref();
        let radius_mm = geometry
            .and_then(|geometry| geometry.scintillator_radius_mm)
            .unwrap_or(0.0);
        for source in &self.sources {
            let distance_mm = match source.vertex {
                Vertex::Fixed(position) => norm(position),
                Vertex::Within(max_mm) if max_mm > 0.0 => max_mm,
                Vertex::Within(_) => f64::INFINITY,
            };
            if distance_mm > radius_mm || distance_mm.is_nan() {
                return out_of_range(
                    "the position of events",
                    format!("{:?}", source.vertex),
                    format!("one in the scintillator, within {radius_mm} mm of the centre"),
                );
            }
            let energies: Vec<f64> = match &source.energy {
                Energy::Fixed(energy) => vec![*energy],
                Energy::Between(low, high) if low <= high => vec![*low, *high],
                Energy::Between(_, _) => vec![f64::NAN],
                Energy::Spectrum(rows) => {
                    if !rows.iter().any(|row| row.1 > 0.0)
                        || rows.iter().any(|row| !(row.1 >= 0.0 && row.1.is_finite()))
                    {
                        return out_of_range(
                            "a weight of the spectrum",
                            "negative, or all are 0".to_owned(),
                            "numbers >= 0, one of them larger".to_owned(),
                        );
                    }
                    rows.iter().map(|row| row.0).collect()
                }
            };
            if energies
                .iter()
                .any(|energy| !(0.0..=MAX_MEV).contains(energy))
            {
                return out_of_range(
                    "the energy in MeV",
                    format!("{:?}", source.energy),
                    format!("0 to {MAX_MEV}"),
                );
            }
        }
        if !(0.0..=1e6).contains(&self.time_spread_ns) {
            return out_of_range(
                "the spread of the events' times",
                self.time_spread_ns.to_string(),
                "0 to 1000000 ns".to_owned(),
            );
        }
        if let Some(gap_ns) = self.pile_up_ns
            && !(0.0..=1e9).contains(&gap_ns)
        {
            return out_of_range(
                "the gap to the second event",
                gap_ns.to_string(),
                "0 or more ns".to_owned(),
            );
        }
        Ok(())
    }
}

impl Vertex {
    pub(super) fn draw(self, rng: &mut ChaCha8Rng) -> Vector {
        // The same numbers are drawn in both cases: what follows does not depend on it.
        let r = rng.random::<f64>().cbrt();
        let direction = isotropic(rng);
        match self {
            Self::Fixed(position) => position,
            Self::Within(radius_mm) => direction.map(|x| x * r * radius_mm),
        }
    }
}

impl Energy {
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng) -> f64 {
        let share = rng.random::<f64>();
        match self {
            Self::Fixed(energy_mev) => *energy_mev,
            Self::Between(low, high) => low + share * (high - low),
            Self::Spectrum(rows) => {
                let mut left = share * rows.iter().map(|row| row.1).sum::<f64>();
                for (energy_mev, weight) in rows {
                    left -= weight;
                    if left < 0.0 {
                        return *energy_mev;
                    }
                }
                rows.last().map_or(0.0, |row| row.0)
            }
        }
    }
}
