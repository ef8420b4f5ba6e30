//! Outputs of `nuwave reconstruct` compared byte for byte, and runs that are ended in the middle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use super::reconstruct::{Folder, Run, nuwave, output, testdata};
use serde_json::Value;

/// Everything in the output but the timings, which are the only thing that may differ.
pub fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("inside").to_string_lossy();
            let mut bytes = std::fs::read(&path).expect("a file");
            if name == "report.json" {
                let mut report: Value = serde_json::from_slice(&bytes).expect("JSON");
                let timings = report.as_object_mut().expect("a report").remove("timings");
                assert!(timings.is_some_and(|it| it["total_s"].as_f64() > Some(0.0)));
                bytes = report.to_string().into_bytes();
            }
            files.insert(name.into_owned(), bytes);
        }
    }
    files
}

/// Asserts that two outputs are the same but for the timings.
#[track_caller]
pub fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (content(one), content(other));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    for (name, bytes) in &one {
        assert!(*bytes == other[name], "{name} differs");
    }
}

/// The staging folder of the output `target`.
pub fn partial(target: &Path) -> PathBuf {
    let mut name = target.file_name().expect("a name").to_owned();
    name.push(".partial");
    target.with_file_name(name)
}

/// Asserts that a finished run has left no temporary files in `target` or next to it.
#[track_caller]
pub fn assert_nothing_temporary(target: &Path) {
    assert!(!partial(target).exists(), "{}", partial(target).display());
    for folder in [target.parent().expect("a parent"), target] {
        let left: Vec<_> = super::reconstruct::names_in(folder)
            .into_iter()
            .filter(|name| name.starts_with('.') || name.contains(".tmp"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// `nuwave` with these words, as a run that has ended.
pub fn run(words: &[&str]) -> Run {
    Run::new(nuwave().args(words))
}

/// The number of finished units in the staging folder of `target`.
pub fn finished(target: &Path) -> usize {
    let is_record = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|it| !it.file_name().to_string_lossy().starts_with('.'))
    };
    let units = std::fs::read_dir(partial(target).join("units"));
    units.map_or(0, |units| units.map(is_record).filter(|it| *it).count())
}

/// Begins `nuwave` with these words.
pub fn begin(words: &[&str]) -> Child {
    let mut command: Command = nuwave();
    command
        .args(words)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("runs")
}

/// Waits until `target` has `n` finished units; false if the run ended before.
pub fn wait_for_units(child: &mut Child, target: &Path, n: usize) -> bool {
    let begin = Instant::now();
    while finished(target) < n {
        if child.try_wait().expect("a child").is_some() {
            return false;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "no unit is finished"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// How a child ended: its code and what it said.
pub fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().expect("a child");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code(), said)
}

/// A file of simulated waveforms of 16 channels, `events` events of them, named `name` in `folder`.
pub fn simulated(folder: &Folder, name: &str, events: u32, seed: u32) -> String {
    let path = folder.path(name).to_str().expect("a plain path").to_owned();
    let (events, seed) = (events.to_string(), seed.to_string());
    let words = [
        "simulate",
        "waveforms",
        "--detector",
        "juno",
        "--channels",
        "16",
        "--samples",
        "400",
        "--events",
        &events,
        "--seed",
        &seed,
        "--mean-pe",
        "1",
        "-o",
        &path,
        "-q",
    ];
    run(&words).ended_with(0);
    path
}
