//! `nuwave evaluate` of events whose bias, resolution and uncertainties are known, because the test smears them itself.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Float64Array, RecordBatch, UInt32Array, UInt64Array};
use nuwave::model::{Event, Flags, TrueEvent};
use parquet::arrow::ArrowWriter;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use rand_distr::{Distribution as _, StandardNormal};
use serde_json::Value;

const RADIUS_MM: f64 = 17_700.0;
const ENERGIES_MEV: [f64; 6] = [0.5, 1.0, 2.0, 3.0, 5.0, 8.0];
/// a, b, c of the resolution.
const PARTS: [f64; 3] = [0.030, 0.010, 0.012];
const BIAS_MM: [f64; 3] = [12.0, -8.0, 0.0];
const SIGMA_MM: [f64; 3] = [80.0, 90.0, 100.0];
const TIME_OFFSET_NS: f64 = 7.5;
const TIME_SIGMA_NS: f64 = 1.2;
const ENERGY_BIAS: f64 = 0.98;
/// The response falls by this from the centre to the edge, linear in the volume.
const SLOPE: f64 = 0.03;

fn write_table(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

fn ids(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

/// Photoelectrons, none, and events next to each other; the path for `--truth`.
fn write_truth(dir: &Path, events: &[TrueEvent]) -> PathBuf {
    let path = dir.join("run.truth.parquet");
    write_table(
        &path,
        vec![
            ("event_id", ids([].into_iter())),
            ("channel_id", Arc::new(UInt32Array::from(Vec::<u32>::new()))),
            ("time_ns", Arc::new(Float64Array::from(Vec::<f64>::new()))),
            ("charge_pe", Arc::new(Float32Array::from(Vec::<f32>::new()))),
        ],
    );
    let of = |value: fn(&TrueEvent) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(events.iter().map(value)))
    };
    if !events.is_empty() {
        write_table(
            &dir.join("run.truth-events.parquet"),
            vec![
                ("event_id", ids(events.iter().map(|event| event.event_id))),
                ("x_mm", of(|event| event.x_mm)),
                ("y_mm", of(|event| event.y_mm)),
                ("z_mm", of(|event| event.z_mm)),
                ("time_ns", of(|event| event.time_ns)),
                ("energy_mev", of(|event| event.energy_mev)),
            ],
        );
    }
    path
}

/// A folder as `nuwave reconstruct --from hits` leaves it, in two parts.
fn write_output(dir: &Path, events: &[Event], without: &str) {
    let half = events.len() / 2;
    for (part, events) in [&events[..half], &events[half..]].into_iter().enumerate() {
        let of = |value: fn(&Event) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(events.iter().map(value)))
        };
        let counts = |value: fn(&Event) -> u32| -> ArrayRef {
            Arc::new(UInt32Array::from_iter_values(events.iter().map(value)))
        };
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("input_id", counts(|_| 0)),
            ("event_id", ids(events.iter().map(|event| event.event_id))),
            ("x_mm", of(|event| event.x_mm)),
            ("y_mm", of(|event| event.y_mm)),
            ("z_mm", of(|event| event.z_mm)),
            ("time_ns", of(|event| event.time_ns)),
            ("energy_mev", of(|event| event.energy_mev)),
            ("x_sigma_mm", of(|event| event.x_sigma_mm)),
            ("y_sigma_mm", of(|event| event.y_sigma_mm)),
            ("z_sigma_mm", of(|event| event.z_sigma_mm)),
            ("time_sigma_ns", of(|event| event.time_sigma_ns)),
            ("energy_sigma_mev", of(|event| event.energy_sigma_mev)),
            ("charge_pe", of(|event| event.charge_pe)),
            ("n_channels_hit", counts(|event| event.n_channels_hit)),
            ("fit_quality", of(|event| event.fit_quality)),
            ("flags", counts(|event| event.flags.0)),
        ];
        let kept = columns.into_iter().filter(|(name, _)| *name != without);
        let path = dir.join(format!("events/part-{part:05}.parquet"));
        write_table(&path, kept.collect());
    }
    std::fs::write(
        dir.join("report.json"),
        r#"{"configuration": {"detector": "juno"}}"#,
    )
    .unwrap();
}

fn uniform(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// `n` events uniform in the sphere, and what a reconstruction of known quality makes of them.
fn smeared(n: u64, slope: f64) -> (Vec<TrueEvent>, Vec<Event>) {
    let mut random = ChaCha8Rng::seed_from_u64(20_26);
    let mut normal = |sigma: f64| {
        let unit: f64 = StandardNormal.sample(&mut random);
        sigma * unit
    };
    let mut places = ChaCha8Rng::seed_from_u64(7);
    (0..n)
        .map(|event_id| {
            let volume = uniform(&mut places);
            let cos_theta = 2.0 * uniform(&mut places) - 1.0;
            let phi = std::f64::consts::TAU * uniform(&mut places);
            let radius_mm = RADIUS_MM * volume.cbrt();
            let across_mm = radius_mm * (1.0 - cos_theta * cos_theta).sqrt();
            let energy_mev = ENERGIES_MEV[event_id as usize % ENERGIES_MEV.len()];
            let truth = TrueEvent {
                event_id,
                x_mm: across_mm * phi.cos(),
                y_mm: across_mm * phi.sin(),
                z_mm: radius_mm * cos_theta,
                time_ns: 100.0 + event_id as f64 % 50.0,
                energy_mev,
            };
            let [a, b, c] = PARTS;
            let resolution = (a * a / energy_mev + b * b + (c / energy_mev).powi(2)).sqrt();
            let response = ENERGY_BIAS * (1.0 - slope * volume);
            let found = Event {
                event_id,
                x_mm: truth.x_mm + BIAS_MM[0] + normal(SIGMA_MM[0]),
                y_mm: truth.y_mm + BIAS_MM[1] + normal(SIGMA_MM[1]),
                z_mm: truth.z_mm + BIAS_MM[2] + normal(SIGMA_MM[2]),
                time_ns: truth.time_ns + TIME_OFFSET_NS + normal(TIME_SIGMA_NS),
                energy_mev: energy_mev * response * (1.0 + normal(resolution)),
                x_sigma_mm: SIGMA_MM[0],
                // Half and twice the truth: pulls of width 2 and 1/2.
                y_sigma_mm: SIGMA_MM[1] / 2.0,
                z_sigma_mm: SIGMA_MM[2] * 2.0,
                time_sigma_ns: TIME_SIGMA_NS,
                energy_sigma_mev: energy_mev * ENERGY_BIAS * resolution,
                charge_pe: 1600.0 * energy_mev,
                n_channels_hit: 1000,
                fit_quality: 1.0,
                flags: Flags::NONE,
            };
            (truth, found)
        })
        .unzip()
}

fn evaluate(folder: &Path, dirs: &[&str], truth: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nuwave"))
        .current_dir(folder)
        .arg("evaluate")
        .args(dirs)
        .arg("--truth")
        .arg(truth)
        .args(more)
        .output()
        .unwrap()
}

fn json(folder: &Path, truth: &Path, more: &[&str]) -> Value {
    let output = evaluate(folder, &["out"], truth, &[more, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn log(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The estimate at `path` of the first reconstruction's events is `expected` within `sigmas` of its errors, and the error
/// is a sensible one.
fn agrees(json: &Value, path: &str, expected: f64, sigmas: f64) {
    let estimate = json.pointer(&format!("/events/0/{path}"));
    let number = |key: &str| {
        estimate
            .and_then(|estimate| estimate.get(key)?.as_f64())
            .unwrap_or_else(|| panic!("{path} has no {key}"))
    };
    let (value, error) = (number("value"), number("error"));
    assert!(error > 0.0, "{path}");
    assert!(
        (value - expected).abs() < sigmas * error,
        "{path}: {value} +- {error}, expected {expected}"
    );
}

fn count(json: &Value, path: &str) -> u64 {
    let count = json.pointer(&format!("/events/0/{path}"));
    count
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("{path}"))
}

#[test]
fn biases_resolutions_and_pulls_are_the_ones_put_in() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, found) = smeared(12_000, 0.0);
    let truth = write_truth(folder.path(), &truth);
    write_output(&folder.path().join("out"), &found, "");
    let json = json(folder.path(), &truth, &[]);
    assert_eq!(json["methods"].as_array().unwrap().len(), 0);
    assert_eq!(count(&json, "counts/matched"), 12_000);
    for (axis, name) in ["x_mm", "y_mm", "z_mm"].iter().enumerate() {
        let path = format!("vertex/overall/{name}");
        agrees(&json, &format!("{path}/bias"), BIAS_MM[axis], 4.0);
        agrees(&json, &format!("{path}/sigma_68"), SIGMA_MM[axis], 4.0);
        agrees(&json, &format!("{path}/rms"), SIGMA_MM[axis], 4.0);
        agrees(
            &json,
            &format!("vertex/by_radius/3/{name}/bias"),
            BIAS_MM[axis],
            4.5,
        );
        agrees(
            &json,
            &format!("vertex/by_energy/2/{name}/sigma_68"),
            SIGMA_MM[axis],
            4.5,
        );
        agrees(
            &json,
            &format!("vertex/by_cos_theta/7/{name}/rms"),
            SIGMA_MM[axis],
            4.5,
        );
    }
    agrees(&json, "time_ns/overall/bias", TIME_OFFSET_NS, 4.0);
    agrees(&json, "time_ns/overall/sigma_68", TIME_SIGMA_NS, 4.0);
    agrees(&json, "energy/overall/bias", ENERGY_BIAS - 1.0, 4.0);
    for (place, energy_mev) in ENERGIES_MEV.into_iter().enumerate() {
        let [a, b, c] = PARTS;
        let resolution = (a * a / energy_mev + b * b + (c / energy_mev).powi(2)).sqrt();
        let path = format!("energy/by_energy/{place}");
        let mean = json.pointer(&format!("/events/0/{path}/mean")).unwrap();
        assert!((mean.as_f64().unwrap() - energy_mev).abs() < 1e-9);
        for kind in ["resolution", "resolution_core", "resolution_rms"] {
            agrees(&json, &format!("{path}/{kind}"), resolution, 4.0);
        }
        agrees(&json, &format!("{path}/bias"), ENERGY_BIAS - 1.0, 4.0);
        agrees(&json, &format!("{path}/bias_core"), ENERGY_BIAS - 1.0, 4.0);
    }
    for (name, expected) in [("a", PARTS[0]), ("b", PARTS[1]), ("c", PARTS[2])] {
        agrees(&json, &format!("resolution_fit/fit/{name}"), expected, 4.0);
    }
    for (name, mean, width) in [
        ("x", BIAS_MM[0] / SIGMA_MM[0], 1.0),
        ("y", 2.0 * BIAS_MM[1] / SIGMA_MM[1], 2.0),
        ("z", 0.0, 0.5),
        ("time", 0.0, 1.0),
    ] {
        agrees(&json, &format!("pulls/{name}/residuals/bias"), mean, 4.0);
        agrees(
            &json,
            &format!("pulls/{name}/residuals/sigma_68"),
            width,
            4.0,
        );
        agrees(&json, &format!("pulls/{name}/residuals/rms"), width, 4.0);
    }
    // The report names the detector, whose radius and 16 of its 17.7 m are taken.
    let binning = &json["events"][0]["binning"];
    assert_eq!(binning["radius_mm"], RADIUS_MM);
    assert!((binning["fiducial_mm"].as_f64().unwrap() - 16_000.0).abs() < 1e-6);
    // What is uniform has no spread beyond chance.
    for region in ["all", "inside", "beyond"] {
        let spread = &json["events"][0]["uniformity"][region]["by_cell"]["spread"];
        let (value, error) = (
            spread["value"].as_f64().unwrap(),
            spread["error"].as_f64().unwrap(),
        );
        assert!(
            value < 3.0 * error.max(1e-3),
            "{region}: {value} +- {error}"
        );
    }
}

#[test]
fn a_response_that_falls_to_the_edge_is_found_and_chance_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, found) = smeared(20_000, SLOPE);
    let truth = write_truth(folder.path(), &truth);
    write_output(&folder.path().join("out"), &found, "");
    let json = json(folder.path(), &truth, &["--fiducial-mm", "15000"]);
    // Linear in the volume v: the standard deviation of n equal steps is slope sqrt((n + 1) / (12 n)) sqrt(n / (n - 1)) of
    // the width of a region.
    let expected = |shells: f64, low: f64, high: f64| {
        let step = SLOPE * (high - low) / shells;
        let mean = 1.0 - SLOPE * f64::midpoint(low, high);
        step * (shells * (shells + 1.0) / 12.0).sqrt() / mean
    };
    let border = (15_000.0_f64 / RADIUS_MM).powi(3);
    for (region, low, high) in [
        ("all", 0.0, 1.0),
        ("inside", 0.0, border),
        ("beyond", border, 1.0),
    ] {
        let found = &json["events"][0]["uniformity"][region]["by_radius"];
        let shells = found["parts"].as_f64().unwrap();
        let value = found["spread"]["value"].as_f64().unwrap();
        let expected = expected(shells, low, high);
        assert!(
            (value - expected).abs() < 7e-4,
            "{region}: {value}, expected {expected}"
        );
    }
    let all = &json["events"][0]["uniformity"]["all"];
    let spread = |over: &str| all[over]["spread"]["value"].as_f64().unwrap();
    assert!((spread("by_radius") - spread("by_cell")).abs() < 1.2e-3);
    assert!(all["by_cell"]["spread_uncorrected"].as_f64().unwrap() > spread("by_cell"));
    let largest = all["by_radius"]["largest_deviation"]["value"]
        .as_f64()
        .unwrap();
    assert!((largest.abs() - 0.45 * SLOPE).abs() < 2e-3, "{largest}");
}

#[test]
fn unknown_values_are_counted_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, mut found) = smeared(600, 0.0);
    for event in &mut found[..30] {
        *event = Event::unknown(event.event_id, Flags::TOO_FEW_HITS);
    }
    for event in &mut found[30..50] {
        event.flags = Flags::NOT_CONVERGED;
        event.x_sigma_mm = f64::NAN;
    }
    found[60].energy_mev = f64::NAN;
    found[61].event_id = 9_000_000;
    found.remove(62);
    let truth = write_truth(folder.path(), &truth);
    write_output(&folder.path().join("out"), &found, "");
    let output = evaluate(folder.path(), &["out"], &truth, &[]);
    assert!(output.status.success(), "{}", log(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("Events against the truth of"), "{text}");
    for row in [
        "flagged too_few_hits",
        "flagged not_converged",
        "at 0.500 MeV",
    ] {
        assert!(text.contains(row), "`{row}` is not in\n{text}");
    }
    assert!(
        log(&output).contains("2 true events are not in the output"),
        "{}",
        log(&output)
    );
    let json = json(folder.path(), &truth, &[]);
    assert_eq!(count(&json, "counts/true_events"), 600);
    assert_eq!(count(&json, "counts/reconstructed"), 599);
    assert_eq!(count(&json, "counts/matched"), 598);
    assert_eq!(count(&json, "counts/not_reconstructed"), 2);
    assert_eq!(count(&json, "counts/without_truth"), 1);
    assert_eq!(count(&json, "counts/without_vertex"), 30);
    assert_eq!(count(&json, "counts/without_time"), 30);
    assert_eq!(count(&json, "counts/without_energy"), 31);
    assert_eq!(count(&json, "counts/converged/k"), 598 - 50);
    assert_eq!(count(&json, "counts/flags/too_few_hits"), 30);
    assert_eq!(count(&json, "vertex/overall/x_mm/n"), 568);
    assert_eq!(count(&json, "energy/overall/n"), 567);
    assert_eq!(count(&json, "pulls/x/without_sigma"), 20);
    assert_eq!(count(&json, "pulls/x/residuals/n"), 548);
    assert_eq!(count(&json, "pulls/y/residuals/n"), 568);
}

#[test]
fn several_reconstructions_stand_side_by_side_with_their_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, found) = smeared(6000, SLOPE);
    let truth = write_truth(folder.path(), &truth);
    write_output(&folder.path().join("full"), &found, "");
    let worse: Vec<Event> = found
        .iter()
        .map(|event| Event {
            x_mm: 1.01 * event.x_mm,
            y_mm: 1.01 * event.y_mm,
            z_mm: 1.01 * event.z_mm,
            energy_mev: 1.03 * event.energy_mev,
            ..*event
        })
        .collect();
    write_output(&folder.path().join("centroid"), &worse, "");
    let names = [
        "vertex_by_radius",
        "vertex_by_energy",
        "vertex_by_angle",
        "energy_resolution",
        "energy_by_radius",
        "energy_uniformity",
        "pulls",
        "vertex_residuals",
        "energy_residuals",
    ];
    for (dirs, plots) in [(vec!["full"], "one"), (vec!["full", "centroid"], "two")] {
        let output = evaluate(folder.path(), &dirs, &truth, &["-o", plots]);
        assert!(output.status.success(), "{}", log(&output));
        for name in names {
            let path = folder.path().join(format!("{plots}/{name}.svg"));
            let svg = std::fs::read_to_string(path).unwrap();
            assert!(
                svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"),
                "{name}"
            );
            assert!(!svg.contains("NaN"), "{name}");
            let foot = format!("nuwave {}, 6,000 events", nuwave::VERSION_AND_COMMIT);
            assert!(svg.contains(&foot), "{name} lacks its foot");
            assert!(
                dirs.len() == 1 || svg.contains("centroid"),
                "{name} has no legend"
            );
        }
        assert!(
            !folder
                .path()
                .join(plots)
                .join("charge_linearity.svg")
                .exists()
        );
        let table =
            std::fs::read_to_string(folder.path().join(plots).join("evaluation.txt")).unwrap();
        for dir in dirs {
            assert!(table.contains(dir));
        }
    }
}

#[test]
fn missing_events_and_columns_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, found) = smeared(100, 0.0);
    let out = folder.path().join("out");

    // Truth without events.
    let empty = tempfile::tempdir().unwrap();
    let without = write_truth(empty.path(), &[]);
    write_output(&out, &found, "");
    let output = evaluate(folder.path(), &["out"], &without, &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        log(&output).contains("the truth has no events"),
        "{}",
        log(&output)
    );

    // A column that is not there.
    let truth_at = write_truth(folder.path(), &truth);
    write_output(&out, &found, "z_sigma_mm");
    let output = evaluate(folder.path(), &["out"], &truth_at, &[]);
    assert_eq!(output.status.code(), Some(3));
    let said = log(&output);
    assert!(
        said.contains("events/part-00000.parquet") && said.contains("no column `z_sigma_mm`"),
        "{said}"
    );

    // An event that is there twice.
    let twice: Vec<Event> = found.iter().chain(found.get(5)).copied().collect();
    write_output(&out, &twice, "");
    let output = evaluate(folder.path(), &["out"], &truth_at, &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        log(&output).contains("event 5 of input 0 twice"),
        "{}",
        log(&output)
    );

    // The truth of another file.
    let foreign: Vec<Event> = found
        .iter()
        .map(|event| Event {
            event_id: event.event_id + 1_000_000,
            ..*event
        })
        .collect();
    write_output(&out, &foreign, "");
    let output = evaluate(folder.path(), &["out"], &truth_at, &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        log(&output).contains("none of the 100 events"),
        "{}",
        log(&output)
    );

    // Three energies are too few for a fit.
    write_output(&out, &found, "");
    let output = evaluate(folder.path(), &["out"], &truth_at, &["--fiducial-mm", "-3"]);
    assert_eq!(output.status.code(), Some(2));
    let few: Vec<TrueEvent> = truth
        .iter()
        .filter(|event| event.energy_mev <= 2.0)
        .copied()
        .collect();
    let truth_at = write_truth(folder.path(), &few);
    let json = json(folder.path(), &truth_at, &[]);
    let why = json["events"][0]["resolution_fit"]["none_because"].as_str();
    assert!(why.unwrap().contains("a fit needs 4"), "{why:?}");
}
