//! `nuwave inspect` on files written here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::reconstruct::{Run, nuwave, testdata};
use nuwave::io::{WriteInfo, create};
use nuwave::model::{Batch, Photoelectron, Polarity, SamplesRef, Truth, Waveform};
use serde_json::Value;

/// 12 waveforms, 3 channels, with one 100-count pulse each where `pulse` says so; written in the format of `name`.
fn write_waveforms(folder: &Path, name: &str, pulse: i32) -> PathBuf {
    let path = folder.join(name);
    let info = WriteInfo {
        sampling_ns: 1.0,
        adc_bits: 14,
        polarity: Polarity::Negative,
        detector: "juno".to_owned(),
        origin: "a test".to_owned(),
    };
    let mut batch = Batch::new_u16(0);
    let mut truth = Truth::default();
    for event_id in 0..4 {
        for channel_id in [2, 5, 9] {
            let samples: Vec<u16> = (0..400)
                .map(|k| {
                    let noise = [0, 3, -2, 1, -3, 2, -1][(k + event_id as usize) % 7];
                    let light = if (100..110).contains(&k) { pulse } else { 0 };
                    u16::try_from(4784 + noise + light).unwrap()
                })
                .collect();
            let samples = SamplesRef::U16(&samples);
            batch.push(Waveform {
                event_id,
                channel_id,
                start_ns: 0.0,
                samples,
            });
            truth.photoelectrons.push(Photoelectron {
                event_id,
                channel_id,
                time_ns: 98.0,
                charge_pe: 1.0,
            });
        }
    }
    let mut sink = create(&path, &info).unwrap();
    sink.write(&batch).unwrap();
    sink.finish(&truth).unwrap();
    path
}

fn inspect(path: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nuwave"));
    command.current_dir(path.parent().unwrap());
    command
        .arg("inspect")
        .arg(path)
        .args(more)
        .output()
        .unwrap()
}

fn json(path: &Path, more: &[&str]) -> Value {
    let output = inspect(path, &[more, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_waveform_file_tells_what_it_holds_whatever_its_format() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["run.h5", "run.parquet", "run.arrow"] {
        let path = write_waveforms(folder.path(), name, -100);
        let found = json(&path, &[]);
        assert_eq!(found["kind"], "waveforms", "{name}");
        assert_eq!(found["n_waveforms"], 12, "{name}");
        assert_eq!(found["sampling_ns"], 1.0, "{name}");
        assert_eq!(found["polarity"], "negative", "{name}");
        assert_eq!(found["survey"]["samples_median"], 400, "{name}");
        assert_eq!(found["survey"]["n_channels"], 3, "{name}");
        assert_eq!(found["survey"]["channel_max"], 9, "{name}");
        assert_eq!(
            found["survey"]["polarity_by_skewness"], "negative",
            "{name}"
        );
        assert_eq!(found["truth"]["photoelectrons"], 12, "{name}");
    }
}

#[test]
fn the_text_names_layout_truth_and_first_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_waveforms(folder.path(), "run.h5", 100);
    let output = inspect(&path, &["--rows", "2"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "HDF5",
        "1 ns",
        "14 bit",
        "negative; the data suggest positive",
        "12 photoelectrons",
        "3 (2 to 9)",
        "4784",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
}

#[test]
fn a_picture_shows_samples_trace_hits_and_truth() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_waveforms(folder.path(), "run.h5", -100);
    let picture = folder.path().join("out.svg");
    let output = inspect(
        &path,
        &[
            "--plot",
            "out.svg",
            "--event",
            "2",
            "--channel",
            "5",
            "--detector",
            "juno",
        ],
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let svg = std::fs::read_to_string(picture).unwrap();
    for part in [
        "event 2, channel 5",
        "baseline",
        "deconvolved",
        "threshold (smoothed trace)",
        "true photoelectrons",
        "hits (",
    ] {
        assert!(svg.contains(part), "{part}");
    }
    assert!(!svg.contains("event 2, channel 9"));
}

#[test]
fn a_part_of_the_waveform_can_be_drawn_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_waveforms(folder.path(), "run.h5", -100);
    let draw = |range: &[&str]| {
        let plot = ["--plot", "out.svg", "--event", "2", "--channel", "5"];
        inspect(&path, &[&plot, range].concat())
    };
    let svg = |range: &[&str]| {
        let output = draw(range);
        assert!(output.status.success());
        std::fs::read_to_string(folder.path().join("out.svg")).unwrap()
    };
    // The ends of the axis are labelled, and the foot names what is drawn.
    let label = |text: &str| format!("\n{text}\n</text>");
    let part = svg(&["--from-ns", "90", "--to-ns", "140"]);
    assert!(part.contains(&label("90")) && part.contains(&label("140")));
    assert!(!part.contains(&label("400")));
    assert!(svg(&[]).contains(&label("400")));
    let foot = format!("nuwave {}, 1 waveform\n", nuwave::VERSION_AND_COMMIT);
    assert!(part.contains(&foot));
    let refused = draw(&["--from-ns", "140", "--to-ns", "90"]);
    assert_eq!(refused.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        errors.contains("`--from-ns 140` is not before `--to-ns 90`"),
        "{errors}"
    );
}

#[test]
fn a_picture_of_a_channel_that_is_not_there_is_refused_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_waveforms(folder.path(), "run.h5", -100);
    let output = inspect(&path, &["--plot", "out.svg", "--channel", "77"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("no waveform of the event and channel")
    );
    assert!(!folder.path().join("out.svg").exists());
}

#[test]
fn truth_beside_a_file_is_told_from_waveforms() {
    let folder = tempfile::tempdir().unwrap();
    write_waveforms(folder.path(), "run.parquet", -100);
    let found = json(&folder.path().join("run.truth.parquet"), &[]);
    assert_eq!(found["kind"], "truth");
    assert_eq!(found["waveforms_with_photoelectrons"], 12);
    assert_eq!(found["time_min_ns"], 98.0);
}

#[test]
fn an_output_folder_shows_its_report_and_an_unfinished_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_waveforms(folder.path(), "run.h5", -100);
    let output = Command::new(env!("CARGO_BIN_EXE_nuwave"))
        .current_dir(folder.path())
        .args([
            "reconstruct",
            "run.h5",
            "-o",
            "out",
            "--detector",
            "juno",
            "--quiet",
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let found = json(&folder.path().join("out"), &[]);
    assert_eq!(found["kind"], "output");
    assert_eq!(found["waveforms"], 12);
    assert_eq!(found["report"]["totals"]["waveforms"], 12);
    std::fs::remove_file(folder.path().join("out/report.json")).unwrap();
    let output = inspect(&folder.path().join("out"), &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no `report.json`"));
    assert!(path.exists());
}

#[test]
fn a_folder_that_is_no_output_is_named_for_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let mut command = nuwave();
        Run::new(command.current_dir(folder.path()).args(words))
    };
    write_waveforms(folder.path(), "run.h5", -100);
    run(&["reconstruct", "run.h5", "-d", "juno", "-o", "out/x", "-q"]).ended_with(0);
    // The table of hits is worth a look by itself.
    let hits = run(&["inspect", "out/x/hits", "--json"]).ended_with(0);
    let hits: Value = serde_json::from_str(&hits.stdout).expect("JSON");
    assert_eq!(hits["kind"], "hits");
    run(&["inspect", "out/x/waveforms"]).refused(3);
    run(&["verify", "out/x/hits"]).refused(3);
    run(&["verify", "out"]).refused(3);
    std::fs::create_dir(folder.path().join("empty")).expect("a folder");
    run(&["inspect", "empty"]).refused(3);
    run(&["verify", "absent"]).refused(3);
    // As a run leaves it that is stopped.
    let partial = folder.path().join("y.partial");
    std::fs::create_dir_all(partial.join("units")).expect("a folder");
    std::fs::write(partial.join("manifest.json"), "{}").expect("a file");
    run(&["inspect", "y.partial"]).refused(3);
    run(&["inspect", "y"]).ended_with(3);
    run(&["verify", "y"]).refused(3);
    // `.` has no name of its own.
    let mut command = nuwave();
    let inside = command.current_dir(folder.path().join("out/x/waveforms"));
    Run::new(inside.args(["inspect", "."])).refused_with(3, &["is the table `waveforms`"]);
}

#[test]
fn options_that_describe_the_data_are_taken_into_account() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.npy");
    std::fs::copy(testdata("juno8-npy.npy"), &path).expect("a file");
    let more = ["--sampling-ns", "2", "--polarity", "positive"];
    let run = Run::new(nuwave().arg("inspect").arg(&path).args(more)).ended_with(0);
    for line in ["2 ns (given)", "positive (given)"] {
        assert!(run.stdout.contains(line), "{}", run.stdout);
    }
    let found = json(&path, &more);
    assert_eq!(found["sampling_ns"], 2.0);
    assert_eq!(found["polarity"], "positive");
}

#[test]
fn other_kinds_of_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.h5");
    assert_eq!(inspect(&path, &[]).status.code(), Some(3), "absent");
    std::fs::write(&path, "").unwrap();
    assert_eq!(inspect(&path, &[]).status.code(), Some(3), "empty");
    std::fs::write(&path, "PAR1 and nothing else").unwrap();
    assert_eq!(inspect(&path, &[]).status.code(), Some(3), "torn Parquet");
}
