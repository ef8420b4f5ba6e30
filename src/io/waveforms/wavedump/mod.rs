//! CAEN WaveDump: binary records with and without headers, and text.

mod bare;
mod binary;
mod counters;
mod header;
mod lines;
mod sample_kind;
mod text;
mod text_kind;
mod window;
mod write;

use std::path::Path;

use super::block_source::BlockSource;
use super::blocks::BLOCK_BYTES;
use super::format::Format;
use super::{ReadOptions, Source};
use crate::error::{Error, Result};
use write::{BinarySink, TextSink};

/// Text with header lines, identified by these.
pub(crate) const TEXT: Format = Format {
    name: "CAEN WaveDump text",
    family: "CAEN WaveDump",
    endings: &["txt"],
    has_signature: false,
    detect: |probe| Ok(text_kind::has_header_lines(&probe.head)),
    open: |path, n_bytes, options| open_text(path, n_bytes, None, options),
    create: Some(|path, _| Ok(Box::new(TextSink::create(path)?))),
};

/// A number per line, or all numbers of a waveform. The user states how many make a waveform: texts that are none of numbers
/// are refused when they are opened.
pub(crate) const TEXT_WITHOUT_HEADERS: Format = Format {
    name: "CAEN WaveDump text without headers",
    family: "CAEN WaveDump",
    endings: &[],
    has_signature: false,
    detect: |probe| {
        if !text_kind::is_text(&probe.head) {
            return Ok(false);
        }
        if probe.record_samples.is_some() {
            return Ok(true);
        }
        text_kind::why_length_is_needed(probe.path)?.map_or(Ok(false), Err)
    },
    open: |path, n_bytes, options| open_text(path, n_bytes, options.record_samples, options),
    create: None,
};

/// Binary records with headers. The number of samples that the user states for records without headers is right for
/// these only if the headers agree.
pub(crate) const BINARY: Format = Format {
    name: "CAEN WaveDump binary",
    family: "CAEN WaveDump",
    endings: &["dat"],
    has_signature: false,
    detect: |probe| {
        let header = header::looks_like_records(probe)?;
        Ok(header.is_some_and(|header| {
            let stated = probe.record_samples;
            stated.is_none_or(|samples| header.may_hold(samples as u64))
        }))
    },
    open: |path, n_bytes, options| {
        let records = binary::Records::open(path, n_bytes, options)?;
        Ok(Box::new(BlockSource::new(records)))
    },
    create: Some(|path, _| Ok(Box::new(BinarySink::create(path)?))),
};

/// Bare 16-bit samples: any bytes, once the user states how many samples make a waveform.
pub(crate) const BINARY_WITHOUT_HEADERS: Format = Format {
    name: "CAEN WaveDump binary without headers",
    family: "CAEN WaveDump",
    endings: &["bin"],
    has_signature: false,
    detect: |probe| Ok(probe.record_samples.is_some()),
    open: |path, n_bytes, options| {
        let record_samples = options
            .record_samples
            .ok_or_else(|| Error::internal("samples without headers and without a length"))?;
        let bare = bare::Bare::open(path, n_bytes, record_samples, options)?;
        Ok(Box::new(BlockSource::new(bare)))
    },
    create: None,
};

/// Samples decoded at a time.
const BLOCK_SAMPLES: usize = BLOCK_BYTES / 2;

/// Opens a text file with header lines, or without them if `record_samples` is given.
fn open_text(
    path: &Path,
    n_bytes: u64,
    record_samples: Option<usize>,
    options: &ReadOptions,
) -> Result<Box<dyn Source>> {
    let text = text::Text::open(path, n_bytes, record_samples, options)?;
    Ok(Box::new(BlockSource::new(text)))
}
