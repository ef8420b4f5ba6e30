//! `calibrate spe` with runs that have dead, saturated or disturbed waveforms, and with windows that are too short for the tail.

use nuwave::calibrate::spe::{RunKind, SpeParameters, SpeResult, spe};
use nuwave::model::{Batch, Flags, Polarity, SamplesRef, Waveform};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Poisson};

const PEAK_ADC: f64 = 60.0;
const NOISE_ADC: f64 = 5.0;
const LIGHT_NS: f64 = 120.0;

/// The response to one photoelectron: a Gaussian of 4 ns that rises from 0 on.
fn response_adc(t_ns: f64) -> f64 {
    let t = (t_ns - 14.0) / 4.0;
    PEAK_ADC * (-0.5 * t * t).exp()
}

/// Upright waveforms of 400 samples of 1 ns with 0.4 photoelectrons on average at a fixed time, without baseline.
fn led_run(n: usize, n_samples: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let noise = Normal::new(0.0, NOISE_ADC).expect("valid");
    let charge = Normal::new(1.0, 0.3).expect("valid");
    let poisson = Poisson::new(0.4).expect("valid");
    (0..n)
        .map(|_| {
            let light: Vec<(f64, f64)> = (0..poisson.sample(&mut random) as usize)
                .map(|_| {
                    let time = LIGHT_NS + random.random_range(-1.5..1.5);
                    (time, f64::max(charge.sample(&mut random), 0.0))
                })
                .collect();
            (0..n_samples)
                .map(|sample| {
                    let light = light
                        .iter()
                        .map(|(time, charge)| charge * response_adc(sample as f64 - time))
                        .sum::<f64>();
                    noise.sample(&mut random) + light
                })
                .collect()
        })
        .collect()
}

/// Digitises with 12 bits, the baseline at 3000 counts for negative pulses and at 800 for positive ones.
fn digitised(upright: &[f64], polarity: Polarity) -> Vec<u16> {
    let baseline = match polarity {
        Polarity::Negative => 3000.0,
        Polarity::Positive => 800.0,
    };
    upright
        .iter()
        .map(|value| {
            let value = baseline + f64::from(polarity.sign()) * value;
            value.round().clamp(0.0, 4095.0) as u16
        })
        .collect()
}

fn batch_of(waveforms: &[Vec<u16>]) -> Batch {
    let mut batch = Batch::new_u16(0);
    for (event_id, samples) in (0_u64..).zip(waveforms) {
        batch.push(Waveform {
            event_id,
            channel_id: 5,
            start_ns: 0.0,
            samples: SamplesRef::U16(samples),
        });
    }
    batch
}

fn calibrate(waveforms: &[Vec<u16>], polarity: Polarity) -> nuwave::Result<SpeResult> {
    let batch = batch_of(waveforms);
    let parameters = SpeParameters {
        polarity,
        sampling_ns: 1.0,
        adc_bits: Some(12),
        run: None,
        window: None,
        min_pulses: 50,
        light_ns: None,
    };
    let mut read_all = |visit: &mut dyn FnMut(Waveform<'_>)| {
        batch.iter().for_each(visit);
        Ok(())
    };
    spe(&mut read_all, &parameters, &|_| None)
}

#[test]
fn waveforms_with_defects_are_left_out_and_counted() {
    for polarity in [Polarity::Negative, Polarity::Positive] {
        let good: Vec<Vec<u16>> = led_run(3000, 300, 11)
            .iter()
            .map(|upright| digitised(upright, polarity))
            .collect();
        let expected = calibrate(&good, polarity).expect("calibrates");
        assert_eq!(expected.left_out().total(), 0);
        // Bad ones between the good ones, the first of the run among them.
        let mut mixed = Vec::new();
        for (index, samples) in good.iter().enumerate() {
            let mut bad = samples.clone();
            match index % 5 {
                0 => bad.fill(0),
                1 => bad.fill(4095),
                2 => bad[40..90].fill(if polarity == Polarity::Negative {
                    0
                } else {
                    4095
                }),
                3 => bad[..150].fill(0),
                _ => bad[260..].fill(0),
            }
            mixed.push(bad);
            mixed.push(samples.clone());
        }
        let found = calibrate(&mixed, polarity).expect("calibrates");
        let counts: Vec<(&str, u64)> = found
            .left_out()
            .found()
            .map(|(defect, count)| (defect.name(), count))
            .collect();
        assert_eq!(
            counts,
            [("flat", 1200), ("saturated", 600), ("padded", 1200)]
        );
        let [expected, found] = [&expected.channels[0], &found.channels[0]];
        assert_eq!(
            found.calibration.template_adc,
            expected.calibration.template_adc
        );
        assert_eq!(found.calibration.noise_adc, expected.calibration.noise_adc);
        assert_eq!(found.fit, expected.fit);
        assert!((found.calibration.noise_adc / 5.0 - 1.0).abs() < 0.02);
        let measured = found.calibration.measurement.expect("measured");
        assert_eq!((measured.n_waveforms, measured.n_left_out), (6000, 3000));
        assert_eq!(measured.run, Some(RunKind::Led));
    }
}

#[test]
fn errors_are_those_of_repeated_runs() {
    let mut values: Vec<[f64; 5]> = Vec::new();
    let mut errors = [0.0; 5];
    let n_runs = 12;
    for seed in 0..n_runs {
        let run: Vec<Vec<u16>> = led_run(1500, 300, 100 + seed)
            .iter()
            .map(|upright| digitised(upright, Polarity::Negative))
            .collect();
        let result = calibrate(&run, Polarity::Negative).expect("calibrates");
        let channel = &result.channels[0];
        let row = &channel.calibration;
        let measured = row.measurement.expect("measured");
        assert!(measured.chi2 > 0.0 && measured.degrees_of_freedom > 5);
        let ratio = measured.chi2 / measured.degrees_of_freedom as f32;
        assert!((0.3..2.5).contains(&ratio), "{ratio}");
        assert_eq!(row.baseline_noise_ratio, 1.0);
        values.push([
            measured.gain_adc_samples.into(),
            measured.mean_pe.into(),
            row.charge_sigma_pe.into(),
            row.noise_adc.into(),
            channel.light_time_ns.expect("light"),
        ]);
        for (sum, error) in errors.iter_mut().zip([
            measured.gain_error_adc_samples,
            measured.mean_pe_error,
            measured.charge_sigma_error_pe,
            measured.noise_error_adc,
            measured.time_offset_error_ns,
        ]) {
            *sum += f64::from(error) / n_runs as f64;
        }
    }
    for (index, error) in errors.into_iter().enumerate() {
        let mean = values.iter().map(|v| v[index]).sum::<f64>() / n_runs as f64;
        let variance = values
            .iter()
            .map(|v| (v[index] - mean).powi(2))
            .sum::<f64>();
        let spread = (variance / (n_runs - 1) as f64).sqrt();
        // Twelve runs know a standard deviation to 21 %.
        assert!(
            (0.4..2.0).contains(&(spread / error)),
            "{index}: spread {spread}, error {error}"
        );
    }
}

#[test]
fn a_refusal_says_what_disturbs_the_run() {
    let refusal = |disturb: &dyn Fn(usize, usize) -> f64, polarity| {
        let run: Vec<Vec<u16>> = led_run(150, 400, 21)
            .iter()
            .enumerate()
            .map(|(waveform, upright)| {
                let disturbed: Vec<f64> = upright
                    .iter()
                    .enumerate()
                    .map(|(sample, value)| value + disturb(waveform, sample))
                    .collect();
                digitised(&disturbed, Polarity::Negative)
            })
            .collect();
        calibrate(&run, polarity)
            .expect_err("too few waveforms")
            .to_string()
    };
    let negative = Polarity::Negative;
    let drift = refusal(&|_, sample| 0.1 * sample as f64, negative);
    assert!(drift.contains("the baseline moves within 1"), "{drift}");
    assert!(drift.contains("a drift in 1"), "{drift}");
    let step = refusal(&|w, s| if s > 100 + w { 25.0 } else { 0.0 }, negative);
    assert!(step.contains("a step in "), "{step}");
    let pickup = refusal(&|w, s| 20.0 * (0.025 * s as f64 + w as f64).sin(), negative);
    assert!(pickup.contains("pick-up"), "{pickup}");
    let spikes = refusal(&|w, s| if s == 200 + w { 300.0 } else { 0.0 }, negative);
    assert!(spikes.contains("150 of 150 waveforms: spikes"), "{spikes}");
    let plain = refusal(&|_, _| 0.0, negative);
    assert!(
        plain.contains("has 150 charges where 200 are needed"),
        "{plain}"
    );
    let upside_down = refusal(&|_, _| 0.0, Polarity::Positive);
    assert!(
        upside_down.contains("point away from the stated direction"),
        "{upside_down}"
    );
    for (text, is_moving) in [(&spikes, false), (&plain, false), (&drift, true)] {
        assert_eq!(text.contains("baseline moves"), is_moving, "{text}");
    }
}

#[test]
fn waveforms_that_are_dead_for_part_of_the_run_are_left_out() {
    let good: Vec<Vec<u16>> = led_run(3000, 300, 11)
        .iter()
        .map(|upright| digitised(upright, Polarity::Negative))
        .collect();
    let expected = &calibrate(&good, Polarity::Negative)
        .expect("calibrates")
        .channels[0];
    let mut random = ChaCha8Rng::seed_from_u64(12);
    let normal = Normal::new(0.0, 0.7).expect("valid");
    // The last digit of the digitizer at another baseline, before, between and after the good waveforms.
    for n_dead in [300, 3000, 9000] {
        let mut run = good.clone();
        for _ in 0..n_dead {
            let dead: Vec<u16> = (0..300)
                .map(|_| f64::round(3010.0 + normal.sample(&mut random)) as u16)
                .collect();
            run.insert(random.random_range(0..=run.len()), dead);
        }
        let result = calibrate(&run, Polarity::Negative).expect("calibrates");
        let channel = &result.channels[0];
        let found: Vec<(&str, u64)> = channel
            .left_out
            .found()
            .map(|(defect, count)| (defect.name(), count))
            .collect();
        assert_eq!(found, [("dead", n_dead)]);
        assert_eq!(
            channel.calibration.noise_adc,
            expected.calibration.noise_adc
        );
        assert!((channel.baseline_adc - expected.baseline_adc).abs() < 1e-6);
        let (fit, before) = (channel.fit.expect("a fit"), expected.fit.expect("a fit"));
        assert!(
            (fit.gain / before.gain - 1.0).abs() < 1e-3,
            "{n_dead}: {fit:?} {before:?}"
        );
        assert!(
            (fit.mean_pe / before.mean_pe - 1.0).abs() < 1e-3,
            "{n_dead}"
        );
        assert!(
            (channel.peak_adc / expected.peak_adc - 1.0).abs() < 1e-3,
            "{n_dead}"
        );
        assert!(!channel.problems.has_uneven_noise());
    }
}

#[test]
fn a_run_of_dead_waveforms_is_refused_with_their_number() {
    let dead = vec![vec![0_u16; 300]; 400];
    let error = calibrate(&dead, Polarity::Negative).expect_err("dead");
    assert!(
        error
            .to_string()
            .contains("400 of 400 waveforms left out: flat"),
        "{error}"
    );
}

#[test]
fn moving_baselines_and_lines_are_found_in_a_run_that_calibrates() {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let run = |disturb: &mut dyn FnMut(usize) -> Box<dyn Fn(usize) -> f64>| {
        let waveforms: Vec<Vec<u16>> = led_run(3000, 600, 31)
            .iter()
            .enumerate()
            .map(|(waveform, upright)| {
                let added = disturb(waveform);
                let disturbed: Vec<f64> = upright
                    .iter()
                    .enumerate()
                    .map(|(sample, value)| value + added(sample))
                    .collect();
                digitised(&disturbed, Polarity::Negative)
            })
            .collect();
        let result = calibrate(&waveforms, Polarity::Negative).expect("calibrates");
        result.channels[0].quiet.clone().expect("quiet windows")
    };
    let line = run(&mut |_| {
        let phase: f64 = random.random_range(0.0..std::f64::consts::TAU);
        Box::new(move |s| 2.0 * (std::f64::consts::TAU * 0.0125 * s as f64 + phase).sin())
    });
    assert_eq!(line.lines.len(), 1, "{line:?}");
    assert!((line.lines[0].frequency_mhz - 12.5).abs() < 0.3, "{line:?}");
    assert!((line.lines[0].amplitude_adc - 2.0).abs() < 0.15, "{line:?}");
    // One waveform in four steps by twice the noise.
    let steps = run(&mut |waveform| {
        Box::new(move |s| {
            if waveform % 4 == 0 && s > 350 {
                10.0
            } else {
                0.0
            }
        })
    });
    let share = steps.n_moving as f64 / steps.n_windows as f64;
    assert!((share - 0.25).abs() < 0.03, "{steps:?}");
    assert_eq!(steps.baseline_noise_ratio, 1.0);
}

/// Upright waveforms after a coupling with the time constant `decay_ns`.
fn coupled(waveforms: &[Vec<f64>], decay_ns: f64) -> Vec<Vec<f64>> {
    waveforms
        .iter()
        .map(|samples| {
            let mut stored = 0.0;
            samples
                .iter()
                .map(|value| {
                    let out = value - stored;
                    stored += out / decay_ns;
                    out
                })
                .collect()
        })
        .collect()
}

#[test]
fn a_template_whose_tail_the_window_cuts_is_flagged_and_continued() {
    let calibrated = |n_samples: usize, decay_ns: f64| {
        let run: Vec<Vec<u16>> = coupled(&led_run(5000, n_samples, 41), decay_ns)
            .iter()
            .map(|upright| {
                let amplified: Vec<f64> = upright.iter().map(|value| 8.0 * value).collect();
                digitised(&amplified, Polarity::Negative)
            })
            .collect();
        calibrate(&run, Polarity::Negative)
            .expect("calibrates")
            .channels
            .remove(0)
    };
    let whole = calibrated(400, 30.0);
    assert_eq!(whole.calibration.flags, Flags::NONE);
    assert_eq!(whole.cut, None);
    let cut = calibrated(600, 500.0);
    assert_eq!(cut.calibration.flags, Flags::TEMPLATE_CUT);
    let tail = cut.cut.expect("cut");
    let (decay, rest) = tail.decay.expect("a decay");
    assert!((decay / 500.0 - 1.0).abs() < 0.3, "{tail:?}");
    assert!(rest > 700, "{tail:?}");
    // The undershoot of a coupling takes back the area of the pulse.
    let template = &cut.calibration.template_adc;
    let pulse: f32 = template.iter().take(40).sum();
    let all: f32 = template.iter().sum();
    assert!(template.len() > 1000, "{}", template.len());
    assert!((all / pulse).abs() < 0.2, "{all} of {pulse}");
}
