//! `nuwave evaluate` on small tables whose right answer is known.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Float64Array, RecordBatch, UInt32Array, UInt64Array};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

/// Event, channel, time in ns, charge in PE.
type Row = (u64, u32, f64, f32);

fn write_table(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let rows = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, name == "first_time_ns")),
    )
    .unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

fn write_truth(path: &Path, rows: &[Row]) {
    write_table(
        path,
        vec![
            (
                "event_id",
                Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.0))),
            ),
            (
                "channel_id",
                Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.1))),
            ),
            (
                "time_ns",
                Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.2))),
            ),
            (
                "charge_pe",
                Arc::new(Float32Array::from_iter_values(rows.iter().map(|r| r.3))),
            ),
        ],
    );
}

/// An output folder as `nuwave reconstruct` leaves it; `waveforms` are event, channel and flags.
fn write_output(dir: &Path, hits: &[Row], waveforms: &[(u64, u32, u32)]) {
    let zeros = |n: usize| -> ArrayRef { Arc::new(UInt32Array::from(vec![0; n])) };
    write_table(
        &dir.join("hits/part-00000-00000.parquet"),
        vec![
            ("input_id", zeros(hits.len())),
            (
                "event_id",
                Arc::new(UInt64Array::from_iter_values(hits.iter().map(|r| r.0))),
            ),
            (
                "channel_id",
                Arc::new(UInt32Array::from_iter_values(hits.iter().map(|r| r.1))),
            ),
            (
                "time_ns",
                Arc::new(Float32Array::from_iter_values(
                    hits.iter().map(|r| r.2 as f32),
                )),
            ),
            (
                "charge_pe",
                Arc::new(Float32Array::from_iter_values(hits.iter().map(|r| r.3))),
            ),
            ("flags", zeros(hits.len())),
        ],
    );
    let of = |w: &(u64, u32, u32)| {
        hits.iter()
            .filter(move |h| (h.0, h.1) == (w.0, w.1))
            .copied()
            .collect::<Vec<_>>()
    };
    let charges = waveforms
        .iter()
        .map(|w| of(w).iter().map(|h| h.3).sum::<f32>());
    let first = waveforms
        .iter()
        .map(|w| of(w).iter().map(|h| h.2 as f32).reduce(f32::min));
    let counts = waveforms.iter().map(|w| of(w).len() as u32);
    write_table(
        &dir.join("waveforms/part-00000-00000.parquet"),
        vec![
            ("input_id", zeros(waveforms.len())),
            (
                "event_id",
                Arc::new(UInt64Array::from_iter_values(waveforms.iter().map(|w| w.0))),
            ),
            (
                "channel_id",
                Arc::new(UInt32Array::from_iter_values(waveforms.iter().map(|w| w.1))),
            ),
            (
                "charge_pe",
                Arc::new(Float32Array::from_iter_values(charges)),
            ),
            ("first_time_ns", Arc::new(first.collect::<Float32Array>())),
            ("n_hits", Arc::new(UInt32Array::from_iter_values(counts))),
            (
                "baseline_adc",
                Arc::new(Float32Array::from(vec![500.0; waveforms.len()])),
            ),
            (
                "noise_adc",
                Arc::new(Float32Array::from(vec![1.0; waveforms.len()])),
            ),
            (
                "flags",
                Arc::new(UInt32Array::from_iter_values(waveforms.iter().map(|w| w.2))),
            ),
        ],
    );
    std::fs::write(dir.join("report.json"), "{}").unwrap();
}

/// 40 events of 4 channels; channel 3 stays dark, the others have 1, 2 and 25 photoelectrons.
fn scene() -> (Vec<Row>, Vec<(u64, u32, u32)>) {
    let mut truth = Vec::new();
    let mut waveforms = Vec::new();
    for event in 0..40_u64 {
        for (channel, n_pe) in [(0_u32, 1_u32), (1, 2), (2, 25), (3, 0)] {
            waveforms.push((event, channel, 0));
            for k in 0..n_pe {
                let time_ns = 100.0 + f64::from(k) * 30.0 + event as f64;
                truth.push((event, channel, time_ns, 0.5 + 0.0625 * (k % 16) as f32));
            }
        }
    }
    (truth, waveforms)
}

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The output folder `name` with `hits`.
    fn output(&self, name: &str, hits: &[Row], waveforms: &[(u64, u32, u32)]) -> PathBuf {
        let dir = self.path(name);
        write_output(&dir, hits, waveforms);
        dir
    }

    fn truth(&self, rows: &[Row]) -> PathBuf {
        let path = self.path("photoelectrons.parquet");
        write_truth(&path, rows);
        path
    }

    fn run(&self, dirs: &[&Path], truth: &Path, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nuwave"));
        command
            .current_dir(self.folder.path())
            .arg("evaluate")
            .args(dirs);
        command
            .arg("--truth")
            .arg(truth)
            .args(more)
            .output()
            .unwrap()
    }

    fn json(&self, dir: &Path, truth: &Path) -> Value {
        let output = self.run(&[dir], truth, &["--json"]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn figure(json: &Value, path: &str) -> f64 {
    let value = json.pointer(&format!("/methods/0{path}"));
    value
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("no number at {path}"))
}

fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() < 1e-5,
        "{found}, expected {expected}"
    );
}

#[test]
fn perfect_reconstruction_has_no_bias_and_finds_everything() {
    let bench = Bench::new();
    let (truth, waveforms) = scene();
    let dir = bench.output("perfect", &truth, &waveforms);
    let json = bench.json(&dir, &bench.truth(&truth));
    for zero in [
        "/charge/bias/value",
        "/charge/largest_nonlinearity/nonlinearity/value",
        "/timing/overall/bias_ns/value",
        "/timing/overall/rms_ns",
        "/wasserstein/mean_ns/value",
        "/detection/false_hits_per_waveform/value",
        "/detection/false_hits_per_empty_waveform/value",
        "/counts/waveforms_missed",
        "/counts/photoelectrons_not_in_output",
    ] {
        assert!(figure(&json, zero).abs() < 1e-6, "{zero}");
    }
    for one in [
        "/detection/efficiency/value",
        "/detection/purity/value",
        "/detection/hits_per_pe/value",
    ] {
        assert_eq!(figure(&json, one), 1.0, "{one}");
    }
    assert_eq!(figure(&json, "/counts/waveforms"), 160.0);
    assert_eq!(figure(&json, "/counts/waveforms_without_truth"), 40.0);
    assert_eq!(figure(&json, "/pairs/n"), 40.0);
    assert_eq!(figure(&json, "/pairs/by_distance/0/resolved/value"), 1.0);
    assert_eq!(json["schema_version"], 1);
}

#[test]
fn a_shift_of_3_ns_is_a_bias_and_a_distance_of_3_ns() {
    let bench = Bench::new();
    let (truth, waveforms) = scene();
    let hits: Vec<Row> = truth
        .iter()
        .map(|&(e, c, t, q)| (e, c, t + 3.0, q))
        .collect();
    let json = bench.json(
        &bench.output("late", &hits, &waveforms),
        &bench.truth(&truth),
    );
    close(figure(&json, "/wasserstein/mean_ns/value"), 3.0);
    close(figure(&json, "/wasserstein/median_ns"), 3.0);
    close(figure(&json, "/timing/overall/bias_ns/value"), 3.0);
    close(figure(&json, "/timing/overall/half_width_68_ns"), 0.0);
    close(figure(&json, "/charge/bias/value"), 0.0);
    assert_eq!(figure(&json, "/detection/efficiency/value"), 1.0);
}

#[test]
fn a_scaled_charge_is_a_bias_and_moves_no_time() {
    let bench = Bench::new();
    let (truth, waveforms) = scene();
    let hits: Vec<Row> = truth
        .iter()
        .map(|&(e, c, t, q)| (e, c, t, 1.25 * q))
        .collect();
    let json = bench.json(
        &bench.output("scaled", &hits, &waveforms),
        &bench.truth(&truth),
    );
    close(figure(&json, "/charge/bias/value"), 0.25);
    close(
        figure(&json, "/charge/largest_nonlinearity/nonlinearity/value"),
        0.0,
    );
    close(figure(&json, "/wasserstein/mean_ns/value"), 0.0);
}

#[test]
fn false_and_missed_hits_show_where_they_should() {
    let bench = Bench::new();
    let (truth, waveforms) = scene();
    let mut hits = truth.clone();
    hits.push((0, 3, 500.0, 1.0)); // in the dark
    hits.push((1, 0, 20.0, 1.0)); // 81 ns before the only photoelectron
    hits.retain(|hit| (hit.0, hit.1) != (2, 0)); // a waveform missed as a whole
    let json = bench.json(
        &bench.output("noisy", &hits, &waveforms),
        &bench.truth(&truth),
    );
    let all = truth.len() as f64;
    close(
        figure(&json, "/detection/purity/value"),
        (all - 1.0) / (all + 1.0),
    );
    close(
        figure(&json, "/detection/efficiency/value"),
        (all - 1.0) / all,
    );
    close(
        figure(&json, "/detection/false_hits_per_waveform/value"),
        2.0 / 160.0,
    );
    close(
        figure(&json, "/detection/false_hits_per_empty_waveform/value"),
        1.0 / 40.0,
    );
    assert_eq!(figure(&json, "/counts/waveforms_missed"), 1.0);
    assert_eq!(
        figure(&json, "/counts/waveforms_with_hits_without_truth"),
        1.0
    );
    assert_eq!(figure(&json, "/timing/early_hits"), 1.0);
    // The false hit was set aside, so the time is still unbiased.
    close(figure(&json, "/timing/overall/bias_ns/value"), 0.0);
}

#[test]
fn the_order_of_rows_changes_no_byte() {
    let bench = Bench::new();
    let (mut truth, mut waveforms) = scene();
    let mut hits: Vec<Row> = truth
        .iter()
        .map(|&(e, c, t, q)| (e, c, t + 0.3 * f64::from(q), 0.9 * q))
        .collect();
    let dir = bench.output("ordered", &hits, &waveforms);
    let first = bench.run(&[&dir], &bench.truth(&truth), &["--json"]);
    // Stride by a number that shares no factor with the lengths.
    let shuffle = |n: usize| (0..n).map(move |k| (k * 37 + 11) % n).collect::<Vec<_>>();
    hits = shuffle(hits.len()).into_iter().map(|k| hits[k]).collect();
    truth = shuffle(truth.len()).into_iter().map(|k| truth[k]).collect();
    waveforms = shuffle(waveforms.len())
        .into_iter()
        .map(|k| waveforms[k])
        .collect();
    write_output(&dir, &hits, &waveforms);
    let second = bench.run(&[&dir], &bench.truth(&truth), &["--json"]);
    assert!(first.status.success() && second.status.success());
    assert_eq!(first.stdout, second.stdout);
}

#[test]
fn saturated_waveforms_are_left_out_of_the_charge_and_counted() {
    let bench = Bench::new();
    let (truth, mut waveforms) = scene();
    let mut hits = truth.clone();
    for hit in hits.iter_mut().filter(|hit| (hit.0, hit.1) == (5, 2)) {
        hit.3 *= 0.5;
    }
    waveforms
        .iter_mut()
        .find(|w| (w.0, w.1) == (5, 2))
        .unwrap()
        .2 = 1 << 1; // saturated low
    let dir = bench.output("cut", &hits, &waveforms);
    let output = bench.run(&[&dir], &bench.truth(&truth), &["--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    close(figure(&json, "/charge/bias/value"), 0.0);
    assert_eq!(figure(&json, "/charge/n_saturated"), 1.0);
    assert_eq!(figure(&json, "/counts/flags/saturated_low"), 1.0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 saturated waveforms"));
}

#[test]
fn truth_that_the_output_lacks_is_counted_and_said() {
    let bench = Bench::new();
    let (truth, waveforms) = scene();
    let keep = |event: u64| event < 39;
    let hits: Vec<Row> = truth.iter().copied().filter(|row| keep(row.0)).collect();
    let fewer: Vec<_> = waveforms.into_iter().filter(|row| keep(row.0)).collect();
    let dir = bench.output("short", &hits, &fewer);
    let output = bench.run(&[&dir], &bench.truth(&truth), &[]);
    assert!(output.status.success());
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        log.contains("28 true photoelectrons belong to 3 waveforms that are not in the output"),
        "{log}"
    );
}

#[test]
fn several_methods_stand_side_by_side_in_table_plots_and_json() {
    let bench = Bench::new();
    let (truth, waveforms) = scene();
    let late: Vec<Row> = truth
        .iter()
        .map(|&(e, c, t, q)| (e, c, t + 1.0, q))
        .collect();
    let one = bench.output("deconvolution", &truth, &waveforms);
    let two = bench.output("integral", &late, &waveforms);
    let truth = bench.truth(&truth);
    let output = bench.run(&[&one, &two], &truth, &["-o", "plots"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        table.contains("deconvolution  ") && table.contains("integral"),
        "{table}"
    );
    assert_eq!(
        std::fs::read_to_string(bench.path("plots/evaluation.txt")).unwrap(),
        table
    );
    let json: Value =
        serde_json::from_slice(&std::fs::read(bench.path("plots/evaluation.json")).unwrap())
            .unwrap();
    assert_eq!(json["methods"][1]["label"], "integral");
    for name in [
        "charge_linearity",
        "charge_resolution",
        "first_hit_time",
        "first_hit_time_by_pe",
        "pair_separation",
        "efficiency",
        "hits_per_pe",
        "wasserstein",
    ] {
        let svg = std::fs::read_to_string(bench.path(&format!("plots/{name}.svg"))).unwrap();
        assert!(
            svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"),
            "{name}"
        );
        assert!(
            svg.contains("deconvolution") && svg.contains("integral"),
            "{name} lacks a legend"
        );
        assert!(!svg.contains("NaN"), "{name}");
        let version = format!("nuwave {}, ", nuwave::VERSION_AND_COMMIT);
        assert!(
            svg.contains(&version) && svg.contains(" waveforms\n"),
            "{name} lacks its foot"
        );
    }
    let again = bench.run(&[&one, &two], &truth, &["-o", "plots"]);
    assert_eq!(
        again.status.code(),
        Some(5),
        "an existing folder is not overwritten unasked"
    );
    let again = bench.run(&[&one, &two], &truth, &["-o", "plots", "--overwrite"]);
    assert!(again.status.success());
}

#[test]
fn an_unfinished_folder_is_refused_with_a_hint() {
    let bench = Bench::new();
    let (truth, waveforms) = scene();
    let dir = bench.output("torn", &truth, &waveforms);
    std::fs::remove_file(dir.join("report.json")).unwrap();
    let output = bench.run(&[&dir], &bench.truth(&truth), &[]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        log.contains("has tables but no `report.json`") && log.contains("hint:"),
        "{log}"
    );
}

#[test]
fn a_missing_column_is_named_with_its_file() {
    let bench = Bench::new();
    let (truth, waveforms) = scene();
    let dir = bench.output("odd", &truth, &waveforms);
    write_truth(&dir.join("hits/part-00000-00000.parquet"), &truth);
    let output = bench.run(&[&dir], &bench.truth(&truth), &[]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        log.contains("hits/part-00000-00000.parquet") && log.contains("no column `input_id`"),
        "{log}"
    );
}

#[test]
fn tables_of_two_runs_are_refused() {
    let bench = Bench::new();
    let (truth, waveforms) = scene();
    let dir = bench.output("mixed", &truth, &waveforms);
    let other = bench.output("other", &truth[1..], &waveforms);
    std::fs::copy(
        other.join("hits/part-00000-00000.parquet"),
        dir.join("hits/part-00000-00000.parquet"),
    )
    .unwrap();
    let output = bench.run(&[&dir], &bench.truth(&truth), &[]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        log.contains("event 0, channel 0 has 0 rows") && log.contains("`n_hits`"),
        "{log}"
    );
}

#[test]
fn the_truth_of_another_file_is_an_error() {
    let bench = Bench::new();
    let (truth, waveforms) = scene();
    let dir = bench.output("out", &truth, &waveforms);
    let foreign: Vec<Row> = truth
        .iter()
        .map(|&(e, c, t, q)| (e + 1000, c, t, q))
        .collect();
    let output = bench.run(&[&dir], &bench.truth(&foreign), &[]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        log.contains("none of the 160 waveforms has a true photoelectron"),
        "{log}"
    );
}
