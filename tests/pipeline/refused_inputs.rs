//! Inputs that `nuwave reconstruct` refuses: exit code, message, nothing left.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::reconstruct::{
    Folder, WaveformRow, calibration, noise, output, pulse, reconstruct, testdata, write_counts,
    write_floats,
};
use hdf5_pure::FileBuilder;
use nuwave::model::Flags;

const JUNO: &[&str] = &["--detector", "juno"];

/// Counts of a negative pulse of `charge` at sample `at`, on a baseline of 4784 with noise of 8.
fn lit(seed: u64, length: usize, at: usize, charge: f32) -> Vec<f32> {
    let mut samples: Vec<f32> = noise(seed, 8.0, length)
        .into_iter()
        .map(|value| 4784.0 + value)
        .collect();
    for (sample, value) in samples.iter_mut().skip(at).zip(pulse(100.0, 10.0, 80)) {
        *sample -= charge * value;
    }
    samples
}

fn rounded(samples: Vec<f32>) -> Vec<u16> {
    samples
        .into_iter()
        .map(|sample| sample.round() as u16)
        .collect()
}

#[test]
fn files_without_waveforms_are_named_with_what_they_are() {
    let folder = Folder::new();
    let picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    folder.refuses(&folder.file("empty.h5", b""), JUNO, 3);
    folder.refuses(&folder.file("plot.h5", picture), JUNO, 3);
    folder.refuses(&folder.file("notes.dat", b"Dear colleague,\n"), JUNO, 3);
    folder.refuses(&folder.path("absent.h5"), JUNO, 3);
    let empty = folder.path("empty");
    std::fs::create_dir(&empty).expect("a folder");
    folder.refuses(&empty, JUNO, 3);
    let truth = testdata("juno8-parquet.truth.parquet");
    folder.refuses(&truth, JUNO, 3);
}

#[test]
fn truncated_containers_are_refused() {
    let folder = Folder::new();
    for (name, keep) in [("juno64.h5", 400_000), ("juno8-parquet.parquet", 9_000)] {
        let bytes = std::fs::read(testdata(name)).expect("the file");
        let ending = Path::new(name)
            .extension()
            .expect("an ending")
            .to_string_lossy();
        let cut = folder.file(&format!("cut.{ending}"), &bytes[..keep]);
        folder.refuses(&cut, JUNO, 3);
    }
}

#[test]
fn of_two_tables_the_user_is_asked_to_choose_one() {
    let folder = Folder::new();
    let mut builder = FileBuilder::new();
    for name in ["first", "second"] {
        let mut group = builder.create_group(name);
        let samples: Vec<u16> = (0..10 * 64).map(|k| 4784 + k % 7).collect();
        group
            .create_dataset("samples")
            .with_u16_data(&samples)
            .with_shape(&[10, 64]);
        builder.add_group(group.finish());
    }
    let path = folder.path("two.h5");
    builder.write(&path).expect("room on the disk");
    folder.refuses(&path, JUNO, 3);
    let chosen = [
        "-d",
        "juno",
        "--sampling-ns",
        "1",
        "--polarity",
        "negative",
        "--table",
        "second/samples",
    ];
    reconstruct(&[&path], &folder.path("out"), &chosen).ended_with(0);
    assert_eq!(output(&folder.path("out")).waveforms.len(), 10);
}

#[test]
fn rows_of_an_array_that_differ_in_length_are_refused() {
    let folder = Folder::new();
    // What `numpy.save` makes of lists of different lengths: pickled objects.
    let mut text = "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }".to_owned();
    text.extend(std::iter::repeat_n(' ', 117 - text.len()));
    let bytes = [
        b"\x93NUMPY\x01\x00\x76\x00",
        text.as_bytes(),
        b"\n\x80\x04\x95",
    ]
    .concat();
    folder.refuses(&folder.file("ragged.npy", &bytes), JUNO, 3);
}

/// A WaveDump record that says it has `claimed` samples.
fn record(claimed: u32, event: u32, samples: &[u16]) -> Vec<u8> {
    let words = [24 + 2 * claimed, 0, 0, 0, event, 0];
    let header = words.into_iter().flat_map(u32::to_le_bytes);
    header
        .chain(samples.iter().flat_map(|sample| sample.to_le_bytes()))
        .collect()
}

#[test]
fn records_that_cannot_be_used_are_listed_and_the_others_reconstructed() {
    let folder = Folder::new();
    let samples = |event: u32, length| rounded(lit(u64::from(event), length, 100, 3.0));
    let mut bytes = Vec::new();
    for (event, length) in [(0, 300), (1, 0), (2, 300), (3, 20), (4, 300)] {
        bytes.extend(record(length, event, &samples(event, length as usize)));
    }
    bytes.extend(record(1_000_000_000, 5, &samples(5, 300)));
    let input = folder.file("mixed.dat", &bytes);
    let target = folder.path("out");
    let run = reconstruct(&[&input], &target, JUNO).ended_with(4);
    assert!(
        run.stderr.contains("mixed.dat") && run.stdout.contains("lost"),
        "{}",
        run.stderr
    );
    let found = output(&target);
    let events: Vec<_> = found.waveforms.iter().map(|row| row.event_id).collect();
    assert_eq!(events, [0, 2, 4]);
    assert!(found.waveforms.iter().all(|row| row.n_hits > 0));
    let losses = found.report["losses"].as_array().expect("a list");
    let lost: Vec<_> = losses
        .iter()
        .map(|loss| loss["event_id"].as_u64())
        .collect();
    assert_eq!(lost, [Some(1), Some(3), Some(5)]);
    for loss in losses {
        let place = loss["place"].as_str().expect("a place");
        assert!(
            place.starts_with("record ") && place.contains(" at byte "),
            "{place}"
        );
        assert!(run.stderr.contains(place), "{}", run.stderr);
    }
}

#[test]
fn a_header_of_a_billion_samples_costs_neither_memory_nor_time() {
    let folder = Folder::new();
    let input = folder.file("claims.dat", &record(1_000_000_000, 0, &[4784; 300]));
    let begin = Instant::now();
    let run = reconstruct(&[&input], &folder.path("out"), JUNO).ended_with(4);
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(run.stderr.contains("record 0 at byte 0"), "{}", run.stderr);
    let found = output(&folder.path("out"));
    assert_eq!((found.waveforms.len(), found.hits.len()), (0, 0));
    let memory = found.report["timings"]["peak_memory_mib"].as_f64();
    assert!(memory.is_none_or(|memory| memory < 500.0), "{memory:?} MiB");
}

#[test]
fn a_channel_without_calibration_is_listed_and_flagged() {
    let folder = Folder::new();
    let input = folder.path("two.h5");
    let waveforms: Vec<_> = (0..6)
        .map(|row| (row / 2, row as u32 % 2, rounded(lit(row, 400, 150, 2.0))))
        .collect();
    write_counts(&input, 1.0, &waveforms);
    let template = pulse(100.0, 10.0, 80);
    let spe = folder.calibration(
        "spe.parquet",
        &calibration(template.clone(), 8.0, 1.0, &[0]),
    );
    reconstruct(&[&input], &folder.path("out"), &["-c", &spe]).ended_with(0);
    let found = output(&folder.path("out"));
    assert_eq!(
        (found.waveforms.len(), found.flagged(Flags::NO_CALIBRATION)),
        (6, 3)
    );
    for row in &found.waveforms {
        let known = row.channel_id == 0;
        assert_eq!(row.n_hits > 0, known, "{row:?}");
        assert_eq!(row.charge_pe.is_finite(), known, "{row:?}");
    }
    // A default row serves them all, and is flagged where it does.
    let mut both = calibration(template, 8.0, 1.0, &[0]);
    both.set_default(0);
    let spe = folder.calibration("both.parquet", &both);
    reconstruct(&[&input], &folder.path("default"), &["-c", &spe]).ended_with(0);
    let found = output(&folder.path("default"));
    assert_eq!(found.flagged(Flags::NO_CALIBRATION), 3);
    assert!(
        found
            .waveforms
            .iter()
            .all(|row| (row.charge_pe - 2.0).abs() < 0.5),
        "{:?}",
        found.waveforms
    );
}

#[test]
fn a_window_shorter_than_the_template_is_flagged() {
    let folder = Folder::new();
    let input = folder.path("short.h5");
    let waveforms: Vec<_> = (0..20)
        .map(|row| (row, 0, rounded(lit(row, 50, 10, 2.0))))
        .collect();
    write_counts(&input, 1.0, &waveforms);
    let spe = folder.calibration(
        "spe.parquet",
        &calibration(pulse(100.0, 60.0, 900), 8.0, 1.0, &[0]),
    );
    for method in ["deconvolution", "integral", "coti", "sparse"] {
        let target = folder.path(method);
        reconstruct(&[&input], &target, &["-c", &spe, "--method", method]).ended_with(0);
        assert_eq!(output(&target).flagged(Flags::SHORT_WINDOW), 20, "{method}");
    }
}

#[test]
fn a_calibration_that_does_not_fit_is_a_wrong_setting() {
    let folder = Folder::new();
    let spe = folder.calibration(
        "spe.parquet",
        &calibration(pulse(100.0, 10.0, 80), 8.0, 2.0, &[0]),
    );
    folder.refuses(&testdata("juno64.h5"), &["-c", &spe], 2);
    // Absent, empty, damaged, and a file of something else.
    let [absent, empty, damaged] =
        ["absent", "empty", "damaged"].map(|name| folder.path(&format!("{name}.parquet")));
    std::fs::write(&empty, "").expect("writable");
    let bytes = std::fs::read(&spe).expect("readable");
    std::fs::write(&damaged, &bytes[..bytes.len() / 2]).expect("writable");
    for bad in [&absent, &empty, &damaged, &testdata("juno64.h5")] {
        let bad = bad.to_str().expect("Unicode");
        folder.refuses(&testdata("juno64.h5"), &["-d", "juno", "-c", bad], 2);
    }
}

/// Waveforms of floats, each run with all methods; returns the rows of the default method.
fn rows_of(folder: &Folder, waveforms: &[Vec<f32>]) -> Vec<WaveformRow> {
    let input = folder.path("floats.h5");
    let waveforms: Vec<_> = waveforms
        .iter()
        .enumerate()
        .map(|(row, it)| (row as u64, 0, it.clone()))
        .collect();
    write_floats(&input, 1.0, &waveforms);
    let spe = folder.calibration(
        "spe.parquet",
        &calibration(pulse(100.0, 10.0, 80), 8.0, 1.0, &[0]),
    );
    for method in ["integral", "coti", "sparse", "auto", "deconvolution"] {
        let target = folder.path(method);
        reconstruct(&[&input], &target, &["-c", &spe, "--method", method]).ended_with(0);
        assert_eq!(output(&target).waveforms.len(), waveforms.len());
    }
    output(&folder.path("deconvolution")).waveforms
}

#[test]
fn samples_that_are_no_numbers_make_only_their_own_waveform_unusable() {
    let folder = Folder::new();
    let mut waveforms: Vec<_> = (0..9).map(|row| lit(row, 400, 150, 2.0)).collect();
    for (row, place, value) in [
        (2, 10, f32::NAN),
        (4, 390, f32::INFINITY),
        (7, 200, f32::NEG_INFINITY),
        (8, 0, f32::MAX),
    ] {
        waveforms[row][place] = value;
    }
    for (place, row) in rows_of(&folder, &waveforms).iter().enumerate() {
        // A single absurd sample at the edge is no sample.
        assert_eq!(row.flags.contains(Flags::PADDED), place == 8, "{row:?}");
        let bad = [2, 4, 7].contains(&place);
        assert_eq!(row.flags.contains(Flags::NON_FINITE), bad, "{row:?}");
        assert_eq!(
            row.charge_pe.is_nan() && row.baseline_adc.is_nan(),
            bad,
            "{row:?}"
        );
        assert!(bad || (row.charge_pe - 2.0).abs() < 0.5, "{row:?}");
    }
}

#[test]
fn saturated_and_dead_channels_have_a_baseline_and_no_light() {
    let folder = Folder::new();
    let mut cut = lit(3, 400, 150, 200.0);
    for sample in &mut cut {
        *sample = sample.max(0.0);
    }
    let rows = rows_of(
        &folder,
        &[vec![0.0; 400], vec![16_383.0; 400], vec![4784.0; 400], cut],
    );
    let expected = [
        (Flags::SATURATED_LOW | Flags::FLAT, 0.0),
        (Flags::SATURATED_HIGH | Flags::FLAT, 16_383.0),
        (Flags::FLAT, 4784.0),
    ];
    for (row, (flags, baseline_adc)) in rows.iter().zip(expected) {
        assert_eq!(
            (row.flags, row.baseline_adc, row.n_hits, row.charge_pe),
            (flags, baseline_adc, 0, 0.0)
        );
    }
    assert!(
        rows[3].flags.contains(Flags::SATURATED_LOW) && rows[3].n_hits > 0,
        "{:?}",
        rows[3]
    );
    assert!((20.0..200.0).contains(&rows[3].charge_pe), "{:?}", rows[3]);
}
