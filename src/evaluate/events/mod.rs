//! Reconstructed events compared with true ones.
//!
//! [`join`] puts both together; [`metrics`], [`uniformity`] and [`fit`] are pure functions of the joined events, in the
//! bins of [`bins`] and with the statistics of [`residuals`]; [`report`] is their part of the table.

pub mod bins;
pub mod fit;
pub mod join;
pub mod metrics;
pub mod report;
pub mod residuals;
pub mod uniformity;

use std::path::Path;

use serde::Serialize;

use bins::{Binned, Binning, joined};
use join::{EventCounts, JoinedEvents, Pair};
use metrics::{ByBin, EnergyMetrics, FitResult, Pulls, VertexMetrics};
use residuals::{Histogram, Residuals};
use uniformity::UniformityResult;

/// The events of one reconstruction compared with the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventResult {
    /// Name in the table and in the plots.
    pub label: String,
    /// The output folder, as given.
    pub dir: String,
    /// Numbers of what was compared, and of what could not be.
    pub counts: EventCounts,
    /// The bins.
    pub binning: Binning,
    /// Reconstructed minus true vertex.
    pub vertex: ByBin<VertexMetrics>,
    /// Reconstructed minus true distance from the centre in mm, of events with the true vertex within the fiducial radius.
    pub radial_fiducial_mm: Residuals,
    /// Reconstructed minus true time in ns. Each counts from the origin of its own file, so that the mean is a convention.
    pub time_ns: ByBin<Residuals>,
    /// Reconstructed over true energy.
    pub energy: ByBin<EnergyMetrics>,
    /// The fitted curve of resolution against energy.
    pub resolution_fit: FitResult,
    /// Dependence of the energy scale on the position.
    pub uniformity: UniformityResult,
    /// Residuals divided by their uncertainties.
    pub pulls: Pulls,
    /// Distributions of the residuals.
    pub histograms: Histograms,
    /// The bins of the pictures, not in the JSON.
    #[serde(skip)]
    pub joined_bins: JoinedBins,
}

/// Vertex and energy in bins of at least 20 events, where there are so many: neighbours are joined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JoinedBins {
    /// Vertex by true distance from the centre.
    pub vertex_by_radius: Vec<Binned<VertexMetrics>>,
    /// Vertex by the cosine of the true polar angle.
    pub vertex_by_cos_theta: Vec<Binned<VertexMetrics>>,
    /// Energy by true distance from the centre.
    pub energy_by_radius: Vec<Binned<EnergyMetrics>>,
}

impl JoinedBins {
    fn new(pairs: &[Pair], binning: &Binning) -> Self {
        let with = |is_known: &dyn Fn(&Pair) -> bool| -> Vec<Pair> {
            pairs
                .iter()
                .filter(|pair| is_known(pair))
                .copied()
                .collect()
        };
        let vertices = with(&|pair| pair.offset_mm().is_some());
        let energies = with(&|pair| pair.response().is_some());
        let (radii, cosines) = (&binning.radius_edges_mm, &binning.cos_theta_edges);
        let vertex = VertexMetrics::from_pairs;
        Self {
            vertex_by_radius: joined(radii, &vertices, Pair::true_radius_mm, vertex),
            vertex_by_cos_theta: joined(cosines, &vertices, Pair::true_cos_theta, vertex),
            energy_by_radius: joined(
                radii,
                &energies,
                Pair::true_radius_mm,
                EnergyMetrics::from_pairs,
            ),
        }
    }
}

/// Histograms of the residuals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histograms {
    /// Reconstructed minus true x.
    pub x_mm: Histogram,
    /// Reconstructed minus true y.
    pub y_mm: Histogram,
    /// Reconstructed minus true z.
    pub z_mm: Histogram,
    /// Reconstructed minus true time.
    pub time_ns: Histogram,
    /// Reconstructed over true energy, minus 1.
    pub energy: Histogram,
}

impl EventResult {
    /// Computes all results of one reconstruction.
    #[must_use]
    pub fn evaluate(label: String, dir: &Path, joined: &JoinedEvents, binning: &Binning) -> Self {
        let pairs = joined.pairs.as_slice();
        let time = |pairs: &[Pair]| Residuals::from_values(pairs.iter().filter_map(Pair::time_ns));
        let energy = ByBin::new(pairs, binning, EnergyMetrics::from_pairs);
        Self {
            label,
            dir: dir.display().to_string(),
            counts: joined.counts.clone(),
            binning: binning.clone(),
            vertex: ByBin::new(pairs, binning, VertexMetrics::from_pairs),
            radial_fiducial_mm: Residuals::from_values(
                pairs
                    .iter()
                    .filter(|pair| pair.true_radius_mm() < binning.fiducial_mm)
                    .filter_map(Pair::radial_mm),
            ),
            time_ns: ByBin::new(pairs, binning, time),
            resolution_fit: FitResult::new(&energy),
            energy,
            uniformity: uniformity::evaluate(pairs, binning),
            pulls: Pulls::from_pairs(pairs),
            histograms: Histograms::from_pairs(pairs),
            joined_bins: JoinedBins::new(pairs, binning),
        }
    }
}

impl Histograms {
    fn from_pairs(pairs: &[Pair]) -> Self {
        let offsets: Vec<[f64; 3]> = pairs.iter().filter_map(Pair::offset_mm).collect();
        // The three axes share their bins, those of the widest.
        let all: Vec<f64> = offsets.iter().flatten().copied().collect();
        let common = Histogram::around(&all);
        let along = |axis: usize| {
            let values: Vec<f64> = offsets.iter().map(|offset| offset[axis]).collect();
            let bins = common.counts.len();
            let high = common.low + common.step * bins as f64;
            Histogram::new(&values, common.low, high, bins)
        };
        let times_ns: Vec<f64> = pairs.iter().filter_map(Pair::time_ns).collect();
        let responses: Vec<f64> = pairs
            .iter()
            .filter_map(|pair| Some(pair.response()? - 1.0))
            .collect();
        Self {
            x_mm: along(0),
            y_mm: along(1),
            z_mm: along(2),
            time_ns: Histogram::around(&times_ns),
            energy: Histogram::around(&responses),
        }
    }
}
