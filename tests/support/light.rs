//! Light maps that are made up, and events drawn from them.

use std::sync::Arc;

use nuwave::detector::Detector;
use nuwave::event::LightModel;
use nuwave::model::light_maps::{
    ChannelLight, ChargeTable, EnergyScale, FROM_NS, LightSpeed, LightTables, Nodes, STEP_NS,
    STEP_PE, SplineAxis, Surface, TimeTable, TypeLight,
};
use nuwave::model::{ChannelHit, EventHits, Flags};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Normal, Poisson};

/// Maps that know nothing of optics: light falls with distance, times are exponentials that lengthen with it.
pub fn model(detector: &Detector) -> LightModel {
    let sensors = Arc::clone(detector.sensors().expect("a geometry"));
    let radius_mm = 17_700.0;
    let axes = (
        SplineAxis {
            low: 0.0,
            high: 1.05,
            intervals: 6,
        },
        SplineAxis {
            low: 7.0,
            high: 10.6,
            intervals: 12,
        },
    );
    let mut coefficients = Vec::new();
    for i in 0..axes.0.splines() {
        for j in 0..axes.1.splines() {
            let (i, j) = (i as f64, j as f64);
            coefficients.push(3.7 - 0.004 * j * j + 0.02 * i - 0.002 * i * j);
        }
    }
    let nodes = (
        Nodes {
            low: 0.0,
            high: 1.0,
            count: 3,
        },
        Nodes {
            low: 7.0,
            high: 10.6,
            count: 4,
        },
    );
    let densities: Vec<Vec<f64>> = (0..12)
        .map(|node| {
            (0..1800)
                .map(|k| {
                    let t = FROM_NS + STEP_NS * f64::from(k);
                    let tau = 6.0 + f64::from(node % 4);
                    (-0.5 * (t.min(0.0) / 2.0).powi(2)).exp() * (-t.max(0.0) / tau).exp()
                        + 1e-3 * (-t.max(0.0) / 200.0).exp() * f64::from(u8::from(t > 0.0))
                })
                .collect()
        })
        .collect();
    let single: Vec<f64> = (0..100)
        .map(|k| (-0.5 * ((f64::from(k) * STEP_PE - 1.0) / 0.3).powi(2)).exp())
        .collect();
    let kind = |name: &str| TypeLight {
        name: name.to_owned(),
        map: Surface {
            u: axes.0,
            v: axes.1,
            coefficients: coefficients.clone(),
        },
        times: TimeTable::new(nodes.0, nodes.1, &densities).expect("good densities"),
        charges: ChargeTable::new(&single).expect("a good spectrum"),
    };
    let channels = (0..sensors.len())
        .map(|k| ChannelLight {
            efficiency: 1.0 + 0.2 * (k as f64).sin(),
            time_offset_ns: 0.0,
            dark_per_ns: 24e-6,
        })
        .collect();
    let tables = LightTables {
        detector: detector.name.clone(),
        geometry_crc32c: sensors.crc32c(),
        radius_mm,
        window_ns: 1000.0,
        flight: LightSpeed {
            radius_mm: Some(radius_mm),
            inner_ns_per_mm: 0.005_1,
            outer_ns_per_mm: 0.004_5,
        },
        separation_ns: 10.0,
        seed: [1.3, 0.0],
        types: vec![kind("R12860"), kind("NNVT-MCP")],
        channels,
        energy: EnergyScale::default(),
    };
    LightModel::new(tables, sensors).expect("maps of this detector")
}

/// An event drawn from the maps themselves: photoelectrons of Poisson's numbers, times from the tables, charges of 1 PE
/// +- 0.3, dark ones; photoelectrons closer than 10 ns to the one before are one hit.
pub fn drawn(
    light: &LightModel,
    vertex: [f64; 3],
    energy_mev: f64,
    rng: &mut ChaCha8Rng,
) -> EventHits {
    let t0_ns = 250.0;
    let spread = Normal::new(1.0, 0.3).expect("a normal distribution");
    let (u, _) = light.u(vertex);
    let mut hits = Vec::new();
    for (place, sensor) in light.sensors.all().iter().enumerate() {
        let expected = light.expected(place, vertex);
        let number = |mean: f64, rng: &mut ChaCha8Rng| {
            Poisson::new(mean).map_or(0.0, |poisson| poisson.sample(rng)) as usize
        };
        let (flight_ns, _) = light.tables.flight.time_ns(vertex, sensor.position_mm);
        let table = &light.tables.types[sensor.type_index].times;
        let mut times = Vec::new();
        for _ in 0..number(energy_mev * expected.pe, rng) {
            let share = rng.random::<f64>();
            let (mut low, mut high) = (FROM_NS, table.end_ns());
            for _ in 0..40 {
                let middle = 0.5 * (low + high);
                if table.at(u, expected.log_distance, middle).before < share {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            times.push(t0_ns + flight_ns + low);
        }
        let dark = light.tables.channels[place].dark_per_ns * 1000.0;
        times.extend((0..number(dark, rng)).map(|_| 1000.0 * rng.random::<f64>()));
        times.retain(|time| (0.0..1000.0).contains(time));
        times.sort_by(f64::total_cmp);
        for group in times.chunk_by(|a, b| b - a < 10.0) {
            let charge_pe: f64 = group
                .iter()
                .map(|_| f64::max(spread.sample(rng), 0.05))
                .sum();
            hits.push(ChannelHit {
                channel_id: sensor.channel_id,
                time_ns: group[0],
                charge_pe: charge_pe as f32,
                flags: Flags::NONE,
            });
        }
    }
    EventHits { event_id: 0, hits }
}
