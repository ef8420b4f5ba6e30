//! Light maps, time distributions and charge spectra of a detector's channels, as tables.
//!
//! `calibrate light` fills them, `io` keeps them in files, and the event fit evaluates them (`event`).

use crate::math;
use serde::{Deserialize, Serialize};

/// Light maps, time distributions and channels' constants of one detector, as files hold them.
#[derive(Clone, Debug, PartialEq)]
pub struct LightTables {
    /// The detector's name.
    pub detector: String,
    /// Its sensors' [`crc32c`](crate::detector::Sensors::crc32c).
    pub geometry_crc32c: u32,
    /// Radius `R` that the maps are scaled with: that of the scintillator.
    pub radius_mm: f64,
    /// End of the readout window, which begins at 0.
    pub window_ns: f64,
    /// Time of flight.
    pub flight: LightSpeed,
    /// Time over which neighbouring photoelectrons merge into one hit.
    pub separation_ns: f64,
    /// Centroid to vertex: the vertex is `seed[0] + seed[1] c^2` times the centroid, `c` its length over `R`.
    pub seed: [f64; 2],
    /// Each type of PMT, as the detector lists them.
    pub types: Vec<TypeLight>,
    /// Each channel, in the order of the sensors.
    pub channels: Vec<ChannelLight>,
    /// Conversion of visible to deposited energy.
    pub energy: EnergyScale,
}

/// Light map, times and charges of one type of PMT.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeLight {
    /// Name of the type.
    pub name: String,
    /// Logarithm of the photoelectrons for 1 MeV in a PMT of efficiency 1, times the square of the distance in m; a
    /// function of `(r / R)^2` and the logarithm of the distance in mm.
    pub map: Surface,
    /// Distribution of their times.
    pub times: TimeTable,
    /// Distribution of their charges.
    pub charges: ChargeTable,
}

/// Constants of one channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelLight {
    /// Efficiency relative to its type; 0 for a channel that is dead.
    pub efficiency: f64,
    /// Time to subtract from its hits.
    pub time_offset_ns: f64,
    /// Dark photoelectrons per ns.
    pub dark_per_ns: f64,
}

/// Time of flight of light. The small effect of refraction is part of the time distributions, which are measured after
/// this time is subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LightSpeed {
    /// Radius of the scintillator; `None`: one medium everywhere.
    pub radius_mm: Option<f64>,
    /// Inverse speed in the scintillator.
    pub inner_ns_per_mm: f64,
    /// Inverse speed outside it.
    pub outer_ns_per_mm: f64,
}

/// An axis of splines: `intervals` pieces of equal length from `low` to `high`. A cubic spline on it has `intervals + 3`
/// coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplineAxis {
    /// Start of the first piece.
    pub low: f64,
    /// End of the last piece.
    pub high: f64,
    /// Number of pieces.
    pub intervals: usize,
}

impl SplineAxis {
    /// Returns the number of splines.
    #[must_use]
    pub fn splines(&self) -> usize {
        self.intervals + 3
    }
}

/// A function of `u` and `v`: `sum_ij c_ij B_i(u) B_j(v)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Surface {
    /// First variable.
    pub u: SplineAxis,
    /// Second variable.
    pub v: SplineAxis,
    /// `c_ij`, `u.splines()` rows of `v.splines()`.
    pub coefficients: Vec<f64>,
}

/// First time of a [`TimeTable`]; its values are `STEP_NS` apart.
pub const FROM_NS: f64 = -50.0;

/// Interval of a [`TimeTable`].
pub const STEP_NS: f64 = 0.5;

/// An axis of equidistant nodes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nodes {
    /// The first node.
    pub low: f64,
    /// The last node.
    pub high: f64,
    /// Number of nodes, at least two.
    pub count: usize,
}

/// Time distributions of one type of PMT.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeTable {
    /// Nodes in `(r / R)^2`.
    pub u: Nodes,
    /// Nodes in the logarithm of the distance in mm.
    pub v: Nodes,
    /// Values per node.
    pub(crate) times: usize,
    /// The densities as given to [`new`](Self::new).
    pub(crate) given: Vec<Vec<f64>>,
    /// For each node (`u` major), `times` pairs: the density per ns, and its integral half a step before. Single precision
    /// keeps more of it in the processor's caches.
    pub(crate) table: Vec<[f32; 2]>,
}

impl TimeTable {
    /// Creates a table of densities: for each node (`u` major) the same number of values, 0 or more, which are scaled to an
    /// integral of 1. Returns `None` if the numbers are inconsistent or a node has no light.
    #[must_use]
    pub fn new(u: Nodes, v: Nodes, densities: &[Vec<f64>]) -> Option<Self> {
        let times = densities.first()?.len();
        if u.count < 2 || v.count < 2 || densities.len() != u.count * v.count || times < 4 {
            return None;
        }
        let mut table = Vec::with_capacity(times * densities.len());
        for node in densities {
            if node.len() != times || node.iter().any(|s| !(s.is_finite() && *s >= 0.0)) {
                return None;
            }
            // A spline's integral is one step; two thirds of it lie within half a step, a sixth on both sides of that.
            let total = STEP_NS * node.iter().sum::<f64>();
            if total <= 0.0 {
                return None;
            }
            let mut before = 0.0;
            for k in 0..times {
                let left = if k == 0 { 0.0 } else { node[k - 1] };
                let edge = before + STEP_NS * (node[k] - left) / 6.0;
                table.push([(node[k] / total) as f32, (edge / total) as f32]);
                before += STEP_NS * node[k];
            }
        }
        Some(Self {
            u,
            v,
            times,
            given: densities.to_vec(),
            table,
        })
    }

    /// Returns the densities that this table was made from, node after node.
    #[must_use]
    pub fn densities(&self) -> &[Vec<f64>] {
        &self.given
    }

    /// Returns the end of the table.
    #[must_use]
    pub fn end_ns(&self) -> f64 {
        FROM_NS + STEP_NS * (self.times - 1) as f64
    }
}

/// Interval of the charges in a [`ChargeTable`].
pub const STEP_PE: f64 = 0.05;

/// Maximum number of photoelectrons in the table; charges of more are Gaussian.
pub(crate) const MAX_TABLE_PE: usize = 8;

/// Number of charges in the table.
pub(crate) const CHARGE_BINS: usize = 640;

/// Charge densities of one type of PMT.
#[derive(Clone, Debug, PartialEq)]
pub struct ChargeTable {
    pub(crate) single: Vec<f64>,
    /// For 1 to `MAX_TABLE_PE` photoelectrons, densities at `k STEP_PE`.
    pub(crate) table: Vec<[f64; MAX_TABLE_PE]>,
    pub(crate) mean_pe: f64,
    pub(crate) variance: f64,
}

impl ChargeTable {
    /// Creates a table from the spectrum of single photoelectrons, densities per PE at `k STEP_PE`. Returns `None` if it is
    /// empty or not finite.
    #[must_use]
    pub fn new(single: &[f64]) -> Option<Self> {
        let total: f64 = single.iter().sum::<f64>() * STEP_PE;
        if single.len() > CHARGE_BINS
            || single.iter().any(|f| !(f.is_finite() && *f >= 0.0))
            || total <= 0.0
        {
            return None;
        }
        let mut one = vec![0.0; CHARGE_BINS];
        for (bin, density) in one.iter_mut().zip(single) {
            *bin = density / total;
        }
        let charge = |k: usize| k as f64 * STEP_PE;
        let mean_pe: f64 = one
            .iter()
            .enumerate()
            .map(|(k, f)| f * charge(k) * STEP_PE)
            .sum();
        let variance: f64 = one
            .iter()
            .enumerate()
            .map(|(k, f)| f * (charge(k) - mean_pe).powi(2) * STEP_PE)
            .sum();
        let mut table = vec![[0.0; MAX_TABLE_PE]; CHARGE_BINS];
        let mut current = one.clone();
        for n in 0..MAX_TABLE_PE {
            for (row, density) in table.iter_mut().zip(&current) {
                row[n] = *density;
            }
            let mut next = vec![0.0; CHARGE_BINS];
            for (k, density) in current.iter().enumerate().filter(|(_, f)| **f > 0.0) {
                for (sum, f) in next[k..].iter_mut().zip(&one) {
                    *sum += density * f * STEP_PE;
                }
            }
            current = next;
        }
        Some(Self {
            single: single.to_vec(),
            table,
            mean_pe,
            variance: variance.max(1e-4),
        })
    }

    /// Returns the spectrum that this table was made from.
    #[must_use]
    pub fn single(&self) -> &[f64] {
        &self.single
    }

    /// Returns the mean charge of a photoelectron.
    #[must_use]
    pub fn mean_pe(&self) -> f64 {
        self.mean_pe
    }
}

/// Conversion of visible to deposited energy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EnergyScale {
    /// Deposited energies, ascending.
    pub deposited_mev: Vec<f64>,
    /// The visible energies of these, ascending; equally many. Empty if visible and deposited energy are the same.
    pub visible_mev: Vec<f64>,
    /// Ratio of fitted to true energy, as a polynomial in `(r / R)^2` and `z / R`: the sum of
    /// `c (r / R)^(2 i) (z / R)^j` over the [`terms`](EnergyScale::terms).
    pub response: Vec<f64>,
}

impl EnergyScale {
    /// The powers `(i, j)` of the response's terms, in their order.
    pub const POWERS: [(i32, i32); 9] = [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 0),
        (5, 0),
        (8, 0),
        (0, 1),
        (1, 1),
        (2, 1),
    ];

    /// Returns the terms at a position.
    #[must_use]
    pub fn terms(u: f64, z: f64) -> [f64; 9] {
        Self::POWERS.map(|(i, j)| u.powi(i) * z.powi(j))
    }

    /// Returns the deposited energy of a visible energy, and its derivative. Beyond the calibrated energies the ratio of the
    /// two is that of the end.
    #[must_use]
    pub fn deposited(&self, visible_mev: f64) -> (f64, f64) {
        let (seen, there) = (&self.visible_mev, &self.deposited_mev);
        let n = seen.len().min(there.len());
        if n == 0 {
            return (visible_mev, 1.0);
        }
        let above = seen[..n].partition_point(|&seen| seen < visible_mev);
        if above == 0 || above == n {
            let end = above.min(n - 1);
            let ratio = there[end] / seen[end];
            return (visible_mev * ratio, ratio);
        }
        // The ratio is linear in the logarithm of the energy: it changes fast where energies are low.
        let (low, high) = (above - 1, above);
        let (left, right) = (there[low] / seen[low], there[high] / seen[high]);
        let width = math::ln(seen[high] / seen[low]);
        let t = math::ln(visible_mev / seen[low]) / width;
        let ratio = left + t * (right - left);
        (visible_mev * ratio, ratio + (right - left) / width)
    }

    /// Returns the ratio of fitted to true energy at a position.
    #[must_use]
    pub fn response_at(&self, u: f64, z: f64) -> f64 {
        if self.response.is_empty() {
            return 1.0;
        }
        self.response
            .iter()
            .zip(Self::terms(u, z))
            .map(|(c, term)| c * term)
            .sum()
    }
}
