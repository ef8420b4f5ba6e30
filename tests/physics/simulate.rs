//! Simulated waveforms have the properties that the detector's description states.

use std::process::Command;

use nuwave::detector::{self, ColouredNoise, Detector};
use nuwave::model::{Photoelectron, Polarity};
use nuwave::simulate::{LightLevel, Overrides, Profile, WaveformBlock, WaveformPlan, waveforms};

/// A JUNO-like plan for 64 channels with the light and changes given.
fn plan(light: LightLevel, profile: &str, overrides: &Overrides) -> WaveformPlan {
    plan_of("juno", light, profile, overrides)
}

fn plan_of(preset: &str, light: LightLevel, profile: &str, overrides: &Overrides) -> WaveformPlan {
    let detector = overrides
        .apply(detector::load(preset).expect("a preset"))
        .expect("valid changes");
    WaveformPlan {
        seed: 11,
        events: 40,
        channels: (0..detector.n_channels().min(64)).collect(),
        light,
        profile: Profile::named(profile, &detector).expect("a profile"),
        detector,
    }
}

/// No noise, spread, undershoot, dark rate or clipping.
fn clean() -> Overrides {
    Overrides {
        noise_pe: Some(0.0),
        undershoot: Some(0.0),
        charge_sigma_pe: Some(0.0),
        transit_time_sigma_ns: Some(0.0),
        dark_rate_hz: Some(0.0),
        no_saturation: true,
        ..Overrides::default()
    }
}

struct Made {
    samples: Vec<Vec<f32>>,
    photoelectrons: Vec<Photoelectron>,
    saturated: u64,
}

fn make(plan: &WaveformPlan) -> Made {
    let mut made = Made {
        samples: Vec::new(),
        photoelectrons: Vec::new(),
        saturated: 0,
    };
    for mut block in waveforms(plan).expect("a valid plan") {
        made.samples
            .extend(block.batch.iter().map(|waveform| waveform.samples.to_f32()));
        made.photoelectrons.append(&mut block.photoelectrons);
        made.saturated += block.saturated;
    }
    made
}

fn moments(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let (mut n, mut sum, mut square) = (0.0, 0.0, 0.0);
    for value in values {
        n += 1.0;
        sum += value;
        square += value * value;
    }
    let mean = sum / n;
    (n, mean, (square / n - mean * mean).max(0.0).sqrt())
}

fn on_threads(plan: &WaveformPlan, threads: usize) -> Vec<WaveformBlock> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads")
        .install(|| waveforms(plan).expect("a valid plan").collect())
}

#[test]
fn the_seed_alone_fixes_every_sample() {
    let mut plan = plan(LightLevel::MeanPe(3.0), "ls", &Overrides::default());
    plan.detector.pmt_types[0].coloured_noise = Some(ColouredNoise::Correlated {
        sigma_adc: 2.0,
        correlation_ns: 10.0,
    });
    plan.detector.readout.baseline_spread_adc = 5.0;
    let one = on_threads(&plan, 1);
    assert_eq!(one, on_threads(&plan, 2));
    assert_eq!(one, on_threads(&plan, 7));
    let mut other = plan.clone();
    other.seed += 1;
    let other = on_threads(&other, 2);
    for (a, b) in one[0].batch.iter().zip(other[0].batch.iter()) {
        assert_ne!(a.samples, b.samples);
    }
}

#[test]
fn some_channels_are_those_of_all_channels() {
    let all = plan(LightLevel::MeanPe(3.0), "ls", &Overrides::default());
    let mut some = all.clone();
    some.channels = vec![40, 3, 17];
    some.events = 25;
    let (all, some) = (on_threads(&all, 2), on_threads(&some, 2));
    let mut compared = 0;
    for waveform in some.iter().flat_map(|block| block.batch.iter()) {
        let counterpart = all
            .iter()
            .flat_map(|block| block.batch.iter())
            .find(|other| {
                (other.event_id, other.channel_id) == (waveform.event_id, waveform.channel_id)
            });
        assert_eq!(Some(waveform), counterpart);
        let truth = |blocks: &[WaveformBlock]| -> Vec<Photoelectron> {
            blocks
                .iter()
                .flat_map(|block| block.photoelectrons.iter())
                .filter(|one| {
                    (one.event_id, one.channel_id) == (waveform.event_id, waveform.channel_id)
                })
                .copied()
                .collect()
        };
        assert_eq!(truth(&some), truth(&all));
        compared += 1;
    }
    assert_eq!(compared, 75);
}

#[test]
fn changing_the_noise_leaves_the_light() {
    let quiet = plan(LightLevel::MeanPe(3.0), "ls", &Overrides::default());
    let loud = Overrides {
        noise_pe: Some(0.3),
        ..Overrides::default()
    };
    let loud = plan(LightLevel::MeanPe(3.0), "ls", &loud);
    assert_eq!(make(&quiet).photoelectrons, make(&loud).photoelectrons);
}

#[test]
fn charges_have_mean_1_and_the_described_spread() {
    for channel_type in 0..2 {
        let mut plan = plan(LightLevel::FixedPe(50), "prompt", &Overrides::default());
        let juno = plan.detector.clone();
        plan.channels
            .retain(|&channel| juno.type_index_of(channel) == channel_type);
        let charges = make(&plan).photoelectrons;
        let (n, mean, sigma) = moments(charges.iter().map(|one| f64::from(one.charge_pe)));
        let expected = juno.pmt_types[channel_type].total_charge_sigma_pe();
        assert!((mean - 1.0).abs() < 5.0 * expected / n.sqrt(), "{mean}");
        assert!(
            (sigma / expected - 1.0).abs() < 0.03,
            "{sigma}, expected {expected}"
        );
        assert!(charges.iter().all(|one| one.charge_pe > 0.0));
    }
}

#[test]
fn numbers_are_poisson_with_the_mean_asked_for() {
    for mean_pe in [0.1, 4.0, 30.0] {
        let mut plan = plan(LightLevel::MeanPe(mean_pe), "prompt", &clean());
        plan.detector.readout.window_samples = 400;
        let mut numbers = vec![0.0; plan.n_waveforms() as usize];
        for one in make(&plan).photoelectrons {
            numbers[one.event_id as usize * 64 + one.channel_id as usize] += 1.0;
        }
        let (n, mean, sigma) = moments(numbers.into_iter());
        assert!(
            (mean - mean_pe).abs() < 5.0 * (mean_pe / n).sqrt(),
            "{mean}"
        );
        // The variance of a Poisson sample's variance is (2 mean^2 + mean) / n.
        let error = 5.0 * ((2.0 * mean_pe * mean_pe + mean_pe) / n).sqrt();
        assert!((sigma * sigma - mean_pe).abs() < error, "{sigma}");
    }
    let none = make(&plan(LightLevel::MeanPe(0.0), "ls", &clean()));
    assert!(none.photoelectrons.is_empty());
}

#[test]
fn noise_has_the_described_mean_spread_and_memory() {
    let quiet = Overrides {
        dark_rate_hz: Some(0.0),
        ..Overrides::default()
    };
    let correlated = ColouredNoise::Correlated {
        sigma_adc: 6.0,
        correlation_ns: 10.0,
    };
    let ripple = ColouredNoise::Ripple {
        amplitude_adc: 6.0,
        period_ns: 40.0,
    };
    // Ten samples on, the first has lost a factor of e, the second (a quarter of a period) everything.
    for (coloured_noise, variance, at_ten) in [
        (None, 0.0, 0.0),
        (Some(correlated), 36.0, 36.0 / std::f64::consts::E),
        (Some(ripple), 18.0, 0.0),
    ] {
        let mut plan = plan(LightLevel::MeanPe(0.0), "ls", &quiet);
        for pmt in &mut plan.detector.pmt_types {
            pmt.coloured_noise = coloured_noise;
        }
        let baseline = plan.detector.readout.baseline_adc;
        let made = make(&plan);
        let (n, mean, sigma) = moments(
            made.samples
                .iter()
                .flatten()
                .map(|&x| f64::from(x) - baseline),
        );
        assert!(mean.abs() < 0.1, "{mean} in {n}");
        let expected = plan.detector.pmt_types[0].total_noise_adc();
        assert!((expected * expected - 64.0 - variance - 1.0 / 12.0).abs() < 1e-9);
        assert!(
            (sigma / expected - 1.0).abs() < 0.01,
            "{sigma}, expected {expected}"
        );
        let (_, product, _) = moments(made.samples.iter().flat_map(|samples| {
            samples
                .windows(11)
                .map(|pair| (f64::from(pair[0]) - baseline) * (f64::from(pair[10]) - baseline))
        }));
        assert!(
            (product - at_ten).abs() < 0.6,
            "{product}, expected {at_ten}"
        );
    }
}

/// The mean waveform, upright, with the baseline taken off.
fn mean_pulse(plan: &WaveformPlan) -> Vec<f64> {
    let made = make(plan);
    let sign = f64::from(plan.detector.readout.polarity.sign());
    let mut mean = vec![0.0; plan.detector.readout.window_samples];
    for samples in &made.samples {
        for (sum, &sample) in mean.iter_mut().zip(samples) {
            *sum += sign * (f64::from(sample) - plan.detector.readout.baseline_adc)
                / made.samples.len() as f64;
        }
    }
    mean
}

#[test]
fn a_single_photoelectron_has_the_area_width_and_height_described() {
    let mut plan = plan(LightLevel::FixedPe(1), "prompt", &clean());
    for pmt in &mut plan.detector.pmt_types {
        pmt.spe_peak_adc = 10_000.0;
    }
    let pulse = mean_pulse(&plan);
    let area_ns = pulse.iter().sum::<f64>() / 10_000.0;
    assert!((area_ns - 15.37).abs() < 0.02, "{area_ns}");
    // Averaged over the place between two samples, it is a little wider than the pulse's 13.74 ns.
    let wide = pulse.iter().filter(|&&value| value > 5000.0).count();
    assert!((13..=15).contains(&wide), "{wide}");
    let peak = pulse.iter().copied().fold(0.0, f64::max);
    assert!((9900.0..10_001.0).contains(&peak), "{peak}");
    assert!(pulse[..299].iter().all(|&value| value == 0.0));
}

#[test]
fn an_undershoot_of_x_stands_at_x_of_the_area_lost() {
    for undershoot in [0.01, 0.05, 0.10] {
        let overrides = Overrides {
            undershoot: Some(undershoot),
            spe_peak_adc: Some(5000.0),
            ..clean()
        };
        let plan = plan(LightLevel::FixedPe(1), "prompt", &overrides);
        let pulse = mean_pulse(&plan);
        let area_ns = pulse.iter().sum::<f64>() / 5000.0;
        // 4.25 ns at 5 %, less the 0.08 that the end of the window cuts off.
        let expected = 15.37 - undershoot / 0.05 * (4.25 - 0.08);
        assert!(
            (area_ns - expected).abs() < 0.06,
            "{area_ns}, expected {expected}"
        );
        // 99.5 ns after the photoelectron, on average, the pulse is over and only the tails stand.
        let tail = |amplitude: f64, tau_ns: f64| {
            let growth: f64 = (1..2000)
                .map(|step| f64::from(step) * 0.1)
                .map(|t: f64| (-0.5 * ((t / 13.0).ln() / 0.43).powi(2) + t / tau_ns).exp())
                .sum();
            -amplitude * growth * 0.1 / 15.37 * (-99.5 / tau_ns).exp()
        };
        let depth =
            undershoot / 0.05 * (tail(0.030, 50.0) + tail(0.015, 100.0) + tail(0.005, 250.0));
        let found = pulse[400] / 5000.0;
        assert!(
            (found - depth).abs() < 1e-4 + 0.01 * undershoot,
            "{found}, expected {depth}"
        );
    }
}

#[test]
fn the_other_polarity_is_the_mirror_image() {
    let negative = plan(LightLevel::MeanPe(3.0), "ls", &clean());
    let overrides = Overrides {
        polarity: Some(Polarity::Positive),
        ..clean()
    };
    let positive = plan(LightLevel::MeanPe(3.0), "ls", &overrides);
    let (negative, positive) = (make(&negative), make(&positive));
    assert_eq!(negative.photoelectrons, positive.photoelectrons);
    for (down, up) in negative.samples.iter().zip(&positive.samples) {
        for (down, up) in down.iter().zip(up) {
            // A half is rounded up in both, so that mirror images may differ by a count.
            assert!((57_344.0 - down - (up - 8192.0)).abs() <= 1.0);
        }
    }
}

#[test]
fn large_pulses_are_clipped_at_the_end_of_the_scale() {
    let overrides = |no_saturation| Overrides {
        no_saturation,
        polarity: None,
        ..Overrides::default()
    };
    let clipped = make(&plan(LightLevel::FixedPe(80), "prompt", &overrides(false)));
    let lowest = clipped
        .samples
        .iter()
        .flatten()
        .copied()
        .fold(f32::MAX, f32::min);
    assert_eq!(lowest, 0.0);
    assert!(clipped.saturated > 0);
    let touched = clipped
        .samples
        .iter()
        .filter(|samples| samples.contains(&0.0))
        .count();
    assert_eq!(clipped.saturated, touched as u64);
    let free = make(&plan(LightLevel::FixedPe(80), "prompt", &overrides(true)));
    assert_eq!(free.saturated, 0);
    let positive = Overrides {
        polarity: Some(Polarity::Positive),
        ..Overrides::default()
    };
    let up = make(&plan(LightLevel::FixedPe(80), "prompt", &positive));
    assert_eq!(
        up.samples.iter().flatten().copied().fold(0.0, f32::max),
        16_383.0
    );
}

#[test]
fn transit_times_spread_and_light_decays_as_described() {
    let overrides = Overrides {
        transit_time_sigma_ns: Some(2.5),
        ..clean()
    };
    let prompt = plan(LightLevel::FixedPe(20), "prompt", &overrides);
    let times = make(&prompt).photoelectrons;
    let (n, mean, sigma) = moments(times.iter().map(|one| one.time_ns));
    assert_eq!(n, 20.0 * 64.0 * 40.0);
    // The place of the event between two samples adds half a sample and 1/12 of variance.
    assert!((mean - 300.5).abs() < 0.25, "{mean}");
    assert!(
        (sigma - (2.5_f64.powi(2) + 1.0 / 12.0).sqrt()).abs() < 0.06,
        "{sigma}"
    );

    let mut slow = plan(LightLevel::FixedPe(20), "slow-ls", &clean());
    slow.detector.readout.window_samples = 2000;
    let (_, mean, _) = moments(make(&slow).photoelectrons.iter().map(|one| one.time_ns));
    assert!((mean - 300.5 - 28.2).abs() < 0.8, "{mean}");
}

#[test]
fn dark_photoelectrons_come_at_their_rate_and_leave_tails_from_before_the_window() {
    let overrides = Overrides {
        dark_rate_hz: Some(1e6),
        noise_pe: Some(0.0),
        ..Overrides::default()
    };
    let dark = plan(LightLevel::MeanPe(0.0), "ls", &overrides);
    let made = make(&dark);
    let expected = 64.0 * 40.0 * 1e6 * 1e-6;
    let found = made.photoelectrons.len() as f64;
    assert!((found - expected).abs() < 5.0 * expected.sqrt(), "{found}");
    assert!(
        made.photoelectrons
            .iter()
            .all(|one| (0.0..1000.0).contains(&one.time_ns))
    );
    let (_, mean, _) = moments(made.photoelectrons.iter().map(|one| one.time_ns));
    assert!((mean - 500.0).abs() < 5.0 * 289.0 / found.sqrt(), "{mean}");
    // Stationary: the first samples hold as much light as those in the middle.
    let level = |range: std::ops::Range<usize>| {
        let (_, mean, _) = moments(made.samples.iter().flat_map(|samples| {
            samples[range.clone()]
                .iter()
                .map(|&sample| 4784.0 - f64::from(sample))
        }));
        mean
    };
    let (start, middle) = (level(0..100), level(450..550));
    assert!((start / middle - 1.0).abs() < 0.25, "{start} and {middle}");
    assert!(middle > 0.5);
}

#[test]
fn pairs_and_charge_ranges_are_what_was_asked_for() {
    let pair = LightLevel::Pair {
        separation_ns: 10.0,
        equal_charge: true,
    };
    let made = make(&plan(pair, "ls", &clean()));
    assert_eq!(made.photoelectrons.len(), 2 * 64 * 40);
    for pair in made.photoelectrons.chunks(2) {
        assert!((pair[1].time_ns - pair[0].time_ns - 10.0).abs() < 1e-9);
        assert_eq!((pair[0].charge_pe, pair[1].charge_pe), (1.0, 1.0));
    }
    let range = LightLevel::ChargeRange {
        low_pe: 1.0,
        high_pe: 200.0,
    };
    let mut plan = plan(range, "prompt", &clean());
    plan.detector.pmt_types[0].charge_sigma_pe = 0.3;
    let mut charges = vec![0.0; plan.n_waveforms() as usize];
    for one in make(&plan).photoelectrons {
        charges[one.event_id as usize * 64 + one.channel_id as usize] += f64::from(one.charge_pe);
    }
    assert!(
        charges
            .iter()
            .all(|charge| (0.999..200.01).contains(charge))
    );
    let (n, mean, sigma) = moments(charges.iter().map(|charge| charge.ln()));
    let width = 200.0_f64.ln();
    assert!(
        (mean - width / 2.0).abs() < 5.0 * width / (12.0 * n).sqrt(),
        "{mean}"
    );
    assert!((sigma - width / 12.0_f64.sqrt()).abs() < 0.1, "{sigma}");
}

#[test]
fn every_preset_makes_waveforms_of_its_own_shape() {
    for (name, _) in detector::PRESETS {
        let mut plan = plan_of(name, LightLevel::MeanPe(2.0), "ls", &Overrides::default());
        plan.events = 3;
        let detector: &Detector = &plan.detector;
        let made = make(&plan);
        assert_eq!(made.samples.len() as u64, plan.n_waveforms());
        for samples in &made.samples {
            assert_eq!(samples.len(), detector.readout.window_samples);
            let full_scale = f32::from(detector.readout.full_scale_adc());
            assert!(
                samples
                    .iter()
                    .all(|sample| (0.0..=full_scale).contains(sample))
            );
        }
    }
}

#[test]
fn a_plan_that_makes_no_sense_is_refused() {
    let good = plan(LightLevel::MeanPe(1.0), "ls", &Overrides::default());
    let refused = |change: &dyn Fn(&mut WaveformPlan)| {
        let mut plan = good.clone();
        change(&mut plan);
        assert!(waveforms(&plan).is_err());
    };
    refused(&|plan| plan.events = 0);
    refused(&|plan| plan.events = u64::MAX);
    refused(&|plan| plan.channels.clear());
    refused(&|plan| plan.channels[3] = 17_612);
    refused(&|plan| plan.light = LightLevel::MeanPe(f64::NAN));
    refused(&|plan| plan.light = LightLevel::MeanPe(-1.0));
    refused(&|plan| {
        plan.light = LightLevel::ChargeRange {
            low_pe: 0.0,
            high_pe: 1.0,
        }
    });
    refused(&|plan| {
        plan.light = LightLevel::ChargeRange {
            low_pe: 2.0,
            high_pe: 1.0,
        }
    });
    let long = Overrides {
        window_samples: Some(65_537),
        ..Overrides::default()
    };
    let error = long.apply(good.detector.clone()).expect_err("too long");
    assert!(
        error.to_string().contains("readout.window_samples"),
        "{error}"
    );
}

#[test]
fn settings_come_from_a_file_and_the_command_line_wins() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    let printed = |config: &str, arguments: &[&str]| {
        std::fs::write(&path, config).expect("writable");
        let output = Command::new(env!("CARGO_BIN_EXE_nuwave"))
            .args(["simulate", "waveforms", "--print-config", "--config"])
            .arg(&path)
            .args(arguments)
            .output()
            .expect("the binary runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let config = "fixed_pe = 3\nseed = 5\nno_dark = true\npolarity = \"positive\"\n";
    let (code, out, _) = printed(config, &["--seed", "6"]);
    assert_eq!(code, Some(0));
    for line in [
        "fixed_pe = 3",
        "seed = 6",
        "no_dark = true",
        "polarity = \"positive\"",
        "detector = \"juno\"",
    ] {
        assert!(out.lines().any(|found| found == line), "{line} in {out}");
    }
    // What is printed gives the same settings again.
    assert_eq!(printed(&out, &[]).1, out);
    let (_, out, _) = printed(config, &["--mean-pe", "2", "--dark-rate", "100"]);
    assert!(
        out.contains("mean_pe = 2.0") && !out.contains("fixed_pe"),
        "{out}"
    );
    assert!(
        out.contains("dark_rate = 100.0") && out.contains("no_dark = false"),
        "{out}"
    );

    for (config, expected) in [
        ("sede = 3", "line 1: unknown field `sede`"),
        ("seed = 1\nevents = -1", "line 2"),
        ("mean_pe = 1.0\nfixed_pe = 2", "only one of"),
        ("charge_range = \"5\"", "1:200"),
        ("profile = \"x\"", "no time profile `x`"),
        ("noise_pe = -0.1", "pmt_type[0].noise_adc"),
    ] {
        let (code, _, message) = printed(config, &[]);
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains(expected), "{config}: {message}");
    }
}
