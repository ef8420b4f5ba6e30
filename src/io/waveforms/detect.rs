//! Which format a file has, told from its content.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::numpy::npy::read_up_to;
use super::{numpy, wavedump};
use crate::error::{Error, Result};

/// Formats of waveform files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Hdf5,
    Parquet,
    /// Arrow IPC with a footer.
    ArrowFile,
    ArrowStream,
    Npy,
    Npz,
    WaveDumpBinary,
    /// Bare 16-bit samples; the user said how many make a record.
    Bare {
        record_samples: usize,
    },
    WaveDumpText,
    /// A number a line without headers.
    BareText {
        record_samples: usize,
    },
}

/// Bytes of the file's start that are looked at.
const HEAD_BYTES: usize = 4096;
const HDF5_SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";

/// The format of the file and its size. `record_samples` is what the user said about files without headers.
pub(crate) fn detect(path: &Path, record_samples: Option<usize>) -> Result<(Format, u64)> {
    let cannot = |error| Error::input(path, "cannot be opened").with_source(error);
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if metadata.is_dir() {
        return Err(Error::input(path, "is a folder, not a file of waveforms")
            .with_hint("name the files inside it"));
    }
    let mut file = File::open(path).map_err(cannot)?;
    let n_bytes = metadata.len();
    if n_bytes == 0 {
        return Err(Error::input(path, "is empty")
            .with_hint("look whether the program that should have written it ended well"));
    }
    let mut head = vec![0; HEAD_BYTES];
    let n_read = read_up_to(&mut file, &mut head)
        .map_err(|error| Error::input(path, "cannot be read").with_source(error))?;
    head.truncate(n_read);
    let format = by_content(path, &mut file, &head, n_bytes, record_samples)?;
    Ok((format, n_bytes))
}

fn by_content(
    path: &Path,
    file: &mut File,
    head: &[u8],
    n_bytes: u64,
    record_samples: Option<usize>,
) -> Result<Format> {
    let unreadable = |error| Error::input(path, "cannot be read").with_source(error);
    if has_hdf5_signature(file, n_bytes).map_err(unreadable)? {
        return Ok(Format::Hdf5);
    }
    if head.starts_with(b"PAR1") {
        return Ok(Format::Parquet);
    }
    if head.starts_with(b"ARROW1\0\0") {
        return Ok(Format::ArrowFile);
    }
    if head.starts_with(numpy::npy::MAGIC) {
        return Ok(Format::Npy);
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return if numpy::has_arrays(path) {
            Ok(Format::Npz)
        } else {
            Err(Error::input(
                path,
                "is a zip archive without NumPy arrays, or a damaged one",
            ))
        };
    }
    if head.starts_with(b"root") {
        return Err(Error::input(path, "is a ROOT file, which nuwave cannot read yet").with_hint(
            "convert it, as with uproot: `numpy.savez(\"run.npz\", samples=tree[\"wf0\"].array(library=\"np\"))`",
        ));
    }
    if record_samples.is_none()
        && let Some(other) = other_format(head)
    {
        return Err(Error::input(
            path,
            format!("is {other}, not a file of waveforms"),
        ));
    }
    if is_arrow_stream(head) {
        return Ok(Format::ArrowStream);
    }
    let text = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(head);
    if text
        .trim_ascii_start()
        .starts_with(wavedump::FIRST_KEY.as_bytes())
    {
        return Ok(Format::WaveDumpText);
    }
    if wavedump::looks_like_numbers(head) {
        return record_samples.map_or_else(
            || {
                Err(
                    Error::input(path, "is a text of numbers without WaveDump's header lines")
                        .with_hint("say with `--record-samples N` how many lines make a waveform"),
                )
            },
            |record_samples| Ok(Format::BareText { record_samples }),
        );
    }
    let header = wavedump::looks_like_records(file, head, n_bytes).map_err(unreadable)?;
    match (header, record_samples) {
        // What the user says wins over a header, unless both agree.
        (Some(header), Some(said)) if header.n_samples() == said as u64 => {
            Ok(Format::WaveDumpBinary)
        }
        (_, Some(record_samples)) => Ok(Format::Bare { record_samples }),
        (Some(_), None) => Ok(Format::WaveDumpBinary),
        (None, None) => Err(Error::input(path, "is of no format that nuwave knows").with_hint(
            "it reads HDF5, Parquet, Arrow IPC, CAEN WaveDump and NumPy; for a WaveDump binary without headers say `--record-samples N`",
        )),
    }
}

/// The signature stands at byte 0, 512, 1024, 2048 and so on, behind a block of the user's.
fn has_hdf5_signature(file: &mut File, n_bytes: u64) -> io::Result<bool> {
    let mut offset = 0;
    while offset + HDF5_SIGNATURE.len() as u64 <= n_bytes {
        let mut bytes = [0; HDF5_SIGNATURE.len()];
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut bytes)?;
        if bytes == HDF5_SIGNATURE {
            return Ok(true);
        }
        offset = if offset == 0 { 512 } else { offset * 2 };
    }
    Ok(false)
}

/// A stream begins with a marker, the length of the schema and the schema, whose length is a multiple of 8.
fn is_arrow_stream(head: &[u8]) -> bool {
    let (words, _) = head.as_chunks::<4>();
    let length = match words {
        [[0xff, 0xff, 0xff, 0xff], length, ..] => i32::from_le_bytes(*length),
        _ => return false,
    };
    (8..1 << 24).contains(&length) && length % 8 == 0
}

/// The name of a format that people have lying about and that holds no waveforms.
fn other_format(head: &[u8]) -> Option<&'static str> {
    Some(match head {
        [0x1f, 0x8b, ..] => "compressed with gzip (unpack it first)",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "compressed with zstd (unpack it first)",
        [b'B', b'Z', b'h', ..] => "compressed with bzip2 (unpack it first)",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "compressed with xz (unpack it first)",
        [b'F', b'E', b'A', b'1', ..] => "Feather version 1",
        [b'%', b'P', b'D', b'F', ..] => "a PDF",
        [0x89, b'P', b'N', b'G', ..] => "a picture",
        [0x7f, b'E', b'L', b'F', ..] => "a program",
        _ => return None,
    })
}
