//! The speed of light in the detector, from arrival times at PMTs at different distances.

use super::first_pass::{
    DistanceBin, FirstPass, RESIDUAL_FROM_NS, RESIDUAL_STEP_NS, ROUGH_NS_PER_MM,
};
use super::runs::Runs;
use crate::model::light_maps::LightSpeed;

/// Minimum number of hits of a distance bin.
const MIN_HITS: f64 = 300.0;
/// Length of the peak of the times.
const PEAK_NS: f64 = 4.0;
/// Plausible slownesses of light: refractive indices from 1.1 to 2.2.
const PLAUSIBLE: [f64; 2] = [1.1 / 299.792_458, 2.2 / 299.792_458];

/// Number of rounds in which bins with large residuals are left out, and the maximum residual.
const ROUNDS: usize = 8;
const MAX_RESIDUAL_NS: f64 = 1.5;

/// A distance bin of a run: the time of its peak, and the path length.
#[derive(Clone, Copy)]
struct Point {
    run: usize,
    weight: f64,
    time_ns: f64,
    inner_mm: f64,
    outer_mm: f64,
}

/// Returns the slownesses, and the delay of each run.
pub(super) fn fit_light_speed(
    first_pass: &FirstPass,
    runs: &Runs,
    radius_mm: Option<f64>,
) -> (LightSpeed, Vec<f64>) {
    let mut points = Vec::new();
    for (run, bins) in first_pass.time_bins.iter().enumerate() {
        points.extend(bins.iter().filter_map(|bin| point(run, bin)));
    }
    let mut speeds = fit(&points, runs.all.len(), radius_mm);
    // Where total reflection blocks direct light, the peak is scattered light.
    for _ in 0..ROUNDS {
        let kept: Vec<Point> = points
            .iter()
            .filter(|point| speeds.residual_ns(point).abs() < MAX_RESIDUAL_NS)
            .copied()
            .collect();
        speeds = fit(&kept, runs.all.len(), radius_mm);
    }
    (
        LightSpeed {
            radius_mm,
            inner_ns_per_mm: speeds.slowness[0],
            outer_ns_per_mm: speeds.slowness[1],
        },
        speeds.delay_ns,
    )
}

/// Slownesses, and the delay of each run.
struct SpeedFit {
    slowness: [f64; 2],
    delay_ns: Vec<f64>,
}

impl SpeedFit {
    fn residual_ns(&self, point: &Point) -> f64 {
        point.time_ns
            - self.delay_ns[point.run]
            - self.slowness[0] * point.inner_mm
            - self.slowness[1] * point.outer_mm
    }
}

fn fit(points: &[Point], n_runs: usize, radius_mm: Option<f64>) -> SpeedFit {
    // Each run has its own time offset: only differences within a run count.
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
        let lengths = [point.inner_mm - inner, point.outer_mm - outer];
        for i in 0..2 {
            right[i] += point.weight * lengths[i] * (point.time_ns - time);
            for j in 0..2 {
                matrix[i][j] += point.weight * lengths[i] * lengths[j];
            }
        }
    }
    let plausible = |x: f64| (PLAUSIBLE[0]..PLAUSIBLE[1]).contains(&x);
    let determinant = matrix[0][0] * matrix[1][1] - matrix[0][1] * matrix[1][0];
    let both = [
        (matrix[1][1] * right[0] - matrix[0][1] * right[1]) / determinant,
        (matrix[0][0] * right[1] - matrix[1][0] * right[0]) / determinant,
    ];
    let slowness = if radius_mm.is_some() && both.into_iter().all(plausible) {
        both
    } else {
        // One slowness for the whole path, if the runs determine it.
        let numerator = right[0] + right[1];
        let denominator = matrix[0][0] + 2.0 * matrix[0][1] + matrix[1][1];
        let one = numerator / denominator;
        [if plausible(one) { one } else { ROUGH_NS_PER_MM }; 2]
    };
    let delay_ns = means
        .iter()
        .map(|[inner_mm, outer_mm, time_ns]| {
            time_ns - slowness[0] * inner_mm - slowness[1] * outer_mm
        })
        .collect();
    SpeedFit { slowness, delay_ns }
}

fn point(run: usize, bin: &DistanceBin) -> Option<Point> {
    if bin.hits < MIN_HITS {
        return None;
    }
    let length = (PEAK_NS / RESIDUAL_STEP_NS) as usize;
    let sum = |from: usize| bin.residuals[from..from + length].iter().sum::<u32>();
    let best =
        (0..=bin.residuals.len() - length).max_by_key(|&from| (sum(from), usize::MAX - from))?;
    let mut time_ns = 0.0;
    for (k, &count) in bin.residuals[best..best + length].iter().enumerate() {
        time_ns += f64::from(count)
            * (RESIDUAL_FROM_NS + RESIDUAL_STEP_NS * (best as f64 + k as f64 + 0.5));
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
