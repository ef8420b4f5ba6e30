//! The `.npy` array: header and rows, from any reader.

use std::io::{self, Read};
use std::path::Path;

use super::header::{Dtype, Header};
use crate::error::{Error, Result};
use crate::io::waveforms::scalar::{Scalar, ScalarType};

/// The first bytes of every `.npy`.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";
/// Maximum length of a header; NumPy's own limit is 10,000.
const MAX_HEADER_BYTES: usize = 10_000;

/// The type of the elements of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Number(ScalarType),
    /// Unicode text of this many characters of 4 bytes.
    Text {
        characters: usize,
        big_endian: bool,
    },
}

/// An array whose elements are read in order.
pub(super) struct Array {
    reader: Box<dyn Read + Send>,
    pub element: Element,
    pub shape: Vec<u64>,
    /// Bytes before the first element.
    pub header_bytes: u64,
    pub fortran_order: bool,
}

impl Array {
    /// Returns the bytes of header and elements; `None` if they are too many for a number.
    pub fn n_bytes(&self, element_bytes: u64) -> Option<u64> {
        let elements = self
            .shape
            .iter()
            .try_fold(element_bytes, |all, &n| all.checked_mul(n))?;
        self.header_bytes.checked_add(elements)
    }

    /// Reads the header; `what` names the array in errors.
    pub fn open(mut reader: Box<dyn Read + Send>, path: &Path, what: &str) -> Result<Self> {
        let bad = |message: String| Error::input(path, format!("{what}: {message}"));
        let unreadable = |error: io::Error| bad("cannot be read".to_owned()).with_source(error);
        let mut header = vec![0; 8];
        reader.read_exact(&mut header).map_err(unreadable)?;
        if !header.starts_with(MAGIC) {
            return Err(bad("is not a NumPy array".to_owned()));
        }
        let n_length = if header.get(6) == Some(&1) { 2 } else { 4 };
        let mut length = [0; 4];
        let (used, _) = length.split_at_mut(n_length);
        reader.read_exact(used).map_err(unreadable)?;
        header.extend_from_slice(used);
        let n_text = u32::from_le_bytes(length) as usize;
        if n_text > MAX_HEADER_BYTES {
            return Err(bad(format!(
                "the header claims {n_text} bytes, more than the {MAX_HEADER_BYTES} that NumPy allows"
            )));
        }
        let n_start = header.len();
        header.resize(n_start + n_text, 0);
        let text = header.get_mut(n_start..).unwrap_or_default();
        reader.read_exact(text).map_err(unreadable)?;
        let text = header.get(n_start..).unwrap_or_default();
        let parsed = match header.get(6..8) {
            Some([1..=3, 0]) => Header::parse(text),
            _ => Err("the version of the format is not known".to_owned()),
        }
        .map_err(|reason| bad("the header cannot be understood".to_owned()).with_source(reason))?;
        let element = element(&parsed.dtype).ok_or_else(|| {
            let (Dtype::Plain { text, .. } | Dtype::Record(text)) = &parsed.dtype;
            let what = unread(&parsed.dtype);
            bad(format!(
                "holds {what} (type `{text}`), which nuwave does not read"
            ))
            .with_hint("save a plain array of integers or floats")
        })?;
        Ok(Self {
            reader,
            element,
            shape: parsed.shape,
            header_bytes: header.len() as u64,
            fortran_order: parsed.fortran_order,
        })
    }

    /// Returns the number type, if the elements are numbers.
    pub fn number(&self) -> Option<ScalarType> {
        match self.element {
            Element::Number(number) => Some(number),
            Element::Text { .. } => None,
        }
    }

    /// Continues with the elements from `reader`.
    pub fn go_on_with(&mut self, reader: Box<dyn Read + Send>) {
        self.reader = reader;
    }

    /// Reads up to `n_rows` rows of `row_bytes`, fewer at the end. Returns their bytes, and the number of bytes of a last row
    /// that is cut off.
    pub fn read_rows(&mut self, n_rows: usize, row_bytes: usize) -> io::Result<(Vec<u8>, usize)> {
        let mut bytes = vec![0; n_rows.saturating_mul(row_bytes)];
        let n_read = read_up_to(&mut self.reader, &mut bytes)?;
        let n_cut = n_read.checked_rem(row_bytes).unwrap_or(0);
        bytes.truncate(n_read - n_cut);
        Ok((bytes, n_cut))
    }
}

/// Fills `bytes` as far as the reader has bytes. Returns their number.
pub(crate) fn read_up_to(reader: &mut dyn Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut n_read = 0;
    while let Some(rest) = bytes.get_mut(n_read..)
        && !rest.is_empty()
    {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(n) => n_read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n_read)
}

/// Returns the words for a type that [`element`] does not know.
fn unread(dtype: &Dtype) -> String {
    let &Dtype::Plain { letter, size, .. } = dtype else {
        return "records".to_owned();
    };
    match letter {
        'f' => format!("floating-point numbers of {size} bytes"),
        'i' | 'u' => format!("integers of {size} bytes"),
        'c' => "complex numbers".to_owned(),
        'b' => "truth values".to_owned(),
        'O' => "Python objects, such as rows of different lengths".to_owned(),
        'S' | 'a' => "text in bytes".to_owned(),
        'M' | 'm' => "dates or durations".to_owned(),
        _ => "elements that are no numbers".to_owned(),
    }
}

fn element(dtype: &Dtype) -> Option<Element> {
    let &Dtype::Plain {
        big_endian,
        letter,
        size,
        ..
    } = dtype
    else {
        return None;
    };
    let scalar = match letter {
        'u' => Scalar::integer(size, false),
        'i' => Scalar::integer(size, true),
        'f' => Scalar::float(size),
        'U' => {
            return Some(Element::Text {
                characters: usize::try_from(size).ok()?,
                big_endian,
            });
        }
        _ => None,
    }?;
    Some(Element::Number(ScalarType::new(scalar, big_endian)))
}
