//! Files of waveforms: a folder or file per format, each with a [`Source`] to read it and perhaps a [`WaveformSink`] to
//! write it.
//!
//! The table [`FORMATS`] is the only list of formats: detection, opening, creating, the endings of inputs in folders and the
//! texts that name formats all use it.

mod absent_channel;
pub(crate) mod arrow_ipc;
pub(crate) mod arrow_values;
pub(crate) mod axes;
mod block_source;
mod blocks;
mod channel;
pub(crate) mod columns;
pub(crate) mod detect;
mod format;
mod hdf5;
pub(crate) mod names;
mod numpy;
mod parquet;
mod record_sink;
pub(crate) mod scalar;
mod sink;
mod source;
mod wavedump;

use std::path::Path;

use crate::error::{Error, Result};
use crate::io::catch_panic::guarded;
pub use absent_channel::MergedChannels;
pub use channel::{ChannelId, ChannelOrigin, NamePattern};
pub use format::{Create, Format, Probe};
pub(crate) use hdf5::FORMAT as HDF5;
pub(crate) use parquet::FORMAT as PARQUET;
pub use sink::{EndReport, WaveformSink, WriteInfo};
pub use source::{BatchLimit, Extent, Loss, ReadOptions, Remark, Source, SourceInfo, StopCheck};

/// All formats, in the order in which they are tried.
pub const FORMATS: &[Format] = &[
    hdf5::FORMAT,
    parquet::FORMAT,
    arrow_ipc::FILE,
    numpy::NPY,
    numpy::NPZ,
    arrow_ipc::STREAM,
    wavedump::TEXT,
    wavedump::TEXT_WITHOUT_HEADERS,
    wavedump::BINARY,
    wavedump::BINARY_WITHOUT_HEADERS,
];

/// Lists the formats that can be read, as in `HDF5, Parquet and NumPy`.
#[must_use]
pub fn readable_formats() -> String {
    detect::families(FORMATS)
}

/// Lists the usual ending of each format that can be written, as in "`.h5`, `.npy` or `.txt`".
#[must_use]
pub fn writable_endings() -> String {
    created_endings(FORMATS)
}

/// Opens a file of waveforms. Its content determines the format, not its name.
///
/// ```
/// use std::path::Path;
///
/// use nuwave::io::{self, BatchLimit, ReadOptions};
///
/// let mut source = io::open(Path::new("testdata/juno64.h5"), &ReadOptions::default())?;
/// assert_eq!(source.info().format, "HDF5");
/// let mut n_waveforms = 0;
/// while let Some(batch) = source.next_batch(BatchLimit::default())? {
///     n_waveforms += batch.len();
/// }
/// assert_eq!(Some(n_waveforms as u64), source.info().n_waveforms);
/// assert!(source.take_losses().is_empty());
/// # Ok::<(), nuwave::Error>(())
/// ```
///
/// # Errors
/// If the file cannot be opened, is not in a known format, or holds no waveforms.
pub fn open(path: &Path, options: &ReadOptions) -> Result<Box<dyn Source>> {
    open_among(FORMATS, path, options)
}

fn open_among(
    formats: &'static [Format],
    path: &Path,
    options: &ReadOptions,
) -> Result<Box<dyn Source>> {
    let (format, n_bytes) = detect::detect(formats, path, options.record_samples)?;
    guarded(path, || (format.open)(path, n_bytes, options))
}

/// Creates a file of waveforms. The ending of its name selects the [format](FORMATS).
///
/// The file has a temporary name until [`WaveformSink::finish`]. Truth goes into an HDF5 file itself, and next to
/// any other as `NAME.truth.parquet` and `NAME.truth-events.parquet`.
///
/// # Errors
/// If the name has another ending, or the file cannot be created.
pub fn create(path: &Path, info: &WriteInfo) -> Result<Box<dyn WaveformSink>> {
    create_among(FORMATS, path, info)
}

fn create_among(
    formats: &[Format],
    path: &Path,
    info: &WriteInfo,
) -> Result<Box<dyn WaveformSink>> {
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .map(str::to_ascii_lowercase);
    let format = formats.iter().find_map(|format| {
        let has_ending = ending
            .as_deref()
            .is_some_and(|it| format.endings.contains(&it));
        format.create.filter(|_| has_ending)
    });
    let Some(create) = format else {
        return Err(Error::usage(format!(
            "`{}`: no format of waveforms has this ending",
            path.display()
        ))
        .with_hint(format!("end it with {}", created_endings(formats))));
    };
    create(path, info)
}

fn created_endings(formats: &[Format]) -> String {
    let written = formats.iter().filter(|format| format.create.is_some());
    let endings: Vec<String> = written
        .filter_map(|format| format.endings.first())
        .map(|ending| format!("`.{ending}`"))
        .collect();
    match endings.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => endings.join(""),
    }
}

/// Returns the endings of all `formats`, whether nuwave writes them or not.
pub(crate) fn endings(formats: &'static [Format]) -> impl Iterator<Item = &'static str> {
    formats
        .iter()
        .flat_map(|format| format.endings.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::blocks::{Block, BlockReader, Row};
    use super::*;
    use crate::model::{Batch, MIN_SAMPLES, Polarity, Samples, SamplesRef, Truth};

    /// A format of its own: a magic word, then waveforms of 32 samples of one byte.
    const TINY: Format = Format {
        name: "Tiny",
        family: "Tiny",
        endings: &["tiny"],
        has_signature: true,
        detect: |probe| Ok(probe.head.starts_with(b"TINY")),
        open: |path, n_bytes, _| {
            let bytes = std::fs::read(path)
                .map_err(|error| Error::input(path, "cannot be read").with_source(error))?;
            let info = SourceInfo::new(path.to_owned(), "Tiny", n_bytes);
            let rows = bytes[4..].chunks_exact(MIN_SAMPLES);
            let rows = rows.map(|row| row.iter().copied().map(u16::from).collect());
            Ok(Box::new(block_source::BlockSource::new(Reader {
                info,
                rows: rows.collect(),
                next: 0,
            })))
        },
        create: Some(|path, _| Ok(Box::new(Writer(path.to_owned(), b"TINY".to_vec())))),
    };

    struct Reader {
        info: SourceInfo,
        rows: Vec<Vec<u16>>,
        next: usize,
    }

    impl BlockReader for Reader {
        fn info(&self) -> &SourceInfo {
            &self.info
        }

        fn next_block(&mut self) -> Result<Option<Block>> {
            let Some(samples) = self.rows.get(self.next) else {
                return Ok(None);
            };
            let row = Row {
                event_id: Some(self.next as i128),
                channel_id: Some(0),
                start_ns: Some(0.0),
                samples: Some(SamplesRef::U16(samples)),
            };
            let mut block = Block::new(0, Samples::U16(Vec::new()));
            block.push(row, self.next as u64, || format!("row {}", self.next));
            self.next += 1;
            Ok(Some(block))
        }

        fn position(&self) -> u64 {
            self.next as u64
        }
    }

    struct Writer(PathBuf, Vec<u8>);

    impl WaveformSink for Writer {
        fn write(&mut self, batch: &Batch) -> Result<()> {
            for waveform in batch.iter() {
                if let SamplesRef::U16(samples) = waveform.samples {
                    self.1.extend(samples.iter().map(|&sample| sample as u8));
                }
            }
            Ok(())
        }

        fn finish(self: Box<Self>, _: &Truth) -> Result<()> {
            std::fs::write(&self.0, &self.1)
                .map_err(|error| Error::output(&self.0, "cannot be written").with_source(error))
        }
    }

    #[test]
    fn a_format_is_one_line_of_the_table() {
        const WITH_TINY: &[Format] = &[FORMATS[0], TINY, FORMATS[1]];
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run.TINY");
        let info = WriteInfo {
            sampling_ns: 1.0,
            adc_bits: 8,
            polarity: Polarity::Negative,
            detector: String::new(),
            origin: String::new(),
        };
        let mut batch = Batch::new_u16(0);
        let samples: Vec<u16> = (0..MIN_SAMPLES as u16).collect();
        for event_id in 0..3 {
            batch.push(crate::model::Waveform {
                event_id,
                channel_id: 0,
                start_ns: 0.0,
                samples: SamplesRef::U16(&samples),
            });
        }
        let mut sink = create_among(WITH_TINY, &path, &info).expect("the ending is known");
        sink.write(&batch).expect("a batch");
        sink.finish(&Truth::default()).expect("a file");
        let mut source = open_among(WITH_TINY, &path, &ReadOptions::default()).expect("the format");
        assert_eq!(source.info().format, "Tiny");
        let read = source.next_batch(BatchLimit::default());
        assert_eq!(read.expect("waveforms"), Some(batch));
        assert!(endings(WITH_TINY).any(|ending| ending == "tiny"));
        assert_eq!(detect::families(WITH_TINY), "HDF5, Tiny and Parquet");
        assert_eq!(created_endings(WITH_TINY), "`.h5`, `.tiny` or `.parquet`");
        assert!(open(&path, &ReadOptions::default()).is_err());
    }

    #[test]
    fn names_and_endings_are_unique() {
        let mut names: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FORMATS.len());
        let all: Vec<&str> = endings(FORMATS).collect();
        let mut unique = all.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), all.len());
    }
}
