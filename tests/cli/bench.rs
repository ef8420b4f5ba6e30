//! `nuwave bench` on the CPU: a table, JSON, files, refusals.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::reconstruct::Run;

fn bench(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nuwave"))
        .current_dir(folder)
        .arg("bench")
        .args(arguments)
        .output()
        .unwrap()
}

fn quick(folder: &Path, more: &[&str]) -> String {
    let output = bench(folder, &[&["--backend", "cpu", "--quick"], more].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(arguments: &[&str], code: i32) {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::from(bench(folder.path(), arguments)).refused(code);
    assert!(run.stdout.is_empty(), "{arguments:?}");
}

#[test]
fn a_quick_run_prints_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let table = quick(folder.path(), &["--mean-pe", "0,5", "--lengths", "256"]);
    for expected in [
        "CPU, 1 thread",
        "256 samples per waveform, batches of 256",
        "of host copies",
        "deconvolve",
        "mean PE 5",
    ] {
        assert!(table.contains(expected), "no `{expected}` in\n{table}");
    }
    assert!(!table.contains("GPU, "), "{table}");
    let table = quick(folder.path(), &["--threads", "1"]);
    assert!(!table.contains("1 threads"), "{table}");
}

#[test]
fn the_json_has_positive_rates_and_says_where_they_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--json", "--threads", "2", "--method", "coti"];
    let json: Value = serde_json::from_str(&quick(folder.path(), &more)).unwrap();
    let rows = json["rows"].as_array().unwrap();
    let whole: Vec<&Value> = rows.iter().filter(|row| row["stage"].is_null()).collect();
    assert_eq!(whole.len(), 2);
    for row in rows {
        let rate = |key: &str| row["waveforms_s"][key].as_f64().unwrap();
        assert!(rate("median") > 0.0, "{row}");
        assert!(
            rate("p10") <= rate("median") && rate("median") <= rate("p90"),
            "{row}"
        );
        assert!(row["input_gb_s"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["batch_ms"]["median"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(row["mean_pe"], "mix");
    }
    assert!(whole[0]["share_of_limit"].as_f64().unwrap() > 0.0);
    assert_eq!(whole[0]["limit"], "host-copy");
    assert_eq!(json["settings"]["method"], "coti");
    assert_eq!(json["settings"]["threads"], 2);
    assert_eq!(json["nuwave"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["adapter"], Value::Null);
    assert!(json["limits"]["host_copy_gb_s"].as_f64().unwrap() > 0.0);
    let date = json["date_utc"].as_str().unwrap();
    assert!(date.starts_with("20") && date.ends_with('Z'), "{date}");
    assert!(json["machine"]["cores"].as_u64().unwrap() >= 1);
}

#[test]
fn a_folder_gets_all_three_files_and_is_replaced_only_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let table = quick(folder.path(), &["-o", "out"]);
    let read = |name: &str| std::fs::read_to_string(folder.path().join("out").join(name)).unwrap();
    assert_eq!(read("bench.txt"), table);
    serde_json::from_str::<Value>(&read("bench.json")).unwrap();
    assert!(read("bench.svg").contains("CPU, 1 thread"));
    let again = ["--backend", "cpu", "--quick", "-o", "out"];
    let output = bench(folder.path(), &again);
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--overwrite"));
    quick(folder.path(), &["-o", "out", "--overwrite"]);
}

#[test]
fn wrong_arguments_are_refused_by_name() {
    refused(&["--mean-pe", "x"], 2);
    refused(&["--mean-pe", "1,-2"], 2);
    refused(&["--backend", "cpu", "--batch", "0"], 2);
    refused(&["--backend", "cpu", "--repetitions", "0"], 2);
    refused(&["--backend", "cpu", "--lengths", "5"], 2);
    refused(&["--backend", "cpu", "--detector", "nowhere"], 2);
    refused(&["--backend", "cpu", "--adapter", "0"], 2);
    refused(&["--backend", "cpu", "--compare"], 2);
    refused(&["--by-stage"], 2);
    refused(
        &[
            "--batch",
            "1000000",
            "--lengths",
            "4000",
            "--backend",
            "cpu",
        ],
        2,
    );
}

#[test]
fn an_adapter_that_is_not_there_is_a_gpu_error() {
    for backend in ["auto", "gpu"] {
        let arguments = ["--backend", backend, "--adapter", "no such adapter"];
        for more in [&[][..], &["--compare"]] {
            let folder = tempfile::tempdir().unwrap();
            // The text differs where there is no adapter at all.
            let run = Run::from(bench(folder.path(), &[&arguments[..], more].concat()))
                .refused_with(6, &["adapter", "hint: "]);
            assert!(run.stdout.is_empty(), "{arguments:?}");
        }
    }
}
