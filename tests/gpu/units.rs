//! Units on a GPU, software included: sharded or resumed, the output is byte-identical to that of a single pass, and the units are
//! those of a machine without a GPU.

use std::path::Path;

use crate::support::units::{
    Folder, Run, assert_nothing_temporary, assert_same, begin, nuwave, simulated, wait_for_units,
};
use serde_json::Value;

fn words<'a>(inputs: &'a [String], target: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["reconstruct", "-d", "juno", "--unit-size", "200", "-o"];
    words.push(target.to_str().expect("a plain path"));
    words.extend(inputs.iter().map(String::as_str));
    words.extend(more);
    words
}

fn units(target: &Path) -> Value {
    let text = std::fs::read_to_string(target.join("report.json")).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let units = report["units"].as_array().expect("units").iter();
    units
        .map(|unit| {
            serde_json::json!([
                unit["input_id"],
                unit["block"],
                unit["waveforms"],
                unit["event_ids"],
                unit["read"]
            ])
        })
        .collect()
}

#[test]
#[ignore = "needs a GPU adapter"]
fn shards_and_resumed_runs_of_a_gpu_are_its_single_pass() {
    let folder = Folder::new();
    let inputs = [
        simulated(&folder, "a.dat", 60, 1),
        simulated(&folder, "b.h5", 60, 2),
    ];
    let run = |target: &Path, more: &[&str]| {
        Run::new(nuwave().args(words(&inputs, target, more))).ended_with(0);
    };
    let single = folder.path("single");
    run(&single, &["--backend", "gpu"]);
    let shards = ["1/3", "2/3", "3/3"].map(|shard| {
        let target = folder.path(&shard[..1]);
        run(&target, &["--backend", "gpu", "--shard", shard]);
        target
    });
    let merged = folder.path("merged");
    Run::new(nuwave().arg("merge").args(&shards).arg("-o").arg(&merged)).ended_with(0);
    assert_same(&single, &merged);

    let resumed = folder.path("resumed");
    let mut child = begin(&words(&inputs, &resumed, &["--backend", "gpu"]));
    wait_for_units(&mut child, &resumed, 3);
    let _ = child.kill();
    child.wait().expect("a child");
    run(&resumed, &["--backend", "gpu", "--resume"]);
    for table in ["hits", "waveforms", "events"] {
        let parts = |folder: &Path| crate::support::units::content(&folder.join(table));
        assert!(parts(&single) == parts(&resumed), "{table}");
    }
    assert_nothing_temporary(&resumed);

    let cpu = folder.path("cpu");
    run(&cpu, &["--backend", "cpu"]);
    assert_eq!(units(&single), units(&cpu));
}

#[test]
#[ignore = "needs a GPU adapter"]
fn a_warning_of_the_gpu_backend_reaches_the_user() {
    let folder = Folder::new();
    let inputs = [simulated(&folder, "a.dat", 60, 1)];
    let target = folder.path("out");
    let words = words(&inputs, &target, &["--backend", "gpu", "--quiet"]);
    let mut command = nuwave();
    let command = command.args(words).env("NUWAVE_GPU_FAULTS", "lose@1");
    let stderr = Run::new(command).ended_with(0).stderr;
    // The summary at the end says that the GPU failed; the backend says it at once, and how.
    let at_once = stderr
        .lines()
        .find(|line| line.starts_with("warning: ") && !line.contains("the GPU failed"));
    assert!(at_once.is_some(), "{stderr}");
}
