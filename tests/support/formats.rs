//! Waveforms for the format tests, and how to write and read them.

use std::path::{Path, PathBuf};

use nuwave::Result;
use nuwave::io::{self, BatchLimit, Loss, ReadOptions, SourceInfo, WriteInfo};
use nuwave::model::{Batch, Photoelectron, Polarity, SamplesRef, TrueEvent, Truth, Waveform};

/// A waveform that owns its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Owned {
    pub event_id: u64,
    pub channel_id: u32,
    pub start_ns: f64,
    pub samples: Values,
}

/// Samples of either type.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    U16(Vec<u16>),
    F32(Vec<f32>),
}

impl Owned {
    pub fn from_waveform(waveform: Waveform<'_>) -> Self {
        Self {
            event_id: waveform.event_id,
            channel_id: waveform.channel_id,
            start_ns: waveform.start_ns,
            samples: match waveform.samples {
                SamplesRef::U16(samples) => Values::U16(samples.to_vec()),
                SamplesRef::F32(samples) => Values::F32(samples.to_vec()),
            },
        }
    }

    pub fn as_waveform(&self) -> Waveform<'_> {
        Waveform {
            event_id: self.event_id,
            channel_id: self.channel_id,
            start_ns: self.start_ns,
            samples: match &self.samples {
                Values::U16(samples) => SamplesRef::U16(samples),
                Values::F32(samples) => SamplesRef::F32(samples),
            },
        }
    }
}

/// `n` waveforms of `n_samples` counts each; events and channels differ, and so does every waveform.
pub fn counts(n: u64, n_samples: usize) -> Vec<Owned> {
    (0..n)
        .map(|row| Owned {
            event_id: 100 + row / 4,
            channel_id: (row % 4) as u32,
            start_ns: 0.0,
            samples: Values::U16(
                (0..n_samples as u64)
                    .map(|sample| ((row * 7919 + sample * 104_729) % 16_384) as u16)
                    .collect(),
            ),
        })
        .collect()
}

pub fn batch(waveforms: &[Owned]) -> Batch {
    let mut batch = match waveforms.first().map(|first| &first.samples) {
        Some(Values::F32(_)) => Batch::new_f32(0),
        _ => Batch::new_u16(0),
    };
    for waveform in waveforms {
        batch.push(waveform.as_waveform());
    }
    batch
}

pub fn write_info() -> WriteInfo {
    WriteInfo {
        sampling_ns: 2.0,
        adc_bits: 14,
        polarity: Polarity::Negative,
        detector: "juno".to_owned(),
        origin: "nuwave simulate waveforms --seed 1".to_owned(),
    }
}

pub fn write(path: &Path, waveforms: &[Owned], per_batch: usize, truth: &Truth) -> Result<()> {
    let mut sink = io::create(path, &write_info())?;
    for part in waveforms.chunks(per_batch) {
        sink.write(&batch(part))?;
    }
    sink.finish(truth)
}

/// Everything a source gives.
#[derive(Debug)]
pub struct Read {
    pub info: SourceInfo,
    pub waveforms: Vec<Owned>,
    pub losses: Vec<Loss>,
    /// The error that ended reading before the end of the file.
    pub error: Option<nuwave::Error>,
}

pub fn read_with(path: &Path, options: &ReadOptions, limit: BatchLimit) -> Result<Read> {
    let mut source = io::open(path, options)?;
    let mut read = Read {
        info: source.info().clone(),
        waveforms: Vec::new(),
        losses: Vec::new(),
        error: None,
    };
    loop {
        match source.next_batch(limit) {
            Ok(Some(batch)) => {
                assert!(!batch.is_empty() && batch.len() <= limit.waveforms.max(1));
                assert!(batch.len() == 1 || batch.samples().len() <= limit.samples);
                read.waveforms
                    .extend(batch.iter().map(Owned::from_waveform));
            }
            Ok(None) => break,
            Err(error) => {
                read.error = Some(error);
                break;
            }
        }
        read.losses.extend(source.take_losses());
    }
    read.losses.extend(source.take_losses());
    Ok(read)
}

/// Reads a file that has to be whole.
pub fn read(path: &Path) -> Read {
    let read = read_with(path, &ReadOptions::default(), BatchLimit::default());
    let read = read.unwrap_or_else(|error| panic!("{error}"));
    assert!(read.error.is_none(), "{:?}", read.error);
    read
}

pub fn truth() -> Truth {
    Truth {
        photoelectrons: (0..100)
            .map(|k| Photoelectron {
                event_id: k / 10,
                channel_id: (k % 7) as u32,
                time_ns: 100.0 + k as f64 * 0.125,
                charge_pe: 0.5 + k as f32 * 0.01,
            })
            .collect(),
        events: vec![TrueEvent {
            event_id: 3,
            x_mm: 1.0,
            y_mm: -2.0,
            z_mm: 3.5,
            time_ns: 299.0,
            energy_mev: 1.022,
        }],
    }
}

/// The folder of real data, if it is there.
pub fn shared_data() -> Option<PathBuf> {
    let named = std::env::var_os("NUWAVE_SHARED_DATA").map(PathBuf::from);
    let sibling = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    named
        .into_iter()
        .chain([sibling])
        .find(|folder| folder.is_dir())
}

/// A file of measured data.
pub fn file(name: &str) -> PathBuf {
    shared_data().expect("the folder of real data").join(name)
}

/// The samples as floats, whatever their type.
pub fn values(waveform: &Owned) -> Vec<f32> {
    match &waveform.samples {
        Values::U16(samples) => samples.iter().map(|&sample| f32::from(sample)).collect(),
        Values::F32(samples) => samples.clone(),
    }
}
