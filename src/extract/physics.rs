//! The stages together, tested as physics.

use super::testing::{Light, juno_row, scintillation, waveform};
use super::{Backend, Extractor, Parameters, ReadoutFacts};
use crate::model::{Batch, Calibration, Hit, Polarity, SamplesRef, Waveform};

fn extractor(undershoot: f32, noise: f32) -> Extractor {
    let mut calibration = Calibration::new();
    let row = calibration
        .add_row(juno_row(undershoot, noise))
        .expect("a valid row");
    calibration.set_default(row);
    calibration.assign(0, row);
    let readout = ReadoutFacts {
        sampling_ns: 1.0,
        polarity: Polarity::Negative,
        adc_bits: Some(14),
    };
    Extractor::new(calibration, readout, Parameters::default()).expect("valid")
}

/// Hits of each waveform of `light`, one waveform an entry.
fn hits(extractor: &Extractor, light: &[Vec<Light>], undershoot: f64, noise: f32) -> Vec<Vec<Hit>> {
    let mut batch = Batch::new_u16(0);
    for (seed, light) in light.iter().enumerate() {
        let samples = waveform(seed as u64, light, undershoot, noise, 1000);
        let samples = SamplesRef::U16(&samples);
        batch.push(Waveform {
            event_id: seed as u64,
            channel_id: 0,
            start_ns: 0.0,
            samples,
        });
    }
    let extracted = extractor.extract(&batch).expect("extracts");
    let mut rest = extracted.hits.as_slice();
    extracted
        .summaries
        .iter()
        .map(|summary| {
            let (mine, others) = rest.split_at(summary.n_hits as usize);
            rest = others;
            mine.to_vec()
        })
        .collect()
}

/// W1 of charge-normalised hits and truth.
fn wasserstein_ns(light: &[Light], hits: &[Hit]) -> f64 {
    let total: f64 = light.iter().map(|one| one.1).sum();
    let found: f64 = hits.iter().map(|hit| f64::from(hit.charge_pe)).sum();
    let mut steps: Vec<(f64, f64)> = light.iter().map(|one| (one.0, one.1 / total)).collect();
    steps.extend(
        hits.iter()
            .map(|hit| (f64::from(hit.time_ns), -f64::from(hit.charge_pe) / found)),
    );
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut sum = 0.0;
    steps
        .windows(2)
        .map(|pair| {
            sum += pair[0].1;
            sum.abs() * (pair[1].0 - pair[0].0)
        })
        .sum()
}

#[test]
#[ignore = "a report"]
fn report() {
    for (undershoot, noise) in [(0.05, 0.1)] {
        let extractor = extractor(undershoot, noise);
        let empty = hits(
            &extractor,
            &vec![Vec::new(); 4000],
            f64::from(undershoot),
            noise,
        );
        println!(
            "us {undershoot} noise {noise}: false {:.5}",
            empty.iter().map(Vec::len).sum::<usize>() as f64 / 4000.0
        );
        for mu in [1.0, 5.0, 20.0] {
            let count = if mu < 10.0 { 4000 } else { 1000 };
            let light: Vec<_> = (0..count)
                .map(|seed| scintillation(seed, mu, 1000))
                .collect();
            let found = hits(&extractor, &light, f64::from(undershoot), noise);
            let truth: f64 = light.iter().flatten().map(|one| one.1).sum();
            let reco: f64 = found
                .iter()
                .flatten()
                .map(|hit| f64::from(hit.charge_pe))
                .sum();
            let both: Vec<_> = light
                .iter()
                .zip(&found)
                .filter(|(l, h)| !l.is_empty() && !h.is_empty())
                .collect();
            let w1 =
                both.iter().map(|(l, h)| wasserstein_ns(l, h)).sum::<f64>() / both.len() as f64;
            let mut first: Vec<f64> = both
                .iter()
                .map(|(l, h)| f64::from(h[0].time_ns) - l[0].0)
                .collect();
            first.sort_by(f64::total_cmp);
            let q = |p: f64| first[(p * first.len() as f64) as usize];
            println!(
                "  mu {mu}: bias {:+.3} % hits/PE {:.3} W1 {w1:.2} first {:+.2} +- {:.2} ns (68 %)",
                100.0 * (reco / truth - 1.0),
                found.iter().map(Vec::len).sum::<usize>() as f64
                    / light.iter().map(Vec::len).sum::<usize>() as f64,
                q(0.5),
                0.5 * (q(0.8413) - q(0.1587)),
            );
        }
        for distance in [8.0, 10.0, 12.0, 15.0] {
            let light: Vec<_> = (0..1000)
                .map(|i| {
                    let t = 300.0 + f64::from(i) / 1000.0;
                    vec![(t, 1.0), (t + distance, 1.0)]
                })
                .collect();
            let found = hits(&extractor, &light, f64::from(undershoot), noise);
            let good = light
                .iter()
                .zip(&found)
                .filter(|(l, h)| {
                    l.iter().all(|one| {
                        h.iter().any(|hit| {
                            (f64::from(hit.time_ns) - one.0).abs() < 0.5 * distance.min(10.0)
                        })
                    }) && h.len() >= 2
                })
                .count();
            println!("  pair {distance}: {:.3}", good as f64 / 1000.0);
        }
        for charge in [0.3, 0.5, 1.0, 2.0, 5.0, 20.0, 80.0] {
            let light: Vec<_> = (0..1000)
                .map(|i| vec![(400.0 + f64::from(i) / 500.0, charge)])
                .collect();
            let found = hits(&extractor, &light, f64::from(undershoot), noise);
            let dt: Vec<f64> = light
                .iter()
                .zip(&found)
                .filter(|(_, h)| !h.is_empty())
                .map(|(l, h)| f64::from(h[0].time_ns) - l[0].0)
                .collect();
            let mean = dt.iter().sum::<f64>() / dt.len() as f64;
            let rms = (dt.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / dt.len() as f64).sqrt();
            let q: f64 = found
                .iter()
                .flatten()
                .map(|h| f64::from(h.charge_pe))
                .sum::<f64>()
                / 1000.0
                / charge;
            let sq = found
                .iter()
                .flatten()
                .map(|h| f64::from(h.charge_sigma_pe))
                .sum::<f64>()
                / found.iter().flatten().count() as f64;
            let rq = (found
                .iter()
                .filter(|h| !h.is_empty())
                .map(|h| (f64::from(h.iter().map(|h| h.charge_pe).sum::<f32>()) - charge).powi(2))
                .sum::<f64>()
                / dt.len() as f64)
                .sqrt();
            println!(
                "  single {charge}: eff {:.3} time {mean:+.3} +- {rms:.3}, charge {q:.4}, sigma {sq:.4} rms {rq:.4} hits {:.3}",
                dt.len() as f64 / 1000.0,
                found.iter().flatten().count() as f64 / 1000.0
            );
        }
    }
}
