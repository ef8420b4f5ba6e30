//! `nuwave reconstruct` on measured waveforms: charges against those of others, the rate of false hits, foreign formats.

mod formats_support;
mod reconstruct_support;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use formats_support::{Owned, Values, read, shared_data};
use nuwave::model::Flags;
use reconstruct_support::{
    Output, Run, calibration, names_in, nuwave, output, reconstruct, write_calibration,
    write_counts,
};

fn file(name: &str) -> PathBuf {
    shared_data().expect("the folder of real data").join(name)
}

fn values(waveform: &Owned) -> Vec<f32> {
    match &waveform.samples {
        Values::U16(samples) => samples.iter().map(|&sample| f32::from(sample)).collect(),
        Values::F32(samples) => samples.clone(),
    }
}

/// What `calibrate spe` makes of the two tubes under a weak LED.
fn led_calibration(folder: &Path) -> String {
    let path = folder.join("spe.parquet");
    Run::of(
        nuwave()
            .args(["calibrate", "spe"])
            .arg(file("uzh_r12699/ready.h5"))
            .arg("-o")
            .arg(&path),
    )
    .ended_with(0);
    path.to_str().expect("a plain path").to_owned()
}

fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for pair in pairs {
        let (dx, dy) = (pair.0 - x, pair.1 - y);
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    xy / (xx * yy).sqrt()
}

/// Sum of the pulse over the mean of the first `n_baseline` samples, upright for `sign`.
fn plain_integral(samples: &[f32], n_baseline: usize, sign: f64) -> f64 {
    let first = &samples[..n_baseline];
    let baseline = first.iter().map(|&sample| f64::from(sample)).sum::<f64>() / n_baseline as f64;
    samples
        .iter()
        .map(|&sample| sign * (f64::from(sample) - baseline))
        .sum()
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

fn led_run(more: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("out");
    let spe = led_calibration(folder.path());
    let more = [&["-c", &spe], more].concat();
    reconstruct(&[file("uzh_r12699/ready.h5")], &target, &more).ended_with(0);
    output(&target)
}

fn against_the_authors(found: &Output, what: &str) -> (f64, f64) {
    let areas = doubles(&file("uzh_r12699/wf0_areas.npy"));
    let rows: Vec<_> = found
        .waveforms
        .iter()
        .filter(|row| row.channel_id == 0)
        .collect();
    assert_eq!((rows.len(), areas.len()), (2000, 2000));
    let pairs: Vec<_> = rows
        .iter()
        .zip(&areas)
        .map(|(row, &area)| (f64::from(row.charge_pe), area))
        .collect();
    let lit: Vec<_> = pairs.iter().filter(|pair| pair.0 != 0.0).copied().collect();
    let (all, lit_only) = (correlation(&pairs), correlation(&lit));
    eprintln!(
        "{what}: correlation {all:.4} over all, {lit_only:.4} over the {} with light",
        lit.len()
    );
    (all, lit_only)
}

#[test]
#[ignore = "needs ../shared/data"]
fn charges_of_a_measured_run_are_those_that_its_authors_found() {
    for method in ["integral", "deconvolution", "coti"] {
        let found = led_run(&["--method", method]);
        let (all, lit) = against_the_authors(&found, method);
        assert!(all >= 0.5 && lit > 0.5);
    }
}
