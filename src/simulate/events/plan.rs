//! The plan of a simulation of events: vertices, energies, particles.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::deposit::Particle;
use super::photons::isotropic;
use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::math;
use crate::model::vector::{Vector, norm};

/// Maximum energy of an event.
const MAX_MEV: f64 = 1e4;

/// The distribution of the vertices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Vertex {
    /// All at one position.
    Fixed([f64; 3]),
    /// Uniform in the sphere of this radius.
    Within(f64),
}

/// The distribution of the energies.
#[derive(Clone, Debug, PartialEq)]
pub enum Energy {
    /// All the same.
    Fixed(f64),
    /// Uniform between two.
    Between(f64, f64),
    /// A spectrum of energies and weights.
    Spectrum(Vec<(f64, f64)>),
}

/// Events of one kind: a source at a position, or physics in the whole volume.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSource {
    /// Number of events.
    pub events: u64,
    /// Their vertices.
    pub vertex: Vertex,
    /// Their energies.
    pub energy: Energy,
    /// The particle that deposits it.
    pub particle: Particle,
}

/// The plan of a simulation of events. The same plan gives the same events for any number of threads.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPlan {
    /// The detector.
    pub detector: Detector,
    /// Seed of all random numbers of the events.
    pub seed: u64,
    /// Seed of the PMTs' own efficiencies and time offsets.
    pub detector_seed: u64,
    /// Number of the first event.
    pub first_event: u64,
    /// The events, source after source.
    pub sources: Vec<EventSource>,
    /// Half-width of the distribution of the events' times around the trigger.
    pub time_spread_ns: f64,
    /// Whether there are dark photoelectrons.
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

    /// Checks the ranges of the values.
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
                    match source.vertex {
                        Vertex::Fixed([x, y, z]) => format!("({x}, {y}, {z}) mm"),
                        Vertex::Within(max_mm) => format!("within {max_mm} mm"),
                    },
                    format!("one in the scintillator, within {radius_mm} mm of the centre"),
                );
            }
            let energies: Vec<f64> = match &source.energy {
                Energy::Fixed(energy) => vec![*energy],
                Energy::Between(low, high) => vec![*low, *high],
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
            if let Energy::Between(low, high) = source.energy
                && low > high
            {
                return out_of_range(
                    "the energy in MeV",
                    format!("{low} to {high}"),
                    "the lower one first".to_owned(),
                );
            }
            let is_wrong = |energy: &&f64| !(0.0..=MAX_MEV).contains(*energy);
            if let Some(wrong) = energies.iter().find(is_wrong) {
                return out_of_range(
                    "the energy in MeV",
                    wrong.to_string(),
                    format!("0 to {MAX_MEV}"),
                );
            }
        }
        if self.first_event.checked_add(self.n_events()).is_none() {
            return out_of_range(
                "the number of the first event",
                self.first_event.to_string(),
                "a smaller one".to_owned(),
            );
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
        // The same numbers are drawn in both cases, so that later ones do not depend on it.
        let r = math::cbrt(rng.random::<f64>());
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
