//! Tables of hits of other programs whose charge has another name, another unit, or is missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::reconstruct::events::{events, write_columns};
use crate::support::reconstruct::{Folder, Run, reconstruct};
use arrow_array::{ArrayRef, Float32Array, UInt32Array, UInt64Array};
use hdf5_pure::{CompoundTypeBuilder, FileBuilder, make_i64_type};

const HITS: u32 = 120;
/// Sum of the charges below, 1 to 5 PE.
const TOTAL_PE: f64 = 360.0;

fn numbers(of: impl Fn(u32) -> f32) -> Vec<f32> {
    (0..HITS).map(of).collect()
}

/// Writes hits of one event with their charges, if they have a name, as Parquet or HDF5.
fn hits(folder: &Folder, ending: &str, charge: Option<&str>) -> PathBuf {
    let charges: Vec<(&str, f32)> = charge.into_iter().map(|name| (name, 1.0)).collect();
    hits_with(folder, ending, ["event_id", "channel_id"], &charges)
}

/// Writes hits of one event as Parquet or HDF5, with these names of event and channel, and with columns that hold the charges
/// times a factor.
fn hits_with(
    folder: &Folder,
    ending: &str,
    [event, channel]: [&str; 2],
    charges: &[(&str, f32)],
) -> PathBuf {
    let path = folder.path(&format!("hits.{ending}"));
    let times = numbers(|k| 280.0 + (k % 17) as f32);
    let scaled = |factor: f32| numbers(|k| factor * (1.0 + (k % 5) as f32));
    let channels: Vec<u32> = (0..HITS).map(|k| 140 * k).collect();
    if ending == "h5" {
        let mut builder = FileBuilder::new();
        builder
            .create_dataset(event)
            .with_i32_data(&vec![3; HITS as usize]);
        let channels: Vec<i32> = channels.iter().map(|&it| it.cast_signed()).collect();
        builder.create_dataset(channel).with_i32_data(&channels);
        builder.create_dataset("time_ns").with_f32_data(&times);
        for &(name, factor) in charges {
            builder.create_dataset(name).with_f32_data(&scaled(factor));
        }
        builder.write(&path).expect("room on the disk");
        return path;
    }
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        (event, Arc::new(UInt64Array::from(vec![3; HITS as usize]))),
        (channel, Arc::new(UInt32Array::from(channels))),
        ("time_ns", Arc::new(Float32Array::from(times))),
    ];
    for &(name, factor) in charges {
        columns.push((name, Arc::new(Float32Array::from(scaled(factor)))));
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

#[test]
fn a_charge_that_says_photoelectrons_goes_before_one_that_does_not() {
    let folder = Folder::new();
    for (raw, named) in [("charge", "npe"), ("q", "pe"), ("charge", "num_pe")] {
        for ending in ["parquet", "h5"] {
            let ids = ["event_id", "channel_id"];
            let path = hits_with(&folder, ending, ids, &[(raw, 1200.0), (named, 1.0)]);
            let (found, stderr) = charge_pe(&folder, &path, &[]);
            assert_eq!(found, TOTAL_PE, "{raw}, {named}, {ending}");
            let other = format!("charge={raw}");
            for part in [
                format!("takes `{named}`"),
                format!("not `{raw}`"),
                format!("--columns {other}"),
            ] {
                assert!(stderr.contains(&part), "{part}: {stderr}");
            }
            let (found, stderr) = charge_pe(&folder, &path, &["--columns", &other]);
            assert_eq!(found, 1200.0 * TOTAL_PE, "{raw}, {named}, {ending}");
            assert!(!stderr.contains("takes `"), "{stderr}");
        }
    }
}

#[test]
fn of_two_charges_that_say_photoelectrons_one_has_to_be_chosen() {
    let folder = Folder::new();
    for ending in ["parquet", "h5"] {
        let ids = ["event_id", "channel_id"];
        let path = hits_with(&folder, ending, ids, &[("npe", 2.0), ("charge_pe", 1.0)]);
        let parts = ["`charge_pe`", "`npe`", "--columns charge=charge_pe"];
        run(&folder, &path, &[]).refused_with(3, &parts);
        let (found, _) = charge_pe(&folder, &path, &["--columns", "charge=npe"]);
        assert_eq!(found, 2.0 * TOTAL_PE, "{ending}");
    }
}

#[test]
fn events_and_channels_have_the_names_that_waveforms_have() {
    let folder = Folder::new();
    for ids in [["ev", "pmt"], ["evt", "chan"], ["Trigger", "channels"]] {
        for ending in ["parquet", "h5"] {
            let path = hits_with(&folder, ending, ids, &[("npe", 1.0)]);
            assert_eq!(charge_pe(&folder, &path, &[]).0, TOTAL_PE, "{ids:?}");
            let row = &events(&folder.path("out").join("events"))[0];
            assert_eq!((row.event_id, row.n_channels_hit), (3, HITS), "{ids:?}");
        }
    }
}

#[test]
fn hits_in_a_table_of_records_are_refused_with_what_to_write() {
    let folder = Folder::new();
    let datatype = CompoundTypeBuilder::new()
        .field("event_id", make_i64_type())
        .field("channel_id", make_i64_type())
        .f64_field("time_ns")
        .build()
        .expect("a table");
    let mut builder = FileBuilder::new();
    builder
        .create_dataset("hits")
        .with_compound_data(datatype, vec![0; 24], 1);
    let path = folder.path("records.h5");
    builder.write(&path).expect("room on the disk");
    for more in [&[][..], &["--table", "hits"]] {
        let parts = ["`/hits` is a table of records", "one array per column"];
        run(&folder, &path, more).refused_with(3, &parts);
    }
}
