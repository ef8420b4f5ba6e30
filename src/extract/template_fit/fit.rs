//! Stage 8 of the methods `sparse` and `auto`: the waveform as a sum of few templates, with their undershoot.
//!
//! The model is w(t) = b + sum_i q_i s(t - t_i), q_i >= 0, over the whole window, so that the undershoot of a pulse lies under the next
//! one as it does in the waveform. The fit starts from seeds of the deconvolved trace ([`seeds`](super::seeds)). Charges, times and baseline
//! follow together from the normal equations ([`iterate`](super::iterate)), with priors on close pulses ([`priors`](super::priors)). Pulses
//! are added where the residual demands it ([`add_pulses`](super::add_pulses)); a pulse that is not significant is merged with its neighbour
//! ([`prune`](super::prune)). Finally the bias of pair separations is corrected ([`pair_separation`](super::pair_separation)).
//!
//! Every decision is made where the equations are well conditioned, and the final iteration goes on until almost nothing moves: the result
//! must not depend on the rounding of sums, or a GPU would find other hits.

use super::config::{
    FINAL_CHI2_TOL, MAX_CHI2_NDF, MAX_FINAL_STEPS, MAX_MISFIT_NOISE, MAX_MISFIT_SHARE, MAX_PULSES,
    MAX_ROUNDS,
};
use super::state::{FitProblem, FitWorkspace};

impl FitWorkspace {
    /// Fits `upright` from the seeds in `pulses`. Returns false if the fit failed; `pulses` is then of no use.
    pub(crate) fn fit(&mut self, problem: &FitProblem<'_>) -> bool {
        self.baseline_adc = 0.0;
        self.too_many_pulses = false;
        if self.pulses.len() > MAX_PULSES || self.upright.is_empty() {
            return false;
        }
        self.pulses.sort_by(|a, b| a.time.total_cmp(&b.time));
        self.update_residual(problem);
        self.iterate(problem);
        self.prune(problem);
        for _ in 0..MAX_ROUNDS {
            let n_added = self.add_pulses(problem);
            if n_added == 0 {
                break;
            }
            self.iterate(problem);
            if self.prune(problem) >= n_added || self.too_many_pulses {
                break;
            }
        }
        let converged = self.iterate_to(problem, FINAL_CHI2_TOL, MAX_FINAL_STEPS);
        self.estimate_errors(problem);
        self.correct_separations(problem);
        // The noise that the trace shows contains what the fit does not describe: the fit is judged by the calibrated one.
        let noise2 = problem.judged_noise_adc * problem.judged_noise_adc;
        let freedom = self.upright.len().saturating_sub(self.columns()).max(1) as f32;
        self.chi2_ndf = self.residual_squares / noise2 / freedom;
        let is_finite = self.chi2_ndf < MAX_CHI2_NDF;
        converged && is_finite && !self.too_many_pulses && self.describes_waveform(noise2 * freedom)
    }

    /// True if the residual is noise, with squares of `noise2`, plus the error of the templates.
    fn describes_waveform(&self, noise2: f32) -> bool {
        let excess = self.residual_squares - MAX_MISFIT_NOISE * MAX_MISFIT_NOISE * noise2;
        excess <= 0.0 || excess <= MAX_MISFIT_SHARE * MAX_MISFIT_SHARE * self.model_squares()
    }
}
