//! The choice of the backend on a machine without a GPU: a Vulkan loader that finds no driver.

use std::process::Command;

use crate::support::reconstruct::{Run, nuwave, output, testdata};

/// nuwave where there is no Vulkan driver.
fn without_gpu() -> Command {
    let mut command = nuwave();
    command
        .env("VK_DRIVER_FILES", "/dev/null")
        .env("VK_ICD_FILENAMES", "/dev/null");
    command
}

#[test]
fn a_gpu_that_is_demanded_and_not_there_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let result = folder.path().join("result");
    let mut command = without_gpu();
    command
        .args(["reconstruct", "--backend", "gpu"])
        .arg(testdata("juno64.h5"))
        .arg("-o")
        .arg(&result);
    Run::new(&mut command).refused(6);
    assert!(!result.exists());
    let mut command = without_gpu();
    command
        .args(["reconstruct", "--backend", "cpu", "--adapter", "0"])
        .arg(testdata("juno64.h5"))
        .arg("-o")
        .arg(&result);
    Run::new(&mut command).refused(2);
}

#[test]
fn a_comparison_without_a_gpu_names_a_software_one() {
    let mut command = without_gpu();
    Run::new(command.args(["bench", "--compare", "--quick"])).refused(6);
}

#[test]
fn auto_takes_the_cpu_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let result = folder.path().join("result");
    let mut command = without_gpu();
    command
        .arg("reconstruct")
        .arg(testdata("juno64.h5"))
        .arg("-o")
        .arg(&result);
    let run = Run::new(&mut command).ended_with(0);
    assert!(
        run.stderr.contains("backend: cpu (there is no GPU)"),
        "{}",
        run.stderr
    );
    let report = output(&result).report;
    assert_eq!(report["backend"], "cpu");
    assert!(report["gpu"].is_null() && report["adapter"].is_null());
}

#[test]
fn devices_says_that_there_are_none() {
    let mut command = without_gpu();
    command.arg("devices");
    let run = Run::new(&mut command).ended_with(0);
    assert!(
        run.stdout.contains("no GPU adapter") && run.stdout.contains("auto takes backend cpu"),
        "{}",
        run.stdout
    );
    let mut command = without_gpu();
    command.args(["devices", "--json"]);
    let run = Run::new(&mut command).ended_with(0);
    let listing: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(listing["adapters"], serde_json::json!([]));
    assert!(listing["auto"].is_null());
}
