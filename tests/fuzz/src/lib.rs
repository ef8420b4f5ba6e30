//! Properties of all readers that hold for any bytes: one function per fuzz target.
//!
//! The fuzz targets in `targets/` call these functions with bytes that libFuzzer makes up, `tests/formats/fuzz_readers.rs` calls
//! them with damaged seeds. They return why the bytes were refused, if they were; a panic is a finding. The caller limits time and memory.

mod repair;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nuwave::detector::Detector;
use nuwave::event::LightModel;
use nuwave::io::{self, BatchLimit, ReadOptions};
use nuwave::model::light_maps::{
    ChannelLight, ChargeTable, EnergyScale, FROM_NS, LightSpeed, LightTables, Nodes, STEP_NS,
    STEP_PE, SplineAxis, Surface, TimeTable, TypeLight,
};
use nuwave::model::{MAX_SAMPLES, MIN_SAMPLES};
use nuwave::{Error, ErrorKind, detector, io::calibration, io::hits};

/// Why the bytes were refused, if they were.
pub type Outcome = Result<(), String>;

/// The check of any bytes.
pub type Check = fn(&[u8]) -> Outcome;

/// Every target: its name, which is that of its folder of seeds, and its check.
pub const TARGETS: [(&str, Check); 16] = [
    ("hdf5", hdf5),
    ("parquet", parquet),
    ("arrow", arrow),
    ("npy", npy),
    ("npz", npz),
    ("wavedump_binary", wavedump_binary),
    ("wavedump_bare", wavedump_bare),
    ("wavedump_text", wavedump_text),
    ("wavedump_numbers", wavedump_numbers),
    ("hits", hits),
    ("tables", tables),
    ("calibration", calibration),
    ("light", light),
    ("detector", detector_file),
    ("sensors", sensors),
    ("configuration", configuration),
];

/// Rows after which a file counts as one without end. Codecs that are unlimited make this of a few kilobytes, rightly.
const ENOUGH: u64 = 1 << 21;
/// Deflate makes at most this of one byte; the readers of what is deflated ask no more of a file.
const MAX_DEFLATE: u64 = 1100;

/// Small batches, so that their borders are met.
const LIMIT: BatchLimit = BatchLimit {
    waveforms: 512,
    samples: 1 << 16,
};

/// A detector of six PMTs on a sphere, for what cannot be read without one.
const SPHERE: &str = r#"
name = "sphere"
description = "Six PMTs on a sphere"
[readout]
sampling_ns = 1.0
adc_bits = 14
polarity = "negative"
baseline_adc = 12000.0
window_samples = 100
trigger_ns = 20.0
[scintillation]
components = [{ tau_ns = 5.0, weight = 1.0 }]
[geometry]
scintillator_radius_mm = 1000.0
sensor_radius_mm = 100.0
[geometry.sensors]
kind = "rings"
radius_mm = 1500.0
[[pmt_type]]
name = "one"
channels = 6
spe_peak_adc = 100.0
charge_sigma_pe = 0.3
noise_adc = 3.0
transit_time_sigma_ns = 1.0
dark_rate_hz = 1000.0
[pmt_type.pulse]
shape = "exponential"
tau_ns = 9.5
sigma_ns = 1.7
"#;

/// A folder of this thread's own, taken away with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "nuwave-fuzz-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder for damaged files");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes `bytes` to the file `name` of this thread's folder and calls `read` with its path; what went wrong has to be
/// said as it should.
fn with_file<T>(
    name: &str,
    bytes: &[u8],
    read: impl FnOnce(&Path) -> Result<T, Error>,
) -> Result<T, String> {
    thread_local! {
        static FOLDER: Folder = Folder::new();
    }
    watch::begin();
    let path = FOLDER.with(|folder| folder.0.join(name));
    std::fs::write(&path, bytes).expect("room for a damaged file");
    let result = read(&path);
    watch::end();
    result.map_err(|error| check_error(&error, name))
}

/// A damaged input is the input's or the user's fault, and the message says which file it is.
fn check_error(error: &Error, name: &str) -> String {
    assert!(
        matches!(error.kind(), ErrorKind::Input | ErrorKind::Usage),
        "an error of the kind {:?}: {error}",
        error.kind()
    );
    let text = error.reason();
    assert!(
        text.contains(name),
        "the message does not name the file: {text}"
    );
    text
}

/// Puts `magic` over the bytes at `place`, as far as there are bytes.
fn overwrite(bytes: &mut [u8], place: usize, magic: &[u8]) {
    if let Some(at) = bytes.get_mut(place..place.saturating_add(magic.len())) {
        at.copy_from_slice(magic);
    }
}

/// Reads all waveforms of a file, and asks of them what `Source` promises. `expansion` is how many samples one byte of
/// the file can become, where that is limited.
fn check_waveforms(
    name: &str,
    bytes: &[u8],
    options: &ReadOptions,
    expansion: Option<u64>,
) -> Outcome {
    with_file(name, bytes, |path| {
        let mut source = io::open(path, options)?;
        let claimed = source.info().n_waveforms;
        let (mut n_waveforms, mut n_samples, mut n_lost) = (0_u64, 0_u64, 0_u64);
        let error = loop {
            let next = source.next_batch(LIMIT);
            for loss in source.take_losses() {
                assert!(
                    !loss.place.is_empty() && !loss.reason.is_empty(),
                    "{loss:?}"
                );
                n_lost = n_lost.saturating_add(loss.at_least());
            }
            let batch = match next {
                Ok(Some(batch)) => batch,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            assert!(!batch.is_empty() && batch.len() <= LIMIT.waveforms);
            assert!(batch.len() == 1 || batch.samples().len() <= LIMIT.samples);
            for waveform in batch.iter() {
                let n = waveform.samples.len();
                assert!((MIN_SAMPLES..=MAX_SAMPLES).contains(&n), "{n} samples");
                assert!(waveform.start_ns.is_finite());
            }
            n_waveforms += batch.len() as u64;
            n_samples += batch.samples().len() as u64;
            if let Some(expansion) = expansion {
                let most = expansion * bytes.len() as u64;
                assert!(
                    n_samples <= most,
                    "{n_samples} samples of {} bytes",
                    bytes.len()
                );
            } else if n_waveforms > ENOUGH {
                return Ok(());
            }
        };
        if let Some(claimed) = claimed {
            assert!(
                n_waveforms <= claimed,
                "{n_waveforms} of {claimed} waveforms"
            );
            assert!(
                error.is_some() || n_lost > 0 || n_waveforms == claimed,
                "{n_waveforms} of {claimed} waveforms, and not a word of the others"
            );
        }
        // An error or the end is the last word.
        assert!(
            matches!(source.next_batch(LIMIT), Ok(None)),
            "goes on after its end"
        );
        assert!(source.take_losses().is_empty(), "losses after the end");
        match error {
            Some(error) => Err(error),
            None => check_units(path, options, n_waveforms),
        }
    })
}

/// The halves of a file, read one without the other, are the whole.
fn check_units(path: &Path, options: &ReadOptions, n_waveforms: u64) -> Result<(), Error> {
    let mut source = io::open(path, options)?;
    source.events_ascend()?;
    let end = source.info().extent.end;
    let mut n_read = 0;
    for half in [0..end / 2, end / 2..end] {
        let mut source = io::open(path, options)?;
        source.select(half)?;
        while let Some(batch) = source.next_batch(LIMIT)? {
            n_read += batch.len() as u64;
        }
    }
    assert_eq!(
        n_read, n_waveforms,
        "the halves of the file have {n_read} waveforms, the whole {n_waveforms}"
    );
    Ok(())
}

/// Waveforms and truth in HDF5.
pub fn hdf5(bytes: &[u8]) -> Outcome {
    let bytes = repair::hdf5(bytes);
    let _ = with_file("damaged.h5", &bytes, io::read_truth);
    check_waveforms(
        "damaged.h5",
        &bytes,
        &ReadOptions::default(),
        Some(MAX_DEFLATE),
    )
}

/// Waveforms in Parquet.
pub fn parquet(bytes: &[u8]) -> Outcome {
    let bytes = repair::parquet(bytes);
    check_waveforms("damaged.parquet", &bytes, &ReadOptions::default(), None)
}

/// Waveforms in Arrow IPC: a file if it begins as one, else a stream.
pub fn arrow(bytes: &[u8]) -> Outcome {
    let mut bytes = bytes.to_vec();
    if !bytes.starts_with(b"ARROW1\0\0") {
        overwrite(&mut bytes, 0, &[0xff; 4]);
    }
    check_waveforms("damaged.arrow", &bytes, &ReadOptions::default(), None)
}

/// Waveforms in an array of NumPy.
pub fn npy(bytes: &[u8]) -> Outcome {
    let mut bytes = bytes.to_vec();
    overwrite(&mut bytes, 0, b"\x93NUMPY");
    check_waveforms("damaged.npy", &bytes, &ReadOptions::default(), Some(1))
}

/// Waveforms in an archive of NumPy.
pub fn npz(bytes: &[u8]) -> Outcome {
    let mut bytes = bytes.to_vec();
    overwrite(&mut bytes, 0, b"PK\x03\x04");
    check_waveforms(
        "damaged.npz",
        &bytes,
        &ReadOptions::default(),
        Some(MAX_DEFLATE),
    )
}

/// WaveDump binary, records with headers.
pub fn wavedump_binary(bytes: &[u8]) -> Outcome {
    check_waveforms(
        "damaged.dat",
        bytes,
        &ReadOptions::default(),
        Some(MAX_DEFLATE),
    )
}

/// A record length that depends on the bytes alone, one in sixteen of them impossible.
fn record_samples(bytes: &[u8]) -> ReadOptions {
    let lengths = [32, 33, 40, 64, 100, 31, 1000, MAX_SAMPLES];
    let choice = lengths.get(bytes.len() % 16).copied();
    ReadOptions {
        record_samples: Some(choice.unwrap_or(50)),
        ..ReadOptions::default()
    }
}

/// WaveDump binary without headers.
pub fn wavedump_bare(bytes: &[u8]) -> Outcome {
    check_waveforms(
        "damaged.dat",
        bytes,
        &record_samples(bytes),
        Some(MAX_DEFLATE),
    )
}

/// WaveDump text, records with header lines.
pub fn wavedump_text(bytes: &[u8]) -> Outcome {
    let mut text = b"Record Length:".to_vec();
    text.extend_from_slice(bytes.strip_prefix(b"Record Length:").unwrap_or(bytes));
    check_waveforms("damaged.txt", &text, &ReadOptions::default(), Some(1))
}

/// WaveDump text without header lines.
pub fn wavedump_numbers(bytes: &[u8]) -> Outcome {
    check_waveforms(
        "damaged.txt",
        bytes,
        &record_samples(bytes),
        Some(MAX_DEFLATE),
    )
}

/// Hits in Parquet, or in HDF5 if it begins so.
pub fn hits(bytes: &[u8]) -> Outcome {
    let is_hdf5 = bytes.starts_with(&repair::HDF5_SIGNATURE);
    let bytes = if is_hdf5 {
        repair::hdf5(bytes)
    } else {
        repair::parquet(bytes)
    };
    with_file("damaged.hits", &bytes, |path| {
        let source = hits::open(path, &ReadOptions::default())?;
        assert!(!source.inputs.is_empty(), "no input");
        // The first pass told how many there are; more are a matter of patience.
        if source.n_hits() > ENOUGH {
            return Ok(());
        }
        let mut rows = source.hits()?;
        let (mut n_hits, mut last) = (0, None);
        while let Some(block) = rows.next_block()? {
            for row in &block {
                assert!(last <= Some(row.event), "events out of order");
                assert!(source.inputs.binary_search(&row.event.0).is_ok());
                last = Some(row.event);
            }
            n_hits += block.len() as u64;
        }
        assert_eq!(n_hits, source.n_hits(), "the passes differ");
        assert!(
            source.events()?.is_none(),
            "a file of hits has no table of events"
        );
        Ok(())
    })
}

/// The tables that `evaluate` and `calibrate light` compare: photoelectrons, hits, waveforms, events.
pub fn tables(bytes: &[u8]) -> Outcome {
    let bytes = repair::parquet(bytes);
    let name = "damaged.parquet";
    let truth = with_file(name, &bytes, io::read_truth).map(drop);
    let hits = with_file(name, &bytes, |path| {
        io::tables::read::stream_hits(path, |hits| {
            assert_eq!(hits.time_ns.len(), hits.len());
            assert_eq!(hits.flags.len(), hits.len());
            Ok(())
        })
    });
    let waveforms = with_file(name, &bytes, |path| {
        io::tables::read::stream_waveforms(path, |waveforms| {
            assert_eq!(waveforms.flags.len(), waveforms.event_id.len());
            Ok(())
        })
    });
    let events = with_file(name, &bytes, io::tables::events::read).map(drop);
    // Each is a table of one kind.
    truth.or(hits).or(waveforms).or(events)
}

/// The calibration file.
pub fn calibration(bytes: &[u8]) -> Outcome {
    let bytes = repair::parquet(bytes);
    with_file("damaged.parquet", &bytes, |path| {
        let calibration = calibration::read(path)?;
        assert!(!calibration.rows().is_empty());
        for row in calibration.rows() {
            assert!(!row.template_adc.is_empty() && row.template_adc.len() <= MAX_SAMPLES);
            assert!(row.template_adc.iter().all(|sample| sample.is_finite()));
            assert!(row.sampling_ns.is_finite() && row.sampling_ns > 0.0);
            assert!(row.area_adc_samples().is_finite());
        }
        for (_, row) in calibration.channels() {
            assert!(row < calibration.rows().len());
        }
        Ok(())
    })
}

/// The description of light maps, next to whole tables.
pub fn light(bytes: &[u8]) -> Outcome {
    thread_local! {
        static MAPS: (Folder, Detector) = light_maps().expect("maps that can be written");
    }
    MAPS.with(|(folder, detector)| {
        let manifest = folder.0.join(io::light_maps::MANIFEST);
        std::fs::write(&manifest, bytes).expect("room for a damaged file");
        watch::begin();
        let sensors = detector.sensors().expect("a geometry");
        let model = io::light_maps::read(&folder.0, detector).and_then(|tables| {
            LightModel::new(tables, Arc::clone(sensors)).map_err(|error| error.in_file(&folder.0))
        });
        watch::end();
        let name = folder.0.file_name().unwrap_or_default();
        model
            .map(drop)
            .map_err(|error| check_error(&error, &name.to_string_lossy()))
    })
}

/// Light maps of the six PMTs, with small tables: the fixed part of [`light`].
fn light_maps() -> Result<(Folder, Detector), Error> {
    let detector = detector::parse(SPHERE, "sphere.toml")?;
    let sensors = detector.sensors().expect("a geometry").as_ref().clone();
    let axis = |low: f64, high: f64| SplineAxis {
        low,
        high,
        intervals: 1,
    };
    let nodes = |low: f64, high: f64| Nodes {
        low,
        high,
        count: 2,
    };
    let map = (axis(0.0, 1.05), axis(6.0, 8.0));
    let n_splines = map.0.splines() * map.1.splines();
    let times = (nodes(0.0, 1.0), nodes(6.0, 8.0));
    let densities: Vec<f64> = (0..240)
        .map(|k| (-(FROM_NS + STEP_NS * f64::from(k)).abs() / 6.0).exp())
        .collect();
    let single: Vec<f64> = (0..100)
        .map(|k| (-0.5 * ((f64::from(k) * STEP_PE - 1.0) / 0.3).powi(2)).exp())
        .collect();
    let tables = LightTables {
        detector: detector.name.clone(),
        geometry_crc32c: sensors.crc32c(),
        radius_mm: 1000.0,
        window_ns: detector.readout.window_ns(),
        flight: LightSpeed {
            radius_mm: Some(1000.0),
            inner_ns_per_mm: 0.005,
            outer_ns_per_mm: 0.0045,
        },
        separation_ns: 10.0,
        seed: [1.3, 0.0],
        types: vec![TypeLight {
            name: "one".to_owned(),
            map: Surface {
                u: map.0,
                v: map.1,
                coefficients: vec![3.0; n_splines],
            },
            times: TimeTable::new(times.0, times.1, &vec![densities; 4]).expect("densities"),
            charges: ChargeTable::new(&single).expect("a spectrum"),
        }],
        channels: (0..sensors.len())
            .map(|_| ChannelLight {
                efficiency: 1.0,
                time_offset_ns: 0.0,
                dark_per_ns: 1e-6,
            })
            .collect(),
        energy: EnergyScale::default(),
    };
    let folder = Folder::new();
    let manifest = io::light_maps::write_tables(
        &folder.0,
        &tables,
        &sensors,
        "nuwave calibrate light",
        serde_json::Value::Null,
    )?;
    let path = folder.0.join(io::light_maps::MANIFEST);
    std::fs::write(path, manifest).expect("room for the description");
    Ok((folder, detector))
}

/// A detector that was accepted can be used.
fn check_detector(detector: &Detector) -> Result<(), Error> {
    let calibration = detector.nominal_calibration()?;
    for row in calibration.rows() {
        assert!(row.template_adc.iter().all(|sample| sample.is_finite()));
    }
    assert_eq!(detector.geometry.is_some(), detector.sensors().is_some());
    for sensor in detector.sensors().iter().flat_map(|sensors| sensors.all()) {
        assert!(sensor.position_mm.iter().all(|x| x.is_finite()));
        assert!(sensor.type_index < detector.pmt_types.len());
    }
    assert!(detector.scintillation.mean_ns().is_finite());
    detector.validate("again")
}

/// The detector file.
pub fn detector_file(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err("is no text".to_owned());
    };
    watch::begin();
    let result = detector::parse(text, "damaged.toml");
    watch::end();
    match result {
        Ok(detector) => {
            check_detector(&detector).expect("an accepted detector can be used");
            Ok(())
        }
        Err(error) => {
            // A table of sensors that is not there is named instead.
            let is_table = text.contains("table");
            Err(check_error(
                &error,
                if is_table { "" } else { "damaged.toml" },
            ))
        }
    }
}

/// The table of sensors that a detector file names: CSV or HDF5.
pub fn sensors(bytes: &[u8]) -> Outcome {
    let bytes = if bytes.starts_with(&repair::HDF5_SIGNATURE) {
        repair::hdf5(bytes)
    } else {
        bytes.to_vec()
    };
    with_file("damaged.csv", &bytes, |path| {
        let text = SPHERE.replace(
            "kind = \"rings\"\nradius_mm = 1500.0",
            "kind = \"table\"\nfile = \"damaged.csv\"",
        );
        let origin = path.with_file_name("sphere.toml");
        let detector = detector::parse(&text, &origin.to_string_lossy());
        // A place within the vessel is the detector file's mistake.
        let detector = detector.map_err(|error| {
            if error.to_string().contains("sphere.toml") {
                error.in_file(path)
            } else {
                error
            }
        })?;
        check_detector(&detector)
    })
}

/// The settings of `nuwave reconstruct`.
pub fn configuration(bytes: &[u8]) -> Outcome {
    with_file("damaged.toml", bytes, nuwave::cli::read_configuration)
}
