//! HDF5: waveforms in a group of arrays, in arrays at the root, or in a table of compound records.

mod groups;
mod layout;
mod read;
mod write;

use std::path::Path;

use super::block_source::BlockSource;
use super::format::{Format, Probe};
use super::{ReadOptions, Source};
use crate::error::Result;
use crate::io::hdf5_file::{self, open_file};
use write::Hdf5Sink;

/// HDF5, identified by its signature.
pub(crate) const FORMAT: Format = Format {
    name: "HDF5",
    family: "HDF5",
    endings: &["h5", "hdf5"],
    has_signature: true,
    detect: has_signature,
    open,
    create: Some(|path, info| Ok(Box::new(Hdf5Sink::create(path, info)?))),
};

const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";

/// Returns whether the file has the signature, at byte 0 or, after a user block, at 512, 1024, 2048 and so on.
fn has_signature(probe: &mut Probe<'_>) -> Result<bool> {
    let mut offset = 0;
    while offset + SIGNATURE.len() as u64 <= probe.n_bytes {
        let mut bytes = [0; SIGNATURE.len()];
        probe.read_at(offset, &mut bytes)?;
        if bytes == *SIGNATURE {
            return Ok(true);
        }
        offset = if offset == 0 { 512 } else { offset * 2 };
    }
    Ok(false)
}

/// Opens a file of waveforms.
fn open(path: &Path, n_bytes: u64, options: &ReadOptions) -> Result<Box<dyn Source>> {
    let file = open_file(path)?;
    let listing = hdf5_file::datasets(&file, path)?;
    if let Some(groups) = groups::Groups::open(&file, &listing, path, n_bytes, options)? {
        return Ok(Box::new(BlockSource::new(groups)));
    }
    let found = layout::find(&listing, path, n_bytes, options)?;
    let reader = read::Reader::new(&file.file, path, n_bytes, found, options)?;
    Ok(Box::new(BlockSource::new(reader)))
}
