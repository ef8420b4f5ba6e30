//! Throughput of extraction on one core and on all: JUNO-like waveforms of 1000 samples at several mean numbers of
//! photoelectrons.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nuwave::detector;
use nuwave::extract::{Backend, DigitizerConfig, Extractor, Method, Parameters};
use nuwave::model::{Batch, SamplesRef, Waveform};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Exp, Poisson, StandardNormal};

/// Waveforms per batch.
const COUNT: u64 = 2048;

/// A batch of the detector's first PMT type with a Poisson number of photoelectrons of mean `mu` each.
fn batch(detector: &detector::Detector, mu: f64) -> Batch {
    let pmt = detector.type_of(0);
    let shape = pmt.pulse.shape().expect("a preset's pulse");
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut batch = Batch::new_u16(0);
    let decay = Exp::new(1.0 / 12.0).expect("positive");
    for event_id in 0..COUNT {
        let count = if mu > 0.0 {
            random.sample(Poisson::new(mu).expect("positive")) as usize
        } else {
            0
        };
        let light: Vec<(f64, f64)> = (0..count)
            .map(|_| {
                (
                    300.0 + random.sample(decay),
                    1.0 + 0.3 * random.sample::<f64, _>(StandardNormal),
                )
            })
            .collect();
        let samples: Vec<u16> = (0..1000)
            .map(|t| {
                let noise = 0.1 * random.sample::<f64, _>(StandardNormal);
                let pulses: f64 = light
                    .iter()
                    .map(|(t0, charge)| charge * shape.value(f64::from(t) - t0))
                    .sum();
                (11_000.0 - pmt.spe_peak_adc * (pulses + noise)).clamp(0.0, 16_383.0) as u16
            })
            .collect();
        batch.push(Waveform {
            event_id,
            channel_id: 0,
            start_ns: 0.0,
            samples: SamplesRef::U16(&samples),
        });
    }
    batch
}

fn extract(criterion: &mut Criterion) {
    let detector = detector::load("juno").expect("a preset");
    let readout = DigitizerConfig {
        sampling_ns: detector.readout.sampling_ns,
        polarity: detector.readout.polarity,
        adc_bits: Some(detector.readout.adc_bits),
    };
    // 0 threads: one per core.
    let pools = [("one core", 1), ("all cores", 0)].map(|(name, threads)| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        (name, pool.build().expect("threads"))
    });
    for method in [
        Method::Deconvolution,
        Method::Sparse,
        Method::Auto,
        Method::Integral,
        Method::Coti,
    ] {
        let parameters = Parameters {
            method,
            ..Parameters::default()
        };
        let calibration = detector
            .nominal_calibration()
            .expect("a preset's calibration");
        let extractor = Extractor::new(calibration, readout, parameters).expect("valid");
        let mut group = criterion.benchmark_group(method.name());
        group.throughput(Throughput::Elements(COUNT));
        group.sample_size(20);
        for mu in [0.0, 1.0, 5.0, 20.0] {
            let batch = batch(&detector, mu);
            for (cores, pool) in &pools {
                group.bench_with_input(
                    BenchmarkId::new(format!("{cores}, mean PE"), mu),
                    &batch,
                    |bencher, batch| {
                        bencher
                            .iter(|| pool.install(|| extractor.extract(batch)).expect("extracts"));
                    },
                );
            }
        }
        group.finish();
    }
}

criterion_group!(benches, extract);
criterion_main!(benches);
