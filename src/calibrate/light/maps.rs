//! Light maps, efficiencies and the visible energy of each energy class, from the charges of all runs and channels.
//!
//! A channel of a run expects `N (E k(E) e_i exp(S(u, ln d)) 1e6 / d^2 + D_i T)` photoelectrons: `N` events, `k` visible
//! over deposited energy (1 for the energy with most light), `e_i` the channel's efficiency, `S` the map of
//! its type. Map, efficiencies and `k` are fitted in turn; the map by maximum likelihood (Poisson) with a
//! penalty on its second differences (P-splines, doi:10.1214/ss/1038425655), which interpolates between the sources.

use super::constants::towards_mean;
use super::runs::Runs;
use crate::detector::Sensors;
use crate::error::{Error, Result};
use crate::math;
use crate::math::matrix::{Matrix, add_multiple, dot as inner};
use crate::model::light_maps::{SplineAxis, Surface};
use crate::model::vector::{dot, minus};

/// Pieces of the maps in `(r / R)^2` and in the logarithm of the distance.
const PIECES: [usize; 2] = [36, 32];
/// Bins per piece into which the channels of a run are grouped.
const BINS_PER_PIECE: usize = 8;
/// Weight of the second differences: they are 0.1 or less.
const STIFFNESS: f64 = 100.0;
/// Weight of the first differences, for regions without a source.
const FLATNESS: f64 = 0.01;
/// Iterations of map, efficiencies and energies.
const ROUNDS: usize = 6;
/// Maximum number of steps of the fit of a map.
const STEPS: usize = 30;
/// A channel without photoelectrons is dead if this many are expected.
const DEAD_PE: f64 = 25.0;

/// The fitted maps and constants.
pub(super) struct Maps {
    pub surfaces: Vec<Surface>,
    /// By channel.
    pub efficiency: Vec<f64>,
    /// Visible over deposited energy, by class.
    pub visible_ratio: Vec<f64>,
    /// The class where that is 1.
    pub reference: usize,
}

/// The input of the fit: photoelectrons by run and channel.
pub(super) struct MapFit<'a> {
    pub runs: &'a Runs,
    pub sensors: &'a Sensors,
    pub radius_mm: f64,
    pub n_types: usize,
    pub pe: &'a [Vec<f64>],
    /// By channel, in the whole window.
    pub dark_pe: &'a [f64],
}

/// Channels of one run at about the same distance.
#[derive(Clone, Default)]
struct Bin {
    u: f64,
    v: f64,
    exposure: f64,
    pe: f64,
    dark_pe: f64,
}

/// Returns the axes of a detector's maps.
pub(super) fn axes(sensors: &Sensors, radius_mm: f64) -> (SplineAxis, SplineAxis) {
    let distances = sensors
        .all()
        .iter()
        .map(|sensor| dot(sensor.position_mm, sensor.position_mm).sqrt());
    let (nearest, farthest) = distances.fold((f64::INFINITY, 0.0_f64), |(low, high), x| {
        (low.min(x), high.max(x))
    });
    let least_mm = (nearest - radius_mm).max(0.01 * farthest);
    let u = SplineAxis {
        low: 0.0,
        high: 1.0,
        intervals: PIECES[0],
    };
    let v = SplineAxis {
        low: math::ln(least_mm),
        high: math::ln(farthest + radius_mm),
        intervals: PIECES[1],
    };
    (u, v)
}

impl MapFit<'_> {
    fn u(&self, run: usize) -> f64 {
        let position = self.runs.all[run].position_mm;
        dot(position, position) / (self.radius_mm * self.radius_mm)
    }

    /// Returns the square of the distance from a run to a channel.
    fn square(&self, run: usize, index: usize) -> f64 {
        let displacement = minus(
            self.runs.all[run].position_mm,
            self.sensors.all()[index].position_mm,
        );
        dot(displacement, displacement).max(1.0)
    }

    /// Fits maps and constants.
    pub(super) fn fit(&self) -> Result<Maps> {
        let n_classes = self.runs.n_classes;
        let mut light = vec![0.0; n_classes];
        for (run, pe) in self.runs.all.iter().zip(self.pe) {
            light[run.class] += pe.iter().sum::<f64>();
        }
        let reference = (0..n_classes)
            .max_by(|&a, &b| light[a].total_cmp(&light[b]).then(b.cmp(&a)))
            .unwrap_or(0);
        let (u, v) = axes(self.sensors, self.radius_mm);
        let flat = Surface {
            u,
            v,
            coefficients: Vec::new(),
        };
        let mut maps = Maps {
            surfaces: vec![flat; self.n_types],
            efficiency: vec![1.0; self.sensors.len()],
            visible_ratio: vec![1.0; n_classes],
            reference,
        };
        for round in 0..ROUNDS {
            for kind in 0..self.n_types {
                // The visible energies of the other classes are not known at first.
                let only = (round < ROUNDS / 2).then_some(reference);
                let bins = self.bins(kind, &maps, only);
                fit_surface(&mut maps.surfaces[kind], &bins).ok_or_else(|| {
                    Error::usage("the light of the runs does not determine a light map")
                        .with_hint("sources should stand at several radii, with many events each")
                })?;
            }
            self.update_constants(&mut maps);
        }
        Ok(maps)
    }

    /// The channels of one type, gathered; of all runs, or of those of one class.
    fn bins(&self, kind: usize, maps: &Maps, only: Option<usize>) -> Vec<Bin> {
        let v = maps.surfaces[kind].v;
        let n_bins = v.intervals * BINS_PER_PIECE;
        let per_bin = n_bins as f64 / (v.high - v.low);
        let mut all = Vec::new();
        for (number, run) in self.runs.all.iter().enumerate() {
            if only.is_some_and(|only| run.class != only) {
                continue;
            }
            let mut bins = vec![Bin::default(); n_bins];
            let events = run.events as f64;
            let energy = events * run.energy_mev * maps.visible_ratio[run.class];
            for (index, sensor) in self.sensors.all().iter().enumerate() {
                if sensor.type_index != kind || maps.efficiency[index] <= 0.0 {
                    continue;
                }
                let square = self.square(number, index);
                let distance = 0.5 * math::ln(square);
                let exposure = energy * maps.efficiency[index] * 1e6 / square;
                let bin = ((distance - v.low) * per_bin).clamp(0.0, n_bins as f64 - 1.0) as usize;
                let bin = &mut bins[bin];
                bin.v += exposure * distance;
                bin.exposure += exposure;
                bin.pe += self.pe[number][index];
                bin.dark_pe += events * self.dark_pe[index];
            }
            for mut bin in bins.into_iter().filter(|bin| bin.exposure > 0.0) {
                bin.v /= bin.exposure;
                bin.u = self.u(number);
                all.push(bin);
            }
        }
        all
    }

    /// Updates efficiencies and visible energies, given the maps.
    fn update_constants(&self, maps: &mut Maps) {
        let n_channels = self.sensors.len();
        let mut found = vec![0.0; n_channels];
        let mut expected = vec![0.0; n_channels];
        let mut dark = vec![0.0; n_channels];
        let mut of_class = vec![(0.0, 0.0); self.runs.n_classes];
        for (number, run) in self.runs.all.iter().enumerate() {
            let events = run.events as f64;
            let u = self.u(number);
            let taps: Vec<_> = maps
                .surfaces
                .iter()
                .map(|map| map.u.cubic_taps(u))
                .collect();
            for (index, sensor) in self.sensors.all().iter().enumerate() {
                let square = self.square(number, index);
                let (value, _, _) = maps.surfaces[sensor.type_index]
                    .at(&taps[sensor.type_index], 0.5 * math::ln(square));
                let deposited = events * run.energy_mev * math::exp(value) * 1e6 / square;
                let pe = self.pe[number][index] - events * self.dark_pe[index];
                found[index] += pe;
                dark[index] += events * self.dark_pe[index];
                expected[index] += deposited * maps.visible_ratio[run.class];
                let class = &mut of_class[run.class];
                class.0 += pe;
                class.1 += deposited * maps.efficiency[index];
            }
        }
        for (ratio, (pe, deposited)) in maps.visible_ratio.iter_mut().zip(&of_class) {
            if *deposited > 0.0 && *pe > 0.0 {
                *ratio = pe / deposited;
            }
        }
        // The reference energy has ratio 1; the common factor belongs to the map.
        let common = maps.visible_ratio[maps.reference];
        maps.visible_ratio
            .iter_mut()
            .for_each(|ratio| *ratio /= common);
        for kind in 0..self.n_types {
            let members: Vec<usize> = (0..n_channels)
                .filter(|&index| {
                    self.sensors.all()[index].type_index == kind && expected[index] > 0.0
                })
                .collect();
            let (dead, alive): (Vec<usize>, Vec<usize>) = members.into_iter().partition(|&index| {
                expected[index] > DEAD_PE && found[index] + dark[index] <= 0.01 * expected[index]
            });
            for index in dead {
                maps.efficiency[index] = 0.0;
            }
            let values: Vec<f64> = alive
                .iter()
                .map(|&index| found[index] / expected[index])
                .collect();
            let noise: Vec<f64> = alive
                .iter()
                .map(|&index| 1.2 * (expected[index] + dark[index]) / expected[index].powi(2))
                .collect();
            let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
            for (index, value) in alive.into_iter().zip(towards_mean(&values, &noise)) {
                maps.efficiency[index] = (value / mean.max(1e-300)).max(0.01);
            }
        }
    }
}

/// Fits a map by maximum likelihood, starting from its coefficients or from a flat map.
fn fit_surface(surface: &mut Surface, bins: &[Bin]) -> Option<()> {
    let (rows, columns) = (surface.u.splines(), surface.v.splines());
    let n = rows * columns;
    if surface.coefficients.len() != n {
        let light: f64 = bins.iter().map(|bin| bin.pe - bin.dark_pe).sum();
        let exposure: f64 = bins.iter().map(|bin| bin.exposure).sum();
        let level = math::ln(light / exposure);
        if !level.is_finite() {
            return None;
        }
        surface.coefficients = vec![level; n];
    }
    let stiffness = penalty(rows, columns);
    let taps: Vec<Vec<(usize, f64)>> = bins
        .iter()
        .map(|bin| {
            let (u, v) = (surface.u.cubic_taps(bin.u), surface.v.cubic_taps(bin.v));
            let row = |i: usize| (u.first + i) * columns + v.first;
            (0..16)
                .map(|k| (row(k / 4) + k % 4, u.values[k / 4] * v.values[k % 4]))
                .collect()
        })
        .collect();
    let mut coefficients = surface.coefficients.clone();
    let minus_log = |coefficients: &[f64]| -> f64 {
        let mut sum = 0.5 * inner(&stiffness.times(coefficients), coefficients);
        for (bin, taps) in bins.iter().zip(&taps) {
            let value: f64 = taps.iter().map(|(k, w)| w * coefficients[*k]).sum();
            let all = bin.exposure * math::exp(value.min(100.0)) + bin.dark_pe;
            sum += all - bin.pe * math::ln(all.max(1e-12));
        }
        sum
    };
    let mut current = minus_log(&coefficients);
    for _ in 0..STEPS {
        let mut matrix = stiffness.clone();
        let mut slope: Vec<f64> = stiffness.times(&coefficients).iter().map(|x| -x).collect();
        for (bin, taps) in bins.iter().zip(&taps) {
            let value: f64 = taps.iter().map(|(k, w)| w * coefficients[*k]).sum();
            let light = bin.exposure * math::exp(value.min(100.0));
            let all = (light + bin.dark_pe).max(1e-12);
            let pull = (bin.pe / all - 1.0) * light;
            let weight = light * light / all;
            for (i, a) in taps {
                slope[*i] += pull * a;
                for (j, b) in taps {
                    matrix[(*i, *j)] += weight * a * b;
                }
            }
        }
        let step = matrix.solve(&slope)?;
        let gain = inner(&step, &slope);
        let mut factor = 1.0;
        while factor > 1e-3 {
            let mut next = coefficients.clone();
            add_multiple(&mut next, factor, &step);
            let there = minus_log(&next);
            if there <= current {
                coefficients = next;
                current = there;
                break;
            }
            factor *= 0.5;
        }
        if gain < 1e-3 || factor <= 1e-3 {
            break;
        }
    }
    surface.coefficients = coefficients;
    surface
        .coefficients
        .iter()
        .all(|c| c.is_finite())
        .then_some(())
}

/// Returns the matrix of squared differences between neighbouring coefficients, along both axes.
fn penalty(rows: usize, columns: usize) -> Matrix {
    let mut matrix = Matrix::zeros(rows * columns);
    let mut add = |indices: &[(usize, f64)], weight: f64| {
        for (i, a) in indices {
            for (j, b) in indices {
                matrix[(*i, *j)] += weight * a * b;
            }
        }
    };
    let index = |i: usize, j: usize| i * columns + j;
    for i in 0..rows {
        for j in 0..columns {
            let along_u = |k: usize| index(i + k, j);
            let along_v = |k: usize| index(i, j + k);
            for (room, at) in [
                (rows - i, &along_u as &dyn Fn(usize) -> usize),
                (columns - j, &along_v),
            ] {
                if room > 1 {
                    add(&[(at(0), 1.0), (at(1), -1.0)], FLATNESS);
                }
                if room > 2 {
                    add(&[(at(0), 1.0), (at(1), -2.0), (at(2), 1.0)], STIFFNESS);
                }
            }
        }
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_found_again_between_its_sources() {
        let truth = |u: f64, v: f64| 3.5 - 0.8 * u * u + 0.4 * math::sin(2.0 * v);
        let mut surface = Surface {
            u: SplineAxis {
                low: 0.0,
                high: 1.0,
                intervals: 8,
            },
            v: SplineAxis {
                low: 7.0,
                high: 10.0,
                intervals: 12,
            },
            coefficients: Vec::new(),
        };
        let mut bins = Vec::new();
        for i in 0..12 {
            for j in 0..60 {
                let (u, v) = (f64::from(i) / 11.0, 7.025 + 0.05 * f64::from(j));
                let exposure = 1e4;
                bins.push(Bin {
                    u,
                    v,
                    exposure,
                    pe: exposure * math::exp(truth(u, v)) + 30.0,
                    dark_pe: 30.0,
                });
            }
        }
        fit_surface(&mut surface, &bins).expect("a map");
        for k in 0..100 {
            let u = f64::from(k % 10) / 10.0 + 0.03;
            let v = 7.1 + 0.28 * f64::from(k / 10);
            let (value, _, _) = surface.value(u, v);
            assert!((value - truth(u, v)).abs() < 2e-3, "{u} {v} {value}");
        }
    }
}
