//! CAEN WaveDump: binary records with and without headers, and text.

mod binary;
mod text;
mod write;

use std::path::Path;

use super::block_source::BlockSource;
use super::blocks::BLOCK_BYTES;
use super::{ReadOptions, Source};
use crate::error::Result;
pub(super) use binary::looks_like_records;
pub(super) use text::{FIRST_KEY, looks_like_numbers};
pub(super) use write::{BinarySink, TextSink};

/// Samples decoded at a time.
const BLOCK_SAMPLES: usize = BLOCK_BYTES / 2;

/// Opens a binary whose records have headers.
pub(super) fn open_binary(
    path: &Path,
    n_bytes: u64,
    options: &ReadOptions,
) -> Result<Box<dyn Source>> {
    let records = binary::Records::open(path, n_bytes, options)?;
    Ok(Box::new(BlockSource::new(records)))
}

/// Opens a binary of bare samples, `record_samples` a waveform.
pub(super) fn open_headerless(
    path: &Path,
    n_bytes: u64,
    record_samples: usize,
    options: &ReadOptions,
) -> Result<Box<dyn Source>> {
    let bare = binary::Bare::open(path, n_bytes, record_samples, options)?;
    Ok(Box::new(BlockSource::new(bare)))
}

/// Opens a text file with header lines, or without them where `record_samples` is given.
pub(super) fn open_text(
    path: &Path,
    n_bytes: u64,
    record_samples: Option<usize>,
    options: &ReadOptions,
) -> Result<Box<dyn Source>> {
    let text = text::Text::open(path, n_bytes, record_samples, options)?;
    Ok(Box::new(BlockSource::new(text)))
}
