//! Numbers as values of options.

use crate::support::reconstruct::{Run, nuwave, testdata};

/// A negative number is a value of the option, not another option: the error is about its range.
#[test]
fn a_negative_number_is_refused_for_its_range() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = testdata("juno64.h5");
    let input = input.to_str().expect("a plain path");
    for words in [
        &["reconstruct", input, "-o", "x", "--threshold-sigma", "-5"][..],
        &["reconstruct", input, "-o", "x", "--split-sigma", "-1"],
        &["reconstruct", input, "-o", "x", "--sampling-ns", "-1"],
        &["reconstruct", input, "-o", "x", "--threads", "-1"],
        &["inspect", input, "--sampling-ns", "-1"],
        &["simulate", "waveforms", "-o", "x.h5", "--mean-pe", "-1"],
        &["simulate", "events", "-o", "x.parquet", "--energy", "-1"],
        &[
            "simulate",
            "events",
            "-o",
            "x.parquet",
            "--time-spread-ns",
            "-1",
        ],
        &[
            "simulate",
            "events",
            "-o",
            "x.parquet",
            "--hit-threshold-pe",
            "-1",
        ],
        &["evaluate", "x", "--truth", "t.h5", "--fiducial-mm", "-1"],
        &["bench", "--mean-pe", "-1"],
    ] {
        Run::new(nuwave().current_dir(folder.path()).args(words)).refused(2);
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("a folder").count(),
        0
    );
}
