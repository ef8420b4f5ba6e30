//! Nothing depends on the unit of the samples: counts, millivolts, volts.

use nuwave::calibrate::spe::{RunKind, SpeParameters, SpeResult, spe};
use nuwave::extract::{Backend as _, DigitizerConfig, Extractor, Method, Parameters};
use nuwave::model::{
    Batch, Calibration, ChannelCalibration, Flags, Polarity, SamplesRef, Waveform,
};

use crate::calibrate_spe::{LED, Run, push_channel, response_adc};

/// Factors between units. The samples of the first are integers, as floating-point numbers.
const SCALES: [f32; 5] = [1.0, 0.01, 1e-6, 37.3, 1e6];

/// Returns the waveforms as floating-point numbers, times `scale`.
fn scaled(batch: &Batch, scale: f32) -> Batch {
    let mut floats = Batch::new_f32(0);
    for waveform in batch.iter() {
        let samples: Vec<f32> = waveform
            .samples
            .to_f32()
            .iter()
            .map(|sample| sample * scale)
            .collect();
        floats.push(Waveform {
            samples: SamplesRef::F32(&samples),
            ..waveform
        });
    }
    floats
}

fn calibrate(batch: &Batch, run: RunKind) -> SpeResult {
    let parameters = SpeParameters {
        polarity: Polarity::Negative,
        sampling_ns: 1.0,
        adc_bits: None,
        run: Some(run),
        window: None,
        min_pulses: 50,
        light_ns: None,
    };
    let mut read_all = |visit: &mut dyn FnMut(Waveform<'_>)| {
        batch.iter().for_each(visit);
        Ok(())
    };
    spe(&mut read_all, &parameters, &|_| None).expect("calibrates")
}

#[test]
fn a_calibration_has_the_unit_of_its_samples() {
    let led = Run {
        n_triggers: 3000,
        ..LED
    };
    let dark = Run {
        kind: RunKind::Dark,
        mean_pe: 0.4,
        ..led
    };
    for run in [led, dark] {
        let mut counts = Batch::new_u16(0);
        push_channel(&mut counts, 3, run);
        let row = |batch: &Batch| {
            let calibration = calibrate(batch, run.kind).to_calibration().expect("rows");
            calibration.rows()[0].clone()
        };
        let expected = row(&counts);
        for scale in SCALES {
            let found = row(&scaled(&counts, scale));
            let near = |found: f32, expected: f32, what: &str| {
                assert!(
                    (found / expected - 1.0).abs() < 0.01,
                    "{:?}, unit {scale}: {what} is {found} instead of {expected}",
                    run.kind
                );
            };
            near(found.noise_adc / scale, expected.noise_adc, "noise");
            near(
                found.area_adc_samples() / scale,
                expected.area_adc_samples(),
                "area",
            );
            near(found.charge_sigma_pe, expected.charge_sigma_pe, "spread");
            near(
                found.baseline_noise_ratio,
                expected.baseline_noise_ratio,
                "noise of the baseline",
            );
            let peak =
                |row: &ChannelCalibration| row.template_adc.iter().copied().fold(0.0, f32::max);
            near(peak(&found) / scale, peak(&expected), "peak");
        }
    }
}

#[test]
fn charges_and_times_do_not_depend_on_the_unit() {
    let run = Run {
        mean_pe: 4.0,
        n_triggers: 200,
        ..LED
    };
    let mut counts = Batch::new_u16(0);
    push_channel(&mut counts, 3, run);
    // Windows of 60 samples have blocks of their own.
    let mut short = Batch::new_u16(0);
    for waveform in counts.iter() {
        short.push(Waveform {
            samples: waveform.samples.range(220..280),
            ..waveform
        });
    }
    for method in [
        Method::Deconvolution,
        Method::Sparse,
        Method::Auto,
        Method::Integral,
        Method::Coti,
    ] {
        let extract = |batch: &Batch, scale: f32| {
            let mut calibration = Calibration::new();
            let template = (0..600).map(|t| scale * response_adc(f64::from(t)) as f32);
            let row = ChannelCalibration {
                template_adc: template.collect(),
                noise_adc: scale * 10.0,
                time_offset_ns: 0.0,
                dark_rate_hz: 0.0,
                charge_sigma_pe: 0.3,
                time_sigma_ns: 1.3,
                sampling_ns: 1.0,
                baseline_noise_ratio: 1.0,
                flags: Flags::NONE,
                measurement: None,
            };
            let row = calibration.add_row(row).expect("a valid row");
            calibration.set_default(row);
            let readout = DigitizerConfig {
                sampling_ns: 1.0,
                polarity: Polarity::Negative,
                adc_bits: None,
            };
            let parameters = Parameters {
                method,
                ..Parameters::default()
            };
            let extractor = Extractor::new(calibration, readout, parameters).expect("valid");
            extractor.extract(batch).expect("extracts")
        };
        for batch in [&counts, &short] {
            let expected = extract(batch, 1.0);
            for scale in SCALES {
                let found = extract(&scaled(batch, scale), scale);
                let pairs = found.summaries.iter().zip(&expected.summaries);
                for (index, (found, expected)) in pairs.enumerate() {
                    assert!(
                        (found.charge_pe - expected.charge_pe).abs()
                            < 0.002 * (1.0 + expected.charge_pe)
                            && found.n_hits == expected.n_hits
                            && found.flags == expected.flags,
                        "{method}, unit {scale}, waveform {index}: {found:?} instead of {expected:?}"
                    );
                }
            }
        }
    }
}
