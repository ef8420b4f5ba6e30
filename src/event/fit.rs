//! Reconstruction of an event: starting values, fit, uncertainties, flags.

use std::sync::Arc;

use super::bfgs::{inverse, minimize};
use super::charges::FewPe;
use super::likelihood::{Likelihood, Matrix, N, Point, Value};
use super::prepare::{Prepared, prepare};
use super::{EventMethod, LightModel, seed};
use crate::detector::{Detector, Sensors};
use crate::error::{Error, Result};
use crate::math;
use crate::model::vector::{Vector, minus, norm, scaled};
use crate::model::{Event, EventHits, Flags};

/// A vertex beyond this share of the scintillator's radius is flagged as outside.
const EDGE: f64 = 0.9995;
/// Ratio of vertex to centroid without a calibration.
const CENTROID_SCALE: f64 = 1.3;
/// Slowness of light without a calibration: a refractive index of 1.5.
const NS_PER_MM: f64 = 1.5 / 299.792_458;
/// Step for the numerical curvature, in standard deviations.
const CURVATURE_STEP: f64 = 0.5;

/// Reconstructs events from their hits; can be shared between threads.
///
/// # Examples
/// Simulates an event and reconstructs it from the centroid of its charges, which needs no light maps:
/// ```
/// use nuwave::event::{EventMethod, EventReconstructor};
/// use nuwave::simulate::{
///     self, Energy, EventPlan, EventSource, HitFinder, Particle, Vertex,
/// };
///
/// # fn main() -> nuwave::Result<()> {
/// let plan = EventPlan {
///     detector: nuwave::detector::load("juno")?,
///     seed: 1,
///     detector_seed: 1,
///     first_event: 0,
///     sources: vec![EventSource {
///         events: 1,
///         vertex: Vertex::Fixed([0.0, 0.0, 8000.0]),
///         energy: Energy::Fixed(2.0),
///         particle: Particle::Electron,
///     }],
///     time_spread_ns: 10.0,
///     dark: true,
///     pile_up_ns: None,
/// };
/// let window_ns = plan.detector.readout.window_ns();
/// let reconstructor = EventReconstructor::new(&plan.detector, None, EventMethod::Centroid)?;
/// for simulated in simulate::events(&plan)?.flatten() {
///     let hits = simulated.hits(&HitFinder::default(), plan.seed, window_ns);
///     let event = reconstructor.reconstruct(&hits);
///     assert!((event.z_mm - 8000.0).abs() < 3000.0);
///     assert!((event.energy_mev - 2.0).abs() < 0.5);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EventReconstructor {
    sensors: Arc<Sensors>,
    radius_mm: Option<f64>,
    window_ns: f64,
    pe_per_mev: Option<f64>,
    light: Option<LightModel>,
    method: EventMethod,
}

/// The fit of one event: its valid hits and the starting values.
#[derive(Debug)]
pub struct EventFit<'a> {
    light: &'a LightModel,
    method: EventMethod,
    hits: Prepared,
    cut_ns: Option<f64>,
    ends_ns: Vec<f64>,
    charges: Vec<Option<FewPe>>,
    /// Starting values: x, y, z in mm, t in ns, ln(E in MeV).
    pub seed: [f64; 5],
}

impl EventFit<'_> {
    fn at(&self, point: &Point, informs: bool) -> Value {
        Likelihood {
            light: self.light,
            hits: &self.hits,
            method: self.method,
            cut_ns: self.cut_ns,
            peak_t0_ns: self.seed[3],
            ends_ns: &self.ends_ns,
            charges: &self.charges,
        }
        .at(point, informs)
    }

    /// Returns -ln L (without constants) and its gradient at x, y, z in mm, t in ns, ln(E in MeV of visible energy).
    #[must_use]
    pub fn minus_log_likelihood(&self, point: &[f64; 5]) -> (f64, [f64; 5]) {
        let value = self.at(point, false);
        (value.minus_log, value.gradient)
    }

    /// Returns the point of the maximum likelihood, and whether the fit converged.
    #[must_use]
    pub fn best(&self) -> ([f64; 5], bool) {
        let minimum = minimize(|point, informs| self.at(point, informs), self.seed);
        (minimum.point, minimum.converged)
    }
}

impl EventReconstructor {
    /// Creates a reconstructor for events of `detector`. Without light maps only [`EventMethod::Centroid`] is possible.
    ///
    /// # Errors
    /// If the detector has no geometry, or the method needs light maps.
    pub fn new(
        detector: &Detector,
        light: Option<LightModel>,
        method: EventMethod,
    ) -> Result<Self> {
        let sensors = detector.sensors().ok_or_else(|| {
            Error::usage(format!(
                "detector `{}` has no geometry, and events need one",
                detector.name
            ))
            .with_hint("add `[geometry]` to the detector file, as `nuwave detector juno` shows it")
        })?;
        if light.is_none() && method != EventMethod::Centroid {
            let name = format!("{method:?}").to_lowercase();
            return Err(
                Error::usage(format!("the method `{name}` needs light maps"))
                    .with_hint("`nuwave calibrate light` makes them; `centroid` needs none"),
            );
        }
        Ok(Self {
            sensors: Arc::clone(sensors),
            radius_mm: detector
                .geometry
                .as_ref()
                .and_then(|geometry| geometry.scintillator_radius_mm),
            window_ns: light
                .as_ref()
                .map_or(detector.readout.window_ns(), |light| light.tables.window_ns),
            pe_per_mev: detector
                .medium
                .as_ref()
                .map(|medium| medium.light_pe_per_mev),
            light,
            method,
        })
    }

    /// Reconstructs `event`. Never fails: what could not be determined is NaN and flagged.
    #[must_use]
    pub fn reconstruct(&self, event: &EventHits) -> Event {
        let mut result = match &self.light {
            Some(light) => self.with_maps(event, light),
            None => self.without_maps(event),
        };
        // Within the fit, times count from the start of the window.
        result.time_ns += event.window_start_ns(self.window_ns);
        let values = [result.x_mm, result.time_ns, result.energy_mev];
        let explained = Flags::TOO_FEW_HITS | Flags::NO_LIGHT_MAPS;
        if values.iter().any(|value| !value.is_finite()) && !result.flags.intersects(explained) {
            result.flags |= Flags::NOT_CONVERGED;
        }
        result
    }

    /// Returns the fit of `event` with its starting values; `Err` holds what is known if nothing can be fitted. `None` without
    /// light maps.
    #[must_use]
    pub fn fit(&self, event: &EventHits) -> Option<std::result::Result<EventFit<'_>, Event>> {
        let light = self.light.as_ref()?;
        Some(self.begin(event, light).map(|(fit, _)| fit))
    }

    fn prepare(&self, event: &EventHits, keep: impl Fn(usize, f64) -> bool) -> Prepared {
        let offset_ns = |index: usize| {
            self.light
                .as_ref()
                .and_then(|light| light.tables.channels.get(index))
                .map_or(0.0, |channel| channel.time_offset_ns)
        };
        prepare(event, &self.sensors, offset_ns, self.window_ns, keep)
    }

    fn without_maps(&self, event: &EventHits) -> Event {
        let hits = self.prepare(event, |_, _| true);
        let flags = hits.flags | Flags::NO_LIGHT_MAPS;
        let mut result = unfound(event, &hits, flags);
        let times = seed::by_time(&hits);
        let dark_per_ns = seed::dark_level_per_ns(&times, self.window_ns);
        let Some(stretch_ns) = seed::first_light(&times, dark_per_ns, self.window_ns) else {
            result.flags |= Flags::TOO_FEW_HITS;
            return result;
        };
        let dark_pe = dark_per_ns * (stretch_ns.1 - stretch_ns.0);
        let Some((centroid, _)) = seed::centroid(&hits, &self.sensors, stretch_ns, dark_pe) else {
            result.flags |= Flags::TOO_FEW_HITS;
            return result;
        };
        let mut vertex = scaled(CENTROID_SCALE, centroid);
        if let Some(radius_mm) = self.radius_mm
            && norm(vertex) > radius_mm
        {
            vertex = scaled(radius_mm / norm(vertex), vertex);
            result.flags |= Flags::OUTSIDE_DETECTOR;
        }
        let flight_ns = |index: usize| {
            self.sensors.all().get(index).map_or(0.0, |sensor| {
                NS_PER_MM * norm(minus(sensor.position_mm, vertex))
            })
        };
        [result.x_mm, result.y_mm, result.z_mm] = vertex;
        result.time_ns = seed::peak_ns(&times, flight_ns, stretch_ns).unwrap_or(f64::NAN);
        if let Some(pe_per_mev) = self.pe_per_mev {
            let light_pe = hits.charge_pe() - dark_per_ns * self.window_ns;
            result.energy_mev = light_pe.max(0.0) / pe_per_mev;
        }
        result
    }

    /// Prepares the hits of an event and finds the starting values of its fit.
    fn begin<'a>(
        &self,
        event: &EventHits,
        light: &'a LightModel,
    ) -> std::result::Result<(EventFit<'a>, Event), Event> {
        let mut hits = self.prepare(event, |_, _| true);
        let mut result = unfound(event, &hits, hits.flags);
        let times = seed::by_time(&hits);
        let too_few_hits = |mut result: Event| {
            result.flags |= Flags::TOO_FEW_HITS;
            result
        };
        let Some(stretch_ns) = seed::first_light(&times, light.dark_per_ns, self.window_ns) else {
            return Err(too_few_hits(result));
        };
        let dark_pe = light.dark_per_ns * (stretch_ns.1 - stretch_ns.0);
        let Some((centroid, _)) = seed::centroid(&hits, &self.sensors, stretch_ns, dark_pe) else {
            return Err(too_few_hits(result));
        };
        let vertex = vertex_of_centroid(light, centroid);
        let flight_ns = |index: usize| {
            self.sensors.all().get(index).map_or(0.0, |sensor| {
                light.tables.flight.time_ns(vertex, sensor.position_mm).0
            })
        };
        let Some(peak_ns) = seed::peak_ns(&times, flight_ns, stretch_ns) else {
            return Err(too_few_hits(result));
        };
        let t0_ns = peak_ns - light.peak_ns;
        let second = seed::second_cluster(
            &times,
            flight_ns,
            peak_ns,
            hits.charge_pe() - light.dark_per_ns * self.window_ns,
            light.dark_per_ns,
            self.window_ns,
            |from, upto| light.share(from, upto),
        );
        let mut cut_ns = None;
        if let Some(second_ns) = second {
            result.flags |= Flags::SEVERAL_CLUSTERS;
            cut_ns = Some(second_ns);
            hits = self.prepare(event, |index, time_ns| {
                time_ns - flight_ns(index) <= second_ns
            });
            result.charge_pe = hits.charge_pe();
            result.n_channels_hit = hits.channels.len() as u32;
        }
        let ends_ns: Vec<f64> = hits
            .channels
            .iter()
            .map(|channel| {
                cut_ns.map_or(self.window_ns, |cut| {
                    (cut + flight_ns(channel.index)).min(self.window_ns)
                })
            })
            .collect();
        let observed_ns = cut_ns.unwrap_or(self.window_ns).min(self.window_ns);
        let light_pe = (hits.charge_pe() - light.dark_per_ns * observed_ns).max(1.0);
        let energy_mev = (light_pe / light.expected_total(vertex).0.max(1e-9)).clamp(1e-4, 1e5);
        let charges = hits
            .channels
            .iter()
            .map(|channel| {
                let sensor = self.sensors.all().get(channel.index)?;
                let kind = light.tables.types.get(sensor.type_index)?;
                kind.charges.few(channel.charge_pe)
            })
            .collect();
        let fit = EventFit {
            light,
            method: self.method,
            charges,
            hits,
            cut_ns,
            ends_ns,
            seed: [vertex[0], vertex[1], vertex[2], t0_ns, math::ln(energy_mev)],
        };
        Ok((fit, result))
    }

    fn with_maps(&self, event: &EventHits, light: &LightModel) -> Event {
        let (fit, mut result) = match self.begin(event, light) {
            Ok(begun) => begun,
            Err(result) => return result,
        };
        let radius_mm = light.tables.radius_mm;
        let (point, covariance, value) = if self.method == EventMethod::Centroid {
            (fit.seed, None, None)
        } else {
            let minimum = minimize(|point, informs| fit.at(point, informs), fit.seed);
            if !minimum.converged {
                result.flags |= Flags::NOT_CONVERGED;
            }
            let covariance = covariance(&fit, &minimum.point, &minimum.value);
            (minimum.point, covariance, Some(minimum.value.minus_log))
        };
        let vertex = [point[0], point[1], point[2]];
        [result.x_mm, result.y_mm, result.z_mm] = vertex;
        result.time_ns = point[3];
        let (u, _) = light.u(vertex);
        let energy = &light.tables.energy;
        let response = energy.response_at(u, vertex[2] / radius_mm);
        let visible_mev = math::exp(point[4]) / response;
        let (energy_mev, slope) = energy.deposited(visible_mev);
        result.energy_mev = energy_mev;
        if norm(vertex) > EDGE * radius_mm {
            result.flags |= Flags::OUTSIDE_DETECTOR;
        }
        if let Some(covariance) = covariance {
            let sigma = |k: usize| covariance[k][k].sqrt();
            result.x_sigma_mm = sigma(0);
            result.y_sigma_mm = sigma(1);
            result.z_sigma_mm = sigma(2);
            result.time_sigma_ns = sigma(3);
            result.energy_sigma_mev = slope * visible_mev * sigma(4);
        } else if self.method != EventMethod::Centroid {
            result.flags |= Flags::NOT_CONVERGED;
        }
        if let Some(value) = value {
            let freedom = fit.hits.n_hits() as f64 - N as f64;
            result.fit_quality = if freedom > 0.0 {
                2.0 * value / freedom
            } else {
                result.flags |= Flags::TOO_FEW_HITS;
                f64::NAN
            };
        }
        result
    }
}

/// Returns an event of which only the hits are known.
fn unfound(event: &EventHits, hits: &Prepared, flags: Flags) -> Event {
    Event {
        charge_pe: hits.charge_pe(),
        n_channels_hit: hits.channels.len() as u32,
        ..Event::unknown(event.event_id, flags)
    }
}

/// Returns the vertex estimated from a centroid, within the scintillator.
fn vertex_of_centroid(light: &LightModel, centroid: Vector) -> Vector {
    let radius_mm = light.tables.radius_mm;
    let length = norm(centroid) / radius_mm;
    let [scale, bend] = light.tables.seed;
    let vertex = scaled(scale + bend * length * length, centroid);
    let most_mm = 0.97 * radius_mm;
    if norm(vertex) > most_mm {
        return scaled(most_mm / norm(vertex), vertex);
    }
    vertex
}

/// Returns the covariance from the curvature at the minimum: differences of the gradient over half a standard deviation, which
/// average over kinks of the tables. If the curvature is not positive definite, the information of the hits is used.
fn covariance(fit: &EventFit<'_>, point: &Point, there: &Value) -> Option<Matrix> {
    let rough = inverse(&there.information)?;
    let mut slopes = [[0.0; N]; N];
    for (k, row) in slopes.iter_mut().enumerate() {
        // The standard deviation with the other parameters fixed; inwards, since the vertex may not leave the scintillator.
        let inwards = if point[k] > 0.0 { -1.0 } else { 1.0 };
        let step = inwards * CURVATURE_STEP / there.information[k][k].sqrt();
        let mut moved = *point;
        moved[k] += step;
        let slope = fit.at(&moved, false).gradient;
        for (j, x) in row.iter_mut().enumerate() {
            *x = (slope[j] - there.gradient[j]) / step;
        }
    }
    let mut curvature = slopes;
    for (i, row) in curvature.iter_mut().enumerate() {
        for (j, x) in row.iter_mut().enumerate() {
            *x = 0.5 * (slopes[i][j] + slopes[j][i]);
        }
    }
    Some(inverse(&curvature).unwrap_or(rough))
}
