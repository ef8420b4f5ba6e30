//! The fit of the energy resolution: sigma / E = sqrt(a^2 / E + b^2 + c^2 / E^2), E in MeV.

use serde::Serialize;

use crate::evaluate::stats::Estimate;

/// Minimum number of energy groups for a fit: one more than it has parameters.
pub const MIN_GROUPS: usize = 4;
/// Number of successive fits, each with the errors from the previous curve.
const ROUNDS: usize = 6;

/// One group of energy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Mean true energy.
    pub energy_mev: f64,
    /// Relative resolution.
    pub resolution: Estimate,
}

/// The fitted curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ResolutionFit {
    /// Statistical part, at 1 MeV. A parameter that is held at 0 has the error at which its square is one standard deviation.
    pub a: Estimate,
    /// Constant part.
    pub b: Estimate,
    /// Part of noise, at 1 MeV.
    pub c: Estimate,
    /// Sum of the squared deviations over their errors.
    pub chi2: f64,
    /// Number of groups minus number of parameters that are not held at 0.
    pub degrees_of_freedom: usize,
}

impl ResolutionFit {
    /// The curve at `energy_mev`.
    #[must_use]
    pub fn at(&self, energy_mev: f64) -> f64 {
        let squares = [self.a, self.b, self.c].map(|part| part.value * part.value);
        curve(&squares, energy_mev).sqrt()
    }
}

/// The squares' factors at an energy: `a^2`, `b^2`, `c^2` in this order.
fn factors(energy_mev: f64) -> [f64; 3] {
    [1.0 / energy_mev, 1.0, 1.0 / (energy_mev * energy_mev)]
}

fn curve(squares: &[f64; 3], energy_mev: f64) -> f64 {
    let factors = factors(energy_mev);
    squares.iter().zip(factors).map(|(a, b)| a * b).sum()
}

/// Weighted least squares of (sigma / E)^2, which is linear in a^2, b^2 and c^2, none of them negative: of all choices of
/// those that are 0 the one with the least chi^2 that has no negative one (C. Lawson and R. Hanson, Solving Least Squares
/// Problems, chapter 23, by enumeration). The error of a square is `2 s sigma_s`, with s from the curve so that groups that
/// came out small by chance do not weigh more.
///
/// # Errors
/// Why there is no fit.
pub fn fit(groups: &[Group]) -> Result<ResolutionFit, String> {
    let usable: Vec<Group> = groups
        .iter()
        .filter(|group| {
            let Estimate { value, error } = group.resolution;
            group.energy_mev > 0.0 && value > 0.0 && error > 0.0 && (value + error).is_finite()
        })
        .copied()
        .collect();
    if usable.len() < MIN_GROUPS {
        return Err(format!(
            "{} groups of energy with a resolution, and a fit needs {MIN_GROUPS}",
            usable.len()
        ));
    }
    let mut errors: Vec<f64> = usable
        .iter()
        .map(|group| 2.0 * group.resolution.value * group.resolution.error)
        .collect();
    let mut best = None;
    for _ in 0..ROUNDS {
        let found = non_negative(&usable, &errors)
            .ok_or("the energies of the groups are too similar to separate the terms")?;
        for (error, group) in errors.iter_mut().zip(&usable) {
            let relative = group.resolution.error / group.resolution.value;
            *error = 2.0 * relative * curve(&found.squares, group.energy_mev);
        }
        best = Some(found);
    }
    let best = best.ok_or("no round of the fit")?;
    let [a, b, c] = std::array::from_fn(|part| {
        let (square, sigma) = (best.squares[part], best.sigmas[part]);
        let value = square.sqrt();
        // Where the square is smaller than its error the linear rule would have no bound.
        let error = (sigma / (2.0 * value)).min(sigma.sqrt());
        Estimate { value, error }
    });
    Ok(ResolutionFit {
        a,
        b,
        c,
        chi2: best.chi2,
        degrees_of_freedom: usable.len() - best.squares.iter().filter(|s| **s > 0.0).count(),
    })
}

struct Solution {
    squares: [f64; 3],
    sigmas: [f64; 3],
    chi2: f64,
}

fn non_negative(groups: &[Group], errors: &[f64]) -> Option<Solution> {
    let mut best: Option<Solution> = None;
    for chosen in 1_u32..8 {
        let free: Vec<usize> = (0..3).filter(|part| chosen >> part & 1 == 1).collect();
        let Some((squares, variances)) = least_squares(groups, errors, &free) else {
            continue;
        };
        if squares.iter().any(|square| *square < 0.0) {
            continue;
        }
        let chi2 = groups
            .iter()
            .zip(errors)
            .map(|(group, error)| {
                let square = group.resolution.value.powi(2);
                ((square - curve(&squares, group.energy_mev)) / error).powi(2)
            })
            .sum();
        if best.as_ref().is_none_or(|best| chi2 < best.chi2) {
            best = Some(Solution {
                squares,
                sigmas: variances.map(f64::sqrt),
                chi2,
            });
        }
    }
    let mut best = best?;
    // A part that is held at 0 gets the error it has when it is fitted together with those that are not.
    for part in 0..3 {
        if best.squares[part] == 0.0 {
            let with: Vec<usize> = (0..3)
                .filter(|other| *other == part || best.squares[*other] > 0.0)
                .collect();
            best.sigmas[part] =
                least_squares(groups, errors, &with).map_or(f64::NAN, |(_, v)| v[part].sqrt());
        }
    }
    Some(best)
}

/// Squares and their variances by the normal equations over the parts `free`; the others are 0.
fn least_squares(groups: &[Group], errors: &[f64], free: &[usize]) -> Option<([f64; 3], [f64; 3])> {
    let n = free.len();
    // [A | b | 1], with the columns scaled to a diagonal of 1, solved and inverted by elimination.
    let mut scale = [0.0; 3];
    let mut matrix = [[0.0; 7]; 3];
    for (group, error) in groups.iter().zip(errors) {
        let factors = factors(group.energy_mev);
        let weight = error.powi(-2);
        for (row, &i) in free.iter().enumerate() {
            scale[row] += weight * factors[i] * factors[i];
            matrix[row][3] += weight * factors[i] * group.resolution.value.powi(2);
            for (column, &j) in free.iter().enumerate() {
                matrix[row][column] += weight * factors[i] * factors[j];
            }
        }
    }
    for row in 0..n {
        for column in 0..n {
            matrix[row][column] /= (scale[row] * scale[column]).sqrt();
        }
        matrix[row][3] /= scale[row].sqrt();
        matrix[row][4 + row] = 1.0;
    }
    for pivot in 0..n {
        let largest = (pivot..n).max_by(|a, b| {
            let size = |row: usize| matrix[row][pivot].abs();
            size(*a).total_cmp(&size(*b))
        })?;
        matrix.swap(pivot, largest);
        let divisor = matrix[pivot][pivot];
        if divisor.abs() < 1e-10 || !divisor.is_finite() {
            return None;
        }
        let pivot_row = matrix[pivot].map(|value| value / divisor);
        matrix[pivot] = pivot_row;
        for (row, values) in matrix.iter_mut().enumerate() {
            let factor = values[pivot];
            if row != pivot {
                for (value, above) in values.iter_mut().zip(pivot_row) {
                    *value -= factor * above;
                }
            }
        }
    }
    let (mut squares, mut variances) = ([0.0; 3], [0.0; 3]);
    for (row, &part) in free.iter().enumerate() {
        squares[part] = matrix[row][3] / scale[row].sqrt();
        variances[part] = matrix[row][4 + row] / scale[row];
    }
    Some((squares, variances))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(a: f64, b: f64, c: f64, error: f64) -> Vec<Group> {
        [0.5, 1.0, 2.0, 3.0, 5.0, 8.0]
            .map(|energy_mev: f64| {
                let value = (a * a / energy_mev + b * b + (c / energy_mev).powi(2)).sqrt();
                Group {
                    energy_mev,
                    resolution: Estimate {
                        value,
                        error: error * value,
                    },
                }
            })
            .to_vec()
    }

    #[test]
    fn exact_groups_give_their_parts_back() {
        let fit = fit(&groups(0.026, 0.008, 0.012, 0.01)).unwrap();
        for (found, expected) in [(fit.a, 0.026), (fit.b, 0.008), (fit.c, 0.012)] {
            assert!((found.value - expected).abs() < 1e-6, "{fit:?}");
        }
        assert!(fit.chi2 < 1e-6 && fit.degrees_of_freedom == 3);
        assert!((fit.at(1.0) - groups(0.026, 0.008, 0.012, 0.01)[1].resolution.value).abs() < 1e-9);
    }

    #[test]
    fn a_part_that_is_not_there_is_held_at_nothing() {
        let mut groups = groups(0.03, 0.0, 0.0, 0.01);
        // Bent the way no positive part can bend it.
        groups[5].resolution.value *= 0.98;
        let fit = fit(&groups).unwrap();
        assert_eq!(fit.b.value, 0.0);
        assert!(fit.b.error > 0.0 && fit.b.error < 0.01, "{fit:?}");
        assert!((fit.a.value - 0.03).abs() < 0.001);
        assert!(fit.degrees_of_freedom >= 4);
    }

    #[test]
    fn too_few_groups_are_said() {
        let few = groups(0.03, 0.01, 0.0, 0.01);
        let why = fit(&few[..3]).unwrap_err();
        assert!(why.contains("3 groups") && why.contains('4'), "{why}");
    }
}
