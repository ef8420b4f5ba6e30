//! HDF5: waveforms in a group of arrays, in arrays at the root, or in a table of compound records.

mod layout;
mod read;
mod write;

use std::path::Path;

use super::block_source::BlockSource;
use super::{ReadOptions, Source};
use crate::error::Result;
use crate::io::hdf5_file::open_file;
pub(super) use write::Hdf5Sink;

/// Opens a file of waveforms.
pub(super) fn open(path: &Path, n_bytes: u64, options: &ReadOptions) -> Result<Box<dyn Source>> {
    let file = open_file(path)?;
    let found = layout::find(&file, path, n_bytes, options)?;
    let reader = read::Reader::new(&file, path, n_bytes, found, options)?;
    Ok(Box::new(BlockSource::new(reader)))
}
