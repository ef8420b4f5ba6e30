//! `calibrate spe` finds what simulated runs were made of.

use nuwave::calibrate::spe::{RunKind, SpeParameters, SpeResult, spe};
use nuwave::model::{Batch, Flags, Polarity, SamplesRef, Waveform};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Poisson};

const GAIN_PEAK_ADC: f64 = 100.0;
const N_SAMPLES: usize = 1000;

/// The response to one photoelectron at t = 0 ns: log-normal, w 13 ns, mu 0.43, with an undershoot of 5 %, tau 100 ns.
fn response_adc(t_ns: f64) -> f64 {
    if t_ns <= 0.0 {
        return 0.0;
    }
    let pulse = (-0.5 * ((t_ns / 13.0).ln() / 0.43).powi(2)).exp();
    let undershoot = -0.05 * (1.0 - (-t_ns / 20.0).exp()) * (-t_ns / 100.0).exp();
    GAIN_PEAK_ADC * (pulse + undershoot)
}

#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) kind: RunKind,
    pub(crate) mean_pe: f64,
    pub(crate) noise_adc: f64,
    pub(crate) n_triggers: usize,
    pub(crate) light_ns: f64,
    pub(crate) baseline_adc: f64,
    pub(crate) polarity: Polarity,
    pub(crate) seed: u64,
}

pub(crate) const LED: Run = Run {
    kind: RunKind::Led,
    mean_pe: 0.5,
    noise_adc: 10.0,
    n_triggers: 12_000,
    light_ns: 250.3,
    baseline_adc: 4784.2,
    polarity: Polarity::Negative,
    seed: 7,
};

pub(crate) fn push_channel(batch: &mut Batch, channel_id: u32, run: Run) {
    let mut random = ChaCha8Rng::seed_from_u64(run.seed + u64::from(channel_id));
    let noise = Normal::new(0.0, run.noise_adc).expect("valid");
    let charge = Normal::new(1.0, 0.3).expect("valid");
    let spread_ns = Normal::new(0.0, 1.3).expect("valid");
    for event_id in 0..run.n_triggers {
        let n_pe: f64 = match run.mean_pe {
            0.0 => 0.0,
            mean_pe => Poisson::new(mean_pe).expect("valid").sample(&mut random),
        };
        let photoelectrons: Vec<(f64, f64)> = (0..n_pe as usize)
            .map(|_| {
                let time_ns = match run.kind {
                    RunKind::Led => run.light_ns + spread_ns.sample(&mut random),
                    RunKind::Dark => random.random_range(-200.0..N_SAMPLES as f64),
                };
                (time_ns, f64::max(charge.sample(&mut random), 0.0))
            })
            .collect();
        let samples: Vec<u16> = (0..N_SAMPLES)
            .map(|sample| {
                let light_adc: f64 = photoelectrons
                    .iter()
                    .map(|&(time_ns, charge)| charge * response_adc(sample as f64 - time_ns))
                    .sum();
                let light_adc = f64::from(run.polarity.sign()) * light_adc;
                (run.baseline_adc + light_adc + noise.sample(&mut random)).round() as u16
            })
            .collect();
        batch.push(Waveform {
            event_id: event_id as u64,
            channel_id,
            start_ns: 0.0,
            samples: SamplesRef::U16(&samples),
        });
    }
}

fn calibrate(batch: &Batch, polarity: Polarity, light_ns: Option<f64>) -> SpeResult {
    let parameters = SpeParameters {
        polarity,
        sampling_ns: 1.0,
        adc_bits: Some(14),
        run: None,
        window: None,
        min_pulses: 50,
        light_ns,
    };
    let mut read_all = |visit: &mut dyn FnMut(Waveform<'_>)| {
        batch.iter().for_each(visit);
        Ok(())
    };
    spe(&mut read_all, &parameters, &|_| None).expect("calibrates")
}

fn run_of(run: Run) -> SpeResult {
    let mut batch = Batch::new_u16(0);
    push_channel(&mut batch, 3, run);
    calibrate(&batch, run.polarity, None)
}

/// Charge that one photoelectron leaves in the window, on average over the light's spread.
fn charge_in(window: (usize, usize), light_ns: f64) -> f64 {
    let mut sum = 0.0;
    let mut weights = 0.0;
    for step in -40..=40 {
        let offset_ns = f64::from(step) * 0.1;
        let weight = (-0.5 * (offset_ns / 1.3_f64).powi(2)).exp();
        weights += weight;
        sum += weight
            * (window.0..window.1)
                .map(|sample| response_adc(sample as f64 - light_ns - offset_ns))
                .sum::<f64>();
    }
    sum / weights
}

fn worst_difference(template_adc: &[f32], from: usize, to: usize) -> (usize, f64) {
    (from..to)
        .map(|sample| {
            let found = template_adc.get(sample).copied().unwrap_or(0.0);
            (sample, f64::from(found) - response_adc(sample as f64))
        })
        .max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))
        .expect("a range")
}

#[test]
fn gain_spread_shape_and_time_are_those_of_the_simulation() {
    for (mean_pe, baseline_adc, polarity) in [
        (0.1, 4784.2, Polarity::Negative),
        (0.5, 1000.7, Polarity::Positive),
        (1.0, 12_000.0, Polarity::Negative),
    ] {
        let n_triggers = if mean_pe < 0.2 { 40_000 } else { 20_000 };
        let run = Run {
            mean_pe,
            n_triggers,
            baseline_adc,
            polarity,
            ..LED
        };
        let result = run_of(run);
        assert_eq!(result.run, RunKind::Led);
        let channel = &result.channels[0];
        let fit = channel.fit.expect("a fit");
        let window = channel.window.expect("a window");
        let expected = charge_in(window, run.light_ns);
        let row = &channel.calibration;
        let light_ns = channel.light_time_ns.expect("light");
        let worst = worst_difference(&row.template_adc, 0, 600);
        eprintln!(
            "mu {mean_pe}: window {window:?}, gain {:.2} of {expected:.2}, {fit:?}, {} pulses, light at {light_ns:.3}, noise {}, sigma t {}, worst {worst:?}, length {}, dark rate {}",
            fit.gain,
            channel.n_pulses,
            row.noise_adc,
            row.time_sigma_ns,
            row.template_adc.len(),
            row.dark_rate_hz
        );
        assert!((fit.gain / expected - 1.0).abs() < 0.01);
        assert!((row.charge_sigma_pe / 0.3 - 1.0).abs() < 0.05);
        assert!((fit.mean_pe / mean_pe - 1.0).abs() < 0.04);
        assert!((row.noise_adc / 10.0 - 1.0).abs() < 0.02);
        assert!((channel.baseline_adc - baseline_adc).abs() < 1.0);
        assert!((light_ns - run.light_ns).abs() < 0.3);
        assert!((row.time_sigma_ns - 1.3).abs() < 0.15);
        assert!(worst.1.abs() < 0.02 * GAIN_PEAK_ADC, "{worst:?}");
        let undershoot: f32 = row.template_adc[80..250].iter().sum();
        let true_undershoot: f64 = (80..250).map(|k| response_adc(f64::from(k))).sum();
        assert!(
            (f64::from(undershoot) / true_undershoot - 1.0).abs() < 0.1,
            "{undershoot} {true_undershoot}"
        );
        assert_eq!(row.flags, Flags::NONE);
    }
}

#[test]
fn a_later_light_moves_the_offset_and_nothing_else() {
    let mut batch = Batch::new_u16(0);
    let run = Run {
        n_triggers: 4000,
        ..LED
    };
    push_channel(&mut batch, 0, run);
    // The same random numbers, 37.4 ns later.
    let late = Run {
        light_ns: run.light_ns + 37.4,
        seed: run.seed - 1,
        ..run
    };
    push_channel(&mut batch, 1, late);
    let result = calibrate(&batch, run.polarity, Some(250.0));
    let [early, late] = [0, 1].map(|channel| &result.channels[channel].calibration);
    let shift_ns = late.time_offset_ns - early.time_offset_ns;
    assert!((shift_ns - 37.4).abs() < 0.1, "{shift_ns}");
    assert!((early.time_offset_ns - 0.3).abs() < 0.3);
    for (a, b) in early.template_adc.iter().zip(&late.template_adc) {
        assert!((a - b).abs() < 0.02 * GAIN_PEAK_ADC as f32, "{a} {b}");
    }
}

#[test]
fn the_time_reference_does_not_depend_on_noise_or_light() {
    let times: Vec<f64> = [(2.0, 0.2), (10.0, 0.2), (10.0, 1.0)]
        .into_iter()
        .map(|(noise_adc, mean_pe)| {
            let result = run_of(Run {
                mean_pe,
                noise_adc,
                ..LED
            });
            result.channels[0].light_time_ns.expect("light")
        })
        .collect();
    for time_ns in &times {
        assert!((time_ns - LED.light_ns).abs() < 0.3, "{times:?}");
        assert!((time_ns - times[0]).abs() < 0.2, "{times:?}");
    }
}

#[test]
fn channels_with_too_few_pulses_take_the_template_of_the_others() {
    let mut batch = Batch::new_u16(0);
    let run = Run {
        n_triggers: 3000,
        ..LED
    };
    push_channel(&mut batch, 1, run);
    let few = Run {
        n_triggers: 10,
        ..run
    };
    push_channel(&mut batch, 2, few);
    let dark = Run {
        mean_pe: 0.0,
        noise_adc: 6.0,
        n_triggers: 500,
        ..run
    };
    push_channel(&mut batch, 3, dark);
    let result = calibrate(&batch, run.polarity, None);
    let [good, few, dark] = [0, 1, 2].map(|channel| &result.channels[channel].calibration);
    assert_eq!(good.flags, Flags::NONE);
    let expected = Flags::TEMPLATE_FALLBACK | Flags::SPECTRUM_FIT_FAILED;
    for fallen in [few, dark] {
        assert_eq!(fallen.flags, expected);
        assert_eq!(fallen.template_adc, good.template_adc);
        assert_eq!(fallen.charge_sigma_pe, good.charge_sigma_pe);
    }
    assert!((few.noise_adc - 10.0).abs() < 0.7, "{}", few.noise_adc);
    assert!((dark.noise_adc - 6.0).abs() < 0.1, "{}", dark.noise_adc);
    let calibration = result.to_calibration().expect("valid");
    assert_eq!(calibration.channels().len(), 3);
    assert!(calibration.default_row().is_some());
}

#[test]
fn the_type_comes_before_the_crowd() {
    let mut batch = Batch::new_u16(0);
    for channel_id in 0..3 {
        let n_triggers = if channel_id == 2 { 10 } else { 2000 };
        let seed = u64::from(channel_id) * 10;
        push_channel(
            &mut batch,
            channel_id,
            Run {
                n_triggers,
                seed,
                ..LED
            },
        );
    }
    let parameters = SpeParameters {
        polarity: LED.polarity,
        sampling_ns: 1.0,
        adc_bits: Some(14),
        run: None,
        window: None,
        min_pulses: 50,
        light_ns: None,
    };
    let mut read_all = |visit: &mut dyn FnMut(Waveform<'_>)| {
        batch.iter().for_each(visit);
        Ok(())
    };
    let type_of = |channel_id: u32| Some(if channel_id == 0 { "dynode" } else { "MCP" }.to_owned());
    let result = spe(&mut read_all, &parameters, &type_of).expect("calibrates");
    let template = |channel: usize| &result.channels[channel].calibration.template_adc;
    assert_eq!(template(2), template(1));
    assert_ne!(template(2), template(0));
}

#[test]
fn a_dark_run_is_recognised_and_gives_the_rate() {
    let run = Run {
        kind: RunKind::Dark,
        mean_pe: 0.06,
        n_triggers: 30_000,
        ..LED
    };
    let result = run_of(run);
    let channel = &result.channels[0];
    let fit = channel.fit.expect("a fit");
    let row = &channel.calibration;
    let worst = worst_difference(&row.template_adc, 0, 300);
    eprintln!(
        "{fit:?} {worst:?} {} pulses, rate {}",
        channel.n_pulses, row.dark_rate_hz
    );
    assert_eq!(result.run, RunKind::Dark);
    // 0.06 in 1200 ns, of which 4.8 % are too small to be seen.
    let expected_hz = 0.06 / 1200e-9 * 0.952;
    assert!(
        (f64::from(row.dark_rate_hz) / expected_hz - 1.0).abs() < 0.06,
        "{}",
        row.dark_rate_hz
    );
    assert!(
        (row.charge_sigma_pe / 0.3 - 1.0).abs() < 0.08,
        "{}",
        row.charge_sigma_pe
    );
    assert!(worst.1.abs() < 0.03 * GAIN_PEAK_ADC, "{worst:?}");
    assert_eq!(row.flags, Flags::NONE);
}

#[test]
fn a_run_without_light_is_an_error_that_says_what_to_do() {
    let mut batch = Batch::new_u16(0);
    let dark = Run {
        mean_pe: 0.0,
        n_triggers: 300,
        ..LED
    };
    push_channel(&mut batch, 0, dark);
    let parameters = SpeParameters {
        polarity: dark.polarity,
        sampling_ns: 1.0,
        adc_bits: Some(14),
        run: None,
        window: None,
        min_pulses: 50,
        light_ns: None,
    };
    let mut read_all = |visit: &mut dyn FnMut(Waveform<'_>)| {
        batch.iter().for_each(visit);
        Ok(())
    };
    let error = spe(&mut read_all, &parameters, &|_| None).expect_err("no light");
    assert_eq!(error.hints(), [nuwave::Hint::SinglePulses]);
    let mut nothing = |_: &mut dyn FnMut(Waveform<'_>)| Ok(());
    assert!(spe(&mut nothing, &parameters, &|_| None).is_err());
}
