//! A report to render, for tests.

use super::Settings;
use super::input::Occupancy;
use super::machine::Machine;
use super::quantiles::Quantiles;
use super::report::{Limit, Limits, Measurement, Report, Row};
use crate::extract::Parameters;
use crate::gpu::bandwidth::Bandwidth;

/// Results of a CPU and a GPU that do not exist.
pub(crate) fn report() -> Report {
    let rate = |median: f64| Quantiles {
        median,
        p10: 0.9 * median,
        p90: 1.05 * median,
    };
    let row = |measurement: Measurement, mean_pe: Occupancy, waveforms_s: f64| Row {
        measurement,
        stage: None,
        samples: 1000,
        mean_pe,
        batch: 4096,
        waveforms_s: rate(waveforms_s),
        input_gb_s: 2e-6 * waveforms_s,
        limit: None,
        share_of_limit: None,
        batch_ms: rate(4096e3 / waveforms_s),
    };
    let mut rows = Vec::new();
    for (mean_pe, slower) in [(Occupancy::MeanPe(1.0), 1.0), (Occupancy::Mix, 1.1)] {
        for (measurement, waveforms_s) in [
            (Measurement::CpuOneThread, 400e3),
            (Measurement::CpuAllThreads, 5e6),
            (Measurement::GpuKernel, 30e6),
            (Measurement::GpuOneBatch, 2e6),
            (Measurement::GpuStream, 4.4e6),
        ] {
            rows.push(row(measurement, mean_pe, waveforms_s / slower));
            if measurement == Measurement::GpuStream {
                let share = Some(0.125);
                let limit = Some(Limit::HostToDevice);
                let last = rows.len() - 1;
                rows[last].limit = limit;
                rows[last].share_of_limit = share;
            }
        }
        for (stage, waveforms_s) in [("load_samples", 3e6), ("deconvolve", 1e6)] {
            rows.push(Row {
                stage: Some(stage),
                ..row(Measurement::CpuOneThread, mean_pe, waveforms_s)
            });
        }
    }
    Report {
        nuwave: "0.1.0",
        commit: "abc1234".to_owned(),
        date_utc: "2026-11-25T12:00:00Z".to_owned(),
        machine: Machine {
            cpu: Some("A processor".to_owned()),
            cores: 16,
            memory_bytes: Some(64 << 30),
            os: "linux x86_64".to_owned(),
        },
        adapter: None,
        limits: Limits {
            host_copy_one_thread_gb_s: 10.0,
            host_copy_gb_s: 80.0,
            gpu: Some(Bandwidth {
                bytes: 1 << 28,
                staging_gb_s: 20.0,
                upload_gb_s: 64.0,
                read_back_gb_s: 60.0,
                device_gb_s: 3000.0,
            }),
        },
        settings: Settings {
            detector: crate::detector::load("juno").expect("a preset"),
            parameters: Parameters::default(),
            lengths: vec![1000],
            mean_pe: vec![Occupancy::MeanPe(1.0), Occupancy::Mix],
            batches: vec![4096],
            repetitions: 10,
            threads: 16,
            quick: false,
        },
        clock_ns: 25.0,
        rows,
        notes: vec!["a note".to_owned()],
    }
}
