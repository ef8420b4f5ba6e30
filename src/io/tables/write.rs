//! Writes the `hits` and `waveforms` tables: Parquet, one part per unit of work. The bytes of a part depend on its rows
//! alone. A part gets its name once it is complete and on the disk.
//!
//! Rows are encoded in slices of a fixed number, so that the sizes of the batches make no difference.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::mem::take;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Float64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::columns;
use crate::error::{Error, Result};
use crate::io::atomic::{AtomicFile, write_error};
use crate::io::parquet_file::split_floats;
use crate::model::{Batch, Extracted, Hit, WaveformSummary};

/// Rows that are encoded together.
pub(super) const SLICE_ROWS: usize = 1 << 16;
/// Rows of a Parquet row group.
const GROUP_ROWS: usize = 1 << 20;

/// Returns the schema of the `hits` table. A quantity that a method does not estimate is null.
#[must_use]
pub fn hits_schema() -> SchemaRef {
    columns::schema(&columns::HITS)
}

/// Returns the schema of the `waveforms` table.
#[must_use]
pub fn waveforms_schema() -> SchemaRef {
    columns::schema(&columns::WAVEFORMS)
}

/// Returns the encoding of the tables.
pub(super) fn table_properties(schema: &Schema) -> WriterProperties {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS));
    split_floats(properties, schema).build()
}

/// A part that is complete.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// Path relative to the output folder.
    pub path: String,
    /// Rows.
    pub rows: u64,
    /// Size.
    pub bytes: u64,
    /// CRC32C of its bytes.
    pub crc32c: String,
}

/// The ids that every row begins with.
#[derive(Default)]
struct Ids {
    input: Vec<u32>,
    event: Vec<u64>,
    channel: Vec<u32>,
}

impl Ids {
    fn push(&mut self, input: u32, event: u64, channel: u32) {
        self.input.push(input);
        self.event.push(event);
        self.channel.push(channel);
    }

    fn take(&mut self) -> [ArrayRef; 3] {
        [
            Arc::new(UInt32Array::from(take(&mut self.input))),
            Arc::new(UInt64Array::from(take(&mut self.event))),
            Arc::new(UInt32Array::from(take(&mut self.channel))),
        ]
    }
}

/// The columns of the `hits` table, filled row by row.
#[derive(Default)]
pub(crate) struct HitColumns {
    ids: Ids,
    time_ns: Vec<f64>,
    charge_pe: Vec<f32>,
    charge_sigma_pe: Vec<Option<f32>>,
    time_sigma_ns: Vec<Option<f32>>,
    flags: Vec<u32>,
}

impl HitColumns {
    /// Appends a hit of the waveform with these ids.
    pub fn push(&mut self, (input, event, channel): (u32, u64, u32), hit: &Hit) {
        self.ids.push(input, event, channel);
        self.time_ns.push(hit.time_ns);
        self.charge_pe.push(hit.charge_pe);
        let known = |sigma: f32| (sigma > 0.0).then_some(sigma);
        self.charge_sigma_pe.push(known(hit.charge_sigma_pe));
        self.time_sigma_ns.push(known(hit.time_sigma_ns));
        self.flags.push(hit.flags.0);
    }

    fn len(&self) -> usize {
        self.flags.len()
    }

    /// Takes the columns, in the order of [`hits_schema`].
    pub fn take(&mut self) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = self.ids.take().into();
        columns.push(Arc::new(Float64Array::from(take(&mut self.time_ns))));
        columns.push(Arc::new(Float32Array::from(take(&mut self.charge_pe))));
        columns.push(Arc::new(Float32Array::from(take(
            &mut self.charge_sigma_pe,
        ))));
        columns.push(Arc::new(Float32Array::from(take(&mut self.time_sigma_ns))));
        columns.push(Arc::new(UInt32Array::from(take(&mut self.flags))));
        columns
    }
}

/// The columns of the `waveforms` table, filled row by row.
#[derive(Default)]
pub(crate) struct WaveformColumns {
    ids: Ids,
    charge_pe: Vec<f32>,
    first_time_ns: Vec<Option<f64>>,
    n_hits: Vec<u32>,
    baseline_adc: Vec<f32>,
    noise_adc: Vec<f32>,
    chi2_ndf: Vec<Option<f32>>,
    flags: Vec<u32>,
}

impl WaveformColumns {
    /// Appends the waveform with these ids.
    pub fn push(&mut self, (input, event, channel): (u32, u64, u32), summary: &WaveformSummary) {
        self.ids.push(input, event, channel);
        self.charge_pe.push(summary.charge_pe);
        self.first_time_ns.push(summary.first_time_ns);
        self.n_hits.push(summary.n_hits);
        self.baseline_adc.push(summary.baseline_adc);
        self.noise_adc.push(summary.noise_adc);
        self.chi2_ndf.push(summary.chi2_ndf);
        self.flags.push(summary.flags.0);
    }

    fn len(&self) -> usize {
        self.flags.len()
    }

    /// Takes the columns, in the order of [`waveforms_schema`].
    pub fn take(&mut self) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = self.ids.take().into();
        columns.push(Arc::new(Float32Array::from(take(&mut self.charge_pe))));
        columns.push(Arc::new(Float64Array::from(take(&mut self.first_time_ns))));
        columns.push(Arc::new(UInt32Array::from(take(&mut self.n_hits))));
        columns.push(Arc::new(Float32Array::from(take(&mut self.baseline_adc))));
        columns.push(Arc::new(Float32Array::from(take(&mut self.noise_adc))));
        columns.push(Arc::new(Float32Array::from(take(&mut self.chi2_ndf))));
        columns.push(Arc::new(UInt32Array::from(take(&mut self.flags))));
        columns
    }
}

/// Writes one part of the `hits` and of the `waveforms` table.
pub struct TablesWriter {
    hits: TableFile,
    hit_columns: HitColumns,
    waveforms: TableFile,
    waveform_columns: WaveformColumns,
}

impl TablesWriter {
    /// Creates part `part` of both tables in the folder `folder`.
    ///
    /// # Errors
    /// If a file cannot be created.
    pub fn create(folder: &Path, part: &impl Display) -> Result<Self> {
        Ok(Self {
            hits: TableFile::create(folder, "hits", part, hits_schema())?,
            hit_columns: HitColumns::default(),
            waveforms: TableFile::create(folder, "waveforms", part, waveforms_schema())?,
            waveform_columns: WaveformColumns::default(),
        })
    }

    /// Appends the hits and summaries of `batch`.
    ///
    /// # Errors
    /// If a file cannot be written, or `extracted` does not belong to `batch`.
    pub fn write(&mut self, batch: &Batch, extracted: &Extracted) -> Result<()> {
        let mut hits = extracted.hits.iter();
        for (waveform, summary) in batch.iter().zip(&extracted.summaries) {
            let ids = (batch.input_id(), waveform.event_id, waveform.channel_id);
            for hit in hits.by_ref().take(summary.n_hits as usize) {
                self.hit_columns.push(ids, hit);
                if self.hit_columns.len() == SLICE_ROWS {
                    self.hits.write(self.hit_columns.take())?;
                }
            }
            self.waveform_columns.push(ids, summary);
            if self.waveform_columns.len() == SLICE_ROWS {
                self.waveforms.write(self.waveform_columns.take())?;
            }
        }
        if batch.len() != extracted.summaries.len() || hits.next().is_some() {
            return Err(Error::internal(
                "the backend's result does not fit its batch",
            ));
        }
        Ok(())
    }

    /// Completes both parts.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn finish(mut self) -> Result<[Part; 2]> {
        self.hits.write(self.hit_columns.take())?;
        self.waveforms.write(self.waveform_columns.take())?;
        Ok([self.hits.finish()?, self.waveforms.finish()?])
    }
}

/// A file that is being written, with the checksum of its bytes so far.
struct Summed {
    file: AtomicFile,
    bytes: u64,
    crc: u32,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_written = self.file.write(bytes)?;
        let written = bytes.get(..n_written).unwrap_or_default();
        self.crc = crc32c::crc32c_append(self.crc, written);
        self.bytes += n_written as u64;
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A Parquet file that is being written.
pub(super) struct TableFile {
    name: String,
    schema: SchemaRef,
    rows: u64,
    writer: ArrowWriter<Summed>,
}

impl TableFile {
    pub fn create(
        folder: &Path,
        table: &str,
        part: &impl Display,
        schema: SchemaRef,
    ) -> Result<Self> {
        let name = format!("{table}/part-{part}.parquet");
        let path = folder.join(&name);
        let parent = folder.join(table);
        std::fs::create_dir_all(&parent)
            .map_err(|error| Error::output(&parent, "cannot be made").with_source(error))?;
        let file = Summed {
            file: AtomicFile::create(&path)?,
            bytes: 0,
            crc: 0,
        };
        let properties = table_properties(&schema);
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))
            .map_err(|error| write_error(&path, error))?;
        Ok(Self {
            name,
            schema,
            rows: 0,
            writer,
        })
    }

    pub fn write(&mut self, columns: Vec<ArrayRef>) -> Result<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Error::internal(format!("{}: {error}", self.name)))?;
        if batch.num_rows() > 0 {
            self.rows += batch.num_rows() as u64;
            let written = self.writer.write(&batch);
            written.map_err(|error| write_error(self.writer.inner().file.path(), error))?;
        }
        Ok(())
    }

    pub fn finish(self) -> Result<Part> {
        let path = self.writer.inner().file.path().to_owned();
        let Summed { file, bytes, crc } = self
            .writer
            .into_inner()
            .map_err(|error| write_error(&path, error))?;
        file.commit()?;
        Ok(Part {
            path: self.name,
            rows: self.rows,
            bytes,
            crc32c: format!("{crc:08x}"),
        })
    }
}

/// Returns size and CRC32C (eight hexadecimal digits) of a file.
///
/// # Errors
/// If it cannot be read.
pub fn checksum(path: &Path) -> io::Result<(u64, String)> {
    use std::io::Read as _;
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let (mut bytes, mut crc) = (0, 0);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((bytes, format!("{crc:08x}")));
        }
        crc = crc32c::crc32c_append(crc, &buffer[..count]);
        bytes += count as u64;
    }
}

/// Returns size and CRC32C of a file, or of all files in a folder.
///
/// # Errors
/// If one cannot be read.
pub fn path_checksum(path: &Path) -> io::Result<(u64, String)> {
    if path.is_dir() {
        folder_checksum(path)
    } else {
        checksum(path)
    }
}

/// Returns size and CRC32C of all files in `folder` and its subfolders, including their names, in the order of their
/// names.
///
/// # Errors
/// If one cannot be read.
pub fn folder_checksum(folder: &Path) -> io::Result<(u64, String)> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    let (mut bytes, mut crc) = (0, 0);
    for path in paths {
        let (size, of_file) = if path.is_dir() {
            folder_checksum(&path)?
        } else {
            checksum(&path)?
        };
        let name = path.file_name().unwrap_or_default();
        crc = crc32c::crc32c_append(crc, name.as_encoded_bytes());
        crc = crc32c::crc32c_append(crc, of_file.as_bytes());
        bytes += size;
    }
    Ok((bytes, format!("{crc:08x}")))
}
