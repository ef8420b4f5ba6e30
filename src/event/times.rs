//! When light arrives, after the time of flight: distributions learnt at nodes of radius and distance. Between them they
//! are linear in the distance, and in the radius, which all channels share, quadratic splines: without a crease that
//! a fit could be caught in.
//!
//! In time the distribution is a quadratic spline as well, and its integral `F` the cubic that belongs to it: what a fit
//! sees of both always fits together, and no slope jumps.

use crate::model::light_maps::{FROM_NS, Nodes, STEP_NS, TimeTable};

impl Nodes {
    /// The node below `x`, the share of the one above it, and the change of that with `x`.
    #[must_use]
    #[inline]
    pub fn place(&self, x: f64) -> (usize, f64, f64) {
        let per_node = (self.count - 1) as f64 / (self.high - self.low);
        let place = (x - self.low) * per_node;
        let inside = place.clamp(0.0, (self.count - 1) as f64);
        let below = (inside as usize).min(self.count - 2);
        let slope = if inside == place { per_node } else { 0.0 };
        (below, inside - below as f64, slope)
    }
}

/// The three nodes that share a place as quadratic B-splines do.
#[derive(Clone, Copy, Debug)]
pub struct Three {
    /// The nodes.
    pub nodes: [usize; 3],
    /// Their shares, which add up to 1.
    pub shares: [f64; 3],
    /// The change of those.
    pub slopes: [f64; 3],
}

impl Nodes {
    /// The three nodes round `x`. Beyond the ends, and for half a node within, the end stands for its missing neighbour.
    #[must_use]
    #[inline]
    pub fn three(&self, x: f64) -> Three {
        let per_node = (self.count - 1) as f64 / (self.high - self.low);
        let place = (x - self.low) * per_node;
        let last = self.count - 1;
        let inside = place.clamp(0.0, last as f64);
        let middle = (inside + 0.5) as usize;
        let t = inside - middle as f64;
        let slope = if inside == place { per_node } else { 0.0 };
        Three {
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

/// What the table says of one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Arrival {
    /// Share of the light that came before.
    pub before: f64,
    /// Density, per ns.
    pub density: f64,
    /// Change of the density with time.
    pub density_slope: f64,
    /// Change of `before` with `u` and `v`.
    pub before_uv: [f64; 2],
    /// Change of `density` with `u` and `v`.
    pub density_uv: [f64; 2],
}

impl TimeTable {
    /// Of a node the densities at a time's place and its neighbours, and `F` half a step before it.
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

    /// What is known of the time `time_ns` after the deposit and the flight, at `u` and `v`.
    #[must_use]
    #[inline]
    pub fn at(&self, u: f64, v: f64, time_ns: f64) -> Arrival {
        self.at_three(&self.u.three(u), v, time_ns)
    }

    /// As [`at`](Self::at), where the nodes in `u` are known already.
    #[must_use]
    #[inline]
    pub fn at_three(&self, u: &Three, v: f64, time_ns: f64) -> Arrival {
        let place = (time_ns - FROM_NS) / STEP_NS;
        if place < 0.5 || place.is_nan() {
            return Arrival::default();
        }
        if place >= self.times as f64 - 1.5 {
            return Arrival {
                before: 1.0,
                ..Arrival::default()
            };
        }
        let (column, right, right_slope) = self.v.place(v);
        let middle = (place + 0.5) as usize;
        let t = place - middle as f64;
        // What the nodes have is mixed first, for the value and its changes with u and v; then come the cubics.
        let (mut here, mut along_u, mut along_v) = ([0.0; 4], [0.0; 4], [0.0; 4]);
        for k in 0..3 {
            let node = u.nodes[k] * self.v.count + column;
            let low = self.of_node(node, middle);
            let high = self.of_node(node + 1, middle);
            for j in 0..4 {
                let rise = high[j] - low[j];
                let mixed = low[j] + right * rise;
                here[j] += u.shares[k] * mixed;
                along_u[j] += u.slopes[k] * mixed;
                along_v[j] += u.shares[k] * rise;
            }
        }
        let [before, density, density_slope] = spline(here, t);
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

/// `F`, the density and its slope `t` steps after the middle one of three densities, at most half a step away.
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
                        (t / 2.0).exp()
                    } else {
                        (-t / tau).exp()
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
