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
//! `lambda(t_k) exp(-Lambda(e, t_k)) / (1 - exp(-Lambda(e, end)))`, as long as the hits before are of single photoelectrons:
//! of others it is not known when they end.
//! All `exp(-Lambda)` together are known without going through the channels, so that only those with hits cost time.

use super::Method;
use super::charges::FewPe;
use super::light::{Here, LightModel, View};
use super::prepare::{Prepared, Seen};
use crate::model::vector::{Vector, norm};

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
    /// How likely each channel's charge is for few photoelectrons, in the same order; `None`: it is more than a few.
    pub charges: &'a [Option<FewPe>],
}

/// What a channel's likelihood changes with: the logarithm of its light, `u`, the logarithm of the distance, and the time
/// its light sets out for it.
type Slopes = [f64; 4];

/// A number that depends on these.
#[derive(Clone, Copy)]
struct Sloped {
    value: f64,
    slope: Slopes,
}

impl Sloped {
    /// `self - other`
    fn less(self, other: Self) -> Self {
        let mut result = self;
        result.value -= other.value;
        for (slope, other) in result.slope.iter_mut().zip(&other.slope) {
            *slope -= other;
        }
        result
    }
}

/// The sum of logarithms, as the logarithm of a product for as long as that is a normal number.
struct Logs {
    sum: f64,
    product: f64,
}

impl Logs {
    fn add_log_of(&mut self, factor: f64) {
        self.product *= factor;
        if !(1e-200..1e200).contains(&self.product) {
            self.sum += self.product.ln();
            self.product = 1.0;
        }
    }

    fn sum(&self) -> f64 {
        self.sum + self.product.ln()
    }
}

/// One channel on its way: how its logarithm of the likelihood changes, and what it tells.
struct Channel {
    logs: Logs,
    slope: Slopes,
    /// Slopes whose products with themselves, weighted, are the information.
    told: Vec<(f64, Slopes)>,
    informs: bool,
}

impl Channel {
    /// Adds a term's slope, given the term's change with `of`.
    fn change(&mut self, factor: f64, of: &Sloped) {
        for (sum, slope) in self.slope.iter_mut().zip(&of.slope) {
            *sum += factor * slope;
        }
    }

    fn tell(&mut self, weight: f64, of: &Sloped) {
        if self.informs {
            self.told.push((weight, of.slope));
        }
    }

    /// The logarithm of an intensity.
    fn hit(&mut self, intensity: &Sloped) {
        self.logs.add_log_of(intensity.value);
        let inverse = 1.0 / intensity.value;
        self.change(inverse, intensity);
        self.tell(inverse * inverse, intensity);
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

/// How a number that changes by `slope` changes with the fit's parameters: the light itself changes with u and the
/// distance.
#[inline]
fn along(here: &Here<'_>, view: &View<'_>, slope: &Slopes) -> Point {
    let with_u = slope[1] + slope[0] * view.slope_u;
    let with_v = slope[2] + slope[0] * view.slope_v;
    let axis = |k: usize| {
        with_u * here.u_gradient[k]
            + with_v * view.log_distance_gradient[k]
            + slope[3] * view.flight_gradient[k]
    };
    [axis(0), axis(1), axis(2), slope[3], slope[0]]
}

impl Likelihood<'_> {
    /// -ln L at `point` and its slopes; with the information where `informs`.
    pub(super) fn at(&self, point: &Point, informs: bool) -> Value {
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
        let here = self.light.here(vertex);
        let mut channel = Channel {
            logs: Logs {
                sum: 0.0,
                product: 1.0,
            },
            slope: [0.0; 4],
            told: Vec::new(),
            informs,
        };
        for number in 0..self.hits.channels.len() {
            self.channel(number, &here, point, energy_mev, &mut channel, &mut sum);
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
        number: usize,
        here: &Here<'_>,
        point: &Point,
        energy_mev: f64,
        channel: &mut Channel,
        sum: &mut Value,
    ) {
        let (Some(seen), Some(&end_ns)) =
            (self.hits.channels.get(number), self.ends_ns.get(number))
        else {
            return;
        };
        let Some(view) = here.view(seen.place) else {
            return;
        };
        let times = &view.kind.times;
        let from_ns = point[3] + view.flight_ns;
        let dark = view.dark_per_ns + LEAST_PER_NS;
        // Light expected in the whole window.
        let light_pe = energy_mev * view.pe;
        // Intensity at a time, and what is expected up to it.
        let at = |time_ns: f64| -> (Sloped, Sloped) {
            let arrival = times.at_three(view.three, view.log_distance, time_ns - from_ns);
            let light = light_pe * arrival.density;
            let before = Sloped {
                value: light_pe * arrival.before + dark * time_ns,
                slope: [
                    light_pe * arrival.before,
                    light_pe * arrival.before_uv[0],
                    light_pe * arrival.before_uv[1],
                    -light,
                ],
            };
            let intensity = Sloped {
                value: light + dark,
                slope: [
                    light,
                    light_pe * arrival.density_uv[0],
                    light_pe * arrival.density_uv[1],
                    -light_pe * arrival.density_slope,
                ],
            };
            (before, intensity)
        };
        let end = if self.cut_ns.is_some() {
            at(end_ns).0
        } else {
            Sloped {
                value: light_pe + dark * end_ns,
                slope: [light_pe, 0.0, 0.0, 0.0],
            }
        };
        channel.logs = Logs {
            sum: 0.0,
            product: 1.0,
        };
        channel.slope = [0.0; 4];
        channel.told.clear();
        let mut plain = 0.0;
        match self.method {
            Method::Charge => {
                let charges = view.kind.charges.all(seen.charge_pe, end.value);
                plain += charges.log;
                channel.change(charges.slope, &end);
                channel.tell(charges.slope.max(0.0) / end.value.max(1e-12), &end);
            }
            Method::Time => {
                let (before, intensity) = at(seen.first_ns);
                channel.hit(&intensity);
                // Given that there is a hit at all.
                let missing = (-end.value).exp();
                let any = (1.0 - missing).max(1e-300);
                plain -= before.value + any.ln();
                channel.change(-1.0, &before);
                channel.change(-missing / any, &end);
            }
            Method::Full | Method::Centroid => {
                let (before, intensity) = at(seen.first_ns);
                channel.hit(&intensity);
                let after = end.less(before);
                let after_pe = after.value.max(0.0);
                let slope = if let Some(Some(few)) = self.charges.get(number) {
                    let (sum, slope) = few.beyond_first(after_pe);
                    channel.logs.add_log_of(sum);
                    slope
                } else {
                    let charges = view.kind.charges.beyond_first(seen.charge_pe, after_pe);
                    plain += charges.log;
                    charges.slope
                };
                channel.change(slope, &after);
                channel.tell(slope.max(0.0) / after_pe.max(1e-9), &after);
                plain += self.later(seen, at, end, channel);
            }
        }
        sum.minus_log -= plain + channel.logs.sum();
        for (sum, slope) in sum
            .gradient
            .iter_mut()
            .zip(along(here, &view, &channel.slope))
        {
            *sum -= slope;
        }
        for (weight, slope) in &channel.told {
            sum.inform(*weight, &along(here, &view, slope));
        }
    }

    /// A channel's later hits, each where it is given that there is one after the hit before has ended. `at` gives what is
    /// expected up to a time and the intensity there, `end` what is expected in all. What is not in `channel` is returned.
    #[inline]
    fn later(
        &self,
        seen: &Seen,
        at: impl Fn(f64) -> (Sloped, Sloped),
        end: Sloped,
        channel: &mut Channel,
    ) -> f64 {
        let mut plain = 0.0;
        let mut last_ns = seen.first_ns;
        let later = self.hits.later.get(seen.later.0..seen.later.1);
        for &time_ns in later.unwrap_or_default().iter().take(seen.after_single) {
            let ended_ns = (last_ns + self.light.tables.separation_ns).min(time_ns);
            let (ended, _) = at(ended_ns);
            let (before, intensity) = at(time_ns);
            channel.hit(&intensity);
            let between = before.less(ended);
            plain -= between.value;
            channel.change(-1.0, &between);
            let rest = end.less(ended);
            let missing = (-rest.value.max(1e-9)).exp();
            let any = 1.0 - missing;
            plain -= any.ln();
            channel.change(-missing / any, &rest);
            channel.tell(-missing / (any * any), &rest);
            last_ns = time_ns;
        }
        plain
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
