//! Fit of a sum of pulses with charges of at least 0, at given positions: what a channel's photoelectrons can make of a waveform.
//!
//! Non-negative least squares by the active-set method of Lawson and Hanson (Solving Least Squares Problems, 1974, DOI 10.1137/1.9781611971217,
//! algorithm NNLS).

use crate::math::matrix::{Matrix, add_multiple, dot};

/// Gradient, relative to the largest of the right side, from which another pulse is taken.
const MIN_GRADIENT: f64 = 1e-9;
/// Added to the diagonal, relative to it: pulses that hardly differ would make the matrix singular.
const RIDGE: f64 = 1e-10;
/// Charges below this part of the largest are 0 within rounding.
const MIN_CHARGE: f64 = 1e-12;

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
    let mut matrix = Matrix::zeros(columns.len());
    for (row, a) in columns.iter().enumerate() {
        for (column, b) in columns.iter().enumerate().skip(row) {
            let product = dot(a, b);
            matrix[(row, column)] = product;
            matrix[(column, row)] = product;
        }
    }
    let right: Vec<f64> = columns.iter().map(|column| dot(column, samples)).collect();
    let charges = solve_nonnegative(&matrix, &right);
    let mut fitted = vec![0.0; samples.len()];
    for (column, &charge) in columns.iter().zip(&charges) {
        add_multiple(&mut fitted, charge, column);
    }
    fitted
}

/// Returns the x >= 0 that minimises x^T `matrix` x / 2 - `right` x, for a symmetric matrix without negative eigenvalues.
fn solve_nonnegative(matrix: &Matrix, right: &[f64]) -> Vec<f64> {
    let count = right.len();
    let mut solution = vec![0.0; count];
    let mut chosen: Vec<usize> = Vec::new();
    let largest_right = right
        .iter()
        .fold(0.0_f64, |most, value| most.max(value.abs()));
    // The method ends after about as many rounds as there are pulses; the limit is for cycles by rounding.
    for _ in 0..3 * count {
        let product = matrix.times(&solution);
        let steepest = (0..count)
            .filter(|index| !chosen.contains(index))
            .map(|index| (right[index] - product[index], index))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        match steepest {
            Some((gradient, index)) if gradient > MIN_GRADIENT * largest_right => {
                chosen.push(index);
            }
            _ => break,
        }
        // Each round but the last takes out a pulse.
        for _ in 0..=count {
            let Some(free) = solve_chosen(matrix, right, &chosen) else {
                return solution;
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
                let stays = solution[index] > MIN_CHARGE * largest;
                if !stays {
                    solution[index] = 0.0;
                }
                stays
            });
        }
    }
    solution
}

/// Solves the equations of the `chosen` rows and columns.
fn solve_chosen(matrix: &Matrix, right: &[f64], chosen: &[usize]) -> Option<Vec<f64>> {
    let mut part = Matrix::zeros(chosen.len());
    for (column, &b) in chosen.iter().enumerate() {
        for (row, &a) in chosen.iter().enumerate().skip(column) {
            part[(row, column)] = matrix[(a, b)];
        }
        part[(column, column)] *= 1.0 + RIDGE;
    }
    let right: Vec<f64> = chosen.iter().map(|&index| right[index]).collect();
    part.solve(&right)
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
            let mut matrix = Matrix::zeros(count);
            for a in 0..count {
                for b in 0..count {
                    matrix[(a, b)] = (0..rows).map(|row| at(row, a) * at(row, b)).sum();
                }
            }
            let right: Vec<f64> = (0..count)
                .map(|a| {
                    (0..rows)
                        .map(|row| at(row, a) * f64::from(samples[row]))
                        .sum()
                })
                .collect();
            let solution = solve_nonnegative(&matrix, &right);
            assert!(solution.iter().any(|&value| value > 0.0));
            let product = matrix.times(&solution);
            for (index, &value) in solution.iter().enumerate() {
                let gradient = right[index] - product[index];
                assert!(value >= 0.0 && gradient < 1e-6, "{seed} {index}");
                assert!(value == 0.0 || gradient > -1e-6, "{seed} {index}");
            }
        }
    }
}
