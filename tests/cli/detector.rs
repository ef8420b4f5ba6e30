//! Detector presets and files, as a user meets them.

use std::process::{Command, Output};

use nuwave::detector::{self, PRESETS};
use proptest::prelude::*;

fn nuwave(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nuwave"))
        .args(arguments)
        .output()
        .expect("the binary runs")
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn every_preset_is_listed_and_its_printed_file_is_the_same_detector() {
    let list = text_of(&nuwave(&["detector"]).stdout);
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, _) in PRESETS {
        assert!(list.lines().any(|line| line.starts_with(name)), "{list}");
        let printed = nuwave(&["detector", name]);
        assert!(printed.status.success());
        let path = folder.path().join("copy.toml");
        std::fs::write(&path, &printed.stdout).expect("writable");
        let path = path.to_str().expect("UTF-8");
        let preset = detector::load(name).expect("a preset");
        assert_eq!(preset.name, *name);
        assert_eq!(detector::load(path).expect("its copy"), preset);
        // Without the comments, too: what serde writes is a detector file.
        let plain = toml::to_string(&preset).expect("serializable");
        assert_eq!(detector::parse(&plain, "plain").expect("its copy"), preset);
        assert!(nuwave(&["detector", path]).status.success());
    }
    assert_eq!(list.lines().count(), PRESETS.len());
}

#[test]
fn a_wrong_file_is_refused_with_the_key_and_a_hint() {
    let (_, juno) = PRESETS[0];
    for (from, to, expected) in [
        (
            "sampling_ns = 1.0 ",
            "sampling_ns = 0.0 ",
            "`readout.sampling_ns` is 0, expected a number from 0.001",
        ),
        ("adc_bits = 14", "adc_bits = 17", "`readout.adc_bits` is 17"),
        ("adc_bits = 14", "adc_bits = \"x\"", "line 10: invalid type"),
        (
            "adc_bits = 14",
            "adc_bit = 14",
            "unknown field `adc_bit`, expected one of `sampling_ns`, `adc_bits`",
        ),
        ("adc_bits = 14", "", "missing field `adc_bits`"),
        ("\"negative\" ", "\"down\" ", "unknown variant `down`"),
        (
            "window_samples = 1000",
            "window_samples = 31",
            "`readout.window_samples` is 31",
        ),
        (
            "trigger_ns = 300.0",
            "trigger_ns = 1000.5",
            "`readout.trigger_ns` is 1000.5",
        ),
        (
            "baseline_adc = 4784.0",
            "baseline_adc = 16384.0",
            "`readout.baseline_adc`",
        ),
        (
            "baseline_adc = 4784.0",
            "baseline_adc = nan",
            "`readout.baseline_adc` is NaN",
        ),
        (
            "weight = 0.707",
            "weight = -1.0",
            "`scintillation.components[0].weight` is -1",
        ),
        ("channels = 12612", "channels = -1", "invalid value"),
        (
            "spe_peak_adc = 115.0 ",
            "spe_peak_adc = inf ",
            "`pmt_type[0].spe_peak_adc` is inf",
        ),
        (
            "tail_fraction = 0.10",
            "tail_fraction = 1.0",
            "`pmt_type[1].tail_fraction`",
        ),
        (
            "\"log-normal\"\npeak_ns = 13.0 ",
            "\"square\"\npeak_ns = 13.0 ",
            "unknown variant `square`",
        ),
        (
            "width = 0.43\n#",
            "width = 0.43\nwide = 1\n#",
            "unknown field `wide`",
        ),
        (
            "width = 0.43\n#",
            "width = 5.0\n#",
            "`pmt_type[0].pulse.width` is 5",
        ),
        (
            "amplitude = 0.005",
            "amplitude = 0.5",
            "`pmt_type[0].pulse` is unusable: the undershoots take",
        ),
        (
            "tau_ns = 250.0",
            "tau_ns = 0.0",
            "`pmt_type[0].pulse.undershoots[2].tau_ns` is 0",
        ),
        ("[readout]", "[readout", "line 8: unclosed table"),
    ] {
        let text = juno.replacen(from, to, 1);
        assert_ne!(text, juno, "`{from}` is not in the preset");
        let error = detector::parse(&text, "mine.toml").expect_err(to);
        let message = error.reason();
        assert!(message.starts_with("`mine.toml`:"), "{message}");
        assert!(message.contains(expected), "`{to}` gives: {message}");
        assert!(!error.hints().is_empty(), "{message}");
    }
}

#[test]
fn an_unknown_detector_names_the_presets_and_exits_with_2() {
    for (name, expected) in [
        ("jnuo", "presets are juno, jinping"),
        ("absent.toml", "cannot read the detector file"),
        ("./absent", "cannot read the detector file"),
        ("src", "is a folder"),
    ] {
        let output = nuwave(&["detector", name]);
        assert_eq!(output.status.code(), Some(2));
        let message = text_of(&output.stderr);
        assert!(message.contains(expected), "{message}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn channels_mix_the_types_in_proportion_from_the_first_on() {
    let juno = detector::load("juno").expect("a preset");
    let dynodes = |channels: std::ops::Range<u32>| {
        channels
            .filter(|&channel| juno.type_of(channel).name == "R12860")
            .count()
    };
    assert_eq!(juno.n_channels(), 17_612);
    assert_eq!(dynodes(0..17_612), 5000);
    for first in [0, 64, 5000, 17_000] {
        // 64 x 5000 / 17612 = 18.2
        assert!((18..=19).contains(&dynodes(first..first + 64)));
    }
}

proptest! {
    #[test]
    fn each_type_gets_exactly_its_number_of_channels(counts in prop::collection::vec(0_u32..40, 1..6)) {
        prop_assume!(counts.iter().sum::<u32>() > 0);
        let mut detector = detector::load("lab").expect("a preset");
        let pmt = detector.pmt_types[0].clone();
        detector.pmt_types = counts
            .iter()
            .map(|&channels| detector::PmtType { channels, ..pmt.clone() })
            .collect();
        let mut found = vec![0; counts.len()];
        for channel in 0..detector.n_channels() {
            found[detector.type_index_of(channel)] += 1;
        }
        prop_assert_eq!(found, counts);
    }
}

#[test]
fn the_nominal_calibration_is_the_described_pulse() {
    let juno = detector::load("juno").expect("a preset");
    let calibration = juno.nominal_calibration().expect("a calibration");
    assert_eq!(calibration.rows().len(), 2);
    assert_eq!(calibration.channels().len(), 17_612);
    let (default, _) = calibration.row_of(u32::MAX).expect("a default");
    let row = &calibration.rows()[default];
    // The most common type has the tail: its spread is that of the mixture, not of the Gaussian alone.
    assert_eq!(row.time_sigma_ns, 7.0);
    // Moments of the mixture: mean 0.9 + 0.1 x 2.2, second moment 0.9 x 1.09 + 0.1 x 2 x 2.2^2.
    let sigma = ((0.9 * 1.09 + 0.2 * 4.84) / 1.12_f64.powi(2) - 1.0).sqrt();
    assert!(
        (f64::from(row.charge_sigma_pe) - sigma).abs() < 2e-3,
        "{}",
        row.charge_sigma_pe
    );
    assert!((row.noise_adc - 8.005).abs() < 1e-3);
    assert!((500..=1024).contains(&row.template_adc.len()));
    assert!(
        (row.template_adc[13] - 115.0).abs() < 2.5,
        "{}",
        row.template_adc[13]
    );
    // Pulse 15.37 ns x 115, undershoots 1.5 + 1.5 + 1.25 ns x 115 (the cut at 1e-4 leaves out 0.03 of it).
    let gain = row.area_adc_samples();
    assert!(
        (gain / 115.0 - (15.37 - 4.25)).abs() < 0.05,
        "{}",
        gain / 115.0
    );
}

#[test]
fn rings_place_every_channel_once_and_evenly() {
    for (name, nearest_mm) in [("juno", 440.0), ("jinping", 300.0)] {
        let detector = detector::load(name).expect("a preset");
        let sensors = detector.sensors().expect("a geometry");
        assert_eq!(sensors.len(), detector.n_channels() as usize);
        let mut sum = [0.0; 3];
        let radius_mm = norm(sensors.all()[0].position_mm);
        for (channel, sensor) in (0..).zip(sensors.all()) {
            assert_eq!(sensor.channel_id, channel);
            assert_eq!(sensors.get(channel), Some(sensor));
            assert_eq!(sensor.type_index, detector.type_index_of(channel));
            assert!((norm(sensor.position_mm) / radius_mm - 1.0).abs() < 1e-12);
            for (sum, x) in sum.iter_mut().zip(sensor.position_mm) {
                *sum += x / radius_mm;
            }
        }
        assert_eq!(sensors.get(detector.n_channels()), None);
        let n = sensors.len() as f64;
        assert!(norm(sum) / n < 0.02, "{name} leans to a side: {sum:?}");
        // No two PMTs share a place. A part of them is enough; all pairs of 17,612 would take a minute.
        let all = sensors.all();
        for (place, one) in all.iter().enumerate().step_by(37) {
            for other in &all[place + 1..] {
                let apart = [0, 1, 2].map(|k| one.position_mm[k] - other.position_mm[k]);
                assert!(norm(apart) > nearest_mm, "{name}: {one:?} {other:?}");
            }
        }
    }
}

fn norm(vector: [f64; 3]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn a_sensor_table_gives_places_and_types_and_names_the_line_that_is_wrong() {
    let (_, juno) = PRESETS[0];
    let rings = "kind = \"rings\"\nradius_mm = 19434.0";
    assert!(juno.contains(rings));
    let table = juno.replace(
        rings,
        "kind = \"table\"\nfile = \"pmts.csv\"\ntypes = { dynode = \"R12860\", mcp = \"NNVT-MCP\" }",
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("table.toml");
    std::fs::write(&path, table).expect("writable");
    let path = path.to_str().expect("UTF-8");
    let with = |rows: &str| {
        std::fs::write(folder.path().join("pmts.csv"), rows).expect("writable");
        detector::load(path)
    };
    let detector = with("channel_id,x_mm,y_mm,z_mm,type\n7,0,0,19000,mcp\n2,0,-19000,0,dynode\n")
        .expect("a good table");
    assert_eq!(detector.n_channels(), 8);
    assert_eq!(detector.type_of(2).name, "R12860");
    assert_eq!(detector.type_of(7).name, "NNVT-MCP");
    let sensors = detector.sensors().expect("a geometry");
    assert_eq!(sensors.len(), 2);
    assert_eq!(sensors.get(3), None);
    assert_eq!(
        sensors.get(7).expect("there").position_mm,
        [0.0, 0.0, 19000.0]
    );
    for (rows, expected) in [
        ("channel_id,x_mm,y_mm,z_mm,type\n", "has no rows"),
        (
            "channel_id,x_mm,y_mm,z_mm\n1,0,0,19000\n",
            "no column `type`",
        ),
        ("channel_id,x_mm,y_mm,type\n", "no column `z_mm`"),
        (
            "channel_id,x_mm,y_mm,z_mm,type\n1,0,0,19000,mcp\n2,0,zero,19000,mcp\n",
            "line 3: `y_mm` is `zero`, expected a number",
        ),
        (
            "channel_id,x_mm,y_mm,z_mm,type\n1,0,0,19000,mcp\n2,0,NaN,19000,mcp\n",
            "channel 2 is at",
        ),
        (
            "channel_id,x_mm,y_mm,z_mm,type\n1,0,0,19000,mcp\n1,0,19000,0,mcp\n",
            "channel 1 occurs twice",
        ),
        (
            "channel_id,x_mm,y_mm,z_mm,type\n1,0,0,19000,veto\n",
            "line 2: `type` is `veto`, expected one of R12860, NNVT-MCP",
        ),
        (
            "channel_id,x_mm,y_mm,z_mm,type\n1,0,0,19000\n",
            "is not CSV",
        ),
        (
            "channel_id,x_mm,y_mm,z_mm,type\n1,0,0,900,mcp\n",
            "outside the vessel of radius 17820",
        ),
        (
            "channel_id,x_mm,y_mm,z_mm,type\n99999999,0,0,19000,mcp\n",
            "channel 99999999 is too large",
        ),
    ] {
        let error = with(rows).expect_err(rows);
        let text = error.reason();
        assert!(text.contains(expected), "{text}\ninstead of {expected}");
        assert!(!error.hints().is_empty(), "{text}");
    }
    std::fs::remove_file(folder.path().join("pmts.csv")).expect("there");
    let error = detector::load(path).expect_err("no such table").to_string();
    assert!(error.contains("pmts.csv"), "{error}");
}
