//! The bins of energy, radius and polar angle, chosen from the truth, so that all reconstructions share them.

use serde::Serialize;

use super::join::Pair;
use crate::evaluate::stats::bin_of;
use crate::math;
use crate::model::TrueEvent;

/// Maximum number of different energies that get a group each.
const MAX_ENERGIES: usize = 20;
/// Bins of energies where they are all different.
const ENERGY_BINS: usize = 12;
/// Events a group should have.
const EVENTS_PER_BIN: usize = 20;
/// Edges of the bins of radius, as shares of the volume: equal volumes, finer at the edge.
const VOLUME_EDGES: [f64; 14] = [
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.925, 0.95, 0.975, 1.0,
];
/// Bins of the polar angle's cosine.
const COS_BINS: u32 = 10;
/// Radius of the fiducial volume relative to the scintillator's where it is known (16 m of 17.7 m)...
const FIDUCIAL_OF_SCINTILLATOR: f64 = 16_000.0 / 17_700.0;
/// ...and to the largest true radius where it is not.
const FIDUCIAL_OF_LARGEST: f64 = 0.9;

/// The bins.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Binning {
    /// Radius that counts as the detector's: the scintillator's, else the largest true radius.
    pub radius_mm: f64,
    /// Radius of the fiducial volume.
    pub fiducial_mm: f64,
    /// True if each energy has a group of its own.
    pub energies_are_distinct: bool,
    /// Edges of the groups of energy, ascending; the outer ones are open (`null` in JSON).
    pub energy_edges_mev: Vec<f64>,
    /// Edges of the bins of radius, ascending.
    pub radius_edges_mm: Vec<f64>,
    /// Edges of the bins of the cosine of the polar angle.
    pub cos_theta_edges: Vec<f64>,
}

/// The results of one bin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Binned<T> {
    /// Lower end; `null` in JSON where the bin is open.
    pub low: f64,
    /// Upper end; `null` in JSON where the bin is open.
    pub high: f64,
    /// Mean of the quantity in the bin; NaN (`null`) in an empty one.
    pub mean: f64,
    /// The results.
    #[serde(flatten)]
    pub metrics: T,
}

impl Binning {
    /// Chooses the bins for `truth`, given the radii that are known.
    #[must_use]
    pub fn from_truth(
        truth: &[TrueEvent],
        scintillator_mm: Option<f64>,
        fiducial_mm: Option<f64>,
    ) -> Self {
        let largest_mm = truth
            .iter()
            .map(|event| math::hypot(math::hypot(event.x_mm, event.y_mm), event.z_mm))
            .filter(|radius| radius.is_finite())
            .fold(0.0, f64::max);
        let radius_mm = scintillator_mm.unwrap_or(largest_mm);
        // All events at the centre still need a bin.
        let radius_mm = if radius_mm > 0.0 { radius_mm } else { 1.0 };
        let fiducial_mm = fiducial_mm.unwrap_or(match scintillator_mm {
            Some(scintillator_mm) => FIDUCIAL_OF_SCINTILLATOR * scintillator_mm,
            None => FIDUCIAL_OF_LARGEST * radius_mm,
        });
        let mut radius_edges_mm = VOLUME_EDGES
            .map(|share| radius_mm * math::cbrt(share))
            .to_vec();
        if let Some(last) = radius_edges_mm.last_mut() {
            // The outermost true event belongs to the last bin, not beyond it.
            *last = last.max(largest_mm) * (1.0 + 1e-9);
        }
        let (energies_are_distinct, energy_edges_mev) = energy_edges(truth);
        Self {
            radius_mm,
            fiducial_mm,
            energies_are_distinct,
            energy_edges_mev,
            radius_edges_mm,
            cos_theta_edges: cos_edges(COS_BINS as usize),
        }
    }

    /// Returns `metrics` of the events in each bin of true energy.
    pub fn by_energy<T>(&self, pairs: &[Pair], metrics: impl Fn(&[Pair]) -> T) -> Vec<Binned<T>> {
        let energy = |pair: &Pair| pair.truth.energy_mev;
        binned(&self.energy_edges_mev, pairs, energy, metrics)
    }

    /// Returns `metrics` of the events in each bin of true radius.
    pub fn by_radius<T>(&self, pairs: &[Pair], metrics: impl Fn(&[Pair]) -> T) -> Vec<Binned<T>> {
        binned(&self.radius_edges_mm, pairs, Pair::true_radius_mm, metrics)
    }

    /// Returns `metrics` of the events in each bin of the cosine of the true polar angle.
    pub fn by_cos_theta<T>(
        &self,
        pairs: &[Pair],
        metrics: impl Fn(&[Pair]) -> T,
    ) -> Vec<Binned<T>> {
        binned(&self.cos_theta_edges, pairs, Pair::true_cos_theta, metrics)
    }
}

/// Returns `metrics` of the events in bins of `edges`, neighbours of which are joined until each has enough events for a
/// picture.
pub(super) fn joined<T>(
    edges: &[f64],
    pairs: &[Pair],
    quantity: impl Fn(&Pair) -> f64,
    metrics: impl Fn(&[Pair]) -> T,
) -> Vec<Binned<T>> {
    let mut kept: Vec<f64> = edges.iter().copied().take(1).collect();
    let mut n = 0;
    for edge in edges.windows(2) {
        let inside = |pair: &&Pair| (edge[0]..edge[1]).contains(&quantity(pair));
        n += pairs.iter().filter(inside).count();
        if n >= EVENTS_PER_BIN {
            kept.push(edge[1]);
            n = 0;
        }
    }
    if kept.last() != edges.last() {
        // The rest joins the bin before it, if there is one.
        if kept.len() > 1 {
            kept.pop();
        }
        kept.extend(edges.last());
    }
    binned(&kept, pairs, quantity, metrics)
}

/// Returns the edges of `n` bins of the cosine; the last is a little above 1, so that the pole itself is in a bin.
#[must_use]
pub fn cos_edges(n: usize) -> Vec<f64> {
    let n = n.max(1);
    (0..=n)
        .map(|k| {
            if k == n {
                1.0 + 1e-9
            } else {
                -1.0 + 2.0 * k as f64 / n as f64
            }
        })
        .collect()
}

/// Returns one group per energy if there are few different ones, with the edges half-way between them; else bins of equal
/// numbers of events.
fn energy_edges(truth: &[TrueEvent]) -> (bool, Vec<f64>) {
    let mut energies: Vec<f64> = truth
        .iter()
        .map(|event| event.energy_mev)
        .filter(|energy| energy.is_finite() && *energy > 0.0)
        .collect();
    energies.sort_by(f64::total_cmp);
    let mut distinct = energies.clone();
    // Energies that differ only in the seventh digit are taken as equal.
    distinct.dedup_by(|next, before| *next - *before <= 1e-6 * *before);
    let are_distinct = distinct.len() <= MAX_ENERGIES
        && (distinct.len() == 1 || energies.len() >= EVENTS_PER_BIN / 4 * distinct.len());
    let inner: Vec<f64> = if are_distinct {
        distinct
            .windows(2)
            .map(|pair| pair.iter().sum::<f64>() / 2.0)
            .collect()
    } else {
        let bins = (energies.len() / EVENTS_PER_BIN).clamp(1, ENERGY_BINS);
        (1..bins)
            .filter_map(|bin| energies.get(bin * energies.len() / bins).copied())
            .collect()
    };
    let mut edges = vec![0.0];
    edges.extend(inner);
    edges.push(f64::INFINITY);
    edges.dedup();
    (are_distinct, edges)
}

fn binned<T>(
    edges: &[f64],
    pairs: &[Pair],
    quantity: impl Fn(&Pair) -> f64,
    metrics: impl Fn(&[Pair]) -> T,
) -> Vec<Binned<T>> {
    let mut bins = vec![(0.0, Vec::new()); edges.len().saturating_sub(1)];
    for pair in pairs {
        let value = quantity(pair);
        if let Some((sum, own)) = bin_of(edges, value).and_then(|bin| bins.get_mut(bin)) {
            *sum += value;
            own.push(*pair);
        }
    }
    edges
        .windows(2)
        .zip(bins)
        .map(|(edge, (sum, own))| Binned {
            low: edge[0],
            high: edge[1],
            mean: sum / own.len() as f64,
            metrics: metrics(&own),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(energy_mev: f64, z_mm: f64) -> TrueEvent {
        TrueEvent {
            z_mm,
            energy_mev,
            ..TrueEvent::default()
        }
    }

    #[test]
    fn few_energies_get_a_group_each() {
        let truth: Vec<_> = (0..40)
            .map(|k| at([1.0, 3.0][k % 2], 10.0 * k as f64))
            .collect();
        let binning = Binning::from_truth(&truth, None, None);
        assert!(binning.energies_are_distinct);
        assert_eq!(binning.energy_edges_mev, [0.0, 2.0, f64::INFINITY]);
        assert_eq!(binning.radius_mm, 390.0);
        assert!((binning.fiducial_mm - 351.0).abs() < 1e-9);
        assert!(bin_of(&binning.radius_edges_mm, 390.0).is_some());
        assert!(bin_of(&binning.cos_theta_edges, 1.0).is_some());
    }

    #[test]
    fn bins_of_a_picture_have_enough_events() {
        let found = crate::model::Event::default();
        let pair = |z_mm: f64| Pair {
            truth: at(1.0, z_mm),
            found,
        };
        let pairs: Vec<_> = (0..130).map(|k| pair(f64::from(k))).collect();
        let edges = [0.0, 50.0, 60.0, 75.0, 100.0, 110.0, 120.0, 130.0];
        let counts = |pairs: &[Pair]| -> Vec<(f64, f64, usize)> {
            let bins = joined(&edges, pairs, Pair::true_radius_mm, <[Pair]>::len);
            bins.iter()
                .map(|bin| (bin.low, bin.high, bin.metrics))
                .collect()
        };
        let expected = [
            (0.0, 50.0, 50),
            (50.0, 75.0, 25),
            (75.0, 100.0, 25),
            (100.0, 130.0, 30),
        ];
        assert_eq!(counts(&pairs), expected);
        assert_eq!(counts(&pairs[..5]), [(0.0, 130.0, 5)]);
    }

    #[test]
    fn many_energies_get_bins_of_equal_numbers() {
        let truth: Vec<_> = (1..=1000).map(|k| at(0.01 * f64::from(k), 0.0)).collect();
        let binning = Binning::from_truth(&truth, Some(17_700.0), None);
        assert!(!binning.energies_are_distinct);
        assert_eq!(binning.energy_edges_mev.len(), ENERGY_BINS + 1);
        assert_eq!(binning.fiducial_mm, 16_000.0);
    }
}
