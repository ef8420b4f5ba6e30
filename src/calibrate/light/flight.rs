//! How fast light is, from when it comes to PMTs at different distances.

use super::runs::Runs;
use super::tally::{FlightBin, REST_FROM_NS, REST_NS, ROUGH_NS_PER_MM, Tally};
use crate::model::light_maps::Flight;

/// Fewest hits in a bin of distance.
const LEAST_HITS: f64 = 300.0;
/// The peak of the times is as long as this.
const PEAK_NS: f64 = 4.0;
/// Slownesses of light in matter: indices from 1.1 to 2.2.
const POSSIBLE: [f64; 2] = [1.1 / 299.792_458, 2.2 / 299.792_458];

/// Rounds in which bins that do not fit are left out, and what is left of their times then.
const ROUNDS: usize = 8;
const MOST_REST_NS: f64 = 1.5;

/// One bin of distance of a run: when its light peaks, and the way to it.
#[derive(Clone, Copy)]
struct Point {
    run: usize,
    weight: f64,
    time_ns: f64,
    inner_mm: f64,
    outer_mm: f64,
}

/// The slownesses, and for each run what the peak of all its times is late by.
pub(super) fn flight(tally: &Tally, runs: &Runs, radius_mm: Option<f64>) -> (Flight, Vec<f64>) {
    let mut points = Vec::new();
    for (run, bins) in tally.flight.iter().enumerate() {
        points.extend(bins.iter().filter_map(|bin| point(run, bin)));
    }
    let mut found = fit(&points, runs.all.len(), radius_mm);
    // Where direct light is kept off by total reflection, what peaks is scattered light.
    for _ in 0..ROUNDS {
        let kept: Vec<Point> = points
            .iter()
            .filter(|point| found.rest_ns(point).abs() < MOST_REST_NS)
            .copied()
            .collect();
        found = fit(&kept, runs.all.len(), radius_mm);
    }
    (
        Flight {
            radius_mm,
            inner_ns_per_mm: found.slowness[0],
            outer_ns_per_mm: found.slowness[1],
        },
        found.late_ns,
    )
}

/// Slownesses, and what each run is late by.
struct Found {
    slowness: [f64; 2],
    late_ns: Vec<f64>,
}

impl Found {
    fn rest_ns(&self, point: &Point) -> f64 {
        point.time_ns
            - self.late_ns[point.run]
            - self.slowness[0] * point.inner_mm
            - self.slowness[1] * point.outer_mm
    }
}

fn fit(points: &[Point], n_runs: usize, radius_mm: Option<f64>) -> Found {
    // Each run has a time of its own: only differences within it count.
    let mean = |run: usize, of: &dyn Fn(&Point) -> f64| {
        let (mut sum, mut weight) = (0.0, 0.0);
        for point in points.iter().filter(|point| point.run == run) {
            sum += point.weight * of(point);
            weight += point.weight;
        }
        if weight > 0.0 { sum / weight } else { 0.0 }
    };
    let means: Vec<[f64; 3]> = (0..n_runs)
        .map(|run| {
            [
                mean(run, &|point| point.inner_mm),
                mean(run, &|point| point.outer_mm),
                mean(run, &|point| point.time_ns),
            ]
        })
        .collect();
    let mut matrix = [[0.0; 2]; 2];
    let mut right = [0.0; 2];
    for point in points {
        let [inner, outer, time] = means[point.run];
        let ways = [point.inner_mm - inner, point.outer_mm - outer];
        for i in 0..2 {
            right[i] += point.weight * ways[i] * (point.time_ns - time);
            for j in 0..2 {
                matrix[i][j] += point.weight * ways[i] * ways[j];
            }
        }
    }
    let possible = |x: f64| (POSSIBLE[0]..POSSIBLE[1]).contains(&x);
    let determinant = matrix[0][0] * matrix[1][1] - matrix[0][1] * matrix[1][0];
    let both = [
        (matrix[1][1] * right[0] - matrix[0][1] * right[1]) / determinant,
        (matrix[0][0] * right[1] - matrix[1][0] * right[0]) / determinant,
    ];
    let slowness = if radius_mm.is_some() && both.into_iter().all(possible) {
        both
    } else {
        // One slowness for the whole way, where the runs say that much.
        let above = right[0] + right[1];
        let below = matrix[0][0] + 2.0 * matrix[0][1] + matrix[1][1];
        let one = above / below;
        [if possible(one) { one } else { ROUGH_NS_PER_MM }; 2]
    };
    let late_ns = means
        .iter()
        .map(|[inner_mm, outer_mm, time_ns]| {
            time_ns - slowness[0] * inner_mm - slowness[1] * outer_mm
        })
        .collect();
    Found { slowness, late_ns }
}

fn point(run: usize, bin: &FlightBin) -> Option<Point> {
    if bin.hits < LEAST_HITS {
        return None;
    }
    let length = (PEAK_NS / REST_NS) as usize;
    let sum = |from: usize| bin.rest[from..from + length].iter().sum::<u32>();
    let best = (0..=bin.rest.len() - length).max_by_key(|&from| (sum(from), usize::MAX - from))?;
    let mut time_ns = 0.0;
    for (k, &count) in bin.rest[best..best + length].iter().enumerate() {
        time_ns += f64::from(count) * (REST_FROM_NS + REST_NS * (best as f64 + k as f64 + 0.5));
    }
    let (inner_mm, outer_mm) = (bin.inner_mm / bin.hits, bin.outer_mm / bin.hits);
    let peak = f64::from(sum(best));
    Some(Point {
        run,
        weight: peak,
        time_ns: time_ns / peak + ROUGH_NS_PER_MM * (inner_mm + outer_mm),
        inner_mm,
        outer_mm,
    })
}
