//! Measured files, each read in its own format.

use crate::support::formats::{Read, file, read, values};
use nuwave::model::Polarity;

fn assert_uniform(read: &Read, n_waveforms: usize, n_samples: usize) {
    assert_eq!(read.waveforms.len(), n_waveforms);
    assert!(read.losses.is_empty(), "{:?}", read.losses);
    assert!(
        read.waveforms
            .iter()
            .all(|waveform| values(waveform).len() == n_samples)
    );
}

#[test]
#[ignore = "needs ../shared/data"]
fn uzh_hdf5_and_numpy_agree_on_channel_0() {
    let both = read(&file("uzh_r12699/ready.h5"));
    assert_uniform(&both, 4000, 250);
    assert_eq!(both.info.sampling_ns, Some(2.0));
    assert_eq!(both.info.adc_bits, Some(14));
    assert_eq!(both.info.polarity, Some(Polarity::Negative));
    assert_eq!(both.info.sample_type, "u16");
    let array = read(&file("uzh_r12699/wf0.npy"));
    assert_uniform(&array, 2000, 250);
    assert_eq!(array.info.sample_type, "i32");
    let channel_0: Vec<_> = both
        .waveforms
        .iter()
        .filter(|it| it.channel_id == 0)
        .collect();
    assert_eq!(channel_0.len(), 2000);
    for (a, b) in channel_0.into_iter().zip(&array.waveforms) {
        assert_eq!(values(a), values(b));
    }
}

#[test]
#[ignore = "needs ../shared/data"]
fn v1730_wavedump_and_hdf5_agree() {
    let binary = read(&file("v1730_noise/RUN000001_wave_1.dat"));
    assert_uniform(&binary, 10_002, 130);
    let converted = read(&file("v1730_noise/ready.h5"));
    assert_uniform(&converted, 10_002, 130);
    for (a, b) in binary.waveforms.iter().zip(&converted.waveforms) {
        assert_eq!(values(a), values(b));
    }
    assert!(
        binary
            .waveforms
            .iter()
            .all(|waveform| waveform.channel_id == 1)
    );
}

#[test]
#[ignore = "needs ../shared/data"]
fn the_truncated_wavedump_gives_all_whole_records_and_one_loss() {
    let cut = read(&file("toward_dt5751/wave0_truncated.dat"));
    // A record has 24 + 2 * 406 bytes; the file has 245,760.
    assert_eq!(cut.waveforms.len(), 245_760 / 836);
    assert!(
        cut.waveforms
            .iter()
            .all(|waveform| values(waveform).len() == 406)
    );
    assert_eq!(cut.losses.len(), 1);
    let loss = &cut.losses[0];
    assert_eq!(loss.place, format!("record 293 at byte {}", 293 * 836));
    assert_eq!(loss.n_waveforms, Some(1));
    let converted = read(&file("toward_dt5751/ready_400s.h5"));
    assert_uniform(&converted, 293, 406);
    for (a, b) in cut.waveforms.iter().zip(&converted.waveforms) {
        assert_eq!(values(a), values(b));
    }
}

#[test]
#[ignore = "needs ../shared/data"]
fn coincident_channels_have_the_same_events() {
    let first = read(&file("toward_dt5751/coincidence_wave0.dat"));
    let second = read(&file("toward_dt5751/coincidence_wave1.dat"));
    assert_uniform(&first, 41, 6006);
    assert_uniform(&second, 41, 6006);
    let events = |read: &Read| {
        read.waveforms
            .iter()
            .map(|it| it.event_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(events(&first), events(&second));
    assert!(first.waveforms.iter().all(|it| it.channel_id == 0));
    assert!(second.waveforms.iter().all(|it| it.channel_id == 1));
    assert_uniform(&read(&file("toward_dt5751/run0_wave1.dat")), 53, 6006);
}

#[test]
#[ignore = "needs ../shared/data"]
fn short_windows_and_both_gains_of_nectarcam() {
    let read = read(&file("nectarcam/ready_nectarcam.h5"));
    assert_uniform(&read, 1512, 60);
    assert_eq!(read.info.polarity, Some(Polarity::Positive));
    assert_eq!(read.info.adc_bits, Some(12));
    assert!(read.waveforms.iter().any(|it| it.channel_id >= 1000));
    assert_eq!(
        read.info.detector, None,
        "a sentence is not a detector's name"
    );
}

#[test]
#[ignore = "needs ../shared/data"]
fn floats_in_volts_of_the_test_beam() {
    let read = read(&file("desy_calo/ready_1GSps.h5"));
    assert_uniform(&read, 100, 100);
    assert_eq!(read.info.sample_type, "f32");
    let lowest = read
        .waveforms
        .iter()
        .flat_map(values)
        .fold(f32::INFINITY, f32::min);
    assert!((-4.0..-3.0).contains(&lowest), "{lowest} V");
}

#[test]
#[ignore = "needs ../shared/data"]
fn files_without_waveforms_say_what_they_are() {
    let open = |name: &str| {
        nuwave::io::open(&file(name), &nuwave::io::ReadOptions::default())
            .err()
            .expect("no waveforms")
    };
    let hits = open("liquido/liquido_ready.h5").to_string();
    assert!(
        hits.contains("no table of waveforms") && hits.contains("sensor_xyz_mm"),
        "{hits}"
    );
    let root = open("uzh_r12699/module0_0.root");
    assert!(
        root.to_string().contains("ROOT") && !root.hints().is_empty(),
        "{root}"
    );
    let areas = open("uzh_r12699/wf0_areas.npy").to_string();
    assert!(areas.contains("dimensions"), "{areas}");
}
