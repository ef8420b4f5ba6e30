//! Evaluation of smooth functions of two variables: uniform cubic B-splines, with derivatives.

use crate::model::light_maps::{SplineAxis, Surface};

/// The four splines that are not 0 at a point.
#[derive(Clone, Copy, Debug)]
pub struct CubicTaps {
    /// Index of the first spline.
    pub first: usize,
    /// Their values.
    pub values: [f64; 4],
    /// Their derivatives.
    pub slopes: [f64; 4],
}

impl SplineAxis {
    /// Returns the splines at `x`. Beyond an end the value is that of the end, and the derivative 0.
    #[must_use]
    #[inline]
    pub fn cubic_taps(&self, x: f64) -> CubicTaps {
        let per_interval = self.intervals as f64 / (self.high - self.low);
        let position = (x - self.low) * per_interval;
        let inside = position.clamp(0.0, self.intervals as f64);
        let first = (inside as usize).min(self.intervals - 1);
        let t = inside - first as f64;
        let s = 1.0 - t;
        let values = [
            s * s * s / 6.0,
            (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0,
            (3.0 * s * s * s - 6.0 * s * s + 4.0) / 6.0,
            t * t * t / 6.0,
        ];
        let scale = if inside == position {
            per_interval
        } else {
            0.0
        };
        let slopes = [
            -0.5 * s * s * scale,
            (1.5 * t * t - 2.0 * t) * scale,
            (2.0 * s - 1.5 * s * s) * scale,
            0.5 * t * t * scale,
        ];
        CubicTaps {
            first,
            values,
            slopes,
        }
    }
}

impl Surface {
    /// Returns the value and both derivatives at a point.
    #[must_use]
    pub fn value(&self, u: f64, v: f64) -> (f64, f64, f64) {
        self.at(&self.u.cubic_taps(u), v)
    }

    /// Returns the value and both derivatives, with known splines in `u`.
    #[must_use]
    pub fn at(&self, u: &CubicTaps, v: f64) -> (f64, f64, f64) {
        let v = self.v.cubic_taps(v);
        let width = self.v.splines();
        let (mut value, mut slope_u, mut slope_v) = (0.0, 0.0, 0.0);
        for row in 0..4 {
            let start = (u.first + row) * width + v.first;
            let Some(c) = self.coefficients.get(start..start + 4) else {
                continue;
            };
            let along =
                c[0] * v.values[0] + c[1] * v.values[1] + c[2] * v.values[2] + c[3] * v.values[3];
            let along_slope =
                c[0] * v.slopes[0] + c[1] * v.slopes[1] + c[2] * v.slopes[2] + c[3] * v.slopes[3];
            value += u.values[row] * along;
            slope_u += u.slopes[row] * along;
            slope_v += u.values[row] * along_slope;
        }
        (value, slope_u, slope_v)
    }
}

/// A surface at fixed `u`: a function of `v`.
#[derive(Clone, Debug, PartialEq)]
pub struct SurfaceSlice {
    v: SplineAxis,
    /// Coefficients of the value and of its derivative with respect to `u`.
    coefficients: Vec<[f64; 2]>,
}

impl Surface {
    /// Returns the surface at fixed `u`.
    #[must_use]
    pub fn slice(&self, u: f64) -> SurfaceSlice {
        let taps = self.u.cubic_taps(u);
        let width = self.v.splines();
        let mut coefficients = vec![[0.0; 2]; width];
        for row in 0..4 {
            let start = (taps.first + row) * width;
            let along = self.coefficients.get(start..start + width);
            for (sums, c) in coefficients.iter_mut().zip(along.unwrap_or_default()) {
                sums[0] += taps.values[row] * c;
                sums[1] += taps.slopes[row] * c;
            }
        }
        SurfaceSlice {
            v: self.v,
            coefficients,
        }
    }
}

impl SurfaceSlice {
    /// Returns the value and both derivatives at a point.
    #[must_use]
    #[inline]
    pub fn at(&self, v: f64) -> (f64, f64, f64) {
        let taps = self.v.cubic_taps(v);
        let Some(c) = self
            .coefficients
            .get(taps.first..taps.first + 4)
            .and_then(|four| <&[[f64; 2]; 4]>::try_from(four).ok())
        else {
            return (0.0, 0.0, 0.0);
        };
        let (mut value, mut slope_u, mut slope_v) = (0.0, 0.0, 0.0);
        for ((c, tap), slope) in c.iter().zip(&taps.values).zip(&taps.slopes) {
            value += c[0] * tap;
            slope_u += c[1] * tap;
            slope_v += c[0] * slope;
        }
        (value, slope_u, slope_v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splines_add_up_to_one_and_slopes_are_those_of_the_values() {
        let axis = SplineAxis {
            low: -1.0,
            high: 3.0,
            intervals: 7,
        };
        for step in 0..200 {
            let x = -1.0 + 4.0 * (f64::from(step) + 0.5) / 200.0;
            let taps = axis.cubic_taps(x);
            assert!((taps.values.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            assert!(taps.slopes.iter().sum::<f64>().abs() < 1e-13);
        }
        let surface = Surface {
            u: axis,
            v: SplineAxis {
                low: 0.0,
                high: 1.0,
                intervals: 3,
            },
            coefficients: (0..60).map(|k| f64::from(k * k % 17)).collect(),
        };
        let h = 1e-6;
        for (u, v) in [(0.3, 0.2), (2.9, 0.77), (-0.99, 0.5)] {
            let (_, du, dv) = surface.value(u, v);
            let along_u = (surface.value(u + h, v).0 - surface.value(u - h, v).0) / (2.0 * h);
            let along_v = (surface.value(u, v + h).0 - surface.value(u, v - h).0) / (2.0 * h);
            assert!((du - along_u).abs() < 1e-6, "{du} {along_u}");
            assert!((dv - along_v).abs() < 1e-6, "{dv} {along_v}");
            let (value, line_u, line_v) = surface.slice(u).at(v);
            assert!((value - surface.value(u, v).0).abs() < 1e-12);
            assert!((line_u - du).abs() < 1e-12 && (line_v - dv).abs() < 1e-12);
        }
        // Beyond the ends: constant.
        assert_eq!(surface.value(9.0, 0.5).0, surface.value(3.0, 0.5).0);
        assert_eq!(surface.value(9.0, 0.5).1, 0.0);
    }
}
