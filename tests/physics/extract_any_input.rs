//! Extraction of arbitrary waveforms: no panic, no NaN without a flag, and the same result in any batch.

use crate::support::reconstruct::{calibration, pulse};
use crate::support::windows::{Content, Window, batch, calibration_of, window};
use nuwave::extract::{Backend, DigitizerConfig, Extractor, Method, Parameters};
use nuwave::model::{Extracted, Flags, Hit, MIN_SAMPLES, Polarity, WaveformSummary};
use proptest::prelude::*;

fn bits_of_hit(hit: &Hit) -> [u64; 5] {
    [
        hit.time_ns.to_bits(),
        hit.charge_pe.to_bits().into(),
        hit.charge_sigma_pe.to_bits().into(),
        hit.time_sigma_ns.to_bits().into(),
        hit.flags.0.into(),
    ]
}

fn bits_of_summary(summary: &WaveformSummary) -> [u64; 8] {
    [
        summary.charge_pe.to_bits().into(),
        summary.first_time_ns.map_or(u64::MAX, f64::to_bits),
        summary.n_hits.into(),
        summary.baseline_adc.to_bits().into(),
        summary.baseline_sigma_adc.to_bits().into(),
        summary.noise_adc.to_bits().into(),
        summary.chi2_ndf.map_or(u32::MAX, f32::to_bits).into(),
        summary.flags.0.into(),
    ]
}

/// The result of each waveform, bit by bit.
fn bits(extracted: &Extracted) -> Vec<([u64; 8], Vec<[u64; 5]>)> {
    let mut hits = extracted.hits.iter();
    extracted
        .summaries
        .iter()
        .map(|summary| {
            let mine = hits
                .by_ref()
                .take(summary.n_hits as usize)
                .map(bits_of_hit)
                .collect();
            (bits_of_summary(summary), mine)
        })
        .collect()
}

/// Asserts the properties of every result, whatever the samples were.
fn check(extracted: &Extracted, windows: &[Window]) -> Result<(), TestCaseError> {
    prop_assert_eq!(extracted.summaries.len(), windows.len());
    let n_hits: usize = extracted
        .summaries
        .iter()
        .map(|summary| summary.n_hits as usize)
        .sum();
    prop_assert_eq!(n_hits, extracted.hits.len());
    for hit in &extracted.hits {
        let finite = [hit.charge_pe, hit.charge_sigma_pe, hit.time_sigma_ns]
            .iter()
            .all(|value| value.is_finite());
        prop_assert!(finite && hit.time_ns.is_finite(), "{:?}", hit);
        prop_assert!((-2000.0..4000.0).contains(&hit.time_ns), "{:?}", hit);
    }
    for (summary, window) in extracted.summaries.iter().zip(windows) {
        let numbers = [
            summary.charge_pe,
            summary.baseline_adc,
            summary.baseline_sigma_adc,
            summary.noise_adc,
            summary.chi2_ndf.unwrap_or(0.0),
        ];
        let flagged = summary
            .flags
            .intersects(Flags::NON_FINITE | Flags::NO_CALIBRATION);
        prop_assert!(
            flagged || numbers.iter().all(|value| value.is_finite()),
            "{:?} of {:?}",
            summary,
            window
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_waveforms_give_finite_hits_that_are_the_same_alone_and_in_company(
        windows in prop::collection::vec(window(), 1..12),
        counts in any::<bool>(),
        with_default in any::<bool>(),
        negative in prop::bool::weighted(0.8),
        method in prop::sample::select(Method::ALL.to_vec()),
    ) {
        let readout = DigitizerConfig {
            sampling_ns: 1.0,
            polarity: if negative { Polarity::Negative } else { Polarity::Positive },
            adc_bits: Some(14),
        };
        let parameters = Parameters { method, ..Parameters::default() };
        let extractor = || Extractor::new(calibration_of(with_default), readout, parameters).expect("valid");
        let together = extractor();
        let extracted = together.extract(&batch(&windows, counts)).expect("extracts");
        check(&extracted, &windows)?;
        let expected = bits(&extracted);
        // One by one, by an extractor that has seen nothing, and by the one that has seen all.
        for (window, expected) in windows.iter().zip(&expected) {
            let one = batch(std::slice::from_ref(window), counts);
            for extractor in [&extractor(), &together] {
                let alone = bits(&extractor.extract(&one).expect("extracts"));
                prop_assert_eq!(&alone[0], expected, "{:?}", window);
            }
        }
        // In the other order.
        let backwards: Vec<Window> = windows.iter().rev().cloned().collect();
        let mut found = bits(&together.extract(&batch(&backwards, counts)).expect("extracts"));
        found.reverse();
        prop_assert_eq!(&found, &expected);
        // Counts are the same counts as floats.
        if counts {
            let whole: Vec<Window> = windows.iter().map(|window| Window { bad: Vec::new(), ..window.clone() }).collect();
            let floats = bits(&together.extract(&batch(&whole, false)).expect("extracts"));
            prop_assert_eq!(&floats, &expected);
        }
    }
}

/// Samples and padding that are both odd need one more than half of their sum at the halved rate.
#[test]
fn a_window_that_just_fits_its_transform_is_extracted() -> Result<(), TestCaseError> {
    let readout = DigitizerConfig {
        sampling_ns: 1.0,
        polarity: Polarity::Negative,
        adc_bits: Some(14),
    };
    let plain = pulse(100.0, 8.0, 120);
    for (depth, tau_samples) in [(8.0, 60.0), (1.0, 150.0), (3.0, 90.0)] {
        let undershoot = |k: usize| depth * (k as f32 / -tau_samples).exp();
        let template = (0..600)
            .map(|k| plain.get(k).copied().unwrap_or(0.0) - undershoot(k))
            .collect();
        let known = calibration(template, 8.0, 1.0, &[]);
        let extractor = Extractor::new(known, readout, Parameters::default()).expect("valid");
        let windows: Vec<Window> = (250..420)
            .chain(760..900)
            .chain(1800..1880)
            .map(|length| Window {
                length,
                channel_id: 0,
                baseline_adc: 9000.0,
                content: Content::Light {
                    noise_adc: 8.0,
                    pulses: vec![(900.0, 100)],
                },
                bad: Vec::new(),
                seed: length as u64,
            })
            .collect();
        let extracted = extractor.extract(&batch(&windows, true)).expect("extracts");
        check(&extracted, &windows)?;
        for (summary, window) in extracted.summaries.iter().zip(&windows) {
            prop_assert!(summary.n_hits >= 1, "{:?}", window);
        }
    }
    Ok(())
}

/// A slow template's kernel reaches over the whole of a short window.
#[test]
fn every_short_window_is_extracted_with_every_template() -> Result<(), TestCaseError> {
    let readout = DigitizerConfig {
        sampling_ns: 1.0,
        polarity: Polarity::Negative,
        adc_bits: Some(14),
    };
    let extractor =
        Extractor::new(calibration_of(true), readout, Parameters::default()).expect("valid");
    let windows: Vec<Window> = (MIN_SAMPLES..260)
        .flat_map(|length| (0..4).map(move |channel_id| (length, channel_id)))
        .map(|(length, channel_id)| Window {
            length,
            channel_id,
            baseline_adc: 9000.0,
            content: Content::Light {
                noise_adc: 3.0,
                pulses: vec![(900.0, 10)],
            },
            bad: Vec::new(),
            seed: length as u64,
        })
        .collect();
    let extracted = extractor.extract(&batch(&windows, true)).expect("extracts");
    check(&extracted, &windows)
}
