//! What `calibrate light` learns and the fit uses: light maps, time distributions, channels' constants.

use std::sync::Arc;

use super::expected_total::ExpectedTotal;
use super::surface::Line;
use super::times::{Arrival, Three};
use crate::detector::Sensors;
use crate::error::{Error, Result};
use crate::model::light_maps::{LightTables, TypeLight};
use crate::model::vector::{Vector, dot, minus, scaled};

/// Light maps, time distributions and channels' constants of one detector, ready for use.
#[derive(Clone, Debug)]
pub struct LightModel {
    /// As they stand in the files.
    pub tables: LightTables,
    /// The PMTs' places.
    pub sensors: Arc<Sensors>,
    /// Dark photoelectrons a ns of all channels together.
    pub dark_per_ns: f64,
    /// When most light comes, after the time of flight.
    pub peak_ns: f64,
    total: ExpectedTotal,
}

/// What a channel is expected to see for 1 MeV, and its change with the vertex.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expected {
    /// Photoelectrons.
    pub pe: f64,
    /// Change with the vertex, per mm.
    pub gradient: Vector,
    /// Logarithm of the distance.
    pub log_distance: f64,
    /// Change of that with the vertex.
    pub log_distance_gradient: Vector,
}

/// What all channels' light has in common for one vertex.
pub(super) struct Here<'a> {
    light: &'a LightModel,
    vertex: Vector,
    /// Change of `(r / R)^2` with the vertex.
    pub u_gradient: Vector,
    /// For each type, the map along the distance and the nodes of its times.
    lines: Vec<(Line, Three)>,
}

/// What one channel expects of a vertex.
pub(super) struct View<'a> {
    pub kind: &'a TypeLight,
    pub three: &'a Three,
    pub dark_per_ns: f64,
    /// Photoelectrons for 1 MeV, and the change of their logarithm with `u` and the logarithm of the distance.
    pub pe: f64,
    pub slope_u: f64,
    pub slope_v: f64,
    pub log_distance: f64,
    pub log_distance_gradient: Vector,
    pub flight_ns: f64,
    pub flight_gradient: Vector,
}

impl Here<'_> {
    /// The channel at place `place` of the sensors.
    #[inline]
    pub(super) fn view(&self, place: usize) -> Option<View<'_>> {
        let tables = &self.light.tables;
        let sensor = self.light.sensors.all().get(place)?;
        let channel = tables.channels.get(place)?;
        let kind = tables.types.get(sensor.type_index)?;
        let (line, three) = self.lines.get(sensor.type_index)?;
        let way = minus(self.vertex, sensor.position_mm);
        let square = dot(way, way).max(1.0);
        let log_distance = 0.5 * square.ln();
        let (value, slope_u, slope_v) = line.at(log_distance);
        let (flight_ns, flight_gradient) = tables.flight.time_ns(self.vertex, sensor.position_mm);
        Some(View {
            kind,
            three,
            dark_per_ns: channel.dark_per_ns,
            pe: channel.efficiency * value.exp() * 1e6 / square,
            slope_u,
            slope_v: slope_v - 2.0,
            log_distance,
            log_distance_gradient: scaled(1.0 / square, way),
            flight_ns,
            flight_gradient,
        })
    }
}

impl LightModel {
    /// What all channels have in common for `vertex`.
    pub(super) fn here(&self, vertex: Vector) -> Here<'_> {
        let (u, u_gradient) = self.u(vertex);
        let types = self.tables.types.iter();
        Here {
            light: self,
            vertex,
            u_gradient,
            lines: types
                .map(|kind| (kind.map.line(u), kind.times.u.three(u)))
                .collect(),
        }
    }

    /// Makes maps ready for the sensors they were made for.
    ///
    /// # Errors
    /// If the geometry is another one, or the tables do not fit to each other.
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
        let total = ExpectedTotal::new(&tables, &sensors);
        let mut model = Self {
            tables,
            sensors,
            dark_per_ns,
            peak_ns: 0.0,
            total,
        };
        model.peak_ns = model.find_peak_ns();
        Ok(model)
    }

    /// The distribution of times half-way between centre and edge, at a middle distance, of all types together.
    fn usual(&self, time_ns: f64) -> Arrival {
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

    /// The middle of the densest 4 ns.
    fn find_peak_ns(&self) -> f64 {
        let within = |k: i32| {
            let from = 0.25 * f64::from(k);
            self.usual(from + 4.0).before - self.usual(from).before
        };
        let best = (-160..400).max_by(|&a, &b| within(a).total_cmp(&within(b)));
        0.25 * f64::from(best.unwrap_or(0)) + 2.0
    }

    /// The share of all light that comes from `from_ns` to `upto_ns` after the peak.
    #[must_use]
    pub fn share(&self, from_ns: f64, upto_ns: f64) -> f64 {
        let before = |time_ns: f64| self.usual(self.peak_ns + time_ns).before;
        before(upto_ns) - before(from_ns)
    }

    /// `(r / R)^2` of a vertex and its change with it.
    #[must_use]
    pub fn u(&self, vertex: Vector) -> (f64, Vector) {
        let square = self.tables.radius_mm * self.tables.radius_mm;
        (dot(vertex, vertex) / square, scaled(2.0 / square, vertex))
    }

    /// Photoelectrons for 1 MeV at `vertex` in all channels together, and their change with the vertex.
    #[must_use]
    pub fn total(&self, vertex: Vector) -> (f64, Vector) {
        self.total.at(self, vertex)
    }

    /// Photoelectrons for 1 MeV at `vertex` in the channel at place `place` of the sensors.
    #[must_use]
    pub fn expected(&self, place: usize, vertex: Vector) -> Expected {
        let (Some(sensor), Some(channel)) = (
            self.sensors.all().get(place),
            self.tables.channels.get(place),
        ) else {
            return Expected::default();
        };
        let (u, u_gradient) = self.u(vertex);
        let map = &self.tables.types[sensor.type_index].map;
        let way = minus(vertex, sensor.position_mm);
        let square = dot(way, way).max(1.0);
        let log_distance = 0.5 * square.ln();
        let log_distance_gradient = scaled(1.0 / square, way);
        let (value, slope_u, slope_v) = map.at(&map.u.taps(u), log_distance);
        let pe = channel.efficiency * value.exp() * 1e6 / square;
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
