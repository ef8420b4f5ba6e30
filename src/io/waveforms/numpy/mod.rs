//! NumPy: a `.npy` array of waveforms x samples, or the arrays of an `.npz`.

mod header;
pub(super) mod npy;
mod npz;
mod write;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::block_source::BlockSource;
use super::blocks::{BLOCK_BYTES, Block, BlockReader, Row, check_fixed_length};
use super::format::Format;
use super::scalar::ScalarType;
use super::{Extent, Loss, ReadOptions, Source, SourceInfo};
use crate::error::{Error, Result};
use crate::model::{Samples, SamplesRef};
use npy::Array;
use write::{NpySink, NpzSink};

/// A `.npy` array, identified by its magic word.
pub(crate) const NPY: Format = Format {
    name: "NumPy array",
    family: "NumPy",
    endings: &["npy"],
    has_signature: true,
    detect: |probe| Ok(probe.head.starts_with(npy::MAGIC)),
    open: open_npy,
    create: Some(|path, _| Ok(Box::new(NpySink::create(path)?))),
};

/// An `.npz` archive: a zip archive that holds arrays.
pub(crate) const NPZ: Format = Format {
    name: "NumPy archive",
    family: "NumPy",
    endings: &["npz"],
    has_signature: true,
    detect: npz::is_archive,
    open: open_npz,
    create: Some(|path, info| Ok(Box::new(NpzSink::create(path, info)?))),
};

/// Opens a `.npy` file: waveform `i` is row `i`, event `i`, channel 0.
fn open_npy(path: &Path, n_bytes: u64, options: &ReadOptions) -> Result<Box<dyn Source>> {
    let file = File::open(path)
        .map_err(|error| Error::input(path, "cannot be opened").with_source(error))?;
    let array = Array::open(Box::new(BufReader::new(file)), path, "the array")?;
    let mut info = SourceInfo::new(path.to_owned(), NPY.name, n_bytes);
    let (kind, row_samples, n_rows) = shape_of_waveforms(&array, path, "the array")?;
    info.layout = format!("array {n_rows} x {row_samples}, event = row number");
    let absent_channel = info.name_channel(options, false)?;
    let mut rows = Reader::new(info, options, array, kind, row_samples, n_rows);
    rows.absent_channel = absent_channel;
    rows.is_plain = true;
    Ok(Box::new(BlockSource::new(rows)))
}

/// Opens an `.npz` file.
fn open_npz(path: &Path, n_bytes: u64, options: &ReadOptions) -> Result<Box<dyn Source>> {
    let rows = npz::open(path, n_bytes, options)?;
    Ok(Box::new(BlockSource::new(rows)))
}

/// Returns the number type, samples per waveform and number of waveforms of a two-dimensional array.
fn shape_of_waveforms(array: &Array, path: &Path, what: &str) -> Result<(ScalarType, usize, u64)> {
    let kind = array
        .number()
        .ok_or_else(|| Error::input(path, format!("{what} holds text, not samples")))?;
    let &[n_rows, row_samples] = array.shape.as_slice() else {
        return Err(Error::input(
            path,
            format!(
                "{what} has {} dimensions, not the two of waveforms x samples",
                array.shape.len()
            ),
        )
        .with_hint("reshape it with `a.reshape(n_waveforms, n_samples)` before saving"));
    };
    if array.fortran_order && n_rows > 1 && row_samples > 1 {
        return Err(Error::input(
            path,
            format!("{what} is stored column by column (Fortran order)"),
        )
        .with_hint("save `numpy.ascontiguousarray(a)`"));
    }
    let row_samples = usize::try_from(row_samples).unwrap_or(usize::MAX);
    check_fixed_length(path, what, row_samples)?;
    Ok((kind, row_samples, n_rows))
}

/// The rows of an array of samples, with ids from arrays of the same length.
struct Reader {
    info: SourceInfo,
    input_id: u32,
    samples: Array,
    kind: ScalarType,
    row_samples: usize,
    n_rows: u64,
    event_id: Option<(Array, ScalarType)>,
    channel_id: Option<(Array, ScalarType)>,
    /// The channel if there is no array of channels.
    absent_channel: u32,
    start_ns: Option<(Array, ScalarType)>,
    next_row: u64,
    /// True if the file is just the array of samples, so that the reader can seek.
    is_plain: bool,
}

/// Event numbers read at a time if nothing else is read.
const EVENTS_AT_A_TIME: u64 = 1 << 16;

impl Reader {
    fn new(
        mut info: SourceInfo,
        options: &ReadOptions,
        samples: Array,
        kind: ScalarType,
        row_samples: usize,
        n_rows: u64,
    ) -> Self {
        info.n_waveforms = Some(n_rows);
        info.n_samples = Some(row_samples);
        info.extent = Extent::rows(n_rows, row_samples as u64);
        kind.scalar.name().clone_into(&mut info.sample_type);
        Self {
            info,
            input_id: options.input_id,
            samples,
            kind,
            row_samples,
            n_rows,
            event_id: None,
            channel_id: None,
            absent_channel: 0,
            start_ns: None,
            next_row: 0,
            is_plain: false,
        }
    }

    fn error(&self, what: &str, error: std::io::Error) -> Error {
        Error::input(&self.info.path, format!("{what} cannot be read")).with_source(error)
    }
}

impl BlockReader for Reader {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn position(&self) -> u64 {
        self.next_row
    }

    fn seek(&mut self, position: u64) -> Result<()> {
        if !self.is_plain {
            return Ok(());
        }
        let row_bytes = (self.row_samples * self.kind.size()) as u64;
        let byte = position
            .saturating_mul(row_bytes)
            .saturating_add(self.samples.header_bytes);
        let mut file =
            File::open(&self.info.path).map_err(|error| self.error("the samples", error))?;
        file.seek(SeekFrom::Start(byte))
            .map_err(|error| self.error("the samples", error))?;
        self.samples.go_on_with(boxed(BufReader::new(file)));
        self.next_row = position.min(self.n_rows);
        Ok(())
    }

    fn next_events(&mut self) -> Result<Option<Vec<u64>>> {
        let n_rows = EVENTS_AT_A_TIME.min(self.n_rows - self.next_row);
        let first = self.next_row;
        self.next_row += n_rows;
        if n_rows == 0 {
            return Ok(None);
        }
        let events = integers(self.event_id.as_mut(), n_rows as usize)
            .map_err(|error| self.error("the array of events", error))?;
        Ok(Some(events.map_or_else(
            || (first..first + n_rows).collect(),
            |events| {
                let events = events.into_iter();
                events.filter_map(|id| u64::try_from(id).ok()).collect()
            },
        )))
    }

    fn next_block(&mut self) -> Result<Option<Block>> {
        let left = self.n_rows - self.next_row;
        if left == 0 {
            // Reads past the last sample so that a compressed member's checksum is verified.
            self.samples
                .read_rows(1, 1)
                .map_err(|error| self.error("the end of the samples", error))?;
            return Ok(None);
        }
        let row_bytes = self.row_samples * self.kind.size();
        let n_rows = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min((BLOCK_BYTES / row_bytes).max(1));
        let (bytes, n_cut) = self
            .samples
            .read_rows(n_rows, row_bytes)
            .map_err(|error| self.error("the samples", error))?;
        let n_read = bytes.len() / row_bytes;
        let mut block = Block::new(self.input_id, self.kind.empty_samples());
        let event_id = integers(self.event_id.as_mut(), n_read)
            .map_err(|error| self.error("the array of events", error))?;
        let channel_id = integers(self.channel_id.as_mut(), n_read)
            .map_err(|error| self.error("the array of channels", error))?;
        let start_ns = floats(self.start_ns.as_mut(), n_read)
            .map_err(|error| self.error("the array of window starts", error))?;
        let absent_channel = i128::from(self.absent_channel);
        let samples = self.kind.samples(&bytes);
        for index in 0..n_read {
            let row = self.next_row + index as u64;
            let range = index * self.row_samples..(index + 1) * self.row_samples;
            block.push(
                Row {
                    event_id: number_or(event_id.as_deref(), index, i128::from(row)),
                    channel_id: number_or(channel_id.as_deref(), index, absent_channel),
                    start_ns: number_or(start_ns.as_deref(), index, 0.0),
                    samples: slice(&samples, range),
                },
                row,
                || format!("row {row}"),
            );
        }
        self.next_row += n_read as u64;
        if n_read < n_rows {
            let n_lost = self.n_rows - self.next_row;
            let byte = self.samples.header_bytes + self.next_row * row_bytes as u64;
            block.losses.push(Loss {
                place: format!("row {} at byte {byte}", self.next_row),
                event_id: None,
                channel_id: None,
                n_waveforms: Some(n_lost),
                reason: format!(
                    "the array ends after {n_cut} of the row's {row_bytes} bytes; its header says {} rows",
                    self.n_rows
                ),
                position: self.next_row,
            });
            self.n_rows = self.next_row;
        }
        Ok(Some(block))
    }
}

/// Returns the samples `range` of a block.
pub(super) fn slice(samples: &Samples, range: std::ops::Range<usize>) -> Option<SamplesRef<'_>> {
    match samples {
        Samples::U16(samples) => samples.get(range).map(SamplesRef::U16),
        Samples::F32(samples) => samples.get(range).map(SamplesRef::F32),
    }
}

/// Returns element `index` of a column, or `absent` if there is no such column.
fn number_or<T: Copy>(column: Option<&[T]>, index: usize, absent: T) -> Option<T> {
    column.map_or(Some(absent), |column| column.get(index).copied())
}

fn integers(
    array: Option<&mut (Array, ScalarType)>,
    n: usize,
) -> std::io::Result<Option<Vec<i128>>> {
    array
        .map(|(array, kind)| Ok(kind.integers(&array.read_rows(n, kind.size())?.0)))
        .transpose()
}

fn floats(array: Option<&mut (Array, ScalarType)>, n: usize) -> std::io::Result<Option<Vec<f64>>> {
    array
        .map(|(array, kind)| Ok(kind.floats(&array.read_rows(n, kind.size())?.0)))
        .transpose()
}

/// Reads the rest of a short member.
fn read_small(array: &mut Array, n_bytes: usize) -> Option<Vec<u8>> {
    const MAX_BYTES: usize = 4096;
    let (bytes, _) = array.read_rows(1, n_bytes.min(MAX_BYTES)).ok()?;
    (bytes.len() == n_bytes).then_some(bytes)
}

/// Returns a boxed reader of the bytes that `take` leaves.
fn boxed(reader: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(reader)
}
