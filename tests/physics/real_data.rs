//! `nuwave calibrate spe` on measured single photoelectrons: two 2-inch PMTs under a weak LED.

use std::path::PathBuf;
use std::process::Command;

fn shared_data(name: &str) -> PathBuf {
    let folder = std::env::var_os("NUWAVE_SHARED_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data")),
        PathBuf::from,
    );
    folder.join(name)
}

fn calibrate(extra: &[&str]) -> serde_json::Value {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("spe.parquet");
    let plots = folder.path().join("plots");
    let run = Command::new(env!("CARGO_BIN_EXE_nuwave"))
        .args(["--json", "calibrate", "spe"])
        .arg(shared_data("uzh_r12699/ready.h5"))
        .arg("-o")
        .arg(&output)
        .arg("--plots-dir")
        .arg(&plots)
        .args(extra)
        .output()
        .expect("runs");
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{errors}");
    let calibration = nuwave::io::calibration::read(&output).expect("a calibration");
    assert_eq!(calibration.channels().len(), 2);
    assert_eq!(std::fs::read_dir(&plots).expect("plots").count(), 5);
    serde_json::from_slice(&run.stdout).expect("JSON")
}

fn near(found: &serde_json::Value, expected: f64, tolerance: f64) -> bool {
    let found = found.as_f64().expect("a number");
    eprintln!("{found:.3}, expected {expected:.3}");
    (found / expected - 1.0).abs() < tolerance
}

#[test]
#[ignore = "needs ../shared/data"]
fn gain_and_light_of_two_tubes_are_those_of_an_independent_fit() {
    // The independent fit sums samples 138 to 167; the window found from the data has to give the same within 10 %.
    for (window, tolerance) in [(&["--window", "138:168"][..], 0.04), (&[][..], 0.1)] {
        let result = calibrate(window);
        assert_eq!(result["run"], "led");
        for (channel, gain, gain_sigma, mean_pe) in
            [(0, 848.0, 409.0, 0.93), (1, 548.0, 238.0, 2.49)]
        {
            let channel = &result["channels"][channel];
            assert!(near(&channel["fit"]["gain"], gain, tolerance));
            assert!(near(&channel["fit"]["gain_sigma"], gain_sigma, 0.1));
            assert!(near(&channel["fit"]["mean_pe"], mean_pe, tolerance));
            assert!(near(&channel["noise_adc"], 4.4, 0.15));
            assert!(channel["n_pulses"].as_u64() > Some(150));
            assert_eq!(channel["flags"], serde_json::json!([]));
        }
    }
}
