//! The normal equations of the method `sparse`: inner products of the columns of a linear model, and their solution.
//!
//! Columns are s and s' of each photoelectron, in turn, and the baseline's 1 at the end.

use multiversion::multiversion;

use super::response::{Place, Response};
use super::sanity::tree_sum;

/// What the diagonal is raised by, relative.
pub(crate) const RIDGE: f32 = 3e-5;
/// Least share of a column's squares that counts as left by those before it.
pub(crate) const LEAST_PIVOT: f32 = 1e-6;
/// Least share of a template's squares inside the window.
pub(crate) const LEAST_INSIDE: f32 = 1e-3;

/// The normal matrix and its Cholesky factor.
#[derive(Clone, Debug, Default)]
pub struct Normal {
    /// Number of columns.
    columns: usize,
    /// Lower triangle, row by row, in rows of `columns`.
    matrix: Vec<f32>,
    factor: Vec<f32>,
}

impl Normal {
    /// Fills the matrix in for photoelectrons at `places` in a window of `length`.
    ///
    /// Inner products are those of whole templates; what the window cuts is taken off by the share of the squares that is left,
    /// which keeps the matrix positive. The gradient, which decides where a fit ends, knows the window exactly.
    pub fn fill(&mut self, response: &Response, places: &[Place], length: usize) {
        let columns = 2 * places.len() + 1;
        self.columns = columns;
        self.matrix.clear();
        self.matrix.resize(columns * columns, 0.0);
        for (one, a) in places.iter().enumerate() {
            let (sum, share) = response.inside(a.sample, length);
            self.matrix[(columns - 1) * columns + 2 * one] = sum;
            for (other, b) in places[..=one].iter().enumerate() {
                let products = response.products(a.sample - b.sample, &a.weights, &b.weights);
                let (_, share_of_other) = response.inside(b.sample, length);
                let seen = (share.max(LEAST_INSIDE) * share_of_other.max(LEAST_INSIDE)).sqrt();
                for (row, products) in products[..2].iter().enumerate() {
                    let at = (2 * one + row) * columns + 2 * other;
                    self.matrix[at] = seen * products[0];
                    self.matrix[at + 1] = seen * products[1];
                }
            }
        }
        self.matrix[columns * columns - 1] = length as f32;
    }

    /// Factorises the matrix, its diagonal raised by a little, and by what `more` says of charge and time of each photoelectron.
    pub fn factorise(&mut self, more: impl Fn(usize) -> (f32, f32)) {
        let columns = self.columns;
        self.factor.clear();
        self.factor.extend_from_slice(&self.matrix);
        for index in 0..columns / 2 {
            let (charge, time) = more(index);
            for (place, more) in [(2 * index, charge), (2 * index + 1, time)] {
                let diagonal = &mut self.factor[place * (columns + 1)];
                *diagonal = *diagonal * (1.0 + RIDGE) + more;
            }
        }
        for i in 0..columns {
            let (above, row) = self.factor.split_at_mut(i * columns);
            for j in 0..i {
                let other = &above[j * columns..=j * columns + j];
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
            let rest = row[i] - dot(&row[..i], &row[..i]);
            row[i] = rest
                .max(LEAST_PIVOT * self.matrix[i * (columns + 1)])
                .sqrt();
        }
    }

    /// Solves the factor's first half for `column`.
    pub fn forward(&self, column: &mut [f32]) {
        for i in 0..column.len() {
            let row = &self.factor[i * self.columns..][..=i];
            column[i] = (column[i] - dot(&row[..i], &column[..i])) / row[i];
        }
    }

    /// And the second.
    pub fn backward(&self, column: &mut [f32]) {
        for i in (0..column.len()).rev() {
            let row = &self.factor[i * self.columns..][..=i];
            column[i] /= row[i];
            let value = column[i];
            for (before, factor) in column[..i].iter_mut().zip(row) {
                *before -= factor * value;
            }
        }
    }
}

/// Inner product, in eight lanes.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (a, b) = (&a[..a.len().min(b.len())], &b[..a.len().min(b.len())]);
    let whole = a.len() / 8 * 8;
    for start in (0..whole).step_by(8) {
        for lane in 0..8 {
            lanes[lane] += a[start + lane] * b[start + lane];
        }
    }
    for index in whole..a.len() {
        lanes[index - whole] += a[index] * b[index];
    }
    tree_sum(lanes)
}

/// Sum, and sum of the squares, each in sixteen lanes.
#[must_use]
#[multiversion(targets = "simd")]
pub fn sums(values: &[f32]) -> (f32, f32) {
    let (mut lanes, mut squares) = ([0.0_f32; 16], [0.0_f32; 16]);
    let chunks = values.chunks_exact(16);
    for (lane, value) in chunks.remainder().iter().enumerate() {
        lanes[lane] += value;
        squares[lane] += value * value;
    }
    for chunk in chunks {
        for lane in 0..16 {
            lanes[lane] += chunk[lane];
            squares[lane] += chunk[lane] * chunk[lane];
        }
    }
    (tree_sum(lanes), tree_sum(squares))
}

#[cfg(test)]
mod tests {
    use super::super::testing::juno_template;
    use super::*;

    #[test]
    fn the_solution_solves_the_equations() {
        let response = Response::new(&juno_template(0.05));
        let places: Vec<Place> = [300.2, 305.9, 330.0, 512.3].map(Place::of).into();
        let mut normal = Normal::default();
        normal.fill(&response, &places, 1000);
        normal.factorise(|_| (0.0, 0.0));
        let columns = normal.columns;
        let right: Vec<f32> = (0..columns)
            .map(|k| 1000.0 * (1.0 + (k % 3) as f32))
            .collect();
        let mut solution = right.clone();
        normal.forward(&mut solution);
        normal.backward(&mut solution);
        for (row, &wanted) in right.iter().enumerate() {
            let sum: f64 = (0..columns)
                .map(|column| {
                    let (a, b) = (row.max(column), row.min(column));
                    let ridge = if row == column && row + 1 < columns {
                        1.0 + RIDGE
                    } else {
                        1.0
                    };
                    f64::from(normal.matrix[a * columns + b] * ridge) * f64::from(solution[column])
                })
                .sum();
            assert!(
                (sum - f64::from(wanted)).abs() < 2.0,
                "{row}: {sum} for {wanted}"
            );
        }
    }
}
