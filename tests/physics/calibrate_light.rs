//! `nuwave calibrate light`: maps from sources, and what a fit makes of other events with them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::reconstruct::Run;
use crate::support::reconstruct::events::events as read_events;
use nuwave::detector;
use nuwave::io::{light_maps, read_truth};
use nuwave::model::Flags;
use nuwave::simulate::channel_constants;

fn nuwave(folder: &Path, arguments: &[&str]) -> Run {
    Run::new(
        Command::new(env!("CARGO_BIN_EXE_nuwave"))
            .current_dir(folder)
            .args(arguments),
    )
}

/// A detector of 60 PMTs whose clocks differ, with the hits of sources on and off its axis.
fn sources() -> &'static Path {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().to_owned();
        let preset = nuwave(&path, &["detector", "jinping"]).ended_with(0).stdout;
        let table = "[[pmt_type]]\n";
        assert!(preset.contains(table));
        let moved = preset.replace(table, "[[pmt_type]]\ntime_offset_spread_ns = 2.0\n");
        std::fs::write(path.join("detector.toml"), moved).expect("writable");
        let mut sources = "x_mm,y_mm,z_mm,energy_mev,events\n".to_owned();
        let mut add = |place: [f64; 3], energy_mev: f64, events: u32| {
            let [x, y, z] = place;
            let _ = writeln!(sources, "{x:.1},{y:.1},{z:.1},{energy_mev},{events}");
        };
        add([0.0; 3], 1.0, 200);
        // So weak that a PMT sees one photoelectron or none.
        add([0.0; 3], 0.15, 500);
        for energy_mev in [0.5, 2.0, 4.0] {
            add([0.0; 3], energy_mev, 150);
        }
        for r in [
            120.0, 230.0, 310.0, 380.0, 440.0, 490.0, 530.0, 560.0, 590.0, 615.0,
        ] {
            for (x, y, z) in [
                (0.0, 0.0, 1.0),
                (0.0, 0.0, -1.0),
                (1.0, 0.0, 0.0),
                (-0.6, 0.8, 0.0),
                (0.48, -0.64, 0.6),
            ] {
                add([r * x, r * y, r * z], 1.0, 200);
            }
        }
        std::fs::write(path.join("sources.csv"), sources).expect("writable");
        nuwave(
            &path,
            &[
                "simulate",
                "events",
                "-d",
                "detector.toml",
                "--sources",
                "sources.csv",
                "--seed",
                "5",
                "-o",
                "sources.parquet",
            ],
        )
        .ended_with(0);
        (folder, path)
    });
    path
}

fn calibrate(output: &str) -> [&str; 9] {
    [
        "calibrate",
        "light",
        "sources.parquet",
        "--truth",
        "sources.truth-events.parquet",
        "-d",
        "detector.toml",
        "-o",
        output,
    ]
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a new folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

/// One test, because the maps take half a minute.
#[test]
fn maps_of_sources_describe_the_detector_and_are_checked_when_read() {
    let path = sources();
    let arguments = [&calibrate("maps")[..], &["--plots-dir", "plots"]].concat();
    let run = nuwave(path, &arguments).ended_with(0);
    assert!(run.stdout.contains("written: `maps`"), "{}", run.stdout);
    for (name, part) in [
        ("light_maps.svg", "Photoelectrons at 1 MeV"),
        ("light_times.svg", "Arrival times"),
        ("light_residuals.svg", "Energy: fitted / true"),
    ] {
        let picture = std::fs::read_to_string(path.join("plots").join(name)).expect(name);
        assert!(picture.contains(part), "{name}");
        assert!(!picture.contains("NaN"), "{name}");
    }
    constants_of_the_channels_are_found(path);
    other_events_are_found_without_bias(path);
    threads_change_no_byte_and_an_output_is_not_overwritten(path);
    damaged_and_foreign_maps_are_refused(path);
}

fn constants_of_the_channels_are_found(path: &Path) {
    let detector =
        detector::load(&path.join("detector.toml").to_string_lossy()).expect("a detector");
    let tables = light_maps::read(&path.join("maps"), &detector).expect("light maps");
    let truth = channel_constants(&detector, 1);
    let n = truth.len() as f64;
    let found = &tables.channels;
    let mean = |of: &dyn Fn(usize) -> f64| (0..truth.len()).map(of).sum::<f64>() / n;
    // Offsets and efficiencies are relative to their means.
    let offset = mean(&|k| truth[k].time_offset_ns);
    let error = |k: usize| found[k].time_offset_ns - (truth[k].time_offset_ns - offset);
    let rms = mean(&|k| error(k).powi(2)).sqrt();
    let spread = mean(&|k| (truth[k].time_offset_ns - offset).powi(2)).sqrt();
    // Three steps of Newton's do not go all the way where distributions are learnt from so few hits.
    assert!(spread > 1.5 && rms < 0.45, "offsets: {rms} of {spread} ns");
    let level = mean(&|k| truth[k].efficiency);
    let rms = mean(&|k| (found[k].efficiency - truth[k].efficiency / level).powi(2)).sqrt();
    // Some 6000 photoelectrons a channel.
    assert!(rms < 0.025, "efficiencies: {rms}");
    let dark_hz = 1e9 * mean(&|k| found[k].dark_per_ns);
    // Some 130 dark hits before the light.
    assert!((dark_hz / 5000.0 - 1.0).abs() < 0.35, "{dark_hz} Hz");
    // One photoelectron has the charge 1, and hits of one channel merge below the simulation's 10 ns.
    assert!((tables.types[0].charges.mean_pe() - 1.0).abs() < 0.03);
    assert!((tables.separation_ns - 10.0).abs() < 1.0);
}

fn other_events_are_found_without_bias(path: &Path) {
    nuwave(
        path,
        &[
            "simulate",
            "events",
            "-d",
            "detector.toml",
            "--events",
            "300",
            "--max-radius",
            "600",
            "--energy",
            "4",
            "--seed",
            "77",
            "-o",
            "run.parquet",
        ],
    )
    .ended_with(0);
    nuwave(
        path,
        &[
            "reconstruct",
            "--from",
            "hits",
            "run.parquet",
            "-d",
            "detector.toml",
            "--light-maps",
            "maps",
            "-o",
            "events",
        ],
    )
    .ended_with(0);
    let truth = read_truth(&path.join("run.truth-events.parquet"))
        .expect("truth")
        .events;
    let events = read_events(&path.join("events/events"));
    assert_eq!(events.len(), truth.len());
    let n = events.len() as f64;
    let (mut radial, mut squares, mut energy, mut pulls) = (0.0, 0.0, 0.0, 0.0);
    let mut lost = 0;
    for (event, truth) in events.iter().zip(&truth) {
        assert_eq!(event.event_id, truth.event_id);
        lost += usize::from(event.flags != Flags::NONE);
        let place = [truth.x_mm, truth.y_mm, truth.z_mm];
        let r = place.iter().map(|x| x * x).sum::<f64>().sqrt();
        for ((found, there), sigma) in event
            .position_mm()
            .iter()
            .zip(place)
            .zip(&event.measured[5..8])
        {
            radial += (found - there) * there / r / n;
            squares += (found - there).powi(2) / (3.0 * n);
            pulls += ((found - there) / sigma).powi(2) / (3.0 * n);
        }
        energy += event.measured[4] / truth.energy_mev / n;
    }
    println!(
        "radial bias {radial:.1} mm, {:.1} mm an axis, pulls {:.2}, energy {energy:.4}, {lost} flagged",
        squares.sqrt(),
        pulls.sqrt()
    );
    // 240 photoelectrons in 60 PMTs: 37 mm an axis.
    assert!(radial.abs() < 8.0, "{radial}");
    assert!(squares.sqrt() < 50.0, "{}", squares.sqrt());
    assert!((0.8..1.5).contains(&pulls.sqrt()), "{}", pulls.sqrt());
    assert!((energy - 1.0).abs() < 0.01, "{energy}");
    assert!(lost <= 6, "{lost}");
}

fn threads_change_no_byte_and_an_output_is_not_overwritten(path: &Path) {
    let mut arguments = calibrate("again").to_vec();
    arguments.extend(["--threads", "1"]);
    nuwave(path, &arguments).ended_with(0);
    for name in light_maps::TABLES {
        let bytes = |folder: &str| std::fs::read(path.join(folder).join(name)).expect("written");
        assert!(bytes("maps") == bytes("again"), "{name}");
    }
    nuwave(path, &arguments).refused(5);
}

fn damaged_and_foreign_maps_are_refused(path: &Path) {
    let reconstruct = |maps: &str, detector: &str| {
        let out = format!("out-{maps}");
        nuwave(
            path,
            &[
                "reconstruct",
                "--from",
                "hits",
                "sources.parquet",
                "-d",
                detector,
                "--light-maps",
                maps,
                "-o",
                &out,
            ],
        )
    };
    reconstruct("maps", "juno").refused(3);
    reconstruct("nowhere", "detector.toml").refused(3);
    for (number, name) in light_maps::TABLES.iter().enumerate() {
        let damaged = format!("damaged-{number}");
        let folder = path.join(&damaged);
        copy(&path.join("maps"), &folder);
        let file = folder.join(name);
        let mut bytes = std::fs::read(&file).expect("written");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, bytes).expect("writable");
        reconstruct(&damaged, "detector.toml").refused(3);
        std::fs::remove_file(&file).expect("removable");
        reconstruct(&damaged, "detector.toml").refused(3);
    }
    // The description itself: cut, or with a number that is none.
    let text = std::fs::read_to_string(path.join("maps/light.json")).expect("written");
    let times = text.find("\"times\": ").expect("distributions of times");
    for (name, changed) in [
        ("cut", text[..times].to_owned()),
        (
            "radius",
            text.replace(
                "\"radius_mm\": 645.0,\n  \"window",
                "\"radius_mm\": -1.0,\n  \"window",
            ),
        ),
        ("huge", text.replacen("\"times\": ", "\"times\": 9999", 1)),
        ("version", text.replace("\"version\": 1", "\"version\": 9")),
    ] {
        assert_ne!(text, changed, "{name}");
        let folder = path.join(name);
        copy(&path.join("maps"), &folder);
        std::fs::write(folder.join("light.json"), changed).expect("writable");
        reconstruct(name, "detector.toml").refused(3);
    }
}

#[test]
fn unusable_calibration_runs_are_refused() {
    let path = sources();
    let try_with = |hits: &str, truth: &str, detector: &str| {
        nuwave(
            path,
            &[
                "calibrate",
                "light",
                hits,
                "--truth",
                truth,
                "-d",
                detector,
                "-o",
                "none",
            ],
        )
    };
    let (hits, truth) = ("sources.parquet", "sources.truth-events.parquet");
    try_with(hits, truth, "juno").refused(2);
    let other = [
        "simulate",
        "events",
        "-d",
        "detector.toml",
        "--first-event",
        "1000000",
        "--events",
        "3",
        "-o",
    ];
    nuwave(path, &[&other[..], &["other.parquet"]].concat()).ended_with(0);
    try_with(hits, "other.parquet", "detector.toml").refused(2);
    let many = [
        "simulate",
        "events",
        "-d",
        "detector.toml",
        "--events",
        "2100",
        "--energy",
        "0.1",
        "-o",
    ];
    nuwave(path, &[&many[..], &["many.parquet"]].concat()).ended_with(0);
    try_with("many.parquet", "many.parquet", "detector.toml").refused(2);
    try_with("nothing.parquet", truth, "detector.toml").refused(3);
    assert!(!path.join("none").exists());
}
