//! `nuwave reconstruct` on measured waveforms: charges against those of others, the rate of false hits, foreign formats.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::support::correlation;
use crate::support::formats::{Owned, Values, file, read, values};
use crate::support::reconstruct::{
    Output, Run, calibration, names_in, nuwave, output, reconstruct, write_calibration,
    write_counts,
};
use nuwave::model::{Calibration, Flags};

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// What `calibrate spe` makes of the two tubes under a weak LED.
fn led_calibration(folder: &Path) -> PathBuf {
    let path = folder.join("spe.parquet");
    Run::new(
        nuwave()
            .args(["calibrate", "spe"])
            .arg(file("uzh_r12699/ready.h5"))
            .arg("-o")
            .arg(&path),
    )
    .ended_with(0);
    path
}

/// Sum of the samples over the mean of the first `n_baseline`, upright for `sign`.
fn plain_integral(samples: &[f32], n_baseline: usize, sign: f32) -> f64 {
    let first = &samples[..n_baseline];
    let baseline = first.iter().map(|&sample| f64::from(sample)).sum::<f64>() / n_baseline as f64;
    samples
        .iter()
        .map(|&sample| f64::from(sign) * (f64::from(sample) - baseline))
        .sum()
}

/// Standard deviation of the first samples of all waveforms about their own mean.
fn noise_of(waveforms: &[Owned], n_first: usize) -> f32 {
    let (mut sum, mut n) = (0.0, 0);
    for waveform in waveforms {
        // A camera's first sample may be a marker.
        let samples = &values(waveform)[1..=n_first];
        let mean = samples.iter().sum::<f32>() / n_first as f32;
        sum += samples
            .iter()
            .map(|sample| f64::from(sample - mean).powi(2))
            .sum::<f64>();
        n += n_first - 1;
    }
    (sum / n as f64).sqrt() as f32
}

/// Upright pulses over their median, lined up where they pass half of their peak, averaged, and made `height` high.
fn mean_pulse(
    waveforms: &[Owned],
    sign: f32,
    before: usize,
    length: usize,
    height: f32,
) -> Vec<f32> {
    let (mut sum, mut n) = (vec![0.0_f64; length], 0);
    for waveform in waveforms {
        let samples = values(waveform);
        let mut sorted = samples.clone();
        sorted.sort_by(f32::total_cmp);
        let median = sorted[sorted.len() / 2];
        let upright: Vec<f32> = samples
            .iter()
            .map(|sample| sign * (sample - median))
            .collect();
        let highest = upright.iter().copied().fold(f32::MIN, f32::max);
        let half = upright
            .iter()
            .position(|&value| value > 0.5 * highest)
            .expect("a pulse");
        if half >= before && half - before + length <= upright.len() {
            for (sum, value) in sum.iter_mut().zip(&upright[half - before..]) {
                *sum += f64::from(value / highest);
            }
            n += 1;
        }
    }
    assert!(n > 10, "{n} pulses are whole");
    scaled(sum.into_iter().map(|sum| sum as f32).collect(), height)
}

fn scaled(mut pulse: Vec<f32>, height: f32) -> Vec<f32> {
    let highest = pulse.iter().copied().fold(f32::MIN, f32::max);
    for value in &mut pulse {
        *value *= height / highest;
    }
    pulse
}

/// Charge by tables and area by plain summing of each waveform.
fn charges_and_areas(
    found: &Output,
    waveforms: &[Owned],
    n_baseline: usize,
    sign: f32,
) -> Vec<(f64, f64)> {
    assert_eq!(found.waveforms.len(), waveforms.len());
    let area = |waveform: &Owned| plain_integral(&values(waveform), n_baseline, sign);
    let charges = found.waveforms.iter().map(|row| f64::from(row.charge_pe));
    charges.zip(waveforms.iter().map(area)).collect()
}

/// Standard deviation of the means over 64 of the first 512 samples, relative to that of white noise.
fn baseline_noise_ratio(waveforms: &[Owned], noise_adc: f32) -> f32 {
    let (mut squares, mut n) = (0.0, 0);
    for waveform in waveforms {
        let means: Vec<f32> = values(waveform)[..512]
            .chunks(64)
            .map(|chunk| chunk.iter().sum::<f32>() / 64.0)
            .collect();
        let mean = means.iter().sum::<f32>() / 8.0;
        squares += means.iter().map(|one| (one - mean).powi(2)).sum::<f32>();
        n += 7;
    }
    ((squares / n as f32).sqrt() / (noise_adc / 8.0)).max(1.0)
}

/// The numbers of a one-dimensional `.npy` file of doubles.
fn doubles(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).expect("the file");
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(String::from_utf8_lossy(&bytes[10..10 + header]).contains("<f8"));
    let (values, _) = bytes[10 + header..].as_chunks::<8>();
    values
        .iter()
        .map(|&bytes| f64::from_le_bytes(bytes))
        .collect()
}

#[test]
#[ignore = "needs ../shared/data"]
fn charges_of_a_measured_run_are_those_that_its_authors_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let spe = led_calibration(folder.path());
    let areas = doubles(&file("uzh_r12699/wf0_areas.npy"));
    for method in ["integral", "deconvolution", "coti", "sparse"] {
        let target = folder.path().join(method);
        let more = ["-c", text(&spe), "--method", method];
        reconstruct(&[file("uzh_r12699/ready.h5")], &target, &more).ended_with(0);
        let found = output(&target);
        let rows = found.waveforms.iter().filter(|row| row.channel_id == 0);
        let pairs: Vec<_> = rows
            .map(|row| f64::from(row.charge_pe))
            .zip(areas.iter().copied())
            .collect();
        assert_eq!((pairs.len(), areas.len()), (2000, 2000));
        // The authors sum a fixed window whether there is light or not; here a waveform without a pulse has no charge.
        let lit: Vec<_> = pairs.iter().filter(|pair| pair.0 != 0.0).copied().collect();
        let (all, n_lit) = (correlation(&pairs), lit.len());
        eprintln!(
            "{method}: correlation {all:.4}, {:.4} of the {n_lit} with light",
            correlation(&lit)
        );
        assert!(all >= 0.99, "{method}: {all}");
        // A mean of 0.93 photoelectrons leaves 39 % without any.
        assert!((1150..1250).contains(&n_lit), "{method}: {n_lit}");
    }
}

/// The residual of a fit to a measured run is noise, and single photoelectrons are no wider than by deconvolution.
#[test]
#[ignore = "needs ../shared/data"]
fn a_fit_leaves_the_noise_of_a_measured_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let spe = led_calibration(folder.path());
    let run = |method: &str| {
        let target = folder.path().join(method);
        let more = ["-c", text(&spe), "--method", method];
        reconstruct(&[file("uzh_r12699/ready.h5")], &target, &more).ended_with(0);
        output(&target)
    };
    let (plain, fitted) = (run("deconvolution"), run("sparse"));
    let mut chi2: Vec<f32> = fitted
        .waveforms
        .iter()
        .filter_map(|row| row.chi2_ndf)
        .collect();
    chi2.sort_by(f32::total_cmp);
    let (median, failed) = (chi2[chi2.len() / 2], fitted.flagged(Flags::FIT_FAILED));
    eprintln!(
        "chi-square of {} fits: median {median:.3}; {failed} failed",
        chi2.len()
    );
    assert!(
        chi2.len() > 2900 && failed < 30,
        "{} fits, {failed} failed",
        chi2.len()
    );
    // Of 250 samples it has a spread of 0.09; the LED's pick-up, at 0.2 photoelectrons, is in the windows too.
    assert!((0.95..1.2).contains(&median), "{median}");
    // The single-photoelectron peak of each tube: the spread of the hits round it.
    let spread = |found: &Output, channel_id: u32| {
        let near: Vec<f64> = (found.hits.iter())
            .filter(|hit| hit.channel_id == channel_id && (0.5..1.6).contains(&hit.charge_pe))
            .map(|hit| f64::from(hit.charge_pe))
            .collect();
        let mean = near.iter().sum::<f64>() / near.len() as f64;
        (near.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / near.len() as f64).sqrt() / mean
    };
    for channel_id in [0, 1] {
        let (before, now) = (spread(&plain, channel_id), spread(&fitted, channel_id));
        eprintln!("channel {channel_id}: single photoelectrons {before:.3} wide, fitted {now:.3}");
        assert!(now <= before, "channel {channel_id}: {now} and {before}");
    }
}

/// Writes the first `n_samples` of every waveform of a channel; returns how many waveforms.
fn cut(input: &Path, channel_id: u32, n_samples: usize, to: &Path) -> usize {
    let waveforms: Vec<_> = read(input)
        .waveforms
        .iter()
        .filter(|waveform| waveform.channel_id == channel_id)
        .map(|waveform| {
            let Values::U16(samples) = &waveform.samples else {
                panic!("counts, not {waveform:?}")
            };
            (waveform.event_id, channel_id, samples[..n_samples].to_vec())
        })
        .collect();
    write_counts(to, 2.0, &waveforms);
    waveforms.len()
}

#[test]
#[ignore = "needs ../shared/data"]
fn measured_noise_holds_at_most_one_false_hit_in_a_thousand_waveforms() {
    let folder = tempfile::tempdir().expect("a folder");
    let spe = led_calibration(folder.path());
    let mut runs = vec![(file("v1730_noise/ready.h5"), 10_002)];
    // The LED's pick-up shows in the mean waveforms from sample 110 on, its light from 143 on.
    for channel_id in [0, 1] {
        let dark = folder.path().join(format!("dark-{channel_id}.h5"));
        assert_eq!(
            cut(&file("uzh_r12699/ready.h5"), channel_id, 108, &dark),
            2000
        );
        runs.push((dark, 2000));
    }
    for (place, (input, n_waveforms)) in runs.into_iter().enumerate() {
        for method in ["deconvolution", "integral", "coti"] {
            let target = folder.path().join(format!("{place}-{method}"));
            reconstruct(&[&input], &target, &["-c", text(&spe), "--method", method]).ended_with(0);
            let found = output(&target);
            assert_eq!(found.waveforms.len(), n_waveforms);
            let n_hits = found.hits.len();
            eprintln!(
                "{}, {method}: {n_hits} false hits in {n_waveforms}",
                input.display()
            );
            assert!(1000 * n_hits <= n_waveforms, "{method}: {:?}", found.hits);
            let noise_adc = found.report["totals"]["mean_noise_adc"]
                .as_f64()
                .expect("a number");
            assert!((4.0..5.0).contains(&noise_adc), "{method}: {noise_adc}");
        }
    }
    // With a low threshold the same noise shows.
    let target = folder.path().join("low");
    let low = ["-c", text(&spe), "--threshold-sigma", "2.5"];
    reconstruct(&[file("v1730_noise/ready.h5")], &target, &low).ended_with(0);
    let n_hits = output(&target).hits.len();
    assert!(n_hits > 50, "{n_hits}");
}

/// Hits between samples 108 and 120 of the same run are synchronous with the LED: electrical pick-up.
#[test]
#[ignore = "needs ../shared/data"]
fn pick_up_of_the_led_is_all_that_is_found_before_its_light() {
    let folder = tempfile::tempdir().expect("a folder");
    let spe = led_calibration(folder.path());
    let mut n_hits = 0;
    for channel_id in [0, 1] {
        let dark = folder.path().join(format!("dark-{channel_id}.h5"));
        cut(&file("uzh_r12699/ready.h5"), channel_id, 120, &dark);
        let target = folder.path().join(format!("out-{channel_id}"));
        reconstruct(&[&dark], &target, &["-c", text(&spe)]).ended_with(0);
        let hits = output(&target).hits;
        eprintln!("channel {channel_id}: {hits:?}");
        n_hits += hits.len();
        assert!(
            hits.iter()
                .all(|hit| hit.time_ns > 208.0 && hit.charge_pe < 0.4),
            "{hits:?}"
        );
    }
    // At most one in a thousand of the 4,000 waveforms, pick-up and all.
    assert!(n_hits <= 4, "{n_hits}");
}

#[test]
#[ignore = "needs ../shared/data"]
fn large_pulses_in_volts_have_a_charge_in_proportion_to_their_area() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = file("desy_calo/ready_1GSps.h5");
    let waveforms = read(&input).waveforms;
    let template = mean_pulse(&waveforms, -1.0, 8, 40, 0.03);
    let spe = folder.path().join("spe.parquet");
    write_calibration(
        &spe,
        &calibration(template, noise_of(&waveforms, 15), 1.0, &[0]),
    );
    for method in ["deconvolution", "integral", "sparse"] {
        let target = folder.path().join(method);
        reconstruct(&[&input], &target, &["-c", text(&spe), "--method", method]).ended_with(0);
        let found = output(&target);
        let after = after_the_largest(&found, 15.0);
        let found = correlation(&charges_and_areas(&found, &waveforms, 15, -1.0));
        eprintln!("{method}: correlation {found:.4}, {after:?} after the pulse");
        assert!(found > 0.99, "{method}: {found}");
        // The tube rings at 8 % of its pulses.
        assert!(after.0 <= 0.1, "{method}: {after:?}");
    }
}

/// Hits per waveform, and share of the charge, more than `after_ns` after the largest hit.
fn after_the_largest(found: &Output, after_ns: f32) -> (f64, f64) {
    let (mut late, mut late_pe, mut all_pe) = (0, 0.0, 0.0);
    for row in 0..found.waveforms.len() {
        let hits = found.hits_of(row);
        let largest = hits
            .iter()
            .max_by(|a, b| a.charge_pe.total_cmp(&b.charge_pe));
        for hit in hits {
            all_pe += f64::from(hit.charge_pe);
            if largest.is_some_and(|largest| hit.time_ns > largest.time_ns + f64::from(after_ns)) {
                late += 1;
                late_pe += f64::from(hit.charge_pe);
            }
        }
    }
    (
        f64::from(late) / found.waveforms.len() as f64,
        late_pe / all_pe,
    )
}

/// A column of the camera's table (time in steps of 0.125 ns, high gain, low gain), at whole nanoseconds from its begin.
fn measured_template(table: &str, column: usize) -> Vec<f32> {
    let fine: Vec<f32> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().nth(column)?.parse().ok())
        .collect();
    assert!(fine.len() > 400, "{} lines", fine.len());
    let highest = fine.iter().copied().fold(f32::MIN, f32::max);
    let begin = fine
        .iter()
        .position(|&value| value > 1e-3 * highest)
        .expect("a pulse");
    fine[begin..].iter().step_by(8).copied().collect()
}

#[test]
#[ignore = "needs ../shared/data"]
fn short_windows_of_two_gains_have_charges_in_proportion_to_their_areas() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = file("nectarcam/ready_nectarcam.h5");
    let waveforms = read(&input).waveforms;
    let table = std::fs::read_to_string(file("nectarcam/Pulse_template_nectarCam_17042020.dat"))
        .expect("a table");
    let mut both = Calibration::new();
    let gains = [(1, 20.0, 0..1000), (2, 1.5, 1000..2000)];
    for (column, height, channels) in &gains {
        let mine: Vec<_> = waveforms
            .iter()
            .filter(|it| channels.contains(&it.channel_id))
            .cloned()
            .collect();
        let template = scaled(measured_template(&table, *column), *height);
        let row = calibration(template, noise_of(&mine, 15), 1.0, &[]).rows()[0].clone();
        let row = both.add_row(row).expect("a valid row");
        for waveform in &mine {
            both.assign(waveform.channel_id, row);
        }
    }
    let spe = folder.path().join("spe.parquet");
    write_calibration(&spe, &both);
    // The integral sums what the area sums. Deconvolution takes the camera's marker for light before the window.
    for (method, least, least_low) in [
        ("deconvolution", 0.98, 0.75),
        ("integral", 0.99, 0.8),
        ("sparse", 0.98, 0.75),
    ] {
        let target = folder.path().join(method);
        let more = ["-c", text(&spe), "--method", method];
        reconstruct(&[&input], &target, &more).ended_with(0);
        let found = output(&target);
        assert_eq!(
            (found.waveforms.len(), found.flagged(Flags::NO_CALIBRATION)),
            (1512, 0)
        );
        let after = after_the_largest(&found, 15.0);
        eprintln!("{method}: {after:?} after the pulse");
        assert!(after.0 < 0.6, "{method}: {after:?}");
        two_gains_agree(method, &found, &waveforms, (least, least_low));
    }
}

/// Charges of both gains against the area that the high gain's samples have.
fn two_gains_agree(
    method: &str,
    found: &Output,
    waveforms: &[Owned],
    (least, least_low): (f64, f64),
) {
    // The first sample of a window is a marker of the camera's, not light. An undershoot follows the pulse.
    let area = |waveform: &Owned| plain_integral(&values(waveform)[1..46], 15, 1.0);
    let charge_pe = |row: usize| -> f64 {
        let light = found.hits_of(row).iter().filter(|hit| hit.time_ns > 5.0);
        light.map(|hit| f64::from(hit.charge_pe)).sum()
    };
    let key = |row: usize| (waveforms[row].event_id, waveforms[row].channel_id);
    let rows: HashMap<_, _> = (0..1512).map(|row| (key(row), row)).collect();
    let high: Vec<usize> = (0..1512).filter(|&row| key(row).1 < 1000).collect();
    let low: Vec<usize> = high
        .iter()
        .map(|&row| rows[&(key(row).0, key(row).1 + 1000)])
        .collect();
    assert_eq!(low.len(), 756);
    let of_high = |other: &dyn Fn(usize) -> f64, rows: &[usize]| {
        let pairs = high
            .iter()
            .zip(rows)
            .map(|(&high, &row)| (area(&waveforms[high]), other(row)));
        correlation(&pairs.collect::<Vec<_>>())
    };
    let high_gain = of_high(&charge_pe, &high);
    // Pulses of the low gain stand some 100 counts over a noise of 3: a plain sum over the window is mostly noise there.
    let low_gain = of_high(&charge_pe, &low);
    let low_area = of_high(&|row| area(&waveforms[row]), &low);
    eprintln!(
        "{method}: correlation with the high gain's area: {high_gain:.4}, low gain {low_gain:.4}, its area {low_area:.4}"
    );
    assert!(high_gain > least, "{method}: {high_gain}");
    assert!(
        low_gain > least_low && low_gain > low_area + 0.05,
        "{low_gain}, {low_area}"
    );
}

#[test]
#[ignore = "needs ../shared/data"]
fn a_truncated_wavedump_gives_all_whole_records_and_reports_the_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = file("toward_dt5751/wave0_truncated.dat");
    let converted = file("toward_dt5751/ready_400s.h5");
    let waveforms = read(&converted).waveforms;
    let spe = folder.path().join("spe.parquet");
    let template = mean_pulse(&waveforms, 1.0, 10, 180, 20.0);
    write_calibration(
        &spe,
        &calibration(template, noise_of(&waveforms, 50), 1.0, &[]),
    );
    let target = folder.path().join("out");
    let more = [
        "-c",
        text(&spe),
        "--polarity",
        "positive",
        "--adc-bits",
        "10",
    ];
    let run = reconstruct(&[&input], &target, &more).ended_with(4);
    let place = format!("record 293 at byte {}", 293 * 836);
    assert!(
        run.stderr.contains("wave0_truncated.dat") && run.stderr.contains(&place),
        "{}",
        run.stderr
    );
    let found = output(&target);
    assert_eq!(found.waveforms.len(), 293);
    assert_eq!(found.report["status"], "partial");
    assert_eq!(found.report["totals"]["lost"], 1);
    assert_eq!(found.report["losses"][0]["place"], place);
    // The same records in another format have the same hits, and nothing lost.
    let whole = folder.path().join("whole");
    reconstruct(&[converted], &whole, &["-c", text(&spe)]).ended_with(0);
    assert_eq!(output(&whole).hits, found.hits);
    // The digitiser triggered on each of these pulses.
    for row in 0..293 {
        let light = found
            .hits_of(row)
            .iter()
            .filter(|hit| (140.0..230.0).contains(&hit.time_ns));
        let charge_pe: f32 = light.map(|hit| hit.charge_pe).sum();
        assert!(charge_pe > 5.0, "row {row}: {charge_pe}");
    }
}

#[test]
#[ignore = "needs ../shared/data"]
fn long_windows_of_a_scintillator_are_reconstructed_in_both_polarities() {
    let folder = tempfile::tempdir().expect("a folder");
    // The baseline of the first two wanders; summed over 6,006 samples that is a tenth of the area. Its noise is far from white, which the
    // calibration states as `calibrate spe` would.
    for (name, polarity, n_waveforms, at_least) in [
        ("coincidence_wave0", "positive", 41, 0.9),
        ("coincidence_wave1", "positive", 41, 0.9),
        ("run0_wave1", "negative", 53, 0.99),
    ] {
        let input = file(&format!("toward_dt5751/{name}.dat"));
        let waveforms = read(&input).waveforms;
        let sign = if polarity == "negative" { -1.0 } else { 1.0 };
        let template = mean_pulse(&waveforms, sign, 60, 2000, 10.0);
        let spe = folder.path().join(format!("{name}.parquet"));
        let noise_adc = noise_of(&waveforms, 500);
        let mut row = calibration(template, noise_adc, 1.0, &[]).rows()[0].clone();
        row.baseline_noise_ratio = baseline_noise_ratio(&waveforms, noise_adc);
        let mut known = Calibration::new();
        let row = known.add_row(row).expect("a valid row");
        known.set_default(row);
        write_calibration(&spe, &known);
        let target = folder.path().join(name);
        let more = ["-c", text(&spe), "--polarity", polarity, "--adc-bits", "10"];
        reconstruct(&[&input], &target, &more).ended_with(0);
        let found = output(&target);
        // A template of the default row, and the windows have room for it.
        assert_eq!(found.flagged(Flags::NO_CALIBRATION), n_waveforms);
        assert_eq!(found.flagged(Flags::SHORT_WINDOW), 0);
        let pairs = charges_and_areas(&found, &waveforms, 500, sign);
        let correlation = correlation(&pairs);
        eprintln!("{name}: correlation {correlation:.4}");
        assert!(
            found
                .waveforms
                .iter()
                .all(|row| row.n_hits > 0 && row.charge_pe > 0.0)
        );
        assert!(correlation > at_least, "{name}: {correlation}");
    }
}

#[test]
#[ignore = "needs ../shared/data"]
fn files_without_waveforms_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("out");
    for (name, parts) in [
        (
            "liquido/liquido_ready.h5",
            &["liquido_ready.h5", "no table of waveforms", "hint: "][..],
        ),
        (
            "uzh_r12699/module0_0.root",
            &["module0_0.root", "ROOT", "hint: "][..],
        ),
        (
            "uzh_r12699/wf0_areas.npy",
            &["wf0_areas.npy", "dimensions"][..],
        ),
    ] {
        reconstruct(&[file(name)], &target, &["-d", "juno"]).refused_with(3, parts);
        assert!(names_in(folder.path()).is_empty());
    }
}
