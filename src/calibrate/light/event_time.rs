//! The time of an event of known position and energy: maximum likelihood of its first hits.

use crate::detector::Sensors;
use crate::event::LightModel;
use crate::event::prepare::Prepared;
use crate::math;
use crate::model::vector::Vector;

/// Maximum number of steps, maximum length of a step, and tolerance.
const MAX_STEPS: usize = 20;
const MAX_STEP_NS: f64 = 2.0;
const TOLERANCE_NS: f64 = 0.005;
/// Minimum dark rate.
const MIN_PER_NS: f64 = 1e-9;

/// A first hit and its expectation.
pub(super) struct FirstHit {
    pub kind: usize,
    /// Logarithm of the distance.
    pub v: f64,
    pub light_pe: f64,
    pub dark_per_ns: f64,
    /// Time minus time of flight.
    pub time_ns: f64,
}

impl FirstHit {
    /// Returns `ln L` for a deposit at `start_ns`, its derivative, and the information of the hit.
    pub(super) fn at(&self, light: &LightModel, u: f64, start_ns: f64) -> (f64, f64, f64) {
        let times = &light.tables.types[self.kind].times;
        let arrival = times.at(u, self.v, self.time_ns - start_ns);
        let rate = self.light_pe * arrival.density + self.dark_per_ns + MIN_PER_NS;
        let change = -self.light_pe * arrival.density_slope / rate;
        (
            math::ln(rate) - self.light_pe * arrival.before,
            change + self.light_pe * arrival.density,
            change * change,
        )
    }
}

/// Returns the time of an event of `visible_mev` at `position`, starting from `start_ns`.
pub(super) fn fit_event_time_ns(
    light: &LightModel,
    sensors: &Sensors,
    hits: &Prepared,
    position: Vector,
    visible_mev: f64,
    start_ns: f64,
) -> f64 {
    let (u, _) = light.u(position);
    let hits: Vec<FirstHit> = hits
        .channels
        .iter()
        .map(|channel| {
            let sensor = sensors.all()[channel.index];
            let expected = light.expected(channel.index, position);
            let (flight_ns, _) = light.tables.flight.time_ns(position, sensor.position_mm);
            FirstHit {
                kind: sensor.type_index,
                v: expected.log_distance,
                light_pe: visible_mev * expected.pe,
                dark_per_ns: light.tables.channels[channel.index].dark_per_ns,
                time_ns: channel.first_ns - flight_ns,
            }
        })
        // Hits far from the light carry no information on its time.
        .filter(|hit| (-30.0..150.0).contains(&(hit.time_ns - start_ns)))
        .collect();
    let at = |t_ns: f64| {
        let (mut log, mut slope, mut information) = (0.0, 0.0, 0.0);
        for hit in &hits {
            let (log_one, slope_one, information_one) = hit.at(light, u, t_ns);
            log += log_one;
            slope += slope_one;
            information += information_one;
        }
        (log, slope, information)
    };
    let mut time_ns = start_ns;
    let mut here = at(time_ns);
    for _ in 0..MAX_STEPS {
        let (log, slope, information) = here;
        let mut step_ns = (slope / information.max(1e-9)).clamp(-MAX_STEP_NS, MAX_STEP_NS);
        if step_ns.abs() < TOLERANCE_NS {
            break;
        }
        loop {
            let there = at(time_ns + step_ns);
            if there.0 >= log {
                time_ns += step_ns;
                here = there;
                break;
            }
            step_ns *= 0.5;
            if step_ns.abs() < TOLERANCE_NS {
                return time_ns;
            }
        }
    }
    time_ns
}
