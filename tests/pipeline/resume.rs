//! Runs that are interrupted, by a signal or by an error, and resumed.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::units::{
    Folder, Run, assert_nothing_temporary, assert_same, begin, ended, finished, nuwave, output,
    partial, run, simulated, testdata, wait_for_units,
};
use nuwave::model::Flags;
use serde_json::Value;

/// Some seconds of work in files of three formats.
struct Job {
    folder: Folder,
    inputs: Vec<String>,
    /// The output of an undisturbed run.
    expected: std::path::PathBuf,
}

impl Job {
    fn new(events: u32) -> Self {
        let folder = Folder::new();
        let names = ["a.dat", "b.arrow", "c.h5"];
        let inputs: Vec<String> = (1..)
            .zip(names)
            .map(|(seed, name)| simulated(&folder, name, events, seed))
            .collect();
        let expected = folder.path("expected");
        let job = Self {
            folder,
            inputs,
            expected,
        };
        run(&job.words(&job.expected, &[])).ended_with(0);
        job
    }

    fn words<'a>(&'a self, target: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec!["reconstruct"];
        words.extend(self.inputs.iter().map(String::as_str));
        words.extend(["-d", "juno", "--unit-size", "200", "--threads", "1", "-o"]);
        words.push(target.to_str().expect("a plain path"));
        words.extend(more);
        words
    }

    #[track_caller]
    fn is_as_expected(&self, target: &Path) {
        assert_same(&self.expected, target);
        assert_nothing_temporary(target);
    }
}

#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    let job = Job::new(120);
    for n_units in (0..32).step_by(4) {
        let target = job.folder.path(&format!("out{n_units}"));
        let mut child = begin(&job.words(&target, &["-q"]));
        // Killed while the next unit is in work, or after the end.
        wait_for_units(&mut child, &target, n_units);
        child.kill().expect("a child");
        child.wait().expect("a child");
        run(&job.words(&target, &["--resume"])).ended_with(0);
        job.is_as_expected(&target);
    }
}

#[test]
fn a_signal_ends_a_run_within_seconds_and_it_resumes() {
    let job = Job::new(800);
    for signal in ["INT", "TERM"] {
        let target = job.folder.path(signal);
        let mut child = begin(&job.words(&target, &[]));
        assert!(wait_for_units(&mut child, &target, 2));
        let start = Instant::now();
        let sent = Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
        let (code, said) = ended(child);
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(code, Some(75), "{said}");
        assert!(
            said.contains(&format!("SIG{signal}")) && said.contains("--resume"),
            "{said}"
        );
        assert!(!target.exists() && finished(&target) >= 2);
        // Without being told to it neither goes on nor throws away.
        run(&job.words(&target, &[]))
            .refused_with(5, &["finished units", "--resume", "--overwrite"]);
        let resumed = run(&job.words(&target, &["--resume"])).ended_with(0);
        assert!(resumed.stderr.contains("resuming: "), "{}", resumed.stderr);
        job.is_as_expected(&target);
        // Once more is nothing to do.
        let again = run(&job.words(&target, &["--resume"])).ended_with(0);
        assert!(
            again.stderr.contains("finished already"),
            "{}",
            again.stderr
        );
        job.is_as_expected(&target);
    }
}

/// Whether this process ignores SIGHUP, as programs below `nohup` do, and so its children.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask & 1 == 1)
}

fn send(signal: &str, child: &std::process::Child) {
    let sent = Command::new("kill")
        .args(["-s", signal, &child.id().to_string()])
        .status();
    assert!(sent.is_ok_and(|status| status.success()));
}

#[test]
fn a_lost_connection_ends_a_run_like_sigterm() {
    if ignores_hangup() {
        return;
    }
    let job = Job::new(800);
    let target = job.folder.path("out");
    let mut child = begin(&job.words(&target, &[]));
    assert!(wait_for_units(&mut child, &target, 2));
    send("HUP", &child);
    let (code, said) = ended(child);
    assert_eq!(code, Some(75), "{said}");
    assert!(
        said.contains("SIGHUP") && said.contains("--resume"),
        "{said}"
    );
    run(&job.words(&target, &["--resume"])).ended_with(0);
    job.is_as_expected(&target);
}

#[test]
fn a_run_under_nohup_goes_on_without_its_connection() {
    let job = Job::new(200);
    let target = job.folder.path("out");
    // As `nohup` does, which also redirects its output.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_nuwave"));
    command.args(job.words(&target, &["--quiet"]));
    let mut child = command.spawn().expect("a shell");
    assert!(wait_for_units(&mut child, &target, 2));
    send("HUP", &child);
    assert_eq!(child.wait().expect("a child").code(), Some(0));
    job.is_as_expected(&target);
}

#[test]
fn a_run_that_is_stopped_before_its_first_unit_says_how_to_keep_some() {
    let folder = Folder::new();
    let path = simulated(&folder, "run.dat", 3000, 7);
    let target = folder.path("out");
    let target_text = target.to_str().expect("a plain path");
    let mut child = begin(&[
        "reconstruct",
        &path,
        "-d",
        "juno",
        "--threads",
        "1",
        "-o",
        target_text,
    ]);
    let start = Instant::now();
    while !partial(&target).join("tables").exists() {
        assert!(child.try_wait().expect("a child").is_none(), "it has ended");
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    send("TERM", &child);
    let (code, said) = ended(child);
    assert_eq!(code, Some(75), "{said}");
    for part in ["SIGTERM", "no unit was finished", "--unit-size"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn two_processes_on_one_output_do_no_harm() {
    let job = Job::new(120);
    let target = job.folder.path("out");
    let words = job.words(&target, &["--resume"]);
    let children = [begin(&words), begin(&words), begin(&words)];
    let codes = children.map(|child| ended(child).0);
    assert!(codes.contains(&Some(0)), "{codes:?}");
    assert!(
        codes.iter().all(|code| [Some(0), Some(75)].contains(code)),
        "{codes:?}"
    );
    job.is_as_expected(&target);
}

/// A run that was stopped after some units, of one copy of a file.
fn stopped(folder: &Folder, name: &str) -> (String, std::path::PathBuf) {
    let path = simulated(folder, name, 800, 7);
    let target = folder.path(&format!("{name}-out"));
    let words = resume_words(&path, &target);
    let mut child = begin(&words[..words.len() - 1]);
    assert!(wait_for_units(&mut child, &target, 2));
    let _ = Command::new("kill")
        .args(["-s", "TERM", &child.id().to_string()])
        .status();
    assert_eq!(ended(child).0, Some(75));
    (path, target)
}

fn resume_words<'a>(path: &'a str, target: &'a Path) -> Vec<&'a str> {
    let target = target.to_str().expect("a plain path");
    vec![
        "reconstruct",
        path,
        "-d",
        "juno",
        "--unit-size",
        "100",
        "--threads",
        "1",
        "-o",
        target,
        "--resume",
    ]
}

#[test]
fn a_run_is_not_resumed_with_changed_settings_or_inputs() {
    let folder = Folder::new();
    let (path, target) = stopped(&folder, "run.dat");
    let words = resume_words(&path, &target);
    let refused = |more: &[&str]| {
        let before = finished(&target);
        run(&[&words[..], more].concat()).refused(2);
        assert_eq!(finished(&target), before, "nothing is thrown away");
    };
    refused(&["--threshold-sigma", "6"]);
    refused(&["--shard", "1/2"]);
    refused(&["--no-events"]);
    // Batches and the handling of errors are nobody's business.
    let manifest = partial(&target).join("manifest.json");
    let text = std::fs::read_to_string(&manifest).expect("a file");
    for (key, this, other) in [
        ("nuwave", format!("\"{}\"", nuwave::VERSION), "\"0.0.1\""),
        (
            "commit",
            format!("\"{}\"", nuwave::COMMIT),
            "\"0123456789ab\"",
        ),
        ("results_version", nuwave::RESULTS_VERSION.to_string(), "0"),
    ] {
        let this = format!("\"{key}\":{this}");
        assert!(text.contains(&this), "{text}");
        let changed = text.replace(&this, &format!("\"{key}\":{other}"));
        std::fs::write(&manifest, changed).expect("a file");
        refused(&[]);
    }
    std::fs::write(&manifest, &text).expect("a file");
    // The same content written again is the same; another is not.
    let bytes = std::fs::read(&path).expect("a file");
    let mut changed = bytes.clone();
    changed[40] ^= 1;
    std::fs::write(&path, &changed).expect("a file");
    refused(&[]);
    std::fs::write(&path, &bytes[..bytes.len() - 5]).expect("a file");
    refused(&[]);
    std::fs::write(&path, &bytes).expect("a file");
    run(&[&words[..], &["--batch", "77", "--on-error", "stop"]].concat()).ended_with(0);
    let fresh = folder.path("fresh");
    run(&resume_words(&path, &fresh)).ended_with(0);
    assert_same(&fresh, &target);
    // So for an output that is finished.
    std::fs::write(&path, &changed).expect("a file");
    run(&words).refused(2);
}

/// An input of which nothing is made yet may change; where that moves the units of a shard, it is refused.
#[test]
fn a_shard_whose_units_are_others_now_is_refused() {
    let folder = Folder::new();
    let first = simulated(&folder, "a.dat", 200, 1);
    let second = simulated(&folder, "b.dat", 400, 2);
    let target = folder.path("out");
    let words = [
        &resume_words(&first, &target)[..],
        &[&second, "--shard", "1/2"],
    ]
    .concat();
    let mut child = begin(&words);
    assert!(wait_for_units(&mut child, &target, 20));
    child.kill().expect("a child");
    child.wait().expect("a child");
    let n_finished = finished(&target);
    // Of `b.dat` three units are left; the first shard is some of those of `a.dat` now.
    let file = std::fs::OpenOptions::new().write(true).open(&second);
    file.expect("a file").set_len(300 * 824).expect("a file");
    run(&words).refused(2);
    assert_eq!(finished(&target), n_finished);
}

/// The natural way to type it: what is in the current folder, into a folder there.
#[test]
fn an_output_inside_a_folder_of_inputs_is_not_an_input_when_it_is_resumed() {
    let folder = Folder::new();
    let runs = folder.path("runs");
    std::fs::create_dir(&runs).expect("a folder");
    let path = simulated(&folder, "runs/a.dat", 800, 1);
    let target = runs.join("out");
    let words = resume_words(runs.to_str().expect("a plain path"), &target);
    let mut child = begin(&words);
    assert!(wait_for_units(&mut child, &target, 2));
    child.kill().expect("a child");
    child.wait().expect("a child");
    run(&words).ended_with(0);
    run(&words).ended_with(0);
    let fresh = folder.path("fresh");
    run(&resume_words(&path, &fresh)).ended_with(0);
    assert_same(&fresh, &target);
}

/// A run that was killed after a unit, its file of waveforms, and its output.
fn killed(folder: &Folder, detector: &str, more: &[&str]) -> (String, std::path::PathBuf) {
    let path = simulated(folder, "run.dat", 150, 7);
    let target = folder.path("out");
    let mut child = begin(&words_with(&path, &target, detector, more));
    assert!(wait_for_units(&mut child, &target, 1));
    child.kill().expect("a child");
    child.wait().expect("a child");
    (path, target)
}

/// Those of [`resume_words`], with another detector.
fn words_with<'a>(
    path: &'a str,
    target: &'a Path,
    detector: &'a str,
    more: &[&'a str],
) -> Vec<&'a str> {
    let mut words = resume_words(path, target);
    let place = words.iter().position(|&word| word == "juno");
    words[place.expect("a detector")] = detector;
    words.extend(more);
    words
}

#[test]
fn a_changed_calibration_under_the_same_name_is_refused() {
    use crate::support::reconstruct::{calibration, pulse, write_calibration};
    use nuwave::model::{Calibration, ChannelCalibration};
    let folder = Folder::new();
    let original = calibration(pulse(100.0, 10.0, 80), 8.0, 1.0, &[]);
    let spe = folder.calibration("spe.parquet", &original);
    let (path, target) = killed(&folder, "juno", &["-c", &spe]);
    let words = words_with(&path, &target, "juno", &["-c", &spe]);
    let changed = |change: &dyn Fn(&mut ChannelCalibration)| {
        let mut row = original.rows()[0].clone();
        change(&mut row);
        let mut other = Calibration::new();
        let row = other.add_row(row).expect("a valid row");
        other.set_default(row);
        other
    };
    let mut with_own_rows = original.clone();
    for channel in 0..16 {
        with_own_rows.assign(channel, 0);
    }
    let n_finished = finished(&target);
    for (what, other) in [
        ("template", changed(&|row| row.template_adc[10] += 1.0)),
        ("length", changed(&|row| row.template_adc.push(0.0))),
        ("noise", changed(&|row| row.noise_adc += 1.0)),
        ("offset", changed(&|row| row.time_offset_ns += 1.0)),
        ("dark rate", changed(&|row| row.dark_rate_hz += 1.0)),
        ("charge spread", changed(&|row| row.charge_sigma_pe += 0.1)),
        ("time spread", changed(&|row| row.time_sigma_ns += 0.1)),
        ("flags", changed(&|row| row.flags |= Flags::PILE_UP)),
        ("rows", with_own_rows),
    ] {
        write_calibration(Path::new(&spe), &other);
        let refused = run(&words).ended_with(2);
        assert!(
            refused.stderr.contains("the calibration was CRC32C"),
            "{what}: {}",
            refused.stderr
        );
        assert_eq!(finished(&target), n_finished, "{what}");
    }
    write_calibration(Path::new(&spe), &original);
    run(&words).ended_with(0);
}

#[test]
fn a_changed_detector_file_is_refused() {
    let folder = Folder::new();
    let text = Run::new(nuwave().args(["detector", "juno"])).stdout;
    let detector = folder.file("lab.toml", text.as_bytes());
    let detector = detector.to_str().expect("a plain path");
    let (path, target) = killed(&folder, detector, &[]);
    let words = words_with(&path, &target, detector, &[]);
    let changed = text.replace("adc_bits = 14", "adc_bits = 13");
    assert_ne!(changed, text);
    std::fs::write(detector, changed).expect("a file");
    run(&words).refused(2);
    std::fs::write(detector, text).expect("a file");
    run(&words).ended_with(0);
}

#[test]
fn an_input_that_changes_during_the_run_is_read_again() {
    for grow in [true, false] {
        let folder = Folder::new();
        let path = simulated(&folder, "run.dat", 800, 3);
        let other = simulated(&folder, "other.h5", 20, 4);
        let target = folder.path("out");
        let words = [&resume_words(&other, &target)[..], &[&path]].concat();
        let mut child = begin(&words);
        // `other` is finished, and some of `path`.
        assert!(wait_for_units(&mut child, &target, 6));
        let n_bytes = std::fs::metadata(&path).expect("a file").len();
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .expect("a file");
        if grow {
            let record = std::fs::read(&path).expect("a file")[..824].to_vec();
            file.write_all(&record).expect("room on the disk");
        } else {
            file.set_len(n_bytes / 2 / 824 * 824).expect("a file");
        }
        let (code, said) = ended(child);
        assert_eq!(code, Some(75), "{said}");
        let what = if grow { "grew" } else { "shrank" };
        assert!(
            said.contains(what) && said.contains("run.dat") && said.contains("--resume"),
            "{said}"
        );
        assert!(!target.exists());
        run(&words).ended_with(0);
        let fresh = folder.path("fresh");
        run(&[&resume_words(&other, &fresh)[..], &[&path]].concat()).ended_with(0);
        assert_same(&fresh, &target);
        assert_nothing_temporary(&target);
    }
}

/// A file with a record in the middle that cannot be used.
fn with_a_bad_record(folder: &Folder) -> String {
    let path = simulated(folder, "bad.dat", 60, 5);
    let mut bytes = std::fs::read(&path).expect("a file");
    let record = 24 + 2 * 400;
    let at = 500 * record;
    // One of only 20 samples.
    let mut short = bytes[at..at + 24].to_vec();
    short[..4].copy_from_slice(&64_u32.to_le_bytes());
    short.extend([0; 40]);
    bytes.splice(at..at + record, short);
    std::fs::write(&path, bytes).expect("a file");
    path
}

#[test]
fn the_first_loss_ends_a_run_that_is_told_so_and_skipping_resumes_it() {
    let folder = Folder::new();
    let path = with_a_bad_record(&folder);
    let target = folder.path("out");
    let words = resume_words(&path, &target);
    let run_with = |what: &'static str| run(&[&words[..], &["--on-error", what]].concat());
    let place = format!("record 500 at byte {}", 500 * 824);
    for _ in 0..2 {
        run_with("stop").refused(3);
        assert!(!target.exists());
        assert_eq!(finished(&target), 4, "those before the record");
    }
    run_with("skip").ended_with(4);
    let found = output(&target);
    assert_eq!(found.waveforms.len(), 60 * 16 - 1);
    assert_eq!(found.report["losses"][0]["place"], place.as_str());
    let fresh = folder.path("fresh");
    run(&resume_words(&path, &fresh)).ended_with(4);
    assert_same(&fresh, &target);
}

#[test]
fn inputs_that_cannot_be_opened_are_listed_where_they_are_to_be_skipped() {
    let folder = Folder::new();
    let good = testdata("juno64.h5")
        .to_str()
        .expect("a plain path")
        .to_owned();
    let bad = folder
        .file("bad.h5", b"Dear colleague,\n")
        .to_str()
        .expect("a plain path")
        .to_owned();
    let other = folder
        .file("other.h5", b"Dear colleague, \n")
        .to_str()
        .expect("a plain path")
        .to_owned();
    let target = folder.path("out");
    let of = |target: &Path, more: &[&str]| {
        Run::new(
            nuwave()
                .args(["reconstruct", &bad, &good, &other])
                .args(more)
                .arg("-o")
                .arg(target),
        )
    };
    of(&target, &[]).refused(3);
    of(&target, &["--on-error", "stop"]).refused(3);
    let run = of(&target, &["--on-error", "skip"]).ended_with(4);
    assert!(run.stderr.contains("bad.h5"), "{}", run.stderr);
    let text = std::fs::read_to_string(target.join("report.json")).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["totals"]["lost"], 2);
    assert_eq!(report["totals"]["waveforms"], 1024);
    assert!(
        report["inputs"][2]["cut"]
            .as_str()
            .is_some_and(|cut| cut.contains("not in a format"))
    );
    // A name that is wrong is never skipped, and without any input there is nothing to do.
    let absent = folder.path("absent.h5");
    let words = [
        "reconstruct",
        &good,
        absent.to_str().expect("a plain path"),
        "--on-error",
        "skip",
        "-o",
    ];
    Run::new(nuwave().args(words).arg(folder.path("no"))).refused(3);
    let words = ["reconstruct", &bad, "--on-error", "skip", "-o"];
    Run::new(nuwave().args(words).arg(folder.path("no"))).refused(3);
}

#[test]
fn a_record_without_its_final_name_is_ignored() {
    let folder = Folder::new();
    let (path, target) = stopped(&folder, "run.arrow");
    let units = partial(&target).join("units");
    let mut records: Vec<_> = std::fs::read_dir(&units)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    records.sort();
    let last = records.pop().expect("a finished unit");
    let name = last.file_name().expect("a name").to_string_lossy();
    std::fs::rename(&last, units.join(format!(".{name}.a1b2c3.tmp"))).expect("renamed");
    let again = run(&resume_words(&path, &target)).ended_with(0);
    let finished = format!("resuming: {} of ", records.len());
    assert!(again.stderr.contains(&finished), "{}", again.stderr);
    assert_nothing_temporary(&target);
    let undisturbed = folder.path("undisturbed");
    run(&resume_words(&path, &undisturbed)).ended_with(0);
    assert_same(&undisturbed, &target);
}

#[test]
fn overwrite_discards_an_unfinished_run() {
    let folder = Folder::new();
    let (path, target) = stopped(&folder, "run.arrow");
    let mut words = resume_words(&path, &target);
    words.pop();
    words.extend(["--overwrite", "--threshold-sigma", "6"]);
    let again = run(&words).ended_with(0);
    assert!(!again.stderr.contains("resuming"), "{}", again.stderr);
    assert_nothing_temporary(&target);
    // A folder of that name that holds something else is left alone.
    let other = folder.path("other");
    std::fs::create_dir(partial(&other)).expect("a folder");
    std::fs::write(partial(&other).join("thesis.tex"), "").expect("a file");
    let mut words = resume_words(&path, &other);
    words.push("--overwrite");
    run(&words).refused(5);
    assert!(partial(&other).join("thesis.tex").exists());
}

#[test]
fn a_log_says_how_far_it_is() {
    let job = Job::new(120);
    let target = job.folder.path("out");
    let said = run(&job.words(&target, &["--progress-interval", "50ms"]))
        .ended_with(0)
        .stderr;
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.contains(" units, "))
        .collect();
    assert!(lines.len() > 2, "{said}");
    // The time left is stated once a unit is done.
    let parts = ["waveforms", "per second", "s left", "MiB"];
    let is_whole = |line: &&str| parts.iter().all(|part| line.contains(part));
    assert!(lines.iter().any(is_whole), "{said}");
    let report = output(&target).report;
    let units = report["timings"]["units"]
        .as_array()
        .expect("units")
        .clone();
    assert_eq!(
        units.len(),
        report["units"].as_array().expect("units").len()
    );
    assert!(units.iter().all(
        |unit| unit["took_s"].as_f64() > Some(0.0) && unit["resident_mib"].as_f64() > Some(1.0)
    ));
    run(&job.words(&target, &["--overwrite", "--progress-interval", "0s"])).refused(2);
}
