//! The facts about the readout of an input that must be known, and where they come from.

use crate::support::reconstruct::{
    Folder, Run, calibration, noise, nuwave, output, pulse, reconstruct, write_calibration,
    write_counts,
};

/// Writes a file that states neither polarity nor sampling interval: weak light at 150 ns, pulses in the direction of `sign`.
fn plain(folder: &Folder, n: u64, sign: f32) -> std::path::PathBuf {
    let path = folder.path("plain.dat");
    let template = pulse(60.0, 5.0, 60);
    let one = |event: u64| {
        let mut samples = noise(event, 2.0, 300);
        // Half of the waveforms are empty; charges are spread by a tenth.
        let height = [0.0, 0.9, 0.0, 1.0, 0.0, 1.1, 1.0][event as usize % 7];
        for (sample, value) in samples.iter_mut().skip(150).zip(&template) {
            *sample += sign * height * value;
        }
        let counts = samples
            .iter()
            .map(|sample| (5000.0 + sample).round() as u16);
        (event, 2, counts.collect())
    };
    let all: Vec<_> = (0..n).map(one).collect();
    write_counts(&path, 1.0, &all);
    path
}

#[test]
fn a_calibration_keeps_the_direction_of_the_pulses() {
    let folder = Folder::new();
    for (sign, direction) in [(1.0, "positive"), (-1.0, "negative")] {
        let path = plain(&folder, 1500, sign);
        let made = folder.path("spe.parquet");
        let mut command = nuwave();
        command.args([
            "calibrate",
            "spe",
            "--polarity",
            direction,
            "--sampling-ns",
            "1",
        ]);
        command
            .args(["--min-pulses", "100", "--overwrite"])
            .arg(&path)
            .arg("-o")
            .arg(&made);
        Run::new(&mut command).ended_with(0);
        let made = made.to_str().expect("a plain path");
        let more = ["-c", made, "--overwrite"];
        reconstruct(&[&path], &folder.path("out"), &more).ended_with(0);
        let found = output(&folder.path("out"));
        assert_eq!(found.report["inputs"][0]["polarity"], direction);
        assert_eq!(found.report["warnings"].as_array().map(Vec::len), Some(0));
        assert!(found.hits.len() > 700, "{direction}: {}", found.hits.len());
    }
}

#[test]
fn what_is_missing_is_asked_for_at_once_with_what_the_data_show() {
    let folder = Folder::new();
    let template = calibration(pulse(60.0, 5.0, 60), 2.0, 1.0, &[]);
    let made = folder.path("own.parquet");
    write_calibration(&made, &template);
    let made = made.to_str().expect("a plain path");
    for (sign, polarity) in [(1.0, "--polarity positive"), (-1.0, "--polarity negative")] {
        let path = plain(&folder, 70, sign);
        let target = folder.path("out");
        let all = format!("--calibration FILE {polarity} --sampling-ns NS");
        let parts = ["--detector NAME|FILE", &all, "waveforms looked at: 70"];
        reconstruct(&[&path], &target, &[]).refused_with(2, &parts);
        reconstruct(&[&path], &target, &["-c", made]).refused_with(2, &[polarity]);
        let both = format!("{polarity} --sampling-ns NS");
        let mut command = nuwave();
        command
            .args(["calibrate", "spe"])
            .arg(&path)
            .arg("-o")
            .arg(folder.path("spe.parquet"));
        Run::new(&mut command).refused_with(2, &[&both]);
    }
}
