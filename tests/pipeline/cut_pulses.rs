//! Pulses that an amplifier cuts softly or low: only the many waveforms that end at one height show it.

use crate::support::reconstruct::{
    Folder, Output, calibration, noise, output, pulse, reconstruct, write_calibration, write_counts,
};
use nuwave::model::Flags;

/// Height of the single photoelectron, and noise.
const PEAK_ADC: f32 = 100.0;
const NOISE_ADC: f32 = 8.0;
const CHANNELS: [u32; 3] = [3, 4, 5];
const EVENTS: u64 = 250;

/// Charges (PE) and times (ns) of photoelectrons.
type Light = Vec<(f32, f32)>;
/// The light of a waveform by its seed.
type LightOf = fn(u64) -> Light;
/// Event, channel, samples.
type Rows = Vec<(u64, u32, Vec<u16>)>;

/// Charges and times of a flash of 1 to 25 photoelectrons.
fn flash(seed: u64) -> Light {
    let uniform = |index: u64| {
        noise(7919 * seed + index, 1.0, 1)[0]
            .mul_add(0.28, 0.5)
            .clamp(0.01, 0.99)
    };
    let count = 1 + (25.0 * uniform(0)) as u64;
    (0..count)
        .map(|index| {
            let delay_ns = -12.0 * (uniform(3 * index + 1)).ln();
            (1.0 + 0.6 * (uniform(3 * index + 2) - 0.5), delay_ns)
        })
        .collect()
}

/// Waveforms of all channels; `cut` changes the light of channel 4 before the noise. Returns the true charges too.
fn waveforms(cut: impl Fn(f32) -> f32, light: impl Fn(u64) -> Light) -> (Rows, Vec<f32>) {
    let (mut all, mut charges) = (Vec::new(), Vec::new());
    for event in 0..EVENTS {
        for channel in CHANNELS {
            let seed = 10 * event + u64::from(channel);
            let mut samples = vec![0.0_f32; 500];
            let mut charge = 0.0;
            for (charge_pe, delay_ns) in light(seed) {
                let begin = 150.0 + delay_ns;
                for (index, sample) in samples.iter_mut().enumerate() {
                    let t = (index as f32 - begin) / 8.0;
                    if t > 0.0 {
                        *sample += charge_pe * PEAK_ADC * t * t * (2.0 * (1.0 - t)).exp();
                    }
                }
                charge += charge_pe;
            }
            let noise = noise(seed, NOISE_ADC, 500);
            let counts = samples.iter().zip(noise).map(|(&light, noise)| {
                let light = if channel == 4 { cut(light) } else { light };
                (5000.0 - light + noise).round() as u16
            });
            all.push((event, channel, counts.collect()));
            charges.push(charge);
        }
    }
    (all, charges)
}

fn run(folder: &Folder, name: &str, waveforms: &[(u64, u32, Vec<u16>)], more: &[&str]) -> Output {
    let path = folder.path("data.h5");
    write_counts(&path, 1.0, waveforms);
    let calibrated = folder.path("cal.parquet");
    let template = pulse(PEAK_ADC, 8.0, 100);
    write_calibration(
        &calibrated,
        &calibration(template, NOISE_ADC, 1.0, &CHANNELS),
    );
    let target = folder.path(name);
    let calibrated = calibrated.display().to_string();
    let base = ["-c", &calibrated, "--no-events"];
    reconstruct(&[&path], &target, &[&base, more].concat()).ended_with(0);
    output(&target)
}

fn warning(found: &Output) -> Option<String> {
    let warnings = found.report["warnings"].as_array()?;
    let mut texts = warnings
        .iter()
        .filter_map(|warning| warning["text"].as_str());
    texts.find(|text| text.contains("cut")).map(str::to_owned)
}

#[test]
fn waveforms_that_end_at_the_height_of_a_cut_are_saturated() {
    // An amplifier that limits at once, and one that compresses before it limits.
    let limit = 4.0 * PEAK_ADC;
    let soft = |light: f32| {
        let knee = 0.8 * limit;
        if light > knee {
            knee + (limit - knee) * ((light - knee) / (limit - knee)).tanh()
        } else {
            light
        }
    };
    let cuts: [&dyn Fn(f32) -> f32; 2] = [&|light| light.min(limit), &soft];
    for (place, cut) in cuts.into_iter().enumerate() {
        for method in ["deconvolution", "sparse", "integral"] {
            let folder = Folder::new();
            let (data, charges) = waveforms(cut, flash);
            let found = run(&folder, "out", &data, &["--method", method]);
            let (mut n_wrong, mut n_silent, mut n_false) = (0, 0, 0);
            for (row, (waveform, charge)) in found.waveforms.iter().zip(&charges).enumerate() {
                let is_flagged = waveform.flags.intersects(Flags::SATURATED);
                for hit in found.hits_of(row) {
                    assert_eq!(hit.flags.intersects(Flags::SATURATED), is_flagged);
                }
                if waveform.channel_id == 4 {
                    let is_wrong = waveform.charge_pe < 0.9 * charge - 0.7;
                    n_wrong += u32::from(is_wrong);
                    n_silent += u32::from(is_wrong && !is_flagged);
                } else {
                    n_false += u32::from(is_flagged);
                }
            }
            // Several photoelectrons can make a flat top.
            assert!(n_false <= 2, "{method}, cut {place}: {n_false}");
            assert!(n_wrong > 100, "{n_wrong}");
            assert!(
                n_silent * 20 < n_wrong,
                "{method}, cut {place}: {n_silent} of {n_wrong}"
            );
            let warning = warning(&found).expect("a warning");
            assert!(
                warning.contains("channel 4 at ") && !warning.contains("channel 3"),
                "{warning}"
            );
        }
    }
}

#[test]
fn the_same_waveforms_are_flagged_in_units_of_any_size() {
    let folder = Folder::new();
    let (data, _) = waveforms(|light| light.min(300.0), flash);
    run(&folder, "one", &data, &[]);
    run(&folder, "many", &data, &["--unit-size", "60"]);
    let flags = |name: &str| {
        let rows = output(&folder.path(name)).waveforms;
        rows.iter().map(|row| row.flags).collect::<Vec<_>>()
    };
    assert_eq!(flags("one"), flags("many"));
    assert!(
        flags("one")
            .iter()
            .any(|flags| flags.intersects(Flags::SATURATED))
    );
}

#[test]
fn pulses_of_one_height_that_are_whole_are_not_flagged() {
    let folder = Folder::new();
    let whole = |light: f32| light;
    let lights: [(&str, LightOf); 4] = [
        ("flashes", flash),
        ("test pulses", |_| vec![(6.0, 0.4)]),
        ("wide test pulses", |_| vec![(6.0, 0.4), (6.0, 9.4)]),
        ("photoelectrons of one charge", |seed| {
            vec![(1.0, 0.3); usize::from(seed % 7 == 0) + (seed % 3) as usize]
        }),
    ];
    for (name, light) in lights {
        let (data, _) = waveforms(whole, light);
        let found = run(&folder, name, &data, &[]);
        // Several photoelectrons can make a flat top.
        assert!(found.flagged(Flags::SATURATED_LOW) <= 2, "{name}");
        assert_eq!(warning(&found), None, "{name}");
    }
}
