//! Units of work: shards, plans, merging and verifying; every division of the work gives the same bytes.

use std::path::Path;

use crate::support::units::{
    Folder, Run, assert_nothing_temporary, assert_same, content, nuwave, output, run, simulated,
    testdata,
};
use nuwave::model::Flags;
use serde_json::Value;

/// Files of every format, as arguments.
fn inputs() -> Vec<String> {
    [
        "juno64.h5",
        "juno8-dat.dat",
        "juno8-parquet.parquet",
        "juno8-arrow.arrow",
        "juno8-npz.npz",
        "juno8-npy.npy",
        "juno8-txt.txt",
    ]
    .map(|name| testdata(name).to_str().expect("a plain path").to_owned())
    .into()
}

/// `nuwave reconstruct` of `inputs` into `target`.
fn reconstruct(inputs: &[String], target: &Path, more: &[&str]) -> Run {
    Run::new(
        nuwave()
            .arg("reconstruct")
            .args(inputs)
            .args(["-d", "juno", "--unit-size", "50"])
            .args(more)
            .arg("-o")
            .arg(target),
    )
}

fn merge(shards: &[std::path::PathBuf], target: &Path) -> Run {
    Run::new(nuwave().arg("merge").args(shards).arg("-o").arg(target))
}

#[test]
fn merged_shards_are_a_single_pass_byte_for_byte() {
    let folder = Folder::new();
    let single = folder.path("single");
    reconstruct(&inputs(), &single, &["--threads", "1"]).ended_with(0);
    assert!(
        output(&single).report["units"]
            .as_array()
            .expect("units")
            .len()
            > 20
    );
    for (n, threads) in [(1, "7"), (3, "2"), (7, "7"), (200, "1")] {
        let shards: Vec<_> = (1..=n).map(|k| folder.path(&format!("{n}-{k}"))).collect();
        for (k, shard) in shards.iter().enumerate() {
            // More shards than units: some are empty, and still there.
            if n > 7 && k % 60 != 0 && k % 8 != 7 {
                continue;
            }
            let part = format!("{}/{n}", k + 1);
            reconstruct(&inputs(), shard, &["--shard", &part, "--threads", threads]).ended_with(0);
            run(&["verify", shard.to_str().expect("a plain path")]).ended_with(0);
        }
        if n > 7 {
            continue;
        }
        let merged = folder.path(&format!("merged-{n}"));
        // Their order does not matter.
        let reversed: Vec<_> = shards.into_iter().rev().collect();
        merge(&reversed, &merged).ended_with(0);
        assert_same(&single, &merged);
        assert_nothing_temporary(&merged);
        run(&["verify", merged.to_str().expect("a plain path")]).ended_with(0);
    }
}

#[test]
fn the_plan_says_which_units_there_are() {
    let folder = Folder::new();
    let plan = |more: &[&str]| -> Value {
        let run = Run::new(
            nuwave()
                .args(["plan", "--json", "-d", "juno", "--unit-size", "50"])
                .args(more)
                .args(inputs()),
        );
        serde_json::from_str(&run.ended_with(0).stdout).expect("JSON")
    };
    let all = plan(&[]);
    let total = all["total_units"].as_u64().expect("a number");
    assert_eq!(all["units"].as_array().expect("units").len() as u64, total);
    let mut numbers = Vec::new();
    for k in 1..=3 {
        let shard = plan(&["--shard", &format!("{k}/3")]);
        numbers.extend(
            shard["units"]
                .as_array()
                .expect("units")
                .iter()
                .map(|unit| unit["unit"].as_u64()),
        );
    }
    assert!(numbers.into_iter().eq((0..total).map(Some)));
    // `--units` takes what the plan counts.
    let (first, second) = (folder.path("first"), folder.path("second"));
    reconstruct(&inputs(), &first, &["--units", "0:3"]).ended_with(0);
    reconstruct(&inputs(), &second, &["--units", &format!("3:{total}")]).ended_with(0);
    let (single, merged) = (folder.path("single"), folder.path("merged"));
    reconstruct(&inputs(), &single, &[]).ended_with(0);
    merge(&[first, second], &merged).ended_with(0);
    assert_same(&single, &merged);
    let text = Run::new(
        nuwave()
            .args(["plan", "-d", "juno", "--unit-size", "50"])
            .args(inputs()),
    )
    .ended_with(0);
    assert!(
        text.stdout.contains("juno8-txt.txt")
            && text.stdout.contains(&format!("{total} of {total} units"))
    );
    let beyond = format!("0:{}", total + 1);
    reconstruct(&inputs(), &folder.path("no"), &["--units", &beyond]).refused(2);
    reconstruct(&inputs(), &folder.path("no"), &["--shard", "4/3"]).ended_with(2);
}

#[test]
fn shards_that_do_not_belong_together_are_refused() {
    let folder = Folder::new();
    let shard = |name: &str, more: &[&str]| {
        let target = folder.path(name);
        reconstruct(&inputs(), &target, more).ended_with(0);
        target
    };
    let first = shard("first", &["--shard", "1/2"]);
    let second = shard("second", &["--shard", "2/2"]);
    let other = shard("other", &["--shard", "2/2", "--threshold-sigma", "6"]);
    let target = folder.path("merged");
    merge(std::slice::from_ref(&first), &target).refused(2);
    merge(&[first.clone(), first.clone(), second.clone()], &target).refused(2);
    merge(&[first.clone(), other], &target).refused(2);
    merge(&[first.clone(), folder.path("absent")], &target).refused(3);
    let part = second.join("hits/part-00004-00000.parquet");
    let mut bytes = std::fs::read(&part).expect("a part");
    bytes[100] ^= 1;
    std::fs::write(&part, &bytes).expect("a part");
    // The bytes of a part contain the descriptions of its columns, so its checksum is not in a snapshot.
    let crc = crc32c::crc32c(&bytes);
    bytes[100] ^= 1;
    let (size, crc_of_report) = (bytes.len(), crc32c::crc32c(&bytes));
    merge(&[first, second], &target).refused_with(
        3,
        &[
            "second/hits/part-00004-00000.parquet",
            &format!(
                "has {size} bytes with CRC32C {crc:08x}, its report says {size} and {crc_of_report:08x}"
            ),
        ],
    );
    assert!(!target.exists());
}

#[test]
fn an_output_that_is_not_what_it_was_is_found_out() {
    let folder = Folder::new();
    let input = folder.path("in.h5");
    std::fs::copy(testdata("juno64.h5"), &input).expect("room on the disk");
    let inputs = [input.to_str().expect("a plain path").to_owned()];
    let target = folder.path("out");
    let make = || reconstruct(&inputs, &target, &["--overwrite"]).ended_with(0);
    let verify = |more: &[&str]| Run::new(nuwave().arg("verify").args(more).arg(&target));
    make();
    let passed = verify(&[]).ended_with(0);
    assert!(passed.stdout.contains("passes: "), "{}", passed.stdout);
    assert_eq!(verify(&["--quiet"]).ended_with(0).stdout, "");
    let part = target.join("waveforms/part-00000-00003.parquet");
    let says = |what: &[&str]| {
        let run = verify(&[]).ended_with(3);
        assert!(
            what.iter().all(|what| run.stderr.contains(what)),
            "{}",
            run.stderr
        );
    };

    let bytes = std::fs::read(&part).expect("a part");
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 4;
    std::fs::write(&part, flipped).expect("a part");
    says(&["part-00000-00003", "CRC32C"]);
    std::fs::remove_file(&part).expect("a part");
    says(&["part-00000-00003", "cannot be read"]);
    make();
    std::fs::write(target.join("hits/more.parquet"), bytes).expect("room on the disk");
    says(&["hits/more.parquet", "not in the report"]);

    make();
    let path = target.join("report.json");
    let report: Value =
        serde_json::from_slice(&std::fs::read(&path).expect("a report")).expect("JSON");
    let change = |change: &dyn Fn(&mut Value)| {
        let mut changed = report.clone();
        change(&mut changed);
        std::fs::write(&path, changed.to_string()).expect("a report");
    };
    change(&|report| report["units"][2]["waveforms"] = 7.into());
    says(&["waveforms"]);
    change(&|report| {
        report["units"].as_array_mut().expect("units").remove(2);
    });
    says(&["unit 00000-00002 is missing"]);
    change(&|report| report["outputs"][0]["rows"] = 1.into());
    says(&["parts"]);
    change(&|report| report["inputs"][0]["units"] = 4_000_000_000_u32.into());
    verify(&[]).refused(3);
    for outside in [
        "../report.json",
        "hits/../../in.h5",
        "/etc/passwd",
        "hits/.x",
    ] {
        change(&|report| report["units"][0]["parts"][0]["path"] = outside.into());
        verify(&[]).refused(3);
    }
    change(&|report| report["nuwave"] = 1.into());
    verify(&[]).refused(3);

    make();
    let mut changed = std::fs::read(&input).expect("a file");
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(&input, changed).expect("a file");
    says(&["in.h5", "changed"]);
    verify(&["--no-inputs"]).ended_with(0);
}

#[test]
fn folders_patterns_and_lists_are_the_files_in_them() {
    let folder = Folder::new();
    let runs = folder.path("runs");
    std::fs::create_dir(&runs).expect("a folder");
    let names = ["a.h5", "b.parquet", "c.arrow"];
    for (name, from) in
        names
            .iter()
            .zip(["juno64.h5", "juno8-parquet.parquet", "juno8-arrow.arrow"])
    {
        std::fs::copy(testdata(from), runs.join(name)).expect("room on the disk");
    }
    std::fs::write(runs.join("notes.md"), "no waveforms").expect("room on the disk");
    let text = |path: std::path::PathBuf| path.to_str().expect("a plain path").to_owned();
    let files: Vec<String> = names.iter().map(|name| text(runs.join(name))).collect();
    let expected = folder.path("expected");
    reconstruct(&files, &expected, &[]).ended_with(0);
    let list = folder.file(
        "list.txt",
        format!("# runs\n{}\n", files.join("\n")).as_bytes(),
    );
    for (name, inputs) in [
        ("folder", vec![text(runs.clone())]),
        ("pattern", vec![text(runs.join("*.[hpa]*"))]),
        ("list", vec!["--inputs-from".to_owned(), text(list)]),
    ] {
        let target = folder.path(name);
        reconstruct(&inputs, &target, &[]).ended_with(0);
        assert_same(&expected, &target);
    }
}

/// Rows of whole events in another order: each event is still there once, whatever the unit.
#[test]
fn events_that_come_scattered_are_whole() {
    let folder = Folder::new();
    let row = |event: u64, channel: u32| (event, channel, vec![4784_u16; 64]);
    let order = [5, 2, 9, 2, 5, 1, 9, 9, 4, 5];
    let waveforms: Vec<_> = order
        .iter()
        .enumerate()
        .map(|(k, &event)| row(event, k as u32))
        .collect();
    let path = folder.path("scattered.parquet");
    crate::support::reconstruct::write_counts(&path, 1.0, &waveforms);
    let inputs = [path.to_str().expect("a plain path").to_owned()];
    let single = folder.path("single");
    let settings = ["--unit-size", "3"];
    let args = |more: &[&'static str]| [&["-d", "juno"], &settings[..], more].concat();
    let of = |target: &Path, more: &[&'static str]| {
        Run::new(
            nuwave()
                .arg("reconstruct")
                .args(&inputs)
                .args(args(more))
                .arg("-o")
                .arg(target),
        )
    };
    let run = of(&single, &[]).ended_with(0);
    assert!(run.stderr.contains("ascending"), "{}", run.stderr);
    // Shards cannot divide this input, so the note is printed in any case.
    let quiet = of(&folder.path("quiet"), &["--quiet"]).ended_with(0);
    assert!(quiet.stderr.contains("as one unit"), "{}", quiet.stderr);
    let found = output(&single);
    assert_eq!(found.report["events"]["events"], 5);
    assert_eq!(found.report["inputs"][0]["units"], 4);
    assert_eq!(found.waveforms.len(), order.len());
    let shards = [folder.path("1"), folder.path("2")];
    of(&shards[0], &["--shard", "1/2"]).ended_with(0);
    of(&shards[1], &["--shard", "2/2"]).ended_with(0);
    let merged = folder.path("merged");
    merge(&shards, &merged).ended_with(0);
    assert_same(&single, &merged);
}

#[test]
fn a_block_that_stands_in_a_file_twice_is_flagged() {
    let folder = Folder::new();
    let bytes = std::fs::read(testdata("juno8-dat.dat")).expect("the file");
    let record = bytes.len() / 24;
    // Three records once more, after the event that they belong to.
    let (front, rest) = bytes.split_at(8 * record);
    let again = &front[5 * record..];
    let input = folder.file("twice.dat", &[front, again, rest].concat());
    let inputs = [input.to_str().expect("a plain path").to_owned()];
    let target = folder.path("out");
    let run = reconstruct(&inputs, &target, &[]).ended_with(0);
    assert!(run.stdout.contains("repeated"), "{}", run.stdout);
    let found = output(&target);
    let repeated: Vec<usize> = (0..found.waveforms.len())
        .filter(|&row| found.waveforms[row].flags.contains(Flags::REPEATED))
        .collect();
    assert_eq!(repeated, [8, 9, 10]);
    assert_eq!(found.report["flags"]["repeated"], 3);
    run_verify(&target);
    // The event is as it was without them.
    let whole = folder.path("whole");
    let plain = [testdata("juno8-dat.dat")
        .to_str()
        .expect("a plain path")
        .to_owned()];
    reconstruct(&plain, &whole, &[]).ended_with(0);
    let charge = |folder: &Path| {
        let rows = crate::support::reconstruct::events::events(&folder.join("events"));
        rows.iter()
            .map(crate::support::reconstruct::events::EventRow::charge_pe)
            .collect::<Vec<_>>()
    };
    assert_eq!(charge(&target), charge(&whole));
}

fn run_verify(target: &Path) {
    run(&["verify", target.to_str().expect("a plain path")]).ended_with(0);
}

#[test]
fn events_of_hits_are_divided_too() {
    let folder = Folder::new();
    let waveforms = folder.path("waveforms");
    let files: Vec<String> = inputs().into_iter().take(3).collect();
    reconstruct(&files, &waveforms, &["--no-events"]).ended_with(0);
    let of = |target: &Path, more: &[&str]| {
        let words = [
            "reconstruct",
            "--from",
            "hits",
            "-d",
            "juno",
            "--unit-size",
            "100",
        ];
        Run::new(
            nuwave()
                .args(words)
                .arg(&waveforms)
                .args(more)
                .arg("-o")
                .arg(target),
        )
    };
    let single = folder.path("single");
    of(&single, &[]).ended_with(0);
    let report = &content(&single)["report.json"];
    let report: Value = serde_json::from_slice(report).expect("JSON");
    let units = report["units"].as_array().expect("units").len();
    assert!(units > 10, "{units}");
    let events = report["events"]["events"].as_u64().expect("a number");
    assert_eq!(events, 16 + 3 + 3);
    run_verify(&single);
    let shards: Vec<_> = (1..=3).map(|k| folder.path(&k.to_string())).collect();
    for (k, shard) in shards.iter().enumerate() {
        of(shard, &["--shard", &format!("{}/3", k + 1)]).ended_with(0);
    }
    let merged = folder.path("merged");
    merge(&shards, &merged).ended_with(0);
    assert_same(&single, &merged);
    // A list names folders of hits as the command line does; an output inside one of them would change it.
    let listed = folder.path("listed");
    let list = folder.file(
        "list.txt",
        waveforms.to_str().expect("a plain path").as_bytes(),
    );
    let words = [
        "reconstruct",
        "--from",
        "hits",
        "-d",
        "juno",
        "--unit-size",
        "100",
        "--inputs-from",
    ];
    Run::new(nuwave().args(words).arg(list).arg("-o").arg(&listed)).ended_with(0);
    assert_same(&single, &listed);
    of(&waveforms.join("events"), &[]).refused(5);
    // And they are those that a pass over waveforms makes.
    let direct = folder.path("direct");
    reconstruct(&files, &direct, &[]).ended_with(0);
    let rows = |folder: &Path| {
        let rows = crate::support::reconstruct::events::events(&folder.join("events"));
        rows.iter()
            .map(|row| (row.input_id, row.event_id, row.charge_pe().to_bits()))
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&single), rows(&direct));
}

/// Inputs large enough for several of their own units of half a GiB are divided without being told to; small ones are not.
#[test]
fn a_small_input_is_one_unit() {
    let folder = Folder::new();
    let path = simulated(&folder, "small.dat", 3, 1);
    let target = folder.path("out");
    Run::new(
        nuwave()
            .args(["reconstruct", &path, "-d", "juno"])
            .arg("-o")
            .arg(&target),
    )
    .ended_with(0);
    assert_eq!(
        output(&target).report["units"]
            .as_array()
            .expect("units")
            .len(),
        1
    );
}
