//! The expected light of all channels together, without a loop over the channels.

use num_complex::Complex64;

use super::harmonics::{Harmonics, gauss_legendre, legendre_coefficients};
use crate::detector::Sensors;
use crate::math;
use crate::model::light_maps::{LightTables, Surface};
use crate::model::vector::{Vector, dot, norm, plus_scaled, scaled};

/// Degree of the harmonics: for a vertex 2 m from the PMTs of a sphere of 19.4 m, the error from neglecting higher ones is
/// 1e-4 of the effect of efficiencies that differ by a tenth.
const DEGREE: usize = 40;
/// Detectors with fewer channels are summed channel by channel.
const MIN_CHANNELS: usize = 500;
/// So are detectors whose PMTs are on more than this many spheres per type.
const MAX_SHELLS: usize = 6;
/// PMTs whose distances from the centre differ by less than this, relatively, are on one sphere.
const SAME_SHELL: f64 = 1e-3;
/// Radii at which the coefficients are tabulated, from the centre to a little beyond the scintillator.
const RADII: usize = 97;
/// The largest radius, relative to the scintillator's.
const BEYOND: f64 = 1.02;

/// Type, distance from the centre, and members' directions and efficiencies.
type Group = (usize, f64, Vec<(Vector, f64)>);

/// The light of all channels as a function of the vertex.
#[derive(Clone, Debug)]
pub(super) enum ExpectedTotal {
    /// Channel by channel.
    Direct,
    /// PMTs on spheres.
    Shells(Vec<Shell>),
}

/// PMTs of one type on one sphere.
#[derive(Clone, Debug)]
pub(super) struct Shell {
    harmonics: Harmonics,
    /// `a_l` at each radius.
    coefficients: Vec<Vec<f64>>,
}

impl ExpectedTotal {
    pub(super) fn new(tables: &LightTables, sensors: &Sensors) -> Self {
        if sensors.len() < MIN_CHANNELS {
            return Self::Direct;
        }
        // Members of each (type, distance).
        let mut groups: Vec<Group> = Vec::new();
        for (sensor, channel) in sensors.all().iter().zip(&tables.channels) {
            let distance_mm = norm(sensor.position_mm);
            let member = (
                scaled(1.0 / distance_mm, sensor.position_mm),
                channel.efficiency,
            );
            let group = groups.iter_mut().find(|(kind, radius_mm, _)| {
                *kind == sensor.type_index && (distance_mm / *radius_mm - 1.0).abs() < SAME_SHELL
            });
            match group {
                Some((_, _, members)) => members.push(member),
                None => groups.push((sensor.type_index, distance_mm, vec![member])),
            }
            if groups.len() > MAX_SHELLS * tables.types.len() {
                return Self::Direct;
            }
        }
        let rule = gauss_legendre(256);
        let shells = groups
            .into_iter()
            .map(|(kind, radius_mm, members)| Shell {
                harmonics: Harmonics::new(DEGREE, members.into_iter()),
                coefficients: (0..RADII)
                    .map(|step| {
                        let r_mm = tables.radius_mm * BEYOND * step as f64 / (RADII - 1) as f64;
                        coefficients_at_radius(
                            &tables.types[kind].map,
                            r_mm,
                            tables.radius_mm,
                            radius_mm,
                            &rule,
                        )
                    })
                    .collect(),
            })
            .collect();
        Self::Shells(shells)
    }

    /// Returns the expected photoelectrons for 1 MeV at `vertex` and their gradient; `None` for [`Direct`](Self::Direct).
    /// The maps are scaled with `radius_mm`.
    pub(super) fn at(&self, radius_mm: f64, vertex: Vector) -> Option<(f64, Vector)> {
        let Self::Shells(shells) = self else {
            return None;
        };
        let r_mm = norm(vertex);
        // At the centre any direction will do: all sums but the first vanish.
        let direction = if r_mm > 1e-6 {
            scaled(1.0 / r_mm, vertex)
        } else {
            [0.0, 0.0, 1.0]
        };
        let step_mm = radius_mm * BEYOND / (RADII - 1) as f64;
        let position = (r_mm / step_mm).min((RADII - 1) as f64 - 1e-9);
        let index = position as usize;
        let t = position - index as f64;
        let (mut work, mut sums): (Vec<Complex64>, _) = (Vec::new(), Vec::new());
        let (mut total, mut radial, mut across) = (0.0, 0.0, [0.0; 3]);
        for shell in shells {
            shell.harmonics.sums(direction, &mut work, &mut sums);
            for (l, (sum, gradient)) in sums.iter().enumerate() {
                let (a, slope) = shell.coefficient(l, index, t);
                total += a * sum;
                radial += slope / step_mm * sum;
                // The part of the gradient along the direction is l S_l; the rest is perpendicular to it.
                let turned = plus_scaled(*gradient, -dot(*gradient, direction), direction);
                across = plus_scaled(across, a / r_mm.max(1.0), turned);
            }
        }
        Some((total, plus_scaled(across, radial, direction)))
    }
}

impl Shell {
    /// Returns `a_l` between radii `index` and `index + 1`, and its derivative per step: a cubic Hermite spline with slopes from
    /// the neighbours.
    fn coefficient(&self, l: usize, index: usize, t: f64) -> (f64, f64) {
        let at = |k: usize| {
            let row = self.coefficients.get(k.min(RADII - 1));
            row.and_then(|row| row.get(l)).copied().unwrap_or(0.0)
        };
        // a_l(-r) = (-1)^l a_l(r).
        let before = if index > 0 {
            at(index - 1)
        } else if l.is_multiple_of(2) {
            at(1)
        } else {
            -at(1)
        };
        let (low, high, after) = (at(index), at(index + 1), at(index + 2));
        let (left, right) = (0.5 * (high - before), 0.5 * (after - low));
        let two = 3.0 * (high - low) - 2.0 * left - right;
        let three = left + right - 2.0 * (high - low);
        (
            low + t * (left + t * (two + t * three)),
            left + t * (2.0 * two + 3.0 * t * three),
        )
    }
}

/// Returns `a_l` of a map at radius `r_mm`, for PMTs at `radius_mm` from the centre.
fn coefficients_at_radius(
    map: &Surface,
    r_mm: f64,
    scale_mm: f64,
    radius_mm: f64,
    rule: &[(f64, f64)],
) -> Vec<f64> {
    let u = map.u.cubic_taps((r_mm / scale_mm).powi(2));
    legendre_coefficients(DEGREE, rule, |cosine| {
        let square =
            (r_mm * r_mm + radius_mm * radius_mm - 2.0 * r_mm * radius_mm * cosine).max(1.0);
        math::exp(map.at(&u, 0.5 * math::ln(square)).0) * 1e6 / square
    })
}
