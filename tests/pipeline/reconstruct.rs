//! `nuwave reconstruct`: its output, which never depends on batches, threads or the format of the input.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::reconstruct::{
    Folder, HitRow, Output, Run, counted, names_in, nuwave, output, reconstruct, testdata,
    write_counts,
};
use nuwave::io::{BatchLimit, ReadOptions};
use nuwave::model::Flags;
use serde_json::Value;

/// The events and channels of a file, as the library reads them.
fn ids(path: &Path) -> Vec<(u64, u32)> {
    let mut source = nuwave::io::open(path, &ReadOptions::default()).expect("a file");
    let mut ids = Vec::new();
    while let Some(batch) = source
        .next_batch(BatchLimit::default())
        .expect("a whole file")
    {
        ids.extend(
            batch
                .iter()
                .map(|waveform| (waveform.event_id, waveform.channel_id)),
        );
    }
    ids
}

fn run(name: &str, more: &[&str]) -> (tempfile::TempDir, Output) {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("out");
    reconstruct(&[testdata(name)], &target, more).ended_with(0);
    let output = output(&target);
    (folder, output)
}

/// Two runs differ in nothing but this part of their report.
fn without_timings(mut report: Value) -> Value {
    let timings = report
        .as_object_mut()
        .and_then(|report| report.remove("timings"));
    assert!(timings.is_some_and(|timings| timings["total_s"].as_f64() > Some(0.0)));
    report
}

fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for table in ["hits", "waveforms", "events"] {
        for name in names_in(&folder.join(table)) {
            let bytes = std::fs::read(folder.join(table).join(&name)).expect("a part");
            files.insert(format!("{table}/{name}"), bytes);
        }
    }
    files
}

#[test]
fn every_waveform_of_the_input_comes_out_once_in_its_order() {
    let (_folder, found) = run("juno64.h5", &[]);
    let expected = ids(&testdata("juno64.h5"));
    assert_eq!(expected.len(), 1024);
    let rows: Vec<_> = found
        .waveforms
        .iter()
        .map(|row| (row.event_id, row.channel_id))
        .collect();
    assert_eq!(rows, expected);
    assert!(counted(rows.into_iter()).values().all(|&count| count == 1));
    // 1.5 photoelectrons a waveform: a Poisson number of which some 22 % are 0.
    assert!(
        (1400.0..1650.0).contains(
            &found.report["totals"]["charge_pe"]
                .as_f64()
                .expect("a number")
        )
    );
    let empty = found
        .waveforms
        .iter()
        .filter(|row| row.first_time_ns.is_none())
        .count();
    assert!((150..300).contains(&empty), "{empty}");
}

#[test]
fn hits_are_where_and_as_large_as_the_true_photoelectrons() {
    let (_folder, found) = run("juno64.h5", &[]);
    let truth = nuwave::io::read_truth(&testdata("juno64.h5")).expect("truth");
    let mut charge: BTreeMap<(u64, u32), f64> = BTreeMap::new();
    let mut first: BTreeMap<(u64, u32), f64> = BTreeMap::new();
    for one in &truth.photoelectrons {
        let key = (one.event_id, one.channel_id);
        *charge.entry(key).or_default() += f64::from(one.charge_pe);
        let first = first.entry(key).or_insert(f64::INFINITY);
        *first = first.min(one.time_ns);
    }
    let (mut near, mut compared) = (0, 0);
    for row in &found.waveforms {
        let key = (row.event_id, row.channel_id);
        if let (Some(time_ns), Some(true_ns)) = (row.first_time_ns, first.get(&key)) {
            compared += 1;
            let same_time = (time_ns - true_ns).abs() < 5.0;
            let same_charge = (f64::from(row.charge_pe) - charge[&key]).abs() < 0.5;
            near += u32::from(same_time && same_charge);
        }
    }
    assert!(compared > 750, "{compared}");
    assert!(
        f64::from(near) > 0.9 * f64::from(compared),
        "{near} of {compared}"
    );
}

#[test]
fn the_same_waveforms_in_another_format_give_the_same_hits() {
    let (_folder, reference) = run("juno8-parquet.parquet", &[]);
    assert!(reference.hits.len() > 30 && reference.waveforms.len() == 24);
    let juno: &[&str] = &["--detector", "juno"];
    for (name, more) in [
        ("juno8-arrow.arrow", &[][..]),
        ("juno8-npz.npz", &[][..]),
        ("juno8-dat.dat", juno),
        ("juno8-txt.txt", juno),
    ] {
        let (_folder, found) = run(name, more);
        assert_eq!(found.hits, reference.hits, "{name}");
        assert_eq!(found.waveforms, reference.waveforms, "{name}");
    }
    // An array has no event and channel columns: rows are events of channel 0.
    let (_folder, found) = run("juno8-npy.npy", juno);
    let values = |hits: &[HitRow]| -> Vec<_> {
        hits.iter()
            .map(|hit| (hit.time_ns, hit.charge_pe, hit.flags))
            .collect()
    };
    assert_eq!(values(&found.hits), values(&reference.hits));
    for (place, (row, other)) in found.waveforms.iter().zip(&reference.waveforms).enumerate() {
        assert_eq!((row.event_id, row.channel_id), (place as u64, 0));
        assert_eq!(
            (row.charge_pe, row.baseline_adc),
            (other.charge_pe, other.baseline_adc)
        );
    }
}

#[test]
fn a_file_that_does_not_name_its_detector_asks_for_one() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["juno8-dat.dat", "juno8-txt.txt", "juno8-npy.npy"] {
        reconstruct(&[testdata(name)], &folder.path().join("out"), &[]).refused(2);
        assert!(names_in(folder.path()).is_empty());
    }
}

#[test]
fn no_events_are_made_and_one_line_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("out");
    // The lab has one PMT, which is nowhere.
    let run = reconstruct(
        &[testdata("juno64.h5")],
        &target,
        &["-d", "lab", "--sampling-ns", "2"],
    )
    .ended_with(0);
    assert!(!target.join("events").exists());
    let lines: Vec<_> = run
        .stdout
        .lines()
        .filter(|line| line.trim_start().starts_with("events"))
        .collect();
    assert_eq!(lines.len(), 1, "{}", run.stdout);
    assert!(lines[0].contains("no geometry"), "{}", lines[0]);
}

#[test]
fn quiet_says_nothing_and_json_is_the_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let quiet = reconstruct(
        &[testdata("juno64.h5")],
        &folder.path().join("quiet"),
        &["--quiet"],
    )
    .ended_with(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let target = folder.path().join("json");
    let json = reconstruct(&[testdata("juno64.h5")], &target, &["--json"]).ended_with(0);
    let printed: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(printed, output(&target).report);
}

/// The summary is the result on stdout; what happens on the way is on stderr.
#[test]
fn the_summary_is_on_stdout_and_tells_information_from_flags() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("out");
    let more = ["--method", "auto", "--threads", "1", "--backend", "cpu"];
    let run = reconstruct(&[testdata("juno64.h5")], &target, &more).ended_with(0);
    let first = run.stdout.lines().next();
    assert_eq!(first, target.to_str(), "{}", run.stdout);
    let has = |label: &str, name: &str| {
        let mut lines = run.stdout.lines().map(str::trim_start);
        lines.any(|line| line.starts_with(label) && line.contains(&format!(" {name}: ")))
    };
    for name in ["fitted", "no_light"] {
        assert!(has("information", name), "{}", run.stdout);
        assert!(!has("flagged", name), "{}", run.stdout);
    }
    assert!(run.stdout.contains(" in 1 input, "), "{}", run.stdout);
    assert!(run.stdout.contains(" on 1 thread\n"), "{}", run.stdout);
    assert!(run.stderr.starts_with("backend: cpu\n"), "{}", run.stderr);
}

/// Threads and the size of batches change nothing but the report's `timings` (which also name the threads).
#[test]
fn threads_and_batches_change_no_byte_of_the_tables() {
    let (reference_folder, reference) = run("juno64.h5", &["--threads", "1"]);
    let expected = files_of(&reference_folder.path().join("out"));
    assert_eq!(expected.len(), 3);
    for (threads, batch) in [
        ("1", "1"),
        ("2", "4096"),
        ("7", "4096"),
        ("2", "7"),
        ("7", "1"),
        ("7", "7"),
        ("2", "100000"),
    ] {
        let (folder, found) = run("juno64.h5", &["--threads", threads, "--batch", batch]);
        assert!(
            files_of(&folder.path().join("out")) == expected,
            "{threads} threads, batches of {batch}"
        );
        assert_eq!(found.report["timings"]["threads"].to_string(), threads);
        assert_eq!(
            without_timings(found.report),
            without_timings(reference.report.clone())
        );
    }
}

#[test]
fn other_methods_also_change_no_byte_with_threads_and_batches() {
    for method in ["integral", "coti", "sparse", "auto"] {
        let of = |threads: &str, batch: &str| {
            let settings = ["--method", method, "--threads", threads, "--batch", batch];
            let (folder, output) = run("juno64.h5", &settings);
            assert!(
                output.hits.len() > 700,
                "{method}: {} hits",
                output.hits.len()
            );
            files_of(&folder.path().join("out"))
        };
        assert!(of("1", "4096") == of("7", "7"), "{method}");
    }
}

#[test]
fn rows_of_each_input_carry_its_place_in_the_list() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("out");
    let names = ["juno8-npz.npz", "juno64.h5", "juno8-parquet.parquet"];
    let inputs = names.map(testdata);
    reconstruct(&inputs, &target, &[]).ended_with(0);
    let found = output(&target);
    for (place, name) in names.into_iter().enumerate() {
        let (_folder, alone) = run(name, &[]);
        let mine: Vec<_> = found
            .hits
            .iter()
            .filter(|hit| hit.input_id == place as u32)
            .map(|hit| HitRow {
                input_id: 0,
                ..*hit
            })
            .collect();
        assert_eq!(mine, alone.hits, "{name}");
        let input = &found.report["inputs"][place];
        assert!(
            input["path"]
                .as_str()
                .is_some_and(|path| path.ends_with(name))
        );
        assert_eq!(input["waveforms"], alone.waveforms.len());
    }
    assert_eq!(names_in(&target.join("hits")).len(), 3);
}

/// Every input is opened before anything is written: what cannot be opened ends the run, wherever it stands.
#[test]
fn one_input_that_cannot_be_opened_ends_the_run_before_it_begins() {
    let folder = tempfile::tempdir().expect("a folder");
    let bad = folder.path().join("bad.h5");
    std::fs::write(&bad, b"Dear colleague,\n").expect("room on the disk");
    let before = names_in(folder.path());
    let good = testdata("juno64.h5");
    for inputs in [
        [&bad, &good, &good],
        [&good, &bad, &good],
        [&good, &good, &bad],
    ] {
        let target = folder.path().join("out");
        reconstruct(&inputs, &target, &[]).refused(3);
        assert_eq!(names_in(folder.path()), before);
    }
}

/// An input that turns out to be cut while it is read keeps what came before, and so do its neighbours.
#[test]
fn an_input_that_is_cut_half_way_costs_only_its_own_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = testdata("juno8-dat.dat");
    let bytes = std::fs::read(&whole).expect("the file");
    let record = bytes.len() / 24;
    let cut = folder.path().join("cut.dat");
    std::fs::write(&cut, &bytes[..10 * record + record / 2]).expect("room on the disk");
    let copy = folder.path().join("copy.dat");
    std::fs::copy(&whole, &copy).expect("room on the disk");
    let target = folder.path().join("out");
    let run = reconstruct(&[&whole, &cut, &copy], &target, &["-d", "juno"]).ended_with(4);
    let place = format!("record 10 at byte {}", 10 * record);
    let warned = run.stderr.lines().any(|line| {
        line.starts_with("warning: ") && line.contains("cut.dat") && line.contains(&place)
    });
    assert!(warned, "{}", run.stderr);
    let found = output(&target);
    let rows = [0, 1, 2].map(|place| {
        found
            .waveforms
            .iter()
            .filter(|row| row.input_id == place)
            .count()
    });
    assert_eq!(rows, [24, 10, 24]);
    assert_eq!(found.report["totals"]["lost"], 1);
    assert_eq!(found.report["losses"][0]["input_id"], 1);
    assert_eq!(found.report["losses"][0]["place"], place);
}

#[test]
fn settings_of_a_file_are_those_of_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("nuwave.toml");
    std::fs::write(&settings, "method = \"integral\"\nthreshold_sigma = 6.0\n")
        .expect("room on the disk");
    let settings = settings.to_str().expect("a plain path");
    let typed = run(
        "juno64.h5",
        &["--method", "integral", "--threshold-sigma", "6"],
    )
    .1;
    let written = run("juno64.h5", &["--config", settings]).1;
    assert_eq!(typed.hits, written.hits);
    assert_eq!(
        without_timings(typed.report),
        without_timings(written.report)
    );
    // The command line wins.
    let both = run(
        "juno64.h5",
        &["--config", settings, "--method", "deconvolution"],
    )
    .1;
    let plain = run("juno64.h5", &["--threshold-sigma", "6"]).1;
    assert_eq!(both.hits, plain.hits);
    // What is printed can be read back.
    let printed = Run::new(nuwave().args(["reconstruct", "--config", settings, "--print-config"]))
        .ended_with(0);
    let again = folder.path().join("printed.toml");
    std::fs::write(&again, printed.stdout).expect("room on the disk");
    let again = run(
        "juno64.h5",
        &["--config", again.to_str().expect("a plain path")],
    )
    .1;
    assert_eq!(again.hits, written.hits);
}

#[test]
fn windows_of_many_lengths_stand_in_one_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mixed.parquet");
    let waveforms: Vec<_> = [32, 33, 64, 100, 999, 2000, 40]
        .into_iter()
        .enumerate()
        .map(|(event, length)| {
            let noise = crate::support::reconstruct::noise(event as u64, 8.0, length);
            let samples = noise
                .iter()
                .map(|value| (4784.0 + value).round() as u16)
                .collect();
            (event as u64, 0, samples)
        })
        .collect();
    write_counts(&path, 1.0, &waveforms);
    let target = folder.path().join("out");
    reconstruct(&[&path], &target, &["-d", "juno"]).ended_with(0);
    let found = output(&target);
    assert_eq!(found.waveforms.len(), waveforms.len());
    for (row, (event, _, samples)) in found.waveforms.iter().zip(&waveforms) {
        assert_eq!(row.event_id, *event);
        assert!((row.baseline_adc - 4784.0).abs() < 8.0, "{row:?}");
        // The nominal pulse is above 5 % of its peak for some 35 ns.
        assert_eq!(
            row.flags.contains(Flags::SHORT_WINDOW),
            samples.len() <= 33,
            "{row:?}"
        );
    }
}

/// Pages of hundreds of kilobytes, as the simulation writes them, are read another way than small ones.
#[test]
fn a_parquet_file_of_large_pages_is_read_whole() {
    let folder = Folder::new();
    let input = folder.path("large.parquet");
    let light = ["--detector", "juno", "--channels", "8", "--events", "300"];
    Run::new(
        nuwave()
            .args(["simulate", "waveforms", "--quiet"])
            .args(light)
            .arg("-o")
            .arg(&input),
    )
    .ended_with(0);
    let target = folder.path("out");
    reconstruct(&[&input], &target, &["--detector", "juno"]).ended_with(0);
    assert_eq!(output(&target).waveforms.len(), 2400);
}
