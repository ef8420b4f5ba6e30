//! A discrete smoothing spline: minimises sum w_j (y_j - c_j)^2 + lambda sum (c_j+1 - 2 c_j + c_j-1)^2.
//!
//! E. T. Whittaker (1923), P. H. C. Eilers (doi:10.1021/ac034173t). The normal equations have five diagonals and are solved by an
//! L D L' factorisation in fixed order.

/// Buffers of the factorisation.
#[derive(Clone, Debug, Default)]
pub(super) struct SplineWorkspace {
    pivot: Vec<f64>,
    lower: Vec<[f64; 2]>,
}

/// Writes the spline through `values` with `weights` (0 or 1) into `curve`. Needs at least three values, two of them with a weight.
pub(super) fn smooth(
    values: &[f32],
    weights: &[bool],
    lambda: f64,
    work: &mut SplineWorkspace,
    curve: &mut Vec<f64>,
) {
    let count = values.len();
    work.pivot.clear();
    work.lower.clear();
    curve.clear();
    // Diagonals of D'D for second differences.
    let diagonal = |index: usize| match index.min(count - 1 - index) {
        0 => 1.0,
        1 if count > 3 => 5.0,
        1 => 4.0,
        _ => 6.0,
    };
    let first_off = |index: usize| {
        if index == 0 || index + 2 == count {
            -2.0
        } else {
            -4.0
        }
    };
    for index in 0..count {
        let weight = f64::from(u8::from(weights[index]));
        let mut pivot = weight + lambda * diagonal(index);
        let mut value = weight * f64::from(values[index]);
        let mut off = lambda * first_off(index);
        if index > 0 {
            let [next, _] = work.lower[index - 1];
            pivot -= next * next * work.pivot[index - 1];
            value -= next * curve[index - 1];
            off -= next * work.pivot[index - 1] * work.lower[index - 1][1];
        }
        if index > 1 {
            let [_, second] = work.lower[index - 2];
            pivot -= second * second * work.pivot[index - 2];
            value -= second * curve[index - 2];
        }
        let pivot = pivot.max(1e-9);
        work.pivot.push(pivot);
        work.lower.push([off / pivot, lambda / pivot]);
        curve.push(value);
    }
    for (value, pivot) in curve.iter_mut().zip(&work.pivot) {
        *value /= pivot;
    }
    for index in (0..count).rev() {
        let [next, second] = work.lower[index];
        if index + 1 < count {
            curve[index] -= next * curve[index + 1];
        }
        if index + 2 < count {
            curve[index] -= second * curve[index + 2];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spline(values: &[f32], weights: &[bool], lambda: f64) -> Vec<f64> {
        let mut curve = Vec::new();
        smooth(
            values,
            weights,
            lambda,
            &mut SplineWorkspace::default(),
            &mut curve,
        );
        curve
    }

    #[test]
    fn a_straight_line_is_kept_and_continued_whatever_the_stiffness() {
        let values: Vec<f32> = (0..40).map(|index| 3.0 - 0.25 * index as f32).collect();
        let mut weights = vec![true; 40];
        weights[..5].fill(false);
        weights[17..24].fill(false);
        for lambda in [0.3, 8.0, 200.0] {
            for (index, value) in spline(&values, &weights, lambda).iter().enumerate() {
                assert!(
                    (value - f64::from(values[index])).abs() < 1e-5,
                    "{lambda} {index}: {value}"
                );
            }
        }
    }

    #[test]
    fn the_solution_minimises_the_penalised_squares() {
        let values: Vec<f32> = (0..30).map(|index| ((index * 7919) % 13) as f32).collect();
        let weights: Vec<bool> = (0..30).map(|index| index % 4 != 1).collect();
        let cost = |curve: &[f64], lambda: f64| {
            let squares: f64 = (0..30)
                .filter(|&index| weights[index])
                .map(|index| (f64::from(values[index]) - curve[index]).powi(2))
                .sum();
            let rough: f64 = curve
                .windows(3)
                .map(|three| (three[2] - 2.0 * three[1] + three[0]).powi(2))
                .sum();
            squares + lambda * rough
        };
        for lambda in [0.3, 8.0, 200.0] {
            let curve = spline(&values, &weights, lambda);
            let least = cost(&curve, lambda);
            for index in 0..30 {
                for step in [-0.01, 0.01] {
                    let mut other = curve.clone();
                    other[index] += step;
                    assert!(cost(&other, lambda) > least, "{lambda} {index}");
                }
            }
        }
    }
}
