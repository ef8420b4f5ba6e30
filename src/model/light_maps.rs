//! Light maps, time distributions and charge spectra of a detector's channels, as tables.
//!
//! `calibrate light` fills them, `io` keeps them in files, and the event fit evaluates them (`event`).

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
    /// Where the readout window ends; it begins at 0.
    pub window_ns: f64,
    /// How long light takes.
    pub flight: LightSpeed,
    /// How much of two neighbouring photoelectrons' time a hit covers.
    pub separation_ns: f64,
    /// Centroid to vertex: the vertex is `seed[0] + seed[1] c^2` times the centroid, `c` its length over `R`.
    pub seed: [f64; 2],
    /// Each type of PMT, as the detector lists them.
    pub types: Vec<TypeLight>,
    /// Each channel, in the order of the sensors.
    pub channels: Vec<ChannelLight>,
    /// From the energy that is seen to that which was deposited.
    pub energy: EnergyScale,
}

/// Light tables of one type of PMT.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeLight {
    /// Name of the type.
    pub name: String,
    /// Logarithm of the photoelectrons for 1 MeV in a PMT of efficiency 1, times the square of the distance in m; a
    /// function of `(r / R)^2` and the logarithm of the distance in mm.
    pub map: Surface,
    /// When they come.
    pub times: TimeTable,
    /// Their charges.
    pub charges: ChargeTable,
}

/// Light parameters of one channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelLight {
    /// Efficiency relative to its type; 0 for a channel that is dead.
    pub efficiency: f64,
    /// To be subtracted from its times.
    pub time_offset_ns: f64,
    /// Dark photoelectrons a ns.
    pub dark_per_ns: f64,
}

/// How long light takes, as calibration found it. Refraction bends the way a little; what that changes is in the time
/// distributions, which are learnt after this time is subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LightSpeed {
    /// Radius of the scintillator; `None`: one medium everywhere.
    pub radius_mm: Option<f64>,
    /// In the scintillator.
    pub inner_ns_per_mm: f64,
    /// Outside it.
    pub outer_ns_per_mm: f64,
}

/// One axis: `intervals` pieces of equal length from `low` to `high`. A cubic spline on it has `intervals + 3`
/// coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplineAxis {
    /// Where the first piece begins.
    pub low: f64,
    /// Where the last piece ends.
    pub high: f64,
    /// Number of pieces.
    pub intervals: usize,
}

impl SplineAxis {
    /// Number of splines.
    #[must_use]
    pub fn splines(&self) -> usize {
        self.intervals + 3
    }
}

/// A function of `u` and `v`: `sum_ij c_ij B_i(u) B_j(v)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Surface {
    /// First number.
    pub u: SplineAxis,
    /// Second number.
    pub v: SplineAxis,
    /// `c_ij`, `u.splines()` rows of `v.splines()`.
    pub coefficients: Vec<f64>,
}

/// Where times begin and how they are binned: values `STEP_NS` apart from `FROM_NS` on.
pub const FROM_NS: f64 = -50.0;

/// Interval of the table.
pub const STEP_NS: f64 = 0.5;

/// One axis of nodes, equally far apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nodes {
    /// The first node.
    pub low: f64,
    /// The last node.
    pub high: f64,
    /// Number of nodes, at least two.
    pub count: usize,
}

/// Distributions of one type of PMT.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeTable {
    /// Nodes in `(r / R)^2`.
    pub u: Nodes,
    /// Nodes in the logarithm of the distance in mm.
    pub v: Nodes,
    /// Values of a node's table.
    pub(crate) times: usize,
    /// The densities as given.
    pub(crate) given: Vec<Vec<f64>>,
    /// For each node (`u` major), `times` pairs: the density per ns, and `F` half a step before. Half of the usual
    /// precision keeps more of it in the processor's memory.
    pub(crate) table: Vec<[f32; 2]>,
}

impl TimeTable {
    /// From densities: for each node (`u` major) `times` values, 0 or more. Each is scaled to an integral of 1. `None`
    /// if the numbers do not fit together or a node has no light.
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

    /// The densities that this table was made from, node after node.
    #[must_use]
    pub fn densities(&self) -> &[Vec<f64>] {
        &self.given
    }

    /// Where the table ends.
    #[must_use]
    pub fn end_ns(&self) -> f64 {
        FROM_NS + STEP_NS * (self.times - 1) as f64
    }
}

/// Charges in the table of few photoelectrons are this far apart.
pub const STEP_PE: f64 = 0.05;

/// Most photoelectrons that are in the table; more are Gaussian.
pub(crate) const MAX_TABLE_PE: usize = 8;

/// Charges in the table.
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
    /// From the spectrum of single photoelectrons, densities per PE at `k STEP_PE`. `None` if it is empty or not finite.
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

    /// The spectrum this was made from.
    #[must_use]
    pub fn single(&self) -> &[f64] {
        &self.single
    }

    /// Mean charge of a photoelectron.
    #[must_use]
    pub fn mean_pe(&self) -> f64 {
        self.mean_pe
    }
}

/// From the energy that is seen to the energy that was deposited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EnergyScale {
    /// Deposited energies, ascending.
    pub deposited_mev: Vec<f64>,
    /// Visible energies of them, ascending, of the same length. Empty: equal to the deposited ones.
    pub visible_mev: Vec<f64>,
    /// Ratio of the fitted to the true energy, as a polynomial in `(r / R)^2` and `z / R`: the sum of
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

    /// The powers of a place.
    #[must_use]
    pub fn terms(u: f64, z: f64) -> [f64; 9] {
        Self::POWERS.map(|(i, j)| u.powi(i) * z.powi(j))
    }

    /// Energy deposited where `visible_mev` is seen, and its change with it. Beyond the energies that were calibrated
    /// the ratio of the two stays that of the end.
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
        let width = (seen[high] / seen[low]).ln();
        let t = (visible_mev / seen[low]).ln() / width;
        let ratio = left + t * (right - left);
        (visible_mev * ratio, ratio + (right - left) / width)
    }

    /// Returns the ratio of the fitted to the true energy at a position.
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
