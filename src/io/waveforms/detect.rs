//! Detects the format of a file by its content.

use std::path::Path;

use super::format::{Format, Probe};
use crate::error::{Error, Hint, Result};

/// Returns the format of a file among `formats`, and the file's size. `record_samples` is the number of samples per
/// waveform that the user states for files without headers.
pub(crate) fn detect(
    formats: &'static [Format],
    path: &Path,
    record_samples: Option<usize>,
) -> Result<(&'static Format, u64)> {
    let mut probe = Probe::open(path, record_samples)?;
    for format in formats.iter().filter(|format| format.has_signature) {
        if (format.detect)(&mut probe)? {
            return Ok((format, probe.n_bytes));
        }
    }
    refuse_other_programs(&probe)?;
    for format in formats.iter().filter(|format| !format.has_signature) {
        if (format.detect)(&mut probe)? {
            return Ok((format, probe.n_bytes));
        }
    }
    Err(
        Error::input(path, "is not in a format that nuwave knows").with_hint(Hint::RecordSamples {
            formats: Some(families(formats)),
        }),
    )
}

/// Lists the families of `formats`, as in `HDF5, Parquet and NumPy`.
pub(crate) fn families(formats: &[Format]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for format in formats {
        if !names.contains(&format.family) {
            names.push(format.family);
        }
    }
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Refuses common files of other programs, naming their format.
fn refuse_other_programs(probe: &Probe<'_>) -> Result<()> {
    if probe.head.starts_with(b"root") {
        return Err(Error::input(probe.path, "is a ROOT file, which nuwave cannot read yet").with_hint(
            "convert it, as with uproot: `numpy.savez(\"run.npz\", samples=tree[\"wf0\"].array(library=\"np\"))`",
        ));
    }
    if let [0xff, 0xfe, b' '..=b'~', 0, ..] | [0xfe, 0xff, 0, b' '..=b'~', ..] = probe.head[..] {
        return Err(Error::input(
            probe.path,
            "is a text of 16-bit characters (UTF-16), which nuwave does not read",
        )
        .with_hint("convert it: `iconv -f UTF-16 -t UTF-8 OLD > NEW`"));
    }
    // Samples without headers may begin with any bytes: the user's statement decides.
    match other_format(&probe.head) {
        Some(other) if probe.record_samples.is_none() => Err(Error::input(
            probe.path,
            format!("is {other}, not a file of waveforms"),
        )),
        _ => Ok(()),
    }
}

/// Returns the name of a common format that holds no waveforms.
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
