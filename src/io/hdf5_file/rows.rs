//! Reads the rows of a dataset: through the library, or chunk by chunk where the library cannot decode them or would need several
//! times the memory of a chunk.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hdf5_pure::{Dataset, Filter};

use super::codecs;
use super::storage::{Decoder, decoder};
use crate::error::{Error, Result};
use crate::io::limits::hdf5::{MAX_COMPRESSION, oversized, oversized_chunks};
use crate::io::system_errors::NotingReader;

/// Bytes of decoded chunks that are kept, if a row of chunks takes fewer.
const CACHE_BYTES: u64 = 4 << 20;
/// Rows of chunks of more bytes than this are decoded here, once, instead of by the library for each piece.
const MAX_LIBRARY_BYTES: u64 = 8 << 20;
/// Maximum size of a row of chunks, which must be decoded as a whole.
const MAX_CHUNK_BYTES: u64 = 1 << 30;

/// Filters that compress by no more than deflate: the HDF5 library's own.
const MAX_COMPRESSION_FILTERS: [u16; 5] = [1, 2, 3, 6, 32000];
/// Maximum ratio of the other filters: a block of Zstandard repeats a byte 128 Ki times.
const MAX_OTHER_COMPRESSION: u64 = 1 << 17;

/// A dataset whose rows can be read.
#[derive(Clone)]
pub(crate) struct StoredRows {
    dataset: Dataset,
    /// Rows of chunks that must not be read.
    oversized: Vec<Range<u64>>,
    /// The chunks, if they are decoded here.
    chunks: Option<Arc<Chunks>>,
    chunk_rows: u64,
}

impl StoredRows {
    /// Checks whether the dataset `name` of a file of `n_bytes` can be read.
    ///
    /// # Errors
    /// If it is stored in a way that nuwave does not read.
    pub fn open(path: &Path, n_bytes: u64, name: &str, dataset: &Dataset) -> Result<Self> {
        let decoder = decoder(path, name, dataset)?;
        let oversized = oversized_chunks(dataset, n_bytes);
        let shape = dataset.shape().unwrap_or_default();
        let chunk_shape = dataset.chunk_shape().ok().flatten();
        let element_bytes = dataset.element_size().unwrap_or(1).max(1);
        let chunk_rows = chunk_shape
            .as_ref()
            .and_then(|shape| shape.first().copied())
            .unwrap_or(1)
            .max(1);
        // Chunks side by side that have the same rows.
        let row_of_chunks = chunk_shape.as_deref().map_or(0, |chunk| {
            chunk.iter().zip(&shape).skip(1).fold(
                chunk_rows.saturating_mul(element_bytes),
                |all, (&of_chunk, &length)| {
                    let whole = length.div_ceil(of_chunk.max(1)).saturating_mul(of_chunk);
                    all.saturating_mul(whole.max(1))
                },
            )
        });
        let is_filtered = !dataset.filters().is_empty();
        if is_filtered && row_of_chunks > MAX_CHUNK_BYTES {
            let chunk_text = super::shape_text(chunk_shape.as_deref().unwrap_or_default());
            let small: Vec<String> = chunk_shape
                .iter()
                .flatten()
                .enumerate()
                .map(|(axis, &length)| {
                    let length = if axis == 0 { length.min(100) } else { length };
                    length.to_string()
                })
                .collect();
            return Err(Error::input(
                path,
                format!(
                    "`/{name}` is compressed in chunks of {chunk_text} elements: {} MiB have to be decoded at once, and nuwave's limit is {} MiB",
                    row_of_chunks >> 20,
                    MAX_CHUNK_BYTES >> 20
                ),
            )
            .with_hint(format!(
                "`h5repack -l {name}:CHUNK={} {} repacked.h5` makes smaller chunks",
                small.join("x"),
                path.display()
            )));
        }
        let decoded_here = decoder == Decoder::Own || row_of_chunks > MAX_LIBRARY_BYTES;
        let chunks = decoded_here
            .then(|| Chunks::open(path, dataset, &shape, element_bytes, row_of_chunks))
            .transpose()?
            .flatten()
            .map(Arc::new);
        if chunks.is_none() && decoder == Decoder::Own && oversized.is_empty() {
            return Err(Error::input(
                path,
                format!("`/{name}`: the index of its chunks cannot be read"),
            )
            .with_hint(format!(
                "`h5repack {} repacked.h5` makes a file that nuwave reads, unless this one is damaged",
                path.display()
            )));
        }
        Ok(Self {
            dataset: dataset.clone(),
            oversized,
            chunks,
            chunk_rows,
        })
    }

    /// Returns the rows of a chunk.
    pub fn chunk_rows(&self) -> u64 {
        self.chunk_rows
    }

    /// Returns the maximum ratio of the numbers' size to that of the file.
    pub fn max_compression(&self) -> u64 {
        let is_deflate = |id: u16| MAX_COMPRESSION_FILTERS.contains(&id);
        if self.dataset.filters().into_iter().all(is_deflate) {
            MAX_COMPRESSION
        } else {
            MAX_OTHER_COMPRESSION
        }
    }

    /// Returns true if rows within a chunk can be read one after the other without decoding it for each.
    pub fn keeps_chunks(&self) -> bool {
        self.chunks.is_some()
    }

    /// Forgets decoded chunks.
    pub fn release(&self) {
        if let Some(chunks) = &self.chunks {
            let mut cache = chunks.cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache.clear();
        }
    }

    /// Reads the elements of `rows`.
    pub fn read(&self, rows: &Range<u64>) -> std::result::Result<Vec<u8>, String> {
        if let Some(chunk) = self
            .oversized
            .iter()
            .find(|chunk| chunk.start < rows.end && rows.start < chunk.end)
        {
            return Err(oversized(chunk));
        }
        match &self.chunks {
            Some(chunks) => chunks.read(&self.dataset, rows),
            None => read_by_library(&self.dataset, rows),
        }
    }
}

fn read_by_library(dataset: &Dataset, rows: &Range<u64>) -> std::result::Result<Vec<u8>, String> {
    dataset
        .read_raw_rows(rows.start, rows.end - rows.start)
        .map_err(|error| error.to_string())
}

/// Where a chunk is stored.
#[derive(Clone, Copy, Debug)]
struct Place {
    address: u64,
    n_bytes: u64,
    skipped: u32,
}

/// A decoded chunk, or the reason why it cannot be decoded, and its place in the grid.
type DecodedChunk = (Vec<u64>, std::result::Result<Arc<Vec<u8>>, String>);

/// The chunks of a dataset, decoded here.
struct Chunks {
    file: Mutex<NotingReader<File>>,
    /// Chunks by their place in the grid.
    places: HashMap<Vec<u64>, Place>,
    filters: Vec<Filter>,
    shape: Vec<u64>,
    chunk_shape: Vec<u64>,
    element_bytes: usize,
    cache: Mutex<VecDeque<DecodedChunk>>,
    cache_bytes: u64,
}

impl Chunks {
    /// Reads the index of the chunks; `None` if the library cannot read it or it makes no sense.
    fn open(
        path: &Path,
        dataset: &Dataset,
        shape: &[u64],
        element_bytes: u64,
        row_of_chunks: u64,
    ) -> Result<Option<Self>> {
        let file = File::open(path)
            .map_err(|cause| Error::input(path, "cannot be opened").with_source(cause))?;
        Ok(Self::new(
            file,
            dataset,
            shape,
            element_bytes,
            row_of_chunks,
        ))
    }

    fn new(
        file: File,
        dataset: &Dataset,
        shape: &[u64],
        element_bytes: u64,
        row_of_chunks: u64,
    ) -> Option<Self> {
        let chunk_shape = dataset.chunk_shape().ok()??;
        let is_possible = !shape.is_empty()
            && chunk_shape.len() == shape.len()
            && chunk_shape.iter().all(|&n| n > 0);
        is_possible.then_some(())?;
        let mut places = HashMap::new();
        for chunk in dataset.chunks().ok()? {
            let grid = chunk
                .offset
                .iter()
                .zip(&chunk_shape)
                .map(|(&at, &n)| at / n);
            let place = Place {
                address: chunk.address,
                n_bytes: chunk.storage_size,
                skipped: chunk.filter_mask,
            };
            places.insert(grid.collect(), place);
        }
        Some(Self {
            file: Mutex::new(NotingReader(file)),
            places,
            filters: dataset.filter_pipeline(),
            shape: shape.to_vec(),
            chunk_shape,
            element_bytes: usize::try_from(element_bytes).ok()?,
            cache: Mutex::new(VecDeque::new()),
            cache_bytes: row_of_chunks.max(CACHE_BYTES),
        })
    }

    fn read(&self, dataset: &Dataset, rows: &Range<u64>) -> std::result::Result<Vec<u8>, String> {
        let too_large = || "the rows are too large".to_owned();
        let mut wanted = self.shape.clone();
        let n_rows = wanted.first_mut().ok_or_else(too_large)?;
        *n_rows = rows.end.min(*n_rows).saturating_sub(rows.start);
        let n_bytes = wanted
            .iter()
            .try_fold(self.element_bytes, |all, &n| {
                all.checked_mul(usize::try_from(n).ok()?)
            })
            .ok_or_else(too_large)?;
        let mut bytes = vec![0; n_bytes];
        let first: Vec<u64> = self.chunk_shape.iter().map(|_| 0).collect();
        let last: Vec<u64> = self
            .shape
            .iter()
            .zip(&self.chunk_shape)
            .map(|(&length, &of_chunk)| length.div_ceil(of_chunk))
            .collect();
        let chunk_rows = self.chunk_shape.first().copied().unwrap_or(1);
        for band in rows.start / chunk_rows..rows.end.div_ceil(chunk_rows) {
            let mut grid = first.clone();
            if let Some(row) = grid.first_mut() {
                *row = band;
            }
            // All chunks side by side in this row of chunks.
            loop {
                let Some(&place) = self.places.get(&grid) else {
                    // The library knows what stands for chunks that were never written. Such a row of chunks is read whole.
                    self.fill(dataset, band, chunk_rows, rows, &mut bytes)?;
                    break;
                };
                self.copy(&grid, place, rows, &mut bytes)?;
                let next = (1..grid.len()).rev().find(|&axis| {
                    let (at, end) = (grid[axis] + 1, last[axis]);
                    grid[axis] = if at < end { at } else { 0 };
                    at < end
                });
                if next.is_none() {
                    break;
                }
            }
        }
        Ok(bytes)
    }

    /// Reads the rows of a row of chunks, of which some were never written, through the library.
    fn fill(
        &self,
        dataset: &Dataset,
        band: u64,
        chunk_rows: u64,
        rows: &Range<u64>,
        bytes: &mut [u8],
    ) -> std::result::Result<(), String> {
        let start = rows.start.max(band.saturating_mul(chunk_rows));
        let end = rows.end.min((band + 1).saturating_mul(chunk_rows));
        let filled = read_by_library(dataset, &(start..end.min(self.shape[0])))?;
        let row_bytes = bytes.len() / (rows.end - rows.start).max(1) as usize;
        let at = (start - rows.start) as usize * row_bytes;
        bytes
            .get_mut(at..at + filled.len())
            .ok_or_else(|| "the rows have an impossible size".to_owned())?
            .copy_from_slice(&filled);
        Ok(())
    }

    /// Copies the part of the chunk at `grid` that is within `rows`.
    fn copy(
        &self,
        grid: &[u64],
        place: Place,
        rows: &Range<u64>,
        bytes: &mut [u8],
    ) -> std::result::Result<(), String> {
        let impossible = || "the chunk has an impossible shape".to_owned();
        let of_chunk = |axis: usize| self.chunk_shape[axis];
        let chunk_start = grid[0] * of_chunk(0);
        let first_row = rows.start.max(chunk_start);
        let end_row = rows.end.min(chunk_start + of_chunk(0)).min(self.shape[0]);
        let inner: u64 = self.chunk_shape.iter().skip(1).product();
        let row_bytes = usize::try_from(inner).map_err(|_| impossible())? * self.element_bytes;
        let skip = (first_row - chunk_start) as usize * row_bytes;
        let n_rows = (end_row.saturating_sub(first_row)) as usize;
        let chunk;
        let part;
        let own: &[u8] = if self.filters.is_empty() {
            part = self.stored(place, skip as u64, n_rows * row_bytes)?;
            &part
        } else {
            chunk = self.decoded(grid, place)?;
            chunk
                .get(skip..skip + n_rows * row_bytes)
                .ok_or_else(impossible)?
        };
        // Runs along the last axis, for every place on the axes between.
        let n_axes = self.shape.len();
        let run_axis = n_axes - 1;
        let mut at = vec![0_u64; n_axes];
        let length = |axis: usize| {
            let start = grid[axis] * of_chunk(axis);
            of_chunk(axis).min(self.shape[axis].saturating_sub(start))
        };
        let run = if run_axis == 0 {
            n_rows as u64
        } else {
            length(run_axis)
        };
        let run_bytes = run as usize * self.element_bytes;
        loop {
            let (mut from, mut to) = (0_u64, 0_u64);
            for axis in 0..n_axes {
                let start = if axis == 0 {
                    first_row - rows.start
                } else {
                    grid[axis] * of_chunk(axis)
                };
                let (row, width) = if axis == 0 {
                    (at[0], rows.end - rows.start)
                } else {
                    (at[axis], self.shape[axis])
                };
                let of_part = if axis == 0 {
                    n_rows as u64
                } else {
                    of_chunk(axis)
                };
                from = from * of_part + row;
                to = to * width + start + row;
            }
            let from = from as usize * self.element_bytes;
            let to = to as usize * self.element_bytes;
            let run_of_chunk = own.get(from..from + run_bytes).ok_or_else(impossible)?;
            bytes
                .get_mut(to..to + run_bytes)
                .ok_or_else(impossible)?
                .copy_from_slice(run_of_chunk);
            let next = (0..run_axis).rev().find(|&axis| {
                let end = if axis == 0 {
                    n_rows as u64
                } else {
                    length(axis)
                };
                at[axis] += 1;
                let goes_on = at[axis] < end;
                if !goes_on {
                    at[axis] = 0;
                }
                goes_on
            });
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Reads `n_bytes` of a chunk that no filter changed, `skip` bytes after its beginning.
    fn stored(
        &self,
        place: Place,
        skip: u64,
        n_bytes: usize,
    ) -> std::result::Result<Vec<u8>, String> {
        let end = skip.saturating_add(n_bytes as u64);
        if end > place.n_bytes {
            return Err(format!(
                "the chunk has {} bytes instead of at least {end}",
                place.n_bytes
            ));
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![0; n_bytes];
        file.seek(SeekFrom::Start(place.address.saturating_add(skip)))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    /// Returns a chunk, decoded.
    fn decoded(&self, grid: &[u64], place: Place) -> std::result::Result<Arc<Vec<u8>>, String> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, chunk)) = cache.iter().find(|(key, _)| key == grid) {
            return chunk.clone();
        }
        let n_bytes = self
            .chunk_shape
            .iter()
            .try_fold(self.element_bytes, |all, &n| {
                all.checked_mul(usize::try_from(n).ok()?)
            })
            .ok_or("the chunk has an impossible size")?;
        // Makes room first, so that a large chunk and the next one are not held together.
        let limit = self.cache_bytes.saturating_sub(n_bytes as u64);
        let held = |cache: &VecDeque<DecodedChunk>| {
            let chunks = cache.iter().filter_map(|(_, chunk)| chunk.as_ref().ok());
            chunks.map(|chunk| chunk.len() as u64).sum::<u64>()
        };
        while held(&cache) > limit && cache.pop_front().is_some() {}
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(place.address))
            .map_err(|error| error.to_string())?;
        let n_stored = usize::try_from(place.n_bytes).map_err(|error| error.to_string())?;
        let stored = BufReader::new((&mut *file).take(place.n_bytes));
        let chunk = codecs::decode(
            stored,
            n_stored,
            &self.filters,
            place.skipped,
            self.element_bytes,
            n_bytes,
        )
        .map(Arc::new);
        if chunk.is_err() {
            cache.retain(|(_, kept)| kept.is_ok());
        }
        cache.push_back((grid.to_vec(), chunk.clone()));
        chunk
    }
}
