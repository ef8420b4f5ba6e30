//! Propagation of photons from their emission to a PMT: absorption, Rayleigh scattering, refraction and reflection at the
//! vessel.

use std::f64::consts::TAU;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1};

use super::sensor_grid::SensorGrid;
use crate::detector::{Detector, PmtType};
use crate::error::{Error, Result};
use crate::math;
use crate::model::vector::{Vector, dot, norm, plus_scaled, scaled};

/// Speed of light.
const MM_PER_NS: f64 = 299.792_458;
/// Maximum number of reflections and scatterings; a photon with more is trapped and taken as absorbed.
const MAX_STEPS: usize = 200;

/// A photon that reached a PMT.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArrivedPhoton {
    /// Index of the PMT among the sensors.
    pub sensor: usize,
    /// Time of flight.
    pub flight_ns: f64,
    /// The PMT type's efficiency for light from this side.
    pub efficiency: f64,
}

/// The optical model of the detector.
#[derive(Debug)]
pub(super) struct Optics {
    inner_mm: f64,
    outer_mm: f64,
    index: [f64; 3],
    group_index: f64,
    absorption_mm: f64,
    rayleigh_mm: f64,
    grid: SensorGrid,
    types: Vec<usize>,
    responses: Vec<(f64, Vec<[f64; 2]>)>,
}

/// The outcome at the vessel.
enum VesselOutcome {
    Reflected(Vector),
    /// Position and direction after the vessel, and the time in it.
    Transmitted(Vector, Vector, f64),
}

impl Optics {
    pub(super) fn new(detector: &Detector) -> Result<Self> {
        let missing = |what: &str| {
            Error::usage(format!(
                "detector `{}` has no {what}, which the simulation of events needs",
                detector.name
            ))
            .with_hint("`nuwave detector juno` shows `[geometry]` and `[medium]`")
        };
        let geometry = detector
            .geometry
            .as_ref()
            .ok_or_else(|| missing("geometry"))?;
        let sensors = detector.sensors().ok_or_else(|| missing("geometry"))?;
        let medium = detector.medium.as_ref().ok_or_else(|| missing("medium"))?;
        let inner_mm = geometry
            .scintillator_radius_mm
            .ok_or_else(|| missing("`geometry.scintillator_radius_mm`"))?;
        Ok(Self {
            inner_mm,
            outer_mm: inner_mm + geometry.vessel_thickness_mm,
            index: [
                medium.scintillator_index,
                medium.vessel_index,
                medium.buffer_index,
            ],
            group_index: medium
                .scintillator_group_index
                .unwrap_or(medium.scintillator_index),
            absorption_mm: medium.absorption_mm,
            rayleigh_mm: medium.rayleigh_mm,
            grid: SensorGrid::new(sensors, geometry.sensor_radius_mm),
            types: sensors.all().iter().map(|one| one.type_index).collect(),
            responses: detector
                .pmt_types
                .iter()
                .map(|pmt: &PmtType| (pmt.efficiency, pmt.angular_response.clone()))
                .collect(),
        })
    }

    /// Returns the largest efficiency of a PMT type for light from any direction.
    pub(super) fn max_efficiency(&self) -> f64 {
        let most = |(efficiency, response): &(f64, Vec<[f64; 2]>)| {
            let best = response.iter().map(|pair| pair[1]).fold(0.0, f64::max);
            efficiency * if response.is_empty() { 1.0 } else { best }
        };
        self.responses.iter().map(most).fold(0.0, f64::max)
    }

    /// Propagates one photon from `from`; `None` if it reaches no PMT.
    pub(super) fn propagate(
        &self,
        mut from: Vector,
        rng: &mut ChaCha8Rng,
    ) -> Option<ArrivedPhoton> {
        let mut direction = isotropic(rng);
        let mut flight_ns = 0.0;
        let draw = |rng: &mut ChaCha8Rng| -> f64 { Exp1.sample(rng) };
        let mut absorbed_mm = self.absorption_mm * draw(rng);
        let mut scattered_mm = self.rayleigh_mm * draw(rng);
        for _ in 0..MAX_STEPS {
            let along = dot(from, direction);
            let square = along * along + self.inner_mm * self.inner_mm - dot(from, from);
            let boundary_mm = (square.max(0.0).sqrt() - along).max(0.0);
            let step_mm = boundary_mm.min(absorbed_mm).min(scattered_mm);
            if step_mm == absorbed_mm {
                return None;
            }
            from = plus_scaled(from, step_mm, direction);
            flight_ns += step_mm * self.group_index / MM_PER_NS;
            absorbed_mm -= step_mm;
            scattered_mm -= step_mm;
            if step_mm < boundary_mm {
                direction = rayleigh(direction, rng);
                scattered_mm = self.rayleigh_mm * draw(rng);
                continue;
            }
            match self.vessel(from, direction, rng) {
                VesselOutcome::Reflected(new_direction) => direction = new_direction,
                VesselOutcome::Transmitted(position, direction, vessel_ns) => {
                    let (pmt, facing, length_mm) = self.grid.intersect(position, direction)?;
                    let flight_ns = flight_ns + vessel_ns + length_mm * self.index[2] / MM_PER_NS;
                    let (efficiency, response) = &self.responses[self.types[pmt]];
                    return Some(ArrivedPhoton {
                        sensor: pmt,
                        flight_ns,
                        efficiency: efficiency * interpolated(response, facing),
                    });
                }
            }
        }
        None
    }

    /// At the inner surface of the vessel: transmission through both surfaces, or reflection into the scintillator. Light
    /// reflected by the outer surface passes the inner one, since their indices hardly differ.
    fn vessel(&self, at: Vector, direction: Vector, rng: &mut ChaCha8Rng) -> VesselOutcome {
        let normal = scaled(1.0 / norm(at), at);
        let Some(inside) = refract(direction, normal, self.index[0], self.index[1], rng) else {
            return VesselOutcome::Reflected(reflect(direction, normal));
        };
        let along = dot(at, inside);
        let square = along * along + self.outer_mm * self.outer_mm - dot(at, at);
        let length_mm = square.max(0.0).sqrt() - along;
        let position = plus_scaled(at, length_mm, inside);
        let outer_normal = scaled(1.0 / norm(position), position);
        match refract(inside, outer_normal, self.index[1], self.index[2], rng) {
            Some(direction) => VesselOutcome::Transmitted(
                position,
                direction,
                length_mm * self.index[1] / MM_PER_NS,
            ),
            None => VesselOutcome::Reflected(reflect(direction, normal)),
        }
    }
}

/// Returns the direction after a surface, or `None` if the photon is reflected: Snell's law and Fresnel's formulas for
/// unpolarised light. `normal` points the way the photon goes.
fn refract(
    direction: Vector,
    normal: Vector,
    from_index: f64,
    to_index: f64,
    rng: &mut ChaCha8Rng,
) -> Option<Vector> {
    let cosine = dot(direction, normal).clamp(0.0, 1.0);
    let ratio = from_index / to_index;
    let square = 1.0 - ratio * ratio * (1.0 - cosine * cosine);
    if square <= 0.0 {
        return None;
    }
    let cos_refracted = square.sqrt();
    let across = (from_index * cosine - to_index * cos_refracted)
        / (from_index * cosine + to_index * cos_refracted);
    let parallel = (from_index * cos_refracted - to_index * cosine)
        / (from_index * cos_refracted + to_index * cosine);
    let reflected = 0.5 * (across * across + parallel * parallel);
    if rng.random::<f64>() < reflected {
        return None;
    }
    let new_direction = plus_scaled(
        scaled(ratio, direction),
        cos_refracted - ratio * cosine,
        normal,
    );
    Some(scaled(1.0 / norm(new_direction), new_direction))
}

fn reflect(direction: Vector, normal: Vector) -> Vector {
    plus_scaled(direction, -2.0 * dot(direction, normal), normal)
}

/// Draws an isotropic direction.
pub(super) fn isotropic(rng: &mut ChaCha8Rng) -> Vector {
    let z = 2.0 * rng.random::<f64>() - 1.0;
    let (sine, cosine) = math::sin_cos(TAU * rng.random::<f64>());
    let across = (1.0 - z * z).sqrt();
    [across * cosine, across * sine, z]
}

/// Draws a direction after Rayleigh scattering of unpolarised light, `1 + cos^2` of the angle between them.
fn rayleigh(direction: Vector, rng: &mut ChaCha8Rng) -> Vector {
    loop {
        let new_direction = isotropic(rng);
        let cosine = dot(direction, new_direction);
        if 2.0 * rng.random::<f64>() < 1.0 + cosine * cosine {
            return new_direction;
        }
    }
}

/// Returns the response at an angle of cosine `facing`, linear between its points and constant beyond; 1 without points.
fn interpolated(response: &[[f64; 2]], facing: f64) -> f64 {
    let (Some(first), Some(last)) = (response.first(), response.last()) else {
        return 1.0;
    };
    let angle = math::acos(facing.clamp(-1.0, 1.0)).to_degrees();
    if angle <= first[0] {
        return first[1];
    }
    for pair in response.windows(2) {
        if angle < pair[1][0] {
            let share = (angle - pair[0][0]) / (pair[1][0] - pair[0][0]);
            return pair[0][1] + share * (pair[1][1] - pair[0][1]);
        }
    }
    last[1]
}
