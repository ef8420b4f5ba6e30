//! When light arrives, after the time of flight: distributions learnt at nodes of radius and distance, and between
//! them linear in both.
//!
//! At a node the integral `F` of the distribution is a monotone cubic in each interval of time (Hermite's, with the
//! distribution as slope), and the distribution is its derivative: what a fit sees of both always fits together.

/// Where times begin and how they are binned: `TIMES` values `STEP_NS` apart from `FROM_NS` on.
pub const FROM_NS: f64 = -50.0;
/// Interval of the table.
pub const STEP_NS: f64 = 0.5;

/// One axis of nodes, equally far apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nodes {
    /// The first node.
    pub low: f64,
    /// The last node.
    pub high: f64,
    /// Number of nodes, at least two.
    pub count: usize,
}

impl Nodes {
    /// The node below `x`, the share of the one above it, and the change of that with `x`.
    #[must_use]
    pub fn place(&self, x: f64) -> (usize, f64, f64) {
        let per_node = (self.count - 1) as f64 / (self.high - self.low);
        let place = (x - self.low) * per_node;
        let inside = place.clamp(0.0, (self.count - 1) as f64);
        let below = (inside as usize).min(self.count - 2);
        let slope = if inside == place { per_node } else { 0.0 };
        (below, inside - below as f64, slope)
    }
}

/// Distributions of one type of PMT.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeTable {
    /// Nodes in `(r / R)^2`.
    pub u: Nodes,
    /// Nodes in the logarithm of the distance in mm.
    pub v: Nodes,
    /// Values of a node's table.
    times: usize,
    /// The densities as given.
    given: Vec<Vec<f64>>,
    /// For each node (`u` major), `times` pairs: `F` and the density per ns.
    table: Vec<[f64; 2]>,
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
    /// From densities: for each node (`u` major) `times` values, 0 or more. Each is scaled to an integral of 1. `None`
    /// if the numbers do not fit together or a node has no light.
    #[must_use]
    pub fn new(u: Nodes, v: Nodes, densities: &[Vec<f64>]) -> Option<Self> {
        let times = densities.first()?.len();
        if u.count < 2 || v.count < 2 || densities.len() != u.count * v.count || times < 4 {
            return None;
        }
        let mut table = Vec::with_capacity(times * densities.len());
        for node in densities {
            if node.len() != times || node.iter().any(|s| !(s.is_finite() && *s >= 0.0)) {
                return None;
            }
            let total: f64 = node
                .windows(2)
                .map(|pair| 0.5 * STEP_NS * (pair[0] + pair[1]))
                .sum();
            if total <= 0.0 {
                return None;
            }
            // Trapezes for F, and slopes no steeper than three times the chords: then the cubic never falls.
            let mut before = 0.0;
            for k in 0..times {
                let left = if k == 0 { 0.0 } else { node[k] + node[k - 1] };
                let right = node.get(k + 1).map_or(0.0, |next| node[k] + next);
                before += 0.5 * STEP_NS * left / total;
                let steepest = if k == 0 { right } else { left.min(right) };
                table.push([before, node[k].min(1.5 * steepest) / total]);
            }
        }
        Some(Self {
            u,
            v,
            times,
            given: densities.to_vec(),
            table,
        })
    }

    /// The densities that this table was made from, node after node.
    #[must_use]
    pub fn densities(&self) -> &[Vec<f64>] {
        &self.given
    }

    /// Where the table ends.
    #[must_use]
    pub fn end_ns(&self) -> f64 {
        FROM_NS + STEP_NS * (self.times - 1) as f64
    }

    /// `F`, density and its slope of a node.
    fn of_node(&self, node: usize, index: usize, t: f64) -> [f64; 3] {
        let start = node * self.times + index;
        let Some(&[[f0, s0], [f1, s1]]) = self
            .table
            .get(start..start + 2)
            .and_then(|two| <&[[f64; 2]; 2]>::try_from(two).ok())
        else {
            return [0.0; 3];
        };
        // Hermite's cubic: F = f0 + h (s0 t + (3 c - 2 s0 - s1) t^2 + (s0 + s1 - 2 c) t^3), c the chord's slope.
        let chord = (f1 - f0) / STEP_NS;
        let two = 3.0 * chord - 2.0 * s0 - s1;
        let three = s0 + s1 - 2.0 * chord;
        [
            f0 + STEP_NS * t * (s0 + t * (two + t * three)),
            s0 + t * (2.0 * two + 3.0 * t * three),
            (2.0 * two + 6.0 * t * three) / STEP_NS,
        ]
    }

    /// What is known of the time `time_ns` after the deposit and the flight, at `u` and `v`.
    #[must_use]
    pub fn at(&self, u: f64, v: f64, time_ns: f64) -> Arrival {
        let place = (time_ns - FROM_NS) / STEP_NS;
        let (row, up, up_slope) = self.u.place(u);
        let (column, right, right_slope) = self.v.place(v);
        if place <= 0.0 {
            return Arrival::default();
        }
        if place >= (self.times - 1) as f64 {
            return Arrival {
                before: 1.0,
                ..Arrival::default()
            };
        }
        let index = place as usize;
        let t = place - index as f64;
        let node =
            |i: usize, j: usize| self.of_node((row + i) * self.v.count + column + j, index, t);
        let (a, b, c, d) = (node(0, 0), node(0, 1), node(1, 0), node(1, 1));
        let mix = |k: usize| {
            let low = a[k] + right * (b[k] - a[k]);
            let high = c[k] + right * (d[k] - c[k]);
            (
                low + up * (high - low),
                (high - low) * up_slope,
                ((1.0 - up) * (b[k] - a[k]) + up * (d[k] - c[k])) * right_slope,
            )
        };
        let (before, before_u, before_v) = mix(0);
        let (density, density_u, density_v) = mix(1);
        Arrival {
            before,
            density,
            density_slope: mix(2).0,
            before_uv: [before_u, before_v],
            density_uv: [density_u, density_v],
        }
    }
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
        for (u, v, t) in [(0.3, 0.6, -3.21), (0.9, 0.2, 0.33), (0.5, 0.5, 77.7)] {
            let at = table.at(u, v, t);
            let slope = (table.at(u, v, t + h).before - table.at(u, v, t - h).before) / (2.0 * h);
            assert!((slope - at.density).abs() < 1e-8);
            let slope = (table.at(u, v, t + h).density - table.at(u, v, t - h).density) / (2.0 * h);
            assert!((slope - at.density_slope).abs() < 1e-6);
            let slope = (table.at(u + h, v, t).density - table.at(u - h, v, t).density) / (2.0 * h);
            assert!((slope - at.density_uv[0]).abs() < 1e-8);
            let slope = (table.at(u, v + h, t).before - table.at(u, v - h, t).before) / (2.0 * h);
            assert!((slope - at.before_uv[1]).abs() < 1e-8);
        }
        assert_eq!(table.at(0.5, 0.5, -60.0).before, 0.0);
        assert!((table.at(0.5, 0.5, table.end_ns() - 1e-6).before - 1.0).abs() < 1e-9);
        let mut last = 0.0;
        for k in 0..6000 {
            let before = table.at(0.2, 0.7, FROM_NS + 0.1 * f64::from(k)).before;
            assert!(before >= last);
            last = before;
        }
    }
}
