//! Simulated events: their light, where it goes and when.

use nuwave::detector::{self, Detector};
use nuwave::simulate::{
    Energy, EventPlan, EventSource, HitFinder, Particle, SimulatedEvent, Vertex, channel_constants,
    events,
};

/// The window of the juno preset.
const WINDOW_NS: f64 = 1000.0;

fn plan(events: u64, vertex: [f64; 3], energy_mev: f64) -> EventPlan {
    EventPlan {
        detector: detector::load("juno").expect("a preset"),
        seed: 7,
        detector_seed: 1,
        first_event: 0,
        sources: vec![EventSource {
            events,
            vertex: Vertex::Fixed(vertex),
            energy: Energy::Fixed(energy_mev),
            particle: Particle::Electron,
        }],
        time_spread_ns: 0.0,
        dark: false,
        pile_up_ns: None,
    }
}

fn linear(detector: &mut Detector) {
    detector.medium.as_mut().expect("a medium").nonlinearity = None;
}

fn made(plan: &EventPlan) -> Vec<SimulatedEvent> {
    events(plan).expect("a good plan").flatten().collect()
}

fn light(events: &[SimulatedEvent]) -> f64 {
    let sum: usize = events.iter().map(|one| one.photoelectrons.len()).sum();
    sum as f64 / events.len() as f64
}

#[test]
fn the_centre_has_the_light_that_the_detector_says() {
    let mut plan = plan(40, [0.0; 3], 1.0);
    linear(&mut plan.detector);
    let one = light(&made(&plan));
    // 40 events: 0.4 %; the late tail beyond the window: 28 permille x exp(-580/397) = 0.7 %.
    assert!((one / 1785.0 - 0.993).abs() < 0.015, "{one}");
    plan.sources[0].energy = Energy::Fixed(3.0);
    plan.seed = 8;
    let three = light(&made(&plan));
    assert!((three / one / 3.0 - 1.0).abs() < 0.015, "{three} {one}");
}

#[test]
fn the_same_seed_gives_the_same_events_whatever_the_threads_and_the_part() {
    let mut plan = plan(10, [3000.0, -8000.0, 1000.0], 0.7);
    plan.sources[0].vertex = Vertex::Within(17_700.0);
    plan.sources[0].particle = Particle::Positron;
    plan.dark = true;
    let all = made(&plan);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("one thread");
    assert_eq!(pool.install(|| made(&plan)), all);
    let finder = HitFinder::default();
    assert_eq!(
        all[3].hits(&finder, 1, WINDOW_NS),
        all[3].hits(&finder, 1, WINDOW_NS)
    );
    let mut part = plan.clone();
    part.first_event = 6;
    part.sources[0].events = 2;
    assert_eq!(made(&part), all[6..8]);
    let mut other = plan;
    other.seed += 1;
    assert_ne!(made(&other), all);
}

#[test]
fn first_light_from_the_centre_comes_after_its_time_of_flight() {
    let mut plan = plan(4, [0.0; 3], 5.0);
    for pmt in &mut plan.detector.pmt_types {
        pmt.transit_time_sigma_ns = 0.0;
    }
    let c = 299.792_458;
    let flight_ns = (17_700.0 * 1.54 + 120.0 * 1.49 + 1614.0 * 1.34) / c;
    for event in made(&plan) {
        let first = event
            .photoelectrons
            .iter()
            .map(|one| one.time_ns)
            .fold(f64::INFINITY, f64::min);
        let late = first - event.truth.time_ns - flight_ns;
        assert!((-0.01..0.3).contains(&late), "{late}");
    }
}

#[test]
fn light_falls_with_distance_and_is_missing_in_the_shadow_near_the_edge() {
    let plan = plan(20, [0.0, 0.0, 17_000.0], 1.0);
    let sensors = plan.detector.sensors().expect("a geometry").clone();
    // Prompt photoelectrons in bands of the angle between vertex and PMT.
    let bands = [(5.0, 10.0), (36.0, 48.0), (75.0, 90.0), (150.0, 180.0)];
    let (mut counts, mut pmts) = ([0.0; 4], [0.0; 4]);
    let band_of = |position: [f64; 3]| {
        let r = position.iter().map(|x| x * x).sum::<f64>().sqrt();
        let angle = (position[2] / r).acos().to_degrees();
        bands
            .iter()
            .position(|&(low, high)| (low..high).contains(&angle))
    };
    for sensor in sensors.all() {
        if let Some(band) = band_of(sensor.position_mm) {
            pmts[band] += 1.0;
        }
    }
    for event in made(&plan) {
        for one in &event.photoelectrons {
            let sensor = sensors.get(one.channel_id).expect("a PMT");
            if let Some(band) = band_of(sensor.position_mm) {
                counts[band] += 1.0;
            }
        }
    }
    let mean: Vec<f64> = counts.iter().zip(pmts).map(|(a, b)| a / b).collect();
    assert!(mean[0] > 5.0 * mean[2], "{mean:?}");
    assert!(mean[1] < mean[2], "no shadow: {mean:?}");
    assert!(mean[3] > 0.0, "{mean:?}");
}

#[test]
fn dark_noise_and_a_second_event_are_added() {
    let mut plan = plan(30, [0.0; 3], 0.0);
    plan.dark = true;
    let dark = light(&made(&plan));
    // 17,612 x 24 kHz x 1 us = 422.7; 30 events: 0.9 %.
    assert!((dark / 422.7 - 1.0).abs() < 0.035, "{dark}");
    plan.dark = false;
    assert_eq!(light(&made(&plan)), 0.0);
    plan.sources[0].energy = Energy::Fixed(1.0);
    let one = light(&made(&plan));
    plan.pile_up_ns = Some(300.0);
    let two = light(&made(&plan));
    // The late tail of the second is cut by the window's end.
    assert!((1.9..2.0).contains(&(two / one)), "{two} {one}");
}

#[test]
fn a_gamma_is_dimmer_than_an_electron_and_a_positron_has_two_of_them() {
    let mut plan = plan(30, [0.0; 3], 1.022);
    let electron = light(&made(&plan));
    plan.sources[0].particle = Particle::Gamma;
    let gamma = light(&made(&plan));
    assert!(
        gamma < 0.98 * electron && gamma > 0.8 * electron,
        "{gamma} {electron}"
    );
    plan.sources[0].particle = Particle::Positron;
    plan.sources[0].energy = Energy::Fixed(0.0);
    let at_rest = made(&plan);
    assert!((at_rest[0].truth.energy_mev - 1.022).abs() < 1e-4);
    assert!(light(&at_rest) < gamma);
}

#[test]
fn hits_merge_what_is_close_and_miss_what_is_small() {
    let mut plan = plan(3, [0.0, 0.0, 17_000.0], 5.0);
    plan.dark = true;
    let perfect = HitFinder {
        separation_ns: 0.0,
        time_sigma_ns: 0.0,
        charge_sigma_pe: 0.0,
        threshold_pe: 0.0,
    };
    for event in made(&plan) {
        let hits = event.hits(&perfect, 1, WINDOW_NS).hits;
        assert_eq!(hits.len(), event.photoelectrons.len());
        for (hit, one) in hits.iter().zip(&event.photoelectrons) {
            assert_eq!(hit.channel_id, one.channel_id);
            assert_eq!(hit.time_ns, one.time_ns);
            assert_eq!(hit.charge_pe, one.charge_pe);
        }
        let merged = event.hits(
            &HitFinder {
                separation_ns: 10.0,
                ..perfect
            },
            1,
            WINDOW_NS,
        );
        assert!(merged.hits.len() < hits.len());
        let charge = |hits: &[nuwave::model::ChannelHit]| {
            hits.iter().map(|hit| f64::from(hit.charge_pe)).sum::<f64>()
        };
        assert!((charge(&merged.hits) / charge(&hits) - 1.0).abs() < 1e-6);
        for pair in merged.hits.windows(2) {
            assert!(
                pair[0].channel_id != pair[1].channel_id
                    || pair[1].time_ns - pair[0].time_ns >= 9.99
            );
        }
    }
}

#[test]
fn efficiencies_spread_as_the_detector_says_and_are_its_own() {
    let juno = detector::load("juno").expect("a preset");
    let constants = channel_constants(&juno, 1);
    assert_eq!(constants, channel_constants(&juno, 1));
    assert_ne!(constants, channel_constants(&juno, 2));
    let n = constants.len() as f64;
    let mean = constants.iter().map(|one| one.efficiency).sum::<f64>() / n;
    let square = constants
        .iter()
        .map(|one| (one.efficiency - mean).powi(2))
        .sum::<f64>()
        / n;
    assert!((mean - 1.0).abs() < 0.002 && (square.sqrt() - 0.05).abs() < 0.002);
}

#[test]
fn impossible_simulations_are_refused() {
    let refused = |change: &dyn Fn(&mut EventPlan), expected: &str| {
        let mut plan = plan(1, [0.0; 3], 1.0);
        change(&mut plan);
        let error = events(&plan).err().expect(expected).to_string();
        assert!(error.contains(expected), "{error}\ninstead of {expected}");
    };
    refused(&|p| p.sources.clear(), "nothing to simulate");
    refused(
        &|p| p.sources[0].vertex = Vertex::Fixed([0.0, 0.0, 18_000.0]),
        "within 17700 mm of the centre",
    );
    refused(
        &|p| p.sources[0].vertex = Vertex::Within(f64::NAN),
        "within 17700 mm",
    );
    refused(
        &|p| p.sources[0].energy = Energy::Fixed(-1.0),
        "the energy in MeV",
    );
    refused(
        &|p| p.sources[0].energy = Energy::Between(3.0, 1.0),
        "the energy in MeV",
    );
    refused(
        &|p| p.sources[0].energy = Energy::Spectrum(vec![(1.0, 0.0)]),
        "a weight of the spectrum",
    );
    refused(
        &|p| p.time_spread_ns = -1.0,
        "the spread of the events' times",
    );
    refused(&|p| p.detector.medium = None, "has no medium");
    refused(
        &|p| p.detector = detector::load("lab").expect("a preset"),
        "has no geometry",
    );
}
