//! The last pass: the runs are fitted like any event, and fitted over true energy becomes the energy scale.

use rayon::prelude::*;

use super::runs::Runs;
use crate::event::EventReconstructor;
use crate::math;
use crate::math::matrix::Matrix;
use crate::model::EventHits;
use crate::model::light_maps::EnergyScale;
use crate::threads::in_pool;

/// Minimum number of fitted events of a run.
const MIN_EVENTS: f64 = 20.0;
/// Prior width of the response's terms: keeps terms small that no run determines.
const TERM_SIGMA: f64 = 0.03;
/// Minimum relative error of a run's mean.
const MIN_SIGMA: f64 = 5e-4;
/// Fits that differ from the truth by more than this factor are not used.
const MAX_RATIO: f64 = 1.5;

/// Fitted energies by run.
pub(super) struct Refit {
    sums: Vec<Sums>,
    /// Events that were fitted, and those of them whose fit did not converge.
    pub events: u64,
    pub not_converged: u64,
}

/// Sums of one run.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    n: f64,
    ratio: f64,
    square: f64,
}

impl Refit {
    pub(super) fn new(n_runs: usize) -> Self {
        Self {
            sums: vec![Sums::default(); n_runs],
            events: 0,
            not_converged: 0,
        }
    }

    /// Fits a block of events.
    pub(super) fn add(
        &mut self,
        block: &[EventHits],
        runs: &Runs,
        reconstructor: &EventReconstructor,
    ) {
        let found: Vec<Option<(usize, f64, bool)>> = in_pool(|| {
            block
                .par_iter()
                .with_max_len(1)
                .map(|event| {
                    let (run, truth) = runs.find(event.event_id)?;
                    let fit = reconstructor.fit(event)?.ok()?;
                    let (point, converged) = fit.best();
                    Some((run, math::exp(point[4]) / truth.energy_mev, converged))
                })
                .collect()
        });
        for (run, ratio, converged) in found.into_iter().flatten() {
            self.events += 1;
            if !converged {
                self.not_converged += 1;
            } else if (1.0 / MAX_RATIO..MAX_RATIO).contains(&ratio) {
                let sums = &mut self.sums[run];
                sums.n += 1.0;
                sums.ratio += ratio;
                sums.square += ratio * ratio;
            }
        }
    }

    /// Returns fitted over true energy of a run with its error; `None` for too few events.
    pub(super) fn ratio(&self, run: usize) -> Option<(f64, f64)> {
        let sums = self.sums.get(run).filter(|sums| sums.n >= MIN_EVENTS)?;
        let mean = sums.ratio / sums.n;
        let variance = (sums.square / sums.n - mean * mean).max(0.0) / sums.n;
        Some((mean, variance.sqrt().max(MIN_SIGMA)))
    }

    /// Returns the energy scale. `visible_ratio` is visible over deposited energy by class, from the charges.
    pub(super) fn scale(&self, runs: &Runs, visible_ratio: &[f64], radius_mm: f64) -> EnergyScale {
        let terms = |run: usize| {
            let p = runs.all[run].position_mm;
            let square = p.iter().map(|x| x * x).sum::<f64>() / (radius_mm * radius_mm);
            EnergyScale::terms(square, p[2] / radius_mm)
        };
        // The response: runs of all energies, each relative to the mean of its energy.
        let n = EnergyScale::POWERS.len();
        let mut level = vec![1.0; visible_ratio.len()];
        let mut response = vec![0.0; n];
        response[0] = 1.0;
        let value = |response: &[f64], run: usize| -> f64 {
            response.iter().zip(terms(run)).map(|(c, t)| c * t).sum()
        };
        for _ in 0..4 {
            let mut matrix = Matrix::zeros(n);
            let mut right = vec![0.0; n];
            for k in 0..n {
                // The first term is 1, the others 0.
                let sigma = if k == 0 { 10.0 } else { TERM_SIGMA };
                matrix[(k, k)] += 1.0 / (sigma * sigma);
                right[k] += if k == 0 { 1.0 / (sigma * sigma) } else { 0.0 };
            }
            for (number, run) in runs.all.iter().enumerate() {
                let Some((ratio, sigma)) = self.ratio(number) else {
                    continue;
                };
                let (y, weight) = (
                    ratio / visible_ratio[run.class] / level[run.class],
                    (visible_ratio[run.class] / sigma).powi(2),
                );
                let terms = terms(number);
                for i in 0..n {
                    right[i] += weight * y * terms[i];
                    for j in 0..n {
                        matrix[(i, j)] += weight * terms[i] * terms[j];
                    }
                }
            }
            if let Some(solved) = matrix.solve(&right) {
                response = solved;
            }
            for (class, level) in level.iter_mut().enumerate() {
                let (mut sum, mut weight) = (0.0, 0.0);
                for (number, run) in runs.all.iter().enumerate() {
                    if run.class != class {
                        continue;
                    }
                    if let Some((ratio, sigma)) = self.ratio(number) {
                        let w = (visible_ratio[class] / sigma).powi(2);
                        sum += w * ratio / visible_ratio[class] / value(&response, number);
                        weight += w;
                    }
                }
                if weight > 0.0 {
                    *level = sum / weight;
                }
            }
        }
        // The curve: mean deposited and visible energy of the classes.
        let mut curve: Vec<(f64, f64)> = (0..visible_ratio.len())
            .filter_map(|class| {
                let (mut sum, mut events) = (0.0, 0.0);
                for (number, run) in runs.all.iter().enumerate() {
                    if run.class == class && self.ratio(number).is_some() {
                        sum += run.energy_mev * run.events as f64;
                        events += run.events as f64;
                    }
                }
                (events > 0.0).then(|| {
                    let deposited_mev = sum / events;
                    (
                        deposited_mev,
                        deposited_mev * visible_ratio[class] * level[class],
                    )
                })
            })
            .collect();
        curve.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut scale = EnergyScale {
            response,
            ..EnergyScale::default()
        };
        for (deposited_mev, visible_mev) in curve {
            if scale
                .visible_mev
                .last()
                .is_none_or(|&last| visible_mev > last)
            {
                scale.deposited_mev.push(deposited_mev);
                scale.visible_mev.push(visible_mev);
            }
        }
        scale
    }
}
