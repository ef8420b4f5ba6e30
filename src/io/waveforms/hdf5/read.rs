//! Reads the rows of an HDF5 file in windows of whole chunks. In a window that cannot be read, the chunks are read one by one.

use std::ops::Range;
use std::path::Path;

use hdf5_pure::{AttrValue, File};

use super::FORMAT;
use super::layout::{Arrays, Column, Columns, Field, Fields, Found};
use crate::error::{Error, Result};
use crate::io::catch_panic::guarded;
use crate::io::hdf5_file::StoredRows;
use crate::io::truth::is_in_hdf5;
use crate::io::waveforms::blocks::{BLOCK_BYTES, Block, BlockReader, Row};
use crate::io::waveforms::numpy::slice;
use crate::io::waveforms::scalar::ScalarType;
use crate::io::{Extent, Loss, ReadOptions, SourceInfo, metadata};
use crate::model::Samples;

/// Maximum size of a window that is enlarged to whole chunks.
const MAX_WINDOW_BYTES: u64 = 64 << 20;
/// Event numbers read at a time if nothing else is read.
const EVENTS_AT_A_TIME: u64 = 1 << 16;

pub(super) struct Reader {
    info: SourceInfo,
    input_id: u32,
    /// The channel if there is no array of channels.
    absent_channel: u32,
    found: Found,
    /// Waveforms read at a time, a multiple of those of a chunk unless those are too many.
    window: u64,
    /// Waveforms of a chunk of samples; damage affects whole chunks.
    of_chunk: u64,
    /// Waveforms of the file.
    n_waveforms: u64,
    next: u64,
}

impl Reader {
    pub fn new(
        file: &File,
        path: &Path,
        n_bytes: u64,
        found: Found,
        options: &ReadOptions,
    ) -> Result<Self> {
        let mut info = SourceInfo::new(path.to_owned(), FORMAT.name, n_bytes);
        let n_waveforms = found.n_rows.saturating_mul(found.n_channels);
        info.layout.clone_from(&found.layout);
        let has_channels = match &found.columns {
            Columns::Arrays(arrays) => arrays.channel_id.is_some() || arrays.has_channel_axis,
            Columns::Fields(_) => true,
        };
        let absent_channel = if has_channels {
            0
        } else {
            info.name_channel(options, false)?
        };
        info.remarks.extend(found.remarks.iter().cloned());
        info.n_waveforms = Some(n_waveforms);
        info.extent = Extent::rows(n_waveforms, found.row_samples as u64);
        info.n_samples = (!found.has_lengths()).then_some(found.row_samples);
        found.kind.scalar.name().clone_into(&mut info.sample_type);
        describe(file, &found, &mut info).map_err(|error| {
            Error::input(path, "has attributes that cannot be read").with_source(error)
        })?;
        info.has_truth |= is_in_hdf5(file);
        let row_bytes = (found.waveform_bytes as u64)
            .saturating_mul(found.n_channels)
            .max(1);
        let chunk_rows = found.rows.chunk_rows();
        let wanted_rows = (BLOCK_BYTES as u64 / row_bytes).max(1);
        let aligned_rows = wanted_rows.div_ceil(chunk_rows).saturating_mul(chunk_rows);
        let window_rows = if found.rows.keeps_chunks() && chunk_rows > wanted_rows {
            // A large chunk is decoded once and kept, so that there is no need to read it at once.
            wanted_rows
        } else if aligned_rows.saturating_mul(row_bytes) <= MAX_WINDOW_BYTES {
            aligned_rows
        } else {
            (MAX_WINDOW_BYTES / row_bytes).max(1)
        };
        Ok(Self {
            info,
            input_id: options.input_id,
            absent_channel,
            window: window_rows.saturating_mul(found.n_channels),
            of_chunk: chunk_rows.saturating_mul(found.n_channels),
            n_waveforms,
            found,
            next: 0,
        })
    }

    /// Forgets decoded chunks.
    pub fn release(&self) {
        self.found.rows.release();
    }

    /// Reads the elements of `rows` of a dataset, of `row_bytes` bytes each.
    fn read(
        &self,
        stored: &StoredRows,
        rows: &Range<u64>,
        row_bytes: usize,
        what: &str,
    ) -> Result<Vec<u8>> {
        let (first, n_rows) = (rows.start, rows.end - rows.start);
        let place = || format!("{what}, rows {first} to {}", rows.end - 1);
        let bytes = stored.read(rows).map_err(|reason| {
            Error::input(&self.info.path, format!("{} cannot be read", place())).with_source(reason)
        })?;
        if bytes.len() as u64 == n_rows.saturating_mul(row_bytes as u64) {
            Ok(bytes)
        } else {
            Err(Error::input(
                &self.info.path,
                format!(
                    "{}: {} bytes instead of {row_bytes} per row",
                    place(),
                    bytes.len()
                ),
            ))
        }
    }

    /// Returns the rows of the dataset that have the `waveforms`.
    fn rows_of(&self, waveforms: &Range<u64>) -> Range<u64> {
        let n_channels = self.found.n_channels.max(1);
        waveforms.start / n_channels..waveforms.end.div_ceil(n_channels)
    }

    /// Reads a column, and returns one number for each of the `waveforms`, which begin and end with a row.
    fn read_column<T: Copy>(
        &self,
        column: Option<&Column>,
        waveforms: &Range<u64>,
        what: &str,
        decode: impl Fn(ScalarType, &[u8]) -> Vec<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(column) = column else {
            return Ok(None);
        };
        let rows = self.rows_of(waveforms);
        let n_channels = self.found.n_channels as usize;
        let per_row = if column.is_per_channel { n_channels } else { 1 };
        let row_bytes = column.kind.size().saturating_mul(per_row);
        let bytes = self.read(&column.rows, &rows, row_bytes, what)?;
        let numbers = decode(column.kind, &bytes);
        if column.is_per_channel || n_channels == 1 {
            return Ok(Some(numbers));
        }
        let of_rows = numbers.into_iter();
        let of_waveforms = of_rows.flat_map(|number| std::iter::repeat_n(number, n_channels));
        Ok(Some(of_waveforms.collect()))
    }
}

impl Found {
    /// Returns true if every waveform states how many of the row's samples are its own.
    fn has_lengths(&self) -> bool {
        match &self.columns {
            Columns::Arrays(columns) => columns.n_samples.is_some(),
            Columns::Fields(fields) => fields.n_samples.is_some(),
        }
    }
}

/// The numbers of each waveform of a window; `None` if the file has no such column.
struct Ids<'a> {
    /// The channels of each row, in the order of the second axis.
    channels: Option<&'a [i128]>,
    event_id: Option<Vec<i128>>,
    channel_id: Option<Vec<i128>>,
    start_ns: Option<Vec<f64>>,
    n_samples: Option<Vec<i128>>,
}

impl BlockReader for Reader {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn position(&self) -> u64 {
        self.next
    }

    fn seek(&mut self, position: u64) -> Result<()> {
        // Windows always begin at the same rows, so that losses do not depend on where reading began.
        let window = position.min(self.n_waveforms) / self.window;
        self.next = window * self.window;
        Ok(())
    }

    fn next_events(&mut self) -> Result<Option<Vec<u64>>> {
        let arrays = match &self.found.columns {
            Columns::Fields(_) => {
                let block = self.next_block()?;
                return Ok(block.map(|block| block.batch.event_id().to_vec()));
            }
            Columns::Arrays(arrays) => arrays,
        };
        let n_channels = self.found.n_channels.max(1);
        let n_rows = (EVENTS_AT_A_TIME / n_channels).max(1);
        let end = self.next.saturating_add(n_rows.saturating_mul(n_channels));
        let waveforms = self.next..end.min(self.n_waveforms);
        self.next = waveforms.end;
        if waveforms.is_empty() {
            return Ok(None);
        }
        let Some(column) = &arrays.event_id else {
            let events = waveforms.map(|waveform| waveform / n_channels);
            return Ok(Some(events.collect()));
        };
        let path = &self.info.path;
        let integers = ScalarType::integers;
        let read = || self.read_column(Some(column), &waveforms, "the events", integers);
        match guarded(path, read) {
            Ok(events) => {
                let events = events.unwrap_or_default().into_iter();
                Ok(Some(
                    events.filter_map(|id| u64::try_from(id).ok()).collect(),
                ))
            }
            Err(error) if error.is_system_failure() => Err(error),
            // Waveforms without an event number are lost and belong to no event.
            Err(_) => Ok(Some(Vec::new())),
        }
    }

    fn next_block(&mut self) -> Result<Option<Block>> {
        let all = self.next..self.next.saturating_add(self.window).min(self.n_waveforms);
        if all.is_empty() {
            return Ok(None);
        }
        self.next = all.end;
        let mut block = Block::new(self.input_id, self.found.kind.empty_samples());
        let path = &self.info.path;
        let whole = guarded(path, || self.window(&all, &mut block));
        if whole.is_err() {
            block = Block::new(self.input_id, self.found.kind.empty_samples());
            let mut first = all.start;
            while first < all.end {
                let chunk = first
                    ..(first / self.of_chunk + 1)
                        .saturating_mul(self.of_chunk)
                        .min(all.end);
                first = chunk.end;
                match guarded(path, || self.window(&chunk, &mut block)) {
                    Ok(()) => {}
                    Err(error) if error.is_system_failure() => return Err(error),
                    Err(error) => lose(&mut block, &chunk, self.found.n_channels, &error),
                }
            }
        }
        Ok(Some(block))
    }
}

/// Adds the loss of `waveforms`, `n_channels` in a row of the file, merged with that of the preceding ones if there is one.
fn lose(block: &mut Block, waveforms: &Range<u64>, n_channels: u64, error: &Error) {
    let place = |waveforms: &Range<u64>| {
        let n_channels = n_channels.max(1);
        let (first, end) = (
            waveforms.start / n_channels,
            waveforms.end.div_ceil(n_channels),
        );
        if end - first == 1 {
            format!("row {first}")
        } else {
            format!("rows {first} to {}", end - 1)
        }
    };
    if let Some(last) = block.losses.last_mut()
        && last.position + last.at_least() == waveforms.start
        && last.event_id.is_none()
    {
        let all = last.position..waveforms.end;
        last.n_waveforms = Some(all.end - all.start);
        last.place = place(&all);
        return;
    }
    block.losses.push(Loss {
        place: place(waveforms),
        event_id: None,
        channel_id: None,
        n_waveforms: Some(waveforms.end - waveforms.start),
        reason: error.reason(),
        position: waveforms.start,
    });
}

impl Reader {
    /// Appends the `waveforms`: all, or none in case of an error.
    fn window(&self, waveforms: &Range<u64>, block: &mut Block) -> Result<()> {
        let found = &self.found;
        let rows = self.rows_of(waveforms);
        let n_channels = found.n_channels.max(1);
        let row_bytes = found.waveform_bytes.saturating_mul(n_channels as usize);
        let bytes = self.read(&found.rows, &rows, row_bytes, "the samples")?;
        let ids = self.ids(&bytes, waveforms)?;
        let whole = matches!(found.columns, Columns::Arrays(_)).then(|| found.kind.samples(&bytes));
        for (index, row_bytes) in bytes.chunks_exact(found.waveform_bytes).enumerate() {
            let waveform = waveforms.start + index as u64;
            let (row, channel) = (waveform / n_channels, waveform % n_channels);
            let n_samples = match &ids.n_samples {
                None => Some(found.row_samples),
                Some(lengths) => lengths
                    .get(index)
                    .and_then(|&length| usize::try_from(length).ok())
                    .filter(|&length| length <= found.row_samples),
            };
            let own: Samples;
            let samples = if let Some(samples) = &whole {
                let first = index * found.row_samples;
                n_samples.and_then(|n_samples| slice(samples, first..first + n_samples))
            } else {
                let first = found.samples_offset;
                let last = first + n_samples.unwrap_or(0) * found.kind.size();
                let bytes = row_bytes.get(first..last).unwrap_or_default();
                own = found.kind.samples(bytes);
                n_samples.and_then(|n_samples| slice(&own, 0..n_samples))
            };
            let at = |column: &Option<Vec<i128>>, absent: i128| {
                column
                    .as_ref()
                    .map_or(Some(absent), |column| column.get(index).copied())
            };
            block.push(
                Row {
                    event_id: at(&ids.event_id, i128::from(row)),
                    channel_id: match &ids.channels {
                        Some(channels) => channels.get(channel as usize).copied(),
                        None => at(
                            &ids.channel_id,
                            i128::from(channel) + i128::from(self.absent_channel),
                        ),
                    },
                    start_ns: ids
                        .start_ns
                        .as_ref()
                        .map_or(Some(0.0), |column| column.get(index).copied()),
                    samples,
                },
                waveform,
                || match found.n_channels {
                    1 => format!("row {row}"),
                    _ => format!("row {row}, channel {channel}"),
                },
            );
        }
        Ok(())
    }

    /// Returns the numbers of the `waveforms`, whose records are `bytes`.
    fn ids<'a>(&'a self, bytes: &[u8], waveforms: &Range<u64>) -> Result<Ids<'a>> {
        match &self.found.columns {
            Columns::Arrays(columns) => {
                let Arrays {
                    event_id,
                    channel_id,
                    start_ns,
                    n_samples,
                    channels,
                    has_channel_axis: _,
                } = columns.as_ref();
                let integers = |column: &Option<Column>, what| {
                    self.read_column(column.as_ref(), waveforms, what, ScalarType::integers)
                };
                let starts = start_ns.as_ref();
                Ok(Ids {
                    event_id: integers(event_id, "the events")?,
                    channel_id: integers(channel_id, "the channels")?,
                    n_samples: integers(n_samples, "the lengths")?,
                    start_ns: self.read_column(
                        starts,
                        waveforms,
                        "the window starts",
                        ScalarType::floats,
                    )?,
                    channels: channels.as_deref(),
                })
            }
            Columns::Fields(columns) => {
                let Fields {
                    event_id,
                    channel_id,
                    start_ns,
                    n_samples,
                } = columns;
                // The bytes of one field of all records, contiguous.
                let gather = |field: &Field| -> Vec<u8> {
                    let range = field.offset..field.offset + field.kind.size();
                    bytes
                        .chunks_exact(self.found.waveform_bytes)
                        .flat_map(|row| row.get(range.clone()).unwrap_or_default())
                        .copied()
                        .collect()
                };
                let integers = |field: &Field| field.kind.integers(&gather(field));
                Ok(Ids {
                    event_id: Some(integers(event_id)),
                    channel_id: Some(integers(channel_id)),
                    start_ns: start_ns
                        .as_ref()
                        .map(|field| field.kind.floats(&gather(field))),
                    n_samples: n_samples.as_ref().map(integers),
                    channels: None,
                })
            }
        }
    }
}

/// Reads the attributes of the dataset, its group and the root. The nearest takes precedence.
fn describe(
    file: &File,
    found: &Found,
    info: &mut SourceInfo,
) -> std::result::Result<(), hdf5_pure::Error> {
    let mut holders = vec![found.entry.dataset.attrs()?];
    // A link does not have the attributes of the group it is in.
    for path in [found.entry.own_path(), &found.entry.path] {
        if let Some((group, _)) = path.rsplit_once('/') {
            holders.push(file.group(group)?.attrs()?);
        }
    }
    holders.push(file.root().attrs()?);
    let number = |names: [&str; 2]| {
        holders.iter().find_map(|attributes| {
            names
                .iter()
                .find_map(|name| as_number(attributes.get(*name)?))
        })
    };
    info.sampling_ns = number(["sampling_ns", "dt_ns"]).and_then(metadata::sampling_ns);
    info.adc_bits = number(["adc_bits", "bits"]).and_then(metadata::adc_bits);
    info.polarity = holders.iter().find_map(|attributes| {
        let value = attributes.get("polarity")?;
        match value.as_str() {
            Some(text) => metadata::polarity_of_text(text),
            None => metadata::polarity_of_number(as_number(value)?),
        }
    });
    // Other programs put a sentence there.
    info.detector = holders.iter().find_map(|attributes| {
        let text = |name| attributes.get(name).and_then(AttrValue::as_str);
        metadata::detector(text("detector"), text("origin"))
    });
    Ok(())
}

fn as_number(value: &AttrValue) -> Option<f64> {
    value
        .as_f64()
        .or_else(|| value.as_i64().map(|value| value as f64))
}
