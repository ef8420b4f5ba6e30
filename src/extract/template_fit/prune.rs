//! Errors of charges and times, and removal of pulses that are not significant: each is merged with its nearest neighbour.

use super::config::{
    DROPPED_CHARGE_PE, MAX_MERGED_PE, MIN_CHARGE_PE, MIN_SIGNIFICANCE, NEIGHBOUR_DISTANCE,
};
use super::state::{FitProblem, FitWorkspace, FittedPulse};

impl FitWorkspace {
    /// Computes the standard deviations of charges and times from the inverse of the normal matrix with its priors.
    pub(super) fn estimate_errors(&mut self, problem: &FitProblem<'_>) {
        self.update_priors(problem);
        self.fill_matrix(problem);
        let priors = &self.priors;
        self.normal
            .factorise(|index| (priors[index].charge, priors[index].time));
        let columns = self.columns();
        let mut column = std::mem::take(&mut self.column);
        for index in 0..self.pulses.len() {
            let mut sigmas = [0.0; 2];
            for (parameter, sigma) in sigmas.iter_mut().enumerate() {
                column.clear();
                column.resize(columns, 0.0);
                column[2 * index + parameter] = 1.0;
                let squares = self
                    .normal
                    .solved_squares(&mut column, 2 * index + parameter);
                *sigma = squares.sqrt() * problem.noise_adc;
            }
            let pulse = &mut self.pulses[index];
            pulse.charge_sigma_pe = sigmas[0];
            pulse.time_sigma = sigmas[1] / pulse.charge_pe.max(DROPPED_CHARGE_PE);
        }
        self.column = column;
    }

    /// Removes pulses that are not significant, one after the other; returns their number.
    pub(super) fn prune(&mut self, problem: &FitProblem<'_>) -> usize {
        let near = NEIGHBOUR_DISTANCE * problem.template.scale;
        let mut n_pruned = 0;
        loop {
            self.estimate_errors(problem);
            let Some(index) = self.least_significant(near) else {
                break;
            };
            self.remove(index, near);
            n_pruned += 1;
            self.update_residual(problem);
            self.iterate(problem);
        }
        n_pruned
    }

    /// Returns the least significant pulse; `None` if all are significant.
    fn least_significant(&self, near: f32) -> Option<usize> {
        let (least, index) = (0..self.pulses.len())
            .map(|index| (self.significance(index, near), index))
            .min_by(|a, b| a.0.total_cmp(&b.0))?;
        if least >= MIN_SIGNIFICANCE {
            None
        } else {
            Some(index)
        }
    }

    /// Returns the significance of a pulse in standard deviations; infinite where it and its neighbour are too large to be one
    /// photoelectron.
    fn significance(&self, index: usize, near: f32) -> f32 {
        let pulse = self.pulses[index];
        let neighbour = [index.wrapping_sub(1), index + 1]
            .into_iter()
            .filter_map(|other| self.pulses.get(other))
            .filter(|other| (other.time - pulse.time).abs() < near)
            .map(|other| other.charge_pe)
            .fold(0.0, f32::max);
        if pulse.charge_pe < MIN_CHARGE_PE {
            0.0
        } else if neighbour > 0.0 && neighbour + pulse.charge_pe > MAX_MERGED_PE {
            f32::INFINITY
        } else {
            pulse.charge_pe / pulse.charge_sigma_pe
        }
    }

    /// Removes a pulse and merges it with its nearest neighbour, if that is `near`.
    fn remove(&mut self, index: usize, near: f32) {
        let removed = self.pulses.remove(index);
        let nearest = [index.wrapping_sub(1), index]
            .into_iter()
            .filter(|&other| other < self.pulses.len())
            .map(|other| ((self.pulses[other].time - removed.time).abs(), other))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((distance, other)) = nearest
            && distance < near
        {
            self.pulses[other] = merge(self.pulses[other], removed);
        }
    }
}

/// Merges two pulses: total charge, mean time.
fn merge(a: FittedPulse, b: FittedPulse) -> FittedPulse {
    let charge_pe = a.charge_pe + b.charge_pe;
    FittedPulse {
        time: (a.time * a.charge_pe + b.time * b.charge_pe) / charge_pe,
        charge_pe,
        ..a
    }
}
