//! `nuwave simulate events`, as a user types it.

use std::path::Path;
use std::process::{Command, Output};

fn nuwave(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nuwave"))
        .current_dir(folder)
        .args(["simulate", "events"])
        .args(arguments)
        .output()
        .expect("the binary runs")
}

#[test]
fn a_file_of_sources_becomes_hits_with_their_truth_and_threads_change_no_byte() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    std::fs::write(
        path.join("runs.csv"),
        "x_mm,y_mm,z_mm,energy_mev,events,particle\n0,0,0,1,2,electron\n0,0,-15000,2.22,3,gamma\n",
    )
    .expect("writable");
    let mut files = Vec::new();
    for threads in ["1", "2"] {
        let name = format!("hits{threads}.parquet");
        let run = nuwave(
            &["--sources", "runs.csv", "--threads", threads, "-o", &name],
            path,
        );
        assert!(run.status.success(), "{run:?}");
        files.push(std::fs::read(path.join(name)).expect("written"));
    }
    assert_eq!(files[0], files[1]);
    let truth = nuwave::io::read_truth(&path.join("hits1.parquet")).expect("truth next to it");
    assert_eq!(truth.events.len(), 5);
    assert_eq!(truth.events[4].event_id, 4);
    assert_eq!(truth.events[4].z_mm, -15_000.0);
    assert!((truth.events[4].energy_mev - 2.22).abs() < 1e-9);
    let mut times = Vec::new();
    nuwave::io::tables::read::stream_hits(&path.join("hits1.parquet"), |part| {
        times.extend(part.time_ns);
        Ok(())
    })
    .expect("a table of hits");
    assert!(times.len() > 5000, "{}", times.len());
    assert!(times.iter().all(|time| (0.0..1000.0).contains(time)));
}

#[test]
fn wrong_settings_name_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    std::fs::write(
        path.join("bad.csv"),
        "x_mm,y_mm,z_mm,energy_mev,events\n0,0,up,1,2\n",
    )
    .expect("writable");
    for (arguments, expected) in [
        (vec!["-o", "hits.h5"], "hits are written as Parquet"),
        (
            vec!["-o", "hits.parquet", "--channels", "all"],
            "is for waveforms",
        ),
        (
            vec!["-o", "a.parquet", "--position", "1,2"],
            "expected X,Y,Z in mm",
        ),
        (
            vec!["-o", "a.parquet", "--position", "0,0,17800"],
            "within 17700 mm",
        ),
        (vec!["-o", "a.parquet", "-d", "lab"], "has no geometry"),
        (
            vec!["-o", "a.parquet", "--sources", "bad.csv"],
            "line 2: `z_mm` is `up`",
        ),
        (
            vec!["-o", "a.parquet", "--hit-threshold-pe=-1"],
            "--hit-threshold-pe",
        ),
    ] {
        let run = nuwave(&arguments, path);
        assert_eq!(run.status.code(), Some(2), "{run:?}");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(said.contains(expected), "{said}\ninstead of {expected}");
    }
    assert!(!path.join("a.parquet").exists());
}

#[test]
fn settings_of_a_file_hold_where_the_command_line_is_silent() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    std::fs::write(
        path.join("quiet.toml"),
        "no_dark = true\nenergy = 0.0\nevents = 3\n",
    )
    .expect("writable");
    let run = nuwave(&["--config", "quiet.toml", "-o", "quiet.parquet"], path);
    assert!(run.status.success(), "{run:?}");
    let count =
        |name: &str| nuwave::io::tables::read::count_rows(&path.join(name)).expect("a table");
    assert_eq!(count("quiet.parquet"), 0);
    let run = nuwave(
        &[
            "--config",
            "quiet.toml",
            "--energy",
            "1",
            "-o",
            "lit.parquet",
        ],
        path,
    );
    assert!(run.status.success(), "{run:?}");
    assert!(count("lit.parquet") > 3000);
    // What is printed is a file of the same settings, defaults spelled out.
    let printed = nuwave(&["--config", "quiet.toml", "--print-config"], path);
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(
        text.contains("no_dark = true") && text.contains("hit_threshold_pe = 0.2"),
        "{text}"
    );
    std::fs::write(path.join("printed.toml"), text).expect("writable");
    let run = nuwave(&["--config", "printed.toml", "-o", "again.parquet"], path);
    assert!(run.status.success(), "{run:?}");
    // The truth is found from the hits, and is a file of its own.
    for name in ["lit.parquet", "lit.truth-events.parquet"] {
        let truth = nuwave::io::read_truth(&path.join(name)).expect("truth");
        assert_eq!((truth.events.len(), truth.photoelectrons.len()), (3, 0));
    }
    assert!(!path.join("lit.truth.parquet").exists());
}

#[test]
fn raw_waveforms_come_with_their_photoelectrons_and_events_and_give_them_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    let run = |more: &[&str]| {
        let usual = [
            "-d",
            "jinping",
            "--events",
            "6",
            "--energy",
            "2",
            "--level",
            "waveforms",
        ];
        let run = nuwave(&[&usual, more].concat(), path);
        assert!(run.status.success(), "{run:?}");
    };
    run(&["-o", "lit.h5", "--threads", "1"]);
    run(&["-o", "again.h5", "--threads", "2"]);
    run(&["-o", "all.h5", "--channels", "all"]);
    let bytes = |name: &str| std::fs::read(path.join(name)).expect("written");
    assert!(bytes("lit.h5") == bytes("again.h5"));
    let truth = nuwave::io::read_truth(&path.join("all.h5")).expect("truth inside");
    assert_eq!(truth.events.len(), 6);
    assert_eq!(
        truth,
        nuwave::io::read_truth(&path.join("lit.h5")).expect("truth inside")
    );
    let reconstruct = |name: &str| {
        let out = format!("{name}.out");
        let run = Command::new(env!("CARGO_BIN_EXE_nuwave"))
            .current_dir(path)
            .args([
                "reconstruct",
                name,
                "-d",
                "jinping",
                "--backend",
                "cpu",
                "-o",
                &out,
            ])
            .output()
            .expect("the binary runs");
        assert!(run.status.success(), "{run:?}");
        nuwave::io::tables::read::read(&path.join(out)).expect("an output")
    };
    let (lit, all) = (reconstruct("lit.h5"), reconstruct("all.h5"));
    assert_eq!(all.waveforms.len(), 6 * 60);
    let n_lit: std::collections::BTreeSet<_> = truth
        .photoelectrons
        .iter()
        .map(|one| (one.event_id, one.channel_id))
        .collect();
    assert_eq!(lit.waveforms.len(), n_lit.len());
    // The same waveforms, and all of the charge.
    for (row, id) in lit.waveforms.event_id.iter().enumerate() {
        let channel = lit.waveforms.channel_id[row];
        let other = (0..all.waveforms.len())
            .find(|&k| all.waveforms.event_id[k] == *id && all.waveforms.channel_id[k] == channel)
            .expect("among all");
        assert_eq!(lit.waveforms.charge_pe[row], all.waveforms.charge_pe[other]);
    }
    let there: f32 = truth.photoelectrons.iter().map(|one| one.charge_pe).sum();
    let found: f32 = all.hits.charge_pe.iter().sum();
    assert!((found / there - 1.0).abs() < 0.03, "{found} {there}");
}
