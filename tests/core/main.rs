//! The library without any Cargo feature simulates waveforms and extracts their hits on the CPU.
//!
//! With all features this test runs like the others; `cargo test --no-default-features --test core` runs it without.

use nuwave::detector;
use nuwave::extract::{Backend as _, DigitizerConfig, Extractor, Method, Parameters};
use nuwave::simulate::{LightLevel, Profile, WaveformPlan, waveforms};

#[test]
fn simulated_waveforms_give_their_charge_by_every_method() {
    let detector = detector::load("juno").expect("a preset");
    let calibration = detector.nominal_calibration().expect("of the preset");
    let readout = DigitizerConfig {
        sampling_ns: detector.readout.sampling_ns,
        polarity: detector.readout.polarity,
        adc_bits: Some(detector.readout.adc_bits),
    };
    let plan = WaveformPlan {
        profile: Profile::named("ls", &detector).expect("the detector's own"),
        detector,
        seed: 3,
        events: 100,
        channels: vec![0, 1, 2],
        light: LightLevel::FixedPe(3),
    };
    for method in Method::ALL {
        let parameters = Parameters {
            method,
            ..Parameters::default()
        };
        let extractor =
            Extractor::new(calibration.clone(), readout, parameters).expect("valid settings");
        let (mut found_pe, mut true_pe, mut hits) = (0.0, 0.0, 0);
        for block in waveforms(&plan).expect("a valid plan") {
            let extracted = extractor.extract(&block.batch).expect("valid waveforms");
            hits += extracted.hits.len();
            found_pe += extracted
                .hits
                .iter()
                .map(|hit| f64::from(hit.charge_pe))
                .sum::<f64>();
            true_pe += block
                .photoelectrons
                .iter()
                .map(|photoelectron| f64::from(photoelectron.charge_pe))
                .sum::<f64>();
        }
        assert!(hits >= 300, "{}: {hits} hits", method.name());
        assert!(
            (found_pe / true_pe - 1.0).abs() < 0.1,
            "{}: {found_pe} of {true_pe} PE",
            method.name()
        );
    }
}
