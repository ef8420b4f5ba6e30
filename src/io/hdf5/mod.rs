//! HDF5: waveforms in a group of arrays, in arrays at the root, or in a table of compound records.

mod hits;
mod layout;
mod listing;
mod read;
mod truth;
mod write;

use std::path::Path;

use hdf5_pure::{ChunkCacheConfig, File, FileAccessProperties};

use super::block_source::BlockSource;
use super::{ReadOptions, Source};
use crate::error::{Error, Result};
pub(super) use hits::{HitArrayRows, HitArrays, find_hits};
pub(super) use truth::read_truth;
pub(super) use write::Hdf5Sink;

/// Bytes of decompressed chunks that a dataset may keep. A row of chunks is read at once, so this serves the small
/// columns, whose chunks span more rows than a block of samples.
const CHUNK_CACHE_BYTES: usize = 4 << 20;

/// Opens a file of waveforms.
pub(super) fn open(path: &Path, n_bytes: u64, options: &ReadOptions) -> Result<Box<dyn Source>> {
    let file = open_file(path)?;
    let found = layout::find(&file, path, n_bytes, options)?;
    let reader = read::Reader::new(&file, path, n_bytes, found, options)?;
    Ok(Box::new(BlockSource::new(reader)))
}

/// Opens the file without reading more than its first page.
fn open_file(path: &Path) -> Result<File> {
    let access = FileAccessProperties::new()
        .with_chunk_cache(ChunkCacheConfig::from_h5p_cache(521, CHUNK_CACHE_BYTES));
    File::open_streaming_with_options(path, access).map_err(|error| {
        Error::input(path, "is an HDF5 file that cannot be opened")
            .with_source(error)
            .with_hint("a file that was cut off while it was written or copied looks like this")
    })
}
