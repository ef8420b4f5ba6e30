//! Symmetric systems of linear equations.

use std::ops::{Index, IndexMut};

/// A square matrix, stored column by column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matrix {
    n: usize,
    values: Vec<f64>,
}

impl Matrix {
    /// Returns the matrix of `n` rows and columns that holds zeros.
    pub fn zeros(n: usize) -> Self {
        Self {
            n,
            values: vec![0.0; n * n],
        }
    }

    /// Returns the product with a vector.
    pub fn times(&self, vector: &[f64]) -> Vec<f64> {
        let mut product = vec![0.0; self.n];
        for (column, &factor) in self.values.chunks_exact(self.n.max(1)).zip(vector) {
            add_multiple(&mut product, factor, column);
        }
        product
    }

    /// Solves `A x = right` for a symmetric, positive definite `A` by Cholesky's factorisation. Only the lower triangle
    /// is read. Returns `None` if the matrix is not positive definite.
    pub fn solve(self, right: &[f64]) -> Option<Vec<f64>> {
        let Self { n, values: mut l } = self;
        let mut x = right.to_vec();
        for j in 0..n {
            let (before, column) = l.split_at_mut(j * n);
            let column = &mut column[j..n];
            for other in before.chunks_exact(n) {
                add_multiple(column, -other[j], &other[j..]);
            }
            let pivot = column[0];
            if pivot.is_nan() || pivot <= 0.0 {
                return None;
            }
            let root = pivot.sqrt();
            column[0] = root;
            for value in &mut column[1..] {
                *value /= root;
            }
            // Forward substitution, as soon as the column is known.
            let (head, tail) = x.split_at_mut(j + 1);
            head[j] /= root;
            add_multiple(tail, -head[j], &column[1..]);
        }
        for j in (0..n).rev() {
            let column = &l[j * n + j..(j + 1) * n];
            let sum: f64 = column[1..]
                .iter()
                .zip(&x[j + 1..])
                .map(|(a, b)| a * b)
                .sum();
            x[j] = (x[j] - sum) / column[0];
        }
        Some(x)
    }
}

impl Index<(usize, usize)> for Matrix {
    type Output = f64;

    fn index(&self, (row, column): (usize, usize)) -> &f64 {
        &self.values[column * self.n + row]
    }
}

impl IndexMut<(usize, usize)> for Matrix {
    fn index_mut(&mut self, (row, column): (usize, usize)) -> &mut f64 {
        &mut self.values[column * self.n + row]
    }
}

/// Adds `factor * other` to `values`.
pub(crate) fn add_multiple(values: &mut [f64], factor: f64, other: &[f64]) {
    for (value, other) in values.iter_mut().zip(other) {
        *value += factor * other;
    }
}

/// Returns the inner product.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solution_gives_the_right_side_again() {
        let n = 23;
        let mut matrix = Matrix::zeros(n);
        for i in 0..n {
            for j in 0..n {
                matrix[(i, j)] = 1.0 / (1.0 + i.abs_diff(j) as f64);
            }
            matrix[(i, i)] += 0.5;
        }
        let x: Vec<f64> = (0..n).map(|i| (i as f64 - 7.0) / 3.0).collect();
        let right = matrix.times(&x);
        let solved = matrix.solve(&right).expect("positive definite");
        for (solved, x) in solved.iter().zip(&x) {
            assert!((solved - x).abs() < 1e-12, "{solved} {x}");
        }
    }

    #[test]
    fn indefinite_matrices_have_no_solution() {
        for [a, b, c] in [[1.0, 2.0, 1.0], [0.0, 0.0, 1.0], [f64::NAN, 0.0, 1.0]] {
            let mut matrix = Matrix::zeros(2);
            matrix[(0, 0)] = a;
            matrix[(1, 0)] = b;
            matrix[(0, 1)] = b;
            matrix[(1, 1)] = c;
            assert_eq!(matrix.solve(&[1.0, 1.0]), None);
        }
        assert_eq!(Matrix::zeros(0).solve(&[]), Some(vec![]));
    }
}
