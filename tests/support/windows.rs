//! Waveforms of any kind, and calibrations of several templates, for property tests of extraction.

use nuwave::model::{Batch, Calibration, MIN_SAMPLES, SamplesRef, Waveform};
use proptest::prelude::*;

use super::reconstruct::{calibration, noise, pulse};

const HIGHEST: f32 = 16_383.0;

/// The content of a window.
#[derive(Clone, Debug)]
pub enum Content {
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
pub struct Window {
    pub length: usize,
    pub channel_id: u32,
    pub baseline_adc: f32,
    pub content: Content,
    /// Samples that are not numbers; only floats can hold them.
    pub bad: Vec<(usize, f32)>,
    pub seed: u64,
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

pub fn window() -> impl Strategy<Value = Window> {
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
pub fn calibration_of(with_default: bool) -> Calibration {
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

pub fn batch(windows: &[Window], counts: bool) -> Batch {
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
