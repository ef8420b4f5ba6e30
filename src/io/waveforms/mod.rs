//! Files of waveforms: a folder or file per format, each with a [`Source`] to read it and a [`WaveformSink`] to write it.

pub(crate) mod arrow_ipc;
mod block_source;
mod blocks;
pub(crate) mod columns;
pub(crate) mod detect;
mod hdf5;
mod numpy;
mod parquet;
pub(crate) mod scalar;
mod sink;
mod source;
mod wavedump;

use std::path::Path;

use crate::error::{Error, Result};
use crate::io::catch_panic::guarded;
use detect::{Format, detect};
pub use sink::{WaveformSink, WriteInfo};
pub use source::{BatchLimit, Extent, Loss, ReadOptions, Source, SourceInfo, StopCheck};

/// Opens a file of waveforms, whatever its format; its content decides, not its name.
///
/// # Errors
/// If the file cannot be opened, is of no known format, or holds no waveforms.
pub fn open(path: &Path, options: &ReadOptions) -> Result<Box<dyn Source>> {
    let (format, n_bytes) = detect(path, options.record_samples)?;
    let open = || match format {
        Format::Hdf5 => hdf5::open(path, n_bytes, options),
        Format::Parquet => parquet::open(path, n_bytes, options),
        Format::ArrowFile => arrow_ipc::open(path, n_bytes, true, options),
        Format::ArrowStream => arrow_ipc::open(path, n_bytes, false, options),
        Format::Npy => numpy::open_npy(path, n_bytes, options),
        Format::Npz => numpy::open_npz(path, n_bytes, options),
        Format::WaveDumpBinary => wavedump::open_binary(path, n_bytes, options),
        Format::Bare { record_samples } => {
            wavedump::open_headerless(path, n_bytes, record_samples, options)
        }
        Format::WaveDumpText => wavedump::open_text(path, n_bytes, None, options),
        Format::BareText { record_samples } => {
            wavedump::open_text(path, n_bytes, Some(record_samples), options)
        }
    };
    guarded(path, open)
}

/// Creates a file of waveforms; its name decides the format: `.h5`/`.hdf5`, `.parquet`, `.arrow`/`.feather`,
/// `.npy`, `.npz`, `.dat` (WaveDump binary), `.txt` (WaveDump text).
///
/// The file has a temporary name until [`WaveformSink::finish`]. Truth goes into an HDF5 file itself, and beside
/// any other as `NAME.truth.parquet` and `NAME.truth-events.parquet`.
///
/// # Errors
/// If the name has another ending, or the file cannot be created.
pub fn create(path: &Path, info: &WriteInfo) -> Result<Box<dyn WaveformSink>> {
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .map(str::to_ascii_lowercase);
    Ok(match ending.as_deref() {
        Some("h5" | "hdf5") => Box::new(hdf5::Hdf5Sink::create(path, info)?),
        Some("parquet") => Box::new(parquet::ParquetSink::create(path, info)?),
        Some("arrow" | "feather") => Box::new(arrow_ipc::ArrowSink::create(path, info)?),
        Some("npy") => Box::new(numpy::NpySink::create(path)?),
        Some("npz") => Box::new(numpy::NpzSink::create(path, info)?),
        Some("dat") => Box::new(wavedump::BinarySink::create(path)?),
        Some("txt") => Box::new(wavedump::TextSink::create(path)?),
        _ => {
            return Err(Error::usage(format!(
                "`{}`: no format of waveforms has this ending",
                path.display()
            ))
            .with_hint(
                "end it with `.h5`, `.parquet`, `.arrow`, `.npy`, `.npz`, `.dat` or `.txt`",
            ));
        }
    })
}
