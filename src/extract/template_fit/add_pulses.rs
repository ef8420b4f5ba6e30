//! Adds pulses to the fit: splits unresolved pulses and adds missed photoelectrons.
//!
//! Both are decided by the gain in chi-square:
//!
//! - A pulse that is two photoelectrons at t +- d leaves a residual like s''. With z = sum r s'' and n^2 the squares of s'' that the other
//!   columns do not explain, the gain is z^2 / n^2 (a score test: C. R. Rao, Proc. Camb. Phil. Soc. 44, 50, 1948). The score z / n in units
//!   of its spread is c d^2 with c = n q / 2; d follows from its most likely value c d^2 = (z/n + sqrt((z/n)^2 + 2 kappa)) / 2 with the
//!   repulsion kappa of [`priors`](super::priors).
//! - A missed photoelectron leaves a residual like s at its own time (orthogonal least squares: S. Chen, S. Billings, W. Luo,
//!   Int. J. Control 50, 1873, 1989).
//!
//! The required gain of a split follows from the charge: near 1 PE a pulse is one photoelectron unless its shape says otherwise; near 2 PE it
//! is hardly ever one, and is split whatever its shape.

#![expect(
    clippy::cast_possible_wrap,
    reason = "windows have at most 65,536 samples"
)]

use super::config::{
    ADD_GAIN, ADD_SEARCH_SHARE, MAX_PROPOSALS, MAX_PULSES, MAX_SPLIT_OFFSET, MIN_PULSES_FOR_SHAPE,
    MIN_SPLIT_GAIN, MIN_SPLIT_OFFSET, MIN_UNEXPLAINED_SHARE, NEIGHBOUR_DISTANCE, REPULSION,
    RINGING_ERROR, RINGING_LENGTH, SEARCH_RANGE, SPLIT_GAIN, SPLIT_ISOLATION,
    SPLIT_OFFSET_THRESHOLD, TEMPLATE_ERROR,
};
use super::spline::SplinePosition;
use super::state::{FitProblem, FitWorkspace, FittedPulse, Proposal, ProposalKind};

impl FitWorkspace {
    /// Finds splits and missed photoelectrons and adds them; returns the number of added pulses.
    pub(super) fn add_pulses(&mut self, problem: &FitProblem<'_>) -> usize {
        let mut proposals = std::mem::take(&mut self.proposals);
        proposals.clear();
        // The factor is that of the errors, without damping.
        self.compute_inner_products(problem);
        self.propose_splits(problem, &mut proposals);
        self.search_missed_pulses(problem, &mut proposals);
        proposals.sort_by(|a, b| b.gain.total_cmp(&a.gain));
        let n_added = self.accept_proposals(problem, &mut proposals);
        self.proposals = proposals;
        if n_added > 0 {
            self.pulses.sort_by(|a, b| a.time.total_cmp(&b.time));
            self.update_residual(problem);
        }
        n_added
    }

    /// Accepts proposals, which are sorted by gain; returns the number of added pulses.
    fn accept_proposals(&mut self, problem: &FitProblem<'_>, proposals: &mut [Proposal]) -> usize {
        let isolation = SPLIT_ISOLATION * problem.template.scale;
        let mut n_added = 0;
        for rank in 0..proposals.len() {
            let proposal = proposals[rank];
            let is_disturbed = proposals[..rank]
                .iter()
                .any(|better| better.gain > 0.0 && (better.time - proposal.time).abs() < isolation);
            if is_disturbed {
                proposals[rank].gain = 0.0;
                continue;
            }
            if self.pulses.len() >= MAX_PULSES {
                self.too_many_pulses = true;
                break;
            }
            n_added += 1;
            match proposal.kind {
                ProposalKind::Split { index, offset } => {
                    let pulse = &mut self.pulses[index];
                    pulse.charge_pe *= 0.5;
                    pulse.time = proposal.time - offset;
                    let mut second = *pulse;
                    second.time = proposal.time + offset;
                    self.pulses.push(second);
                }
                ProposalKind::Add { charge_pe } => self.pulses.push(FittedPulse {
                    time: proposal.time,
                    charge_pe,
                    ..FittedPulse::default()
                }),
            }
        }
        n_added
    }

    /// Proposes splits of pulses.
    fn propose_splits(&mut self, problem: &FitProblem<'_>, proposals: &mut Vec<Proposal>) {
        let scale = problem.template.scale;
        for index in 0..self.pulses.len() {
            let (pulse, position) = (self.pulses[index], self.positions[index]);
            let z = position
                .weights
                .inner_product(2, &self.inner_products[index]);
            let min_gain = min_split_gain(pulse.charge_pe, problem.charge_sigma_pe);
            let by_charge = min_gain <= MIN_SPLIT_GAIN && self.pulses.len() < MIN_PULSES_FOR_SHAPE;
            if z <= 0.0 && !by_charge {
                continue;
            }
            let norm = self.unexplained_norm(problem, &position, 2);
            let noise2 = self.noise2_at(problem, pulse.time, TEMPLATE_ERROR, NEIGHBOUR_DISTANCE);
            let score = z / (norm * noise2).sqrt();
            let gain = score * score.max(0.0);
            if !by_charge && gain <= min_gain {
                continue;
            }
            let likely = 0.5 * (score + (score * score + 2.0 * REPULSION).sqrt());
            let offset = (2.0 * likely * (noise2 / norm).sqrt() / pulse.charge_pe).sqrt();
            if offset < SPLIT_OFFSET_THRESHOLD * scale {
                continue;
            }
            proposals.push(Proposal {
                gain,
                time: pulse.time,
                kind: ProposalKind::Split {
                    index,
                    offset: offset.clamp(MIN_SPLIT_OFFSET * scale, MAX_SPLIT_OFFSET * scale),
                },
            });
        }
    }

    /// Searches for missed photoelectrons near the pulses.
    fn search_missed_pulses(&mut self, problem: &FitProblem<'_>, proposals: &mut Vec<Proposal>) {
        let template = problem.template;
        let reach = SEARCH_RANGE * template.scale;
        let length = self.upright.len();
        let on_sample = SplinePosition::new(0.0);
        let mut search_products = std::mem::take(&mut self.search_products);
        let mut next = 0;
        let mut first = 0;
        while first < self.pulses.len() {
            // Pulses whose search ranges overlap are searched together.
            let mut last = first;
            while last + 1 < self.pulses.len()
                && self.pulses[last + 1].time - self.pulses[last].time < 2.0 * reach
            {
                last += 1;
            }
            let begin = ((self.pulses[first].time - reach).max(0.0) as usize).max(next);
            let end = ((self.pulses[last].time + reach).max(0.0) as usize).min(length);
            (next, first) = (end, last + 1);
            template.main_pulse_products(
                &self.residual,
                begin..end.max(begin),
                &mut search_products,
            );
            for offset in 1..search_products.len().saturating_sub(1) {
                let product = search_products[offset];
                if product <= 0.0
                    || product < search_products[offset - 1]
                    || product <= search_products[offset + 1]
                {
                    continue;
                }
                let sample = begin + offset;
                let noise2 = self.noise2_at(problem, sample as f32, RINGING_ERROR, RINGING_LENGTH);
                if product * product < ADD_SEARCH_SHARE * ADD_GAIN * template.squares[0] * noise2 {
                    continue;
                }
                let position = SplinePosition {
                    sample: sample as i32,
                    weights: on_sample.weights,
                };
                let norm = self.unexplained_norm(problem, &position, 0);
                let gain = product * product / norm / noise2;
                if gain > ADD_GAIN && proposals.len() < MAX_PROPOSALS {
                    proposals.push(Proposal {
                        gain,
                        time: sample as f32,
                        kind: ProposalKind::Add {
                            charge_pe: (product / norm).max(0.1),
                        },
                    });
                }
            }
        }
        self.search_products = search_products;
    }

    /// Returns the squares of s (`derivative` 0) or s'' (2) at `position` that the columns of the fit do not explain.
    fn unexplained_norm(
        &mut self,
        problem: &FitProblem<'_>,
        position: &SplinePosition,
        derivative: usize,
    ) -> f32 {
        let mut column = std::mem::take(&mut self.column);
        column.clear();
        for other in &self.positions {
            let lags = problem
                .template
                .correlation_lags(position.sample - other.sample);
            column.extend([0, 1].map(|of_other| {
                let products = other.weights.correlate(of_other, &lags);
                position.weights.inner_product(derivative, &products)
            }));
        }
        let sum = if derivative == 0 {
            problem
                .template
                .inside(position.sample, self.upright.len())
                .0
        } else {
            0.0
        };
        column.push(sum);
        debug_assert_eq!(column.len(), self.columns());
        let all = problem.template.squares[derivative];
        let unexplained = all - self.normal.solved_squares(&mut column, 0);
        self.column = column;
        unexplained.max(MIN_UNEXPLAINED_SHARE * all)
    }

    /// Returns the square of the noise in gains at `time`: that of a sample, and a share `error` of the light up to `after` scales earlier.
    fn noise2_at(&self, problem: &FitProblem<'_>, time: f32, error: f32, after: f32) -> f32 {
        let scale = problem.template.scale;
        let charge: f32 = self
            .pulses
            .iter()
            .filter(|pulse| {
                let delay = time - pulse.time;
                -NEIGHBOUR_DISTANCE * scale < delay && delay < after * scale
            })
            .map(|pulse| pulse.charge_pe)
            .sum();
        let template_error = error * charge * problem.peak_adc;
        problem.noise_adc * problem.noise_adc + template_error * template_error
    }
}

/// Returns the gain in chi-square from which a pulse of this charge is split: the less likely one photoelectron has the charge, the smaller.
///
/// The charges of one and of two photoelectrons are Gaussian, of mean 1 and 2 and of spread `sigma` and sqrt(2) `sigma`; more than 2 is
/// several.
fn min_split_gain(charge_pe: f32, sigma: f32) -> f32 {
    if charge_pe >= 2.0 {
        return MIN_SPLIT_GAIN;
    }
    let excess = (charge_pe - 1.0) / sigma;
    let lack = (2.0 - charge_pe) / sigma;
    (SPLIT_GAIN + 0.5 * lack * lack - excess * excess).max(MIN_SPLIT_GAIN)
}
