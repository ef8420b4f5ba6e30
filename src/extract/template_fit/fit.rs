//! Stage 8 of the method `sparse`: the waveform as a sum of few templates, undershoot and all.
//!
//! The model is w(t) = b + sum_i q_i s(t - t_i), q_i >= 0, over the whole window, so that the undershoot of one pulse lies under
//! the next as it does in the waveform. It starts from what the deconvolved trace shows ([`seeds`](super::seeds)). Charges, times and
//! the baseline then follow together from the normal equations (Gauss and Newton: columns s_i, s'_i and 1), with what is known of
//! photoelectrons that stand close ([`priors`](super::priors)). Where the fit leaves something, photoelectrons are added
//! ([`add_pulses`](super::add_pulses)); what is not significant is given to a neighbour ([`prune`](super::prune)). At the end
//! distances become those in the middle of what is likely ([`pair_separation`](super::pair_separation)).
//!
//! Every decision is taken where the equations are well conditioned, and the last steps go on until next to nothing moves: what
//! comes out does not hang on how sums are rounded, or a GPU would find other hits.

use super::add_pulses::Proposal;
use super::normal_equations::{Normal, dot, sums};
use super::priors::{LEAST_CHARGE_PE, Prior};
use super::template::{Place, Response};

/// Most photoelectrons a fit tells apart.
pub const MOST: usize = 48;
/// Share of a template's squares that a window has to hold.
pub(crate) const INSIDE: f32 = 0.98;
/// How much too far a step in time may go before it is solved for again.
pub(crate) const TOO_FAR: f32 = 1.5;
/// A hit with more charge than this, in PE, is several photoelectrons.
pub const SEVERAL_PE: f32 = 1.7;
/// Part of a single photoelectron's mean charge below which there is none.
pub(crate) const LEAST_PE: f32 = 0.15;
/// Charge at which a photoelectron is dropped on the way.
pub(crate) const NOTHING_PE: f32 = 0.02;
/// Rounds of adding and fitting.
pub(crate) const ROUNDS: usize = 4;
/// Steps a round, and a step that gains less chi-square than this is its last.
pub(crate) const STEPS: usize = 8;
pub(crate) const STILL: f32 = 0.1;
/// The same at the end, where nothing is decided any more.
pub(crate) const LAST_STEPS: usize = 16;
pub(crate) const LAST_STILL: f32 = 1e-6;
/// Longest step in time, and distance at which photoelectrons are neighbours, in units of the template's scale.
pub(crate) const LONGEST_STEP: f32 = 0.2;
pub(crate) const NEIGHBOURS: f32 = 1.6;
/// How far a photoelectron goes towards another in a step, as a part of their distance: none passes another.
pub(crate) const APPROACH: f32 = 0.4;
/// A step that leaves more than this times what was left is taken back, and the next one is shorter.
pub(crate) const WORSE: f32 = 1.02;
/// What the diagonal is raised by, relative, behind a step that was taken back, and how it grows and falls.
pub(crate) const DAMPING: (f32, f32, f32) = (1e-3, 10.0, 0.1);
/// Times that a step is solved for, until nothing goes too far in time.
pub(crate) const STIFFENED: usize = 3;
/// A fit that leaves more than so many times the noise and this share of the pulses' root mean square does not describe the waveform.
pub(crate) const MISFIT_NOISE: f32 = 1.5;
pub(crate) const MISFIT: f32 = 0.003;

/// One photoelectron, or several that cannot be told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Light {
    /// Time in samples from the first one.
    pub at: f32,
    /// Charge.
    pub charge_pe: f32,
    /// Standard deviation of the charge.
    pub charge_sigma_pe: f32,
    /// Standard deviation of the time, in samples.
    pub at_sigma: f32,
    /// Time from which it set out.
    pub(super) from: f32,
}

/// What the fit has to know.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// The template.
    pub response: &'a Response,
    /// Noise of a sample, in ADC counts.
    pub noise_adc: f32,
    /// Spread of a single photoelectron's charge, relative.
    pub charge_sigma_pe: f32,
    /// Highest value of the template.
    pub peak_adc: f32,
}

/// Room for one waveform's fit, and its result.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// The samples, baseline off, pulses upright; what the caller fills in.
    pub upright: Vec<f32>,
    /// What the fit leaves of them.
    pub residual: Vec<f32>,
    /// The photoelectrons, in time order. The caller fills in seeds.
    pub light: Vec<Light>,
    /// What the fit adds to the baseline.
    pub baseline_adc: f32,
    /// Sum of the squares of what is left, in units of the noise, for each degree of freedom.
    pub chi2_ndf: f32,
    /// Sum of the residual, and of its squares.
    left_sum: f32,
    left: f32,
    /// There is more light than there may be photoelectrons: charge would be missing.
    pub(super) crowded: bool,
    damping: f32,
    stiffness: Vec<f32>,
    /// The photoelectrons before a step.
    pub(super) before: Vec<Light>,
    pub(super) places: Vec<Place>,
    /// What the residual has in common with the coefficients of each, while it is known.
    pub(super) common: Vec<[f32; 4]>,
    /// The normal matrix is that of these places.
    filled: bool,
    pub(super) priors: Vec<Prior>,
    pub(super) normal: Normal,
    gradient: Vec<f32>,
    pub(super) column: Vec<f32>,
    pub(super) around: Vec<f32>,
    pub(super) proposals: Vec<Proposal>,
}

impl Work {
    /// Fits `upright` from the seeds in `light`. False if it did not come to an end; `light` is then of no use.
    pub fn fit(&mut self, problem: &Problem<'_>) -> bool {
        self.baseline_adc = 0.0;
        self.crowded = false;
        if self.light.len() > MOST || self.upright.is_empty() {
            return false;
        }
        self.light.sort_by(|a, b| a.at.total_cmp(&b.at));
        self.refold(problem);
        self.settle(problem);
        self.prune(problem);
        for _ in 0..ROUNDS {
            let more = self.propose(problem);
            if more == 0 {
                break;
            }
            self.settle(problem);
            if self.prune(problem) >= more || self.crowded {
                break;
            }
        }
        let ended = self.settle_to(problem, LAST_STILL, LAST_STEPS);
        self.errors(problem);
        self.shorten(problem);
        let noise2 = problem.noise_adc * problem.noise_adc;
        let freedom = self.upright.len().saturating_sub(self.columns()).max(1) as f32;
        self.chi2_ndf = self.left / noise2 / freedom;
        ended && !self.crowded && self.describes(noise2 * freedom)
    }

    /// True if what is left is noise, of which the squares are `noise2`, and what a template may be wrong by.
    fn describes(&self, noise2: f32) -> bool {
        let rest = self.left - MISFIT_NOISE * MISFIT_NOISE * noise2;
        if rest <= 0.0 {
            return true;
        }
        let model: f32 = self
            .upright
            .iter()
            .zip(&self.residual)
            .map(|(sample, left)| (sample - self.baseline_adc - left).powi(2))
            .sum();
        rest <= MISFIT * MISFIT * model
    }

    /// Columns of the normal equations: charge and time of each photoelectron, and the baseline.
    pub(super) fn columns(&self) -> usize {
        2 * self.light.len() + 1
    }

    /// What the present photoelectrons leave of the waveform.
    pub(super) fn refold(&mut self, problem: &Problem<'_>) {
        let baseline = self.baseline_adc;
        self.residual.clear();
        self.residual
            .extend(self.upright.iter().map(|sample| sample - baseline));
        self.places.clear();
        self.places
            .extend(self.light.iter().map(|light| Place::of(light.at)));
        for (place, light) in self.places.iter().zip(&self.light) {
            problem
                .response
                .subtract(&mut self.residual, place, light.charge_pe);
        }
        (self.left_sum, self.left) = sums(&self.residual);
        self.common.clear();
        self.filled = false;
    }

    /// Fills `common` in.
    pub(super) fn project(&mut self, problem: &Problem<'_>) {
        if self.common.is_empty() {
            let common = |place: &Place| problem.response.project(&self.residual, place.sample);
            self.common.extend(self.places.iter().map(common));
        }
    }

    /// Fills the normal matrix in.
    pub(super) fn fill(&mut self, problem: &Problem<'_>) {
        if !self.filled {
            self.normal
                .fill(problem.response, &self.places, self.upright.len());
            self.filled = true;
        }
    }

    /// Steps until little is gained any more.
    pub(super) fn settle(&mut self, problem: &Problem<'_>) {
        self.settle_to(problem, STILL, STEPS);
    }

    /// Steps until less than `still` is gained any more, at most so many; false if the last one still gained much.
    fn settle_to(&mut self, problem: &Problem<'_>, still: f32, steps: usize) -> bool {
        let mut gain = 0.0;
        self.damping = 0.0;
        for light in &mut self.light {
            light.from = light.at;
        }
        for _ in 0..steps {
            gain = self.step(problem);
            if gain < still {
                return true;
            }
        }
        // The last digits of a large pulse do not matter, a fit that runs away does.
        gain < 0.1 * self.left / (problem.noise_adc * problem.noise_adc)
    }

    /// One step of Gauss and Newton, damped as by Levenberg and Marquardt where one before it went too far; returns what chi-square
    /// should gain by it.
    fn step(&mut self, problem: &Problem<'_>) -> f32 {
        let noise2 = problem.noise_adc * problem.noise_adc;
        let solution = self.solve(problem);
        let gain = dot(&solution, &self.gradient) / noise2;
        self.before.clear();
        self.before.extend_from_slice(&self.light);
        let before = (self.baseline_adc, self.left);
        self.advance(problem, &solution);
        self.column = solution;
        self.refold(problem);
        let (first, more, less) = DAMPING;
        if self.left > WORSE * before.1 + 4.0 * noise2 {
            std::mem::swap(&mut self.light, &mut self.before);
            self.baseline_adc = before.0;
            self.damping = (more * self.damping).max(first);
            self.refold(problem);
        } else {
            self.damping *= less;
        }
        gain
    }

    /// Solves the normal equations where the photoelectrons stand.
    fn solve(&mut self, problem: &Problem<'_>) -> Vec<f32> {
        let mut gradient = std::mem::take(&mut self.gradient);
        self.know(problem);
        gradient.clear();
        self.project(problem);
        for ((place, common), prior) in self.places.iter().zip(&self.common).zip(&self.priors) {
            gradient.extend([
                place.weights.dot(0, common) + prior.charge_pull,
                place.weights.dot(1, common) + prior.time_pull,
            ]);
        }
        gradient.push(self.left_sum);
        self.fill(problem);
        let longest = LONGEST_STEP * problem.response.scale;
        let [of_charge, of_time, _] = problem.response.squares;
        self.stiffness.clear();
        self.stiffness.resize(self.light.len(), self.damping);
        let mut solution = std::mem::take(&mut self.column);
        for _ in 0..STIFFENED {
            let (priors, stiffness, damping) = (&self.priors, &self.stiffness, self.damping);
            self.normal.factorise(|index| {
                (
                    priors[index].charge + damping * of_charge,
                    priors[index].time + stiffness[index] * of_time,
                )
            });
            solution.clear();
            solution.extend_from_slice(&gradient);
            self.normal.solve(&mut solution);
            // What would go too far is held back and the others are solved for again: cutting its way short alone would leave
            // the charges at what belongs to the end of it.
            let mut too_far = false;
            for ((light, stiffness), step) in self
                .light
                .iter()
                .zip(&mut self.stiffness)
                .zip(solution.chunks_exact(2))
            {
                let times = step[1].abs() / (light.charge_pe.max(LEAST_CHARGE_PE) * longest);
                if times > TOO_FAR {
                    *stiffness += times;
                    too_far = true;
                }
            }
            if !too_far {
                break;
            }
        }
        self.gradient = gradient;
        solution
    }

    /// Moves charges, times and baseline by a solution; none passes another or leaves the window.
    fn advance(&mut self, problem: &Problem<'_>, solution: &[f32]) {
        let longest = LONGEST_STEP * problem.response.scale;
        let first = -(problem.response.main as f32);
        let last = (self.upright.len() as f32 - problem.response.seen as f32).max(first);
        for (index, step) in solution.chunks_exact(2).enumerate() {
            let own = self.before[index];
            let charge_pe = own.charge_pe + step[0];
            let before = index
                .checked_sub(1)
                .map_or(longest, |other| APPROACH * (own.at - self.before[other].at));
            let behind = self
                .before
                .get(index + 1)
                .map_or(longest, |other| APPROACH * (other.at - own.at));
            let by = -step[1] / charge_pe.max(LEAST_CHARGE_PE);
            let by = by.max(-before.min(longest)).min(behind.min(longest));
            self.light[index].charge_pe = charge_pe;
            self.light[index].at = (own.at + by).clamp(first, last);
        }
        self.baseline_adc += solution.last().copied().unwrap_or(0.0);
        self.light.retain(|light| light.charge_pe > NOTHING_PE);
    }
}
