//! The likelihood of an event's hits as a function of vertex, time and energy, with its gradient.
//!
//! Light in channel `i` is a Poisson process of intensity `lambda_i(t) = E mu_i s_i(t - t0 - flight) + D_i`: `mu_i` is the
//! light map, `s_i` the time distribution and `D_i` the dark rate; `Lambda` is the integral of `lambda_i` over the window. A
//! hit finder observes the time of the first photoelectron, later hits as far as they are separated, and the charge of
//! all. With `t_1` the first hit, `Q` the channel's charge, `f_n` the charge spectrum of `n` photoelectrons and
//! `m = Lambda(t_1, end)`
//!
//! `L_i = exp(-Lambda) lambda(t_1) sum_{n >= 1} m^(n-1) / (n-1)! f_n(Q)`,
//!
//! which is QTMLE's product of the probabilities of the charge and of the first hit's time for each number of
//! photoelectrons (arXiv:2211.16768), summed over that number exactly. A channel without hits contributes `exp(-Lambda)`.
//! Each later hit contributes the density of its time, given that there is a hit after the end `e` of the previous one:
//! `lambda(t_k) exp(-Lambda(e, t_k)) / (1 - exp(-Lambda(e, end)))`, as long as the previous hits are single
//! photoelectrons; the end of larger hits is not known.
//! The product of `exp(-Lambda)` over all channels is computed without a loop over them, so that only channels with hits
//! cost time.

use super::EventMethod;
use super::charges::FewPe;
use super::light::{ChannelExpectation, LightModel, VertexTerms};
use super::prepare::{HitChannel, Prepared};
use crate::math;
use crate::model::vector::{Vector, norm};

/// Number of parameters: x, y, z in mm, t in ns, the logarithm of the energy in MeV.
pub(super) const N: usize = 5;
/// Values of the parameters.
pub(super) type Point = [f64; N];
/// A symmetric matrix; all elements are stored.
pub(super) type Matrix = [[f64; N]; N];

/// Outside the scintillator the likelihood falls as a Gaussian of this width, so that the fit is drawn back inside.
const OUTSIDE_SIGMA_MM: f64 = 20.0;
/// Standard deviation of the time of the hits' peak: that of a uniform distribution over its 4 ns.
const PEAK_SIGMA_NS: f64 = 1.15;
/// Minimum intensity (per ns): one impossible hit must not make the fit impossible.
const MIN_PER_NS: f64 = 1e-12;

/// -ln L, its gradient, and the information (expected curvature) of the hits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Value {
    pub minus_log: f64,
    pub gradient: Point,
    pub information: Matrix,
}

/// An event's hits and the light model they are compared with.
pub(super) struct Likelihood<'a> {
    pub light: &'a LightModel,
    pub hits: &'a Prepared,
    pub method: EventMethod,
    /// Light that arrives later than this (time of flight subtracted) belongs to the next cluster and is left out.
    pub cut_ns: Option<f64>,
    /// The event's time from the peak of the hits; the only time information if only charges are compared.
    pub peak_t0_ns: f64,
    /// End of the observed time of each channel with hits, in their order.
    pub ends_ns: &'a [f64],
    /// Probability of each channel's charge for few photoelectrons, in the same order; `None` for larger charges.
    pub charges: &'a [Option<FewPe>],
}

/// Derivatives with respect to a channel's coordinates: the logarithm of its light, `u`, the logarithm of the distance, and
/// the event's time.
type Slopes = [f64; 4];

/// A dual number (forward-mode differentiation): a value and its derivatives.
#[derive(Clone, Copy)]
struct Dual {
    value: f64,
    slope: Slopes,
}

impl Dual {
    /// `self - other`
    fn minus(self, other: Self) -> Self {
        let mut result = self;
        result.value -= other.value;
        for (slope, other) in result.slope.iter_mut().zip(&other.slope) {
            *slope -= other;
        }
        result
    }
}

/// A sum of logarithms, kept as the logarithm of a product while that is a normal number.
struct LogSum {
    sum: f64,
    product: f64,
}

impl LogSum {
    const ZERO: Self = Self {
        sum: 0.0,
        product: 1.0,
    };

    fn add_log_of(&mut self, factor: f64) {
        self.product *= factor;
        if !(1e-200..1e200).contains(&self.product) {
            self.sum += math::ln(self.product);
            self.product = 1.0;
        }
    }

    fn sum(&self) -> f64 {
        self.sum + math::ln(self.product)
    }
}

/// The terms of one channel's log-likelihood: their sum, its derivatives, and the information.
struct LikelihoodTerms {
    logs: LogSum,
    slope: Slopes,
    /// Weights and slopes; the information is the weighted sum of the slopes' outer products.
    information: Vec<(f64, Slopes)>,
    with_information: bool,
}

impl LikelihoodTerms {
    /// Adds the derivatives of a term whose derivative with respect to `of` is `factor`.
    fn add_slope(&mut self, factor: f64, of: &Dual) {
        for (sum, slope) in self.slope.iter_mut().zip(&of.slope) {
            *sum += factor * slope;
        }
    }

    fn add_information(&mut self, weight: f64, of: &Dual) {
        if self.with_information {
            self.information.push((weight, of.slope));
        }
    }

    /// Adds the logarithm of the intensity at a hit.
    fn add_hit(&mut self, intensity: &Dual) {
        self.logs.add_log_of(intensity.value);
        let inverse = 1.0 / intensity.value;
        self.add_slope(inverse, intensity);
        self.add_information(inverse * inverse, intensity);
    }
}

impl Value {
    /// Adds `log` to ln L; `slope` is its derivative with respect to a number whose gradient is `along`.
    fn add_log(&mut self, log: f64, slope: f64, along: &Point) {
        self.minus_log -= log;
        for (sum, along) in self.gradient.iter_mut().zip(along) {
            *sum -= slope * along;
        }
    }

    /// Adds `weight` times the outer product of `along` with itself to the information.
    fn add_information(&mut self, weight: f64, along: &Point) {
        for (row, a) in self.information.iter_mut().zip(along) {
            for (sum, b) in row.iter_mut().zip(along) {
                *sum += weight * a * b;
            }
        }
    }
}

/// Returns the derivatives with respect to the fit's parameters of a number with the derivatives `slope`: the light itself
/// depends on u and the distance.
#[inline]
fn parameter_slopes(
    vertex_terms: &VertexTerms<'_>,
    expected: &ChannelExpectation<'_>,
    slope: &Slopes,
) -> Point {
    let with_u = slope[1] + slope[0] * expected.slope_u;
    let with_v = slope[2] + slope[0] * expected.slope_v;
    let axis = |k: usize| {
        with_u * vertex_terms.u_gradient[k]
            + with_v * expected.log_distance_gradient[k]
            + slope[3] * expected.flight_gradient[k]
    };
    [axis(0), axis(1), axis(2), slope[3], slope[0]]
}

impl Likelihood<'_> {
    /// Returns -ln L and its gradient at `point`, with the information if `with_information`.
    pub(super) fn at(&self, point: &Point, with_information: bool) -> Value {
        let vertex = [point[0], point[1], point[2]];
        let energy_mev = math::exp(point[4]);
        let mut sum = Value::default();
        let window_ns = self.light.tables.window_ns;

        let (per_mev, per_mev_gradient) = self.light.expected_total(vertex);
        let (share, share_slope) = self.share_before_cut(point[3]);
        let all = energy_mev * per_mev * share;
        let mut all_slope = [0.0; N];
        for (slope, gradient) in all_slope.iter_mut().zip(per_mev_gradient) {
            *slope = energy_mev * gradient * share;
        }
        all_slope[3] = -energy_mev * per_mev * share_slope;
        all_slope[4] = all;
        let end_ns = self.cut_ns.unwrap_or(window_ns).min(window_ns);
        let dark = self.light.dark_per_ns * end_ns;
        if self.method == EventMethod::Time {
            // Only the number of photoelectrons depends on the energy.
            let charge_pe = self.hits.charge_pe();
            let mean = all + dark;
            sum.add_log(-mean, -1.0, &all_slope);
            sum.add_log(charge_pe * math::ln(mean), charge_pe / mean, &all_slope);
            sum.add_information(charge_pe / mean.powi(2), &all_slope);
        } else {
            sum.add_log(-(all + dark), -1.0, &all_slope);
        }
        let vertex_terms = self.light.at_vertex(vertex);
        let mut terms = LikelihoodTerms {
            logs: LogSum::ZERO,
            slope: [0.0; 4],
            information: Vec::new(),
            with_information,
        };
        for number in 0..self.hits.channels.len() {
            self.add_channel(
                number,
                &vertex_terms,
                point,
                energy_mev,
                &mut terms,
                &mut sum,
            );
        }
        if self.method == EventMethod::Charge {
            let pull = (point[3] - self.peak_t0_ns) / PEAK_SIGMA_NS;
            let along = [0.0, 0.0, 0.0, 1.0, 0.0];
            sum.add_log(-0.5 * pull * pull, -pull / PEAK_SIGMA_NS, &along);
            sum.add_information(PEAK_SIGMA_NS.powi(-2), &along);
        }
        self.outside_penalty(vertex, &mut sum);
        sum
    }

    /// Returns the share of the light that arrives before the cut, and its derivative with respect to the time of the cut.
    fn share_before_cut(&self, t0_ns: f64) -> (f64, f64) {
        let (Some(cut_ns), Some(kind)) = (self.cut_ns, self.light.tables.types.first()) else {
            return (1.0, 0.0);
        };
        let middle = 0.5 * (kind.times.v.low + kind.times.v.high);
        let arrival = kind.times.at(0.5, middle, cut_ns - t0_ns);
        (arrival.before.max(1e-3), arrival.density)
    }

    /// Adds the terms of channel `number` of those with hits to `sum`; `terms` is working memory.
    fn add_channel(
        &self,
        number: usize,
        vertex_terms: &VertexTerms<'_>,
        point: &Point,
        energy_mev: f64,
        terms: &mut LikelihoodTerms,
        sum: &mut Value,
    ) {
        let (Some(channel), Some(&end_ns)) =
            (self.hits.channels.get(number), self.ends_ns.get(number))
        else {
            return;
        };
        let Some(expected) = vertex_terms.channel(channel.index) else {
            return;
        };
        let times = &expected.kind.times;
        let from_ns = point[3] + expected.flight_ns;
        let dark = expected.dark_per_ns + MIN_PER_NS;
        // Light expected in the whole window.
        let light_pe = energy_mev * expected.pe;
        // The expected photoelectrons up to a time, and the intensity there.
        let at = |time_ns: f64| -> (Dual, Dual) {
            let arrival = times.at_taps(expected.taps, expected.log_distance, time_ns - from_ns);
            let light = light_pe * arrival.density;
            let before = Dual {
                value: light_pe * arrival.before + dark * time_ns,
                slope: [
                    light_pe * arrival.before,
                    light_pe * arrival.before_uv[0],
                    light_pe * arrival.before_uv[1],
                    -light,
                ],
            };
            let intensity = Dual {
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
            Dual {
                value: light_pe + dark * end_ns,
                slope: [light_pe, 0.0, 0.0, 0.0],
            }
        };
        terms.logs = LogSum::ZERO;
        terms.slope = [0.0; 4];
        terms.information.clear();
        let mut log = 0.0;
        match self.method {
            EventMethod::Charge => {
                let charges = expected.kind.charges.all(channel.charge_pe, end.value);
                log += charges.log;
                terms.add_slope(charges.slope, &end);
                terms.add_information(charges.slope.max(0.0) / end.value.max(1e-12), &end);
            }
            EventMethod::Time => {
                let (before, intensity) = at(channel.first_ns);
                terms.add_hit(&intensity);
                // Given that there is at least one hit.
                let missing = math::exp(-end.value);
                let any = (1.0 - missing).max(1e-300);
                log -= before.value + math::ln(any);
                terms.add_slope(-1.0, &before);
                terms.add_slope(-missing / any, &end);
            }
            EventMethod::Full | EventMethod::Centroid => {
                let (before, intensity) = at(channel.first_ns);
                terms.add_hit(&intensity);
                let after = end.minus(before);
                let after_pe = after.value.max(0.0);
                let slope = if let Some(Some(few)) = self.charges.get(number) {
                    let (sum, slope) = few.beyond_first(after_pe);
                    terms.logs.add_log_of(sum);
                    slope
                } else {
                    let charges = expected
                        .kind
                        .charges
                        .beyond_first(channel.charge_pe, after_pe);
                    log += charges.log;
                    charges.slope
                };
                terms.add_slope(slope, &after);
                terms.add_information(slope.max(0.0) / after_pe.max(1e-9), &after);
                log += self.later_hits(channel, at, end, terms);
            }
        }
        sum.minus_log -= log + terms.logs.sum();
        for (sum, slope) in
            sum.gradient
                .iter_mut()
                .zip(parameter_slopes(vertex_terms, &expected, &terms.slope))
        {
            *sum -= slope;
        }
        for (weight, slope) in &terms.information {
            sum.add_information(*weight, &parameter_slopes(vertex_terms, &expected, slope));
        }
    }

    /// Returns the log-likelihood of a channel's later hits, each given that there is a hit after the previous one has ended.
    /// `at` gives the expected photoelectrons up to a time and the intensity there, `end` the total expectation. The
    /// logarithms of the intensities are added to `terms`, not returned.
    #[inline]
    fn later_hits(
        &self,
        channel: &HitChannel,
        at: impl Fn(f64) -> (Dual, Dual),
        end: Dual,
        terms: &mut LikelihoodTerms,
    ) -> f64 {
        let mut log = 0.0;
        let mut last_ns = channel.first_ns;
        let later = self.hits.later.get(channel.later.0..channel.later.1);
        for &time_ns in later.unwrap_or_default().iter().take(channel.after_single) {
            let ended_ns = (last_ns + self.light.tables.separation_ns).min(time_ns);
            let (ended, _) = at(ended_ns);
            let (before, intensity) = at(time_ns);
            terms.add_hit(&intensity);
            let between = before.minus(ended);
            log -= between.value;
            terms.add_slope(-1.0, &between);
            let rest = end.minus(ended);
            let missing = math::exp(-rest.value.max(1e-9));
            let any = 1.0 - missing;
            log -= math::ln(any);
            terms.add_slope(-missing / any, &rest);
            terms.add_information(-missing / (any * any), &rest);
            last_ns = time_ns;
        }
        log
    }

    fn outside_penalty(&self, vertex: Vector, sum: &mut Value) {
        let r_mm = norm(vertex);
        let beyond_mm = r_mm - self.light.tables.radius_mm;
        if beyond_mm > 0.0 {
            let pull = beyond_mm / OUTSIDE_SIGMA_MM;
            let along = [
                vertex[0] / r_mm,
                vertex[1] / r_mm,
                vertex[2] / r_mm,
                0.0,
                0.0,
            ];
            sum.add_log(-0.5 * pull * pull, -pull / OUTSIDE_SIGMA_MM, &along);
            sum.add_information(1.0 / (OUTSIDE_SIGMA_MM * OUTSIDE_SIGMA_MM), &along);
        }
    }
}
