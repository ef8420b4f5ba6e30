//! Reconstructed events against true ones.
//!
//! [`join`] puts both together; [`figures`], [`uniformity`] and [`fit`] are pure functions of the joined events, in the
//! bins of [`bins`] and with the statistics of [`spread`]; [`report`] is their part of the table.

pub mod bins;
pub mod figures;
pub mod fit;
pub mod join;
pub mod report;
pub mod spread;
pub mod uniformity;

use std::path::Path;

use serde::Serialize;

use bins::Binning;
use figures::{ByBin, EnergyFigures, FitResult, Pulls, VertexFigures};
use join::{EventCounts, JoinedEvents, Pair};
use spread::{Histogram, Residuals};
use uniformity::UniformityResult;

/// The events of one reconstruction against the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventMethod {
    /// Name in the table and in the plots.
    pub label: String,
    /// The output folder, as given.
    pub dir: String,
    /// How many of what were compared, and what could not be.
    pub counts: EventCounts,
    /// The bins.
    pub binning: Binning,
    /// Vertex, found less true.
    pub vertex: ByBin<VertexFigures>,
    /// Found less true distance from the centre, of events whose true vertex is within the fiducial radius, in mm.
    pub radial_fiducial_mm: Residuals,
    /// Time in ns, found less true. Both count from where their file says, so that the mean is a convention.
    pub time_ns: ByBin<Residuals>,
    /// Energy, found over true.
    pub energy: ByBin<EnergyFigures>,
    /// Resolution against energy as a curve.
    pub resolution_fit: FitResult,
    /// How the energy scale depends on the place.
    pub uniformity: UniformityResult,
    /// Residuals over their uncertainties.
    pub pulls: Pulls,
    /// How the residuals are distributed.
    pub histograms: Histograms,
}

/// Histograms of the residuals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histograms {
    /// Found less true x.
    pub x_mm: Histogram,
    /// Found less true y.
    pub y_mm: Histogram,
    /// Found less true z.
    pub z_mm: Histogram,
    /// Found less true time.
    pub time_ns: Histogram,
    /// Found over true energy, less 1.
    pub energy: Histogram,
}

impl EventMethod {
    /// Computes all figures of one reconstruction.
    #[must_use]
    pub fn evaluate(label: String, dir: &Path, joined: &JoinedEvents, binning: &Binning) -> Self {
        let pairs = joined.pairs.as_slice();
        let time = |pairs: &[Pair]| Residuals::of(pairs.iter().filter_map(Pair::time_ns));
        let energy = ByBin::of(pairs, binning, EnergyFigures::of);
        Self {
            label,
            dir: dir.display().to_string(),
            counts: joined.counts.clone(),
            binning: binning.clone(),
            vertex: ByBin::of(pairs, binning, VertexFigures::of),
            radial_fiducial_mm: Residuals::of(
                pairs
                    .iter()
                    .filter(|pair| pair.true_radius_mm() < binning.fiducial_mm)
                    .filter_map(Pair::radial_mm),
            ),
            time_ns: ByBin::of(pairs, binning, time),
            resolution_fit: FitResult::of(&energy),
            energy,
            uniformity: uniformity::evaluate(pairs, binning),
            pulls: Pulls::of(pairs),
            histograms: Histograms::of(pairs),
        }
    }
}

impl Histograms {
    fn of(pairs: &[Pair]) -> Self {
        let offsets: Vec<[f64; 3]> = pairs.iter().filter_map(Pair::offset_mm).collect();
        // The three axes share their bins, those of the widest.
        let all: Vec<f64> = offsets.iter().flatten().copied().collect();
        let common = Histogram::around(&all);
        let along = |axis: usize| {
            let values: Vec<f64> = offsets.iter().map(|offset| offset[axis]).collect();
            let bins = common.counts.len();
            let high = common.low + common.step * bins as f64;
            Histogram::of(&values, common.low, high, bins)
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
