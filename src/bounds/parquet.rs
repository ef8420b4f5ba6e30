//! The footer of a Parquet file and the headers of its pages, looked at before they are decoded.
//!
//! They have no checksum. The library makes room for as many children of a column as the schema claims: a damaged byte asks
//! for gigabytes, and a process that does not get them ends. And it leaves out fields that it does not know element by
//! element, for minutes where a list claims thousands of millions that are not there.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

const MAGIC: [u8; 4] = *b"PAR1";
/// Deepest nesting of structures; a footer has six.
const MAX_DEPTH: usize = 32;
/// Numbers of the fields that are looked at, in `FileMetaData` and in `SchemaElement`.
const SCHEMA: i64 = 2;
const N_CHILDREN: i64 = 5;

/// Bytes behind the footer: its length and the magic word.
const TAIL: u64 = 8;
/// Bytes that a page's header is first looked for in; one with long statistics has more.
const HEADER: u64 = 1 << 10;

/// A Parquet file whose page headers hold what they claim.
pub(crate) struct Pages {
    file: File,
    n_bytes: u64,
}

impl Pages {
    /// The pages of `file`, whose footer is [checked](check).
    pub fn of(mut file: File) -> io::Result<Self> {
        check(&mut file)?;
        let n_bytes = file.metadata()?.len();
        Ok(Self { file, n_bytes })
    }

    /// Another handle to the same file.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.try_clone()?,
            n_bytes: self.n_bytes,
        })
    }

    /// Refuses a header at `start` that ends behind the file.
    fn check_header(&self, start: u64) -> Result<(), ParquetError> {
        let mut window = HEADER;
        loop {
            let mut bytes = Vec::new();
            let reader = self.file.get_read(start)?;
            reader.take(window).read_to_end(&mut bytes)?;
            if Thrift(&bytes).structure().is_some() {
                return Ok(());
            }
            if (bytes.len() as u64) < window {
                let message = format!("the header of the page at byte {start} is damaged");
                return Err(ParquetError::General(message));
            }
            window *= 16;
        }
    }
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.n_bytes
    }
}

impl ChunkReader for Pages {
    type T = BufReader<File>;

    /// What is read from a place on, and not as a piece of known length, is the header of a page; or the end of the file.
    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        if start.saturating_add(TAIL) < self.n_bytes {
            self.check_header(start)?;
        }
        self.file.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes, ParquetError> {
        self.file.get_bytes(start, length)
    }
}

/// Refuses a footer whose schema claims more columns than it holds.
fn check(file: &mut File) -> io::Result<()> {
    let n_bytes = file.seek(SeekFrom::End(0))?;
    let mut tail = [0; 8];
    let Some(end) = n_bytes.checked_sub(tail.len() as u64) else {
        return Ok(());
    };
    file.seek(SeekFrom::Start(end))?;
    file.read_exact(&mut tail)?;
    let [a, b, c, d, magic @ ..] = tail;
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    // Whatever else is wrong with it, the library says.
    let Some(begin) = end.checked_sub(length).filter(|_| magic == MAGIC) else {
        return Ok(());
    };
    file.seek(SeekFrom::Start(begin))?;
    let mut footer = vec![0; length as usize];
    file.read_exact(&mut footer)?;
    let is_good = Thrift(&footer).file().is_some();
    is_good
        .then_some(())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the footer's schema is damaged"))
}

/// Bytes in Thrift's compact protocol, of which the first are taken away; `None` where they are none.
struct Thrift<'a>(&'a [u8]);

/// The types of values.
mod kind {
    pub const STOP: u8 = 0;
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const INTEGERS: std::ops::RangeInclusive<u8> = 4..=6;
    pub const DOUBLE: u8 = 7;
    pub const BYTES: u8 = 8;
    pub const LIST: u8 = 9;
    pub const SET: u8 = 10;
    pub const MAP: u8 = 11;
    pub const STRUCTURE: u8 = 12;
    pub const UUID: u8 = 13;
}

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn leave(&mut self, n_bytes: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(n_bytes).ok()?..)?;
        Some(())
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn integer(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Number and type of a structure's next field, after the one of number `last`; the type is `STOP` behind the last.
    fn field(&mut self, last: i64) -> Option<(i64, u8)> {
        let head = self.byte()?;
        let (step, kind) = (head >> 4, head & 0x0f);
        let number = match step {
            _ if kind == kind::STOP => last,
            0 => self.integer()?,
            step => last.checked_add(i64::from(step))?,
        };
        Some((number, kind))
    }

    /// Takes a structure field by field.
    fn fields(&mut self, mut each: impl FnMut(&mut Self, i64, u8) -> Option<()>) -> Option<()> {
        let mut last = 0;
        loop {
            let (number, kind) = self.field(last)?;
            if kind == kind::STOP {
                return Some(());
            }
            each(self, number, kind)?;
            last = number;
        }
    }

    /// Number and type of a list's elements.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let n = match head >> 4 {
            15 => self.unsigned()?,
            n => u64::from(n),
        };
        Some((n, head & 0x0f))
    }

    /// Leaves a value out. Truth values are part of their field's head. Lists of them are in no footer and no header, and the
    /// library takes no byte for their elements: they are refused.
    fn skip(&mut self, kind: u8, in_list: bool, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            kind::TRUE | kind::FALSE => (!in_list).then_some(()),
            kind::BYTE => self.leave(1),
            kind::DOUBLE => self.leave(8),
            kind::UUID => self.leave(16),
            kind::BYTES => {
                let n = self.unsigned()?;
                self.leave(n)
            }
            kind::LIST | kind::SET => {
                let (n, kind) = self.list()?;
                // Every element has a byte, so that this ends.
                (0..n).try_for_each(|_| self.skip(kind, true, depth + 1))
            }
            kind::MAP => {
                let n = self.unsigned()?;
                let kinds = if n == 0 { 0 } else { self.byte()? };
                (0..n).try_for_each(|_| {
                    self.skip(kinds >> 4, true, depth + 1)?;
                    self.skip(kinds & 0x0f, true, depth + 1)
                })
            }
            kind::STRUCTURE => {
                // The depth is counted, so that this cannot fill the stack.
                self.fields(|rest, _, kind| rest.skip(kind, false, depth + 1))
            }
            kind if kind::INTEGERS.contains(&kind) => self.unsigned().map(drop),
            _ => None,
        }
    }

    /// Any structure.
    fn structure(&mut self) -> Option<()> {
        self.skip(kind::STRUCTURE, false, 0)
    }

    /// `FileMetaData`.
    fn file(&mut self) -> Option<()> {
        self.fields(|rest, number, kind| {
            if number != SCHEMA || kind != kind::LIST {
                return rest.skip(kind, false, 0);
            }
            let (n, kind) = rest.list()?;
            if kind != kind::STRUCTURE || n > rest.0.len() as u64 {
                return None;
            }
            (0..n).try_for_each(|_| rest.schema_element(n))
        })
    }

    /// One of `n` `SchemaElement`s; none has more children than there are.
    fn schema_element(&mut self, n: u64) -> Option<()> {
        self.fields(|rest, number, kind| {
            if number != N_CHILDREN {
                return rest.skip(kind, false, 1);
            }
            let is_integer = kind::INTEGERS.contains(&kind);
            let children = rest.integer().filter(|_| is_integer)?;
            u64::try_from(children).ok().filter(|it| *it < n).map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file's fields 1 and 2: a version, and a schema of a root with `n_children` and one leaf.
    fn footer(n_children: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x15, 0x04, 0x19, 0x2c];
        bytes.extend([0x48, 1, b'r', 0x15]);
        bytes.extend(n_children);
        bytes.push(0);
        bytes.extend([0x15, 0x02, 0x38, 1, b'a', 0]);
        bytes.push(0);
        bytes
    }

    #[test]
    fn a_schema_has_no_more_children_than_elements() {
        assert!(Thrift(&footer(&[2])).file().is_some());
        for n_children in [&[4][..], &[1], &[0xfe, 0xff, 0xff, 0xff, 0x0f]] {
            assert!(Thrift(&footer(n_children)).file().is_none());
        }
    }

    #[test]
    fn a_list_has_the_elements_that_it_claims() {
        // Field 1, a list of 200 elements of one type, and the end.
        let list = |kind: u8, elements: usize| {
            let head = [0x19, 0xf0 | kind, 0xc8, 0x01];
            [&head[..], &vec![0; elements], &[0]].concat()
        };
        assert!(Thrift(&list(kind::BYTE, 200)).structure().is_some());
        assert!(Thrift(&list(kind::BYTE, 199)).structure().is_none());
        assert!(Thrift(&list(kind::DOUBLE, 1600)).structure().is_some());
        assert!(Thrift(&list(kind::DOUBLE, 1599)).structure().is_none());
        // Neither of these takes a byte where the library leaves it out.
        assert!(Thrift(&list(kind::TRUE, 200)).structure().is_none());
        assert!(Thrift(&list(kind::FALSE, 0)).structure().is_none());
    }

    #[test]
    fn a_footer_that_ends_early_is_refused() {
        let whole = footer(&[2]);
        for n in 0..whole.len() {
            assert!(Thrift(&whole[..n]).file().is_none(), "{n} bytes");
        }
    }
}
