//! Events on one core: hits of 17,612 channels to vertex, time and energy, at several energies.
//!
//! Light maps and events are synthetic (`tests/support/light.rs`), so that the benchmark needs no calibration; the cost of calibrated
//! maps is the `time` line of `nuwave reconstruct --from hits --threads 1`.

#[path = "../tests/support/light.rs"]
mod light;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use light::{drawn, model};
use nuwave::detector;
use nuwave::event::{EventMethod, EventReconstructor};
use nuwave::model::EventHits;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Photoelectrons of 1 MeV.
const PE_PER_MEV: f64 = 1700.0;
/// Events per energy.
const EVENTS: usize = 20;

fn events(criterion: &mut Criterion) {
    let detector = detector::load("juno").expect("a preset");
    let light = model(&detector);
    let mut group = criterion.benchmark_group("events");
    group.sample_size(10);
    for energy_mev in [0.5, 1.0, 3.0, 10.0] {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let events: Vec<EventHits> = (0..EVENTS)
            .map(|_| {
                let r_mm = 17_200.0 * rng.random::<f64>().cbrt();
                let z = 2.0 * rng.random::<f64>() - 1.0;
                let vertex = [r_mm * (1.0 - z * z).sqrt(), 0.0, r_mm * z];
                let scale = PE_PER_MEV / light.expected_total(vertex).0;
                drawn(&light, vertex, energy_mev * scale, &mut rng)
            })
            .collect();
        group.throughput(Throughput::Elements(EVENTS as u64));
        for method in [
            EventMethod::Full,
            EventMethod::Charge,
            EventMethod::Centroid,
        ] {
            let reconstructor =
                EventReconstructor::new(&detector, Some(light.clone()), method).expect("maps");
            let name = format!("{method:?}").to_lowercase();
            group.bench_with_input(
                BenchmarkId::new(name, format!("{energy_mev} MeV")),
                &events,
                |bencher, events| {
                    bencher.iter(|| {
                        for event in events {
                            std::hint::black_box(reconstructor.reconstruct(event));
                        }
                    });
                },
            );
        }
    }
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
