//! Windows and hits with absolute times: since the start of the run, not of the event.

use std::path::Path;
use std::sync::Arc;

use crate::support::reconstruct::events::{events, write_columns};
use crate::support::reconstruct::{
    Folder, noise, output, pulse, reconstruct, write_batch, write_calibration,
};
use arrow_array::{ArrayRef, Float32Array, Float64Array, UInt32Array, UInt64Array};
use nuwave::model::{Batch, SamplesRef, Waveform};

/// Starts of windows: none, 8 ms, one second, a day.
const STARTS_NS: [f64; 4] = [0.0, 8.388_608e6 + 0.25, 1e9 + 3.0, 8.64e13 + 0.5];
const LIGHT_NS: [usize; 3] = [140, 233, 301];

/// Writes waveforms of one pulse each; event `k` has light at `LIGHT_NS[k % 3]` in a window that begins at `starts_ns(k)`.
fn write_waveforms(path: &Path, starts_ns: impl Fn(u64) -> f64) {
    let template = pulse(40.0, 6.0, 60);
    let mut batch = Batch::new_u16(0);
    for event_id in 0..12_u64 {
        let light = LIGHT_NS[event_id as usize % 3];
        let mut samples = noise(event_id, 1.5, 400);
        for (sample, value) in samples.iter_mut().skip(light).zip(&template) {
            *sample -= value;
        }
        let samples: Vec<u16> = samples
            .iter()
            .map(|s| (5000.0 + s).round() as u16)
            .collect();
        batch.push(Waveform {
            event_id,
            channel_id: 3,
            start_ns: starts_ns(event_id),
            samples: SamplesRef::U16(&samples),
        });
    }
    write_batch(path, 1.0, &batch);
}

#[test]
fn an_absolute_start_of_the_window_costs_no_precision() {
    let folder = Folder::new();
    let calibration = folder.path("calibration.parquet");
    let template = crate::support::reconstruct::calibration(pulse(40.0, 6.0, 60), 1.5, 1.0, &[]);
    write_calibration(&calibration, &template);
    let calibration = calibration.to_str().expect("a plain path");
    let start_of = |event: u64| STARTS_NS[event as usize / 3];
    for method in ["deconvolution", "sparse", "integral", "coti"] {
        let more = ["-c", calibration, "--method", method, "--overwrite"];
        let plain = folder.path("plain.h5");
        write_waveforms(&plain, |_| 0.0);
        reconstruct(&[&plain], &folder.path("plain"), &more).ended_with(0);
        let plain = output(&folder.path("plain"));
        assert_eq!(plain.hits.len(), 12, "{method}");
        for ending in ["h5", "parquet", "arrow", "npz"] {
            let path = folder.path(&format!("run.{ending}"));
            write_waveforms(&path, start_of);
            reconstruct(&[&path], &folder.path("out"), &more).ended_with(0);
            let found = output(&folder.path("out"));
            assert_eq!(found.hits.len(), plain.hits.len(), "{method}, {ending}");
            for (hit, expected) in found.hits.iter().zip(&plain.hits) {
                let time_ns = hit.time_ns - start_of(hit.event_id);
                assert!(
                    (time_ns - expected.time_ns).abs() < 0.02,
                    "{hit:?}, {expected:?}"
                );
                assert_eq!(hit.charge_pe, expected.charge_pe);
            }
            for (row, hit) in found.waveforms.iter().zip(&found.hits) {
                assert_eq!(row.first_time_ns, Some(hit.time_ns));
            }
        }
    }
}

/// Writes hits of one event in 90 channels, from `start_ns` on; as doubles, or as floats of 32 bits.
fn write_hits(path: &Path, start_ns: f64, single: bool) {
    let n = 90_u32;
    let times_ns = (0..n).map(|k| start_ns + 220.0 + f64::from(k % 30));
    let times: ArrayRef = if single {
        Arc::new(Float32Array::from_iter_values(times_ns.map(|t| t as f32)))
    } else {
        Arc::new(Float64Array::from_iter_values(times_ns))
    };
    let column = |of: fn(u32) -> u32| UInt32Array::from_iter_values((0..n).map(of));
    let charge = Float64Array::from_iter_values((0..n).map(|k| 1.0 + 0.01 * f64::from(k)));
    write_columns(
        path,
        vec![
            ("event_id", Arc::new(UInt64Array::from(vec![4; n as usize]))),
            ("channel_id", Arc::new(column(|k| 150 * k))),
            ("time_ns", times),
            ("charge_pe", Arc::new(charge)),
        ],
    );
}

#[test]
fn events_with_absolute_times_are_those_of_the_window() {
    let folder = Folder::new();
    let run = |start_ns: f64, single: bool| {
        let path = folder.path("hits.parquet");
        write_hits(&path, start_ns, single);
        let more = ["--from", "hits", "-d", "juno", "--overwrite"];
        reconstruct(&[&path], &folder.path("out"), &more).ended_with(0);
        events(&folder.path("out").join("events"))[0]
    };
    let expected = run(0.0, false);
    assert_eq!(run(0.0, true).bits(), expected.bits());
    for start_ns in [1e9, 3.6e12, -4000.0] {
        let found = run(start_ns, false);
        assert_eq!(found.flags, expected.flags, "{start_ns}");
        assert_eq!(found.charge_pe(), expected.charge_pe(), "{start_ns}");
        assert_eq!(found.n_channels_hit, 90, "{start_ns}");
        let near = |a: f64, b: f64, tolerance: f64| (a - b).abs() < tolerance;
        for (a, b) in found.position_mm().iter().zip(expected.position_mm()) {
            assert!(near(*a, b, 1e-6), "{start_ns}: {found:?}");
        }
        let time_ns = found.time_ns() - start_ns;
        assert!(
            near(time_ns, expected.time_ns(), 0.01),
            "{start_ns}: {time_ns}"
        );
    }
}
