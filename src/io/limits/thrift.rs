//! Checks data in Thrift's compact protocol, the encoding of Parquet's footer and page headers.
//!
//! If a field has an unexpected type, the library reads on as if it had the expected one, and takes the content of one field
//! for another. The check is therefore that all fields that the library knows have the types that it expects.

/// Maximum nesting of structures; a footer has six levels.
const MAX_DEPTH: usize = 32;
/// Numbers of the fields that are examined, in `FileMetaData` and in `SchemaElement`.
const SCHEMA: i64 = 2;
const N_CHILDREN: i64 = 5;

/// The type of a field.
pub(super) enum Is {
    Truth,
    Byte,
    Integer,
    Double,
    Bytes,
    Structure(Shape),
    List(&'static Self),
}

/// The fields of a structure, by their numbers.
pub(super) type Shape = &'static [(i64, Is)];

use Is::{Byte, Bytes, Double, Integer, List, Structure, Truth};

/// `FileMetaData`.
pub(super) const FILE: Shape = &[
    (1, Integer),
    (2, List(&Structure(SCHEMA_ELEMENT))),
    (3, Integer),
    (4, List(&Structure(ROW_GROUP))),
    (5, List(&Structure(KEY_VALUE))),
    (6, Bytes),
    (7, List(&Structure(&[]))),
    (8, Structure(&[])),
    (9, Bytes),
];

/// `PageHeader`.
pub(super) const PAGE: Shape = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Integer),
    (5, Structure(DATA_PAGE)),
    (6, Structure(&[])),
    (7, Structure(&[(1, Integer), (2, Integer), (3, Truth)])),
    (8, Structure(DATA_PAGE_V2)),
];

const DATA_PAGE: Shape = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Integer),
    (5, Structure(STATISTICS)),
];

const DATA_PAGE_V2: Shape = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Truth),
    (8, Structure(STATISTICS)),
];

const SCHEMA_ELEMENT: Shape = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Bytes),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, Integer),
    (9, Integer),
    (10, Structure(LOGICAL_TYPE)),
];

const LOGICAL_TYPE: Shape = &[
    (1, Structure(&[])),
    (2, Structure(&[])),
    (3, Structure(&[])),
    (4, Structure(&[])),
    (5, Structure(&[(1, Integer), (2, Integer)])),
    (6, Structure(&[])),
    (7, Structure(TIME)),
    (8, Structure(TIME)),
    (10, Structure(&[(1, Byte), (2, Truth)])),
    (11, Structure(&[])),
    (12, Structure(&[])),
    (13, Structure(&[])),
    (14, Structure(&[])),
    (15, Structure(&[])),
    (16, Structure(&[(1, Byte)])),
    (17, Structure(&[(1, Bytes)])),
    (18, Structure(&[(1, Bytes), (2, Integer)])),
];

const TIME: Shape = &[
    (1, Truth),
    (
        2,
        Structure(&[
            (1, Structure(&[])),
            (2, Structure(&[])),
            (3, Structure(&[])),
        ]),
    ),
];

const ROW_GROUP: Shape = &[
    (1, List(&Structure(COLUMN_CHUNK))),
    (2, Integer),
    (3, Integer),
    (4, List(&Structure(&[(1, Integer), (2, Truth), (3, Truth)]))),
    (5, Integer),
    (6, Integer),
    (7, Integer),
];

const COLUMN_CHUNK: Shape = &[
    (1, Bytes),
    (2, Integer),
    (3, Structure(COLUMN)),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, Structure(&[])),
    (9, Bytes),
];

const COLUMN: Shape = &[
    (1, Integer),
    (2, List(&Integer)),
    (3, List(&Bytes)),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, List(&Structure(KEY_VALUE))),
    (9, Integer),
    (10, Integer),
    (11, Integer),
    (12, Structure(STATISTICS)),
    (
        13,
        List(&Structure(&[(1, Integer), (2, Integer), (3, Integer)])),
    ),
    (14, Integer),
    (15, Integer),
    (
        16,
        Structure(&[(1, Integer), (2, List(&Integer)), (3, List(&Integer))]),
    ),
    (17, Structure(&[(1, Structure(BOX)), (2, List(&Integer))])),
];

const BOX: Shape = &[
    (1, Double),
    (2, Double),
    (3, Double),
    (4, Double),
    (5, Double),
    (6, Double),
    (7, Double),
    (8, Double),
];

const KEY_VALUE: Shape = &[(1, Bytes), (2, Bytes)];

const STATISTICS: Shape = &[
    (1, Bytes),
    (2, Bytes),
    (3, Integer),
    (4, Integer),
    (5, Bytes),
    (6, Bytes),
    (7, Truth),
    (8, Truth),
    (9, Integer),
];

/// Bytes in the compact protocol. Reading removes the first ones; `None` means that they are invalid.
pub(super) struct Thrift<'a>(pub(super) &'a [u8]);

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

    /// Reads number and type of the next field of a structure, after the field `last`. The type is `STOP` after the last field.
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

    /// Reads a structure field by field.
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

    /// Reads number and type of the elements of a list.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let n = match head >> 4 {
            15 => self.unsigned()?,
            n => u64::from(n),
        };
        Some((n, head & 0x0f))
    }

    /// Skips a value. Booleans are part of their field's header. Lists of them occur in no footer and no header, and the
    /// library reads no byte for their elements: they are refused.
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
                // Every element has at least one byte, so that the loop ends.
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
                // The depth is limited, so that the stack cannot overflow.
                self.fields(|rest, _, kind| rest.skip(kind, false, depth + 1))
            }
            kind if kind::INTEGERS.contains(&kind) => self.unsigned().map(drop),
            _ => None,
        }
    }

    /// Reads a structure and checks the types of the fields that `shape` lists.
    pub(super) fn shaped(&mut self, shape: Shape, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.fields(|rest, number, kind| {
            let known = shape.iter().find(|(of, _)| *of == number);
            match known {
                None => rest.skip(kind, false, depth),
                Some((_, is)) => rest.value(is, kind, depth),
            }
        })
    }

    /// Reads a value and checks that it is of the type `is`.
    fn value(&mut self, is: &Is, kind: u8, depth: usize) -> Option<()> {
        let fits = match is {
            Truth => matches!(kind, kind::TRUE | kind::FALSE),
            Byte => kind == kind::BYTE,
            Integer => kind::INTEGERS.contains(&kind),
            Double => kind == kind::DOUBLE,
            Bytes => kind == kind::BYTES,
            Structure(_) => kind == kind::STRUCTURE,
            List(_) => matches!(kind, kind::LIST | kind::SET),
        };
        match is {
            _ if !fits => None,
            Structure(shape) => self.shaped(shape, depth + 1),
            List(is) => {
                let (n, kind) = self.list()?;
                // Every element has at least one byte, so that the loop ends.
                (0..n).try_for_each(|_| self.value(is, kind, depth + 1))
            }
            _ => self.skip(kind, false, depth),
        }
    }

    /// Reads `FileMetaData`.
    pub(super) fn file(&mut self) -> Option<()> {
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

    /// Reads one of `n` `SchemaElement`s; none has more children than there are elements.
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
        assert!(Thrift(&list(kind::BYTE, 200)).shaped(&[], 0).is_some());
        assert!(Thrift(&list(kind::BYTE, 199)).shaped(&[], 0).is_none());
        assert!(Thrift(&list(kind::DOUBLE, 1600)).shaped(&[], 0).is_some());
        assert!(Thrift(&list(kind::DOUBLE, 1599)).shaped(&[], 0).is_none());
        // Neither of these takes a byte where the library leaves it out.
        assert!(Thrift(&list(kind::TRUE, 200)).shaped(&[], 0).is_none());
        assert!(Thrift(&list(kind::FALSE, 0)).shaped(&[], 0).is_none());
    }

    #[test]
    fn what_is_known_has_its_type() {
        // Field 1 as an integer, and as bytes; field 20, which nobody knows.
        assert!(Thrift(&[0x15, 2, 0]).shaped(PAGE, 0).is_some());
        assert!(Thrift(&[0x18, 1, 7, 0]).shaped(PAGE, 0).is_none());
        assert!(Thrift(&[0x18, 1, 7, 0]).shaped(&[], 0).is_some());
        assert!(
            Thrift(&[0x15, 2, 0x08, 40, 1, 7, 0])
                .shaped(PAGE, 0)
                .is_some()
        );
    }

    #[test]
    fn a_footer_that_ends_early_is_refused() {
        let whole = footer(&[2]);
        for n in 0..whole.len() {
            assert!(Thrift(&whole[..n]).file().is_none(), "{n} bytes");
        }
    }
}
