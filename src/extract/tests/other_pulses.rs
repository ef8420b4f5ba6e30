//! Pulses of other channels: with AC coupling, and sampled at other rates; and steps of the baseline as high as pulses.

use super::helpers::{
    PEAK_ADC, batch_of, batch_of_floats, extractor_of, extractor_with, gaussian, juno_pulse,
    juno_row,
};
use crate::extract::{Backend as _, Method};
use crate::model::{ChannelCalibration, Flags, Polarity};

const METHODS: [Method; 2] = [Method::Deconvolution, Method::Auto];
/// Standard deviation of a sample in ADC counts.
const NOISE_ADC: f32 = 8.0;

/// Returns a pulse of `count` samples of `step_ns` that begins at `t0_ns`, after a high-pass of the time constant `tau_ns`.
fn ac_coupled_pulse(t0_ns: f64, tau_ns: f64, step_ns: f64, count: usize) -> Vec<f64> {
    let keep = crate::math::exp(-step_ns / tau_ns);
    let (mut before, mut output) = (0.0, 0.0);
    (0..count)
        .map(|index| {
            let pulse = f64::from(PEAK_ADC) * juno_pulse(index as f64 * step_ns - t0_ns, 0.0);
            output = keep * output + 0.5 * (1.0 + keep) * (pulse - before);
            before = pulse;
            output
        })
        .collect()
}

fn row_of(template: &[f64]) -> ChannelCalibration {
    ChannelCalibration {
        template_adc: template.iter().map(|&value| value as f32).collect(),
        noise_adc: NOISE_ADC,
        ..juno_row(0.0, 0.1)
    }
}

/// Returns `light`, in counts with pulses upright, as samples of a negative pulse with noise.
fn samples_of(seed: u64, light: &[f64]) -> Vec<u16> {
    let noise = gaussian(seed, light.len());
    light
        .iter()
        .zip(noise)
        .map(|(light, noise)| (11_000.0 - light + f64::from(NOISE_ADC * noise)).round() as u16)
        .collect()
}

#[test]
fn charge_with_ac_coupling_is_right_whatever_the_length_of_the_template() {
    const LENGTH: usize = 3000;
    for tau_ns in [300.0, 1000.0, 3000.0] {
        for count in [600, 1200, 6000] {
            let template = ac_coupled_pulse(0.0, tau_ns, 1.0, count);
            for method in METHODS {
                let extractor =
                    extractor_with(row_of(&template), method, Polarity::Negative, Some(14));
                for (seed, charge) in [(0, 0.0), (1, 1.0), (2, 15.0), (3, 40.0)] {
                    let first = ac_coupled_pulse(400.0, tau_ns, 1.0, LENGTH);
                    let second = ac_coupled_pulse(1700.0, tau_ns, 1.0, LENGTH);
                    let light: Vec<f64> = first
                        .iter()
                        .zip(&second)
                        .map(|(first, second)| charge * first + second)
                        .collect();
                    let samples = samples_of(seed, &light);
                    let found = extractor
                        .extract(&batch_of([samples.as_slice()]))
                        .expect("extracts");
                    let summary = found.summaries[0];
                    let expected = charge + 1.0;
                    assert!(
                        (f64::from(summary.charge_pe) - expected).abs()
                            < 0.4_f64.max(0.05 * expected),
                        "{tau_ns} ns, template of {count}, {method}: {} instead of {expected} PE, {:?}",
                        summary.charge_pe,
                        summary.flags
                    );
                }
            }
        }
    }
}

#[test]
fn a_pulse_before_the_end_of_a_coarsely_sampled_window_counts_once() {
    for step_ns in [1.0, 2.0, 4.0] {
        // Pulses as long in samples as at 1 ns or half of it, as amplifiers for slower digitizers make them.
        let stretch = if step_ns > 2.0 { 2.0 } else { 1.0 };
        let pulse = |t0: f64, count: usize| -> Vec<f64> {
            (0..count)
                .map(|index| {
                    f64::from(PEAK_ADC) * juno_pulse((index as f64 * step_ns - t0) / stretch, 0.05)
                })
                .collect()
        };
        let mut row = row_of(&pulse(0.0, 500));
        row.sampling_ns = step_ns as f32;
        let mut calibration = crate::model::Calibration::new();
        let index = calibration.add_row(row).expect("a valid row");
        calibration.set_default(index);
        calibration.assign(0, index);
        let readout = crate::DigitizerConfig {
            sampling_ns: step_ns,
            polarity: Polarity::Negative,
            adc_bits: Some(14),
        };
        let extractor = crate::extract::Extractor::new(
            calibration,
            readout,
            crate::extract::Parameters::default(),
        )
        .expect("valid");
        for seed in 0..120 {
            let distance_ns = stretch * (20.0 + 0.3 * seed as f64);
            let light = pulse(500.0 * step_ns - distance_ns, 500);
            let light: Vec<f64> = light.iter().map(|value| 5.0 * value).collect();
            let samples = samples_of(seed, &light);
            let found = extractor
                .extract(&batch_of([samples.as_slice()]))
                .expect("extracts");
            let charge_pe = found.summaries[0].charge_pe;
            assert!(
                (charge_pe - 5.0).abs() < 1.0,
                "{step_ns} ns, {distance_ns} ns before the end: {charge_pe}"
            );
        }
    }
}

#[test]
fn a_step_as_high_as_pulses_has_a_flag() {
    let extractor = extractor_of(Method::Deconvolution, 0.05, 0.1);
    for height in [0.5, 1.0, 2.0, 3.0] {
        for seed in 0..30 {
            let at = 300 + 20 * seed as usize;
            let light: Vec<f64> = (0..1000)
                .map(|index| {
                    if index < at {
                        0.0
                    } else {
                        height * f64::from(PEAK_ADC)
                    }
                })
                .collect();
            let samples = samples_of(seed, &light);
            let found = extractor
                .extract(&batch_of([samples.as_slice()]))
                .expect("extracts");
            let summary = found.summaries[0];
            let told = Flags::UNSTABLE_BASELINE | Flags::BASELINE_FOLLOWED;
            assert!(
                summary.charge_pe < 0.5 || summary.flags.intersects(told),
                "{height} PE, step at {at}: {} PE, {:?}",
                summary.charge_pe,
                summary.flags
            );
        }
    }
}

/// Returns a pulse that begins at `t0` samples, with `echoes` of it, each lower and wider. Its peak is 100 counts.
fn pulse_with_echoes(echoes: u32, t0: f64, count: usize) -> Vec<f64> {
    const DELAY: f64 = 133.0;
    let value = |time: f64| -> f64 {
        (0..=echoes)
            .map(|echo| {
                let t = time - DELAY * f64::from(echo);
                if t <= 0.0 {
                    return 0.0;
                }
                let width = 1.0 + 0.8 * f64::from(echo);
                let log = crate::math::ln(t / (4.0 * width)) / 0.43;
                crate::math::exp(-0.5 * log * log) / (1.0 + 0.75 * f64::from(echo))
            })
            .sum()
    };
    (0..count)
        .map(|index| 100.0 * value(index as f64 - t0))
        .collect()
}

#[test]
fn pulses_whose_spectrum_has_notches_are_found_where_they_are() {
    for echoes in [0, 1, 2, 4, 6] {
        let template = pulse_with_echoes(echoes, 0.0, 300 + 133 * echoes as usize);
        let row = ChannelCalibration {
            noise_adc: 3.0,
            ..row_of(&template)
        };
        for method in METHODS {
            let extractor = extractor_with(row.clone(), method, Polarity::Negative, Some(14));
            for seed in 0..10_u32 {
                let time = 500.0 + 37.31 * f64::from(seed);
                let samples: Vec<u16> = pulse_with_echoes(echoes, time, 3000)
                    .iter()
                    .zip(gaussian(u64::from(seed), 3000))
                    .map(|(light, noise)| {
                        (11_000.0 - light + f64::from(3.0 * noise)).round() as u16
                    })
                    .collect();
                let found = extractor
                    .extract(&batch_of([samples.as_slice()]))
                    .expect("extracts");
                let [hit] = found.hits[..] else {
                    panic!("{echoes} echoes, {method}: {:?}", found.hits);
                };
                assert!(
                    (hit.time_ns - time).abs() < 0.5 && (hit.charge_pe - 1.0).abs() < 0.1,
                    "{echoes} echoes, {method}: {hit:?} instead of 1 PE at {time}"
                );
            }
        }
    }
}

#[test]
fn counts_around_zero_are_signed_and_saturate_at_their_own_rails() {
    for (polarity, baseline) in [
        (Polarity::Positive, 0.0),
        (Polarity::Negative, 0.0),
        (Polarity::Negative, 300.0),
        (Polarity::Positive, -700.0),
    ] {
        for (charge, is_cut) in [(1.0, false), (20.0, false), (200.0, true)] {
            let samples: Vec<f32> = gaussian(7, 1000)
                .iter()
                .enumerate()
                .map(|(index, noise)| {
                    let light = charge * PEAK_ADC * juno_pulse(index as f64 - 400.0, 0.05) as f32;
                    (baseline + polarity.sign() * light + NOISE_ADC * noise)
                        .round()
                        .clamp(-8192.0, 8191.0)
                })
                .collect();
            for method in METHODS {
                let extractor = extractor_with(juno_row(0.05, 0.07), method, polarity, Some(14));
                let found = extractor
                    .extract(&batch_of_floats(&samples))
                    .expect("extracts");
                let summary = found.summaries[0];
                let is_saturated = summary.flags.intersects(Flags::SATURATED);
                assert_eq!(
                    is_saturated, is_cut,
                    "{polarity:?} {baseline} {charge} PE, {method}"
                );
                let is_fitted = summary.flags.contains(Flags::FITTED);
                assert_eq!(is_fitted, method.fits() && !is_cut, "{:?}", summary.flags);
                assert!(
                    is_cut || (summary.charge_pe - charge).abs() < 0.1 + 0.02 * charge,
                    "{} instead of {charge} PE",
                    summary.charge_pe
                );
            }
        }
    }
}
