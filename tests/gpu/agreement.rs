//! CPU and GPU give the same hits: simulated waveforms of every kind, windows of any content and length, stage by stage.
//! Needs a GPU adapter, software included; the one to take can be named with `NUWAVE_TEST_ADAPTER`.

use std::time::Duration;

use crate::support::windows::{Content, Window, batch, calibration_of, window};
use nuwave::detector;
use nuwave::extract::{
    Backend as _, BackendReport, DigitizerConfig, Extractor, Method, Parameters, Stage,
};
use nuwave::gpu::comparison::compare::{Comparison, ERROR_SHARE, UNMATCHED_SHARE};
use nuwave::gpu::comparison::stage_by_stage::StageByStage;
use nuwave::gpu::{GpuExtractor, Options, adapter};
use nuwave::model::{Batch, Calibration, Flags, Polarity, SamplesRef, Waveform};
use nuwave::simulate::{LightLevel, Overrides, Profile, WaveformPlan, waveforms};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

/// Why the kernels leave waveforms to the CPU that are not those of light and noise on a constant baseline.
const IRREGULAR: &str =
    "a moving baseline, light at the window's end or odd samples, to be checked";

fn gpu(calibration: &Calibration, readout: DigitizerConfig, method: Method) -> GpuExtractor {
    let parameters = Parameters {
        method,
        ..Parameters::default()
    };
    let cpu = Extractor::new(calibration.clone(), readout, parameters).expect("valid");
    let wanted = std::env::var("NUWAVE_TEST_ADAPTER").ok();
    let adapter = adapter::find(wanted.as_deref()).expect("an adapter");
    let options = Options {
        // A software rasteriser may take long over a kernel that it meets for the first time.
        time_limit: Duration::from_secs(180),
        ..Options::default()
    };
    GpuExtractor::new(cpu, adapter, options).expect("a device")
}

fn compare(gpu: &GpuExtractor, batch: &Batch, comparison: &mut Comparison) {
    let expected = gpu.cpu().extract(batch).expect("extracts");
    let found = gpu.extract(batch).expect("extracts");
    assert_eq!(found.summaries.len(), batch.len());
    comparison.add(gpu.cpu(), batch, &expected, &found);
}

/// Every difference hangs on the last bit of a number, and there are no more than `share` of them.
fn agrees(comparison: &Comparison, share: f64, what: &str) {
    assert!(comparison.hits > 0, "{what}: nothing to compare");
    assert_eq!(comparison.unexplained(), 0, "{what}: {comparison:#?}");
    assert_eq!(comparison.flags_differ, 0, "{what}: {comparison:#?}");
    assert!(
        comparison.worst_baseline_sigma < 0.05,
        "{what}: {comparison:#?}"
    );
    assert!(
        comparison.worst_error_share <= ERROR_SHARE,
        "{what}: {comparison:#?}"
    );
    // Two decisions, with a hit on either side each, are no share of a few hits.
    assert!(
        comparison.unmatched <= 4 || comparison.unmatched_share() <= share,
        "{what}: {comparison:#?}"
    );
}

/// The promised agreement for waveforms as detectors give them.
fn promised(comparison: &Comparison, what: &str) {
    agrees(comparison, UNMATCHED_SHARE, what);
}

/// Windows made to be difficult, most of them without noise or with pulses hundreds of photoelectrons high, stand on edges more often.
fn agrees_on_odd_windows(comparison: &Comparison, what: &str) {
    agrees(comparison, 0.01, what);
}

/// A fit solves for times too, and next to a pulse of hundreds of photoelectrons a weak one's depends on rounding by hundredths of a nanosecond,
/// edge or none.
fn fits_agree_on_odd_windows(comparison: &Comparison, what: &str) {
    assert!(
        comparison.unexplained() <= comparison.hits / 1000,
        "{what}: {comparison:#?}"
    );
    let edges = Comparison {
        on_the_edge: comparison.unmatched,
        ..comparison.clone()
    };
    agrees_on_odd_windows(&edges, what);
}

/// Simulated events of a preset; `change` is laid over it.
fn simulation(
    name: &str,
    events: u64,
    light: LightLevel,
    change: &Overrides,
    seed: u64,
) -> WaveformPlan {
    let detector = detector::load(name).expect("a preset");
    let detector = change.apply(detector).expect("a valid change");
    WaveformPlan {
        profile: Profile::named("ls", &detector).expect("the detector's own"),
        channels: (0..4).map(|k| k * (detector.n_channels() / 4)).collect(),
        detector,
        seed,
        events,
        light,
    }
}

fn extractor_for(plan: &WaveformPlan, method: Method) -> GpuExtractor {
    let readout = DigitizerConfig {
        sampling_ns: plan.detector.readout.sampling_ns,
        polarity: plan.detector.readout.polarity,
        adc_bits: Some(plan.detector.readout.adc_bits),
    };
    let calibration = plan.detector.nominal_calibration().expect("a preset's");
    gpu(&calibration, readout, method)
}

/// Compares so many waveforms of each light in a few channels of `juno`; says what ran where.
fn compare_lights(
    method: Method,
    lights: &[(u64, LightLevel)],
    comparison: &mut Comparison,
) -> BackendReport {
    let mut extractor = None;
    for (seed, &(number, light)) in (0..).zip(lights) {
        let plan = simulation("juno", number / 4, light, &Overrides::default(), seed);
        let gpu = extractor.get_or_insert_with(|| extractor_for(&plan, method));
        for block in waveforms(&plan).expect("a valid plan") {
            compare(gpu, &block.batch, comparison);
        }
    }
    extractor.and_then(|gpu| gpu.report()).expect("a GPU's")
}

#[test]
#[ignore = "needs a GPU adapter"]
fn fifty_thousand_simulated_waveforms_have_the_same_hits() {
    let lights = [
        (20_000, LightLevel::MeanPe(0.5)),
        (15_000, LightLevel::MeanPe(3.0)),
        (10_000, LightLevel::MeanPe(20.0)),
        (
            5_000,
            LightLevel::ChargeRange {
                low_pe: 1.0,
                high_pe: 3000.0,
            },
        ),
    ];
    let mut comparison = Comparison::default();
    let report = compare_lights(Method::Deconvolution, &lights, &mut comparison);
    assert_eq!(comparison.waveforms, 50_000);
    // What may be irregular is the CPU's: bright waveforms more often.
    let irregular = report.on_cpu.get(IRREGULAR).copied().unwrap_or(0);
    assert_eq!(report.on_gpu + irregular, 50_000, "{report:?}");
    assert!(report.on_gpu > 40_000, "{report:?}");
    promised(&comparison, "juno");
    println!("{comparison:#?}");
}

#[test]
#[ignore = "needs a GPU adapter"]
fn every_preset_and_method_has_the_same_hits() {
    let changes = [
        Overrides::default(),
        Overrides {
            undershoot: Some(0.10),
            noise_pe: Some(0.05),
            polarity: Some(Polarity::Positive),
            ..Overrides::default()
        },
    ];
    for (name, _) in detector::PRESETS {
        for method in Method::ALL {
            let number = if method == Method::Deconvolution {
                2
            } else {
                1
            };
            for (place, change) in changes.iter().enumerate().take(number) {
                let light = LightLevel::ChargeRange {
                    low_pe: 0.5,
                    high_pe: 100.0,
                };
                let plan = simulation(name, 60, light, change, place as u64);
                let gpu = extractor_for(&plan, method);
                let mut comparison = Comparison::default();
                for block in waveforms(&plan).expect("a valid plan") {
                    compare(&gpu, &block.batch, &mut comparison);
                }
                promised(
                    &comparison,
                    &format!("{name}, {}, change {place}", method.name()),
                );
            }
        }
    }
}

/// `count` windows of any content: noise, pulses at and beyond the edges, saturation, constants, arbitrary counts.
fn windows(runner: &mut TestRunner, count: usize) -> Vec<Window> {
    (0..count)
        .map(|_| window().new_tree(runner).expect("a window").current())
        .collect()
}

/// The same in two lengths only: each length is a kernel of its own, which a software rasteriser compiles for a second.
fn windows_of_two_lengths(runner: &mut TestRunner, count: usize) -> Vec<Window> {
    let all = windows(runner, count)
        .into_iter()
        .zip([150, 700].into_iter().cycle());
    all.map(|(window, length)| Window { length, ..window })
        .collect()
}

const READOUT: DigitizerConfig = DigitizerConfig {
    sampling_ns: 1.0,
    polarity: Polarity::Negative,
    adc_bits: Some(14),
};

#[test]
#[ignore = "needs a GPU adapter"]
fn any_window_has_the_same_hits() {
    let mut runner = TestRunner::deterministic();
    for method in Method::ALL {
        // A software rasteriser compiles the kernels again for each: both polarities only for one method.
        let both = [(true, Polarity::Negative), (false, Polarity::Positive)];
        let number = if method == Method::Deconvolution {
            2
        } else {
            1
        };
        for (with_default, polarity) in both.into_iter().take(number) {
            let readout = DigitizerConfig {
                polarity,
                ..READOUT
            };
            let gpu = gpu(&calibration_of(with_default), readout, method);
            let mut comparison = Comparison::default();
            for _ in 0..2 {
                compare(
                    &gpu,
                    &batch(&windows(&mut runner, 250), true),
                    &mut comparison,
                );
            }
            let what = format!("{}, {polarity:?}", method.name());
            if method.fits() {
                fits_agree_on_odd_windows(&comparison, &what);
            } else {
                agrees_on_odd_windows(&comparison, &what);
            }
        }
    }
}

/// Simulated waveforms, each changed in one way: steps, drifts and waves of the baseline, padding, glitches, flat tops.
fn irregular(batch: &Batch) -> Batch {
    let mut changed = Batch::new_u16(0);
    for index in 0..batch.len() {
        let waveform = batch.get(index).expect("inside");
        let mut samples: Vec<u16> = waveform
            .samples
            .to_f32()
            .iter()
            .map(|&sample| sample as u16)
            .collect();
        let length = samples.len();
        match index % 8 {
            0 => samples[length / 2..]
                .iter_mut()
                .for_each(|sample| *sample -= 20 + (index % 30) as u16),
            1 => samples
                .iter_mut()
                .enumerate()
                .for_each(|(t, sample)| *sample -= (t * (index % 50) / length) as u16),
            2 => samples.iter_mut().enumerate().for_each(|(t, sample)| {
                *sample = (f64::from(*sample) + 25.0 * (t as f64 / (20 + index % 90) as f64).sin())
                    as u16;
            }),
            3 => samples[length - 1 - index % 300..].fill(0),
            4 => samples[..=index % 200].fill(u16::MAX),
            5 => samples[index % length] ^= 1 << 12,
            6 => samples
                .iter_mut()
                .for_each(|sample| *sample = (*sample).max(4000)),
            _ => (),
        }
        changed.push(Waveform {
            samples: SamplesRef::U16(&samples),
            ..waveform
        });
    }
    changed
}

#[test]
#[ignore = "needs a GPU adapter"]
fn irregular_waveforms_have_the_same_hits_and_flags() {
    for method in [Method::Deconvolution, Method::Auto, Method::Integral] {
        let mut comparison = Comparison::default();
        let mut flags = Flags::NONE;
        for (seed, mean_pe) in [(0, 0.5), (1, 4.0), (2, 40.0)] {
            let plan = simulation(
                "juno",
                200,
                LightLevel::MeanPe(mean_pe),
                &Overrides::default(),
                seed,
            );
            let gpu = extractor_for(&plan, method);
            for block in waveforms(&plan).expect("a valid plan") {
                let batch = irregular(&block.batch);
                compare(&gpu, &batch, &mut comparison);
                let found = gpu.extract(&batch).expect("extracts");
                found
                    .summaries
                    .iter()
                    .for_each(|summary| flags |= summary.flags);
            }
        }
        let expected = Flags::PADDED | Flags::GLITCH | Flags::SATURATED_LOW;
        assert!(flags.contains(expected), "{method}: {flags:?}");
        assert_eq!(
            flags.contains(Flags::BASELINE_FOLLOWED),
            method.deconvolves(),
            "{method}"
        );
        promised(&comparison, method.name());
    }
}

#[test]
#[ignore = "needs a GPU adapter"]
fn every_length_has_the_same_hits() {
    let mut runner = TestRunner::deterministic();
    for method in [Method::Deconvolution, Method::Integral] {
        let gpu = gpu(&calibration_of(true), READOUT, method);
        // Short ones and odd ones whole, round powers of two and up to what goes to the CPU.
        let lengths: Vec<usize> = (32..200)
            .chain([255, 256, 257, 511, 512, 513, 999, 1001, 1023, 1024, 1025])
            .chain([1500, 2047, 2048, 2049, 3000, 3333, 4095, 4096, 4097, 5000])
            .collect();
        let all: Vec<Window> = lengths
            .iter()
            .flat_map(|&length| {
                windows(&mut runner, 6)
                    .into_iter()
                    .map(move |one| (one, length))
            })
            .map(|(one, length)| Window { length, ..one })
            .collect();
        let mut comparison = Comparison::default();
        compare(&gpu, &batch(&all, true), &mut comparison);
        agrees_on_odd_windows(&comparison, method.name());
        let report = gpu.report().expect("a GPU's");
        // Two lengths are too long; a slow template's transform of the longest ones may be.
        assert_eq!(report.on_cpu["more than 4096 samples"], 12, "{report:?}");
        assert!(report.on_gpu + report.on_cpu.values().sum::<u64>() == all.len() as u64);
    }
}

#[test]
#[ignore = "needs a GPU adapter"]
fn samples_that_are_not_counts_are_left_to_the_cpu() {
    let mut runner = TestRunner::deterministic();
    let gpu = gpu(&calibration_of(true), READOUT, Method::Deconvolution);
    let floats = batch(&windows(&mut runner, 40), false);
    let expected = gpu.cpu().extract(&floats).expect("extracts");
    let mut found = gpu.extract(&floats).expect("extracts");
    // The CPU itself leaves nothing to the CPU; all else is equal.
    assert_eq!(std::mem::take(&mut found.left_to_cpu), 40);
    assert_eq!(format!("{found:?}"), format!("{expected:?}"));
    let report = gpu.report().expect("a GPU's");
    assert_eq!(report.on_cpu["samples that are not 16-bit counts"], 40);
}

#[test]
#[ignore = "needs a GPU adapter"]
fn the_stages_agree_one_by_one() {
    let mut runner = TestRunner::deterministic();
    let plan = simulation(
        "juno",
        100,
        LightLevel::MeanPe(5.0),
        &Overrides::default(),
        3,
    );
    let simulated = waveforms(&plan)
        .expect("a valid plan")
        .next()
        .expect("a block");
    let any = batch(&windows_of_two_lengths(&mut runner, 120), true);
    for (gpu, batch) in [
        (
            extractor_for(&plan, Method::Deconvolution),
            &simulated.batch,
        ),
        (
            gpu(&calibration_of(true), READOUT, Method::Deconvolution),
            &any,
        ),
    ] {
        let expected = gpu.cpu().extract(batch).expect("extracts");
        let mut staged = StageByStage::new(&gpu).expect("a device");
        for stage in Stage::ALL.into_iter().step_by(2) {
            let found = staged.extract_from(stage, batch).expect("extracts");
            let mut comparison = Comparison::default();
            comparison.add(gpu.cpu(), batch, &expected, &found);
            agrees_on_odd_windows(&comparison, &format!("the GPU from `{stage}` on"));
        }
    }
}

#[test]
#[ignore = "needs a GPU adapter"]
fn fits_agree() {
    let lights = [(4000, 0.7), (3000, 3.0), (1500, 8.0), (500, 40.0)]
        .map(|(number, mean_pe)| (number, LightLevel::MeanPe(mean_pe)));
    let mut comparison = Comparison::default();
    let report = compare_lights(Method::Sparse, &lights, &mut comparison);
    // What is too dense for the kernel is the CPU's, and the report says why.
    let crowded = "a fit of more photoelectrons or steps than the kernel holds";
    let denser = report.on_cpu.get(crowded).copied().unwrap_or(0);
    let irregular = report.on_cpu.get(IRREGULAR).copied().unwrap_or(0);
    assert_eq!(report.on_gpu + denser + irregular, 9000, "{report:?}");
    assert!(report.on_gpu > 7000, "{report:?}");
    assert!(comparison.hits > 15_000, "{comparison:#?}");
    promised(&comparison, "fits");
    println!("{comparison:#?}");
}

#[test]
#[ignore = "needs a GPU adapter"]
fn hits_do_not_depend_on_chunks_workgroups_and_subgroups() {
    for method in [Method::Deconvolution, Method::Auto] {
        hits_depend_on_nothing_else(method);
    }
}

fn hits_depend_on_nothing_else(method: Method) {
    let mut runner = TestRunner::deterministic();
    let all = windows_of_two_lengths(&mut runner, 300);
    let bits =
        |gpu: &GpuExtractor| format!("{:?}", gpu.extract(&batch(&all, true)).expect("extracts"));
    let whole = gpu(&calibration_of(true), READOUT, method);
    let expected = bits(&whole);
    let other = |adapter: adapter::Adapter, chunk_waveforms: Option<usize>| {
        let parameters = Parameters {
            method,
            ..Parameters::default()
        };
        let cpu = Extractor::new(calibration_of(true), READOUT, parameters);
        let options = Options {
            chunk_waveforms,
            time_limit: Duration::from_secs(180),
            ..Options::default()
        };
        let gpu = GpuExtractor::new(cpu.expect("valid"), adapter, options);
        bits(&gpu.expect("a device"))
    };
    let adapter = whole.adapter();
    for chunk_waveforms in [1, 7, 64] {
        let found = other(adapter.clone(), Some(chunk_waveforms));
        assert_eq!(found, expected, "{chunk_waveforms} a chunk");
    }
    // Nor on how threads come together: sums of floats have an order of their own.
    for width in [8, 64] {
        let adapter = adapter.clone().with_width(width).expect("a width");
        assert_eq!(other(adapter, None), expected, "{width} threads");
    }
    let found = other(adapter.clone().without_subgroups(), None);
    assert_eq!(found, expected, "without subgroups");
    assert_eq!(bits(&whole), expected, "a second time");
}

#[test]
#[ignore = "needs a GPU adapter"]
fn a_flood_of_hits_finds_room() {
    // Far more hits than the buffers begin with: a pulse every 40 samples.
    let crowded = Window {
        length: 1900,
        channel_id: 0,
        baseline_adc: 12_000.0,
        content: Content::Light {
            noise_adc: 4.0,
            pulses: (0..45).map(|k| (2000.0, 40 * k)).collect(),
        },
        bad: Vec::new(),
        seed: 1,
    };
    let gpu = gpu(&calibration_of(true), READOUT, Method::Deconvolution);
    let mut comparison = Comparison::default();
    compare(&gpu, &batch(&vec![crowded; 400], true), &mut comparison);
    assert!(comparison.hits > 400 * 30, "{comparison:#?}");
    promised(&comparison, "crowded");
}
