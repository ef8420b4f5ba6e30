//! Settings and targets that `nuwave reconstruct` refuses: exit code, message, nothing left.

use std::path::PathBuf;
use std::process::Command;

use crate::support::reconstruct::{Folder, Run, names_in, nuwave, output, reconstruct, testdata};

#[test]
fn wrong_settings_are_refused_before_anything_is_written() {
    let folder = Folder::new();
    let input = testdata("juno64.h5");
    let target = folder.path("out");
    let with = |more: &[&str]| reconstruct(&[&input], &target, more);
    with(&["--threads", "0"]).refused(2);
    with(&["--threads", "100000"]).refused(2);
    // With a GPU or without.
    with(&["--adapter", "nosuch"]).refused_with(6, &["there is no", "hint: ", "--backend cpu"]);
    with(&["--threshold-sigma", "0"]).refused(2);
    with(&["--filter", "boxcar"]).refused(2);
    with(&["--detector", "nemo"]).refused(2);
    with(&["--sampling-ns=-1"]).refused(2);
    with(&["--columns", "event"]).refused(2);
    with(&["--config", "absent.toml"]).refused(2);
    let unknown = folder.file("unknown.toml", b"tresh = 3\n");
    with(&["--config", unknown.to_str().expect("a plain path")]).refused(2);
    let wrong = folder.file("wrong.toml", b"threads = 2\nthreshold_sigma = \"high\"\n");
    with(&["--config", wrong.to_str().expect("a plain path")]).refused(2);
    Run::new(nuwave().args(["reconstruct", "-o"]).arg(&target)).refused(2);
    Run::new(nuwave().arg("reconstruct").arg(&input)).refused(2);
    assert_eq!(names_in(folder.0.path()), ["unknown.toml", "wrong.toml"]);
}

#[test]
fn an_output_that_exists_is_replaced_only_when_asked_and_only_if_it_is_one() {
    let folder = Folder::new();
    let input = testdata("juno8-npz.npz");
    let target = folder.path("out");
    reconstruct(&[&input], &target, &[]).ended_with(0);
    let before = std::fs::read(target.join("report.json")).expect("a report");
    reconstruct(&[testdata("juno64.h5")], &target, &[]).refused(5);
    assert_eq!(
        std::fs::read(target.join("report.json")).expect("a report"),
        before
    );
    // A run that fails leaves the old output alone even if it may replace it.
    let empty = folder.file("empty.h5", b"");
    reconstruct(&[&empty], &target, &["-d", "juno", "--overwrite"]).refused(3);
    assert_eq!(
        std::fs::read(target.join("report.json")).expect("a report"),
        before
    );
    reconstruct(&[testdata("juno64.h5")], &target, &["--overwrite"]).ended_with(0);
    assert_eq!(output(&target).waveforms.len(), 1024);
    // Something of the user's own in it: left alone.
    std::fs::write(target.join("thesis.txt"), "ten years").expect("room on the disk");
    reconstruct(&[&input], &target, &["--overwrite"]).refused(5);
    assert_eq!(
        std::fs::read_to_string(target.join("thesis.txt")).expect("the file"),
        "ten years"
    );
    assert_eq!(
        names_in(&target),
        ["events", "hits", "report.json", "thesis.txt", "waveforms"]
    );
    let home = folder.path("home");
    std::fs::create_dir_all(home.join("hits")).expect("a folder");
    reconstruct(&[&input], &home, &["--overwrite"]).refused(5);
    assert_eq!(names_in(folder.0.path()), ["empty.h5", "home", "out"]);
}

#[test]
fn a_target_that_cannot_be_written_is_an_output_error() {
    let folder = Folder::new();
    let input = testdata("juno8-npz.npz");
    let in_the_way = folder.file("a-file", b"");
    let mut targets = vec![in_the_way.join("out"), in_the_way];
    if cfg!(target_os = "linux") {
        // Nobody may write here, not even root.
        targets.extend([PathBuf::from("/proc/out"), PathBuf::from("/sys/kernel/out")]);
    }
    for target in targets {
        let named = target
            .parent()
            .expect("a parent")
            .to_string_lossy()
            .into_owned();
        reconstruct(&[&input], &target, &[]).refused_with(5, &[&named]);
    }
    assert_eq!(names_in(folder.0.path()), ["a-file"]);
}

/// Data and messages of a command whose streams cannot be written.
#[cfg(target_os = "linux")]
#[test]
fn streams_on_a_full_disk_end_no_run_but_are_not_passed_over() {
    use std::process::Stdio;
    let folder = Folder::new();
    let full = || {
        Stdio::from(
            std::fs::File::options()
                .write(true)
                .open("/dev/full")
                .expect("Linux has it"),
        )
    };
    let mut command = nuwave();
    command
        .arg("reconstruct")
        .arg(testdata("juno64.h5"))
        .arg("-o")
        .arg(folder.path("out"));
    let status = command.stderr(full()).status().expect("runs");
    assert_eq!(status.code(), Some(0), "messages are not the result");
    assert_eq!(output(&folder.path("out")).waveforms.len(), 1024);
    // Nor is the summary: the result is in the folder.
    let mut command = nuwave();
    command
        .arg("reconstruct")
        .arg(testdata("juno64.h5"))
        .arg("-o")
        .arg(folder.path("other"));
    let status = command.stdout(full()).status().expect("runs");
    assert_eq!(status.code(), Some(0));
    let printing: [&[&str]; 3] = [
        &["reconstruct", "--print-config"],
        &["simulate", "waveforms", "--print-config"],
        &["detector", "juno"],
    ];
    for arguments in printing {
        let mut command = nuwave();
        command.args(arguments).stdout(full());
        Run::new(&mut command).refused_with(5, &["stdout cannot be written"]);
    }
}

/// A disk that is full, as a limit on the size of files makes it.
#[cfg(unix)]
#[test]
fn a_full_disk_is_an_output_error_and_leaves_nothing() {
    let folder = Folder::new();
    let target = folder.path("out");
    let blocks = |blocks: &str, more: &[&str]| {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        Run::new(
            Command::new("sh")
                .args([
                    "-c",
                    &script,
                    "sh",
                    env!("CARGO_BIN_EXE_nuwave"),
                    "reconstruct",
                ])
                .arg(testdata("juno64.h5"))
                .args(more)
                .arg("-o")
                .arg(&target),
        )
    };
    // From nothing at all up to all but the report, which has some kilobytes less than the tables.
    for limit in ["0", "1", "8"] {
        blocks(limit, &[]).refused_with(5, &["out", "cannot be written", "too large"]);
        assert!(
            names_in(folder.0.path()).is_empty(),
            "{limit}: {:?}",
            names_in(folder.0.path())
        );
    }
    blocks("1000", &[]).ended_with(0);
    let before = std::fs::read(target.join("report.json")).expect("a report");
    blocks("8", &["--overwrite", "--method", "coti"]).refused_with(5, &["out"]);
    assert_eq!(
        std::fs::read(target.join("report.json")).expect("a report"),
        before
    );
    assert_eq!(names_in(folder.0.path()), ["out"]);
}
