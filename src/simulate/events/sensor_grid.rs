//! Finds the PMT that a ray intersects, with cells over the directions from the centre that hold few PMTs each.

use std::f64::consts::{PI, TAU};

use crate::detector::Sensors;
use crate::math;
use crate::model::vector::{Vector, dot, minus, norm, scaled};

/// PMTs by direction. A PMT is a disc that faces the centre.
#[derive(Debug)]
pub(super) struct SensorGrid {
    rings: Vec<Vec<Vec<u32>>>,
    radius_mm: f64,
    disc_mm: f64,
    discs: Vec<(Vector, Vector)>,
}

impl SensorGrid {
    /// A grid of discs of radius `disc_mm` at the positions of the sensors.
    pub(super) fn new(sensors: &Sensors, disc_mm: f64) -> Self {
        let discs: Vec<(Vector, Vector)> = sensors
            .all()
            .iter()
            .map(|sensor| {
                let axis = scaled(1.0 / norm(sensor.position_mm), sensor.position_mm);
                (sensor.position_mm, axis)
            })
            .collect();
        let least = |a: f64, (position, _): &(Vector, Vector)| a.min(norm(*position));
        let radius_mm = discs.iter().fold(f64::INFINITY, least);
        // Cells as large as a disc: with a disc's reach a PMT is in a few of them.
        let cell = (disc_mm / radius_mm).clamp(0.005, 0.5);
        let n_rings = (PI / cell).ceil() as usize;
        let mut grid = Self {
            rings: (0..n_rings)
                .map(|ring| {
                    let theta = PI * (ring as f64 + 0.5) / n_rings as f64;
                    vec![Vec::new(); ((TAU * math::sin(theta) / cell).ceil() as usize).max(1)]
                })
                .collect(),
            radius_mm,
            disc_mm,
            discs,
        };
        for index in 0..grid.discs.len() {
            let (position, axis) = grid.discs[index];
            // A ray that is a little inside the disc's plane when it is looked up may still reach it.
            let reach = 1.6 * disc_mm / norm(position);
            grid.insert(index as u32, axis, reach);
        }
        grid
    }

    fn insert(&mut self, index: u32, axis: Vector, reach: f64) {
        let n_rings = self.rings.len();
        let theta = math::acos(axis[2].clamp(-1.0, 1.0));
        let height = PI / n_rings as f64;
        let from = ((theta - reach) / height).floor().max(0.0) as usize;
        let upto = (((theta + reach) / height) as usize).min(n_rings - 1);
        let phi = math::atan2(axis[1], axis[0]);
        for (ring, cells) in self.rings.iter_mut().enumerate().take(upto + 1).skip(from) {
            let count = cells.len();
            // Half the width in phi of all points of the ring's band within reach.
            let low = (ring as f64 * height).min((ring + 1) as f64 * height);
            let narrowest = math::sin(low).min(math::sin(low + height)).max(0.0);
            let half = if narrowest * 2.0 <= reach {
                PI
            } else {
                (reach / narrowest).min(PI)
            };
            let width = TAU / count as f64;
            let cell = |phi: f64| (phi.rem_euclid(TAU) / width) as usize % count;
            if half >= PI - width {
                for cell in cells.iter_mut() {
                    cell.push(index);
                }
                continue;
            }
            let steps = (2.0 * half / width).ceil() as usize + 1;
            let mut last = usize::MAX;
            for step in 0..=steps {
                let here = cell((phi - half + step as f64 * width).min(phi + half));
                if here != last && cells[here].last() != Some(&index) {
                    cells[here].push(index);
                }
                last = here;
            }
        }
    }

    /// Returns the PMT that a ray from `from` in the unit direction `direction` intersects, with the cosine of its angle to
    /// the PMT's axis and its length.
    pub(super) fn intersect(&self, from: Vector, direction: Vector) -> Option<(usize, f64, f64)> {
        let along = dot(from, direction);
        let square = along * along + self.radius_mm * self.radius_mm - dot(from, from);
        let sphere_mm = square.max(0.0).sqrt() - along;
        let point = [0, 1, 2].map(|k| from[k] + sphere_mm * direction[k]);
        let cosine = (point[2] / norm(point)).clamp(-1.0, 1.0);
        let ring = ((math::acos(cosine) / PI * self.rings.len() as f64) as usize)
            .min(self.rings.len() - 1);
        let cells = &self.rings[ring];
        let phi = math::atan2(point[1], point[0]).rem_euclid(TAU);
        let cell = ((phi / TAU * cells.len() as f64) as usize).min(cells.len() - 1);
        let mut best: Option<(usize, f64, f64)> = None;
        for &index in &cells[cell] {
            let (position, axis) = self.discs[index as usize];
            let facing = dot(direction, axis);
            if facing <= 0.0 {
                continue;
            }
            let length_mm = dot(minus(position, from), axis) / facing;
            if length_mm <= 0.0 || best.is_some_and(|(_, _, other)| other <= length_mm) {
                continue;
            }
            let hit = [0, 1, 2].map(|k| from[k] + length_mm * direction[k] - position[k]);
            if dot(hit, hit) <= self.disc_mm * self.disc_mm {
                best = Some((index as usize, facing, length_mm));
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ray_meets_the_pmt_that_a_search_through_all_finds() {
        let detector = crate::detector::load("juno").expect("a preset");
        let sensors = detector.sensors().expect("a geometry");
        let grid = SensorGrid::new(sensors, 254.0);
        let mut met = 0;
        for k in 0..3000 {
            let k = f64::from(k);
            let from = [
                9000.0 * math::sin(1.3 * k),
                9000.0 * math::cos(2.1 * k),
                9000.0 * math::sin(0.7 * k + 2.0),
            ];
            let direction = [
                math::sin(3.3 * k),
                math::cos(1.9 * k),
                math::sin(5.1 * k + 1.0),
            ];
            let direction = scaled(1.0 / norm(direction), direction);
            let found = grid.intersect(from, direction).map(|(index, _, _)| index);
            let mut all: Vec<(f64, usize)> = Vec::new();
            for (index, sensor) in sensors.all().iter().enumerate() {
                let axis = scaled(1.0 / norm(sensor.position_mm), sensor.position_mm);
                let facing = dot(direction, axis);
                let length = dot(minus(sensor.position_mm, from), axis) / facing;
                let hit =
                    [0, 1, 2].map(|k| from[k] + length * direction[k] - sensor.position_mm[k]);
                if facing > 0.0 && length > 0.0 && norm(hit) <= 254.0 {
                    all.push((length, index));
                }
            }
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert_eq!(
                found,
                all.first().map(|one| one.1),
                "{from:?} {direction:?}"
            );
            met += u32::from(found.is_some());
        }
        // Three quarters of the sphere are PMTs.
        assert!((2000..2600).contains(&met), "{met}");
    }
}
