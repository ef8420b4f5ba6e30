//! The iteration of the fit: damped Gauss-Newton steps in charges, times and baseline.
//!
//! A step solves the normal equations with the columns s and s' of each pulse and 1 for the baseline, and with the
//! [`priors`](super::priors). It is damped as by Levenberg and Marquardt after a step that was reverted.

use super::config::{
    CHI2_TOL, DAMPING_DECREASE, DAMPING_INCREASE, DROPPED_CHARGE_PE, FIRST_DAMPING, MAX_APPROACH,
    MAX_CHI2_GROWTH, MAX_SOLVES, MAX_STEP_RATIO, MAX_STEPS, MAX_TIME_STEP, MIN_COLUMN_CHARGE_PE,
};
use super::normal_equations::dot;
use super::state::{FitProblem, FitWorkspace};

impl FitWorkspace {
    /// Iterates with the tolerance and the number of steps of a round.
    pub(super) fn iterate(&mut self, problem: &FitProblem<'_>) {
        self.iterate_to(problem, CHI2_TOL, MAX_STEPS);
    }

    /// Iterates until a step gains less than `chi2_tol`, for at most `max_steps`. Returns false if the last step still gained much.
    pub(super) fn iterate_to(
        &mut self,
        problem: &FitProblem<'_>,
        chi2_tol: f32,
        max_steps: usize,
    ) -> bool {
        let mut gain = 0.0;
        self.damping = 0.0;
        for pulse in &mut self.pulses {
            pulse.start_time = pulse.time;
        }
        for _ in 0..max_steps {
            gain = self.step(problem);
            if gain < chi2_tol {
                return true;
            }
        }
        // Only a fit that diverges fails; a large pulse may still change in its last digits.
        gain < 0.1 * self.residual_squares / (problem.noise_adc * problem.noise_adc)
    }

    /// Makes one step, or reverts it if the residual grows; returns its expected gain in chi-square.
    fn step(&mut self, problem: &FitProblem<'_>) -> f32 {
        let noise2 = problem.noise_adc * problem.noise_adc;
        let solution = self.solve(problem);
        let gain = dot(&solution, &self.gradient) / noise2;
        self.previous.clear();
        self.previous.extend_from_slice(&self.pulses);
        let previous_baseline_adc = self.baseline_adc;
        let previous_residual_squares = self.residual_squares;
        self.advance(problem, &solution);
        self.column = solution;
        self.update_residual(problem);
        if self.residual_squares > MAX_CHI2_GROWTH * previous_residual_squares + 4.0 * noise2 {
            std::mem::swap(&mut self.pulses, &mut self.previous);
            self.baseline_adc = previous_baseline_adc;
            self.damping = (DAMPING_INCREASE * self.damping).max(FIRST_DAMPING);
            self.update_residual(problem);
        } else {
            self.damping *= DAMPING_DECREASE;
        }
        gain
    }

    /// Solves the normal equations at the present pulses.
    fn solve(&mut self, problem: &FitProblem<'_>) -> Vec<f32> {
        self.update_priors(problem);
        self.compute_inner_products(problem);
        self.write_gradient();
        self.fill_matrix(problem);
        let [squares, slope_squares, _] = problem.template.squares;
        self.time_damping.clear();
        self.time_damping.resize(self.pulses.len(), self.damping);
        let mut solution = std::mem::take(&mut self.column);
        for _ in 0..MAX_SOLVES {
            let (priors, time_damping, damping) = (&self.priors, &self.time_damping, self.damping);
            self.normal.factorise(|index| {
                (
                    priors[index].charge + damping * squares,
                    priors[index].time + time_damping[index] * slope_squares,
                )
            });
            solution.clear();
            solution.extend_from_slice(&self.gradient);
            self.normal.solve(&mut solution);
            if !self.raise_damping(problem, &solution) {
                break;
            }
        }
        solution
    }

    /// Writes the right-hand side of the normal equations.
    fn write_gradient(&mut self) {
        self.gradient.clear();
        for ((position, products), prior) in self
            .positions
            .iter()
            .zip(&self.inner_products)
            .zip(&self.priors)
        {
            self.gradient.extend([
                position.weights.inner_product(0, products) + prior.charge_gradient,
                position.weights.inner_product(1, products) + prior.time_gradient,
            ]);
        }
        self.gradient.push(self.residual_sum);
    }

    /// Raises the damping of the times whose step is too long, so that the others are solved for again; returns false if there are none.
    ///
    /// Cutting the step instead would leave the charges at the solution for the whole step.
    fn raise_damping(&mut self, problem: &FitProblem<'_>, solution: &[f32]) -> bool {
        let max_step = MAX_TIME_STEP * problem.template.scale;
        let mut any_too_long = false;
        for ((pulse, damping), step) in self
            .pulses
            .iter()
            .zip(&mut self.time_damping)
            .zip(solution.chunks_exact(2))
        {
            let ratio = step[1].abs() / (pulse.charge_pe.max(MIN_COLUMN_CHARGE_PE) * max_step);
            if ratio > MAX_STEP_RATIO {
                *damping += ratio;
                any_too_long = true;
            }
        }
        any_too_long
    }

    /// Moves charges, times and baseline by a solution. No pulse passes another or leaves the window.
    fn advance(&mut self, problem: &FitProblem<'_>, solution: &[f32]) {
        let max_step = MAX_TIME_STEP * problem.template.scale;
        let first = -(problem.template.main_samples as f32);
        let last = (self.upright.len() as f32 - problem.template.seen as f32).max(first);
        for (index, solved) in solution.chunks_exact(2).enumerate() {
            let previous = self.previous[index];
            let charge_pe = previous.charge_pe + solved[0];
            let max_earlier = index.checked_sub(1).map_or(max_step, |other| {
                MAX_APPROACH * (previous.time - self.previous[other].time)
            });
            let max_later = self.previous.get(index + 1).map_or(max_step, |other| {
                MAX_APPROACH * (other.time - previous.time)
            });
            let step = -solved[1] / charge_pe.max(MIN_COLUMN_CHARGE_PE);
            let step = step
                .max(-max_earlier.min(max_step))
                .min(max_later.min(max_step));
            self.pulses[index].charge_pe = charge_pe;
            self.pulses[index].time = (previous.time + step).clamp(first, last);
        }
        self.baseline_adc += solution.last().copied().unwrap_or(0.0);
        self.pulses
            .retain(|pulse| pulse.charge_pe > DROPPED_CHARGE_PE);
    }
}
