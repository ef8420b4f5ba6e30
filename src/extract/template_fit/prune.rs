//! Photoelectrons that the method `sparse` gives up: what is not significant and may be part of a single neighbour is given to it.

use super::fit::{LEAST_PE, Light, NEIGHBOURS, NOTHING_PE, Problem, Work};

/// Fewest standard deviations that a charge lies above 0.
pub(crate) const SIGNIFICANCE: f32 = 3.85;
/// Neighbours with more charge than this together, in PE, are not one.
pub(crate) const TOGETHER_PE: f32 = 1.9;

impl Work {
    /// Standard deviations of charges and times, from the inverse of the normal matrix, with what is known beforehand.
    pub(super) fn errors(&mut self, problem: &Problem<'_>) {
        self.know(problem);
        self.fill(problem);
        let priors = &self.priors;
        self.normal
            .factorise(|index| (priors[index].charge, priors[index].time));
        let columns = self.columns();
        let mut column = std::mem::take(&mut self.column);
        for index in 0..self.light.len() {
            let mut sigmas = [0.0; 2];
            for (which, sigma) in sigmas.iter_mut().enumerate() {
                column.clear();
                column.resize(columns, 0.0);
                column[2 * index + which] = 1.0;
                let squares = self.normal.squares(&mut column, 2 * index + which);
                *sigma = squares.sqrt() * problem.noise_adc;
            }
            let light = &mut self.light[index];
            light.charge_sigma_pe = sigmas[0];
            light.at_sigma = sigmas[1] / light.charge_pe.max(NOTHING_PE);
        }
        self.column = column;
    }

    /// Gives what is not significant to its neighbour, or drops it, one after the other; returns how many.
    pub(super) fn prune(&mut self, problem: &Problem<'_>) -> usize {
        let near = NEIGHBOURS * problem.response.scale;
        let mut pruned = 0;
        loop {
            self.errors(problem);
            let worst = (0..self.light.len())
                .map(|index| (self.worth(index, near), index))
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

    /// How far a photoelectron is from being given up: not at all where its neighbour and it are several.
    fn worth(&self, index: usize, near: f32) -> f32 {
        let light = self.light[index];
        let neighbour = [index.wrapping_sub(1), index + 1]
            .into_iter()
            .filter_map(|other| self.light.get(other))
            .filter(|other| (other.at - light.at).abs() < near)
            .map(|other| other.charge_pe)
            .fold(0.0, f32::max);
        if light.charge_pe < LEAST_PE {
            0.0
        } else if neighbour > 0.0 && neighbour + light.charge_pe > TOGETHER_PE {
            f32::INFINITY
        } else {
            light.charge_pe / light.charge_sigma_pe
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
