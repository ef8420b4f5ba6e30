//! Fit of a sum of pulses with charges of at least 0, at given positions: what a channel's photoelectrons can make of a waveform.
//!
//! Non-negative least squares by the active-set method of Lawson and Hanson (Solving Least Squares Problems, 1974, DOI 10.1137/1.9781611971217,
//! algorithm NNLS).

/// Gradient, relative to the largest of the right side, from which another pulse is taken.
const MIN_GRADIENT: f64 = 1e-9;
/// Pivot, relative to the diagonal, from which a pulse differs from those before it.
const MIN_PIVOT: f64 = 1e-10;

/// Returns the samples of the best sum of pulses at `starts` for `samples`. A pulse that starts before the samples has a negative start.
pub(crate) fn fit_samples(samples: &[f64], template: &[f32], starts: &[isize]) -> Vec<f64> {
    let columns: Vec<Vec<f64>> = starts
        .iter()
        .map(|&start| {
            (0..samples.len())
                .map(|index| {
                    usize::try_from(index.cast_signed() - start)
                        .ok()
                        .and_then(|position| template.get(position))
                        .map_or(0.0, |&value| f64::from(value))
                })
                .collect()
        })
        .collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut matrix = vec![vec![0.0; columns.len()]; columns.len()];
    for (row, a) in columns.iter().enumerate() {
        for (column, b) in columns.iter().enumerate().skip(row) {
            let value = product(a, b);
            matrix[row][column] = value;
            matrix[column][row] = value;
        }
    }
    let right: Vec<f64> = columns.iter().map(|a| product(a, samples)).collect();
    let charges = solve_nonnegative(&matrix, &right);
    let mut fitted = vec![0.0; samples.len()];
    for (column, charge) in columns.iter().zip(&charges) {
        if *charge > 0.0 {
            for (sum, value) in fitted.iter_mut().zip(column) {
                *sum += charge * value;
            }
        }
    }
    fitted
}

/// Returns the x >= 0 that minimises x^T `matrix` x / 2 - `right` x, for a symmetric matrix without negative eigenvalues.
fn solve_nonnegative(matrix: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
    let count = right.len();
    let mut solution = vec![0.0; count];
    let mut chosen: Vec<usize> = Vec::new();
    let mut refused = vec![false; count];
    let min_gradient = MIN_GRADIENT
        * right
            .iter()
            .fold(0.0_f64, |most, value| most.max(value.abs()));
    for _ in 0..3 * count {
        let gradient = |index: usize| {
            right[index]
                - chosen
                    .iter()
                    .map(|&other| matrix[index][other] * solution[other])
                    .sum::<f64>()
        };
        let steepest = (0..count)
            .filter(|index| !refused[*index] && !chosen.contains(index))
            .map(|index| (gradient(index), index))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((steepest, index)) = steepest else {
            break;
        };
        if steepest <= min_gradient {
            break;
        }
        chosen.push(index);
        // Each round takes out at least one.
        while !chosen.is_empty() {
            let Some(free) = solve(matrix, right, &chosen) else {
                chosen.pop();
                refused[index] = true;
                break;
            };
            let step = chosen
                .iter()
                .zip(&free)
                .filter(|&(_, &value)| value <= 0.0)
                .map(|(&index, value)| solution[index] / (solution[index] - value))
                .fold(1.0_f64, f64::min);
            for (&index, value) in chosen.iter().zip(&free) {
                solution[index] += step * (value - solution[index]);
            }
            if step >= 1.0 {
                break;
            }
            let largest = solution.iter().copied().fold(0.0_f64, f64::max);
            chosen.retain(|&index| {
                let stays = solution[index] > 1e-12 * largest;
                if !stays {
                    solution[index] = 0.0;
                }
                stays
            });
        }
    }
    solution
}

/// Solves the equations of the `chosen` rows and columns (Cholesky). `None` if the last of them depends on the others.
fn solve(matrix: &[Vec<f64>], right: &[f64], chosen: &[usize]) -> Option<Vec<f64>> {
    let mut factor: Vec<Vec<f64>> = Vec::with_capacity(chosen.len());
    let mut solution = Vec::with_capacity(chosen.len());
    for (row, &a) in chosen.iter().enumerate() {
        let mut values: Vec<f64> = Vec::with_capacity(row + 1);
        for (column, &b) in chosen.iter().enumerate().take(row) {
            let sum: f64 = values
                .iter()
                .zip(&factor[column])
                .map(|(left, right)| left * right)
                .sum();
            values.push((matrix[a][b] - sum) / factor[column][column]);
        }
        let pivot = matrix[a][a] - values.iter().map(|value| value * value).sum::<f64>();
        if pivot <= MIN_PIVOT * matrix[a][a] {
            return None;
        }
        let pivot = pivot.sqrt();
        let sum: f64 = values
            .iter()
            .zip(&solution)
            .map(|(left, right)| left * right)
            .sum();
        solution.push((right[a] - sum) / pivot);
        values.push(pivot);
        factor.push(values);
    }
    for row in (0..chosen.len()).rev() {
        solution[row] /= factor[row][row];
        let value = solution[row];
        for column in 0..row {
            solution[column] -= factor[row][column] * value;
        }
    }
    Some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::tests::helpers::{gaussian, juno_template};

    #[test]
    fn a_sum_of_pulses_is_fitted_exactly() {
        let template = juno_template(0.05);
        let charges = [(-3, 1.0), (9, 2.5), (20, 0.4), (44, 7.0)];
        let samples: Vec<f64> = (0..80_isize)
            .map(|index| {
                charges
                    .iter()
                    .filter_map(|&(start, charge)| {
                        let position = usize::try_from(index - start).ok()?;
                        Some(charge * f64::from(*template.get(position)?))
                    })
                    .sum()
            })
            .collect();
        let starts: Vec<isize> = (-13..80).collect();
        let fitted = fit_samples(&samples, &template, &starts);
        for (fitted, sample) in fitted.iter().zip(&samples) {
            assert!((fitted - sample).abs() < 0.05, "{fitted} {sample}");
        }
    }

    #[test]
    fn the_solution_is_the_best_with_charges_of_at_least_0() {
        // The conditions of Karush, Kuhn and Tucker, for random matrices.
        for seed in 0..20 {
            let (count, rows) = (12, 20);
            let values = gaussian(seed, count * rows + rows);
            let (values, samples) = values.split_at(count * rows);
            let at = |row: usize, column: usize| f64::from(values[row * count + column]);
            let matrix: Vec<Vec<f64>> = (0..count)
                .map(|a| {
                    (0..count)
                        .map(|b| (0..rows).map(|row| at(row, a) * at(row, b)).sum())
                        .collect()
                })
                .collect();
            let right: Vec<f64> = (0..count)
                .map(|a| {
                    (0..rows)
                        .map(|row| at(row, a) * f64::from(samples[row]))
                        .sum()
                })
                .collect();
            let solution = solve_nonnegative(&matrix, &right);
            assert!(solution.iter().any(|&value| value > 0.0));
            for (index, &value) in solution.iter().enumerate() {
                let gradient = right[index]
                    - matrix[index]
                        .iter()
                        .zip(&solution)
                        .map(|(a, x)| a * x)
                        .sum::<f64>();
                assert!(value >= 0.0 && gradient < 1e-6, "{seed} {index}");
                assert!(value == 0.0 || gradient > -1e-6, "{seed} {index}");
            }
        }
    }
}
