//! GPU failures during a run: nothing is lost, nothing is duplicated, and the report lists the repeated work. Needs a GPU
//! adapter, software included.

use crate::support::reconstruct::{Run, nuwave, output, testdata};
use nuwave::detector;
use nuwave::extract::{
    Backend as _, BackendReport, DigitizerConfig, Extractor, Method, Parameters,
};
use nuwave::gpu::{Fault, Faults, GpuExtractor, Options, adapter, driver_threads};
use nuwave::model::{Batch, Extracted};
use nuwave::simulate::{LightLevel, Overrides, Profile, WaveformPlan, waveforms};

/// Steps of one chunk at which something can fail: prepare, upload, submit, read.
const STEPS: u64 = 4;
const BATCHES: u64 = 6;
/// Batches in flight, each of one chunk, and thus the number of reads after the last submission.
const IN_FLIGHT: u64 = 3;

fn plan() -> WaveformPlan {
    let change = Overrides {
        window_samples: Some(200),
        trigger_ns: Some(50.0),
        ..Overrides::default()
    };
    let detector = change
        .apply(detector::load("juno").expect("a preset"))
        .expect("a valid change");
    WaveformPlan {
        profile: Profile::named("ls", &detector).expect("the detector's own"),
        detector,
        seed: 11,
        events: 50,
        channels: vec![0, 5],
        light: LightLevel::MeanPe(2.0),
    }
}

/// The same waveforms in several batches.
fn batches() -> Vec<Batch> {
    let plan = plan();
    let whole = waveforms(&plan)
        .expect("a plan")
        .next()
        .expect("a block")
        .batch;
    (0..BATCHES)
        .map(|number| {
            let mut batch = Batch::new_u16(number as u32);
            for waveform in whole.iter().skip(number as usize) {
                batch.push(waveform);
            }
            batch
        })
        .collect()
}

fn extractor() -> Extractor {
    let detector = plan().detector;
    let readout = DigitizerConfig {
        sampling_ns: detector.readout.sampling_ns,
        polarity: detector.readout.polarity,
        adc_bits: Some(detector.readout.adc_bits),
    };
    // The method with the smallest kernel: a new device compiles it again each time.
    let parameters = Parameters {
        method: Method::Coti,
        ..Parameters::default()
    };
    let calibration = detector.nominal_calibration().expect("a preset's");
    Extractor::new(calibration, readout, parameters).expect("valid")
}

/// Runs all batches; `faults` are brought about on the way.
fn run(
    faults: Vec<(u64, Fault)>,
    chunk_waveforms: Option<usize>,
) -> (Vec<(Batch, Extracted)>, BackendReport) {
    let options = Options {
        faults: Faults::new(faults),
        chunk_waveforms,
        ..Options::default()
    };
    let wanted = std::env::var("NUWAVE_TEST_ADAPTER").ok();
    let adapter = adapter::find(wanted.as_deref()).expect("an adapter");
    let gpu = GpuExtractor::new(extractor(), adapter, options).expect("a device");
    let mut results = Vec::new();
    gpu.run(&mut batches().into_iter(), &mut |batch, extracted| {
        results.push((batch, extracted));
        Ok(true)
    })
    .expect("runs");
    (results, gpu.report().expect("a GPU's"))
}

/// Waits at the end of a test: the process must not end while a driver is still letting go of what failed.
struct Settled;

impl Drop for Settled {
    fn drop(&mut self) {
        let _ = driver_threads::wait_for_driver_threads(std::time::Duration::from_secs(5));
    }
}

/// Every batch once, in order, with its hits.
fn same(found: &[(Batch, Extracted)], expected: &[(Batch, Extracted)], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for ((batch, found), (other, expected)) in found.iter().zip(expected) {
        assert_eq!(batch, other, "{what}");
        let mut comparison = nuwave::gpu::comparison::compare::Comparison::default();
        comparison.add(&extractor(), batch, expected, found);
        assert!(
            comparison.holds() && comparison.unmatched == 0,
            "{what}: {comparison:?}"
        );
        assert_eq!(found.summaries.len(), batch.len(), "{what}");
    }
}

#[test]
#[ignore = "needs a GPU adapter"]
fn a_failure_at_any_step_changes_no_result() {
    let _settled = Settled;
    let (expected, report) = run(Vec::new(), None);
    // A few waveforms are the CPU's by right: the kernels do not follow baselines.
    assert!(report.retries.is_empty(), "{report:?}");
    let on_gpu = report.on_gpu;
    assert!(on_gpu > 500, "{report:?}");
    assert!(
        expected
            .iter()
            .any(|(_, extracted)| !extracted.hits.is_empty())
    );
    // Every step of the run, in whatever order the chunks in flight take them.
    let cases = [
        (Fault::Lose, 1),
        (Fault::OutOfMemory, 3),
        (Fault::Hang, 5),
        (Fault::Refuse, 7),
    ]
    .into_iter()
    .flat_map(|(fault, every)| {
        (0..BATCHES * STEPS)
            .step_by(every)
            .map(move |at| (fault, at))
    });
    for (fault, at) in cases {
        let what = format!("{fault:?} at step {at}");
        let (found, report) = run(vec![(at, fault)], None);
        // Each waveform came once, right, and counted once, whatever failed.
        same(&found, &expected, &what);
        let all: usize = found.iter().map(|(batch, _)| batch.len()).sum();
        assert_eq!(report.on_gpu, on_gpu, "{what}: {report:?}");
        let others: u64 = report.on_cpu.values().sum();
        assert_eq!(report.on_gpu + others, all as u64, "{what}: {report:?}");
        // A device that is lost after the last submission may have given all of it back by then, as a fast one has: nothing
        // was lost, and there is nothing to report.
        let all_submitted = at >= BATCHES * STEPS - IN_FLIGHT;
        if fault == Fault::Lose && all_submitted && report.device_failures == 0 {
            assert!(report.retries.is_empty(), "{what}: {report:?}");
            continue;
        }
        assert_eq!(report.device_failures, 1, "{what}: {report:?}");
        assert!(!report.retries.is_empty(), "{what}: {report:?}");
        assert!(
            report.retries.iter().all(|retry| retry.on == "gpu"),
            "{what}: {report:?}"
        );
        for retry in &report.retries {
            let batch = &found[retry.input_id as usize].0;
            assert_eq!(retry.first_event_id, batch.event_id()[0], "{what}");
            assert_eq!(retry.waveforms, batch.len() as u64, "{what}");
        }
    }
}

/// A driver that fails calls nobody back: only the device's health tells, long before the time limit.
#[test]
#[ignore = "needs a GPU adapter"]
fn a_device_that_vanishes_is_noticed_at_once() {
    let _settled = Settled;
    // Step 2 submits the first chunk; nothing is submitted after it that would wake the host.
    let options = Options {
        faults: Faults::new(vec![(2, Fault::Vanish)]),
        ..Options::default()
    };
    let wanted = std::env::var("NUWAVE_TEST_ADAPTER").ok();
    let adapter = adapter::find(wanted.as_deref()).expect("an adapter");
    let gpu = GpuExtractor::new(extractor(), adapter, options).expect("a device");
    let batch = batches().swap_remove(0);
    let start = std::time::Instant::now();
    let found = gpu.extract(&batch).expect("extracts");
    assert!(start.elapsed() < Options::default().time_limit / 2);
    let expected = gpu.cpu().extract(&batch).expect("extracts");
    same(&[(batch.clone(), found)], &[(batch, expected)], "vanished");
    let report = gpu.report().expect("a GPU's");
    assert_eq!(report.device_failures, 1, "{report:?}");
    assert_eq!(report.retries[0].on, "gpu", "{report:?}");
    assert!(report.on_gpu > 90, "{report:?}");
}

#[test]
#[ignore = "needs a GPU adapter"]
fn a_chunk_over_the_time_limit_is_left_to_the_cpu() {
    let _settled = Settled;
    let options = Options {
        time_limit: std::time::Duration::from_nanos(1),
        ..Options::default()
    };
    let wanted = std::env::var("NUWAVE_TEST_ADAPTER").ok();
    let adapter = adapter::find(wanted.as_deref()).expect("an adapter");
    let gpu = GpuExtractor::new(extractor(), adapter, options).expect("a device");
    // Large enough that no device has it done by the time it is asked.
    let mut large = Batch::new_u16(0);
    for batch in batches().iter().cycle().take(200) {
        batch.iter().for_each(|waveform| large.push(waveform));
    }
    let found = gpu.extract(&large).expect("extracts");
    let expected = gpu.cpu().extract(&large).expect("extracts");
    same(&[(large.clone(), found)], &[(large, expected)], "hung");
    let report = gpu.report().expect("a GPU's");
    assert!(report.device_failures >= 2, "{report:?}");
    assert!(
        report.retries[0].reason.contains("time limit"),
        "{report:?}"
    );
}

#[test]
#[ignore = "needs a GPU adapter"]
fn a_chunk_that_fails_twice_is_left_to_the_cpu() {
    let _settled = Settled;
    let (expected, _) = run(Vec::new(), None);
    // The first chunk fails when it goes up, and on the new device again.
    let (found, report) = run(vec![(1, Fault::OutOfMemory), (3, Fault::Hang)], None);
    same(&found, &expected, "twice");
    assert_eq!(report.device_failures, 2, "{report:?}");
    assert_eq!(report.retries[0].on, "cpu", "{report:?}");
    assert_eq!(report.on_cpu["the GPU failed"], found[0].0.len() as u64);
    assert_eq!(report.given_up, None);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn a_gpu_that_keeps_failing_is_given_up() {
    let _settled = Settled;
    let (expected, _) = run(Vec::new(), None);
    let faults = (0..40).map(|step| (step, Fault::Lose)).collect();
    let (found, report) = run(faults, None);
    same(&found, &expected, "given up");
    assert!(report.given_up.is_some(), "{report:?}");
    assert_eq!(report.on_gpu, 0, "{report:?}");
    let all: u64 = found.iter().map(|(batch, _)| batch.len() as u64).sum();
    assert_eq!(report.on_cpu["the GPU failed"], all, "{report:?}");
}

#[test]
#[ignore = "needs a GPU adapter"]
fn chunks_of_a_batch_stay_in_order_whatever_fails() {
    let _settled = Settled;
    let (expected, _) = run(Vec::new(), None);
    let faults = vec![(9, Fault::Lose), (40, Fault::Hang), (77, Fault::Lose)];
    let (found, report) = run(faults, Some(7));
    same(&found, &expected, "chunks");
    assert_eq!(report.device_failures, 3, "{report:?}");
}

fn reconstructed(folder: &std::path::Path, faults: &str) -> Run {
    let mut command = nuwave();
    command
        .args(["reconstruct", "--backend", "gpu", "--batch", "128"])
        .arg(testdata("juno64.h5"))
        .arg("-o")
        .arg(folder)
        .env("NUWAVE_GPU_FAULTS", faults);
    Run::new(&mut command)
}

#[test]
#[ignore = "needs a GPU adapter"]
fn failures_are_in_the_report_and_on_stderr() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, disturbed, lost) = (
        folder.path().join("whole"),
        folder.path().join("disturbed"),
        folder.path().join("lost"),
    );
    reconstructed(&whole, "").ended_with(0);
    let expected = output(&whole);
    assert_eq!(expected.report["backend"], "gpu");
    let on_gpu = expected.report["gpu"]["on_gpu"].as_u64().expect("a number");
    assert!(on_gpu > 900, "{on_gpu} of 1024");
    assert!(
        expected.report["adapter"]
            .as_str()
            .is_some_and(|name| !name.is_empty())
    );

    let run = reconstructed(&disturbed, "lose@6").ended_with(0);
    assert!(
        run.stderr.contains("the GPU failed 1 time"),
        "{}",
        run.stderr
    );
    let found = output(&disturbed);
    let retry = &found.report["gpu"]["retries"][0];
    assert_eq!(retry["waveforms"], 128, "{retry}");
    assert!(
        retry["reason"]
            .as_str()
            .is_some_and(|why| why.contains("device lost")),
        "{retry}"
    );
    assert_eq!(format!("{:?}", found.hits), format!("{:?}", expected.hits));

    let faults: Vec<String> = (0..60).map(|step| format!("lose@{step}")).collect();
    let run = reconstructed(&lost, &faults.join(",")).ended_with(6);
    assert!(
        run.stderr.contains("the GPU was given up"),
        "{}",
        run.stderr
    );
    assert_eq!(output(&lost).hits.len(), expected.hits.len());
}
