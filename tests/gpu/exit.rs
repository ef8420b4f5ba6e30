//! The end of the process while a GPU's driver is still busy: the exit code is the result's, and no crash. Needs a GPU adapter,
//! software included, and a C compiler.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::reconstruct::{Run, nuwave, output, shared_library, testdata};
use crate::support::service::{Server, infer, request};

const DESTROYED: &str = "device destroyed";

/// A library that makes any driver slow.
fn slow_driver(folder: &Path) -> PathBuf {
    shared_library(folder, "support/slow_driver.c")
}

/// A pass in which the GPU is given up, its driver taking `ms` to release a device.
fn given_up(folder: &Path, ms: u32) -> Run {
    let faults: Vec<String> = (0..60).map(|step| format!("lose@{step}")).collect();
    let mut command = nuwave();
    command
        .args(["reconstruct", "--backend", "gpu", "--batch", "128"])
        .arg(testdata("juno64.h5"))
        .arg("-o")
        .arg(folder.join("out"))
        .env("NUWAVE_GPU_FAULTS", faults.join(","))
        .env("LD_PRELOAD", slow_driver(folder))
        .env("NUWAVE_SLOW_DRIVER_MS", ms.to_string());
    Run::new(&mut command)
}

#[test]
#[ignore = "needs a GPU adapter"]
fn the_process_waits_for_a_slow_driver() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = given_up(folder.path(), 700).ended_with(6);
    assert_eq!(run.stderr.matches(DESTROYED).count(), 3, "{}", run.stderr);
    assert!(!output(&folder.path().join("out")).hits.is_empty());
}

#[test]
#[ignore = "needs a GPU adapter"]
fn the_process_does_not_wait_forever() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = Instant::now();
    let run = given_up(folder.path(), 300_000).ended_with(6);
    assert!(start.elapsed() < Duration::from_secs(60));
    assert!(!run.stderr.contains(DESTROYED), "{}", run.stderr);
    assert!(!output(&folder.path().join("out")).hits.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a GPU adapter"]
async fn a_service_waits_for_a_slow_driver() {
    let folder = tempfile::tempdir().expect("a folder");
    let library = slow_driver(folder.path());
    let environment = [
        ("LD_PRELOAD", library.to_str().expect("text")),
        ("NUWAVE_SLOW_DRIVER_MS", "700"),
    ];
    let mut server = Server::start_with(&["--backend", "gpu"], &environment);
    let channel = server.channel().await;
    infer(&channel, request("one", 20, 1))
        .await
        .expect("an answer");
    drop(channel);
    server.signal("-TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
}
