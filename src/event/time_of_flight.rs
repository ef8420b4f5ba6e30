//! Time of flight: straight from vertex to PMT, through the scintillator and the medium around it.

use crate::model::light_maps::LightSpeed;
use crate::model::vector::{Vector, dot, minus, norm, plus_scaled, scaled};

/// The path from a vertex to a PMT.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LightPath {
    /// Length within the scintillator.
    pub inner_mm: f64,
    /// Length outside it.
    pub outer_mm: f64,
    /// Gradient of `inner_mm` with respect to the vertex.
    pub inner_gradient: Vector,
    /// Gradient of the whole length with respect to the vertex.
    pub whole_gradient: Vector,
}

/// Returns both parts of the straight path from `vertex` to `sensor`.
#[must_use]
#[inline]
pub fn light_path(radius_mm: Option<f64>, vertex: Vector, sensor: Vector) -> LightPath {
    let displacement = minus(sensor, vertex);
    let length = norm(displacement).max(1e-6);
    let direction = scaled(1.0 / length, displacement);
    let whole_gradient = scaled(-1.0, direction);
    let Some(radius_mm) = radius_mm else {
        return LightPath {
            inner_mm: length,
            outer_mm: 0.0,
            inner_gradient: whole_gradient,
            whole_gradient,
        };
    };
    // The path leaves the sphere at s with |v + s n| = R: s = -v.n + sqrt((v.n)^2 + R^2 - v^2).
    let along = dot(vertex, direction);
    let square = along * along + radius_mm * radius_mm - dot(vertex, vertex);
    if square <= 0.0 {
        return LightPath {
            inner_mm: 0.0,
            outer_mm: length,
            inner_gradient: [0.0; 3],
            whole_gradient,
        };
    }
    let root = square.sqrt();
    let inner_mm = root - along;
    if inner_mm >= length || inner_mm <= 0.0 {
        // The PMT is in the scintillator, or the vertex is outside and the path leads away from it.
        let inside = inner_mm >= length;
        return LightPath {
            inner_mm: if inside { length } else { 0.0 },
            outer_mm: if inside { 0.0 } else { length },
            inner_gradient: if inside { whole_gradient } else { [0.0; 3] },
            whole_gradient,
        };
    }
    // d(v.n)/dv = n + (dn/dv) v, where dn/dv = (n n^T - 1) / length.
    let along_gradient = plus_scaled(
        plus_scaled(direction, along / length, direction),
        -1.0 / length,
        vertex,
    );
    let inner_gradient = plus_scaled(
        scaled(along / root - 1.0, along_gradient),
        -1.0 / root,
        vertex,
    );
    LightPath {
        inner_mm,
        outer_mm: length - inner_mm,
        inner_gradient,
        whole_gradient,
    }
}

impl LightSpeed {
    /// Returns the time of flight from `vertex` to `sensor` and its gradient with respect to the vertex.
    #[must_use]
    #[inline]
    pub fn time_ns(&self, vertex: Vector, sensor: Vector) -> (f64, Vector) {
        let path = light_path(self.radius_mm, vertex, sensor);
        let gradient = plus_scaled(
            scaled(self.outer_ns_per_mm, path.whole_gradient),
            self.inner_ns_per_mm - self.outer_ns_per_mm,
            path.inner_gradient,
        );
        (
            self.inner_ns_per_mm * path.inner_mm + self.outer_ns_per_mm * path.outer_mm,
            gradient,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_that_of_the_time_and_the_parts_are_the_whole() {
        let flight = LightSpeed {
            radius_mm: Some(17_700.0),
            inner_ns_per_mm: 0.0051,
            outer_ns_per_mm: 0.0045,
        };
        let sensor = [12_000.0, -9_000.0, (19_434.0_f64.powi(2) - 225e6).sqrt()];
        for vertex in [
            [0.0, 0.0, 0.0],
            [3_000.0, 4_000.0, -12_000.0],
            [-9_000.0, 9_000.0, 10_000.0],
            [10_500.0, -8_000.0, 10_500.0],
        ] {
            let parts = light_path(flight.radius_mm, vertex, sensor);
            let length = norm(minus(sensor, vertex));
            assert!((parts.inner_mm + parts.outer_mm - length).abs() < 1e-9);
            let (_, gradient) = flight.time_ns(vertex, sensor);
            for axis in 0..3 {
                let moved = |by: f64| {
                    let mut place = vertex;
                    place[axis] += by;
                    flight.time_ns(place, sensor).0
                };
                let slope = (moved(0.5) - moved(-0.5)) / 1.0;
                assert!(
                    (slope - gradient[axis]).abs() < 1e-8,
                    "{vertex:?} {slope} {gradient:?}"
                );
            }
        }
    }
}
