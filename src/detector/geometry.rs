//! The positions of the PMTs and the optical medium: placement rules, sensor tables, refractive indices.

use std::collections::BTreeMap;
use std::f64::consts::{PI, TAU};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Detector;
use crate::math;

/// The detector's shape and the positions of its PMTs, as the file describes them. The centre is the origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Geometry {
    /// Radius of the sphere of scintillator. A detector of another shape has none; its events get a centroid only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scintillator_radius_mm: Option<f64>,
    /// Thickness of the transparent vessel around it.
    #[serde(default)]
    pub vessel_thickness_mm: f64,
    /// Radius of a PMT's photocathode.
    pub sensor_radius_mm: f64,
    /// The placement of the PMTs.
    pub sensors: Placement,
}

/// The placement of the PMTs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Placement {
    /// In rings of constant z on a sphere, as evenly as possible. Channels are numbered from the top.
    Rings {
        /// Radius of that sphere.
        radius_mm: f64,
    },
    /// From a table: CSV with the columns `channel_id` (or `sensor_id`), `x_mm`, `y_mm`, `z_mm` and, with more than
    /// one type of PMT, `type`; or HDF5 with the arrays `sensor_id` (n) and `sensor_xyz_mm` (n, 3).
    Table {
        /// The table; a relative path is relative to the detector file's folder.
        file: PathBuf,
        /// The names of the types in the table, and their names here (`dynode = "R12860"`). Equal names need no entry.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        types: BTreeMap<String, String>,
    },
}

/// The optical medium.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Medium {
    /// Photoelectrons of all PMTs together for 1 MeV of visible energy at the centre.
    pub light_pe_per_mev: f64,
    /// Refractive index of the scintillator.
    pub scintillator_index: f64,
    /// The group index there; the refractive index if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scintillator_group_index: Option<f64>,
    /// Refractive index of the vessel.
    pub vessel_index: f64,
    /// Refractive index between vessel and PMTs.
    pub buffer_index: f64,
    /// Absorption length in the scintillator.
    pub absorption_mm: f64,
    /// Rayleigh scattering length in the scintillator.
    pub rayleigh_mm: f64,
    /// Dependence of visible on deposited energy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonlinearity: Option<Nonlinearity>,
}

/// Visible energy over deposited energy, `f(E) = (1 + p_linear E) / (1 + p_low exp(-p_rate E))` divided by its value at
/// `reference_mev`: quenching and Cherenkov light in one empirical curve (the form of arXiv:1902.08241, eq. 6).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nonlinearity {
    /// Deficit at the lowest energies.
    pub p_low: f64,
    /// Rate at which the deficit decreases.
    pub p_rate_per_mev: f64,
    /// Slope at all energies.
    #[serde(default)]
    pub p_linear_per_mev: f64,
    /// Energy at which visible and deposited energy are equal.
    pub reference_mev: f64,
}

impl Nonlinearity {
    fn curve(&self, energy_mev: f64) -> f64 {
        (1.0 + self.p_linear_per_mev * energy_mev)
            / (1.0 + self.p_low * math::exp(-self.p_rate_per_mev * energy_mev))
    }

    /// Returns the visible energy of an electron that deposits `energy_mev`.
    #[must_use]
    pub fn visible_mev(&self, energy_mev: f64) -> f64 {
        energy_mev * self.curve(energy_mev) / self.curve(self.reference_mev)
    }
}

/// The position of one PMT.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sensor {
    /// Channel.
    pub channel_id: u32,
    /// Index in the detector's list of PMT types.
    pub type_index: usize,
    /// Centre of the photocathode.
    pub position_mm: [f64; 3],
}

/// The positions of all PMTs, in ascending order of their channels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sensors {
    all: Vec<Sensor>,
    /// For each channel number, the index in `all` plus one; 0 if there is no such channel.
    by_channel: Vec<u32>,
}

impl Sensors {
    /// Sorts `all` by channel. `Err` holds a channel that occurs twice.
    pub(super) fn new(mut all: Vec<Sensor>) -> Result<Self, u32> {
        all.sort_by_key(|sensor| sensor.channel_id);
        if let Some(pair) = all
            .windows(2)
            .find(|pair| pair[0].channel_id == pair[1].channel_id)
        {
            return Err(pair[0].channel_id);
        }
        let channels = all.last().map_or(0, |last| last.channel_id as usize + 1);
        let mut by_channel = vec![0; channels];
        for (place, sensor) in (1..).zip(&all) {
            by_channel[sensor.channel_id as usize] = place;
        }
        Ok(Self { all, by_channel })
    }

    /// Places PMTs by `Placement::Rings`, with the types interleaved by the detector's rule.
    ///
    /// Rings are as far apart as the mean distance of the PMTs in them, `sqrt(4 pi / n)` of the radius; each has its
    /// share of the PMTs by `sin(theta)`, rounded so that the sum is right; every other ring is turned by half a step.
    pub(super) fn rings(detector: &Detector, radius_mm: f64) -> Self {
        let n = detector.n_channels();
        let rings = ((PI / (4.0 * PI / f64::from(n)).sqrt()).round() as u32).clamp(1, n.max(1));
        let theta = |ring: u32| PI * (f64::from(ring) + 0.5) / f64::from(rings);
        let total: f64 = (0..rings).map(|ring| math::sin(theta(ring))).sum();
        let mut all = Vec::with_capacity(n as usize);
        let (mut wanted, mut placed) = (0.0, 0);
        for ring in 0..rings {
            wanted += f64::from(n) * math::sin(theta(ring)) / total;
            // The last ring takes the rest from rounding.
            let upto = if ring + 1 == rings {
                n
            } else {
                (wanted.round() as u32).min(n)
            };
            let count = upto - placed;
            let (sin_theta, cos_theta) = math::sin_cos(theta(ring));
            for place in 0..count {
                let turn = 0.5 * f64::from(ring % 2);
                let (sin_phi, cos_phi) =
                    math::sin_cos(TAU * (f64::from(place) + turn) / f64::from(count));
                let channel_id = placed + place;
                all.push(Sensor {
                    channel_id,
                    type_index: detector.interleaved_type(channel_id),
                    position_mm: [
                        radius_mm * sin_theta * cos_phi,
                        radius_mm * sin_theta * sin_phi,
                        radius_mm * cos_theta,
                    ],
                });
            }
            placed = upto;
        }
        let by_channel = (1..=n).collect();
        Self { all, by_channel }
    }

    /// Returns all PMTs, in ascending order of their channels.
    #[must_use]
    pub fn all(&self) -> &[Sensor] {
        &self.all
    }

    /// Returns the number of PMTs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns true if there is no PMT.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns one more than the largest channel number.
    #[must_use]
    pub fn channel_end(&self) -> u32 {
        self.by_channel.len() as u32
    }

    /// Returns the index of `channel_id` in [`all`](Self::all), if the geometry has that channel.
    #[must_use]
    pub fn index_of(&self, channel_id: u32) -> Option<usize> {
        let place = *self.by_channel.get(channel_id as usize)?;
        (place as usize).checked_sub(1)
    }

    /// Returns the PMT of `channel_id`, if the geometry has that channel.
    #[must_use]
    pub fn get(&self, channel_id: u32) -> Option<&Sensor> {
        self.all.get(self.index_of(channel_id)?)
    }

    /// Returns a CRC32C of channels, types and positions, which identifies the geometry.
    #[must_use]
    pub fn crc32c(&self) -> u32 {
        self.all.iter().fold(0, |crc, sensor| {
            let mut bytes = [0_u8; 32];
            bytes[..4].copy_from_slice(&sensor.channel_id.to_le_bytes());
            bytes[4..8].copy_from_slice(&(sensor.type_index as u32).to_le_bytes());
            for (place, value) in bytes[8..].chunks_exact_mut(8).zip(sensor.position_mm) {
                place.copy_from_slice(&value.to_le_bytes());
            }
            crc32c::crc32c_append(crc, &bytes)
        })
    }
}
