//! What the method `sparse` knows of photoelectrons that stand close before it looks at the samples.
//!
//! How light is shared out among neighbours, the samples hardly say. Three terms of the energy (chi-square / 2) say the rest:
//!
//! - A charge is about that of one photoelectron: x^2 / 2 with x = (q - 1) / sigma and the calibration's spread sigma; above 1 PE, where it may
//!   be several, d^2 (sqrt(1 + (x / d)^2) - 1) with d = 1.345, a parabola that goes over into a slope (P. J. Huber, Ann. Math. Statist.
//!   35, 73, 1964; smooth: P. Charbonnier et al., IEEE Trans. Image Processing 6, 298, 1997). An energy with one valley has one lowest
//!   place, and as it is straight nowhere it says how charge is shared out between two that have more than one each.
//! - A time stays near where it was when the fit set out: (t - t0)^2 / (2 hold^2). It sets out anew with every photoelectron that
//!   is added or given up.
//! - Two do not stand at one moment: -kappa (ln(d / D) - d / D), d apart, up to the distance D at which they are neighbours.
//!   With a likelihood in d that has its top at 0 the most likely distance would be 0, which is too short: the mean over what
//!   is likely is not. The logarithm moves the top to near that mean.
//!
//! The first two grow from nothing at the distance of neighbours to all at half of it. What stands alone is measured by the samples alone.

use super::fit::{NEIGHBOURS, Problem, Work};

/// Standard deviation of a time among neighbours about where it was, in units of the template's scale.
pub(crate) const HOLD: f32 = 1.0;
/// kappa.
pub(crate) const REPULSION: f32 = 0.4;
/// Distance below which the repulsion grows no further, in units of the scale.
pub(crate) const LEAST_DISTANCE: f32 = 0.03;
/// Charge that a time's columns are taken for at least, in PE.
pub(crate) const LEAST_CHARGE_PE: f32 = 0.05;
/// Standard deviations above one photoelectron's charge about which the parabola goes over into a slope.
pub(crate) const SLOPE: f32 = 1.345;

/// What is known of one photoelectron, in units of the normal equations (the energy times the square of the noise). A time's parameter is the
/// column s' times a number, -q times the time's change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prior {
    /// What it adds to the diagonal for the charge, and to the gradient.
    pub(super) charge: f32,
    pub(super) charge_pull: f32,
    /// The same for the time.
    pub(super) time: f32,
    pub(super) time_pull: f32,
}

impl Work {
    /// Works out what is known of each photoelectron where it stands.
    pub(super) fn know(&mut self, problem: &Problem<'_>) {
        let noise2 = problem.noise_adc * problem.noise_adc;
        let scale = problem.response.scale;
        let near = NEIGHBOURS * scale;
        let light = &self.light;
        self.priors.clear();
        self.priors.extend((0..light.len()).map(|index| {
            let own = light[index];
            let before = index
                .checked_sub(1)
                .map_or(near, |other| own.at - light[other].at);
            let behind = light.get(index + 1).map_or(near, |other| other.at - own.at);
            let company = company(before.min(behind), near);
            let (pull, firm) = drawn(own.charge_pe, problem.charge_sigma_pe);
            let charge = company * noise2;
            let held = company * noise2 / (HOLD * scale).powi(2);
            let (push_before, stiff_before) = repulsion(before, near, scale);
            let (push_behind, stiff_behind) = repulsion(behind, near, scale);
            let push = held * (own.from - own.at) + noise2 * (push_before - push_behind);
            let stiff = held + noise2 * (stiff_before + stiff_behind);
            let by = own.charge_pe.max(LEAST_CHARGE_PE);
            Prior {
                charge: charge * firm,
                charge_pull: charge * pull,
                time: stiff / (by * by),
                time_pull: -push / by,
            }
        }));
    }
}

/// How much two are neighbours: not at all from the distance `near` on, altogether from half of it.
pub(super) fn company(distance: f32, near: f32) -> f32 {
    (2.0 - 2.0 * distance / near).clamp(0.0, 1.0)
}

/// How hard a charge is drawn to that of one photoelectron, and how firmly.
fn drawn(charge_pe: f32, sigma_pe: f32) -> (f32, f32) {
    let excess = charge_pe - 1.0;
    let far = excess.max(0.0) / (SLOPE * sigma_pe);
    let firm = 1.0 / (sigma_pe * sigma_pe * (1.0 + far * far).sqrt());
    (-firm * excess, firm)
}

/// How hard one `distance` away pushes, and twice how that changes with the distance, as both of a pair give way.
fn repulsion(distance: f32, near: f32, scale: f32) -> (f32, f32) {
    if distance >= near {
        return (0.0, 0.0);
    }
    let distance = distance.max(LEAST_DISTANCE * scale);
    (
        REPULSION * (1.0 / distance - 1.0 / near),
        2.0 * REPULSION / (distance * distance),
    )
}
