//! The light model of a detector: expected photoelectrons and arrival times as functions of the vertex.

use std::sync::Arc;

use super::expected_total::ExpectedTotal;
use super::surface::SurfaceSlice;
use super::times::{Arrival, QuadraticTaps};
use crate::detector::Sensors;
use crate::error::{Error, Result};
use crate::math;
use crate::model::light_maps::{LightTables, TypeLight};
use crate::model::vector::{Vector, dot, minus, plus_scaled, scaled};

/// Light maps, time distributions and channels' constants of one detector, ready for use.
#[derive(Clone, Debug)]
pub struct LightModel {
    /// The tables.
    pub tables: LightTables,
    /// The sensors.
    pub sensors: Arc<Sensors>,
    /// Dark photoelectrons per ns of all channels together.
    pub dark_per_ns: f64,
    /// Time of the peak of the light, after the time of flight.
    pub peak_ns: f64,
    expected_total: ExpectedTotal,
}

/// The expected light of a channel for 1 MeV, and its gradient with respect to the vertex.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expected {
    /// Photoelectrons.
    pub pe: f64,
    /// Gradient with respect to the vertex, per mm.
    pub gradient: Vector,
    /// Logarithm of the distance.
    pub log_distance: f64,
    /// Its gradient.
    pub log_distance_gradient: Vector,
}

/// The part of the light model that is common to all channels for one vertex.
pub(super) struct VertexTerms<'a> {
    light: &'a LightModel,
    vertex: Vector,
    /// Gradient of `(r / R)^2`.
    pub u_gradient: Vector,
    /// For each type, the map as a function of the distance, and the weights of the time nodes.
    slices: Vec<(SurfaceSlice, QuadraticTaps)>,
}

/// The expected light of one channel for one vertex.
pub(super) struct ChannelExpectation<'a> {
    pub kind: &'a TypeLight,
    pub taps: &'a QuadraticTaps,
    pub dark_per_ns: f64,
    /// Photoelectrons for 1 MeV, and the derivatives of their logarithm with respect to `u` and the logarithm of the distance.
    pub pe: f64,
    pub slope_u: f64,
    pub slope_v: f64,
    pub log_distance: f64,
    pub log_distance_gradient: Vector,
    pub flight_ns: f64,
    pub flight_gradient: Vector,
}

impl VertexTerms<'_> {
    /// Returns the expectation of the channel at `index` among the sensors.
    #[inline]
    pub(super) fn channel(&self, index: usize) -> Option<ChannelExpectation<'_>> {
        let tables = &self.light.tables;
        let sensor = self.light.sensors.all().get(index)?;
        let channel = tables.channels.get(index)?;
        let kind = tables.types.get(sensor.type_index)?;
        let (slice, taps) = self.slices.get(sensor.type_index)?;
        let displacement = minus(self.vertex, sensor.position_mm);
        let square = dot(displacement, displacement).max(1.0);
        let log_distance = 0.5 * math::ln(square);
        let (value, slope_u, slope_v) = slice.at(log_distance);
        let (flight_ns, flight_gradient) = tables.flight.time_ns(self.vertex, sensor.position_mm);
        Some(ChannelExpectation {
            kind,
            taps,
            dark_per_ns: channel.dark_per_ns,
            pe: channel.efficiency * math::exp(value) * 1e6 / square,
            slope_u,
            slope_v: slope_v - 2.0,
            log_distance,
            log_distance_gradient: scaled(1.0 / square, displacement),
            flight_ns,
            flight_gradient,
        })
    }
}

impl LightModel {
    /// Returns the part that is common to all channels for `vertex`.
    pub(super) fn at_vertex(&self, vertex: Vector) -> VertexTerms<'_> {
        let (u, u_gradient) = self.u(vertex);
        let types = self.tables.types.iter();
        VertexTerms {
            light: self,
            vertex,
            u_gradient,
            slices: types
                .map(|kind| (kind.map.slice(u), kind.times.u.quadratic_taps(u)))
                .collect(),
        }
    }

    /// Creates the model from tables and the sensors they were made for.
    ///
    /// # Errors
    /// If the geometry differs, or the tables are inconsistent.
    pub fn new(tables: LightTables, sensors: Arc<Sensors>) -> Result<Self> {
        if tables.geometry_crc32c != sensors.crc32c() || tables.channels.len() != sensors.len() {
            return Err(Error::usage(format!(
                "the light maps were made for detector `{}` with {} channels, and this one's geometry is another ({} channels)",
                tables.detector,
                tables.channels.len(),
                sensors.len()
            ))
            .with_hint("name the detector that the maps were made for, or calibrate this one with `nuwave calibrate light`"));
        }
        if sensors
            .all()
            .iter()
            .any(|sensor| sensor.type_index >= tables.types.len())
        {
            return Err(Error::usage(
                "the light maps lack one of the detector's PMT types",
            ));
        }
        let dark_per_ns = tables
            .channels
            .iter()
            .map(|channel| channel.dark_per_ns)
            .sum();
        let expected_total = ExpectedTotal::new(&tables, &sensors);
        let mut model = Self {
            tables,
            sensors,
            dark_per_ns,
            peak_ns: 0.0,
            expected_total,
        };
        model.peak_ns = model.find_peak_ns();
        Ok(model)
    }

    /// Returns the distribution of times half-way between centre and edge, at a middle distance, averaged over all types.
    fn mean_arrival(&self, time_ns: f64) -> Arrival {
        let mut sum = Arrival::default();
        let types = &self.tables.types;
        for kind in types {
            let middle = 0.5 * (kind.times.v.low + kind.times.v.high);
            let one = kind.times.at(0.5, middle, time_ns);
            sum.before += one.before / types.len() as f64;
            sum.density += one.density / types.len() as f64;
        }
        sum
    }

    /// Returns the middle of the densest 4 ns.
    fn find_peak_ns(&self) -> f64 {
        let within = |k: i32| {
            let from = 0.25 * f64::from(k);
            self.mean_arrival(from + 4.0).before - self.mean_arrival(from).before
        };
        let best = (-160..400).max_by(|&a, &b| within(a).total_cmp(&within(b)));
        0.25 * f64::from(best.unwrap_or(0)) + 2.0
    }

    /// Returns the share of all light that arrives from `from_ns` to `upto_ns` after the peak.
    #[must_use]
    pub fn share(&self, from_ns: f64, upto_ns: f64) -> f64 {
        let before = |time_ns: f64| self.mean_arrival(self.peak_ns + time_ns).before;
        before(upto_ns) - before(from_ns)
    }

    /// Returns `(r / R)^2` of a vertex and its gradient.
    #[must_use]
    pub fn u(&self, vertex: Vector) -> (f64, Vector) {
        let square = self.tables.radius_mm * self.tables.radius_mm;
        (dot(vertex, vertex) / square, scaled(2.0 / square, vertex))
    }

    /// Returns the expected photoelectrons for 1 MeV at `vertex` in all channels together, and their gradient.
    #[must_use]
    pub fn expected_total(&self, vertex: Vector) -> (f64, Vector) {
        if let Some(total) = self.expected_total.at(self.tables.radius_mm, vertex) {
            return total;
        }
        let (mut sum, mut gradient) = (0.0, [0.0; 3]);
        for index in 0..self.sensors.len() {
            let expected = self.expected(index, vertex);
            sum += expected.pe;
            gradient = plus_scaled(gradient, 1.0, expected.gradient);
        }
        (sum, gradient)
    }

    /// Returns the expected photoelectrons for 1 MeV at `vertex` in the channel at `index` among the sensors.
    #[must_use]
    pub fn expected(&self, index: usize, vertex: Vector) -> Expected {
        let (Some(sensor), Some(channel)) = (
            self.sensors.all().get(index),
            self.tables.channels.get(index),
        ) else {
            return Expected::default();
        };
        let (u, u_gradient) = self.u(vertex);
        let map = &self.tables.types[sensor.type_index].map;
        let displacement = minus(vertex, sensor.position_mm);
        let square = dot(displacement, displacement).max(1.0);
        let log_distance = 0.5 * math::ln(square);
        let log_distance_gradient = scaled(1.0 / square, displacement);
        let (value, slope_u, slope_v) = map.at(&map.u.cubic_taps(u), log_distance);
        let pe = channel.efficiency * math::exp(value) * 1e6 / square;
        let slope = slope_v - 2.0;
        Expected {
            pe,
            gradient: [0, 1, 2]
                .map(|k| pe * (slope_u * u_gradient[k] + slope * log_distance_gradient[k])),
            log_distance,
            log_distance_gradient,
        }
    }
}
