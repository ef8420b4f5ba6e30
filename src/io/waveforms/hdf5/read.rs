//! Reads the rows of an HDF5 file in windows of whole chunks. In a window that cannot be read, the chunks are read one by one.

use std::ops::Range;
use std::path::Path;

use hdf5_pure::{AttrValue, Dataset, File};

use super::FORMAT;
use super::layout::{Arrays, Column, Columns, Field, Fields, Found};
use crate::error::{Error, Result};
use crate::io::catch_panic::guarded;
use crate::io::limits;
use crate::io::truth::is_in_hdf5;
use crate::io::waveforms::blocks::{BLOCK_BYTES, Block, BlockReader, Row};
use crate::io::waveforms::numpy::slice;
use crate::io::{Extent, Loss, ReadOptions, SourceInfo, metadata};
use crate::model::Samples;

/// Maximum size of a window that is enlarged to whole chunks; larger chunks are decompressed several times.
const MAX_WINDOW_BYTES: u64 = 64 << 20;
/// Event numbers read at a time if nothing else is read.
const EVENTS_AT_A_TIME: u64 = 1 << 16;

pub(super) struct Reader {
    info: SourceInfo,
    input_id: u32,
    /// The channel if there is no array of channels.
    absent_channel: u32,
    found: Found,
    /// Rows read at a time, a multiple of the chunks' rows unless those are too many.
    window_rows: u64,
    /// Rows of a chunk of samples; damage affects whole chunks.
    chunk_rows: u64,
    next_row: u64,
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
        info.layout.clone_from(&found.layout);
        let has_channels = match &found.columns {
            Columns::Arrays(arrays) => arrays.channel_id.is_some(),
            Columns::Fields(_) => true,
        };
        let absent_channel = if has_channels {
            0
        } else {
            info.name_channel(options, false)?
        };
        info.n_waveforms = Some(found.n_rows);
        info.extent = Extent::rows(found.n_rows, found.row_samples as u64);
        info.n_samples = (!found.has_lengths()).then_some(found.row_samples);
        found.kind.scalar.name().clone_into(&mut info.sample_type);
        describe(file, &found, &mut info).map_err(|error| {
            Error::input(path, "has attributes that cannot be read").with_source(error)
        })?;
        info.has_truth |= is_in_hdf5(file);
        let chunk_rows = found
            .dataset
            .chunk_shape()
            .ok()
            .flatten()
            .and_then(|shape| shape.first().copied())
            .unwrap_or(1)
            .max(1);
        let row_bytes = found.row_bytes.max(1) as u64;
        let wanted_rows = (BLOCK_BYTES as u64 / row_bytes).max(1);
        let aligned_rows = wanted_rows.div_ceil(chunk_rows).saturating_mul(chunk_rows);
        let window_rows = if aligned_rows.saturating_mul(row_bytes) <= MAX_WINDOW_BYTES {
            aligned_rows
        } else {
            (MAX_WINDOW_BYTES / row_bytes).max(1)
        };
        Ok(Self {
            info,
            input_id: options.input_id,
            absent_channel,
            found,
            window_rows,
            chunk_rows,
            next_row: 0,
        })
    }

    fn read(
        &self,
        dataset: &Dataset,
        oversized: &[Range<u64>],
        rows: &Range<u64>,
        row_bytes: usize,
        what: &str,
    ) -> Result<Vec<u8>> {
        let (first, n_rows) = (rows.start, rows.end - rows.start);
        let place = || format!("{what}, rows {first} to {}", first + n_rows - 1);
        if let Some(chunk) = oversized
            .iter()
            .find(|chunk| chunk.start < rows.end && rows.start < chunk.end)
        {
            return Err(Error::input(
                &self.info.path,
                format!("{}: {}", place(), limits::hdf5::oversized(chunk)),
            ));
        }
        let bytes = dataset.read_raw_rows(first, n_rows).map_err(|error| {
            Error::input(&self.info.path, format!("{} cannot be read", place())).with_source(error)
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

    fn read_column(
        &self,
        column: Option<&Column>,
        rows: &Range<u64>,
        what: &str,
    ) -> Result<Option<Vec<u8>>> {
        column
            .map(|column| {
                let size = column.kind.size();
                self.read(&column.dataset, &column.oversized, rows, size, what)
            })
            .transpose()
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

/// The numbers of each row of a window; `None` if the file has no such column.
struct Ids {
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
        self.next_row
    }

    fn seek(&mut self, position: u64) -> Result<()> {
        // Windows always begin at the same rows, so that losses do not depend on where reading began.
        let window = position.min(self.found.n_rows) / self.window_rows;
        self.next_row = window * self.window_rows;
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
        let rows = self.next_row..(self.next_row + EVENTS_AT_A_TIME).min(self.found.n_rows);
        self.next_row = rows.end;
        if rows.is_empty() {
            return Ok(None);
        }
        let Some(column) = &arrays.event_id else {
            return Ok(Some(rows.collect()));
        };
        let path = &self.info.path;
        let read = || self.read_column(Some(column), &rows, "the events");
        match guarded(path, read) {
            Ok(bytes) => {
                let bytes = bytes.unwrap_or_default();
                let events = column.kind.integers(&bytes).into_iter();
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
        let rows = self.next_row..(self.next_row + self.window_rows).min(self.found.n_rows);
        if rows.is_empty() {
            return Ok(None);
        }
        self.next_row = rows.end;
        let mut block = Block::new(self.input_id, self.found.kind.empty_samples());
        let path = &self.info.path;
        let whole = guarded(path, || self.window(&rows, &mut block));
        if whole.is_err() {
            block = Block::new(self.input_id, self.found.kind.empty_samples());
            let mut first = rows.start;
            while first < rows.end {
                let chunk = first
                    ..(first / self.chunk_rows + 1)
                        .saturating_mul(self.chunk_rows)
                        .min(rows.end);
                first = chunk.end;
                match guarded(path, || self.window(&chunk, &mut block)) {
                    Ok(()) => {}
                    Err(error) if error.is_system_failure() => return Err(error),
                    Err(error) => lose(&mut block, &chunk, &error),
                }
            }
        }
        Ok(Some(block))
    }
}

/// Adds the loss of `rows`, merged with that of the preceding rows if there is one.
fn lose(block: &mut Block, rows: &Range<u64>, error: &Error) {
    let n_waveforms = rows.end - rows.start;
    if let Some(last) = block.losses.last_mut()
        && last.position + last.at_least() == rows.start
        && last.event_id.is_none()
    {
        last.n_waveforms = Some(rows.end - last.position);
        last.place = format!("rows {} to {}", last.position, rows.end - 1);
        return;
    }
    let place = match n_waveforms {
        1 => format!("row {}", rows.start),
        _ => format!("rows {} to {}", rows.start, rows.end - 1),
    };
    block.losses.push(Loss {
        place,
        event_id: None,
        channel_id: None,
        n_waveforms: Some(n_waveforms),
        reason: error.reason(),
        position: rows.start,
    });
}

impl Reader {
    /// Appends the waveforms of `rows`: all, or none in case of an error.
    fn window(&self, rows: &Range<u64>, block: &mut Block) -> Result<()> {
        let found = &self.found;
        let (dataset, oversized) = (&found.dataset, &found.oversized);
        let bytes = self.read(dataset, oversized, rows, found.row_bytes, "the samples")?;
        let ids = self.ids(&bytes, rows)?;
        let whole = matches!(found.columns, Columns::Arrays(_)).then(|| found.kind.samples(&bytes));
        for (index, row_bytes) in bytes.chunks_exact(found.row_bytes).enumerate() {
            let row = rows.start + index as u64;
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
                    channel_id: at(&ids.channel_id, i128::from(self.absent_channel)),
                    start_ns: ids
                        .start_ns
                        .as_ref()
                        .map_or(Some(0.0), |column| column.get(index).copied()),
                    samples,
                },
                row,
                || format!("row {row}"),
            );
        }
        Ok(())
    }

    fn ids(&self, bytes: &[u8], rows: &Range<u64>) -> Result<Ids> {
        match &self.found.columns {
            Columns::Arrays(columns) => {
                let Arrays {
                    event_id,
                    channel_id,
                    start_ns,
                    n_samples,
                } = columns.as_ref();
                let integers = |column: &Option<Column>, what| -> Result<Option<Vec<i128>>> {
                    let bytes = self.read_column(column.as_ref(), rows, what)?;
                    Ok(column
                        .as_ref()
                        .zip(bytes)
                        .map(|(column, bytes)| column.kind.integers(&bytes)))
                };
                let starts = self.read_column(start_ns.as_ref(), rows, "the window starts")?;
                Ok(Ids {
                    event_id: integers(event_id, "the events")?,
                    channel_id: integers(channel_id, "the channels")?,
                    n_samples: integers(n_samples, "the lengths")?,
                    start_ns: start_ns
                        .as_ref()
                        .zip(starts)
                        .map(|(column, bytes)| column.kind.floats(&bytes)),
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
                        .chunks_exact(self.found.row_bytes)
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
    let mut holders = vec![found.dataset.attrs()?];
    if !found.group.is_empty() {
        holders.push(file.group(&found.group)?.attrs()?);
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
