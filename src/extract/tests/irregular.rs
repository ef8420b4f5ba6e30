//! Waveforms as they really come: baselines that move, padding, glitches, flat tops, light at the end of the window.

use super::helpers::{
    PEAK_ADC, Photoelectron, batch_of, extractor_of, gaussian, juno_pulse, scintillation, waveform,
};
use crate::extract::{Backend as _, Extractor, Method};
use crate::model::{Batch, Flags, Hit, WaveformSummary};

const NOISE: f32 = 0.1;
const UNDERSHOOT: f64 = 0.05;
const METHODS: [Method; 3] = [Method::Deconvolution, Method::Sparse, Method::Auto];

fn extracted(extractor: &Extractor, batch: &Batch) -> Vec<(WaveformSummary, Vec<Hit>)> {
    let all = extractor.extract(batch).expect("extracts");
    let mut rest = all.hits.as_slice();
    all.summaries
        .iter()
        .map(|summary| {
            let (own, others) = rest.split_at(summary.n_hits as usize);
            rest = others;
            (*summary, own.to_vec())
        })
        .collect()
}

/// Waveforms of `light` on a baseline that moves by `baseline(index, t)`, in counts with pulses upright.
fn moving(light: &[Vec<Photoelectron>], baseline: impl Fn(usize, f64) -> f64) -> Batch {
    let samples: Vec<Vec<u16>> = light
        .iter()
        .enumerate()
        .map(|(index, light)| {
            let still = waveform(index as u64, light, UNDERSHOOT, NOISE, 1000);
            still
                .iter()
                .enumerate()
                .map(|(t, &sample)| (f64::from(sample) - baseline(index, t as f64)).round() as u16)
                .collect()
        })
        .collect();
    batch_of(samples.iter().map(Vec::as_slice))
}

/// One or no photoelectron per waveform.
fn few(count: usize) -> Vec<Vec<Photoelectron>> {
    (0..count)
        .map(|index| match index % 2 {
            0 => Vec::new(),
            _ => vec![(120.0 + 7.3 * index as f64 % 700.0, 1.0)],
        })
        .collect()
}

/// Returns light without a photoelectron within 10 ns, and the numbers of wrong waveforms and of those without a flag that says so.
fn judge(
    light: &[Vec<Photoelectron>],
    found: &[(WaveformSummary, Vec<Hit>)],
) -> (f64, usize, usize) {
    let (mut false_pe, mut n_wrong, mut n_silent) = (0.0, 0, 0);
    for (light, (summary, hits)) in light.iter().zip(found) {
        let far: f64 = hits
            .iter()
            .filter(|hit| !light.iter().any(|one| (one.0 - hit.time_ns).abs() < 10.0))
            .map(|hit| f64::from(hit.charge_pe))
            .sum();
        let charge: f64 = light.iter().map(|one| one.1).sum();
        let is_wrong =
            far > 0.3 || (f64::from(summary.charge_pe) - charge).abs() > 0.5_f64.max(0.05 * charge);
        let is_flagged = summary
            .flags
            .intersects(Flags::UNSTABLE_BASELINE | Flags::FIT_FAILED);
        false_pe += far;
        n_wrong += usize::from(is_wrong);
        n_silent += usize::from(is_wrong && !is_flagged);
    }
    (false_pe / light.len() as f64, n_wrong, n_silent)
}

/// A movement of the baseline, with its name.
type Movement = (&'static str, fn(usize, f64) -> f64);

const MOVEMENTS: [Movement; 5] = [
    ("drift", |index, t| {
        0.05 * (index % 7) as f64 * f64::from(PEAK_ADC) * t / 1000.0
    }),
    ("sine", |index, t| {
        let period_ns = [300.0, 700.0, 1300.0, 2500.0][index % 4];
        0.25 * f64::from(PEAK_ADC)
            * crate::math::sin_cos((t + 37.0 * index as f64) / period_ns * std::f64::consts::TAU).0
    }),
    ("rectangle", |index, t| {
        let begin = 200.0 + 11.0 * index as f64;
        let inside = (begin..begin + 300.0).contains(&t);
        f64::from(u8::from(inside)) * 0.2 * f64::from(PEAK_ADC)
    }),
    ("overshoot of unknown cause", |index, t| {
        -(0.3 + 0.1 * (index % 8) as f64) * f64::from(PEAK_ADC) * crate::math::exp(-t / 600.0)
    }),
    ("flash before the window", |index, t| {
        let before_ns = 60.0 + 20.0 * (index % 8) as f64;
        100.0 * f64::from(PEAK_ADC) * juno_pulse(t + before_ns, UNDERSHOOT)
    }),
];

#[test]
fn a_baseline_that_moves_is_followed_or_flagged() {
    let light = few(32);
    for (name, baseline) in MOVEMENTS {
        let batch = moving(&light, baseline);
        for method in METHODS {
            let found = extracted(&extractor_of(method, UNDERSHOOT as f32, NOISE), &batch);
            let (false_pe, n_wrong, n_silent) = judge(&light, &found);
            eprintln!(
                "{name}, {method}: {false_pe:.3} PE false, {n_wrong} wrong, {n_silent} without a flag"
            );
            assert!(
                false_pe < 0.15,
                "{name}, {method}: {false_pe} PE where there is no light"
            );
            assert!(
                n_silent <= 1,
                "{name}, {method}: {n_silent} of {n_wrong} wrong waveforms have no flag"
            );
        }
    }
}

#[test]
fn flags_of_the_baseline_are_those_of_the_hits_too() {
    let light = few(32);
    let batch = moving(&light, MOVEMENTS[1].1);
    let found = extracted(
        &extractor_of(Method::Deconvolution, UNDERSHOOT as f32, NOISE),
        &batch,
    );
    let mut n_followed = 0;
    for (summary, hits) in &found {
        n_followed += usize::from(summary.flags.contains(Flags::BASELINE_FOLLOWED));
        for hit in hits {
            let shared = Flags::BASELINE_FOLLOWED | Flags::UNSTABLE_BASELINE;
            assert_eq!(hit.flags & shared, summary.flags & shared);
        }
    }
    assert!(n_followed > 25, "{n_followed}");
}

#[test]
fn a_baseline_at_rest_is_never_followed() {
    let extractor = extractor_of(Method::Deconvolution, UNDERSHOOT as f32, NOISE);
    for mu in [0.0, 1.0, 5.0, 20.0, 60.0] {
        let samples: Vec<Vec<u16>> = (0..150)
            .map(|seed| {
                let light = scintillation(1000 + seed, mu, 1000);
                waveform(seed, &light, UNDERSHOOT, NOISE, 1000)
            })
            .collect();
        let batch = batch_of(samples.iter().map(Vec::as_slice));
        for (index, (summary, _)) in extracted(&extractor, &batch).iter().enumerate() {
            let changed =
                Flags::BASELINE_FOLLOWED | Flags::GLITCH | Flags::PADDED | Flags::SATURATED;
            assert!(
                !summary.flags.intersects(changed),
                "{mu} {index}: {:?}",
                summary.flags
            );
        }
    }
}

#[test]
fn padding_leaves_the_result_of_the_shorter_window() {
    for method in METHODS {
        let extractor = extractor_of(method, UNDERSHOOT as f32, NOISE);
        for (begin, end, value) in [
            (0, 999, 0),
            (0, 700, 0),
            (0, 700, u16::MAX),
            (100, 1000, 0),
            (32, 900, 7),
        ] {
            let whole = waveform(3, &[(250.0, 1.0), (420.0, 2.0)], UNDERSHOOT, NOISE, 1000);
            let mut padded = whole.clone();
            padded[..begin].fill(value);
            padded[end..].fill(value);
            let found = extracted(
                &extractor,
                &batch_of([padded.as_slice(), &whole[begin..end]]),
            );
            let [(padded, padded_hits), (shorter, hits)] = found.as_slice() else {
                panic!("two waveforms");
            };
            assert!(
                padded.flags.contains(Flags::PADDED),
                "{begin}..{end} {value}: {:?}",
                padded.flags
            );
            assert!(!shorter.flags.contains(Flags::PADDED));
            assert_eq!(padded_hits.len(), hits.len(), "{begin}..{end} {value}");
            for (a, b) in padded_hits.iter().zip(hits) {
                assert!(
                    (a.time_ns - b.time_ns - begin as f64).abs() < 1e-4,
                    "{a:?} {b:?}"
                );
                assert_eq!(a.charge_pe.to_bits(), b.charge_pe.to_bits());
                assert!(a.flags.contains(Flags::PADDED));
            }
        }
    }
}

#[test]
fn glitches_make_no_hits_and_leave_the_charge() {
    for method in METHODS {
        let extractor = extractor_of(method, UNDERSHOOT as f32, NOISE);
        for (index, value) in [
            (200, 0),
            (501, 11_000 + 4096),
            (502, 11_000 - 1000),
            (800, 11_000 - 250),
        ] {
            let mut samples = waveform(5, &[(400.0, 1.0)], UNDERSHOOT, NOISE, 1000);
            samples[index] = value;
            let found = extracted(&extractor, &batch_of([samples.as_slice()]));
            let (summary, hits) = &found[0];
            assert!(
                summary.flags.contains(Flags::GLITCH),
                "{method} {index} {value}: {:?}",
                summary.flags
            );
            assert_eq!(hits.len(), 1, "{method} {index} {value}: {hits:?}");
            assert!(
                (summary.charge_pe - 1.0).abs() < 0.25,
                "{method} {index} {value}: {summary:?}"
            );
        }
    }
}

#[test]
fn pulses_cut_below_the_rails_are_saturated() {
    for method in METHODS {
        let extractor = extractor_of(method, UNDERSHOOT as f32, NOISE);
        let light = scintillation(77, 80.0, 1000);
        let whole = waveform(9, &light, UNDERSHOOT, NOISE, 1000);
        let cut: Vec<u16> = whole.iter().map(|&sample| sample.max(9000)).collect();
        let noise = gaussian(4, 1000);
        let cut_before_noise: Vec<u16> = cut
            .iter()
            .zip(noise)
            .map(|(&sample, noise)| (f32::from(sample) + 6.0 * noise).round() as u16)
            .collect();
        let found = extracted(
            &extractor,
            &batch_of([whole.as_slice(), &cut, &cut_before_noise]),
        );
        assert!(!found[0].0.flags.intersects(Flags::SATURATED));
        for (summary, _) in &found[1..] {
            assert!(
                summary.flags.contains(Flags::SATURATED_LOW),
                "{method}: {:?}",
                summary.flags
            );
            assert!(!summary.flags.contains(Flags::FITTED));
        }
    }
}

#[test]
fn a_fit_that_does_not_describe_the_waveform_fails() {
    // Pulses twice as wide as the template: the noise of the deconvolved trace contains the misfit.
    let extractor = extractor_of(Method::Sparse, UNDERSHOOT as f32, NOISE);
    let noise = gaussian(2, 1000);
    let samples: Vec<u16> = (0..1000)
        .map(|t| {
            let ripple = 0.5 * crate::math::sin_cos(f64::from(t) / 9.0).0;
            let value = 6.0 * juno_pulse((f64::from(t) - 300.0) / 2.0, 0.0) + ripple;
            (11_000.0 - f64::from(PEAK_ADC) * (value + f64::from(NOISE * noise[t as usize])))
                .round() as u16
        })
        .collect();
    let found = extracted(&extractor, &batch_of([samples.as_slice()]));
    assert!(
        found[0].0.flags.contains(Flags::FIT_FAILED),
        "{:?}",
        found[0].0
    );
}

#[test]
fn a_pulse_that_the_end_cuts_on_a_baseline_that_drifts_keeps_its_charge() {
    let light: Vec<Vec<Photoelectron>> = (0..40)
        .map(|index| vec![(965.0 + 0.5 * f64::from(index % 10), 4.0)])
        .collect();
    let extractor = extractor_of(Method::Deconvolution, UNDERSHOOT as f32, NOISE);
    let mean_pe = |drift_pe: f64| {
        let batch = moving(&light, |_, t| {
            f64::from(PEAK_ADC) * drift_pe * (1.0 - t / 1000.0)
        });
        let found = extracted(&extractor, &batch);
        let late = |hits: &[Hit]| -> f64 {
            let late = hits.iter().filter(|hit| hit.time_ns > 940.0);
            late.map(|hit| f64::from(hit.charge_pe)).sum()
        };
        found.iter().map(|(_, hits)| late(hits)).sum::<f64>() / found.len() as f64
    };
    let still_pe = mean_pe(0.0);
    for drift_pe in [0.6, -0.6, 4.0, -4.0] {
        let drifting_pe = mean_pe(drift_pe);
        assert!(
            (drifting_pe / still_pe - 1.0).abs() < 0.03,
            "{drift_pe}: {drifting_pe} PE, {still_pe} PE without a drift"
        );
    }
}

#[test]
fn a_pulse_before_the_end_of_the_window_is_no_more_than_itself() {
    for method in METHODS {
        let extractor = extractor_of(method, UNDERSHOOT as f32, NOISE);
        for charge in [1.0, 5.0, 40.0] {
            for distance in [20.0, 25.0, 30.0, 35.0, 40.0, 50.0, 70.0] {
                let samples: Vec<Vec<u16>> = (0..20)
                    .map(|seed| {
                        let time = 1000.0 - distance + 0.05 * seed as f64;
                        waveform(seed, &[(time, charge)], UNDERSHOOT, NOISE, 1000)
                    })
                    .collect();
                let found = extracted(&extractor, &batch_of(samples.iter().map(Vec::as_slice)));
                let mean = found
                    .iter()
                    .map(|one| f64::from(one.0.charge_pe))
                    .sum::<f64>()
                    / 20.0;
                assert!(
                    (mean / charge - 1.0).abs() < 0.1,
                    "{method}, {charge} PE {distance} ns before the end: {mean}"
                );
            }
        }
    }
}

#[test]
fn the_last_samples_are_looked_at_whatever_the_length() {
    let auto = extractor_of(Method::Auto, UNDERSHOOT as f32, NOISE);
    for length in [1000, 992, 993, 1007, 1023, 600] {
        let quiet = waveform(8, &[], UNDERSHOOT, NOISE, length);
        let lit = waveform(8, &[(length as f64 - 14.0, 3.0)], UNDERSHOOT, NOISE, length);
        let found = extracted(&auto, &batch_of([quiet.as_slice(), &lit]));
        assert_eq!(found[0].1.len(), 0, "{length}");
        assert!(!found[1].1.is_empty(), "{length}: {:?}", found[1].0);
    }
}
