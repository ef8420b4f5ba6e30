//! Extraction of whatever comes: no panic, no NaN without a flag, and the same result in any company.

mod reconstruct_support;

use nuwave::extract::{Backend, Extractor, Method, Parameters, ReadoutFacts};
use nuwave::model::{
    Batch, Calibration, Extracted, Flags, Hit, MIN_SAMPLES, Polarity, SamplesRef, Waveform,
    WaveformSummary,
};
use proptest::prelude::*;
use reconstruct_support::{calibration, noise, pulse};

const HIGHEST: f32 = 16_383.0;

/// What stands in a window.
#[derive(Clone, Debug)]
enum Content {
    Constant(f32),
    /// Noise, and pulses of a height at a place, which may lie outside the window.
    Light {
        noise_adc: f32,
        pulses: Vec<(f32, i32)>,
    },
    /// Any number at all.
    Arbitrary(u64),
}

#[derive(Clone, Debug)]
struct Window {
    length: usize,
    channel_id: u32,
    baseline_adc: f32,
    content: Content,
    /// Samples that are not numbers; only floats can hold them.
    bad: Vec<(usize, f32)>,
    seed: u64,
}

fn content() -> impl Strategy<Value = Content> {
    let level = prop_oneof![Just(0.0), Just(HIGHEST), 0.0..HIGHEST];
    let pulses = prop::collection::vec((-500.0..40_000.0_f32, -60..2060_i32), 0..6);
    prop_oneof![
        1 => level.prop_map(Content::Constant),
        6 => (prop_oneof![Just(0.0_f32), 0.5..30.0_f32], pulses)
            .prop_map(|(noise_adc, pulses)| Content::Light { noise_adc, pulses }),
        1 => any::<u64>().prop_map(Content::Arbitrary),
    ]
}

fn window() -> impl Strategy<Value = Window> {
    let length = prop_oneof![3 => MIN_SAMPLES..2000, 1 => MIN_SAMPLES..80];
    let not_a_number = prop_oneof![
        Just(f32::NAN),
        Just(f32::INFINITY),
        Just(f32::NEG_INFINITY),
        Just(f32::MAX)
    ];
    let bad = prop_oneof![
        4 => Just(Vec::new()),
        1 => prop::collection::vec((0..2000_usize, not_a_number), 1..3),
    ];
    (length, 0..5_u32, 0.0..HIGHEST, content(), bad, any::<u64>()).prop_map(
        |(length, channel_id, baseline_adc, content, bad, seed)| Window {
            length,
            channel_id,
            baseline_adc,
            content,
            bad,
            seed,
        },
    )
}

impl Window {
    /// The samples, of a digitiser that clips; what is no number is in `bad`.
    fn samples(&self) -> Vec<f32> {
        match &self.content {
            Content::Constant(level) => vec![level.round(); self.length],
            Content::Arbitrary(seed) => noise(*seed, 1e4, self.length)
                .into_iter()
                .map(|value| value.abs().min(HIGHEST).round())
                .collect(),
            Content::Light { noise_adc, pulses } => {
                let mut upright = noise(self.seed, *noise_adc, self.length);
                for &(height, place) in pulses {
                    for (k, value) in (place..).zip(pulse(height, 8.0, 120)) {
                        if let Some(sample) =
                            usize::try_from(k).ok().and_then(|k| upright.get_mut(k))
                        {
                            *sample += value;
                        }
                    }
                }
                upright
                    .into_iter()
                    .map(|value| (self.baseline_adc - value).clamp(0.0, HIGHEST).round())
                    .collect()
            }
        }
    }

    fn floats(&self) -> Vec<f32> {
        let mut samples = self.samples();
        for &(place, value) in &self.bad {
            if let Some(sample) = samples.get_mut(place) {
                *sample = value;
            }
        }
        samples
    }

    fn counts(&self) -> Vec<u16> {
        self.samples()
            .into_iter()
            .map(|sample| sample as u16)
            .collect()
    }
}

/// Channels 0 to 2 have a template each (plain, with an undershoot, longer than most windows), 3 the default, and 4
/// none where there is no default.
fn calibration_of(with_default: bool) -> Calibration {
    let plain = pulse(100.0, 8.0, 120);
    let undershoot: Vec<f32> = (0..600)
        .map(|k| plain.get(k).copied().unwrap_or(0.0) - 4.0 * (k as f32 / -100.0).exp())
        .collect();
    let slow = pulse(40.0, 150.0, 1500);
    let mut all = Calibration::new();
    for (channel, (template, noise_adc)) in [(plain, 8.0), (undershoot, 0.0), (slow, 2.0)]
        .into_iter()
        .enumerate()
    {
        let row = calibration(template, noise_adc, 1.0, &[]).rows()[0].clone();
        let row = all.add_row(row).expect("a valid row");
        all.assign(channel as u32, row);
    }
    if with_default {
        all.set_default(0);
    }
    all
}

fn batch(windows: &[Window], counts: bool) -> Batch {
    let mut batch = if counts {
        Batch::new_u16(0)
    } else {
        Batch::new_f32(0)
    };
    for (event_id, window) in windows.iter().enumerate() {
        let (floats, whole) = (window.floats(), window.counts());
        batch.push(Waveform {
            event_id: event_id as u64,
            channel_id: window.channel_id,
            start_ns: 0.0,
            samples: if counts {
                SamplesRef::U16(&whole)
            } else {
                SamplesRef::F32(&floats)
            },
        });
    }
    batch
}

fn bits_of_hit(hit: &Hit) -> [u32; 4] {
    [
        hit.time_ns.to_bits(),
        hit.charge_pe.to_bits(),
        hit.charge_sigma_pe.to_bits(),
        hit.flags.0,
    ]
}

fn bits_of_summary(summary: &WaveformSummary) -> [u32; 7] {
    [
        summary.charge_pe.to_bits(),
        summary.first_time_ns.map_or(u32::MAX, f32::to_bits),
        summary.n_hits,
        summary.baseline_adc.to_bits(),
        summary.baseline_sigma_adc.to_bits(),
        summary.noise_adc.to_bits(),
        summary.flags.0,
    ]
}

/// The result of each waveform, bit by bit.
fn bits(extracted: &Extracted) -> Vec<([u32; 7], Vec<[u32; 4]>)> {
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

/// What has to hold of every result, whatever the samples were.
fn check(extracted: &Extracted, windows: &[Window]) -> Result<(), TestCaseError> {
    prop_assert_eq!(extracted.summaries.len(), windows.len());
    let n_hits: usize = extracted
        .summaries
        .iter()
        .map(|summary| summary.n_hits as usize)
        .sum();
    prop_assert_eq!(n_hits, extracted.hits.len());
    for hit in &extracted.hits {
        let finite = [hit.time_ns, hit.charge_pe, hit.charge_sigma_pe]
            .iter()
            .all(|value| value.is_finite());
        prop_assert!(finite, "{:?}", hit);
        prop_assert!((-2000.0..4000.0).contains(&hit.time_ns), "{:?}", hit);
    }
    for (summary, window) in extracted.summaries.iter().zip(windows) {
        let numbers = [
            summary.charge_pe,
            summary.baseline_adc,
            summary.baseline_sigma_adc,
            summary.noise_adc,
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
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_waveforms_give_finite_hits_that_are_the_same_alone_and_in_company(
        windows in prop::collection::vec(window(), 1..12),
        counts in any::<bool>(),
        with_default in any::<bool>(),
        negative in prop::bool::weighted(0.8),
        method in prop_oneof![3 => Just(Method::Deconvolution), 1 => Just(Method::Integral), 1 => Just(Method::Coti)],
    ) {
        let readout = ReadoutFacts {
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

/// A slow template's kernel reaches over the whole of a short window.
#[test]
fn every_short_window_is_extracted_with_every_template() -> Result<(), TestCaseError> {
    let readout = ReadoutFacts {
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
