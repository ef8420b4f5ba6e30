//! What the fit of the method `sparse` leaves: photoelectrons that are two, and such that were overlooked.
//!
//! Both are added for what chi-square would gain:
//!
//! - A photoelectron that is two at t +- d leaves a residual like s''. With z = sum r s'' and n^2 = |s'' without what the other columns
//!   explain|^2 the gain is z^2 / n^2 (a score test: C. R. Rao, Proc. Camb. Phil. Soc. 44, 50, 1948). In units of its spread
//!   z / n is c d^2 with c = n q / 2, and d the root of what is likely: c d^2 = (z/n + sqrt((z/n)^2 + 2 kappa)) / 2, with the kappa of
//!   [`priors`](super::priors).
//! - One that was overlooked leaves a residual like s at its own time (orthogonal least squares: S. Chen, S. Billings, W. Luo,
//!   Int. J. Control 50, 1873, 1989).
//!
//! How much gain is asked for follows from the charge: what is near 1 PE is one photoelectron unless the shape says otherwise;
//! what is near 2 PE is hardly ever one, and becomes two whatever the shape says.

#![expect(
    clippy::cast_possible_wrap,
    reason = "windows have at most 65,536 samples"
)]

use super::fit::{Light, MOST, NEIGHBOURS, Problem, Work};
use super::priors::REPULSION;
use super::template::Place;

/// Most photoelectrons that are proposed at once; all that are may be splits.
pub(crate) const MOST_PROPOSALS: usize = MOST + 16;
/// Gain in chi-square that makes two of a photoelectron whose charge one and two have equally often: -2 ln of how often a photoelectron
/// has another one so close that they look like one, times the widths' ratio sqrt(2).
pub(crate) const SPLIT_GAIN: f32 = 6.0;
/// Where less than this is asked for the charge alone tells.
pub(crate) const LEAST_GAIN: f32 = 0.5;
/// Photoelectrons from which on the charge alone makes no more: there is so much light that nobody needs each one's time.
pub(crate) const PLENTY: usize = 16;
/// Gain in chi-square for a photoelectron that was overlooked.
pub(crate) const ADD_GAIN: f32 = 12.0;
/// Only where the residual alone would gain this share of [`ADD_GAIN`] is it looked at closely.
pub(crate) const ADD_LOOK: f32 = 0.3;
/// Least share of a column's squares that the others may leave of it.
pub(crate) const LEAST_LEFT: f32 = 0.02;
/// The template is known to this share of a pulse's height where the pulse stands.
pub(crate) const TEMPLATE_ERROR: f32 = 0.005;
/// And to this one behind it, where cables and bases ring; what is smaller is not light that was overlooked.
pub(crate) const RINGING: f32 = 0.03;
/// How far behind, in units of the scale.
pub(crate) const TAIL: f32 = 16.0;
/// Distance at which photoelectrons disturb one another's splits, but those that the charge alone makes; and how far a split goes at least
/// and at most, all in units of the template's scale.
pub(crate) const APART: f32 = 1.6;
pub(crate) const SPLIT: (f32, f32) = (0.14, 1.1);
/// What would go less far than this stays one.
pub(crate) const SPLIT_WORTH: f32 = 0.07;
/// How far from light more is looked for.
pub(crate) const AROUND: f32 = 6.0;

/// A photoelectron more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proposal {
    gain: f32,
    at: f32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Instead of photoelectron `of`, two `apart` samples before and behind it.
    Split { of: usize, apart: f32 },
    /// One of this charge.
    Add { charge_pe: f32 },
}

impl Work {
    /// What the columns have in common with s (row 0) or s'' (row 2) at `place`, through the factor's first half; returns how
    /// much of its squares they leave.
    fn left_of(&mut self, problem: &Problem<'_>, place: &Place, row: usize) -> f32 {
        let mut column = std::mem::take(&mut self.column);
        column.clear();
        for other in &self.places {
            let lags = problem.response.lags(place.sample - other.sample);
            column.extend([0, 1].map(|of_other| {
                let common = other.weights.common(of_other, &lags);
                place.weights.dot(row, &common)
            }));
        }
        let sum = if row == 0 {
            problem.response.inside(place.sample, self.upright.len()).0
        } else {
            0.0
        };
        column.push(sum);
        debug_assert_eq!(column.len(), self.columns());
        let all = problem.response.squares[row];
        let left = all - self.normal.squares(&mut column, 0);
        self.column = column;
        left.max(LEAST_LEFT * all)
    }

    /// Noise by which gains count at `at`: that of a sample, and a share `error` of the light up to `behind` scales before it.
    fn noise2_at(&self, problem: &Problem<'_>, at: f32, (error, behind): (f32, f32)) -> f32 {
        let scale = problem.response.scale;
        let charge: f32 = self
            .light
            .iter()
            .filter(|light| {
                let before = at - light.at;
                -NEIGHBOURS * scale < before && before < behind * scale
            })
            .map(|light| light.charge_pe)
            .sum();
        let unknown = error * charge * problem.peak_adc;
        problem.noise_adc * problem.noise_adc + unknown * unknown
    }

    /// Finds photoelectrons that are two and such that were overlooked, and puts them in; returns how many more there are.
    pub(super) fn propose(&mut self, problem: &Problem<'_>) -> usize {
        let scale = problem.response.scale;
        let mut proposals = std::mem::take(&mut self.proposals);
        proposals.clear();
        // The factor is that of the errors, without anything that holds charges and times back.
        self.project(problem);
        for of in 0..self.light.len() {
            let (light, place) = (self.light[of], self.places[of]);
            let z = place.weights.dot(2, &self.common[of]);
            let wanted = least_gain(light.charge_pe, problem.charge_sigma_pe);
            let by_charge = wanted <= LEAST_GAIN && self.light.len() < PLENTY;
            if z <= 0.0 && !by_charge {
                continue;
            }
            let left = self.left_of(problem, &place, 2);
            let noise2 = self.noise2_at(problem, light.at, (TEMPLATE_ERROR, NEIGHBOURS));
            let pull = z / (left * noise2).sqrt();
            let gain = pull * pull.max(0.0);
            if !by_charge && gain <= wanted {
                continue;
            }
            let likely = 0.5 * (pull + (pull * pull + 2.0 * REPULSION).sqrt());
            let apart = (2.0 * likely * (noise2 / left).sqrt() / light.charge_pe).sqrt();
            if apart < SPLIT_WORTH * scale {
                continue;
            }
            proposals.push(Proposal {
                gain,
                at: light.at,
                kind: Kind::Split {
                    of,
                    apart: apart.clamp(SPLIT.0 * scale, SPLIT.1 * scale),
                },
            });
        }
        self.look_around(problem, &mut proposals);
        proposals.sort_by(|a, b| b.gain.total_cmp(&a.gain));
        let mut more = 0;
        for index in 0..proposals.len() {
            let proposal = proposals[index];
            let disturbed = proposals[..index]
                .iter()
                .any(|other| other.gain > 0.0 && (other.at - proposal.at).abs() < APART * scale);
            if disturbed {
                proposals[index].gain = 0.0;
                continue;
            }
            if self.light.len() >= MOST {
                self.crowded = true;
                break;
            }
            more += 1;
            match proposal.kind {
                Kind::Split { of, apart } => {
                    let light = &mut self.light[of];
                    light.charge_pe *= 0.5;
                    light.at = proposal.at - apart;
                    let mut second = *light;
                    second.at = proposal.at + apart;
                    self.light.push(second);
                }
                Kind::Add { charge_pe } => self.light.push(Light {
                    at: proposal.at,
                    charge_pe,
                    ..Light::default()
                }),
            }
        }
        self.proposals = proposals;
        if more > 0 {
            self.light.sort_by(|a, b| a.at.total_cmp(&b.at));
            self.refold(problem);
        }
        more
    }

    /// Looks for photoelectrons that were overlooked, near those that were not.
    fn look_around(&mut self, problem: &Problem<'_>, proposals: &mut Vec<Proposal>) {
        let response = problem.response;
        let reach = AROUND * response.scale;
        let length = self.upright.len();
        let on = Place::of(0.0);
        let mut around = std::mem::take(&mut self.around);
        let mut next = 0;
        let mut first = 0;
        while first < self.light.len() {
            // Neighbours whose surroundings overlap are looked at once.
            let mut last = first;
            while last + 1 < self.light.len()
                && self.light[last + 1].at - self.light[last].at < 2.0 * reach
            {
                last += 1;
            }
            let begin = ((self.light[first].at - reach).max(0.0) as usize).max(next);
            let end = ((self.light[last].at + reach).max(0.0) as usize).min(length);
            (next, first) = (end, last + 1);
            response.common_with_pulse(&self.residual, begin..end.max(begin), &mut around);
            for index in 1..around.len().saturating_sub(1) {
                let common = around[index];
                if common <= 0.0 || common < around[index - 1] || common <= around[index + 1] {
                    continue;
                }
                let place = Place {
                    sample: (begin + index) as i32,
                    weights: on.weights,
                };
                let at = (begin + index) as f32;
                let noise2 = self.noise2_at(problem, at, (RINGING, TAIL));
                if common * common < ADD_LOOK * ADD_GAIN * response.squares[0] * noise2 {
                    continue;
                }
                let left = self.left_of(problem, &place, 0);
                let gain = common * common / left / noise2;
                if gain > ADD_GAIN && proposals.len() < MOST_PROPOSALS {
                    proposals.push(Proposal {
                        gain,
                        at,
                        kind: Kind::Add {
                            charge_pe: (common / left).max(0.1),
                        },
                    });
                }
            }
        }
        self.around = around;
    }
}

/// Gain in chi-square that makes two of a photoelectron with the charge `charge_pe`: less, the less likely one has it.
///
/// Charges of one and of two are taken as Gaussian, of mean 1 and 2 and of spread `sigma` and sqrt(2) `sigma`; more than 2 is several.
fn least_gain(charge_pe: f32, sigma: f32) -> f32 {
    if charge_pe >= 2.0 {
        return LEAST_GAIN;
    }
    let excess = (charge_pe - 1.0) / sigma;
    let lack = (2.0 - charge_pe) / sigma;
    (SPLIT_GAIN + 0.5 * lack * lack - excess * excess).max(LEAST_GAIN)
}
