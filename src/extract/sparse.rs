//! Stage 8 of the method `sparse`: the waveform as a sum of few templates, undershoot and all.
//!
//! The model is w(t) = b + sum_i q_i s(t - t_i), q_i >= 0, over the whole window, so that the undershoot of one pulse lies under
//! the next as it does in the waveform. It starts from what the deconvolved trace shows ([`seeds`](super::seeds)). Charges, times and
//! the baseline then follow together from the normal equations (Gauss and Newton: columns s_i, s'_i and 1). Where the
//! fit leaves something, photoelectrons are added ([`propose`](super::propose)). What is not significant and may be part of a single
//! neighbour is given to it.

use super::normal::{Normal, dot, sum};
use super::propose::Proposal;
use super::response::{Place, Response};

/// Most photoelectrons a fit tells apart; a shader has room for as many.
pub const MOST: usize = 48;
/// Share of a template's squares that a window has to hold.
pub(crate) const INSIDE: f32 = 0.98;
/// How much too far a step in time may go before it is solved for again.
pub(crate) const TOO_FAR: f32 = 1.5;
/// Fewest standard deviations that a charge lies above 0.
pub(crate) const SIGNIFICANCE: f32 = 3.0;
/// Two that together exceed this charge, in PE, are not one.
pub const SEVERAL_PE: f32 = 1.7;
/// Part of a single photoelectron's mean charge below which there is none.
pub(crate) const LEAST_PE: f32 = 0.15;
/// Charge at which a photoelectron is dropped on the way.
pub(crate) const NOTHING_PE: f32 = 0.02;
/// Rounds of adding and fitting.
pub(crate) const ROUNDS: usize = 8;
/// Steps a round.
pub(crate) const STEPS: usize = 10;
/// A step that gains less chi-square than this is the last.
pub(crate) const STILL: f32 = 0.05;
/// Longest step in time, distances at which photoelectrons are one and are neighbours, in units of the template's scale.
pub(crate) const LONGEST_STEP: f32 = 0.2;
pub(crate) const ONE: f32 = 0.07;
pub(crate) const NEIGHBOURS: f32 = 1.1;
/// How far a photoelectron that comes first looks behind it, in units of the scale and of its time's standard deviation.
pub(crate) const LEAD: f32 = 0.27;
pub(crate) const LEAD_SIGMA: f32 = 3.0;
/// A step that leaves more than this times what was left is taken back, and the next one is shorter.
pub(crate) const WORSE: f32 = 1.02;
/// What the diagonal is raised by, relative, behind a step that was taken back, and how it grows and falls.
pub(crate) const DAMPING: (f32, f32, f32) = (1e-3, 10.0, 0.1);
/// Times that a step is solved for, until nothing goes too far in time.
pub(crate) const STIFFENED: usize = 3;
/// A fit that leaves more than this share of the pulses' root mean square and twice the noise does not describe the waveform.
pub(crate) const MISFIT: f32 = 0.02;

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
    /// Sum of the squares of the residual.
    left: f32,
    /// There is more light than there may be photoelectrons: charge would be missing.
    pub(super) crowded: bool,
    damping: f32,
    stiffness: Vec<f32>,
    /// The photoelectrons before a step.
    before: Vec<Light>,
    pub(super) places: Vec<Place>,
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
        let mut settled = self.settle(problem);
        self.prune(problem);
        for _ in 0..ROUNDS {
            let more = self.propose(problem);
            if more == 0 {
                break;
            }
            settled = self.settle(problem);
            if self.prune(problem) >= more || self.crowded {
                break;
            }
        }
        self.lead(problem);
        let noise2 = problem.noise_adc * problem.noise_adc;
        let freedom = self.upright.len().saturating_sub(self.columns()).max(1) as f32;
        self.chi2_ndf = self.left / noise2 / freedom;
        let model: f32 = self
            .upright
            .iter()
            .zip(&self.residual)
            .map(|(sample, left)| (sample - self.baseline_adc - left).powi(2))
            .sum();
        settled && !self.crowded && self.left <= 4.0 * noise2 * freedom + MISFIT * MISFIT * model
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
        self.left = dot(&self.residual, &self.residual);
    }

    /// Steps until nothing is gained any more; false if the last one still gained much.
    fn settle(&mut self, problem: &Problem<'_>) -> bool {
        let mut gain = 0.0;
        self.damping = 0.0;
        for _ in 0..STEPS {
            gain = self.step(problem);
            if gain < STILL {
                return true;
            }
        }
        // The last digits of a large pulse do not matter, a fit that runs away does.
        gain < 0.1 * self.left / (problem.noise_adc * problem.noise_adc)
    }

    /// One step of Gauss and Newton, damped as by Levenberg and Marquardt where one before it went too far; returns what chi-square
    /// should gain by it.
    ///
    /// Where photoelectrons are close, charges are drawn to what so many of them have on average, with their spread (the fit's own
    /// error is far smaller, except of the difference between two that nearly coincide); steps in time are kept short where the charge is small.
    fn step(&mut self, problem: &Problem<'_>) -> f32 {
        let columns = self.columns();
        let scale = problem.response.scale;
        let noise2 = problem.noise_adc * problem.noise_adc;
        let mut gradient = std::mem::take(&mut self.gradient);
        gradient.clear();
        for place in &self.places {
            let common = problem
                .response
                .project(&self.residual, place.sample, usize::MAX / 2);
            gradient.extend([place.weights.dot(0, &common), place.weights.dot(1, &common)]);
        }
        gradient.push(sum(&self.residual));
        self.normal
            .fill(problem.response, &self.places, self.upright.len());
        // Alone, a photoelectron has the charge that the waveform shows.
        let near = NEIGHBOURS * scale;
        let crowded = |index: usize| {
            let at = self.light[index].at;
            let before = index.checked_sub(1).map(|other| self.light[other].at);
            let behind = self.light.get(index + 1).map(|other| other.at);
            before.is_some_and(|before| at - before < near)
                || behind.is_some_and(|behind| behind - at < near)
        };
        let prior = |index: usize| {
            let light = &self.light[index];
            let number = light.charge_pe.round().max(1.0);
            let spread = problem.charge_sigma_pe;
            let weight = if crowded(index) { 1.0 } else { 0.0 };
            (weight * noise2 / (spread * spread * number), number)
        };
        for (index, light) in self.light.iter().enumerate() {
            let (weight, mean) = prior(index);
            gradient[2 * index] += weight * (mean - light.charge_pe);
        }
        let longest = LONGEST_STEP * scale;
        let [of_charge, of_time, _] = problem.response.squares;
        self.stiffness.clear();
        self.stiffness.resize(self.light.len(), self.damping);
        let mut solution = std::mem::take(&mut self.column);
        for _ in 0..STIFFENED {
            self.normal.factorise(|index| {
                let light = &self.light[index];
                let charge = light.charge_pe.max(0.05) * longest;
                (
                    prior(index).0 + self.damping * of_charge,
                    noise2 / (charge * charge) + self.stiffness[index] * of_time,
                )
            });
            solution.clear();
            solution.extend_from_slice(&gradient);
            self.normal.forward(&mut solution);
            self.normal.backward(&mut solution);
            // What would go too far is held back and the others are solved for again: cutting its way short alone would leave
            // the charges at what belongs to the end of it.
            let mut too_far = false;
            for ((light, stiffness), step) in self
                .light
                .iter()
                .zip(&mut self.stiffness)
                .zip(solution.chunks_exact(2))
            {
                let times = step[1].abs() / (light.charge_pe.max(0.05) * longest);
                if times > TOO_FAR {
                    *stiffness += times;
                    too_far = true;
                }
            }
            if !too_far {
                break;
            }
        }
        let gain = dot(&solution, &gradient) / noise2;
        let first = -(problem.response.main as f32);
        let last = (self.upright.len() as f32 - problem.response.seen as f32).max(first);
        self.before.clear();
        self.before.extend_from_slice(&self.light);
        let before = (self.baseline_adc, self.left);
        for (index, light) in self.light.iter_mut().enumerate() {
            light.charge_pe += solution[2 * index];
            let step = -solution[2 * index + 1] / light.charge_pe.max(0.05);
            light.at = (light.at + step.clamp(-longest, longest)).clamp(first, last);
        }
        self.baseline_adc += solution[columns - 1];
        self.light.retain(|light| light.charge_pe > NOTHING_PE);
        self.light.sort_by(|a, b| a.at.total_cmp(&b.at));
        self.join(ONE * scale);
        self.column = solution;
        self.gradient = gradient;
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

    /// Makes one of photoelectrons closer than `distance`.
    fn join(&mut self, distance: f32) {
        let mut kept = 0;
        for index in 1..self.light.len() {
            let light = self.light[index];
            let before = &mut self.light[kept];
            if light.at - before.at < distance {
                *before = joined(*before, light);
            } else {
                kept += 1;
                self.light[kept] = light;
            }
        }
        self.light.truncate(kept + 1);
    }

    /// Standard deviations of charges and times, from the inverse of the normal matrix.
    fn errors(&mut self, problem: &Problem<'_>) {
        self.normal
            .fill(problem.response, &self.places, self.upright.len());
        self.normal.factorise(|_| (0.0, 0.0));
        let columns = self.columns();
        let mut column = std::mem::take(&mut self.column);
        for index in 0..self.light.len() {
            let mut sigmas = [0.0; 2];
            for (which, sigma) in sigmas.iter_mut().enumerate() {
                column.clear();
                column.resize(columns, 0.0);
                column[2 * index + which] = 1.0;
                self.normal.forward(&mut column);
                *sigma = dot(&column, &column).sqrt() * problem.noise_adc;
            }
            let light = &mut self.light[index];
            light.charge_sigma_pe = sigmas[0];
            light.at_sigma = sigmas[1] / light.charge_pe.max(NOTHING_PE);
        }
        self.column = column;
    }

    /// Gives what is not significant to its neighbour, or drops it, one after the other; returns how many.
    fn prune(&mut self, problem: &Problem<'_>) -> usize {
        let near = NEIGHBOURS * problem.response.scale;
        let mut pruned = 0;
        loop {
            self.errors(problem);
            let worth = |index: usize| {
                let light = self.light[index];
                let neighbour = [index.wrapping_sub(1), index + 1]
                    .into_iter()
                    .filter_map(|other| self.light.get(other))
                    .filter(|other| (other.at - light.at).abs() < near)
                    .map(|other| other.charge_pe)
                    .fold(0.0, f32::max);
                if light.charge_pe < LEAST_PE {
                    0.0
                } else if neighbour > 0.0 && neighbour + light.charge_pe > SEVERAL_PE {
                    f32::INFINITY
                } else {
                    light.charge_pe / light.charge_sigma_pe
                }
            };
            let worst = (0..self.light.len())
                .map(|index| (worth(index), index))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let Some((worth, index)) = worst else { break };
            if worth >= SIGNIFICANCE {
                break;
            }
            let gone = self.light.remove(index);
            let nearest = [index.wrapping_sub(1), index]
                .into_iter()
                .filter(|&other| other < self.light.len())
                .map(|other| ((self.light[other].at - gone.at).abs(), other))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((distance, other)) = nearest
                && distance < near
            {
                self.light[other] = joined(self.light[other], gone);
            }
            pruned += 1;
            self.refold(problem);
            self.settle(problem);
        }
        pruned
    }

    /// Sets the time of each photoelectron that comes first: the mean over those behind it, as far as its own time is uncertain.
    ///
    /// Where light comes dense, how it is shared out among the first few is open; their mean is not. What stands well apart
    /// keeps its own time.
    fn lead(&mut self, problem: &Problem<'_>) {
        let scale = problem.response.scale;
        let mut before = f32::NEG_INFINITY;
        for index in 0..self.light.len() {
            let first = self.light[index];
            let leads = first.at - before > NEIGHBOURS * scale;
            before = first.at;
            if !leads {
                continue;
            }
            let width = (LEAD_SIGMA * first.at_sigma).clamp(1e-3 * scale, LEAD * scale);
            let (mut charge, mut moment) = (0.0, 0.0);
            for light in &self.light[index..] {
                let behind = (light.at - first.at) / width;
                if behind > 4.0 {
                    break;
                }
                let weight = light.charge_pe * (-0.5 * behind * behind).exp();
                charge += weight;
                moment += weight * (light.at - first.at);
            }
            self.light[index].at += moment / charge;
        }
    }
}

/// Two photoelectrons as one.
fn joined(a: Light, b: Light) -> Light {
    let charge_pe = a.charge_pe + b.charge_pe;
    Light {
        at: (a.at * a.charge_pe + b.at * b.charge_pe) / charge_pe,
        charge_pe,
        ..a
    }
}
