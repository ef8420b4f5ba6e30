//! `nuwave inspect` of hits and events, and the picture of an event.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Float64Array, RecordBatch, UInt32Array, UInt64Array};
use nuwave::model::Flags;
use parquet::arrow::ArrowWriter;
use serde_json::Value;

use crate::support::reconstruct::Run;

/// PMTs of the preset `jinping`, which has rings on a sphere.
const DETECTOR: &str = "jinping";

fn sensors() -> usize {
    let detector = nuwave::detector::load(DETECTOR).unwrap();
    detector.sensors().unwrap().len()
}

fn write_table(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

fn numbers(values: Vec<f64>) -> ArrayRef {
    Arc::new(Float64Array::from(values))
}

/// Events 3, 7 and 20 with a hit in every other channel, and one in a channel that no detector has.
fn write_hits(path: &Path) {
    let mut rows: Vec<(u64, u32)> = [3, 7, 20]
        .into_iter()
        .flat_map(|event| {
            (0..sensors() as u32)
                .step_by(2)
                .map(move |channel| (event, channel))
        })
        .collect();
    rows.push((20, 999_999));
    let zeros: ArrayRef = Arc::new(UInt32Array::from(vec![0; rows.len()]));
    let floats = |of: fn(u32) -> f32| -> ArrayRef {
        Arc::new(Float32Array::from_iter_values(
            rows.iter().map(|row| of(row.1)),
        ))
    };
    write_table(
        path,
        vec![
            ("input_id", Arc::clone(&zeros)),
            (
                "event_id",
                Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.0))),
            ),
            (
                "channel_id",
                Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.1))),
            ),
            ("time_ns", floats(|channel| 300.0 + (channel % 40) as f32)),
            ("charge_pe", floats(|channel| 0.5 + (channel % 8) as f32)),
            ("flags", zeros),
        ],
    );
}

/// A folder of events made from `hits.parquet` next to it, as `reconstruct --from hits` leaves it. Event 20 is not known.
fn write_events(dir: &Path) {
    let nan = f64::NAN;
    let of = |first: f64, second: f64| numbers(vec![first, second, nan]);
    let flags = [
        Flags::NONE,
        Flags::NO_LIGHT_MAPS | Flags::NOT_CONVERGED,
        Flags::TOO_FEW_HITS,
    ];
    write_table(
        &dir.join("events/part-00000-00000.parquet"),
        vec![
            ("input_id", Arc::new(UInt32Array::from(vec![0; 3]))),
            ("event_id", Arc::new(UInt64Array::from(vec![3, 7, 20]))),
            ("x_mm", of(100.0, -312.0)),
            ("y_mm", of(50.0, 40.0)),
            ("z_mm", of(0.0, 271.0)),
            ("time_ns", of(300.0, 301.25)),
            ("energy_mev", of(1.0, 2.5)),
            ("x_sigma_mm", of(10.0, 11.0)),
            ("y_sigma_mm", of(10.0, 12.0)),
            ("z_sigma_mm", of(10.0, 13.0)),
            ("time_sigma_ns", of(0.3, 0.4)),
            ("energy_sigma_mev", of(0.1, 0.125)),
            ("charge_pe", numbers(vec![60.0, 150.0, 0.0])),
            (
                "n_channels_hit",
                Arc::new(UInt32Array::from(vec![20, 25, 0])),
            ),
            ("fit_quality", of(1.0, 1.1)),
            (
                "flags",
                Arc::new(UInt32Array::from_iter_values(flags.map(|flags| flags.0))),
            ),
        ],
    );
    let report = format!(
        r#"{{"status": "complete", "configuration": {{"detector": "{DETECTOR}"}},
            "inputs": [{{"path": "hits.parquet"}}]}}"#
    );
    std::fs::write(dir.join("report.json"), report).unwrap();
}

fn write_truth(dir: &Path) {
    write_table(
        &dir.join("run.truth.parquet"),
        vec![
            ("event_id", Arc::new(UInt64Array::from(vec![7]))),
            ("channel_id", Arc::new(UInt32Array::from(vec![0]))),
            ("time_ns", numbers(vec![301.0])),
            ("charge_pe", Arc::new(Float32Array::from(vec![1.0]))),
        ],
    );
    write_table(
        &dir.join("run.truth-events.parquet"),
        vec![
            ("event_id", Arc::new(UInt64Array::from(vec![7]))),
            ("x_mm", numbers(vec![-300.0])),
            ("y_mm", numbers(vec![30.0])),
            ("z_mm", numbers(vec![250.0])),
            ("time_ns", numbers(vec![300.0])),
            ("energy_mev", numbers(vec![2.4])),
        ],
    );
}

fn bench() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_hits(&folder.path().join("hits.parquet"));
    write_events(&folder.path().join("out"));
    write_truth(folder.path());
    folder
}

fn inspect(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nuwave"))
        .current_dir(folder)
        .arg("inspect")
        .args(arguments)
        .output()
        .unwrap()
}

fn done(output: &Output) -> String {
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_folder_of_events_and_a_table_of_hits_tell_what_they_hold() {
    let folder = bench();
    let text = done(&inspect(folder.path(), &["out"]));
    for part in [
        "3 (3 to 20)",
        "2 with a vertex",
        "1.750 MeV",
        "too_few_hits: 1 event\n",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let json: Value =
        serde_json::from_str(&done(&inspect(folder.path(), &["out", "--json"]))).unwrap();
    assert_eq!(json["events"]["rows"], 3);
    assert_eq!(json["events"]["flags"]["not_converged"], 1);
    assert_eq!(json["hits"], Value::Null);
    let json: Value =
        serde_json::from_str(&done(&inspect(folder.path(), &["hits.parquet", "--json"]))).unwrap();
    assert_eq!(json["kind"], "hits");
    assert_eq!(json["events"], 3);
    assert_eq!(
        json["channels"].as_u64().unwrap() as usize,
        sensors().div_ceil(2) + 1
    );
}

#[test]
fn the_picture_has_a_dot_a_pmt_and_says_what_was_found() {
    let folder = bench();
    done(&inspect(
        folder.path(),
        &[
            "out",
            "--event",
            "7",
            "--plot",
            "a.svg",
            "--truth",
            "run.truth.parquet",
        ],
    ));
    let svg = std::fs::read_to_string(folder.path().join("a.svg")).unwrap();
    assert_eq!(svg.matches("<circle").count(), 2 * sensors());
    for part in [
        "Event 7 of hits.parquet",
        "x = \u{2212}312 \u{b1} 11 mm",
        "t = 301.2 \u{b1} 0.4 ns",
        "E = 2.500 \u{b1} 0.125 MeV",
        "flags: not converged, no light maps",
        "true: x = \u{2212}300 mm",
        "direction of the reconstructed vertex",
        "direction of the true vertex",
        "Charge (PE)",
        "First hit (ns)",
    ] {
        assert!(svg.contains(part), "`{part}` is not there");
    }
    // Of a table of hits there is no vertex, and of an event that is not known none either.
    done(&inspect(
        folder.path(),
        &[
            "hits.parquet",
            "--event",
            "20",
            "--plot",
            "b.svg",
            "-d",
            DETECTOR,
        ],
    ));
    let svg = std::fs::read_to_string(folder.path().join("b.svg")).unwrap();
    assert!(
        svg.contains("no event was reconstructed")
            && svg.contains("1 hits of channels without a position")
    );
    assert!(!svg.contains("reconstructed vertex"));
    done(&inspect(
        folder.path(),
        &["out", "--event", "20", "--plot", "c.svg"],
    ));
    let svg = std::fs::read_to_string(folder.path().join("c.svg")).unwrap();
    assert!(svg.contains("x not known") && svg.contains("too few hits"));
    assert!(!svg.contains("NaN"));
}

#[test]
fn a_large_detector_stays_a_small_file() {
    let folder = bench();
    done(&inspect(
        folder.path(),
        &[
            "hits.parquet",
            "--event",
            "3",
            "--plot",
            "a.svg",
            "-d",
            "juno",
        ],
    ));
    let svg = std::fs::read_to_string(folder.path().join("a.svg")).unwrap();
    assert_eq!(svg.matches("<circle").count(), 2 * 17_612);
    assert!(svg.len() < 3_000_000, "{}", svg.len());
}

#[test]
fn impossible_pictures_are_refused_and_leave_no_file() {
    let folder = bench();
    let plot = |more: &[&str]| inspect(folder.path(), &[more, &["--plot", "no.svg"]].concat());
    Run::from(plot(&["out", "--event", "8"])).refused(3);
    Run::from(plot(&["out"])).refused(2);
    Run::from(plot(&["hits.parquet", "--event", "3"])).refused(2);
    Run::from(plot(&["out", "--event", "3", "--channel", "4"])).refused(2);
    Run::from(plot(&["hits.parquet", "--event", "3", "-d", "lab"])).refused(2);
    Run::from(plot(&[
        "out",
        "--event",
        "3",
        "--truth",
        "run.truth.parquet",
    ]))
    .refused(3);
    std::fs::remove_file(folder.path().join("hits.parquet")).unwrap();
    Run::from(plot(&["out", "--event", "3"])).refused(3);
    assert!(!folder.path().join("no.svg").exists());
}
