//! Distributions of arrival times after the time of flight, tabulated at nodes of radius and distance. The interpolation is
//! linear in the distance, and a quadratic spline in the radius, which all channels share: the likelihood has no kinks at
//! which a fit could get stuck.
//!
//! In time the distribution is a quadratic spline too, and its integral `F` the corresponding cubic: both are always
//! consistent, and no derivative jumps.

use crate::model::light_maps::{FROM_NS, Nodes, STEP_NS, TimeTable};

impl Nodes {
    /// Returns the node below `x`, the weight of the node above it, and the derivative of that weight.
    #[must_use]
    #[inline]
    pub fn linear_taps(&self, x: f64) -> (usize, f64, f64) {
        let per_node = (self.count - 1) as f64 / (self.high - self.low);
        let position = (x - self.low) * per_node;
        let inside = position.clamp(0.0, (self.count - 1) as f64);
        let below = (inside as usize).min(self.count - 2);
        let slope = if inside == position { per_node } else { 0.0 };
        (below, inside - below as f64, slope)
    }
}

/// Three nodes and their weights as quadratic B-splines.
#[derive(Clone, Copy, Debug)]
pub struct QuadraticTaps {
    /// The nodes.
    pub nodes: [usize; 3],
    /// Their weights, which add up to 1.
    pub shares: [f64; 3],
    /// The derivatives of the weights.
    pub slopes: [f64; 3],
}

impl Nodes {
    /// Returns the three nodes around `x`. Beyond the ends, and up to half a node before them, the end replaces its missing
    /// neighbour.
    #[must_use]
    #[inline]
    pub fn quadratic_taps(&self, x: f64) -> QuadraticTaps {
        let per_node = (self.count - 1) as f64 / (self.high - self.low);
        let position = (x - self.low) * per_node;
        let last = self.count - 1;
        let inside = position.clamp(0.0, last as f64);
        let middle = (inside + 0.5) as usize;
        let t = inside - middle as f64;
        let slope = if inside == position { per_node } else { 0.0 };
        QuadraticTaps {
            nodes: [
                middle.saturating_sub(1),
                middle.min(last),
                (middle + 1).min(last),
            ],
            shares: [
                0.5 * (0.5 - t) * (0.5 - t),
                0.75 - t * t,
                0.5 * (0.5 + t) * (0.5 + t),
            ],
            slopes: [(t - 0.5) * slope, -2.0 * t * slope, (t + 0.5) * slope],
        }
    }
}

/// The distribution at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Arrival {
    /// Share of the light before this time.
    pub before: f64,
    /// Density, per ns.
    pub density: f64,
    /// Derivative of the density with respect to time.
    pub density_slope: f64,
    /// Derivatives of `before` with respect to `u` and `v`.
    pub before_uv: [f64; 2],
    /// Derivatives of `density` with respect to `u` and `v`.
    pub density_uv: [f64; 2],
}

impl TimeTable {
    /// Returns a node's densities at step `middle` and its neighbours, and `F` half a step before it.
    #[inline]
    fn of_node(&self, node: usize, middle: usize) -> [f64; 4] {
        let start = node * self.times + middle;
        match self.table.get(start - 1..start + 2) {
            Some([[left, _], [middle, edge], [right, _]]) => [
                f64::from(*left),
                f64::from(*middle),
                f64::from(*right),
                f64::from(*edge),
            ],
            _ => [0.0; 4],
        }
    }

    /// Returns the distribution at `time_ns` after the deposit and the time of flight, at `u` and `v`.
    #[must_use]
    #[inline]
    pub fn at(&self, u: f64, v: f64, time_ns: f64) -> Arrival {
        self.at_taps(&self.u.quadratic_taps(u), v, time_ns)
    }

    /// As [`at`](Self::at), with known nodes in `u`.
    #[must_use]
    #[inline]
    pub fn at_taps(&self, u: &QuadraticTaps, v: f64, time_ns: f64) -> Arrival {
        let position = (time_ns - FROM_NS) / STEP_NS;
        if position < 0.5 || position.is_nan() {
            return Arrival::default();
        }
        if position >= self.times as f64 - 1.5 {
            return Arrival {
                before: 1.0,
                ..Arrival::default()
            };
        }
        let (column, right, right_slope) = self.v.linear_taps(v);
        let middle = (position + 0.5) as usize;
        let t = position - middle as f64;
        // The nodes' tables are interpolated first, for the value and its derivatives by u and v; then the splines are evaluated.
        let (mut mixed_values, mut along_u, mut along_v) = ([0.0; 4], [0.0; 4], [0.0; 4]);
        for k in 0..3 {
            let node = u.nodes[k] * self.v.count + column;
            let low = self.of_node(node, middle);
            let high = self.of_node(node + 1, middle);
            for j in 0..4 {
                let rise = high[j] - low[j];
                let mixed = low[j] + right * rise;
                mixed_values[j] += u.shares[k] * mixed;
                along_u[j] += u.slopes[k] * mixed;
                along_v[j] += u.shares[k] * rise;
            }
        }
        let [before, density, density_slope] = spline(mixed_values, t);
        let [before_u, density_u, _] = spline(along_u, t);
        let [before_v, density_v, _] = spline(along_v, t);
        Arrival {
            before,
            density,
            density_slope,
            before_uv: [before_u, before_v * right_slope],
            density_uv: [density_u, density_v * right_slope],
        }
    }
}

/// Returns `F`, the density and its derivative, `t` steps (at most half a step) after the middle one of three densities.
#[inline]
fn spline([left, middle, right, edge]: [f64; 4], t: f64) -> [f64; 3] {
    let (a, b) = (0.5 - t, 0.5 + t);
    let inside = left * (1.0 - a * a * a) + right * b * b * b;
    [
        edge + STEP_NS * (inside / 6.0 + middle * (0.75 * t - t * t * t / 3.0 + 1.0 / 3.0)),
        0.5 * (left * a * a + right * b * b) + middle * (0.75 - t * t),
        (right * b - left * a - 2.0 * middle * t) / STEP_NS,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math;

    #[test]
    fn densities_are_the_slopes_of_the_integrals_and_add_up_to_one() {
        let nodes = Nodes {
            low: 0.0,
            high: 1.0,
            count: 2,
        };
        let shape = |tau: f64| -> Vec<f64> {
            (0..1200)
                .map(|k| {
                    let t = FROM_NS + STEP_NS * f64::from(k);
                    if t < 0.0 {
                        math::exp(t / 2.0)
                    } else {
                        math::exp(-t / tau)
                    }
                })
                .collect()
        };
        let table = TimeTable::new(
            nodes,
            nodes,
            &[shape(5.0), shape(9.0), shape(20.0), shape(40.0)],
        )
        .expect("a good table");
        let h = 1e-5;
        for (u, v, t) in [(0.3, 0.6, -3.21), (0.9, 0.2, 0.33), (0.45, 0.5, 77.7)] {
            let at = table.at(u, v, t);
            let slope = (table.at(u, v, t + h).before - table.at(u, v, t - h).before) / (2.0 * h);
            assert!((slope - at.density).abs() < 1e-8);
            let slope = (table.at(u, v, t + h).density - table.at(u, v, t - h).density) / (2.0 * h);
            assert!((slope - at.density_slope).abs() < 1e-6);
            let slope = (table.at(u + h, v, t).density - table.at(u - h, v, t).density) / (2.0 * h);
            assert!((slope - at.density_uv[0]).abs() < 1e-8, "{slope} {at:?}");
            let slope = (table.at(u, v + h, t).before - table.at(u, v - h, t).before) / (2.0 * h);
            assert!((slope - at.before_uv[1]).abs() < 1e-8);
        }
        assert_eq!(table.at(0.5, 0.5, -60.0).before, 0.0);
        assert!((table.at(0.5, 0.5, table.end_ns() - 2.0 * STEP_NS).before - 1.0).abs() < 1e-5);
        let mut last = 0.0;
        for k in 0..6000 {
            let before = table.at(0.2, 0.7, FROM_NS + 0.1 * f64::from(k)).before;
            // Single precision in the table.
            assert!(before >= last - 1e-7);
            last = before;
        }
    }
}
