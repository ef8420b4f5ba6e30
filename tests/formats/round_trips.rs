//! Every format gives back what was written to it, whatever the sizes of the batches.

use std::path::Path;

use crate::support::formats::{
    Owned, Values, batch, counts, read, read_with, truth, write, write_info,
};
use nuwave::io::{self, BatchLimit, ReadOptions};
use nuwave::model::{Polarity, Truth};
use nuwave::{ErrorKind, Hint};
use proptest::prelude::*;

/// Endings of the formats that hold events and channels.
const WITH_IDS: [&str; 6] = ["h5", "parquet", "arrow", "npz", "dat", "txt"];
/// Endings of the formats that hold waveforms of different lengths.
const MIXED: [&str; 4] = ["parquet", "arrow", "dat", "txt"];
/// Endings of the formats that hold float samples.
const FLOATS: [&str; 4] = ["h5", "parquet", "arrow", "npz"];

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn limits() -> [BatchLimit; 4] {
    let limit = |waveforms, samples| BatchLimit { waveforms, samples };
    [
        limit(1, 1),
        limit(7, usize::MAX),
        limit(usize::MAX, 1000),
        BatchLimit::default(),
    ]
}

/// Writes and reads back with every limit.
fn round_trip(path: &Path, waveforms: &[Owned]) {
    write(path, waveforms, 13, &Truth::default()).unwrap_or_else(|error| panic!("{error}"));
    for limit in limits() {
        let read = read_with(path, &ReadOptions::default(), limit)
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(read.error.is_none() && read.losses.is_empty(), "{read:?}");
        assert_eq!(read.waveforms.len(), waveforms.len(), "{}", path.display());
        assert!(
            read.waveforms == waveforms,
            "{} with {limit:?}",
            path.display()
        );
    }
}

#[test]
fn every_format_gives_back_the_waveforms() {
    let folder = folder();
    // More waveforms than a piece or a chunk holds.
    let waveforms = counts(2500, 100);
    for ending in WITH_IDS {
        round_trip(&folder.path().join(format!("run.{ending}")), &waveforms);
    }
}

#[test]
fn a_plain_array_gives_back_the_samples() {
    let folder = folder();
    let path = folder.path().join("run.npy");
    let mut waveforms = counts(2500, 100);
    for (row, waveform) in waveforms.iter_mut().enumerate() {
        waveform.event_id = row as u64;
        waveform.channel_id = 0;
    }
    round_trip(&path, &waveforms);
    let info = read(&path).info;
    assert_eq!((info.n_waveforms, info.n_samples), (Some(2500), Some(100)));
}

#[test]
fn lengths_may_differ_where_the_format_can_hold_it() {
    let folder = folder();
    let mut waveforms = counts(40, 60);
    for (row, length) in [(3, 32), (5, 65_536), (6, 33), (39, 1000)] {
        waveforms[row] = counts(row as u64 + 1, length).remove(row);
    }
    for ending in MIXED {
        round_trip(&folder.path().join(format!("run.{ending}")), &waveforms);
    }
    for ending in ["h5", "npy", "npz"] {
        let path = folder.path().join(format!("ragged.{ending}"));
        let error = write(&path, &waveforms, 40, &Truth::default()).expect_err("one length only");
        assert_eq!(error.kind(), ErrorKind::Output);
        assert!(error.to_string().contains("lengths") && !error.hints().is_empty());
        assert!(!path.exists());
    }
}

#[test]
fn float_samples_stay_floats() {
    let folder = folder();
    let mut waveforms = counts(50, 40);
    for waveform in &mut waveforms {
        let Values::U16(samples) = &waveform.samples else {
            panic!("counts are integers")
        };
        let floats = samples
            .iter()
            .map(|&sample| f32::from(sample) / 3.0 - 100.0);
        waveform.samples = Values::F32(floats.collect());
    }
    for ending in FLOATS {
        round_trip(&folder.path().join(format!("run.{ending}")), &waveforms);
    }
    for ending in ["dat", "txt"] {
        let path = folder.path().join(format!("run.{ending}"));
        assert!(write(&path, &waveforms, 50, &Truth::default()).is_err());
        assert!(!path.exists());
    }
}

#[test]
fn window_starts_are_kept() {
    let folder = folder();
    let mut waveforms = counts(1500, 40);
    for (row, waveform) in waveforms.iter_mut().enumerate().skip(20) {
        waveform.start_ns = row as f64 * 8.0;
    }
    for ending in FLOATS {
        round_trip(&folder.path().join(format!("run.{ending}")), &waveforms);
    }
}

#[test]
fn readout_values_of_a_file_come_back() {
    let folder = folder();
    for ending in ["h5", "parquet", "arrow", "npz"] {
        let path = folder.path().join(format!("run.{ending}"));
        write(&path, &counts(8, 50), 8, &truth()).expect("a file");
        let info = read(&path).info;
        assert_eq!(info.sampling_ns, Some(2.0), "{ending}");
        assert_eq!(info.adc_bits, Some(14), "{ending}");
        assert_eq!(info.polarity, Some(Polarity::Negative), "{ending}");
        assert_eq!(info.detector.as_deref(), Some("juno"), "{ending}");
        assert_eq!(info.sample_type, "u16", "{ending}");
        assert!(info.has_truth, "{ending}");
        assert_eq!(
            info.n_bytes,
            std::fs::metadata(&path).expect("the file").len()
        );
    }
}

#[test]
fn truth_comes_back_from_the_file_or_its_sidecar() {
    for ending in ["h5", "parquet", "arrow", "npy", "npz", "dat", "txt"] {
        let folder = folder();
        let path = folder.path().join(format!("run.{ending}"));
        write(&path, &counts(8, 50), 8, &truth()).expect("a file");
        assert_eq!(io::read_truth(&path).expect("truth"), truth(), "{ending}");
        let sidecar = folder.path().join("run.truth.parquet");
        assert_eq!(sidecar.exists(), ending != "h5");
        assert!(read(&path).info.has_truth, "{ending}");
        if sidecar.exists() {
            assert_eq!(
                io::read_truth(&sidecar).expect("truth"),
                truth(),
                "{ending}"
            );
        }
    }
}

#[test]
fn a_file_without_truth_says_so() {
    let folder = folder();
    for ending in ["h5", "parquet", "dat"] {
        let path = folder.path().join(format!("run.{ending}"));
        write(&path, &counts(8, 50), 8, &Truth::default()).expect("a file");
        let error = io::read_truth(&path).expect_err("there is none");
        assert_eq!(error.kind(), ErrorKind::Input);
        assert!(!read(&path).info.has_truth);
    }
}

#[test]
fn the_bytes_of_a_file_do_not_depend_on_the_batches() {
    let folder = folder();
    let waveforms = counts(3000, 64);
    for ending in ["h5", "parquet", "arrow", "npy", "npz", "dat", "txt"] {
        let bytes = |per_batch: usize| {
            let path = folder.path().join(format!("{per_batch}.{ending}"));
            write(&path, &waveforms, per_batch, &truth()).expect("a file");
            std::fs::read(path).expect("the file")
        };
        let whole = bytes(3000);
        assert!(whole == bytes(7), "{ending}");
        assert!(whole == bytes(1024), "{ending}");
    }
}

#[test]
fn a_file_without_waveforms_is_a_file() {
    let folder = folder();
    for ending in ["parquet", "arrow"] {
        let path = folder.path().join(format!("none.{ending}"));
        write(&path, &[], 1, &Truth::default()).expect("a file");
        assert!(read(&path).waveforms.is_empty());
    }
}

#[test]
fn nothing_is_left_of_a_file_that_was_not_finished() {
    let folder = folder();
    for ending in ["h5", "parquet", "arrow", "npy", "npz", "dat", "txt"] {
        let path = folder.path().join(format!("run.{ending}"));
        let mut sink = io::create(&path, &write_info()).expect("a sink");
        sink.write(&batch(&counts(2000, 64)))
            .expect("room on the disk");
        drop(sink);
    }
    let left = std::fs::read_dir(folder.path())
        .expect("the folder")
        .count();
    assert_eq!(left, 0);
}

#[test]
fn an_unknown_ending_is_refused() {
    let error = io::create(Path::new("run.xyz"), &write_info())
        .err()
        .expect("no such format");
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(matches!(error.hints(), [Hint::Text(text)] if text.contains(".parquet")));
}

#[test]
fn the_content_decides_not_the_name() {
    let folder = folder();
    let waveforms = counts(10, 50);
    for ending in WITH_IDS {
        let path = folder.path().join(format!("run.{ending}"));
        write(&path, &waveforms, 10, &Truth::default()).expect("a file");
        let renamed = folder.path().join("renamed.png");
        std::fs::rename(&path, &renamed).expect("a rename");
        assert!(read(&renamed).waveforms == waveforms, "{ending}");
    }
}

prop_compose! {
    fn any_waveform(n_samples: std::ops::RangeInclusive<usize>)(
        event_id in any::<u32>(),
        channel_id in 0_u32..64,
        samples in prop::collection::vec(any::<u16>(), n_samples),
    ) -> Owned {
        Owned { event_id: u64::from(event_id), channel_id, start_ns: 0.0, samples: Values::U16(samples) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_waveforms_of_any_lengths_come_back(waveforms in prop::collection::vec(any_waveform(32..=300), 1..60)) {
        let folder = folder();
        for ending in MIXED {
            round_trip(&folder.path().join(format!("run.{ending}")), &waveforms);
        }
    }

    #[test]
    fn any_waveforms_of_one_length_come_back(
        waveforms in (32_usize..300).prop_flat_map(|n| prop::collection::vec(any_waveform(n..=n), 1..60))
    ) {
        let folder = folder();
        for ending in WITH_IDS {
            round_trip(&folder.path().join(format!("run.{ending}")), &waveforms);
        }
    }
}
