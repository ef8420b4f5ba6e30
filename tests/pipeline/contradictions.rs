//! Statements about the data that the data contradict: one warning each, with the numbers.

use crate::support::reconstruct::events::write_hits;
use crate::support::reconstruct::{
    Folder, calibration, noise, output, pulse, reconstruct, write_calibration, write_counts,
};

/// Waveforms as the preset `juno` has them, unless changed.
#[derive(Clone, Copy)]
struct Data {
    baseline: f32,
    noise: f32,
    length: usize,
    /// Direction of the pulses.
    sign: f32,
    /// Height of the pulses.
    height: f32,
    channels: fn(u64) -> u32,
}

const AS_STATED: Data = Data {
    baseline: 4784.0,
    noise: 8.0,
    length: 1000,
    sign: -1.0,
    height: 300.0,
    channels: |event| 100 * event as u32,
};

impl Data {
    fn waveforms(self) -> Vec<(u64, u32, Vec<u16>)> {
        let template = pulse(self.height, 8.0, 80);
        let one = |event: u64| {
            let mut samples = noise(event, self.noise, self.length);
            for (sample, value) in samples.iter_mut().skip(self.length / 3).zip(&template) {
                *sample += self.sign * value;
            }
            let counts = samples
                .iter()
                .map(|sample| (self.baseline + sample).round() as u16);
            (event, (self.channels)(event), counts.collect())
        };
        (0..40).map(one).collect()
    }
}

/// Reconstructs `data` and returns the warnings of the report, each of which is on stderr too.
#[track_caller]
fn warnings(folder: &Folder, data: Data, more: &[&str]) -> Vec<String> {
    let path = folder.path("data.parquet");
    write_counts(&path, 1.0, &data.waveforms());
    let target = folder.path("out");
    let more = [more, &["--overwrite"]].concat();
    let run = reconstruct(&[&path], &target, &more).ended_with(0);
    let report = output(&target).report;
    let listed = report["warnings"].as_array().expect("a list").clone();
    for warning in &listed {
        let text = warning["text"].as_str().expect("a text");
        assert!(run.stderr.contains(text), "{text} is not in {}", run.stderr);
        assert_eq!(warning["input_id"], 0);
    }
    listed
        .iter()
        .map(|it| it["text"].as_str().expect("a text").to_owned())
        .collect()
}

#[track_caller]
fn only(warnings: &[String], parts: &[&str]) {
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in parts {
        assert!(
            warnings[0].contains(part),
            "`{part}` is not in {warnings:?}"
        );
    }
}

#[test]
fn data_that_are_as_stated_have_no_warning() {
    let folder = Folder::new();
    assert_eq!(
        warnings(&folder, AS_STATED, &["-d", "juno"]),
        Vec::<String>::new()
    );
    let dark = Data {
        height: 0.0,
        ..AS_STATED
    };
    assert_eq!(
        warnings(&folder, dark, &["-d", "juno"]),
        Vec::<String>::new()
    );
}

#[test]
fn what_the_detector_says_is_held_against_the_data() {
    let folder = Folder::new();
    let with = |data: Data| warnings(&folder, data, &["-d", "juno"]);
    let baseline = Data {
        baseline: 5800.0,
        ..AS_STATED
    };
    only(
        &with(baseline),
        &["the mean baseline is 5", "`juno` is nominally 4784"],
    );
    let noise = Data {
        noise: 32.0,
        height: 1000.0,
        ..AS_STATED
    };
    only(
        &with(noise),
        &["ADC counts per sample", "of the calibration"],
    );
    let length = Data {
        length: 500,
        ..AS_STATED
    };
    only(&with(length), &["500 samples", "have 1000"]);
    let channels = Data {
        channels: |event| if event == 0 { 5 } else { 60_000 },
        ..AS_STATED
    };
    let found = with(channels).join("; ");
    assert!(
        found.contains("39 of 40 waveforms (98 %)") && found.contains("geometry"),
        "{found}"
    );
}

#[test]
fn the_wrong_polarity_is_said() {
    let folder = Folder::new();
    for (sign, stated, other) in [
        (1.0, "negative", "positive"),
        (-1.0, "positive", "negative"),
    ] {
        let data = Data { sign, ..AS_STATED };
        let found = warnings(&folder, data, &["-d", "juno", "--polarity", stated]);
        let pulses = format!("of the 40 waveforms looked at, 40 have a {other} pulse and 0 have");
        only(&found, &[&pulses, &format!("is the polarity `{other}`?")]);
    }
}

#[test]
fn what_the_calibration_says_is_held_against_the_data() {
    let folder = Folder::new();
    let path = folder.path("calibration.parquet");
    let of_channels = |noise_adc, channels: &[u32]| {
        let calibration = calibration(pulse(100.0, 8.0, 80), noise_adc, 1.0, channels);
        write_calibration(&path, &calibration);
        warnings(
            &folder,
            AS_STATED,
            &["-c", path.to_str().expect("a plain path")],
        )
    };
    assert_eq!(of_channels(8.0, &[]), Vec::<String>::new());
    only(
        &of_channels(32.0, &[]),
        &["times the 32.000 of the calibration"],
    );
    only(
        &of_channels(8.0, &[100]),
        &["39 of 40 waveforms (98 %)", "calibration does not have"],
    );
}

#[test]
fn starts_beyond_the_precision_of_times_are_said() {
    use crate::support::reconstruct::write_batch;
    use nuwave::model::{Batch, SamplesRef, Waveform};
    let folder = Folder::new();
    let path = folder.path("epoch.parquet");
    let mut batch = Batch::new_u16(0);
    for (event_id, channel_id, samples) in AS_STATED.waveforms() {
        batch.push(Waveform {
            event_id,
            channel_id,
            start_ns: 1.796e18 + 1e6 * event_id as f64,
            samples: SamplesRef::U16(&samples),
        });
    }
    write_batch(&path, 1.0, &batch);
    let run = reconstruct(&[&path], &folder.path("out"), &["-d", "juno"]).ended_with(0);
    assert!(run.stderr.contains("have steps of"), "{}", run.stderr);
}

#[test]
fn hits_of_channels_that_the_geometry_does_not_have_are_said() {
    let folder = Folder::new();
    let path = folder.path("hits.parquet");
    let hits: Vec<_> = (0..200)
        .map(|k| (k / 50, 50_000 + k as u32, 300.0, 1.0))
        .collect();
    write_hits(&path, &hits);
    let more = ["--from", "hits", "-d", "juno"];
    let run = reconstruct(&[&path], &folder.path("out"), &more).ended_with(0);
    assert!(run.stderr.contains("4 of 4 events"), "{}", run.stderr);
}

#[test]
fn a_time_stamp_in_front_of_the_samples_is_said() {
    let folder = Folder::new();
    let path = folder.path("data.parquet");
    let mut rows = AS_STATED.waveforms();
    for (event, _, samples) in &mut rows {
        samples[0] = 12_000 + 50 * *event as u16;
    }
    write_counts(&path, 1.0, &rows);
    let target = folder.path("out");
    reconstruct(&[&path], &target, &["-d", "juno"]).ended_with(0);
    let report = output(&target).report;
    let texts = report["warnings"].as_array().expect("a list");
    assert_eq!(texts.len(), 1, "{texts:?}");
    let text = texts[0]["text"].as_str().expect("a text");
    assert!(
        text.starts_with("40 of 40 waveforms (100 %)") && text.contains("time stamp"),
        "{text}"
    );
}
