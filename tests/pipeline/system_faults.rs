//! Failing system calls during a run: a full disk, errors of reading and writing, a read-only output. Each ends
//! the run with the code that the README gives, leaves nothing half-done under a final name, and resumes to the same bytes.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};

use crate::support::reconstruct::shared_library;
use crate::support::units::{
    Folder, Run, assert_nothing_temporary, assert_same, finished, nuwave, partial, simulated,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// A job, what it makes undisturbed, and the library that disturbs it.
struct Bench {
    folder: Folder,
    inputs: Vec<String>,
    expected: PathBuf,
    faults: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = Folder::new();
        let faults = shared_library(&folder.path(""), "support/system_faults.c");
        let inputs = vec![
            simulated(&folder, "a.dat", 40, 1),
            simulated(&folder, "b.h5", 40, 2),
        ];
        let expected = folder.path("expected");
        let bench = Self {
            folder,
            inputs,
            expected,
            faults,
        };
        bench.run(&bench.expected, None, &[]).ended_with(0);
        bench
    }

    fn run(&self, target: &Path, fault: Option<(&str, u32, i32, &str)>, more: &[&str]) -> Run {
        let mut command = nuwave();
        command.arg("reconstruct").args(&self.inputs);
        command
            .args(["-d", "juno", "--unit-size", "200", "--threads", "1"])
            .args(more)
            .arg("-o")
            .arg(target);
        if let Some((call, n, errno, name)) = fault {
            command.env("LD_PRELOAD", &self.faults);
            command.env("NUWAVE_SYSTEM_FAULT", format!("{call}:{n}:{errno}:{name}"));
        }
        Run::new(&mut command)
    }

    /// Runs into a fault and out of it again; says after how many units it came, if it came.
    fn disturbed(&self, name: &str, fault: (&str, u32, i32, &str), code: i32) -> Option<usize> {
        let target = self.folder.path(name).join("out");
        std::fs::create_dir(self.folder.path(name)).expect("a folder");
        let run = self.run(&target, Some(fault), &[]);
        if run.code == Some(0) {
            // There are fewer calls than that.
            assert_same(&self.expected, &target);
            return None;
        }
        let run = run.refused_with(code, &[]);
        assert!(!target.exists(), "{fault:?}: {}", run.stderr);
        let n_finished = finished(&target);
        assert!(
            n_finished == 0 || run.stderr.contains("--resume"),
            "{fault:?}: {}",
            run.stderr
        );
        assert!(n_finished > 0 || !partial(&target).exists(), "{fault:?}");
        self.run(&target, None, &["--resume"]).ended_with(0);
        assert_same(&self.expected, &target);
        assert_nothing_temporary(&target);
        Some(n_finished)
    }

    /// The same with a fault at the first call, the second, .. until one is too many; the numbers of units they came after.
    fn at_each(&self, call: &str, errno: i32, name: &str, code: i32, step: usize) -> Vec<usize> {
        let mut after = Vec::new();
        for n in (1..).step_by(step) {
            let folder = format!("{call}-{errno}-{}-{n}", name.replace(['/', '.'], "_"));
            match self.disturbed(&folder, (call, n, errno, name), code) {
                Some(n_finished) => after.push(n_finished),
                None => return after,
            }
        }
        after
    }
}

#[test]
fn a_full_disk_ends_a_run_which_resumes() {
    let bench = Bench::new();
    // All that is written, from the first byte to the report.
    let after = bench.at_each("write", ENOSPC, "out.partial", 5, 4);
    assert!(after.len() > 5 && after.iter().any(|&n| n > 3), "{after:?}");
    // The report alone.
    assert_eq!(bench.at_each("write", ENOSPC, "report.json", 5, 1)[0], 8);
}

#[test]
fn errors_of_flushing_and_renaming_end_a_run_which_resumes() {
    let bench = Bench::new();
    let after = bench.at_each("fsync", EIO, "out", 5, 7);
    assert!(after.len() > 3, "{after:?}");
    // The last step, which gives the output its name.
    assert_eq!(bench.at_each("rename", EIO, "/out", 5, 1), [8]);
}

#[test]
fn errors_of_reading_end_a_run_which_resumes() {
    let bench = Bench::new();
    // An HDF5 file is read in many more pieces.
    for (name, step) in [("a.dat", 3), ("b.h5", 8)] {
        let mut after = Vec::new();
        for n in (1..).step_by(step) {
            // The name of the input must not be in that of the output.
            let target = bench.folder.path(&format!("out-{}-{n}", &name[..1]));
            let run = bench.run(&target, Some(("read", n, EIO, name)), &[]);
            // There are fewer calls than that.
            let is_last = run.code == Some(0);
            if !is_last {
                run.refused_with(75, &[name, "os error 5", "--resume"]);
                assert!(!target.exists());
                after.push(finished(&target));
                bench.run(&target, None, &["--resume"]).ended_with(0);
            }
            assert_same(&bench.expected, &target);
            assert_nothing_temporary(&target);
            if is_last {
                break;
            }
        }
        assert!(after.iter().any(|&n| n > 0), "{name}: {after:?}");
    }
}

#[test]
fn a_read_only_output_is_refused_before_anything_is_done() {
    let bench = Bench::new();
    let target = bench.folder.path("out");
    for call in ["mkdir", "open"] {
        let run = bench.run(&target, Some((call, 1, EROFS, "out.partial")), &[]);
        run.refused_with(5, &["out.partial", "Read-only file system"]);
        assert!(!target.exists() && finished(&target) == 0);
    }
    bench.run(&target, None, &["--resume"]).ended_with(0);
    assert_same(&bench.expected, &target);
}
