//! Minimisation of a smooth function of five parameters: quasi-Newton (BFGS) with a given initial curvature.

use super::likelihood::{Matrix, N, Point, Value};

/// Maximum number of steps.
const MAX_STEPS: usize = 60;
/// The minimisation ends when a step can lower the function by no more than this; parameters are then within 0.005 of their
/// errors.
const TOLERANCE: f64 = 1e-5;
/// Maximum step of each parameter: mm, ns, logarithm of the energy.
const MAX_STEP: Point = [3000.0, 3000.0, 3000.0, 10.0, 0.7];

/// The result of a minimisation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Minimum {
    pub point: Point,
    /// With the information.
    pub value: Value,
    pub converged: bool,
}

/// Minimises `function` from `start`, with the information there as curvature; the second argument of `function` requests it.
pub(super) fn minimize(mut function: impl FnMut(&Point, bool) -> Value, start: Point) -> Minimum {
    let mut point = start;
    let mut value = function(&point, true);
    let mut inverse = inverse_or_diagonal(&value.information);
    let mut fresh = true;
    for _ in 0..MAX_STEPS {
        let mut step = times(&inverse, &value.gradient).map(|x| -x);
        let mut decrease = -dot(&step, &value.gradient);
        if !(decrease > 0.0 && decrease.is_finite()) {
            if fresh {
                break;
            }
            value = function(&point, true);
            inverse = inverse_or_diagonal(&value.information);
            fresh = true;
            continue;
        }
        if 0.5 * decrease < TOLERANCE && !fresh {
            // The updated curvature may be too large: it is computed again from the hits.
            value = function(&point, true);
            inverse = inverse_or_diagonal(&value.information);
            fresh = true;
            continue;
        }
        if 0.5 * decrease < TOLERANCE {
            return Minimum {
                point,
                value,
                converged: true,
            };
        }
        let too_long = step
            .iter()
            .zip(&MAX_STEP)
            .map(|(step, most)| step.abs() / most)
            .fold(1.0, f64::max);
        step = step.map(|x| x / too_long);
        decrease /= too_long;
        let mut factor = 1.0;
        let (next_point, next) = loop {
            let mut candidate = point;
            for (x, step) in candidate.iter_mut().zip(&step) {
                *x += factor * step;
            }
            let next = function(&candidate, false);
            if next.minus_log <= value.minus_log - 1e-4 * factor * decrease {
                break (candidate, next);
            }
            // The minimum of the parabola through both values and the slope, within limits.
            let rise = next.minus_log - value.minus_log + factor * decrease;
            let best = if rise.is_finite() && rise > 0.0 {
                0.5 * factor * factor * decrease / rise
            } else {
                0.0
            };
            factor = best.clamp(0.1 * factor, 0.5 * factor);
            if factor < 1e-4 {
                break (point, value);
            }
        };
        if factor < 1e-4 {
            if fresh {
                // No lower value along the best direction: converged to numerical precision, or stuck.
                let converged = 0.5 * decrease < 1e-3;
                return Minimum {
                    point,
                    value,
                    converged,
                };
            }
            value = function(&point, true);
            inverse = inverse_or_diagonal(&value.information);
            fresh = true;
            continue;
        }
        let moved = difference(&next_point, &point);
        let turned = difference(&next.gradient, &value.gradient);
        update(&mut inverse, &moved, &turned);
        fresh = false;
        point = next_point;
        value = next;
    }
    Minimum {
        point,
        value,
        converged: false,
    }
}

fn dot(a: &Point, b: &Point) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn difference(a: &Point, b: &Point) -> Point {
    let mut result = *a;
    for (x, b) in result.iter_mut().zip(b) {
        *x -= b;
    }
    result
}

fn times(matrix: &Matrix, vector: &Point) -> Point {
    let mut result = [0.0; N];
    for (sum, row) in result.iter_mut().zip(matrix) {
        *sum = dot(row, vector);
    }
    result
}

/// The Broyden-Fletcher-Goldfarb-Shanno update of the inverse curvature.
fn update(inverse: &mut Matrix, moved: &Point, turned: &Point) {
    let along = dot(moved, turned);
    if along <= 1e-10 * (dot(moved, moved) * dot(turned, turned)).sqrt() {
        return;
    }
    let turned_by_inverse = times(inverse, turned);
    let factor = (1.0 + dot(turned, &turned_by_inverse) / along) / along;
    for (i, row) in inverse.iter_mut().enumerate() {
        for (j, x) in row.iter_mut().enumerate() {
            *x += factor * moved[i] * moved[j]
                - (turned_by_inverse[i] * moved[j] + moved[i] * turned_by_inverse[j]) / along;
        }
    }
}

fn inverse_or_diagonal(information: &Matrix) -> Matrix {
    inverse(information).unwrap_or_else(|| {
        let mut result = [[0.0; N]; N];
        let smallest = [1e-8, 1e-8, 1e-8, 1e-4, 1e-4];
        for k in 0..N {
            result[k][k] = 1.0 / information[k][k].max(smallest[k]);
        }
        result
    })
}

/// Returns the inverse of a positive definite matrix (Cholesky); `None` if it is not positive definite.
pub(super) fn inverse(matrix: &Matrix) -> Option<Matrix> {
    let mut scale = [0.0; N];
    for (k, scale) in scale.iter_mut().enumerate() {
        *scale = 1.0 / matrix[k][k].sqrt();
        if !scale.is_finite() {
            return None;
        }
    }
    let mut lower = [[0.0; N]; N];
    for i in 0..N {
        for j in 0..=i {
            let rest: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
            let left = matrix[i][j] * scale[i] * scale[j] - rest;
            if i == j {
                if left.is_nan() || left <= 1e-12 {
                    return None;
                }
                lower[i][i] = left.sqrt();
            } else {
                lower[i][j] = left / lower[j][j];
            }
        }
    }
    let mut result = [[0.0; N]; N];
    for column in 0..N {
        let mut x = [0.0; N];
        for i in 0..N {
            let rest: f64 = (0..i).map(|k| lower[i][k] * x[k]).sum();
            x[i] = (f64::from(u8::from(i == column)) - rest) / lower[i][i];
        }
        for i in (0..N).rev() {
            let rest: f64 = (i + 1..N).map(|k| lower[k][i] * x[k]).sum();
            x[i] = (x[i] - rest) / lower[i][i];
        }
        for i in 0..N {
            result[i][column] = x[i] * scale[i] * scale[column];
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bent_valley_is_followed_to_its_end() {
        // Rosenbrock's valley in the first two, parabolas in the others.
        let minimum = minimize(
            |p, _| {
                let (a, b) = (p[1] - p[0] * p[0], 1.0 - p[0]);
                let mut value = Value {
                    minus_log: 10.0 * a * a + b * b,
                    ..Value::default()
                };
                value.gradient[0] = -40.0 * a * p[0] - 2.0 * b;
                value.gradient[1] = 20.0 * a;
                for (slope, x) in value.gradient.iter_mut().zip(p).skip(2) {
                    value.minus_log += (x - 2.0).powi(2);
                    *slope = 2.0 * (x - 2.0);
                }
                for k in 0..N {
                    value.information[k][k] = 2.0;
                }
                value
            },
            [-1.2, 1.0, 0.0, 0.0, 0.0],
        );
        assert!(minimum.converged);
        for (x, expected) in minimum.point.iter().zip([1.0, 1.0, 2.0, 2.0, 2.0]) {
            assert!((x - expected).abs() < 5e-3, "{:?}", minimum.point);
        }
    }

    #[test]
    fn the_inverse_is_one() {
        let scales = [1.0, 10.0, 100.0, 1e3, 1e4];
        let mut matrix = [[0.0; N]; N];
        for (i, row) in matrix.iter_mut().enumerate() {
            for (j, x) in row.iter_mut().enumerate() {
                *x = scales[i] * scales[j] * if i == j { 2.0 } else { 0.5 };
            }
        }
        let inverse = inverse(&matrix).expect("positive definite");
        for (i, row) in matrix.iter().enumerate() {
            for j in 0..N {
                let product: f64 = row.iter().zip(&inverse).map(|(a, b)| a * b[j]).sum();
                let expected = f64::from(u8::from(i == j));
                assert!((product - expected).abs() < 1e-9 * scales[i] / scales[j].min(scales[i]));
            }
        }
        assert!(super::inverse(&[[1.0; N]; N]).is_none());
    }
}
