//! Writes `.npy` and `.npz`.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use crate::error::Result;
use crate::io::atomic::{AtomicFile, parent_folder, write_error};
use crate::io::waveforms::sink::{EndReport, Uniform};
use crate::io::{WaveformSink, WriteInfo, metadata, truth};
use crate::model::{Batch, SamplesRef, Truth};

/// Bytes of the header that this writer makes; NumPy requires a multiple of 64.
const HEADER_BYTES: usize = 128;

/// Returns a header of [`HEADER_BYTES`] bytes for any shape, so that it can be written last.
fn header(descr: &str, shape: &str) -> Vec<u8> {
    let mut header = super::npy::MAGIC.to_vec();
    let n_text = HEADER_BYTES - header.len() - 4;
    header.extend_from_slice(&[1, 0]);
    header.extend_from_slice(&(n_text as u16).to_le_bytes());
    header.extend_from_slice(
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}").as_bytes(),
    );
    header.resize(HEADER_BYTES - 1, b' ');
    header.push(b'\n');
    header
}

/// Bytes that are compressed between two reports.
const COPY_BYTES: u64 = 1 << 22;

fn descr(is_float: bool) -> &'static str {
    if is_float { "<f4" } else { "<u2" }
}

/// Returns the header of the array of samples.
fn samples_header(uniform: &Uniform) -> Vec<u8> {
    header(
        descr(uniform.is_float()),
        &format!("({}, {})", uniform.n_rows(), uniform.n_samples()),
    )
}

fn write_samples(writer: &mut impl Write, batch: &Batch) -> io::Result<()> {
    for waveform in batch.iter() {
        match waveform.samples {
            SamplesRef::U16(samples) => {
                for sample in samples {
                    writer.write_all(&sample.to_le_bytes())?;
                }
            }
            SamplesRef::F32(samples) => {
                for sample in samples {
                    writer.write_all(&sample.to_le_bytes())?;
                }
            }
        }
    }
    Ok(())
}

/// Writes a `.npy`: samples only. Events and channels are not kept.
pub(crate) struct NpySink {
    file: BufWriter<AtomicFile>,
    uniform: Uniform,
}

impl NpySink {
    pub fn create(path: &Path) -> Result<Self> {
        let mut file = BufWriter::new(AtomicFile::create(path)?);
        file.write_all(&[0; HEADER_BYTES])
            .map_err(|error| write_error(path, error))?;
        Ok(Self {
            file,
            uniform: Uniform::default(),
        })
    }
}

impl WaveformSink for NpySink {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let path = self.file.get_ref().path().to_owned();
        self.uniform.accept(&path, batch)?;
        write_samples(&mut self.file, batch).map_err(|error| write_error(&path, error))
    }

    fn finish(self: Box<Self>, truth: &Truth) -> Result<()> {
        let Self { file, uniform } = *self;
        let path = file.get_ref().path().to_owned();
        let mut file = file
            .into_inner()
            .map_err(|error| write_error(&path, error.into_error()))?;
        file.file_mut()
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&samples_header(&uniform)))
            .map_err(|error| write_error(&path, error))?;
        truth::write_truth_files(&path, truth)?;
        file.commit()
    }
}

/// Writes an `.npz`. Samples are collected in a temporary file, because the archive has the shape before them.
pub(crate) struct NpzSink {
    file: AtomicFile,
    samples: BufWriter<File>,
    uniform: Uniform,
    event_id: Vec<u64>,
    channel_id: Vec<u32>,
    start_ns: Vec<f64>,
    info: WriteInfo,
    report: Option<EndReport>,
}

impl NpzSink {
    pub fn create(path: &Path, info: &WriteInfo) -> Result<Self> {
        let file = AtomicFile::create(path)?;
        let samples =
            tempfile::tempfile_in(parent_folder(path)).map_err(|error| write_error(path, error))?;
        Ok(Self {
            file,
            samples: BufWriter::new(samples),
            uniform: Uniform::default(),
            event_id: Vec::new(),
            channel_id: Vec::new(),
            start_ns: Vec::new(),
            info: info.clone(),
            report: None,
        })
    }

    fn write_archive(&mut self) -> io::Result<()> {
        self.samples.flush()?;
        let samples = self.samples.get_mut();
        // All files have the same date, so that the bytes depend on the content alone.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .large_file(true);
        let mut zip = ZipWriter::new(BufWriter::new(self.file.file_mut()));
        zip.start_file("samples.npy", options)?;
        zip.write_all(&samples_header(&self.uniform))?;
        let total = samples.seek(SeekFrom::End(0))?;
        samples.seek(SeekFrom::Start(0))?;
        let mut done = 0;
        loop {
            let copied = io::copy(&mut Read::by_ref(samples).take(COPY_BYTES), &mut zip)?;
            if copied == 0 {
                break;
            }
            done += copied;
            if let Some(report) = &mut self.report {
                report(done, total);
            }
        }
        let mut member = |name: &str, descr: &str, shape: &str, bytes: &[u8]| -> io::Result<()> {
            zip.start_file(name, options)?;
            zip.write_all(&header(descr, shape))?;
            zip.write_all(bytes)
        };
        let shape = format!("({},)", self.event_id.len());
        member(
            "event_id.npy",
            "<u8",
            &shape,
            bytemuck::cast_slice(&self.event_id),
        )?;
        member(
            "channel_id.npy",
            "<u4",
            &shape,
            bytemuck::cast_slice(&self.channel_id),
        )?;
        if !self.start_ns.is_empty() {
            member(
                "start_ns.npy",
                "<f8",
                &shape,
                bytemuck::cast_slice(&self.start_ns),
            )?;
        }
        member(
            "sampling_ns.npy",
            "<f8",
            "()",
            &self.info.sampling_ns.to_le_bytes(),
        )?;
        member(
            "adc_bits.npy",
            "<u4",
            "()",
            &self.info.adc_bits.to_le_bytes(),
        )?;
        for (name, text) in [
            ("polarity.npy", metadata::polarity_text(self.info.polarity)),
            ("detector.npy", self.info.detector.as_str()),
            ("origin.npy", &metadata::origin(&self.info.origin)),
        ] {
            let characters: Vec<u8> = text
                .chars()
                .flat_map(|character| u32::from(character).to_le_bytes())
                .collect();
            let n = (characters.len() / 4).max(1);
            let bytes = if characters.is_empty() {
                &[0; 4]
            } else {
                characters.as_slice()
            };
            member(name, &format!("<U{n}"), "()", bytes)?;
        }
        zip.finish()?.flush()
    }
}

impl WaveformSink for NpzSink {
    fn report_end(&mut self, report: EndReport) {
        self.report = Some(report);
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.uniform.accept(self.file.path(), batch)?;
        for waveform in batch.iter() {
            self.event_id.push(waveform.event_id);
            self.channel_id.push(waveform.channel_id);
            if waveform.start_ns != 0.0 || !self.start_ns.is_empty() {
                self.start_ns.resize(self.event_id.len() - 1, 0.0);
                self.start_ns.push(waveform.start_ns);
            }
        }
        write_samples(&mut self.samples, batch)
            .map_err(|error| write_error(self.file.path(), error))
    }

    fn finish(mut self: Box<Self>, truth: &Truth) -> Result<()> {
        if !self.start_ns.is_empty() {
            self.start_ns.resize(self.event_id.len(), 0.0);
        }
        self.write_archive()
            .map_err(|error| write_error(self.file.path(), error))?;
        truth::write_truth_files(self.file.path(), truth)?;
        self.file.commit()
    }
}
