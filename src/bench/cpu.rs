//! Times the CPU: the whole extraction, and each stage.
//!
//! The whole is timed from outside. The stages are timed within the extraction: the clock is read after each one, and the
//! cost of a reading, measured beforehand, is subtracted each time. The compiler sees one more call between two stages
//! than in a plain run, so that the sum of the stages exceeds the whole by a few per cent.

use std::hint::black_box;
use std::time::Instant;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::quantiles::Quantiles;
use crate::error::Result;
use crate::extract::workspace::Workspace;
use crate::extract::{Backend as _, Extractor, Stage};
use crate::model::Batch;

/// Waveforms per task, as in the backend.
const TASK: usize = 128;
/// Bytes copied per task.
const COPY_TASK: usize = 1 << 20;
/// Minimum time per waveform: less cannot be distinguished from the cost of the clock.
pub const MIN_STAGE_NS: f64 = 1.0;
/// The stages, and the work after the last one: shift of times, sums, order. For methods without stages, the latter is
/// everything after the first one.
const PARTS: usize = Stage::ALL.len() + 1;

/// Returns the seconds that each of `repetitions` extractions of `batch` takes, after two warm-up runs.
///
/// # Errors
/// If the extractor fails.
pub fn whole_s(
    pool: &ThreadPool,
    extractor: &Extractor,
    batch: &Batch,
    repetitions: usize,
) -> Result<Vec<f64>> {
    let once = || {
        let start = Instant::now();
        let extracted = pool.install(|| extractor.extract(batch))?;
        let took_s = start.elapsed().as_secs_f64();
        drop(black_box(extracted));
        Ok(took_s)
    };
    for _ in 0..2 {
        once()?;
    }
    (0..repetitions).map(|_| once()).collect()
}

/// Time of a part of extraction in each repetition.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The stage, or the work after the last one.
    pub name: &'static str,
    /// Time per waveform, divided by the number of threads.
    pub waveform_ns: Vec<f64>,
}

/// Times each stage in `repetitions` extractions of `batch`, after one warm-up run. `clock_ns` is the cost of one reading of
/// the clock.
#[must_use]
pub fn stages(
    pool: &ThreadPool,
    extractor: &Extractor,
    batch: &Batch,
    repetitions: usize,
    clock_ns: f64,
) -> Vec<Part> {
    let rest = if extractor.parameters().method.fits() {
        "fit"
    } else if extractor.parameters().method.deconvolves() {
        "conclude"
    } else {
        "over-threshold"
    };
    let mut parts: Vec<Part> = Stage::ALL
        .iter()
        .map(|stage| stage.name())
        .chain([rest])
        .map(|name| Part {
            name,
            waveform_ns: Vec::with_capacity(repetitions),
        })
        .collect();
    let waveforms = batch.len().max(1) as f64;
    for repetition in 0..=repetitions {
        let spent = pool.install(|| once(extractor, batch));
        if repetition == 0 {
            continue;
        }
        let at_once = pool.current_num_threads() as f64;
        for (part, (total_ns, readings)) in parts.iter_mut().zip(spent) {
            let net_ns = (total_ns as f64 - readings as f64 * clock_ns).max(0.0);
            part.waveform_ns.push(net_ns / waveforms / at_once);
        }
    }
    parts
}

/// Nanoseconds spent in each part by all threads together, and how often the clock was read after it.
type Spent = [(u64, u64); PARTS];

fn once(extractor: &Extractor, batch: &Batch) -> Spent {
    (0..batch.len())
        .into_par_iter()
        .step_by(TASK)
        .map_init(
            || (Workspace::default(), Vec::new()),
            |(work, hits), start| {
                let mut spent = Spent::default();
                let mut last = Instant::now();
                for place in start..(start + TASK).min(batch.len()) {
                    let Some(waveform) = batch.get(place) else {
                        continue;
                    };
                    hits.clear();
                    let mut note = |part: usize| {
                        let now = Instant::now();
                        if let Some((total_ns, readings)) = spent.get_mut(part) {
                            *total_ns += now.duration_since(last).as_nanos() as u64;
                            *readings += 1;
                        }
                        last = now;
                    };
                    let summary =
                        extractor.extract_waveform(waveform, work, hits, &mut |stage, _| {
                            note(stage as usize);
                        });
                    black_box(summary);
                    note(PARTS - 1);
                }
                spent
            },
        )
        .reduce(Spent::default, |mut sum, spent| {
            for (sum, part) in sum.iter_mut().zip(spent) {
                *sum = (sum.0 + part.0, sum.1 + part.1);
            }
            sum
        })
}

/// Measures the cost of one reading of the clock.
#[must_use]
pub fn clock_ns() -> f64 {
    const READINGS: u32 = 2000;
    let costs: Vec<f64> = (0..21)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..READINGS {
                black_box(Instant::now());
            }
            start.elapsed().as_nanos() as f64 / f64::from(READINGS)
        })
        .collect();
    Quantiles::from_values(&costs).median
}

/// Measures how fast the threads of `pool` copy within host memory, in GB/s, counting bytes read and bytes written: the
/// median of `repetitions` copies of `bytes`, after one warm-up copy.
#[must_use]
pub fn copy_gb_s(pool: &ThreadPool, bytes: usize, repetitions: usize) -> f64 {
    pool.install(|| {
        let source: Vec<u8> = (0..bytes).map(|byte| byte as u8).collect();
        let mut target = vec![0_u8; bytes];
        let mut rates = Vec::with_capacity(repetitions);
        for repetition in 0..=repetitions {
            let start = Instant::now();
            target
                .par_chunks_mut(COPY_TASK)
                .zip(source.par_chunks(COPY_TASK))
                .for_each(|(target, source)| target.copy_from_slice(source));
            black_box(&mut target);
            if repetition > 0 {
                rates.push(2.0 * bytes as f64 / start.elapsed().as_secs_f64().max(1e-9) / 1e9);
            }
        }
        Quantiles::from_values(&rates).median
    })
}

#[cfg(test)]
mod tests {
    use super::super::input::{Occupancy, batch};
    use super::*;
    use crate::extract::{DigitizerConfig, Method, Parameters};
    use crate::threads::thread_pool;

    #[test]
    fn the_stages_take_time_and_together_about_as_long_as_the_whole() {
        let detector = crate::detector::load("juno").expect("a preset");
        let readout = DigitizerConfig {
            sampling_ns: detector.readout.sampling_ns,
            polarity: detector.readout.polarity,
            adc_bits: Some(detector.readout.adc_bits),
        };
        let batch = batch(&detector, Occupancy::MeanPe(3.0), 300, 0).expect("waveforms");
        let pool = thread_pool(1).expect("a thread");
        for (method, expected) in [(Method::Deconvolution, 8), (Method::Coti, 2)] {
            let parameters = Parameters {
                method,
                ..Parameters::default()
            };
            let calibration = detector.nominal_calibration().expect("a preset's");
            let extractor = Extractor::new(calibration, readout, parameters).expect("valid");
            let whole_s = whole_s(&pool, &extractor, &batch, 3).expect("extracts");
            assert_eq!(whole_s.len(), 3);
            let parts = stages(&pool, &extractor, &batch, 3, clock_ns());
            let sums: Vec<f64> = parts
                .iter()
                .map(|part| part.waveform_ns.iter().sum::<f64>() / 3.0)
                .collect();
            let taken = sums.iter().filter(|&&ns| ns > MIN_STAGE_NS).count();
            assert!(
                taken >= expected - 1 && taken <= PARTS,
                "{method:?}: {sums:?}"
            );
            // Tests share their cores with others; only the order of magnitude can be asked for.
            let ratio =
                sums.iter().sum::<f64>() / (1e9 / 300.0 * Quantiles::from_values(&whole_s).median);
            assert!((0.1..10.0).contains(&ratio), "{method:?}: {ratio}");
        }
        assert!(copy_gb_s(&pool, 1 << 22, 2) > 0.0);
    }
}
