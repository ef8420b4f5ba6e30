//! Physics tests of the template fit.

use super::helpers::{
    PEAK_ADC, Photoelectron, batch_of, batch_of_floats, charge_pull, extractor_of, extractor_with,
    hits, juno_row, juno_template, n_resolved, repeated_pulses, rms, scintillations, spread,
    time_pull, wasserstein_ns, waveform, waveforms,
};
use crate::extract::{Backend as _, Extractor, Method};
use crate::model::{Flags, Hit, Polarity};

fn sparse(undershoot: f32, noise: f32) -> Extractor {
    extractor_of(Method::Sparse, undershoot, noise)
}

/// `count` waveforms, each with pulses of these charges at these times after 300 ns plus a fraction of a sample.
fn pulses(count: u32, pulses: &[Photoelectron]) -> Vec<Vec<Photoelectron>> {
    repeated_pulses((300.0, 250.0), count, pulses)
}

#[test]
fn a_unit_pulse_has_charge_one_and_its_own_time() {
    for undershoot in [0.01, 0.05, 0.10] {
        let light = pulses(100, &[(0.0, 1.0)]);
        let found = hits(&sparse(undershoot, 0.1), &light, f64::from(undershoot), 0.0);
        for (light, hits) in light.iter().zip(found) {
            assert_eq!(hits.len(), 1, "{light:?}: {hits:?}");
            assert!(
                (hits[0].charge_pe - 1.0).abs() < 3e-3,
                "{light:?}: {hits:?}"
            );
            let late = hits[0].time_ns - light[0].0;
            assert!(late.abs() < 0.03, "{light:?}: {hits:?}");
        }
    }
}

#[test]
fn a_shifted_waveform_has_shifted_hits() {
    let light: Vec<Photoelectron> = vec![(300.2, 1.0), (306.0, 1.5), (330.0, 0.8), (420.0, 12.0)];
    let extractor = sparse(0.05, 0.1);
    // Without noise, which would not move along.
    let found = |shift: f64| {
        let light = light.iter().map(|&(time, charge)| (time + shift, charge));
        hits(&extractor, &[light.collect()], 0.05, 0.0).remove(0)
    };
    let reference = found(0.0);
    for shift in [-100.0, 7.0, 50.0] {
        let moved = found(shift);
        assert_eq!(moved.len(), reference.len(), "{shift}");
        for (hit, first) in moved.iter().zip(&reference) {
            let later = hit.time_ns - first.time_ns - shift;
            assert!(later.abs() < 0.05, "{shift}: {hit:?} and {first:?}");
            let more = hit.charge_pe - first.charge_pe;
            assert!(more.abs() < 0.02, "{shift}: {hit:?} and {first:?}");
        }
    }
}

#[test]
fn an_empty_waveform_has_no_hits() {
    for method in [Method::Sparse, Method::Auto] {
        let found = hits(
            &extractor_of(method, 0.05, 0.1),
            &vec![Vec::new(); 4000],
            0.05,
            0.1,
        );
        let false_hits: usize = found.iter().map(Vec::len).sum();
        assert!(
            false_hits <= 4,
            "{method:?}: {false_hits} false hits in 4,000"
        );
    }
}

#[test]
fn charge_is_linear_for_photoelectrons_at_one_moment() {
    for undershoot in [0.01, 0.05, 0.10] {
        let extractor = sparse(undershoot, 0.1);
        for charge in [0.5, 1.0, 5.0, 20.0, 90.0] {
            let light = pulses(100, &[(0.0, charge)]);
            let found = hits(&extractor, &light, f64::from(undershoot), 0.1);
            let sum: f64 = found
                .iter()
                .flatten()
                .map(|hit| f64::from(hit.charge_pe))
                .sum();
            let bias = sum / 100.0 / charge - 1.0;
            // 0.033 PE of noise per waveform, a hundred waveforms; counts are whole numbers.
            assert!(
                bias.abs() < 2e-3 + 0.01 / charge,
                "{undershoot}, {charge} PE: {bias:+.4}"
            );
            // The charge of several photoelectrons becomes several hits, at that moment on average.
            let mean = |hits: &[Hit]| {
                let moment = hits
                    .iter()
                    .map(|hit| f64::from(hit.charge_pe) * hit.time_ns);
                moment.sum::<f64>() / hits.iter().map(|hit| f64::from(hit.charge_pe)).sum::<f64>()
            };
            let late = found
                .iter()
                .zip(&light)
                .map(|(hits, light)| mean(hits) - light[0].0)
                .sum::<f64>()
                / 100.0;
            assert!(late.abs() < 0.1, "{undershoot}, {charge} PE: {late:+.3} ns");
        }
    }
}

#[test]
fn stated_errors_are_the_spreads_of_charge_and_time() {
    let extractor = sparse(0.05, 0.1);
    for charge in [0.5, 1.0, 1.4] {
        let light = pulses(1000, &[(0.0, charge)]);
        let found = hits(&extractor, &light, 0.05, 0.1);
        let single = || light.iter().zip(&found).filter(|(_, hits)| hits.len() == 1);
        assert!(single().count() > 990, "{charge} PE: {}", single().count());
        let charges: Vec<f64> = single()
            .map(|(_, hits)| charge_pull(&hits[0], charge))
            .collect();
        let times: Vec<f64> = single()
            .map(|(light, hits)| time_pull(&hits[0], light[0].0))
            .collect();
        for (what, width) in [("charge", rms(&charges)), ("time", rms(&times))] {
            assert!(
                (0.9..1.2).contains(&width),
                "{charge} PE: pulls of the {what} {width}"
            );
        }
    }
}

#[test]
fn stated_errors_of_close_photoelectrons_are_the_spreads() {
    let extractor = sparse(0.05, 0.1);
    for mu in [1.0, 4.0] {
        let light = scintillations(3000, mu);
        let found = hits(&extractor, &light, 0.05, 0.1);
        let resolved = light
            .iter()
            .zip(&found)
            .filter(|(light, hits)| light.len() == hits.len());
        // Within 16 ns of another one, by distance: hardly resolved, resolved by their charge, resolved by their shape.
        let mut pulls = [const { (Vec::new(), Vec::new()) }; 3];
        for (light, hits) in resolved {
            for (index, (one, hit)) in light.iter().zip(hits).enumerate() {
                let neighbours = [index.wrapping_sub(1), index + 1];
                let gap_ns = neighbours
                    .into_iter()
                    .filter_map(|other| light.get(other))
                    .map(|other| (other.0 - one.0).abs())
                    .fold(f64::INFINITY, f64::min);
                let Some(class) = [2.0, 6.0, 16.0].iter().position(|&end| gap_ns < end) else {
                    continue;
                };
                let (charges, times) = &mut pulls[class];
                charges.push(charge_pull(hit, one.1));
                times.push(time_pull(hit, one.0));
            }
        }
        for (class, (charges, times)) in pulls.into_iter().enumerate() {
            assert!(charges.len() > 200, "mean {mu}, {class}: {}", charges.len());
            for (what, width) in [("charge", spread(charges)), ("time", spread(times))] {
                assert!(
                    (0.9..1.2).contains(&width),
                    "mean {mu}, {class}: pulls of the {what} {width}"
                );
            }
        }
    }
}

#[test]
fn pairs_are_resolved_and_single_photoelectrons_are_not_split() {
    let extractor = sparse(0.05, 0.05);
    let light = pulses(500, &[(0.0, 1.0), (5.0, 1.0)]);
    let found = hits(&extractor, &light, 0.05, 0.05);
    let resolved = n_resolved(&light, &found, 2.5);
    assert!(resolved >= 400, "{resolved} of 500 pairs");
    for noise in [0.05, 0.1] {
        for charge in [0.6, 1.0, 1.3] {
            let light = pulses(1000, &[(0.0, charge)]);
            let found = hits(&sparse(0.05, noise), &light, 0.05, noise);
            let split = found.iter().filter(|hits| hits.len() > 1).count();
            assert!(
                split < 10,
                "{charge} PE, noise {noise}: {split} of 1000 split"
            );
        }
    }
}

/// Against the deconvolution on the same waveforms: charge, Wasserstein distance, first hit.
#[test]
fn scintillation_light_is_measured_better_than_by_deconvolution() {
    let plain = extractor_of(Method::Deconvolution, 0.05, 0.1);
    let fitted = sparse(0.05, 0.1);
    for (mu, count, most_ns) in [(1.0, 4000, 0.6), (5.0, 1500, 1.25), (20.0, 400, 1.5)] {
        let light = scintillations(count, mu);
        let measure = |extractor: &Extractor| {
            let found = hits(extractor, &light, 0.05, 0.1);
            let charge =
                |hits: &[Hit]| hits.iter().map(|hit| f64::from(hit.charge_pe)).sum::<f64>();
            let truth = |light: &[Photoelectron]| light.iter().map(|one| one.1).sum::<f64>();
            let total: f64 = light.iter().map(|light| truth(light)).sum();
            let errors: Vec<f64> = light
                .iter()
                .zip(&found)
                .map(|(light, hits)| charge(hits) - truth(light))
                .collect();
            let both = || {
                light
                    .iter()
                    .zip(&found)
                    .filter(|(light, hits)| !light.is_empty() && !hits.is_empty())
            };
            // Of a photoelectron in the last nanoseconds too little is inside the window to be measured.
            let whole = || both().filter(|(light, _)| light.iter().all(|one| one.0 < 985.0));
            let w1 = whole()
                .map(|(light, hits)| wasserstein_ns(light, hits))
                .sum::<f64>()
                / whole().count() as f64;
            let first = both()
                .map(|(light, hits)| hits[0].time_ns - light[0].0)
                .collect();
            (
                errors.iter().sum::<f64>() / total,
                rms(&errors),
                w1,
                spread(first),
            )
        };
        let (bias, resolution, w1, first) = measure(&fitted);
        let (_, resolution_of_plain, w1_of_plain, first_of_plain) = measure(&plain);
        eprintln!(
            "mean {mu}: bias {bias:+.4}, resolution {resolution:.4} ({resolution_of_plain:.4}), W1 {w1:.3} ({w1_of_plain:.3}), first {first:.3} ({first_of_plain:.3})"
        );
        assert!(bias.abs() < 0.003, "mean {mu}: charge bias {bias:+.4}");
        assert!(
            resolution <= resolution_of_plain,
            "mean {mu}: {resolution} and {resolution_of_plain} PE"
        );
        assert!(
            w1 < most_ns && w1 < 0.6 * w1_of_plain,
            "mean {mu}: W1 {w1} and {w1_of_plain} ns"
        );
        assert!(
            first < first_of_plain * 1.1,
            "mean {mu}: first hit {first} and {first_of_plain} ns"
        );
    }
}

#[test]
fn chi_square_is_that_of_the_noise() {
    let light = scintillations(300, 10.0);
    let extractor = sparse(0.05, 0.1);
    let batch = waveforms(&light, 0.05, 0.1);
    let extracted = extractor.extract(&batch).expect("extracts");
    let all: Vec<f64> = extracted
        .summaries
        .iter()
        .filter_map(|one| one.chi2_ndf)
        .map(f64::from)
        .collect();
    assert!(all.len() > 290, "{} of 300 fitted", all.len());
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    // Of 1000 samples chi-square has a spread of 0.045.
    assert!((mean - 1.0).abs() < 0.015, "{mean}");
}

#[test]
fn auto_does_as_sparse_where_there_is_light_and_says_where_there_is_none() {
    let light = scintillations(600, 0.7);
    let batch = waveforms(&light, 0.05, 0.1);
    let fitted = sparse(0.05, 0.1).extract(&batch).expect("extracts");
    let auto = extractor_of(Method::Auto, 0.05, 0.1)
        .extract(&batch)
        .expect("extracts");
    let (mut dark, mut lit) = (0, 0);
    let (mut a, mut b) = (0, 0);
    for ((light, one), other) in light.iter().zip(&auto.summaries).zip(&fitted.summaries) {
        let hits = &auto.hits[a..a + one.n_hits as usize];
        let same = &fitted.hits[b..b + other.n_hits as usize];
        (a, b) = (a + hits.len(), b + same.len());
        if one.flags.contains(Flags::NO_LIGHT) {
            assert!(hits.is_empty());
            assert!(
                light.iter().all(|pe| pe.1 < 0.25 || pe.0 > 980.0),
                "{light:?}"
            );
            assert!(
                (one.baseline_adc - other.baseline_adc).abs() < 3.0 * 11.5 / 31.0,
                "{one:?} and {other:?}"
            );
            dark += 1;
        } else {
            assert_eq!(hits, same);
            assert_eq!(one, other);
            lit += u32::from(!hits.is_empty());
        }
    }
    assert!(dark > 200 && lit > 200, "{dark} dark, {lit} lit");
}

#[test]
fn a_saturated_waveform_keeps_its_deconvolved_hits_and_says_so() {
    let light = vec![(300.0, 1.0), (400.0, 200.0)];
    let mut samples = waveform(1, &light, 0.05, 0.1, 1000);
    samples[410..420].fill(0);
    let batch = batch_of([samples.as_slice()]);
    let fitted = sparse(0.05, 0.1).extract(&batch).expect("extracts");
    let plain = extractor_of(Method::Deconvolution, 0.05, 0.1)
        .extract(&batch)
        .expect("extracts");
    assert_eq!(fitted.hits, plain.hits);
    assert!(
        fitted.summaries[0]
            .flags
            .contains(Flags::FIT_FAILED | Flags::SATURATED_LOW)
    );
    assert_eq!(fitted.summaries[0].chi2_ndf, None);
}

#[test]
fn a_waveform_is_fitted_alike_in_any_batch() {
    let extractor = sparse(0.05, 0.1);
    let light = scintillations(300, 6.0);
    let together = hits(&extractor, &light, 0.05, 0.1);
    for seed in [0, 1, 127, 128, 299] {
        let samples = waveform(seed as u64, &light[seed], 0.05, 0.1, 1000);
        let batch = batch_of([samples.as_slice()]);
        assert_eq!(
            extractor.extract(&batch).expect("extracts").hits,
            together[seed]
        );
    }
}

/// The noise of floats may be so small that chi-square overflows.
#[test]
fn noiseless_floats_have_finite_results() {
    let template = juno_template(0.05);
    let samples: Vec<f32> = (0..1000_usize)
        .map(|sample| {
            let pulse = |start: usize| {
                let index = sample.checked_sub(start)?;
                template.get(index).copied()
            };
            11_000.0 - pulse(300).unwrap_or(0.0) - 1.3 * pulse(312).unwrap_or(0.0)
        })
        .collect();
    let batch = batch_of_floats(&samples);
    let mut n_fitted = 0;
    for exponent in 0..25 {
        let row = juno_row(0.05, 10.0_f32.powi(-exponent) / PEAK_ADC);
        let extractor = extractor_with(row, Method::Sparse, Polarity::Negative, None);
        let extracted = extractor.extract(&batch).expect("extracts");
        let summary = extracted.summaries[0];
        assert!(!extracted.hits.is_empty(), "1e-{exponent}: {summary:?}");
        assert!(
            summary.chi2_ndf.is_none_or(f32::is_finite),
            "1e-{exponent}: {summary:?}"
        );
        for hit in &extracted.hits {
            assert!(hit.time_sigma_ns.is_finite(), "1e-{exponent}: {hit:?}");
        }
        n_fitted += u32::from(summary.flags.contains(Flags::FITTED));
    }
    assert!(
        n_fitted > 0,
        "where the noise is not too small the fit succeeds"
    );
}
