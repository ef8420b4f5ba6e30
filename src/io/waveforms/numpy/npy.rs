//! The `.npy` array: header and rows, from any reader.

use std::io::{self, Read};
use std::path::Path;

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use crate::error::{Error, Result};
use crate::io::waveforms::scalar::{Scalar, ScalarType};

/// The first bytes of every `.npy`.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";
/// Maximum length of a header; NumPy's own limit is 10,000.
const MAX_HEADER_BYTES: usize = 10_000;
/// Maximum number of brackets in a header; a plain array has two. The time of the parser grows severalfold with each nested
/// bracket: sixteen took a minute.
const MAX_HEADER_BRACKETS: usize = 6;

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
        let n_brackets = text.iter().filter(|byte| b"([{".contains(byte)).count();
        if n_brackets > MAX_HEADER_BRACKETS {
            return Err(bad(
                "the header is not that of an array of numbers".to_owned()
            ));
        }
        let header_bytes = header.len() as u64;
        let header = NpyHeader::from_reader(header.as_slice()).map_err(|error| {
            bad("the header cannot be understood".to_owned()).with_source(error)
        })?;
        let element = element(&header.dtype()).ok_or_else(|| {
            bad(format!(
                "holds elements of type `{}`, not numbers",
                header.dtype().descr()
            ))
            .with_hint("save a plain array of integers or floats")
        })?;
        Ok(Self {
            reader,
            element,
            shape: header.shape().to_vec(),
            header_bytes,
            fortran_order: header.order() == Order::Fortran,
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

fn element(dtype: &DType) -> Option<Element> {
    let DType::Plain(dtype) = dtype else {
        return None;
    };
    let big_endian = dtype.endianness() == Endianness::Big;
    let size = dtype.size_field();
    let scalar = match dtype.type_char() {
        TypeChar::Uint => Scalar::integer(size, false),
        TypeChar::Int => Scalar::integer(size, true),
        TypeChar::Float => Scalar::float(size),
        TypeChar::UnicodeStr => {
            return Some(Element::Text {
                characters: usize::try_from(size).ok()?,
                big_endian,
            });
        }
        _ => None,
    }?;
    Some(Element::Number(ScalarType { scalar, big_endian }))
}
