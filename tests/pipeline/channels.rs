//! Inputs that state no channels, inputs that are named twice, and samples that the digitiser cannot have given.

use std::path::{Path, PathBuf};

use hdf5_pure::FileBuilder;

use crate::support::reconstruct::{Folder, Run, noise, nuwave, output, reconstruct, write_counts};

const DIGITISER: [&str; 8] = [
    "-d",
    "juno",
    "--sampling-ns",
    "1",
    "--polarity",
    "negative",
    "--threads",
    "1",
];
const N_SAMPLES: usize = 200;

/// Counts without light.
fn dark(seed: u64) -> Vec<u16> {
    let noise = noise(seed, 8.0, N_SAMPLES).into_iter();
    noise.map(|value| (8000.0 + value).round() as u16).collect()
}

/// An array of six waveforms.
fn array(folder: &Folder, name: &str, seed: u64) -> PathBuf {
    let path = folder.path(name);
    let waveforms: Vec<_> = (0..6).map(|row| (row, 0, dark(seed + row))).collect();
    write_counts(&path, 1.0, &waveforms);
    path
}

/// Samples of four waveforms without headers.
fn bare(folder: &Folder, name: &str) -> PathBuf {
    let samples = (0..4).flat_map(dark);
    let bytes: Vec<u8> = samples.flat_map(u16::to_le_bytes).collect();
    folder.file(name, &bytes)
}

fn channels(folder: &Path) -> Vec<(u32, u32)> {
    let output = output(folder);
    let mut channels: Vec<_> = output
        .waveforms
        .iter()
        .map(|row| (row.input_id, row.channel_id))
        .collect();
    channels.dedup();
    channels
}

#[test]
fn the_names_of_wavedumps_files_are_their_channels() {
    let folder = Folder::new();
    let inputs = [bare(&folder, "wave3.dat"), bare(&folder, "wave_12.dat")];
    let mut options = DIGITISER.to_vec();
    options.extend(["--record-samples", "200"]);
    let run = reconstruct(&inputs, &folder.path("out"), &options).ended_with(0);
    assert_eq!(channels(&folder.path("out")), [(0, 3), (1, 12)]);
    let note = "the channel is the number in the name of the file";
    assert_eq!(run.stderr.matches(note).count(), 1, "{}", run.stderr);
}

#[test]
fn arrays_without_channels_are_merged_with_a_warning_or_named() {
    let folder = Folder::new();
    let inputs = [
        array(&folder, "run7_2.npy", 1),
        array(&folder, "run7_15.npy", 100),
    ];
    let run = reconstruct(&inputs, &folder.path("merged"), &DIGITISER).ended_with(0);
    assert_eq!(channels(&folder.path("merged")), [(0, 0), (1, 0)]);
    for part in [
        "warning: 2 inputs state no channels",
        "`--channel-id 'run7_{channel}.npy'`",
    ] {
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
    let named = |pattern: &str, name: &str| -> Run {
        let mut options = DIGITISER.to_vec();
        options.extend(["--channel-id", pattern]);
        reconstruct(&inputs, &folder.path(name), &options)
    };
    let run = named("run7_{channel}.npy", "named").ended_with(0);
    assert_eq!(channels(&folder.path("named")), [(0, 2), (1, 15)]);
    assert!(!run.stderr.contains("state no channels"), "{}", run.stderr);
    let run = named("7", "same").ended_with(0);
    assert_eq!(channels(&folder.path("same")), [(0, 7), (1, 7)]);
    assert!(!run.stderr.contains("state no channels"), "{}", run.stderr);
    named("run8_{channel}.npy", "other").refused_with(3, &["run7_2.npy", "run8_{channel}.npy"]);
    named("run7", "wrong").refused_with(2, &["--channel-id", "{channel}"]);
    // Calibration merges no channels without a word either.
    let run = Run::new(
        nuwave()
            .args([
                "calibrate",
                "spe",
                "--polarity",
                "negative",
                "--sampling-ns",
                "1",
            ])
            .args(&inputs)
            .arg("-o")
            .arg(folder.path("calibration.parquet")),
    );
    assert!(
        run.stderr.contains("`--channel-id 'run7_{channel}.npy'`"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_channel_is_not_put_over_those_that_a_file_states() {
    let folder = Folder::new();
    let path = folder.path("run.h5");
    let waveforms: Vec<_> = (0..6)
        .map(|row| (row / 2, 4 + row as u32 % 2, dark(row)))
        .collect();
    write_counts(&path, 1.0, &waveforms);
    let mut options = DIGITISER.to_vec();
    options.extend(["--channel-id", "9"]);
    let run = reconstruct(&[path], &folder.path("out"), &options).ended_with(0);
    let channels: Vec<u32> = output(&folder.path("out"))
        .waveforms
        .iter()
        .map(|row| row.channel_id)
        .collect();
    assert_eq!(channels, [4, 5, 4, 5, 4, 5]);
    assert!(run.stderr.contains("states its channels"), "{}", run.stderr);
}

#[test]
fn samples_above_the_range_of_the_digitiser_give_one_warning() {
    let folder = Folder::new();
    let mut options = DIGITISER.to_vec();
    options.extend(["--adc-bits", "14"]);
    for ending in ["npy", "h5", "parquet", "arrow", "txt", "dat"] {
        let path = folder.path(&format!("run.{ending}"));
        let waveforms: Vec<_> = (0..12)
            .map(|row| {
                let mut samples = dark(row);
                // A flag in the highest bit of two waveforms.
                if row % 6 == 1 {
                    samples[50] = 32_768 + 7000 + row as u16;
                }
                (row, 0, samples)
            })
            .collect();
        write_counts(&path, 1.0, &waveforms);
        let out = folder.path(&format!("out-{ending}"));
        let run = reconstruct(&[&path], &out, &options).ended_with(0);
        let warning =
            "2 of 12 waveforms have samples up to 39775, above the highest value 16383 of 14 bits";
        assert_eq!(run.stderr.matches(warning).count(), 1, "{}", run.stderr);
        let above = &output(&out).report["inputs"][0]["above_range"];
        assert_eq!(above["waveforms"], 2, "{ending}");
    }
    let fine = array(&folder, "fine.npy", 3);
    let run = reconstruct(&[fine], &folder.path("fine"), &options).ended_with(0);
    assert!(!run.stderr.contains("above the highest"), "{}", run.stderr);
}

#[test]
fn groups_of_one_channel_each_are_read_together() {
    let folder = Folder::new();
    let mut builder = FileBuilder::new();
    for channel in [2_u64, 11, 3] {
        let mut group = builder.create_group(&format!("ch{channel}"));
        let samples: Vec<u16> = (0..5).flat_map(|row| dark(10 * channel + row)).collect();
        group
            .create_dataset("waveforms")
            .with_u16_data(&samples)
            .with_shape(&[5, N_SAMPLES as u64]);
        builder.add_group(group.finish());
    }
    let path = folder.path("groups.h5");
    builder.write(&path).expect("room on the disk");
    reconstruct(&[&path], &folder.path("none"), &DIGITISER)
        .refused_with(3, &["`--channel-id 'ch{channel}/waveforms'`"]);
    for pattern in ["ch{channel}", "ch{channel}/waveforms"] {
        let out = folder.path(&format!("out{}", pattern.len()));
        let mut options = DIGITISER.to_vec();
        options.extend(["--channel-id", pattern, "--unit-size", "4"]);
        reconstruct(&[&path], &out, &options).ended_with(0);
        let output = output(&out);
        let mut rows: Vec<_> = output
            .waveforms
            .iter()
            .map(|row| (row.channel_id, row.event_id))
            .collect();
        rows.sort_unstable();
        let expected: Vec<_> = [2, 3, 11]
            .into_iter()
            .flat_map(|channel| (0..5).map(move |event| (channel, event)))
            .collect();
        assert_eq!(rows, expected, "{pattern}");
    }
    // With a group named, only those in it are read.
    let out = folder.path("one");
    let mut options = DIGITISER.to_vec();
    options.extend(["--channel-id", "ch{channel}", "--table", "/ch3"]);
    reconstruct(&[&path], &out, &options).ended_with(0);
    let output = output(&out);
    let channels = output.waveforms.iter().map(|row| row.channel_id);
    assert_eq!(channels.collect::<Vec<_>>(), [3; 5]);
}

#[test]
fn datasets_of_one_channel_each_are_read_together() {
    let folder = Folder::new();
    for (file, group, pattern) in [
        ("root.h5", "", "ch{channel}"),
        ("deep.h5", "waveforms", "{channel}"),
    ] {
        let mut builder = FileBuilder::new();
        let mut inner = builder.create_group(if group.is_empty() { "other" } else { group });
        for channel in [2_u64, 11, 3] {
            let samples: Vec<u16> = (0..5).flat_map(|row| dark(10 * channel + row)).collect();
            let dataset = if group.is_empty() {
                builder.create_dataset(&format!("ch{channel}"))
            } else {
                inner.create_dataset(&channel.to_string())
            };
            dataset
                .with_u16_data(&samples)
                .with_shape(&[5, N_SAMPLES as u64]);
        }
        builder.add_group(inner.finish());
        let path = folder.path(file);
        builder.write(&path).expect("room on the disk");
        let hint = format!("`--channel-id '{pattern}'`");
        reconstruct(&[&path], &folder.path("none"), &DIGITISER).refused_with(3, &[&hint]);
        let out = folder.path(&format!("out-{file}"));
        let mut options = DIGITISER.to_vec();
        options.extend(["--channel-id", pattern]);
        reconstruct(&[&path], &out, &options).ended_with(0);
        let mut rows: Vec<_> = output(&out)
            .waveforms
            .iter()
            .map(|row| (row.channel_id, row.event_id))
            .collect();
        rows.sort_unstable();
        let expected: Vec<_> = [2, 3, 11]
            .into_iter()
            .flat_map(|channel| (0..5).map(move |event| (channel, event)))
            .collect();
        assert_eq!(rows, expected, "{file}");
    }
    // Samples that are named are the only ones.
    let out = folder.path("one");
    let mut options = DIGITISER.to_vec();
    options.extend(["--channel-id", "ch{channel}", "--columns", "samples=ch11"]);
    let run = reconstruct(&[folder.path("root.h5")], &out, &options).ended_with(0);
    let channels: Vec<u32> = output(&out)
        .waveforms
        .iter()
        .map(|row| row.channel_id)
        .collect();
    assert_eq!(channels, [11; 5]);
    assert!(
        run.stderr.contains("warning: ") && run.stderr.contains("`/ch2`, `/ch3` fit the pattern"),
        "{}",
        run.stderr
    );
}

#[cfg(unix)]
#[test]
fn a_file_that_is_named_twice_is_read_once() {
    let folder = Folder::new();
    let path = array(&folder, "run.npy", 3);
    std::fs::create_dir(folder.path("deep")).expect("a folder");
    let link = folder.path("deep/link.npy");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    let hard = folder.path("hard.npy");
    std::fs::hard_link(&path, &hard).expect("a link");
    let dotted = folder.path("deep/../run.npy");
    let inputs = [path, dotted, link, hard];
    let run = reconstruct(&inputs, &folder.path("out"), &DIGITISER).ended_with(0);
    assert_eq!(output(&folder.path("out")).waveforms.len(), 6);
    assert!(
        run.stderr.contains("named more than once"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("state no channels"), "{}", run.stderr);
}
