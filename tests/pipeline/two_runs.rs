//! Two runs in one input, whose event counters begin alike.

use std::path::Path;

use crate::support::reconstruct::events::events;
use crate::support::reconstruct::{
    Folder, Output, Run, noise, nuwave, output, pulse, reconstruct, write_counts,
};
use nuwave::model::Flags;

const EVENTS: u64 = 6;
const CHANNELS: u32 = 4;

/// The waveforms of a run: event, channel, samples. Every waveform has a pulse of `height` counts at `light`.
fn run(height: f32, light: usize, seed: u64) -> Vec<(u64, u32, Vec<u16>)> {
    let template = pulse(height, 6.0, 60);
    let waveform = |event: u64, channel: u32| {
        let mut samples = noise(seed + 100 * event + u64::from(channel), 2.5, 300);
        for (sample, value) in samples.iter_mut().skip(light).zip(&template) {
            *sample -= value;
        }
        let counts = samples
            .iter()
            .map(|sample| (4784.0 + sample).round() as u16);
        (event, channel, counts.collect())
    };
    let of_event = |event| (0..CHANNELS).map(move |channel| (event, channel));
    let all = (0..EVENTS).flat_map(of_event);
    all.map(|(event, channel)| waveform(event, channel))
        .collect()
}

/// The rows that are flagged, in order.
fn repeated(found: &Output) -> Vec<bool> {
    let flags = found.waveforms.iter().map(|row| row.flags);
    flags.map(|flags| flags.contains(Flags::REPEATED)).collect()
}

fn verified(folder: &Path) -> Run {
    Run::new(nuwave().arg("verify").arg(folder)).ended_with(0)
}

#[test]
fn a_second_run_in_one_input_is_said_flagged_and_left_out_of_events() {
    let folder = Folder::new();
    let first = run(40.0, 80, 1);
    let mut both = first.clone();
    both.extend(run(160.0, 170, 7000));
    let n = first.len();
    let alone = folder.path("alone.parquet");
    write_counts(&alone, 1.0, &first);
    let more = ["-d", "juno", "--overwrite"];
    reconstruct(&[&alone], &folder.path("alone"), &more).ended_with(0);
    let expected = events(&folder.path("alone").join("events"));
    for ending in ["h5", "parquet", "arrow", "npz", "dat", "txt"] {
        let path = folder.path(&format!("both.{ending}"));
        write_counts(&path, 1.0, &both);
        // Units of any size give the same, with and without events.
        for unit_size in ["5", "1000"] {
            for no_events in [false, true] {
                let mut more = vec!["-d", "juno", "--overwrite", "--unit-size", unit_size];
                more.extend(no_events.then_some("--no-events"));
                let target = folder.path("out");
                let run = reconstruct(&[&path], &target, &more).ended_with(0);
                let found = output(&target);
                let flags = repeated(&found);
                assert_eq!(flags[..n], vec![false; n], "{ending}, {unit_size}");
                assert_eq!(flags[n..], vec![true; n], "{ending}, {unit_size}");
                let said = format!("begin again at waveform {n} (event 0 after event 5)");
                assert!(run.stderr.contains(&said), "{ending}: {}", run.stderr);
                let warnings = found.report["warnings"].to_string();
                assert!(warnings.contains(&said), "{warnings}");
                assert!(verified(&target).stderr.contains(&said));
                if !no_events {
                    let found = events(&target.join("events"));
                    assert_eq!(found.len(), expected.len());
                    for (found, expected) in found.iter().zip(&expected) {
                        assert_eq!(found.charge_pe(), expected.charge_pe(), "{ending}");
                    }
                }
            }
        }
    }
}

#[test]
fn shards_flag_what_one_run_flags() {
    let folder = Folder::new();
    let mut both = run(40.0, 80, 1);
    both.extend(run(160.0, 170, 7000));
    let path = folder.path("both.h5");
    write_counts(&path, 1.0, &both);
    let shared = ["-d", "juno", "--unit-size", "7"];
    reconstruct(&[&path], &folder.path("whole"), &shared).ended_with(0);
    let shards: Vec<_> = (1..=3)
        .map(|index| {
            let target = folder.path(&format!("shard{index}"));
            let part = format!("{index}/3");
            let more = [&shared[..], &["--shard", &part]].concat();
            reconstruct(&[&path], &target, &more).ended_with(0);
            target
        })
        .collect();
    let joined = folder.path("joined");
    Run::new(nuwave().arg("merge").args(&shards).arg("-o").arg(&joined)).ended_with(0);
    let (whole, joined) = (output(&folder.path("whole")), output(&joined));
    assert_eq!(joined.waveforms, whole.waveforms);
    assert_eq!(joined.hits, whole.hits);
    assert_eq!(joined.report["warnings"], whole.report["warnings"]);
}

#[test]
fn events_that_are_scattered_over_channels_are_no_second_run() {
    let folder = Folder::new();
    let mut waveforms = run(40.0, 80, 1);
    waveforms.sort_by_key(|waveform| (waveform.1, waveform.0));
    let path = folder.path("channels.npz");
    write_counts(&path, 1.0, &waveforms);
    let target = folder.path("out");
    let run = reconstruct(&[&path], &target, &["-d", "juno"]).ended_with(0);
    assert!(!repeated(&output(&target)).contains(&true));
    let place = "event 0 after event 5 at waveform 6";
    assert!(run.stderr.contains(place), "{}", run.stderr);
    assert!(!run.stderr.contains("begin again"), "{}", run.stderr);
}

#[test]
fn a_counter_that_stands_still_is_said() {
    let folder = Folder::new();
    let mut waveforms = run(40.0, 80, 1);
    for waveform in &mut waveforms {
        waveform.0 = 0;
    }
    let path = folder.path("still.h5");
    write_counts(&path, 1.0, &waveforms);
    let target = folder.path("out");
    let run = reconstruct(&[&path], &target, &["-d", "juno"]).ended_with(0);
    let n_repeated = waveforms.len() - CHANNELS as usize;
    let said = format!("{n_repeated} of {} waveforms (83 %)", waveforms.len());
    assert!(run.stderr.contains(&said), "{}", run.stderr);
    assert!(verified(&target).stderr.contains(&said));
}
