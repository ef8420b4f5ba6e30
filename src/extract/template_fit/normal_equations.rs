//! The normal equations of the fit: inner products of the columns of a linear model, and their solution.
//!
//! The columns are s and s' of each pulse in turn, and the 1 of the baseline at the end.

use multiversion::multiversion;

use super::config::{MIN_INSIDE_SHARE, MIN_PIVOT, RIDGE};
use super::spline::SplinePosition;
use super::template::Template;
use crate::extract::load_samples::tree_sum;

/// Numbers per vector operation; rows are padded to multiples of it.
const LANES: usize = 8;
type Lanes = [f32; LANES];

/// The normal matrix and its factors.
#[derive(Clone, Debug, Default)]
pub struct NormalEquations {
    /// Number of columns, and the length of rows in lanes.
    columns: usize,
    blocks: usize,
    /// Upper triangle, row by row.
    matrix: Vec<Lanes>,
    /// U of the matrix U^T D U, D diagonal and U upper triangular with a diagonal of 1, which is not stored: 0 there and left of it.
    factor: Vec<Lanes>,
    /// Inverse of D.
    inverse: Vec<Lanes>,
    /// Per column of a pulse, the square root of the share of its squares inside the window.
    inside_roots: Vec<[f32; 2]>,
}

impl NormalEquations {
    /// Computes the matrix for pulses at `positions` in a window of `length`.
    ///
    /// Inner products are those of whole templates, scaled by the share of the squares inside the window, which keeps the matrix
    /// positive. The gradient, which decides where a fit ends, takes the window into account exactly.
    pub fn fill_matrix(
        &mut self,
        template: &Template,
        positions: &[SplinePosition],
        length: usize,
    ) {
        let columns = 2 * positions.len() + 1;
        self.columns = columns;
        self.blocks = columns.div_ceil(LANES);
        self.matrix.clear();
        self.matrix.resize(columns * self.blocks, [0.0; LANES]);
        let stride = self.blocks * LANES;
        let matrix = self.matrix.as_flattened_mut();
        self.inside_roots.clear();
        for (index, position) in positions.iter().enumerate() {
            let (sum, shares) = template.inside(position.sample, length);
            self.inside_roots
                .push(shares.map(|share| share.max(MIN_INSIDE_SHARE).sqrt()));
            matrix[2 * index * stride + columns - 1] = sum;
        }
        for (one, a) in positions.iter().enumerate() {
            let rows = &mut matrix[2 * one * stride..][..2 * stride];
            for (other, b) in positions.iter().enumerate().skip(one) {
                let products: [[f32; 2]; 2] =
                    template.products(a.sample - b.sample, &a.weights, &b.weights);
                for (row, (products, root)) in
                    products.iter().zip(&self.inside_roots[one]).enumerate()
                {
                    for (column, other_root) in self.inside_roots[other].iter().enumerate() {
                        rows[row * stride + 2 * other + column] =
                            root * other_root * products[column];
                    }
                }
            }
        }
        matrix[(columns - 1) * stride + columns - 1] = length as f32;
    }

    /// Factorises the matrix with the diagonal raised by [`RIDGE`] and by the terms that `added` returns for charge and time of each pulse.
    pub fn factorise(&mut self, added: impl Fn(usize) -> (f32, f32)) {
        let columns = self.columns;
        let stride = self.blocks * LANES;
        self.factor.clear();
        self.factor.extend_from_slice(&self.matrix);
        self.inverse.clear();
        self.inverse.resize(self.blocks, [0.0; LANES]);
        let factor = self.factor.as_flattened_mut();
        let min_pivots = self.inverse.as_flattened_mut();
        for (column, min_pivot) in min_pivots[..columns].iter_mut().enumerate() {
            *min_pivot = MIN_PIVOT * factor[column * (stride + 1)];
        }
        for index in 0..columns / 2 {
            let (charge, time) = added(index);
            for (column, added) in [(2 * index, charge), (2 * index + 1, time)] {
                let diagonal = &mut factor[column * (stride + 1)];
                *diagonal = *diagonal * (1.0 + RIDGE) + added;
            }
        }
        factorise(&mut self.factor, columns, &mut self.inverse);
    }

    /// Solves the equations for the right-hand side `column`, in its place.
    pub fn solve(&self, column: &mut Vec<f32>) {
        column.resize(self.blocks * LANES, 0.0);
        let lanes = column.as_chunks_mut().0;
        forward_substitute(&self.factor, lanes, 0..self.columns);
        for (lanes, inverse) in lanes.iter_mut().zip(&self.inverse) {
            for lane in 0..LANES {
                lanes[lane] *= inverse[lane];
            }
        }
        back_substitute(&self.factor, lanes, self.columns);
        column.truncate(self.columns);
    }

    /// Returns the quadratic form of `column` with the inverse matrix. Elements before `first` have to be 0.
    pub fn solved_squares(&self, column: &mut Vec<f32>, first: usize) -> f32 {
        column.resize(self.blocks * LANES, 0.0);
        let lanes = column.as_chunks_mut().0;
        forward_substitute(&self.factor, lanes, first..self.columns);
        let mut sums = [0.0; LANES];
        for (lanes, inverse) in lanes.iter().zip(&self.inverse) {
            for lane in 0..LANES {
                sums[lane] += lanes[lane] * lanes[lane] * inverse[lane];
            }
        }
        tree_sum(sums)
    }
}

/// Factorises the matrix in `factor` in its place. `inverse` holds the least pivot of each column and is replaced by the inverse of D.
#[multiversion(targets = "simd")]
fn factorise(factor: &mut [Lanes], columns: usize, inverse: &mut [Lanes]) {
    let blocks = inverse.len();
    let inverse = inverse.as_flattened_mut();
    for (pivot, inverse) in inverse[..columns].iter_mut().enumerate() {
        let (above, below) = factor.split_at_mut((pivot + 1) * blocks);
        let row = &mut above[pivot * blocks..];
        let own = row.as_flattened();
        *inverse = 1.0 / own[pivot].max(*inverse);
        for (index, other) in (pivot + 1..).zip(below.chunks_exact_mut(blocks)) {
            let multiple = own[index] * *inverse;
            subtract_row(other, row, index / LANES, multiple);
        }
        for (block, lanes) in row.iter_mut().enumerate() {
            for (lane, value) in lanes.iter_mut().enumerate() {
                *value *= if block * LANES + lane > pivot {
                    *inverse
                } else {
                    0.0
                };
            }
        }
    }
}

/// The forward substitution with the rows `rows`.
#[multiversion(targets = "simd")]
fn forward_substitute(factor: &[Lanes], column: &mut [Lanes], rows: std::ops::Range<usize>) {
    let blocks = column.len();
    for row in rows {
        let value = column.as_flattened()[row];
        subtract_row(
            column,
            &factor[row * blocks..][..blocks],
            row / LANES,
            value,
        );
    }
}

/// The back substitution.
#[multiversion(targets = "simd")]
fn back_substitute(factor: &[Lanes], column: &mut [Lanes], rows: usize) {
    let blocks = column.len();
    for index in (0..rows).rev() {
        let row = &factor[index * blocks..][..blocks];
        let first = index / LANES;
        let mut sums = [0.0; LANES];
        for (lanes, row) in column[first..].iter().zip(&row[first..]) {
            for lane in 0..LANES {
                sums[lane] += lanes[lane] * row[lane];
            }
        }
        let sum = tree_sum(sums);
        // The whole block is written: after a single number the next read of the block would wait for memory.
        let mut lanes = column[first];
        for (lane, value) in lanes.iter_mut().enumerate() {
            *value -= if lane == index % LANES { sum } else { 0.0 };
        }
        column[first] = lanes;
    }
}

/// Subtracts `factor` times a row from another, from block `first` on.
#[expect(
    clippy::inline_always,
    reason = "has to take on the vector width of the function it is called from"
)]
#[inline(always)]
fn subtract_row(from: &mut [Lanes], row: &[Lanes], first: usize, factor: f32) {
    for (from, row) in from[first..].iter_mut().zip(&row[first..]) {
        // By value: otherwise the compiler has to assume that both overlap.
        let mut lanes = *from;
        for lane in 0..LANES {
            lanes[lane] -= factor * row[lane];
        }
        *from = lanes;
    }
}

/// Returns the inner product, summed in lanes.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    tree_sum(sums)
}

/// Returns sum and sum of squares, in enough lanes that additions do not wait for one another.
#[must_use]
#[multiversion(targets = "simd")]
pub fn sums(values: &[f32]) -> (f32, f32) {
    const LANES: usize = 64;
    let (mut lanes, mut squares) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    for (lane, value) in rest.iter().enumerate() {
        lanes[lane] += value;
        squares[lane] += value * value;
    }
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += chunk[lane];
            squares[lane] += chunk[lane] * chunk[lane];
        }
    }
    (tree_sum(lanes), tree_sum(squares))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::tests::helpers::juno_template;

    #[test]
    fn the_solution_solves_the_equations() {
        let template = Template::new(&juno_template(0.05));
        let positions: Vec<SplinePosition> =
            [300.2, 305.9, 330.0, 512.3].map(SplinePosition::new).into();
        let mut normal = NormalEquations::default();
        normal.fill_matrix(&template, &positions, 1000);
        normal.factorise(|_| (0.0, 0.0));
        let columns = normal.columns;
        let right: Vec<f32> = (0..columns)
            .map(|k| 1000.0 * (1.0 + (k % 3) as f32))
            .collect();
        let mut solution = right.clone();
        normal.solve(&mut solution);
        for (row, &wanted) in right.iter().enumerate() {
            let sum: f64 = (0..columns)
                .map(|column| {
                    let (a, b) = (row.min(column), row.max(column));
                    let ridge = if row == column && row + 1 < columns {
                        1.0 + RIDGE
                    } else {
                        1.0
                    };
                    f64::from(normal.matrix.as_flattened()[a * normal.blocks * LANES + b] * ridge)
                        * f64::from(solution[column])
                })
                .sum();
            assert!(
                (sum - f64::from(wanted)).abs() < 2.0,
                "{row}: {sum} for {wanted}"
            );
        }
    }
}
