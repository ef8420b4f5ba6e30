//! `nuwave bench` with a GPU, software included.

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_nuwave"))
        .current_dir(folder.path())
        .args(["bench", "--backend", "gpu"])
        .args(arguments)
        .output()
        .unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = bench(&[arguments, &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
#[ignore = "needs a GPU adapter"]
fn a_quick_run_times_kernels_batches_and_streams() {
    let json = json(&["--quick", "--batch", "128"]);
    let rows = json["rows"].as_array().unwrap();
    let of = |what: &str, stages: bool| {
        rows.iter()
            .filter(|row| row["measurement"] == what && row["stage"].is_null() != stages)
            .count()
    };
    assert_eq!(of("gpu-one-batch", false), 1);
    assert_eq!(of("gpu-stream", false), 1);
    assert!(json["limits"]["gpu"]["upload_gb_s"].as_f64().unwrap() > 0.0);
    let features = json["adapter"]["features"].as_array().unwrap();
    let timed = features.iter().any(|feature| feature == "timestamps");
    assert_eq!(of("gpu-kernel", false), usize::from(timed));
    assert_eq!(of("gpu-kernel", true), if timed { 8 } else { 0 });
    for row in rows {
        assert!(
            row["waveforms_s"]["median"].as_f64().unwrap() > 0.0,
            "{row}"
        );
    }
}

#[test]
#[ignore = "needs a GPU adapter"]
fn the_hits_of_cpu_and_gpu_are_compared() {
    let arguments = [
        "--compare",
        "--waveforms",
        "300",
        "--method",
        "deconvolution",
    ];
    let json = json(&arguments);
    assert_eq!(json["holds"], true);
    let row = &json["rows"][0];
    assert_eq!(row["waveforms"], 300);
    assert!(row["on_gpu"].as_u64().unwrap() > 200);
    assert!(row["hits"].as_u64().unwrap() > 300);

    let text = bench(&[&arguments[..], &["--by-stage"]].concat());
    assert!(text.status.success());
    let text = String::from_utf8(text.stdout).unwrap();
    for stage in [
        "load_samples",
        "baseline",
        "decimate",
        "deconvolve",
        "residual_baseline",
        "hit_finding",
        "charge",
        "time",
    ] {
        assert!(text.lines().any(|line| line.starts_with(stage)), "{text}");
    }
}

#[test]
#[ignore = "needs a GPU adapter"]
fn lengths_that_the_gpu_does_not_take_are_refused() {
    let output = bench(&["--compare", "--lengths", "1000,5000"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("5000 samples"));
}
