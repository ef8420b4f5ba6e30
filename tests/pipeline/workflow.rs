//! The workflow for production: a pass under Snakemake that is killed in the middle makes what an undisturbed one makes.
//! Needs Snakemake, in `PATH` or named by `SNAKEMAKE`, and Python.
#![cfg(unix)]

use std::process::Command;

#[test]
#[ignore = "needs snakemake"]
fn a_pass_that_is_killed_makes_what_an_undisturbed_one_makes() {
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/workflow/test"))
        .env("NUWAVE", env!("CARGO_BIN_EXE_nuwave"))
        .output()
        .expect("bash");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
