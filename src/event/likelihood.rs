//! How likely an event's hits are for a vertex, a time and an energy, with the slopes.
//!
//! Light in channel `i` is a Poisson process of intensity `lambda_i(t) = E mu_i s_i(t - t0 - flight) + D_i`, `mu_i` the light
//! map, `s_i` the time distribution, `D_i` the dark rate; `Lambda` is its integral over the window. A hit finder sees the
//! time of the first photoelectron, later hits as far as they are apart, and the charge of all. With `t_1` the first
//! hit, `Q` the channel's charge, `f_n` the charge spectrum of `n` photoelectrons and `m = Lambda(t_1, end)`
//!
//! `L_i = exp(-Lambda) lambda(t_1) sum_{n >= 1} m^(n-1) / (n-1)! f_n(Q)`,
//!
//! which is QTMLE's product of the charge's probability and the first hit's time for each number of photoelectrons
//! (arXiv:2211.16768), summed over the number exactly; a channel without hits has `exp(-Lambda)`. Each later hit adds where it
//! is, given that there is one after the hit before has ended at `e`:
//! `lambda(t_k) exp(-Lambda(e, t_k)) / (1 - exp(-Lambda(e, end)))`.
//! All `exp(-Lambda)` together are known without going through the channels, so that only those with hits cost time.

use super::Method;
use super::light::LightModel;
use super::prepare::{Prepared, Seen};
use super::vector::{Vector, norm};

/// Number of parameters: x, y, z in mm, t in ns, the logarithm of the energy in MeV.
pub(super) const N: usize = 5;
/// A point of the fit.
pub(super) type Point = [f64; N];
/// Symmetric, full.
pub(super) type Matrix = [[f64; N]; N];

/// Beyond the scintillator the likelihood falls as a Gaussian of this width: a fit needs somewhere to come back from.
const WALL_MM: f64 = 20.0;
/// Standard deviation of a time that is read off the peak of the hits: that of an even distribution over its 4 ns.
const PEAK_SIGMA_NS: f64 = 1.15;
/// No intensity is less (per ns): one impossible hit must not make a fit impossible.
const LEAST_PER_NS: f64 = 1e-12;

/// -ln L, its slopes, and the information that the hits carry.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Value {
    pub minus_log: f64,
    pub gradient: Point,
    pub information: Matrix,
}

/// An event's hits with what they are compared to.
pub(super) struct Likelihood<'a> {
    pub light: &'a LightModel,
    pub hits: &'a Prepared,
    pub method: Method,
    /// Light that arrives later than this (flight subtracted) is left out: the next cluster's.
    pub cut_ns: Option<f64>,
    /// The time that the peak of the hits says, which is all that there is where only charges are compared.
    pub peak_t0_ns: f64,
    /// End of each channel's time, in the order of the channels with hits.
    pub ends_ns: &'a [f64],
}

/// One number with its slopes, on the way from parameters to the likelihood.
#[derive(Clone, Copy)]
struct Sloped {
    value: f64,
    slope: Point,
}

impl Sloped {
    /// `a self + b other`
    fn mixed(self, a: f64, b: f64, other: Self) -> Self {
        let mut slope = [0.0; N];
        for (k, slope) in slope.iter_mut().enumerate() {
            *slope = a * self.slope[k] + b * other.slope[k];
        }
        Self {
            value: a * self.value + b * other.value,
            slope,
        }
    }
}

impl Value {
    /// Subtracts `log`, of which `slope` is the change with a number that changes as `along`.
    fn take(&mut self, log: f64, slope: f64, along: &Point) {
        self.minus_log -= log;
        for (sum, along) in self.gradient.iter_mut().zip(along) {
            *sum -= slope * along;
        }
    }

    /// Adds `weight` times the product of `along` with itself to the information.
    fn inform(&mut self, weight: f64, along: &Point) {
        for (row, a) in self.information.iter_mut().zip(along) {
            for (sum, b) in row.iter_mut().zip(along) {
                *sum += weight * a * b;
            }
        }
    }
}

impl Likelihood<'_> {
    /// -ln L at `point`.
    pub(super) fn at(&self, point: &Point) -> Value {
        let vertex = [point[0], point[1], point[2]];
        let energy_mev = point[4].exp();
        let mut sum = Value::default();
        let window_ns = self.light.tables.window_ns;

        let (per_mev, per_mev_gradient) = self.light.total(vertex);
        let (share, share_slope) = self.share(point[3]);
        let all = energy_mev * per_mev * share;
        let mut all_slope = [0.0; N];
        for (slope, gradient) in all_slope.iter_mut().zip(per_mev_gradient) {
            *slope = energy_mev * gradient * share;
        }
        all_slope[3] = -energy_mev * per_mev * share_slope;
        all_slope[4] = all;
        let end_ns = self.cut_ns.unwrap_or(window_ns).min(window_ns);
        let dark = self.light.dark_per_ns * end_ns;
        if self.method == Method::Time {
            // The number of all photoelectrons alone says the energy.
            let charge_pe = self.hits.charge_pe();
            let expected = all + dark;
            sum.take(-expected, -1.0, &all_slope);
            sum.take(charge_pe * expected.ln(), charge_pe / expected, &all_slope);
            sum.inform(charge_pe / expected.powi(2), &all_slope);
        } else {
            sum.take(-(all + dark), -1.0, &all_slope);
        }
        for (seen, &end_ns) in self.hits.channels.iter().zip(self.ends_ns) {
            self.channel(seen, end_ns, point, vertex, energy_mev, &mut sum);
        }
        if self.method == Method::Charge {
            let pull = (point[3] - self.peak_t0_ns) / PEAK_SIGMA_NS;
            let along = [0.0, 0.0, 0.0, 1.0, 0.0];
            sum.take(-0.5 * pull * pull, -pull / PEAK_SIGMA_NS, &along);
            sum.inform(PEAK_SIGMA_NS.powi(-2), &along);
        }
        self.wall(vertex, &mut sum);
        sum
    }

    /// The share of the light that comes before the cut, and its change with how late the cut is.
    fn share(&self, t0_ns: f64) -> (f64, f64) {
        let (Some(cut_ns), Some(kind)) = (self.cut_ns, self.light.tables.types.first()) else {
            return (1.0, 0.0);
        };
        let middle = 0.5 * (kind.times.v.low + kind.times.v.high);
        let arrival = kind.times.at(0.5, middle, cut_ns - t0_ns);
        (arrival.before.max(1e-3), arrival.density)
    }

    fn channel(
        &self,
        seen: &Seen,
        end_ns: f64,
        point: &Point,
        vertex: Vector,
        energy_mev: f64,
        sum: &mut Value,
    ) {
        let light = self.light;
        let (Some(sensor), Some(channel)) = (
            light.sensors.all().get(seen.place),
            light.tables.channels.get(seen.place),
        ) else {
            return;
        };
        let kind = &light.tables.types[sensor.type_index];
        let expected = light.expected(seen.place, vertex);
        let (u, u_gradient) = light.u(vertex);
        let (flight_ns, flight_gradient) = light.tables.flight.time_ns(vertex, sensor.position_mm);
        let from_ns = point[3] + flight_ns;
        let dark = channel.dark_per_ns + LEAST_PER_NS;
        // Light expected in the whole window.
        let light_pe = energy_mev * expected.pe;
        let mut light_slope = [0.0; N];
        for (slope, gradient) in light_slope.iter_mut().zip(expected.gradient) {
            *slope = energy_mev * gradient;
        }
        light_slope[4] = light_pe;
        // Intensity at a time, and what is expected up to it.
        let at = |time_ns: f64| -> (Sloped, Sloped) {
            let arrival = kind.times.at(u, expected.log_distance, time_ns - from_ns);
            let mut before = Sloped {
                value: light_pe * arrival.before + dark * time_ns,
                slope: [0.0; N],
            };
            let mut intensity = Sloped {
                value: light_pe * arrival.density + dark,
                slope: [0.0; N],
            };
            for k in 0..3 {
                let moved = |uv: [f64; 2]| {
                    uv[0] * u_gradient[k] + uv[1] * expected.log_distance_gradient[k]
                };
                before.slope[k] = light_slope[k] * arrival.before
                    + light_pe * (moved(arrival.before_uv) - arrival.density * flight_gradient[k]);
                intensity.slope[k] = light_slope[k] * arrival.density
                    + light_pe
                        * (moved(arrival.density_uv) - arrival.density_slope * flight_gradient[k]);
            }
            before.slope[3] = -light_pe * arrival.density;
            before.slope[4] = light_pe * arrival.before;
            intensity.slope[3] = -light_pe * arrival.density_slope;
            intensity.slope[4] = light_pe * arrival.density;
            (before, intensity)
        };
        let end = if self.cut_ns.is_some() {
            at(end_ns).0
        } else {
            Sloped {
                value: light_pe + dark * end_ns,
                slope: light_slope,
            }
        };
        if self.method == Method::Charge {
            let charges = kind.charges.all(seen.charge_pe, end.value);
            sum.take(charges.log, charges.slope, &end.slope);
            sum.inform(charges.slope.max(0.0) / end.value.max(1e-12), &end.slope);
            return;
        }
        let (before, intensity) = at(seen.first_ns);
        sum.take(
            intensity.value.ln(),
            1.0 / intensity.value,
            &intensity.slope,
        );
        sum.inform(1.0 / intensity.value.powi(2), &intensity.slope);
        if self.method == Method::Time {
            // Given that there is a hit at all.
            let missing = (-end.value).exp();
            let any = (1.0 - missing).max(1e-300);
            sum.take(-before.value, -1.0, &before.slope);
            sum.take(-any.ln(), -missing / any, &end.slope);
            return;
        }
        let after = end.mixed(1.0, -1.0, before);
        let after_pe = after.value.max(0.0);
        let charges = kind.charges.beyond_first(seen.charge_pe, after_pe);
        sum.take(charges.log, charges.slope, &after.slope);
        sum.inform(charges.slope.max(0.0) / after_pe.max(1e-9), &after.slope);
        let mut last_ns = seen.first_ns;
        let later = self.hits.later.get(seen.later.0..seen.later.1);
        for &time_ns in later.unwrap_or_default() {
            let ended_ns = (last_ns + light.tables.separation_ns).min(time_ns);
            let (ended, _) = at(ended_ns);
            let (here, intensity) = at(time_ns);
            sum.take(
                intensity.value.ln(),
                1.0 / intensity.value,
                &intensity.slope,
            );
            sum.inform(1.0 / intensity.value.powi(2), &intensity.slope);
            let between = here.mixed(1.0, -1.0, ended);
            sum.take(-between.value, -1.0, &between.slope);
            let rest = end.mixed(1.0, -1.0, ended);
            let missing = (-rest.value.max(1e-9)).exp();
            let any = 1.0 - missing;
            sum.take(-any.ln(), -missing / any, &rest.slope);
            sum.inform(-missing / (any * any), &rest.slope);
            last_ns = time_ns;
        }
    }

    fn wall(&self, vertex: Vector, sum: &mut Value) {
        let r_mm = norm(vertex);
        let beyond_mm = r_mm - self.light.tables.radius_mm;
        if beyond_mm > 0.0 {
            let pull = beyond_mm / WALL_MM;
            let along = [
                vertex[0] / r_mm,
                vertex[1] / r_mm,
                vertex[2] / r_mm,
                0.0,
                0.0,
            ];
            sum.take(-0.5 * pull * pull, -pull / WALL_MM, &along);
            sum.inform(1.0 / (WALL_MM * WALL_MM), &along);
        }
    }
}
