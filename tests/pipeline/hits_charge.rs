//! Tables of hits of other programs whose charge has another name, another unit, or is missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::reconstruct::events::{events, write_columns};
use crate::support::reconstruct::{Folder, Run, reconstruct};
use arrow_array::{ArrayRef, Float32Array, UInt32Array, UInt64Array};
use hdf5_pure::FileBuilder;

const HITS: u32 = 120;
/// Sum of the charges below, 1 to 5 PE.
const TOTAL_PE: f64 = 360.0;

fn numbers(of: impl Fn(u32) -> f32) -> Vec<f32> {
    (0..HITS).map(of).collect()
}

/// Writes hits of one event with their charges, if they have a name, as Parquet or HDF5.
fn hits(folder: &Folder, ending: &str, charge: Option<&str>) -> PathBuf {
    let path = folder.path(&format!("hits.{ending}"));
    let times = numbers(|k| 280.0 + (k % 17) as f32);
    let charges = numbers(|k| 1.0 + (k % 5) as f32);
    let channels: Vec<u32> = (0..HITS).map(|k| 140 * k).collect();
    if ending == "h5" {
        let mut builder = FileBuilder::new();
        builder
            .create_dataset("event_id")
            .with_i32_data(&vec![3; HITS as usize]);
        let channels: Vec<i32> = channels.iter().map(|&it| it.cast_signed()).collect();
        builder
            .create_dataset("channel_id")
            .with_i32_data(&channels);
        builder.create_dataset("time_ns").with_f32_data(&times);
        if let Some(name) = charge {
            builder.create_dataset(name).with_f32_data(&charges);
        }
        builder.write(&path).expect("room on the disk");
        return path;
    }
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        (
            "event_id",
            Arc::new(UInt64Array::from(vec![3; HITS as usize])),
        ),
        ("channel_id", Arc::new(UInt32Array::from(channels))),
        ("time_ns", Arc::new(Float32Array::from(times))),
    ];
    if let Some(name) = charge {
        columns.push((name, Arc::new(Float32Array::from(charges))));
    }
    write_columns(&path, columns);
    path
}

fn run(folder: &Folder, input: &Path, more: &[&str]) -> Run {
    let more = [&["--from", "hits", "-d", "juno", "--overwrite"], more].concat();
    reconstruct(&[input], &folder.path("out"), &more)
}

/// The charge of the event.
#[track_caller]
fn charge_pe(folder: &Folder, input: &Path, more: &[&str]) -> (f64, String) {
    let run = run(folder, input, more).ended_with(0);
    (
        events(&folder.path("out").join("events"))[0].charge_pe(),
        run.stderr,
    )
}

#[test]
fn charges_in_photoelectrons_are_known_by_their_usual_names() {
    let folder = Folder::new();
    for name in [
        "charge_pe",
        "npe",
        "nPE",
        "n_pe",
        "pe",
        "PE",
        "hit_charge",
        "Charge",
        "q",
    ] {
        for ending in ["parquet", "h5"] {
            let path = hits(&folder, ending, Some(name));
            assert_eq!(
                charge_pe(&folder, &path, &[]).0,
                TOTAL_PE,
                "{name}, {ending}"
            );
        }
    }
}

#[test]
fn a_column_that_may_hold_the_charge_in_another_unit_is_asked_about() {
    let folder = Folder::new();
    for name in [
        "tot",
        "ToT",
        "amplitude",
        "charge_pC",
        "photons",
        "ADC_peak",
    ] {
        for ending in ["parquet", "h5"] {
            let path = hits(&folder, ending, Some(name));
            let stated = format!("--columns charge={name}");
            run(&folder, &path, &[]).refused_with(3, &[name, &stated, "charge=none"]);
            let columns = format!("charge={name}");
            let (found, _) = charge_pe(&folder, &path, &["--columns", &columns]);
            assert_eq!(found, TOTAL_PE, "{name}, {ending}");
            let (found, _) = charge_pe(&folder, &path, &["--columns", "charge=none"]);
            assert_eq!(found, f64::from(HITS), "{name}, {ending}");
        }
    }
}

#[test]
fn a_table_without_charges_counts_one_each_and_says_so() {
    let folder = Folder::new();
    for ending in ["parquet", "h5"] {
        let (found, stderr) = charge_pe(&folder, &hits(&folder, ending, None), &[]);
        assert_eq!(found, f64::from(HITS), "{ending}");
        assert!(
            stderr.contains("note: ") && stderr.contains("every hit counts 1 PE"),
            "{stderr}"
        );
        let path = hits(&folder, ending, Some("quality"));
        let (found, stderr) = charge_pe(&folder, &path, &[]);
        assert_eq!(found, f64::from(HITS), "{ending}");
        assert!(stderr.contains("not used: `quality`"), "{stderr}");
    }
}
