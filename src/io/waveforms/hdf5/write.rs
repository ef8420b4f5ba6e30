//! Writes HDF5 files: `/waveforms/{event_id,channel_id,samples}` and the truth.
//!
//! `samples` is a dataset of n elements, each an array of the waveform's length, so that it can grow although the number
//! of waveforms is not known. `h5py` shows it as an n x m array.

use std::path::Path;

use hdf5_pure::{
    AttrValue, DatasetBuilder, Datatype, File, FileAccessProperties, FileBuilder, FileLocking,
    H5Element, MaxExtent, SyncPolicy, make_f32_type, make_u16_type,
};

use crate::error::Result;
use crate::io::atomic::{AtomicFile, write_error};
use crate::io::waveforms::sink::{Pieces, Uniform, piece_waveforms};
use crate::io::{WaveformSink, WriteInfo, metadata};
use crate::model::{Batch, Samples, Truth};

/// Entries per chunk of the truth's columns.
const TRUTH_CHUNK: u64 = 16_384;
/// Deflate level: the fastest, because noise hardly compresses better at higher levels.
const DEFLATE_LEVEL: u32 = 1;

/// Writes an HDF5 file of waveforms of one length.
pub(crate) struct Hdf5Sink {
    target: AtomicFile,
    info: WriteInfo,
    uniform: Uniform,
    pieces: Pieces,
    /// The file, opened once the first waveform has determined the length.
    file: Option<File>,
    start_ns: Vec<f64>,
}

impl Hdf5Sink {
    pub fn create(path: &Path, info: &WriteInfo) -> Result<Self> {
        Ok(Self {
            target: AtomicFile::create(path)?,
            info: info.clone(),
            uniform: Uniform::default(),
            pieces: Pieces::new(),
            file: None,
            start_ns: Vec::new(),
        })
    }
}

impl WaveformSink for Hdf5Sink {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.uniform.accept(self.target.path(), batch)?;
        if batch.is_empty() {
            return Ok(());
        }
        let n_before = self.uniform.n_rows() as usize - batch.len();
        if !batch.start_ns().is_empty() || !self.start_ns.is_empty() {
            self.start_ns.resize(n_before, 0.0);
            self.start_ns.extend_from_slice(batch.start_ns());
            self.start_ns.resize(n_before + batch.len(), 0.0);
        }
        let path = self.target.path();
        let failed = |error| write_error(path, error);
        let file = match &mut self.file {
            Some(file) => file,
            closed => closed.insert(
                start(self.target.temporary_path(), &self.info, &self.uniform).map_err(failed)?,
            ),
        };
        self.pieces
            .add(batch, |piece| append(file, piece).map_err(failed))
    }

    fn finish(mut self: Box<Self>, truth: &Truth) -> Result<()> {
        let path = self.target.path().to_owned();
        self.complete(truth)
            .map_err(|error| write_error(&path, error))?;
        self.target.commit()
    }
}

impl Hdf5Sink {
    fn complete(&mut self, truth: &Truth) -> std::result::Result<(), hdf5_pure::Error> {
        let file = match self.file.take() {
            Some(file) => file,
            None => start(self.target.temporary_path(), &self.info, &self.uniform)?,
        };
        if let Some(rest) = self.pieces.rest() {
            append(&file, &rest)?;
        }
        if !self.start_ns.is_empty() {
            file.group("waveforms")?
                .create_dataset("start_ns", |dataset| column(dataset, &self.start_ns))?;
            file.commit()?;
        }
        if !truth.photoelectrons.is_empty() || !truth.events.is_empty() {
            write_truth(&file, truth)?;
        }
        file.close()
    }
}

/// Creates the file with empty datasets.
fn start(
    path: &Path,
    info: &WriteInfo,
    uniform: &Uniform,
) -> std::result::Result<File, hdf5_pure::Error> {
    let mut builder = FileBuilder::new();
    let mut group = builder.create_group("waveforms");
    group.set_attr("sampling_ns", AttrValue::F64(info.sampling_ns));
    group.set_attr("adc_bits", AttrValue::U32(info.adc_bits));
    let polarity = metadata::polarity_text(info.polarity).to_owned();
    group.set_attr("polarity", AttrValue::VarLenString(polarity));
    group.set_attr("detector", AttrValue::VarLenString(info.detector.clone()));
    group.set_attr(
        "origin",
        AttrValue::VarLenString(metadata::origin(&info.origin)),
    );
    let n_samples = uniform.n_samples().max(1);
    let chunk = piece_waveforms(n_samples) as u64;
    growing(group.create_dataset("event_id").with_u64_data(&[]), chunk);
    growing(group.create_dataset("channel_id").with_u32_data(&[]), chunk);
    let base = if uniform.is_float() {
        make_f32_type()
    } else {
        make_u16_type()
    };
    let element = Datatype::Array {
        base_type: Box::new(base),
        dimensions: vec![n_samples as u32],
    };
    let samples = group.create_dataset("samples");
    growing(samples.with_raw_data(element, Vec::new(), 0), chunk);
    builder.add_group(group.finish());
    builder.write(path)?;
    // No other process knows the temporary name, and the rename waits for the disk: no lock, no syncs in between.
    let access = FileAccessProperties::new()
        .with_sync_policy(SyncPolicy::OnClose)
        .with_locking(FileLocking::Disabled);
    File::open_rw_with_options(path, access)
}

fn growing(dataset: &mut DatasetBuilder, chunk: u64) {
    dataset
        .with_shape(&[0])
        .with_maxshape(&[MaxExtent::Unlimited])
        .with_chunks(&[chunk])
        .with_deflate(DEFLATE_LEVEL);
}

fn append(file: &File, piece: &Batch) -> std::result::Result<(), hdf5_pure::Error> {
    file.dataset("waveforms/event_id")?
        .append(piece.event_id())?;
    file.dataset("waveforms/channel_id")?
        .append(piece.channel_id())?;
    let mut bytes = Vec::with_capacity(4 * piece.samples().len());
    match piece.samples() {
        Samples::U16(samples) => {
            bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        }
        Samples::F32(samples) => {
            bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        }
    }
    file.dataset("waveforms/samples")?.append_raw(&bytes)
}

fn column<T: H5Element>(dataset: &mut DatasetBuilder, values: &[T]) {
    dataset.with_data(values);
    if !values.is_empty() {
        dataset
            .with_chunks(&[TRUTH_CHUNK.min(values.len() as u64)])
            .with_deflate(DEFLATE_LEVEL);
    }
}

fn write_truth(file: &File, truth: &Truth) -> std::result::Result<(), hdf5_pure::Error> {
    let root = file.root();
    let pes = &truth.photoelectrons;
    let event_id: Vec<_> = pes.iter().map(|pe| pe.event_id).collect();
    let channel_id: Vec<_> = pes.iter().map(|pe| pe.channel_id).collect();
    let time_ns: Vec<_> = pes.iter().map(|pe| pe.time_ns).collect();
    let charge_pe: Vec<_> = pes.iter().map(|pe| pe.charge_pe).collect();
    root.create_group_with("truth", |group| {
        group.create_group_with("photoelectrons", |group| {
            group.create_dataset("event_id", |dataset| column(dataset, &event_id));
            group.create_dataset("channel_id", |dataset| column(dataset, &channel_id));
            group.create_dataset("time_ns", |dataset| column(dataset, &time_ns));
            group.create_dataset("charge_pe", |dataset| column(dataset, &charge_pe));
        });
        if truth.events.is_empty() {
            return;
        }
        let events = &truth.events;
        let event_id: Vec<_> = events.iter().map(|event| event.event_id).collect();
        let columns: [(&str, Vec<f64>); 5] = [
            ("x_mm", events.iter().map(|event| event.x_mm).collect()),
            ("y_mm", events.iter().map(|event| event.y_mm).collect()),
            ("z_mm", events.iter().map(|event| event.z_mm).collect()),
            (
                "time_ns",
                events.iter().map(|event| event.time_ns).collect(),
            ),
            (
                "energy_mev",
                events.iter().map(|event| event.energy_mev).collect(),
            ),
        ];
        group.create_group_with("events", |group| {
            group.create_dataset("event_id", |dataset| column(dataset, &event_id));
            for (name, values) in &columns {
                group.create_dataset(name, |dataset| column(dataset, values));
            }
        });
    })?;
    file.commit()
}
