//! Non-uniformity of the energy scale: the spread of the mean response over parts of equal volume.

use serde::Serialize;

use super::bins::{Binning, cos_edges};
use super::join::Pair;
use crate::evaluate::stats::{Estimate, SampleStats, bin_of};

/// Average number of events per part; fewer events give fewer parts.
const EVENTS_PER_CELL: usize = 30;
/// Minimum number of events of a part.
const MIN_EVENTS: u64 = 5;
/// Maximum number of shells of equal volume, and of bins of the cosine.
const MAX_SHELLS: usize = 10;
const MAX_COS_BINS: usize = 10;

/// Mean response in one part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Inner and outer radius to the third power, relative to the detector's.
    pub volume: (f64, f64),
    /// Range of the cosine of the polar angle.
    pub cos_theta: (f64, f64),
    /// Events.
    pub n: u64,
    /// Mean of found over true energy; `None` for too few events.
    pub response: Option<Estimate>,
}

/// The spread of the mean response over parts of equal volume.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NonUniformity {
    /// Parts with enough events.
    pub parts: u64,
    /// Parts with too few, left out.
    pub parts_left_out: u64,
    /// Relative spread of the means after subtraction of their statistical errors: `sqrt(max(0, spread^2 - mean error^2))`.
    /// Error: that of a variance of as many parts, `spread^2 sqrt(2 / (parts - 1))`, and its root if the difference is 0.
    pub spread: Estimate,
    /// The spread without this subtraction.
    pub spread_uncorrected: f64,
    /// Root of the mean square of the means' statistical errors, relative.
    pub statistical: f64,
    /// Largest relative deviation of a part from the mean of the parts, with its sign.
    pub largest_deviation: Estimate,
}

/// One region of the detector.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Region {
    /// Events with an energy.
    pub n: u64,
    /// Over shells of equal volume; `None` for fewer than two.
    pub by_radius: Option<NonUniformity>,
    /// Over parts of equal volume in radius and angle; `None` for fewer than two.
    pub by_cell: Option<NonUniformity>,
}

/// Non-uniformity of the whole, within the fiducial volume, and beyond.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UniformityResult {
    /// Up to the detector's radius.
    pub all: Region,
    /// Within the fiducial radius.
    pub inside: Region,
    /// Beyond it.
    pub beyond: Region,
    /// The parts of the whole, shell by shell from the centre.
    pub cells: Vec<Cell>,
}

/// Computes the non-uniformity from events that have an energy.
#[must_use]
pub fn evaluate(pairs: &[Pair], binning: &Binning) -> UniformityResult {
    let entries: Vec<Entry> = pairs
        .iter()
        .filter_map(|pair| {
            Some(Entry {
                volume: (pair.true_radius_mm() / binning.radius_mm).powi(3),
                cos_theta: pair.true_cos_theta(),
                response: pair.response()?,
            })
        })
        .collect();
    let border = (binning.fiducial_mm / binning.radius_mm).powi(3);
    let border = border.clamp(0.0, 1.0);
    let (all, cells) = region(&entries, 0.0, 1.0);
    UniformityResult {
        all,
        inside: region(&entries, 0.0, border).0,
        beyond: region(&entries, border, 1.0).0,
        cells,
    }
}

struct Entry {
    volume: f64,
    cos_theta: f64,
    response: f64,
}

fn region(entries: &[Entry], low: f64, high: f64) -> (Region, Vec<Cell>) {
    // The outermost event is on the edge, but for rounding.
    let high = if high == 1.0 { 1.0 + 1e-6 } else { high };
    let n = entries
        .iter()
        .filter(|entry| (low..high).contains(&entry.volume))
        .count();
    // A thin region has no need of many shells.
    let most = ((MAX_SHELLS as f64 * (high - low)).ceil() as usize).clamp(4, MAX_SHELLS);
    let shells = (n / EVENTS_PER_CELL).clamp(1, most);
    let angles = (n / EVENTS_PER_CELL / shells).clamp(1, MAX_COS_BINS);
    let whole = cells_of(entries, (low, high, shells), 1);
    let cells = cells_of(entries, (low, high, shells), angles);
    let region = Region {
        n: n as u64,
        by_radius: non_uniformity(&whole),
        by_cell: non_uniformity(&cells),
    };
    (region, cells)
}

fn cells_of(entries: &[Entry], (low, high, shells): (f64, f64, usize), angles: usize) -> Vec<Cell> {
    let volume_edges: Vec<f64> = (0..=shells)
        .map(|shell| low + (high - low) * shell as f64 / shells as f64)
        .collect();
    let cos_edges = cos_edges(angles);
    let mut responses = vec![Vec::new(); shells * angles];
    for entry in entries {
        let place = bin_of(&volume_edges, entry.volume).zip(bin_of(&cos_edges, entry.cos_theta));
        if let Some(own) =
            place.and_then(|(shell, angle)| responses.get_mut(shell * angles + angle))
        {
            own.push(entry.response);
        }
    }
    let places = volume_edges
        .windows(2)
        .flat_map(|shell| cos_edges.windows(2).map(move |angle| (shell, angle)));
    places
        .zip(responses)
        .map(|((shell, angle), own)| Cell {
            volume: (shell[0], shell[1]),
            cos_theta: (angle[0], angle[1]),
            n: own.len() as u64,
            response: SampleStats::from_values(&own)
                .filter(|spread| spread.n >= MIN_EVENTS)
                .map(|spread| spread.mean),
        })
        .collect()
}

/// The spread of the means of `cells`.
#[must_use]
pub fn non_uniformity(cells: &[Cell]) -> Option<NonUniformity> {
    let means: Vec<Estimate> = cells.iter().filter_map(|cell| cell.response).collect();
    let values: Vec<f64> = means.iter().map(|mean| mean.value).collect();
    let spread = SampleStats::from_values(&values).filter(|spread| spread.n > 1)?;
    let centre = spread.mean.value;
    if centre <= 0.0 {
        return None;
    }
    let parts = means.len() as f64;
    let uncorrected = spread.rms / centre;
    let noise = means.iter().map(|mean| mean.error.powi(2)).sum::<f64>() / parts / centre.powi(2);
    let left = (uncorrected.powi(2) - noise).max(0.0);
    let variance_error = uncorrected.powi(2) * (2.0 / (parts - 1.0)).sqrt();
    let value = left.sqrt();
    let largest = means.iter().max_by(|a, b| {
        (a.value - centre)
            .abs()
            .total_cmp(&(b.value - centre).abs())
    })?;
    Some(NonUniformity {
        parts: spread.n,
        parts_left_out: (cells.len() - means.len()) as u64,
        spread: Estimate {
            value,
            error: (variance_error / (2.0 * value)).min(variance_error.sqrt()),
        },
        spread_uncorrected: uncorrected,
        statistical: noise.sqrt(),
        largest_deviation: Estimate {
            value: largest.value / centre - 1.0,
            error: largest.error / centre,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(value: f64, error: f64) -> Cell {
        Cell {
            volume: (0.0, 1.0),
            cos_theta: (-1.0, 1.0),
            n: 100,
            response: Some(Estimate { value, error }),
        }
    }

    #[test]
    fn what_chance_makes_is_taken_off() {
        let exact = [cell(0.99, 0.0), cell(1.01, 0.0)];
        let found = non_uniformity(&exact).unwrap();
        assert!((found.spread.value - 0.01 * 2.0_f64.sqrt()).abs() < 1e-12);
        assert!((found.largest_deviation.value.abs() - 0.01).abs() < 1e-12);
        let noisy = [cell(0.99, 0.02), cell(1.01, 0.02), cell(1.0, 0.02)];
        let found = non_uniformity(&noisy).unwrap();
        assert_eq!(found.spread.value, 0.0);
        assert!((found.spread.error - 0.01).abs() < 1e-12);
        assert_eq!(non_uniformity(&exact[..1]), None);
    }
}
