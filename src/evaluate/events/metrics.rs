//! Bias and resolution of vertex, time and energy, and pulls: residuals divided by the events' own uncertainties.

use serde::Serialize;

use super::bins::{Binned, Binning};
use super::fit::{self, Group, ResolutionFit};
use super::join::Pair;
use super::residuals::{
    CENTRAL, Core, Histogram, Residuals, ascending, gaussian_core, quantile_with_error,
};
use crate::evaluate::stats::{Estimate, quantile};
use crate::math;

/// Minimum number of events of an energy group in the fit: the error of a width from fewer is not Gaussian.
const MIN_IN_FIT: u64 = 30;

/// Reconstructed minus true vertex, in mm.
#[expect(clippy::struct_field_names, reason = "the unit is part of every name")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct VertexMetrics {
    /// Along x.
    pub x_mm: Residuals,
    /// Along y.
    pub y_mm: Residuals,
    /// Along z.
    pub z_mm: Residuals,
    /// Reconstructed minus true distance from the centre.
    pub radial_mm: Residuals,
    /// The 68.27 % quantile of the distance between reconstructed and true vertex.
    pub distance_68_mm: Option<Estimate>,
}

impl VertexMetrics {
    /// Computes the metrics of the events in `pairs` that have a vertex.
    #[must_use]
    pub fn from_pairs(pairs: &[Pair]) -> Self {
        let offsets: Vec<[f64; 3]> = pairs.iter().filter_map(Pair::offset_mm).collect();
        let along = |axis: usize| Residuals::from_values(offsets.iter().map(|offset| offset[axis]));
        let distances = ascending(
            offsets
                .iter()
                .map(|[x, y, z]| math::hypot(math::hypot(*x, *y), *z)),
        );
        Self {
            x_mm: along(0),
            y_mm: along(1),
            z_mm: along(2),
            radial_mm: Residuals::from_values(pairs.iter().filter_map(Pair::radial_mm)),
            distance_68_mm: quantile_with_error(&distances, CENTRAL),
        }
    }
}

/// Reconstructed over true energy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct EnergyMetrics {
    /// Events.
    pub n: u64,
    /// Mean of reconstructed over true energy, minus 1.
    pub bias: Option<Estimate>,
    /// Half-width of the central 68.27 % of reconstructed over true energy, divided by the median.
    pub resolution: Option<Estimate>,
    /// Width over mean of a Gaussian fitted to the core, within two standard deviations.
    pub resolution_core: Option<Estimate>,
    /// Mean of that Gaussian, minus 1.
    pub bias_core: Option<Estimate>,
    /// Standard deviation over mean, of all events.
    pub resolution_rms: Option<Estimate>,
}

impl EnergyMetrics {
    /// Computes the metrics of the events in `pairs` that have an energy.
    #[must_use]
    pub fn from_pairs(pairs: &[Pair]) -> Self {
        let responses = ascending(pairs.iter().filter_map(Pair::response));
        let residuals = Residuals::from_values(responses.iter().copied());
        let less_one = |estimate: Estimate| Estimate {
            value: estimate.value - 1.0,
            ..estimate
        };
        let core = gaussian_core(&responses);
        let median = quantile(&responses, 0.5);
        let mean = residuals.bias.map(|bias| bias.value);
        Self {
            n: residuals.n,
            bias: residuals.bias.map(less_one),
            resolution: relative(residuals.sigma_68, median),
            resolution_core: core
                .and_then(|core| relative(Some(core.sigma), Some(core.mean.value))),
            bias_core: core.map(|Core { mean, .. }| less_one(mean)),
            resolution_rms: relative(residuals.rms, mean),
        }
    }
}

/// Returns a width divided by a mean; the error of the mean is smaller by the resolution and neglected.
fn relative(width: Option<Estimate>, mean: Option<f64>) -> Option<Estimate> {
    let (width, mean) = width.zip(mean.filter(|mean| *mean > 0.0))?;
    Some(Estimate {
        value: width.value / mean,
        error: width.error / mean,
    })
}

/// Results of all events, and in bins of the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ByBin<T> {
    /// All.
    pub overall: T,
    /// By true energy, in MeV.
    pub by_energy: Vec<Binned<T>>,
    /// By true distance from the centre, in mm.
    pub by_radius: Vec<Binned<T>>,
    /// By the cosine of the true polar angle.
    pub by_cos_theta: Vec<Binned<T>>,
}

impl<T> ByBin<T> {
    /// Computes `metrics` of all `pairs` and of those in each bin.
    pub fn new(pairs: &[Pair], binning: &Binning, metrics: impl Fn(&[Pair]) -> T) -> Self {
        Self {
            overall: metrics(pairs),
            by_energy: binning.by_energy(pairs, &metrics),
            by_radius: binning.by_radius(pairs, &metrics),
            by_cos_theta: binning.by_cos_theta(pairs, &metrics),
        }
    }
}

/// The fit of the resolution against energy, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FitResult {
    /// The fit, to the robust widths.
    pub fit: Option<ResolutionFit>,
    /// Why there is none.
    pub none_because: Option<String>,
}

impl FitResult {
    /// Fits the groups of `energy`.
    #[must_use]
    pub fn new(energy: &ByBin<EnergyMetrics>) -> Self {
        let groups: Vec<Group> = energy
            .by_energy
            .iter()
            .filter(|bin| bin.metrics.n >= MIN_IN_FIT)
            .filter_map(|bin| {
                Some(Group {
                    energy_mev: bin.mean,
                    resolution: bin.metrics.resolution?,
                })
            })
            .collect();
        match fit::fit(&groups) {
            Ok(fit) => Self {
                fit: Some(fit),
                none_because: None,
            },
            Err(why) => Self {
                fit: None,
                none_because: Some(why),
            },
        }
    }
}

/// Residuals divided by their own uncertainty: mean 0 and width 1 if the uncertainty is right.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pull {
    /// Mean and width.
    pub residuals: Residuals,
    /// Events with a residual but without a positive uncertainty, left out.
    pub without_sigma: u64,
    /// The distribution of the pulls.
    pub histogram: Histogram,
}

/// Pulls of all reconstructed quantities.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pulls {
    /// Vertex.
    pub x: Pull,
    /// Vertex.
    pub y: Pull,
    /// Vertex.
    pub z: Pull,
    /// Time, minus the mean offset of all events: the origin of time is a convention.
    pub time: Pull,
    /// Energy.
    pub energy: Pull,
}

impl Pulls {
    /// Computes the pulls of `pairs`.
    #[must_use]
    pub fn from_pairs(pairs: &[Pair]) -> Self {
        let times_ns = ascending(pairs.iter().filter_map(Pair::time_ns));
        let offset_ns = times_ns.iter().sum::<f64>() / times_ns.len() as f64;
        Self {
            x: pull(pairs, |p| (p.found.x_mm - p.truth.x_mm, p.found.x_sigma_mm)),
            y: pull(pairs, |p| (p.found.y_mm - p.truth.y_mm, p.found.y_sigma_mm)),
            z: pull(pairs, |p| (p.found.z_mm - p.truth.z_mm, p.found.z_sigma_mm)),
            time: pull(pairs, |p| {
                let residual_ns = p.found.time_ns - p.truth.time_ns - offset_ns;
                (residual_ns, p.found.time_sigma_ns)
            }),
            energy: pull(pairs, |p| {
                let residual_mev = p.found.energy_mev - p.truth.energy_mev;
                (residual_mev, p.found.energy_sigma_mev)
            }),
        }
    }
}

fn pull(pairs: &[Pair], of: impl Fn(&Pair) -> (f64, f64)) -> Pull {
    let known: Vec<(f64, f64)> = pairs
        .iter()
        .map(of)
        .filter(|(residual, _)| residual.is_finite())
        .collect();
    let pulls: Vec<f64> = known
        .iter()
        .filter(|(_, sigma)| *sigma > 0.0 && sigma.is_finite())
        .map(|(residual, sigma)| residual / sigma)
        .filter(|pull| pull.is_finite())
        .collect();
    Pull {
        without_sigma: (known.len() - pulls.len()) as u64,
        histogram: Histogram::new(&pulls, -5.0, 5.0, 50),
        residuals: Residuals::from_values(pulls),
    }
}
