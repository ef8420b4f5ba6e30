//! The fit of events with exactly known light maps: the hits are drawn from the expectation of the maps.

use std::sync::Arc;

use crate::support::light::{drawn, model};
use nuwave::detector::{self, Detector};
use nuwave::event::{EventMethod, EventReconstructor, LightModel};
use nuwave::model::{ChannelHit, EventHits, Flags};
use nuwave::simulate::{Energy, EventPlan, EventSource, HitFinder, Particle, Vertex, events};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

fn some_event(detector: &Detector) -> EventHits {
    let plan = EventPlan {
        detector: detector.clone(),
        seed: 3,
        detector_seed: 1,
        first_event: 0,
        sources: vec![EventSource {
            events: 1,
            vertex: Vertex::Fixed([4000.0, -6000.0, 9000.0]),
            energy: Energy::Fixed(2.0),
            particle: Particle::Electron,
        }],
        time_spread_ns: 0.0,
        dark: true,
        pile_up_ns: None,
    };
    let event = events(&plan)
        .expect("a good plan")
        .flatten()
        .next()
        .expect("one event");
    event.hits(&HitFinder::default(), 3, 1000.0)
}

#[test]
fn the_gradient_is_that_of_the_likelihood() {
    let detector = detector::load("juno").expect("a preset");
    let event = some_event(&detector);
    for method in [EventMethod::Full, EventMethod::Charge, EventMethod::Time] {
        let reconstructor = EventReconstructor::new(&detector, Some(model(&detector)), method)
            .expect("maps are there");
        let fit = reconstructor
            .fit(&event)
            .expect("maps are there")
            .expect("enough hits");
        let mut point = fit.seed;
        point[0] += 137.0;
        point[4] += 0.07;
        let (_, gradient) = fit.minus_log_likelihood(&point);
        for (axis, h) in [0.01, 0.01, 0.01, 1e-5, 1e-5].into_iter().enumerate() {
            let moved = |by: f64| {
                let mut moved = point;
                moved[axis] += by;
                fit.minus_log_likelihood(&moved).0
            };
            let slope = (moved(h) - moved(-h)) / (2.0 * h);
            let scale = 1e-4 * gradient[axis].abs() + 1e-3 * [1e-2, 1e-2, 1e-2, 10.0, 100.0][axis];
            assert!(
                (slope - gradient[axis]).abs() < scale,
                "{method:?} {axis}: {slope} {}",
                gradient[axis]
            );
        }
    }
}

#[test]
fn all_channels_together_are_the_sum_of_each() {
    let detector = detector::load("juno").expect("a preset");
    let light = model(&detector);
    for vertex in [
        [0.0, 0.0, 0.0],
        [3000.0, -2000.0, 9000.0],
        [10_000.0, 10_000.0, -9_000.0],
    ] {
        let (total, gradient) = light.expected_total(vertex);
        let (mut sum, mut slope) = (0.0, [0.0; 3]);
        for place in 0..light.sensors.len() {
            let one = light.expected(place, vertex);
            sum += one.pe;
            for (sum, x) in slope.iter_mut().zip(one.gradient) {
                *sum += x;
            }
        }
        assert!(
            (total / sum - 1.0).abs() < 2e-4,
            "{vertex:?}: {total} {sum}"
        );
        for (a, b) in gradient.iter().zip(slope) {
            assert!((a - b).abs() < 2e-6 * sum, "{gradient:?} {slope:?}");
        }
    }
}

#[test]
fn bad_hits_are_flags_and_no_event_ends_without_a_reason() {
    let detector = detector::load("juno").expect("a preset");
    let hit = |channel_id, time_ns, charge_pe| ChannelHit {
        channel_id,
        time_ns,
        charge_pe,
        flags: Flags::NONE,
    };
    let good = some_event(&detector).hits;
    let with = |more: &[ChannelHit]| {
        let mut hits = good.clone();
        hits.extend_from_slice(more);
        hits
    };
    let cases: [(Vec<ChannelHit>, Flags); 9] = [
        (vec![], Flags::TOO_FEW_HITS),
        (vec![hit(5, 300.0, 1.0)], Flags::TOO_FEW_HITS),
        (
            (0..420)
                .map(|k| hit(k * 40, 2.3 * f64::from(k), 1.0))
                .collect(),
            Flags::TOO_FEW_HITS,
        ),
        (with(&[hit(99_999, 300.0, 1.0)]), Flags::UNKNOWN_CHANNEL),
        (with(&[hit(5, 1e4, 1.0)]), Flags::HITS_OUTSIDE_WINDOW),
        (with(&[hit(5, f64::NAN, 1.0)]), Flags::BAD_HITS),
        (with(&[hit(5, 300.0, f32::INFINITY)]), Flags::BAD_HITS),
        (with(&[hit(5, 300.0, -1.0)]), Flags::BAD_HITS),
        (with(&good[..3]), Flags::DUPLICATE_HITS),
    ];
    for method in [EventMethod::Full, EventMethod::Centroid] {
        for light in [Some(model(&detector)), None] {
            if light.is_none() && method != EventMethod::Centroid {
                continue;
            }
            let reconstructor =
                EventReconstructor::new(&detector, light, method).expect("a geometry");
            for (hits, flag) in &cases {
                let event = reconstructor.reconstruct(&EventHits {
                    event_id: 1,
                    hits: hits.clone(),
                });
                assert!(event.flags.contains(*flag), "{event:?} {flag:?}");
                let found = [event.x_mm, event.time_ns, event.energy_mev];
                assert!(
                    found.iter().all(|x| x.is_finite()) || event.flags != Flags::NONE,
                    "{event:?}"
                );
            }
        }
    }
}

#[test]
fn maps_of_another_geometry_are_refused() {
    let juno = detector::load("juno").expect("a preset");
    let jinping = detector::load("jinping").expect("a preset");
    let tables = model(&juno).tables;
    let sensors = Arc::clone(jinping.sensors().expect("a geometry"));
    let error = LightModel::new(tables, sensors)
        .expect_err("another geometry")
        .to_string();
    assert!(error.contains("made for detector `juno`"), "{error}");
    assert!(EventReconstructor::new(&jinping, None, EventMethod::Full).is_err());
}

/// Mean and root mean square.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|x| x * x).sum::<f64>() / n).sqrt())
}

#[test]
fn a_fit_finds_what_the_hits_were_drawn_from_within_its_errors() {
    let detector = detector::load("juno").expect("a preset");
    let light = model(&detector);
    let full =
        EventReconstructor::new(&detector, Some(light.clone()), EventMethod::Full).expect("maps");
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut pulls: [Vec<f64>; 5] = Default::default();
    let n = 120;
    for _ in 0..n {
        let r_mm = 16_500.0 * rng.random::<f64>().cbrt();
        let z = 2.0 * rng.random::<f64>() - 1.0;
        let (sine, cosine) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        let across = r_mm * (1.0 - z * z).sqrt();
        let vertex = [across * cosine, across * sine, r_mm * z];
        // Of the light, not of the maps' units: about 1500 photoelectrons an event.
        let energy_mev = 1500.0 / light.expected_total(vertex).0;
        let event = full.reconstruct(&drawn(&light, vertex, energy_mev, &mut rng));
        assert_eq!(event.flags, Flags::NONE, "{event:?} {vertex:?}");
        for (pulls, pull) in pulls.iter_mut().zip([
            (event.x_mm - vertex[0]) / event.x_sigma_mm,
            (event.y_mm - vertex[1]) / event.y_sigma_mm,
            (event.z_mm - vertex[2]) / event.z_sigma_mm,
            (event.time_ns - 250.0) / event.time_sigma_ns,
            (event.energy_mev - energy_mev) / event.energy_sigma_mev,
        ]) {
            pulls.push(pull);
        }
    }
    for (name, pulls) in ["x", "y", "z", "t", "E"].iter().zip(&pulls) {
        let (mean, width) = moments(pulls);
        println!(
            "{name}: pull {mean:.3} +- {:.3}, width {width:.3}",
            width / f64::from(n).sqrt()
        );
        // 120 events know a mean to 0.09 and a width to 0.065: four standard deviations.
        assert!(mean.abs() < 0.37, "{name}: mean {mean}");
        assert!((0.74..1.26).contains(&width), "{name}: width {width}");
    }
}

#[test]
fn the_optimum_is_one() {
    let detector = detector::load("juno").expect("a preset");
    let light = model(&detector);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let vertex = [5000.0, -3000.0, 8000.0];
    let energy_mev = 1500.0 / light.expected_total(vertex).0;
    let hits = drawn(&light, vertex, energy_mev, &mut rng);
    for method in [EventMethod::Full, EventMethod::Time, EventMethod::Charge] {
        let reconstructor =
            EventReconstructor::new(&detector, Some(light.clone()), method).expect("maps");
        let fit = reconstructor
            .fit(&hits)
            .expect("maps")
            .expect("enough hits");
        let (best, converged) = fit.best();
        assert!(converged, "{method:?}");
        // Charges know nothing of the time: it stays that of the hits' peak.
        assert!(method != EventMethod::Charge || (best[3] - fit.seed[3]).abs() < 1e-6);
        let event = reconstructor.reconstruct(&hits);
        assert_eq!(event.flags, Flags::NONE, "{method:?} {event:?}");
        let (value, _) = fit.minus_log_likelihood(&best);
        for (axis, step) in [60.0, 60.0, 60.0, 0.3, 0.02].into_iter().enumerate() {
            for sign in [-1.0, 1.0] {
                let mut moved = best;
                moved[axis] += sign * step;
                assert!(
                    fit.minus_log_likelihood(&moved).0 > value,
                    "{method:?} {axis}"
                );
            }
        }
    }
}
