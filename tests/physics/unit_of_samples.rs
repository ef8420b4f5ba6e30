//! A calibration does not depend on the unit of the samples: counts, millivolts, volts.

use nuwave::calibrate::spe::{RunKind, SpeParameters, SpeResult, spe};
use nuwave::model::{Batch, ChannelCalibration, Polarity, SamplesRef, Waveform};

use crate::calibrate_spe::{LED, Run, push_channel};

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
