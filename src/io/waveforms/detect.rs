//! Detects the format of a file by its content.

use std::path::Path;

use super::format::{Format, Probe};
use crate::error::{Error, Hint, Result};

/// Maximum length of a line by which a text without a mark is known.
const MAX_LINE: usize = 256;

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
    if let Some(encoding) = wide_characters(&probe.head) {
        let message =
            format!("is a text of wide characters ({encoding}), which nuwave does not read");
        let hint = format!("convert it: `iconv -f {encoding} -t UTF-8 OLD > NEW`");
        return Err(Error::input(probe.path, message).with_hint(hint));
    }
    let Some((other, command)) = other_format(&probe.head) else {
        return Ok(());
    };
    let error = Error::input(probe.path, format!("is {other}, not a file of waveforms"));
    Err(match command {
        Some(command) => error.with_hint(format!("unpack it: `{command} FILE`")),
        None => error,
    })
}

/// Returns the encoding of a text whose characters have more than 8 bits, with or without a mark at its beginning.
fn wide_characters(head: &[u8]) -> Option<&'static str> {
    match head {
        [0xff, 0xfe, b' '..=b'~', 0, ..] | [0xfe, 0xff, 0, b' '..=b'~', ..] => {
            return Some("UTF-16");
        }
        [0xff, 0xfe, 0, 0, b' '..=b'~', 0, 0, 0, ..]
        | [0, 0, 0xfe, 0xff, 0, 0, 0, b' '..=b'~', ..] => return Some("UTF-32"),
        _ => {}
    }
    let (pairs, _) = head.as_chunks::<2>();
    if are_lines(pairs.iter().copied().map(u16::from_le_bytes)) {
        Some("UTF-16LE")
    } else if are_lines(pairs.iter().copied().map(u16::from_be_bytes)) {
        Some("UTF-16BE")
    } else {
        None
    }
}

/// Returns true if 16-bit numbers are the characters of short lines with digits, and nothing else.
fn are_lines(characters: impl Iterator<Item = u16>) -> bool {
    let (mut length, mut n_lines, mut has_digits) = (0, 0, false);
    for character in characters {
        let Ok(letter) = u8::try_from(character) else {
            return false;
        };
        match letter {
            b'\n' | b'\r' => {
                n_lines += 1;
                length = 0;
            }
            b'\t' | b' '..=b'~' if length < MAX_LINE => length += 1,
            _ => return false,
        }
        has_digits |= letter.is_ascii_digit();
    }
    has_digits && n_lines > 0
}

/// Returns the name of a common format that holds no waveforms, and the command that unpacks it. Samples without headers may
/// begin with any bytes, but hardly with one of these.
fn other_format(head: &[u8]) -> Option<(&'static str, Option<&'static str>)> {
    Some(match head {
        [0x1f, 0x8b, 8, 0..=0x1f, ..] => ("compressed with gzip", Some("gunzip")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("compressed with zstd", Some("unzstd")),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => ("compressed with bzip2", Some("bunzip2")),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ("compressed with xz", Some("unxz")),
        [b'F', b'E', b'A', b'1', ..] => ("Feather version 1", None),
        [b'%', b'P', b'D', b'F', b'-', ..] => ("a PDF", None),
        [0x89, b'P', b'N', b'G', ..] => ("a picture", None),
        [0x7f, b'E', b'L', b'F', ..] => ("a program", None),
        _ => return None,
    })
}
