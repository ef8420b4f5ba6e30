//! The normal equations of the method `sparse`: inner products of the columns of a linear model, and their solution.
//!
//! Columns are s and s' of each photoelectron, in turn, and the baseline's 1 at the end.

use multiversion::multiversion;

use super::template::{Place, Response};
use crate::extract::load_samples::tree_sum;

/// What the diagonal is raised by, relative.
pub(crate) const RIDGE: f32 = 3e-5;
/// Least share of a column's squares that counts as left by those before it.
pub(crate) const LEAST_PIVOT: f32 = 1e-6;
/// Least share of a template's squares inside the window.
pub(crate) const LEAST_INSIDE: f32 = 1e-3;

/// So many numbers are worked on at once; rows are multiples of it long.
const LANES: usize = 8;
type Lanes = [f32; LANES];

/// The normal matrix and its factors.
#[derive(Clone, Debug, Default)]
pub struct Normal {
    /// Number of columns, and how long rows are, in lanes.
    columns: usize,
    blocks: usize,
    /// Upper triangle, row by row.
    matrix: Vec<Lanes>,
    /// U of the matrix U^T D U, D diagonal and U upper triangular with a diagonal of 1, which is not in it: 0 there and left of it.
    factor: Vec<Lanes>,
    /// Inverse of D.
    inverse: Vec<Lanes>,
    /// Of each column of a photoelectron, the root of the share of its squares inside the window.
    roots: Vec<[f32; 2]>,
}

impl Normal {
    /// Fills the matrix in for photoelectrons at `places` in a window of `length`.
    ///
    /// Inner products are those of whole templates; what the window cuts is taken off by the share of the squares that is left,
    /// which keeps the matrix positive. The gradient, which decides where a fit ends, knows the window exactly.
    pub fn fill(&mut self, response: &Response, places: &[Place], length: usize) {
        let columns = 2 * places.len() + 1;
        self.columns = columns;
        self.blocks = columns.div_ceil(LANES);
        self.matrix.clear();
        self.matrix.resize(columns * self.blocks, [0.0; LANES]);
        let stride = self.blocks * LANES;
        let matrix = self.matrix.as_flattened_mut();
        self.roots.clear();
        for (index, place) in places.iter().enumerate() {
            let (sum, shares) = response.inside(place.sample, length);
            self.roots
                .push(shares.map(|share| share.max(LEAST_INSIDE).sqrt()));
            matrix[2 * index * stride + columns - 1] = sum;
        }
        for (one, a) in places.iter().enumerate() {
            let rows = &mut matrix[2 * one * stride..][..2 * stride];
            for (other, b) in places.iter().enumerate().skip(one) {
                let products: [[f32; 2]; 2] =
                    response.products(a.sample - b.sample, &a.weights, &b.weights);
                for (row, (products, seen)) in products.iter().zip(&self.roots[one]).enumerate() {
                    for (column, of_other) in self.roots[other].iter().enumerate() {
                        rows[row * stride + 2 * other + column] =
                            seen * of_other * products[column];
                    }
                }
            }
        }
        matrix[(columns - 1) * stride + columns - 1] = length as f32;
    }

    /// Factorises the matrix, its diagonal raised by a little, and by what `more` says of charge and time of each photoelectron.
    pub fn factorise(&mut self, more: impl Fn(usize) -> (f32, f32)) {
        let columns = self.columns;
        let stride = self.blocks * LANES;
        self.factor.clear();
        self.factor.extend_from_slice(&self.matrix);
        self.inverse.clear();
        self.inverse.resize(self.blocks, [0.0; LANES]);
        let factor = self.factor.as_flattened_mut();
        let least = self.inverse.as_flattened_mut();
        for (place, least) in least[..columns].iter_mut().enumerate() {
            *least = LEAST_PIVOT * factor[place * (stride + 1)];
        }
        for index in 0..columns / 2 {
            let (charge, time) = more(index);
            for (place, more) in [(2 * index, charge), (2 * index + 1, time)] {
                let diagonal = &mut factor[place * (stride + 1)];
                *diagonal = *diagonal * (1.0 + RIDGE) + more;
            }
        }
        factorise(&mut self.factor, columns, &mut self.inverse);
    }

    /// Solves the equations for `column`.
    pub fn solve(&self, column: &mut Vec<f32>) {
        column.resize(self.blocks * LANES, 0.0);
        let lanes = column.as_chunks_mut().0;
        forward(&self.factor, lanes, 0..self.columns);
        for (lanes, inverse) in lanes.iter_mut().zip(&self.inverse) {
            for lane in 0..LANES {
                lanes[lane] *= inverse[lane];
            }
        }
        backward(&self.factor, lanes, self.columns);
        column.truncate(self.columns);
    }

    /// Squares of `column` as the inverse matrix has them. Before place `first` there is nothing in it.
    pub fn squares(&self, column: &mut Vec<f32>, first: usize) -> f32 {
        column.resize(self.blocks * LANES, 0.0);
        let lanes = column.as_chunks_mut().0;
        forward(&self.factor, lanes, first..self.columns);
        let mut sums = [0.0; LANES];
        for (lanes, inverse) in lanes.iter().zip(&self.inverse) {
            for lane in 0..LANES {
                sums[lane] += lanes[lane] * lanes[lane] * inverse[lane];
            }
        }
        tree_sum(sums)
    }
}

/// Factors of the matrix in `factor`, in its place. `inverse` has the least that counts as left of each column, and takes the
/// inverse of D.
#[multiversion(targets = "simd")]
fn factorise(factor: &mut [Lanes], columns: usize, inverse: &mut [Lanes]) {
    let blocks = inverse.len();
    let inverse = inverse.as_flattened_mut();
    for (place, inverse) in inverse[..columns].iter_mut().enumerate() {
        let (above, below) = factor.split_at_mut((place + 1) * blocks);
        let row = &mut above[place * blocks..];
        let own = row.as_flattened();
        *inverse = 1.0 / own[place].max(*inverse);
        for (index, other) in (place + 1..).zip(below.chunks_exact_mut(blocks)) {
            let times = own[index] * *inverse;
            take_off(other, row, index / LANES, times);
        }
        for (block, lanes) in row.iter_mut().enumerate() {
            for (lane, value) in lanes.iter_mut().enumerate() {
                *value *= if block * LANES + lane > place {
                    *inverse
                } else {
                    0.0
                };
            }
        }
    }
}

/// The first half of the solution, by the rows `rows`.
#[multiversion(targets = "simd")]
fn forward(factor: &[Lanes], column: &mut [Lanes], rows: std::ops::Range<usize>) {
    let blocks = column.len();
    for place in rows {
        let value = column.as_flattened()[place];
        take_off(
            column,
            &factor[place * blocks..][..blocks],
            place / LANES,
            value,
        );
    }
}

/// And the second.
#[multiversion(targets = "simd")]
fn backward(factor: &[Lanes], column: &mut [Lanes], rows: usize) {
    let blocks = column.len();
    for place in (0..rows).rev() {
        let row = &factor[place * blocks..][..blocks];
        let first = place / LANES;
        let mut sums = [0.0; LANES];
        for (lanes, row) in column[first..].iter().zip(&row[first..]) {
            for lane in 0..LANES {
                sums[lane] += lanes[lane] * row[lane];
            }
        }
        let sum = tree_sum(sums);
        // The whole block is written: a single number would have to reach memory before the block can be read.
        let mut lanes = column[first];
        for (lane, value) in lanes.iter_mut().enumerate() {
            *value -= if lane == place % LANES { sum } else { 0.0 };
        }
        column[first] = lanes;
    }
}

/// Takes a row, so many times, off another one, from a block on.
#[expect(
    clippy::inline_always,
    reason = "has to take on the vector width of the function it is called from"
)]
#[inline(always)]
fn take_off(from: &mut [Lanes], row: &[Lanes], first: usize, times: f32) {
    for (from, row) in from[first..].iter_mut().zip(&row[first..]) {
        // By value: the two could otherwise be one for all the compiler knows.
        let mut lanes = *from;
        for lane in 0..LANES {
            lanes[lane] -= times * row[lane];
        }
        *from = lanes;
    }
}

/// Inner product, in lanes.
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

/// Sum, and sum of the squares, each in so many lanes that one addition need not wait for another.
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
