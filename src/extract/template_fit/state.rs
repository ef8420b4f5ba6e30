//! The state of a fit: its input, the pulses, the residual and the buffers. The other files of the fit are functions on it.

use super::normal_equations::{NormalEquations, sums};
use super::spline::SplinePosition;
use super::template::Template;

/// A photoelectron, or several that cannot be separated.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct FittedPulse {
    /// Time in samples from the first one.
    pub(crate) time: f32,
    /// Charge.
    pub(crate) charge_pe: f32,
    /// Standard deviation of the charge.
    pub(crate) charge_sigma_pe: f32,
    /// Standard deviation of the time, in samples.
    pub(crate) time_sigma: f32,
    /// Time at the start of the iteration, on which its prior is centred.
    pub(super) start_time: f32,
}

/// The input of a fit besides the samples.
#[derive(Clone, Copy)]
pub(crate) struct FitProblem<'a> {
    /// The template.
    pub(crate) template: &'a Template,
    /// Noise of a sample, in ADC counts.
    pub(crate) noise_adc: f32,
    /// Noise of a sample by which the fit is judged: the calibrated one, which the misfit cannot raise.
    pub(crate) judged_noise_adc: f32,
    /// Spread of the charge of a single photoelectron, relative.
    pub(crate) charge_sigma_pe: f32,
    /// Highest value of the template.
    pub(crate) peak_adc: f32,
}

/// The prior of one pulse, in units of the normal equations (the energy times the square of the noise). The parameter of a time belongs to
/// the column s' without its charge q: it is -q times the change of the time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prior {
    /// Term of the charge on the diagonal.
    pub(super) charge: f32,
    /// Term of the charge in the gradient.
    pub(super) charge_gradient: f32,
    /// Term of the time on the diagonal.
    pub(super) time: f32,
    /// Term of the time in the gradient.
    pub(super) time_gradient: f32,
}

/// A proposal to add a pulse.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proposal {
    pub(super) gain: f32,
    pub(super) time: f32,
    pub(super) kind: ProposalKind,
}

/// The kind of a proposal.
#[derive(Clone, Copy, Debug)]
pub(super) enum ProposalKind {
    /// Two pulses, `offset` samples before and after pulse `index`, replace it.
    Split { index: usize, offset: f32 },
    /// A missed photoelectron of this charge.
    Add { charge_pe: f32 },
}

/// Buffers for the fit of one waveform, and its result.
#[derive(Clone, Debug, Default)]
pub(crate) struct FitWorkspace {
    /// Input: the samples with pulses upright and the baseline subtracted.
    pub(crate) upright: Vec<f32>,
    /// Input: seeds. Result: the pulses in time order.
    pub(crate) pulses: Vec<FittedPulse>,
    /// The samples minus the model.
    pub(crate) residual: Vec<f32>,
    /// Correction to the baseline.
    pub(crate) baseline_adc: f32,
    /// Squares of the residual in units of the noise, per degree of freedom.
    pub(crate) chi2_ndf: f32,
    /// Sum of the residual.
    pub(super) residual_sum: f32,
    /// Squares of the residual.
    pub(super) residual_squares: f32,
    /// True if the waveform needs more than [`MAX_PULSES`](super::config::MAX_PULSES), so that charge would be missing.
    pub(super) too_many_pulses: bool,
    /// Relative increase of the diagonal for charges.
    pub(super) damping: f32,
    /// The same for each time.
    pub(super) time_damping: Vec<f32>,
    /// The pulses before a step.
    pub(super) previous: Vec<FittedPulse>,
    pub(super) positions: Vec<SplinePosition>,
    /// Inner products of the residual with the coefficients of each pulse; empty until they are computed.
    pub(super) inner_products: Vec<[f32; 4]>,
    /// True if the normal matrix is that of `positions`.
    pub(super) has_matrix: bool,
    pub(super) priors: Vec<Prior>,
    pub(super) normal: NormalEquations,
    pub(super) gradient: Vec<f32>,
    pub(super) column: Vec<f32>,
    pub(super) search_products: Vec<f32>,
    pub(super) proposals: Vec<Proposal>,
}

impl FitWorkspace {
    /// Returns the number of columns of the normal equations: charge and time of each pulse, and the baseline.
    pub(super) fn columns(&self) -> usize {
        2 * self.pulses.len() + 1
    }

    /// Computes the residual of the present pulses.
    pub(super) fn update_residual(&mut self, problem: &FitProblem<'_>) {
        let baseline = self.baseline_adc;
        self.residual.clear();
        self.residual
            .extend(self.upright.iter().map(|sample| sample - baseline));
        self.positions.clear();
        self.positions.extend(
            self.pulses
                .iter()
                .map(|pulse| SplinePosition::new(pulse.time)),
        );
        for (position, pulse) in self.positions.iter().zip(&self.pulses) {
            problem
                .template
                .subtract(&mut self.residual, position, pulse.charge_pe);
        }
        (self.residual_sum, self.residual_squares) = sums(&self.residual);
        self.inner_products.clear();
        self.has_matrix = false;
    }

    /// Computes `inner_products` unless they are those of the present residual.
    pub(super) fn compute_inner_products(&mut self, problem: &FitProblem<'_>) {
        if self.inner_products.is_empty() {
            let products = |position: &SplinePosition| {
                problem
                    .template
                    .inner_products(&self.residual, position.sample)
            };
            self.inner_products
                .extend(self.positions.iter().map(products));
        }
    }

    /// Computes the normal matrix unless it is that of the present pulses.
    pub(super) fn fill_matrix(&mut self, problem: &FitProblem<'_>) {
        if !self.has_matrix {
            self.normal
                .fill_matrix(problem.template, &self.positions, self.upright.len());
            self.has_matrix = true;
        }
    }

    /// Returns the squares of the model without its baseline.
    pub(super) fn model_squares(&self) -> f32 {
        self.upright
            .iter()
            .zip(&self.residual)
            .map(|(sample, residual)| (sample - self.baseline_adc - residual).powi(2))
            .sum()
    }
}
