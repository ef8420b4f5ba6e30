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
use super::{Extent, Loss, ReadOptions, Remark, Source, SourceInfo, axes};
use crate::error::{Error, Result};
use crate::io::hdf5_file::shape_text;
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
    let shape = Shape::from_array(&array, path, "the array")?;
    info.layout = format!(
        "array {}, {}",
        shape_text(&array.shape),
        shape.default_ids()
    );
    info.remarks.extend(shape.remark("the array"));
    let end = array.n_bytes(shape.kind.size() as u64);
    if let Some(end) = end.filter(|&end| end < n_bytes) {
        info.remarks.push(Remark::warning(format!(
            "{} bytes follow the array and are not read; several arrays saved into one file need a file each",
            n_bytes - end
        )));
    }
    let absent_channel = match shape.n_channels {
        None => info.name_channel(options, false)?,
        Some(_) => 0,
    };
    let mut rows = Reader::new(info, options, array, shape);
    rows.absent_channel = absent_channel;
    rows.is_plain = true;
    Ok(Box::new(BlockSource::new(rows)))
}

/// Opens an `.npz` file.
fn open_npz(path: &Path, n_bytes: u64, options: &ReadOptions) -> Result<Box<dyn Source>> {
    let rows = npz::open(path, n_bytes, options)?;
    Ok(Box::new(BlockSource::new(rows)))
}

/// The shape of an array of waveforms.
#[derive(Clone, Copy, Debug)]
struct Shape {
    kind: ScalarType,
    n_events: u64,
    /// The length of the axis of channels, if there is one.
    n_channels: Option<u64>,
    row_samples: usize,
}

/// Refuses an array whose rows are not stored one after the other.
fn check_order(array: &Array, path: &Path, what: &str) -> Result<()> {
    if array.fortran_order && array.shape.iter().filter(|&&length| length > 1).count() > 1 {
        return Err(Error::input(
            path,
            format!("{what} is stored column by column (Fortran order)"),
        )
        .with_hint("save `numpy.ascontiguousarray(a)`"));
    }
    Ok(())
}

impl Shape {
    /// Checks an array of waveforms x samples, or of events x channels x samples.
    fn from_array(array: &Array, path: &Path, what: &str) -> Result<Self> {
        let kind = array
            .number()
            .ok_or_else(|| Error::input(path, format!("{what} holds text, not samples")))?;
        let (n_events, n_channels, row_samples) = match *array.shape.as_slice() {
            [n_rows, row_samples] => (n_rows, None, row_samples),
            [n_events, n_channels, row_samples] => (n_events, Some(n_channels), row_samples),
            _ => {
                return Err(Error::input(
                    path,
                    format!(
                        "{what} has {} dimensions, neither the two of waveforms x samples nor the three of events x channels x \
                         samples",
                        array.shape.len()
                    ),
                )
                .with_hint("reshape it with `a.reshape(n_waveforms, n_samples)` before saving"));
            }
        };
        check_order(array, path, what)?;
        let row_samples = usize::try_from(row_samples).unwrap_or(usize::MAX);
        check_fixed_length(path, what, row_samples).map_err(|error| match n_channels {
            Some(_) => error.with_hint(axes::TRANSPOSE),
            None => error,
        })?;
        Ok(Self {
            kind,
            n_events,
            n_channels,
            row_samples,
        })
    }

    /// Returns the number of waveforms of an event.
    fn per_event(&self) -> u64 {
        self.n_channels.unwrap_or(1)
    }

    /// Returns the words for events and channels that no other array states.
    fn default_ids(&self) -> &'static str {
        match self.n_channels {
            None => "event = row number",
            Some(_) => "event = first axis, channel = second axis",
        }
    }

    fn remark(&self, what: &str) -> Option<Remark> {
        let n_channels = self.n_channels?;
        Some(axes::remark(
            what,
            self.n_events,
            n_channels,
            self.row_samples,
        ))
    }
}

/// An array of numbers that belong to the waveforms.
struct Numbers {
    array: Array,
    kind: ScalarType,
    /// Waveforms per number: those of an event, or 1.
    per_number: u64,
    /// The number that was read last and its index.
    last: Option<(u64, Vec<u8>)>,
}

/// The rows of an array of samples, with ids from arrays of the same length.
struct Reader {
    info: SourceInfo,
    input_id: u32,
    samples: Array,
    kind: ScalarType,
    row_samples: usize,
    /// Waveforms of the file.
    n_rows: u64,
    /// Waveforms per event: channels, if the array has an axis for them, else 1.
    per_event: u64,
    event_id: Option<Numbers>,
    channel_id: Option<Numbers>,
    /// The channel if there is no array and no axis of channels.
    absent_channel: u32,
    start_ns: Option<Numbers>,
    /// The channels along the second axis, if an array states them.
    channels: Option<Vec<i128>>,
    next_row: u64,
    /// True if the file is just the array of samples, so that the reader can seek.
    is_plain: bool,
}

/// Event numbers read at a time if nothing else is read.
const EVENTS_AT_A_TIME: u64 = 1 << 16;

impl Reader {
    fn new(mut info: SourceInfo, options: &ReadOptions, samples: Array, shape: Shape) -> Self {
        let n_rows = shape.n_events.saturating_mul(shape.per_event());
        info.n_waveforms = Some(n_rows);
        info.n_samples = Some(shape.row_samples);
        info.extent = Extent::rows(n_rows, shape.row_samples as u64);
        shape.kind.scalar.name().clone_into(&mut info.sample_type);
        Self {
            info,
            input_id: options.input_id,
            samples,
            kind: shape.kind,
            row_samples: shape.row_samples,
            n_rows,
            per_event: shape.per_event().max(1),
            event_id: None,
            channel_id: None,
            absent_channel: 0,
            start_ns: None,
            channels: None,
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
        let per_event = self.per_event;
        let events = integers(self.event_id.as_mut(), first, n_rows as usize)
            .map_err(|error| self.error("the array of events", error))?;
        Ok(Some(events.map_or_else(
            || (first..first + n_rows).map(|row| row / per_event).collect(),
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
        let event_id = integers(self.event_id.as_mut(), self.next_row, n_read)
            .map_err(|error| self.error("the array of events", error))?;
        let channel_id = integers(self.channel_id.as_mut(), self.next_row, n_read)
            .map_err(|error| self.error("the array of channels", error))?;
        let start_ns = floats(self.start_ns.as_mut(), self.next_row, n_read)
            .map_err(|error| self.error("the array of window starts", error))?;
        let absent_channel = i128::from(self.absent_channel);
        let samples = self.kind.samples(&bytes);
        for index in 0..n_read {
            let row = self.next_row + index as u64;
            let (event, channel) = (row / self.per_event, row % self.per_event);
            let range = index * self.row_samples..(index + 1) * self.row_samples;
            block.push(
                Row {
                    event_id: number_or(event_id.as_deref(), index, i128::from(event)),
                    channel_id: if let Some(channels) = &self.channels {
                        channels.get(channel as usize).copied()
                    } else {
                        let absent = absent_channel + i128::from(channel);
                        number_or(channel_id.as_deref(), index, absent)
                    },
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

/// Reads the numbers of the next `n` waveforms, of which `first` is the first.
fn read_numbers<T: Copy>(
    numbers: Option<&mut Numbers>,
    first: u64,
    n: usize,
    decode: impl Fn(ScalarType, &[u8]) -> Vec<T>,
) -> std::io::Result<Option<Vec<T>>> {
    let Some(numbers) = numbers else {
        return Ok(None);
    };
    let per_number = numbers.per_number.max(1);
    let size = numbers.kind.size();
    let first_index = first / per_number;
    let end_index = (first + n as u64).div_ceil(per_number);
    // The event of the first waveform may have begun in the block before.
    let mut bytes = match &numbers.last {
        Some((index, bytes)) if *index == first_index => bytes.clone(),
        _ => Vec::new(),
    };
    let n_new = (end_index - first_index) as usize - bytes.len() / size;
    bytes.extend(numbers.array.read_rows(n_new, size)?.0);
    let last = bytes.len().saturating_sub(size);
    numbers.last = bytes
        .get(last..)
        .map(|bytes| (first_index + (last / size) as u64, bytes.to_vec()));
    let values = decode(numbers.kind, &bytes);
    let of_waveforms = (first..first + n as u64).map_while(|row| {
        values
            .get((row / per_number - first_index) as usize)
            .copied()
    });
    Ok(Some(of_waveforms.collect()))
}

fn integers(
    numbers: Option<&mut Numbers>,
    first: u64,
    n: usize,
) -> std::io::Result<Option<Vec<i128>>> {
    read_numbers(numbers, first, n, ScalarType::integers)
}

fn floats(
    numbers: Option<&mut Numbers>,
    first: u64,
    n: usize,
) -> std::io::Result<Option<Vec<f64>>> {
    read_numbers(numbers, first, n, ScalarType::floats)
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
