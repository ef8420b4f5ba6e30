//! The workflow for production: a pass under Snakemake that is killed gives the same output as an uninterrupted one.
//! Needs Snakemake, in `PATH` or named by `SNAKEMAKE`, and Python.
#![cfg(unix)]

use std::process::Command;

#[test]
#[ignore = "needs snakemake"]
fn a_killed_pass_gives_the_output_of_an_uninterrupted_one() {
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
