//! The downhill simplex of Nelder and Mead: minimises a function of few parameters without derivatives.

/// The result of a minimisation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Minimum {
    /// The best parameters.
    pub at: Vec<f64>,
    /// The value of the function there.
    pub value: f64,
    /// True if the simplex shrank to `tolerance` before the evaluations ran out.
    pub converged: bool,
}

const MAX_EVALUATIONS: usize = 4000;

/// Minimises `function` from `start` with a first simplex of size `steps`, until the values at the corners differ by
/// less than `tolerance`. Values that are not finite count as infinitely bad.
///
/// Source: J. A. Nelder and R. Mead, Computer Journal 7 (1965) 308, with the usual coefficients 1, 2, 1/2, 1/2; the search is
/// restarted once at its end, which frees it from a simplex that has become flat.
pub(super) fn minimize(
    function: impl Fn(&[f64]) -> f64,
    start: &[f64],
    steps: &[f64],
    tolerance: f64,
) -> Minimum {
    let first = descend(&function, start, steps, tolerance);
    let smaller: Vec<f64> = steps.iter().map(|step| 0.3 * step).collect();
    descend(&function, &first.at, &smaller, tolerance)
}

fn descend(
    function: &impl Fn(&[f64]) -> f64,
    start: &[f64],
    steps: &[f64],
    tolerance: f64,
) -> Minimum {
    let evaluate = |at: Vec<f64>| {
        let value = function(&at);
        (
            if value.is_finite() {
                value
            } else {
                f64::INFINITY
            },
            at,
        )
    };
    let n = start.len();
    let mut corners = vec![evaluate(start.to_vec())];
    for (axis, step) in steps.iter().enumerate() {
        let mut at = start.to_vec();
        at[axis] += step;
        corners.push(evaluate(at));
    }
    let mut evaluations = corners.len();
    let mut converged = false;
    while evaluations < MAX_EVALUATIONS {
        corners.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (best, worst, second_worst) = (corners[0].0, corners[n].0, corners[n - 1].0);
        if worst - best < tolerance {
            converged = true;
            break;
        }
        let center: Vec<f64> = (0..n)
            .map(|axis| {
                corners[..n]
                    .iter()
                    .map(|corner| corner.1[axis])
                    .sum::<f64>()
                    / n as f64
            })
            .collect();
        let along = |factor: f64| -> Vec<f64> {
            center
                .iter()
                .zip(&corners[n].1)
                .map(|(center, worst)| center + factor * (center - worst))
                .collect()
        };
        let reflected = evaluate(along(1.0));
        evaluations += 1;
        if reflected.0 < best {
            let expanded = evaluate(along(2.0));
            evaluations += 1;
            corners[n] = if expanded.0 < reflected.0 {
                expanded
            } else {
                reflected
            };
        } else if reflected.0 < second_worst {
            corners[n] = reflected;
        } else {
            let contracted = evaluate(along(if reflected.0 < worst { 0.5 } else { -0.5 }));
            evaluations += 1;
            if contracted.0 < worst.min(reflected.0) {
                corners[n] = contracted;
            } else {
                let best_at = corners[0].1.clone();
                for corner in &mut corners[1..] {
                    let at = corner
                        .1
                        .iter()
                        .zip(&best_at)
                        .map(|(value, best)| 0.5 * (value + best))
                        .collect();
                    *corner = evaluate(at);
                }
                evaluations += n;
            }
        }
    }
    corners.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (value, at) = corners.swap_remove(0);
    Minimum {
        at,
        value,
        converged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottom_of_a_curved_valley_is_found() {
        let rosenbrock = |x: &[f64]| (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2);
        let found = minimize(rosenbrock, &[-1.2, 1.0], &[0.5, 0.5], 1e-14);
        assert!(found.converged);
        assert!((found.at[0] - 1.0).abs() < 1e-4 && (found.at[1] - 1.0).abs() < 1e-4);
    }

    #[test]
    fn a_function_that_is_never_finite_does_not_converge_to_a_number() {
        let found = minimize(|_| f64::NAN, &[1.0], &[1.0], 1e-9);
        assert!(!found.value.is_finite());
    }
}
