//! `nuwave reconstruct` to events: from waveforms, from hits of other programs, and from invalid hits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::reconstruct::events::{
    EventRow, Hit, events, report_counts, write_columns, write_hits,
};
use crate::support::reconstruct::{
    Folder, Run, names_in, noise, nuwave, output, reconstruct, testdata, write_counts,
};
use arrow_array::{
    ArrayRef, Float32Array, Float64Array, Int64Array, StringArray, UInt32Array, UInt64Array,
};
use hdf5_pure::FileBuilder;
use nuwave::model::Flags;
use serde_json::Value;

/// Columns of a table by their names.
type Columns<'a> = Vec<(&'a str, ArrayRef)>;

/// Two events of some channels; the rows of each are together.
fn plain_hits() -> Vec<Hit> {
    let hit = |event: u64, k: u32| (event, 37 * k, 250.0 + k as f32, 1.0 + 0.01 * k as f32);
    let mut hits: Vec<Hit> = (0..40).map(|k| hit(3, k)).collect();
    hits.extend((0..60).map(|k| hit(7, k)));
    hits
}

/// `reconstruct --from hits INPUT -d juno`, which has to end well: the events and the report.
#[track_caller]
fn from_hits(folder: &Folder, input: &Path, more: &[&str]) -> (Vec<EventRow>, Value) {
    let (rows, report, code) = from_hits_ending(folder, input, more);
    assert_eq!(code, 0);
    (rows, report)
}

/// The same, ending well or partly.
#[track_caller]
fn from_hits_ending(folder: &Folder, input: &Path, more: &[&str]) -> (Vec<EventRow>, Value, i32) {
    let target = folder.path("events-out");
    let more = [&["--from", "hits", "-d", "juno", "--overwrite"], more].concat();
    let run = reconstruct(&[input], &target, &more);
    let code = run.code.expect("a code");
    assert!([0, 4].contains(&code), "{}", run.stderr);
    run.ended_with(code);
    assert_eq!(names_in(&target), ["events", "report.json"]);
    let rows = events(&target.join("events"));
    let text = std::fs::read_to_string(target.join("report.json")).expect("a report");
    let report = serde_json::from_str(&text).expect("JSON");
    report_counts(&report, &rows);
    (rows, report, code)
}

fn ids(rows: &[EventRow]) -> Vec<u64> {
    rows.iter().map(|row| row.event_id).collect()
}

fn bits(rows: &[EventRow]) -> Vec<(u64, Vec<u64>, u32, Flags)> {
    rows.iter().map(EventRow::bits).collect()
}

#[track_caller]
fn refused(folder: &Folder, input: &Path) {
    folder.refuses(input, &["--from", "hits", "-d", "juno"], 3);
}

/// The preset without its geometry.
fn without_geometry(folder: &Folder) -> String {
    let text = Run::new(nuwave().args(["detector", "juno"])).ended_with(0);
    let mut kept = String::new();
    let mut skipping = false;
    for line in text.stdout.lines() {
        if line.starts_with('[') {
            skipping = line.starts_with("[geometry") || line.starts_with("[medium");
        }
        if !skipping {
            kept += line;
            kept += "\n";
        }
    }
    let path = folder.file("nowhere.toml", kept.as_bytes());
    path.to_str().expect("a plain path").to_owned()
}

#[test]
fn every_event_of_the_waveforms_has_one_row() {
    let folder = Folder::new();
    let target = folder.path("out");
    let run = reconstruct(&[testdata("juno64.h5")], &target, &[]).ended_with(0);
    assert!(run.stderr.contains("centroid"), "{}", run.stderr);
    let found = output(&target);
    let rows = events(&target.join("events"));
    assert_eq!(ids(&rows), (0..16).collect::<Vec<_>>());
    assert_eq!(found.report["events"]["method"], "centroid");
    assert_eq!(found.report["configuration"]["event_method"], "centroid");
    assert!(found.report["timings"]["mean_event_ms"].is_number());
    // The user may do without.
    let more = ["--no-events", "--overwrite"];
    reconstruct(&[testdata("juno64.h5")], &target, &more).ended_with(0);
    assert!(!target.join("events").exists());
    let report = output(&target).report;
    assert_eq!(report["events"]["status"], "absent");
    assert_ne!(
        report["configuration_crc32c"],
        found.report["configuration_crc32c"]
    );
}

#[test]
fn an_event_without_a_hit_has_a_row_too() {
    let folder = Folder::new();
    let path = folder.path("dark.parquet");
    let quiet = |event: u64| {
        let samples = noise(event, 2.0, 200);
        let counts = samples
            .iter()
            .map(|value| (4784.0 + value) as u16)
            .collect();
        (event, 0, counts)
    };
    write_counts(&path, 1.0, &[quiet(5), quiet(9), quiet(11)]);
    let target = folder.path("out");
    reconstruct(&[&path], &target, &["-d", "juno"]).ended_with(0);
    let found = output(&target);
    assert!(found.hits.is_empty());
    let rows = events(&target.join("events"));
    assert_eq!(ids(&rows), [5, 9, 11]);
    assert!(
        rows.iter()
            .all(|row| row.flags.contains(Flags::TOO_FEW_HITS))
    );
    assert_eq!(found.report["events"]["without_hits"], 3);
}

#[test]
fn hits_read_back_give_the_events_again() {
    let folder = Folder::new();
    let target = folder.path("out");
    let inputs = ["juno64.h5", "juno8-parquet.parquet"].map(testdata);
    reconstruct(&inputs, &target, &[]).ended_with(0);
    let first = events(&target.join("events"));
    let (again, report) = from_hits(&folder, &target, &[]);
    assert_eq!(bits(&again), bits(&first));
    // Each input of the folder is one of this run.
    let inputs: Vec<_> = first.iter().map(|row| row.input_id).collect();
    assert!(again.iter().map(|row| row.input_id).eq(inputs));
    assert_eq!(report["inputs"][1]["input_of_table"], 1);
    // Hits are not replaced by their events.
    for input in [target.clone(), target.join("hits")] {
        let more = ["--from", "hits", "-d", "juno", "--overwrite"];
        reconstruct(&[&input], &target, &more).refused(5);
    }
    assert_eq!(events(&target.join("events")).len(), first.len());
    // The folder of events is nobody's input, but may be overwritten.
    refused(&folder, &folder.path("events-out"));
}

#[test]
fn threads_change_no_byte_of_the_events() {
    let folder = Folder::new();
    let path = folder.path("hits.parquet");
    let hits: Vec<Hit> = (0..3000_u64)
        .flat_map(|event| (0..event % 7).map(move |k| (event, k as u32, 240.0, 1.0)))
        .collect();
    write_hits(&path, &hits);
    let bytes = |threads: &str, batch: &str| {
        from_hits(&folder, &path, &["--threads", threads, "--batch", batch]);
        std::fs::read(folder.path("events-out/events/part-00000-00000.parquet")).expect("a part")
    };
    let expected = bytes("1", "4096");
    for (threads, batch) in [("2", "1"), ("2", "7"), ("7", "100000")] {
        assert!(bytes(threads, batch) == expected, "{threads}, {batch}");
    }
}

#[test]
fn tables_of_all_makes_give_the_same_events() {
    let folder = Folder::new();
    let hits = plain_hits();
    let path = folder.path("hits.parquet");
    write_hits(&path, &hits);
    let (expected, report) = from_hits(&folder, &path, &[]);
    assert_eq!(ids(&expected), [3, 7]);
    assert_eq!(report["from"], "hits");
    assert_eq!(report["events"]["hits"], hits.len());
    // A folder of parts, cut within an event.
    let parts = folder.path("parts");
    std::fs::create_dir(&parts).expect("a folder");
    write_hits(&parts.join("a.parquet"), &hits[..55]);
    write_hits(&parts.join("b.parquet"), &hits[55..]);
    assert_eq!(bits(&from_hits(&folder, &parts, &[]).0), bits(&expected));
    // HDF5 with names of its own, and with names that have to be told.
    let h5 = |name: &str, names: [&str; 4]| {
        let column = |of: fn(&Hit) -> i32| hits.iter().map(of).collect::<Vec<_>>();
        let floats = |of: fn(&Hit) -> f32| hits.iter().map(of).collect::<Vec<_>>();
        let mut builder = FileBuilder::new();
        let (event, channel) = (column(|it| it.0 as i32), column(|it| it.1.cast_signed()));
        builder.create_dataset(names[0]).with_i32_data(&event);
        builder.create_dataset(names[1]).with_i32_data(&channel);
        builder
            .create_dataset(names[2])
            .with_f32_data(&floats(|it| it.2));
        builder
            .create_dataset(names[3])
            .with_f32_data(&floats(|it| it.3));
        let path = folder.path(name);
        builder.write(&path).expect("room on the disk");
        path
    };
    let known = h5("known.h5", ["EventID", "ChannelID", "t_ns", "q"]);
    assert_eq!(bits(&from_hits(&folder, &known, &[]).0), bits(&expected));
    let own = h5("own.h5", ["shot", "tube", "when", "how_much"]);
    refused(&folder, &own);
    let columns = "event=shot,channel=tube,time=when,charge=how_much";
    let (rows, _) = from_hits(&folder, &own, &["--columns", columns]);
    assert_eq!(bits(&rows), bits(&expected));
}

#[test]
fn scattered_events_are_gathered() {
    let folder = Folder::new();
    let path = folder.path("hits.parquet");
    let hits = plain_hits();
    write_hits(&path, &hits);
    let (expected, _) = from_hits(&folder, &path, &[]);
    // Every other hit of the one event, then of the other, and back.
    let (early, late): (Vec<_>, Vec<_>) = hits.iter().enumerate().partition(|(k, _)| k % 2 == 0);
    let mut mixed: Vec<Hit> = late.into_iter().chain(early).map(|(_, hit)| *hit).collect();
    mixed.rotate_left(30);
    write_hits(&path, &mixed);
    let (rows, _) = from_hits(&folder, &path, &[]);
    assert_eq!(ids(&rows), ids(&expected));
    // Waveforms of scattered events.
    let path = folder.path("waveforms.parquet");
    let pulse: Vec<u16> = testdata_pulse();
    let waveforms: Vec<_> = [(4, 0), (2, 0), (4, 1), (2, 1), (9, 0)]
        .map(|(event, channel)| (event, channel, pulse.clone()))
        .into();
    write_counts(&path, 1.0, &waveforms);
    let target = folder.path("out");
    reconstruct(&[&path], &target, &["-d", "juno"]).ended_with(0);
    assert_eq!(ids(&events(&target.join("events"))), [2, 4, 9]);
    assert_eq!(output(&target).waveforms.len(), 5);
}

/// A window with something in it.
fn testdata_pulse() -> Vec<u16> {
    let samples = noise(1, 3.0, 300);
    let mut counts: Vec<u16> = samples
        .iter()
        .map(|value| (4784.0 + value) as u16)
        .collect();
    for sample in &mut counts[150..160] {
        *sample -= 300;
    }
    counts
}

#[test]
fn events_of_several_inputs_of_a_table_are_kept_apart() {
    let folder = Folder::new();
    let path = folder.path("hits.parquet");
    let n = 12;
    let input: Vec<u32> = (0..n).map(|k| [4, 2, 4][k % 3]).collect();
    let columns: Columns<'_> = vec![
        ("input_id", Arc::new(UInt32Array::from(input))),
        ("event_id", Arc::new(UInt64Array::from(vec![1; n]))),
        ("channel_id", Arc::new(UInt32Array::from(vec![5; n]))),
        ("time_ns", Arc::new(Float64Array::from(vec![1.0; n]))),
    ];
    write_columns(&path, columns);
    let (rows, report) = from_hits(&folder, &path, &[]);
    let keys: Vec<_> = rows
        .iter()
        .map(|row| (row.input_id, row.event_id))
        .collect();
    assert_eq!(keys, [(0, 1), (1, 1)]);
    let of_table = [0, 1].map(|place: usize| report["inputs"][place]["input_of_table"].clone());
    assert_eq!(of_table, [Value::from(2), Value::from(4)]);
    assert_eq!(names_in(&folder.path("events-out/events")).len(), 2);
}

#[test]
fn without_a_geometry_hits_stay_hits() {
    let folder = Folder::new();
    let detector = without_geometry(&folder);
    let target = folder.path("out");
    let run = reconstruct(&[testdata("juno64.h5")], &target, &["-d", &detector]).ended_with(0);
    assert!(!target.join("events").exists());
    assert!(run.stdout.contains("no geometry"), "{}", run.stdout);
    let hits = folder.path("hits.parquet");
    write_hits(&hits, &plain_hits());
    let from = |more: &[&str]| {
        let more = [&["--from", "hits"], more].concat();
        reconstruct(&[&hits], &folder.path("none"), &more)
    };
    from(&["-d", &detector]).refused(2);
    from(&[]).refused(2);
    from(&["-d", "juno", "--no-events"]).refused(2);
    // A fit needs maps, and they have to be there.
    from(&["-d", "juno", "--event-method", "full"]).refused(2);
    let maps = folder.path("maps");
    let run = from(&[
        "-d",
        "juno",
        "--light-maps",
        maps.to_str().expect("a plain path"),
    ]);
    assert!([Some(2), Some(3)].contains(&run.code), "{}", run.stderr);
    assert!(!folder.path("none").exists());
}

#[test]
fn hits_as_they_should_not_be_give_flags_or_numbers() {
    let folder = Folder::new();
    let path = folder.path("hits.parquet");
    let good = |k: u32| (0, 61 * k, 250.0, 1.0);
    let with = |event: u64, hits: &[(u32, f32, f32)]| -> Vec<Hit> {
        let base = (0..30).map(good).map(|(_, c, t, q)| (event, c, t, q));
        let more = hits.iter().map(|&(c, t, q)| (event, c, t, q));
        base.chain(more).collect()
    };
    let nan = f32::NAN;
    let inf = f32::INFINITY;
    let cases: Vec<Vec<Hit>> = vec![
        with(0, &[(4_000_000_000, 250.0, 1.0), (17_612, 250.0, 1.0)]),
        vec![(1, 5, 250.0, 1.0)],
        vec![(2, 4_000_000_000, 250.0, 1.0)],
        // Dark light alone: few hits all over the window.
        (0..6)
            .map(|k| (3, 2_000 * k, 160.0 * k as f32, 1.0))
            .collect(),
        with(4, &[(7, -1e9, 1.0), (8, 1e9, 1.0)]),
        with(5, &[(61, 250.0, 1.0), (61, 250.0, 1.0)]),
        with(6, &[(9, nan, 1.0), (10, inf, 1.0), (11, -inf, 1.0)]),
        with(7, &[(9, 250.0, nan), (10, 250.0, inf), (11, 250.0, -inf)]),
        with(8, &[(9, -5.0, 1.0), (10, 250.0, -3.0)]),
        with(9, &[(9, 250.0, 1e30), (10, 250.0, f32::MAX)]),
        vec![(10, 5, nan, nan)],
        (0..100).map(|k| (11, k, 250.0, 0.0)).collect(),
        vec![(u64::MAX, 5, 250.0, 1.0)],
    ];
    let n = cases.len();
    write_hits(&path, &cases.concat());
    let (rows, report) = from_hits(&folder, &path, &[]);
    assert_eq!(rows.len(), n);
    assert_eq!(ids(&rows)[..12], (0..12).collect::<Vec<_>>());
    assert_eq!(rows[12].event_id, u64::MAX);
    assert_eq!(report["status"], "complete");
    for few in [1, 2, 10] {
        assert!(rows[few].flags != Flags::NONE, "{:?}", rows[few]);
    }
}

#[test]
fn an_event_of_a_million_hits_is_one_of_three() {
    let folder = Folder::new();
    let path = folder.path("hits.parquet");
    let hit = |k: u32| (2, k % 17_612, 240.0 + (k / 17_612) as f32, 1.0);
    let mut hits: Vec<Hit> = vec![(1, 5, 250.0, 1.0)];
    hits.extend((0..1_000_000).map(hit));
    hits.push((3, 5, 250.0, 1.0));
    write_hits(&path, &hits);
    let (rows, report) = from_hits(&folder, &path, &[]);
    assert_eq!(ids(&rows), [1, 2, 3]);
    assert_eq!(report["totals"]["hits"], 1_000_002);
}

#[test]
fn nulls_are_hits_without_a_number() {
    let folder = Folder::new();
    let path = folder.path("hits.parquet");
    let columns: Columns<'_> = vec![
        (
            "event_id",
            Arc::new(Int64Array::from(vec![
                Some(1),
                Some(1),
                None,
                Some(-4),
                Some(2),
            ])),
        ),
        (
            "channel_id",
            Arc::new(Int64Array::from(vec![
                Some(3),
                None,
                Some(3),
                Some(3),
                Some(-1),
            ])),
        ),
        (
            "time_ns",
            Arc::new(Float32Array::from(vec![
                Some(1.0),
                Some(2.0),
                None,
                Some(3.0),
                None,
            ])),
        ),
    ];
    write_columns(&path, columns);
    // Two rows belong to no event; they are lost and listed.
    let (rows, report, code) = from_hits_ending(&folder, &path, &[]);
    assert_eq!((ids(&rows), code), (vec![1, 2], 4));
    assert_eq!(report["status"], "partial");
    assert_eq!(report["totals"]["lost"], 2);
    assert_eq!(report["losses"][0]["place"], "row 2 and later");
}

#[test]
fn a_table_without_rows_has_no_events() {
    let folder = Folder::new();
    let path = folder.path("hits.parquet");
    write_hits(&path, &[]);
    let (rows, report) = from_hits(&folder, &path, &[]);
    assert!(rows.is_empty());
    assert_eq!(report["inputs"][0]["events"], 0);
}

#[test]
fn tables_without_hits_are_refused() {
    let folder = Folder::new();
    let path = folder.path("hits.parquet");
    let floats = || -> ArrayRef { Arc::new(Float64Array::from(vec![1.0; 3])) };
    let whole = || -> ArrayRef { Arc::new(UInt32Array::from(vec![1; 3])) };
    let text = || -> ArrayRef { Arc::new(StringArray::from(vec!["a"; 3])) };
    let cases: [Columns<'_>; 5] = [
        vec![("event_id", whole()), ("time_ns", floats())],
        vec![("event_id", whole()), ("channel_id", whole())],
        vec![
            ("event_id", floats()),
            ("channel_id", whole()),
            ("time_ns", floats()),
        ],
        vec![
            ("event_id", whole()),
            ("channel_id", text()),
            ("time_ns", floats()),
        ],
        vec![
            ("event_id", whole()),
            ("channel_id", whole()),
            ("time_ns", text()),
        ],
    ];
    for columns in cases {
        write_columns(&path, columns);
        refused(&folder, &path);
    }
    // Cut off, or something else altogether.
    write_hits(&path, &plain_hits());
    let bytes = std::fs::read(&path).expect("the file");
    let cut = folder.file("cut.parquet", &bytes[..bytes.len() / 2]);
    refused(&folder, &cut);
    let letter = folder.file("letter.parquet", b"Dear colleague,\n");
    refused(&folder, &letter);
    refused(&folder, &testdata("juno8-npy.npy"));
    let empty = folder.path("empty");
    std::fs::create_dir(&empty).expect("a folder");
    refused(&folder, &empty);
    refused(&folder, &folder.path("absent.parquet"));
    // Columns of waveforms are not columns of hits, and the other way round.
    let samples = ["--from", "hits", "-d", "juno", "--columns", "samples=wf"];
    reconstruct(&[&path], &folder.path("out"), &samples).refused(2);
    let time = ["--columns", "time=t"];
    reconstruct(&[testdata("juno64.h5")], &folder.path("out"), &time).refused(2);
}

#[test]
fn true_events_of_others_are_read() {
    let folder = Folder::new();
    let path = folder.path("truth.h5");
    let write = |names: &[&str]| {
        let mut builder = FileBuilder::new();
        for (k, name) in names.iter().enumerate() {
            let values = [1.0 + k as f32, 2.0 + k as f32];
            builder.create_dataset(name).with_f32_data(&values);
        }
        builder.write(&path).expect("room on the disk");
        nuwave::io::read_truth(&path)
    };
    let names = [
        "truth_EventID",
        "truth_x_mm",
        "truth_y_mm",
        "truth_z_mm",
        "truth_t",
        "truth_energy_MeV",
    ];
    let truth = write(&names).expect("truth");
    assert!(truth.photoelectrons.is_empty());
    let second = truth.events[1];
    assert_eq!((second.event_id, truth.events.len()), (2, 2));
    assert_eq!([second.x_mm, second.y_mm, second.z_mm], [3.0, 4.0, 5.0]);
    assert_eq!((second.time_ns, second.energy_mev), (6.0, 7.0));
    let error = write(&names[..5]).expect_err("no energies").to_string();
    assert!(error.contains("truth_energy_mev"), "{error}");
    let error = write(&["x", "y"]).expect_err("no truth").to_string();
    assert!(error.contains("holds no truth"), "{error}");
}

/// Damage anywhere in a table is an error or a loss, never a panic.
#[test]
fn a_damaged_table_is_refused_or_read_in_part() {
    let folder = Folder::new();
    let path = folder.path("hits.parquet");
    write_hits(&path, &plain_hits());
    let whole = std::fs::read(&path).expect("the file");
    let events: BTreeSet<u64> = [3, 7].into();
    for place in (4..whole.len()).step_by(whole.len() / 60) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x55;
        std::fs::write(&path, &bytes).expect("room on the disk");
        let target = folder.path("damaged");
        let more = ["--from", "hits", "-d", "juno", "--overwrite", "--quiet"];
        let run = reconstruct(&[&path], &target, &more);
        assert!(
            matches!(run.code, Some(0 | 3 | 4)),
            "byte {place}: {:?} {}",
            run.code,
            run.stderr
        );
        assert!(
            !run.stderr.contains("panicked"),
            "byte {place}: {}",
            run.stderr
        );
        if run.code == Some(0) {
            let rows = crate::support::reconstruct::events::events(&target.join("events"));
            assert!(rows.len() <= events.len() + 100, "byte {place}");
        }
    }
}

#[test]
fn settings_of_events_stand_in_a_file_too() {
    let folder = Folder::new();
    let hits = folder.path("hits.parquet");
    write_hits(&hits, &plain_hits());
    let settings = folder.file(
        "nuwave.toml",
        b"from = \"hits\"\ndetector = \"juno\"\nevent_method = \"centroid\"\n",
    );
    let settings = settings.to_str().expect("a plain path");
    let target: PathBuf = folder.path("out");
    reconstruct(&[&hits], &target, &["--config", settings]).ended_with(0);
    assert_eq!(events(&target.join("events")).len(), 2);
    let printed = Run::new(nuwave().args(["reconstruct", "--config", settings, "--print-config"]))
        .ended_with(0);
    for line in ["from = \"hits\"", "event_method = \"centroid\""] {
        assert!(printed.stdout.contains(line), "{}", printed.stdout);
    }
    // What a file switches off stays off.
    let off = folder.file("off.toml", b"no_events = true\n");
    let off = off.to_str().expect("a plain path");
    let target = folder.path("hits-only");
    reconstruct(&[testdata("juno64.h5")], &target, &["--config", off]).ended_with(0);
    assert!(!target.join("events").exists());
}
