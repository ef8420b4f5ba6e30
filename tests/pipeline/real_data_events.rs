//! `nuwave reconstruct --from hits` on another detector's open simulation: electrons in a box of opaque scintillator.

use std::path::Path;

use crate::support::correlation;
use crate::support::formats::file;
use crate::support::reconstruct::events::{EventRow, events};
use crate::support::reconstruct::{Folder, Run, nuwave, reconstruct};
use nuwave::io::read_truth;
use nuwave::model::{Flags, TrueEvent};

const HITS: &str = "liquido/liquido_ready.h5";

/// A detector whose sensors are those of the file.
fn detector(folder: &Folder, table: &Path) -> String {
    let lab = Run::new(nuwave().args(["detector", "lab"])).ended_with(0);
    let geometry = format!(
        "[geometry]\nsensor_radius_mm = 10.0\nsensors = {{ kind = \"table\", file = '{}' }}\n\n",
        table.display()
    );
    let text = lab
        .stdout
        .replacen("[[pmt_type]]", &(geometry + "[[pmt_type]]"), 1)
        .replace("window_samples = 250", "window_samples = 1000")
        .replace("trigger_ns = 280.0", "trigger_ns = 5.0");
    let path = folder.file("liquido.toml", text.as_bytes());
    path.to_str().expect("a plain path").to_owned()
}

#[test]
#[ignore = "needs ../shared/data"]
fn events_of_another_detector_follow_their_truth() {
    let folder = Folder::new();
    let input = file(HITS);
    let target = folder.path("out");
    let detector = detector(&folder, &input);
    let more = [
        "--from",
        "hits",
        "-d",
        &detector,
        "--event-method",
        "centroid",
    ];
    reconstruct(&[&input], &target, &more).ended_with(0);
    let rows = events(&target.join("events"));
    let truth = read_truth(&input).expect("truth").events;
    assert_eq!((rows.len(), truth.len()), (100, 100));
    let text = std::fs::read_to_string(target.join("report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["totals"]["hits"], 121_096);
    assert!(
        rows.iter()
            .all(|row| !row.flags.contains(Flags::UNKNOWN_CHANNEL))
    );
    let pairs: Vec<(&EventRow, &TrueEvent)> = rows
        .iter()
        .map(|row| {
            let its = truth.iter().find(|one| one.event_id == row.event_id);
            (row, its.expect("its truth"))
        })
        .collect();
    let of = |found: &dyn Fn(&EventRow) -> f64, known: &dyn Fn(&TrueEvent) -> f64| {
        let both = pairs.iter().map(|(row, its)| (found(row), known(its)));
        correlation(&both.collect::<Vec<_>>())
    };
    let charge = of(&|row| row.charge_pe(), &|its| its.energy_mev);
    // The file gives vertices in a frame that is turned by a quarter about y against that of its sensors.
    let turned = |its: &TrueEvent| [its.z_mm, its.y_mm, -its.x_mm];
    let axes =
        [0, 1, 2].map(|axis: usize| of(&|row| row.position_mm()[axis], &|its| turned(its)[axis]));
    eprintln!("charge with energy {charge:.4}, vertices {axes:.4?}");
    assert!(charge > 0.9, "{charge}");
    assert!(axes.iter().all(|&axis| axis > 0.9), "{axes:?}");
}

#[test]
#[ignore = "needs ../shared/data"]
fn junos_own_table_of_sensors_takes_the_place_of_the_rings() {
    let folder = Folder::new();
    let table = file("juno_geometry/lpmt_17612.csv");
    let preset = Run::new(nuwave().args(["detector", "juno"])).ended_with(0);
    let rings = "kind = \"rings\"\nradius_mm = 19434.0";
    assert!(preset.stdout.contains(rings));
    let sensors = format!(
        "kind = \"table\"\nfile = '{}'\ntypes = {{ dynode = \"R12860\", mcp = \"NNVT-MCP\" }}",
        table.display()
    );
    let text = preset.stdout.replace(rings, &sensors);
    let detector = folder.file("juno.toml", text.as_bytes());
    let loaded = nuwave::detector::load(&detector.to_string_lossy()).expect("a detector");
    let all = loaded.sensors().expect("a geometry").all();
    let dynodes = all.iter().filter(|one| one.type_index == 0).count();
    assert_eq!((all.len(), dynodes), (17_612, 4996));
    let hits = folder.path("hits.parquet");
    let place = "5000,-3000,8000";
    let detector = detector.to_str().expect("a plain path");
    let simulate = ["simulate", "events", "-q", "-d", detector, "--events", "20"];
    let what = ["--position", place, "--energy", "5", "-o"];
    Run::new(nuwave().args(simulate).args(what).arg(&hits)).ended_with(0);
    let target = folder.path("out");
    reconstruct(&[&hits], &target, &["--from", "hits", "-d", detector]).ended_with(0);
    let rows = events(&target.join("events"));
    assert_eq!(rows.len(), 20);
    let mut mean = [0.0; 3];
    for row in &rows {
        assert!(!row.flags.contains(Flags::UNKNOWN_CHANNEL));
        for (sum, x) in mean.iter_mut().zip(row.position_mm()) {
            *sum += x / 20.0;
        }
    }
    // A centroid without maps has the right direction, not the right length.
    let along = (5.0 * mean[0] - 3.0 * mean[1] + 8.0 * mean[2]) / 98.0_f64.sqrt();
    let length = mean.iter().map(|x| x * x).sum::<f64>().sqrt();
    eprintln!("mean centroid {mean:.0?}");
    assert!((8_000.0..14_000.0).contains(&length), "{mean:?}");
    assert!(along / length > 0.999, "{mean:?}");
}
