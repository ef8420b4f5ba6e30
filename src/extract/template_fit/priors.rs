//! Priors of the fit on charges, times and distances of close pulses.
//!
//! The samples hardly tell how light is shared among close pulses. Three terms of the energy (chi-square / 2) decide it:
//!
//! - A charge is about that of one photoelectron: x^2 / 2 with x = (q - 1) / sigma and the calibrated spread sigma; above 1 PE, where it may
//!   be several, k^2 (sqrt(1 + (x / k)^2) - 1) with k = 1.345, a parabola that turns into a straight line (P. J. Huber, Ann. Math. Statist.
//!   35, 73, 1964; smooth: P. Charbonnier et al., IEEE Trans. Image Processing 6, 298, 1997). The energy is convex, so that it has one
//!   minimum; as it is nowhere exactly straight, it also shares the charge between two pulses of more than 1 PE each.
//! - A time stays near its value at the start of the iteration: (t - t0)^2 / (2 sigma_t^2). The start is set again whenever a pulse is added
//!   or pruned.
//! - Two pulses are not at the same time: -kappa (ln(d / D) - d / D) for a distance d up to the distance D of neighbours. The likelihood in
//!   d is largest at 0, so that the most likely distance would be too short; the logarithm moves the maximum close to the posterior mean.
//!
//! The first two grow from zero at the distance of neighbours to their full weight at half of it. An isolated pulse is measured by the
//! samples alone.

use super::config::{
    HUBER_K, MIN_COLUMN_CHARGE_PE, MIN_DISTANCE, NEIGHBOUR_DISTANCE, REPULSION, TIME_PRIOR_SIGMA,
};
use super::state::{FitProblem, FitWorkspace, Prior};

impl FitWorkspace {
    /// Computes the priors of the present pulses.
    pub(super) fn update_priors(&mut self, problem: &FitProblem<'_>) {
        let noise2 = problem.noise_adc * problem.noise_adc;
        let scale = problem.template.scale;
        let near = NEIGHBOUR_DISTANCE * scale;
        let pulses = &self.pulses;
        self.priors.clear();
        self.priors.extend((0..pulses.len()).map(|index| {
            let pulse = pulses[index];
            let before = index
                .checked_sub(1)
                .map_or(near, |other| pulse.time - pulses[other].time);
            let after = pulses
                .get(index + 1)
                .map_or(near, |other| other.time - pulse.time);
            let weight = neighbour_weight(before.min(after), near);
            let (charge_force, charge_curvature) =
                charge_prior(pulse.charge_pe, problem.charge_sigma_pe);
            let charge = weight * noise2;
            let hold = weight * noise2 / (TIME_PRIOR_SIGMA * scale).powi(2);
            let (force_before, curvature_before) = repulsion(before, near, scale);
            let (force_after, curvature_after) = repulsion(after, near, scale);
            let force =
                hold * (pulse.start_time - pulse.time) + noise2 * (force_before - force_after);
            let curvature = hold + noise2 * (curvature_before + curvature_after);
            let column_charge = pulse.charge_pe.max(MIN_COLUMN_CHARGE_PE);
            Prior {
                charge: charge * charge_curvature,
                charge_gradient: charge * charge_force,
                time: curvature / (column_charge * column_charge),
                time_gradient: -force / column_charge,
            }
        }));
    }
}

/// Returns the weight of the priors of two pulses: 0 from the distance `near` on, 1 up to half of it.
pub(super) fn neighbour_weight(distance: f32, near: f32) -> f32 {
    (2.0 - 2.0 * distance / near).clamp(0.0, 1.0)
}

/// Returns force and curvature of the charge prior.
fn charge_prior(charge_pe: f32, sigma_pe: f32) -> (f32, f32) {
    let excess = charge_pe - 1.0;
    let x = excess.max(0.0) / (HUBER_K * sigma_pe);
    let curvature = 1.0 / (sigma_pe * sigma_pe * (1.0 + x * x).sqrt());
    (-curvature * excess, curvature)
}

/// Returns the force of a pulse at `distance`, and twice its derivative, as both pulses of a pair move.
fn repulsion(distance: f32, near: f32, scale: f32) -> (f32, f32) {
    if distance >= near {
        return (0.0, 0.0);
    }
    let limited = distance.max(MIN_DISTANCE * scale);
    (
        REPULSION * (1.0 / limited - 1.0 / near),
        2.0 * REPULSION / (limited * limited),
    )
}
