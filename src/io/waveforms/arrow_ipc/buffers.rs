//! The buffers of the columns of a record batch, read a part at a time.

use std::io;
use std::path::Path;

use arrow_ipc::{CompressionType, RecordBatch};
use arrow_schema::{DataType, Schema};

use super::section::{Bits, Section};
use crate::io::waveforms::scalar::{Scalar, ScalarType};

/// Returns the number type of a column, if it is a plain one.
pub(super) fn scalar_of(data_type: &DataType) -> Option<ScalarType> {
    let scalar = match data_type {
        DataType::UInt8 => Scalar::U8,
        DataType::Int8 => Scalar::I8,
        DataType::UInt16 => Scalar::U16,
        DataType::Int16 => Scalar::I16,
        DataType::UInt32 => Scalar::U32,
        DataType::Int32 => Scalar::I32,
        DataType::UInt64 => Scalar::U64,
        DataType::Int64 => Scalar::I64,
        DataType::Float16 => Scalar::F16,
        DataType::Float32 => Scalar::F32,
        DataType::Float64 => Scalar::F64,
        _ => return None,
    };
    Some(ScalarType::new(scalar, false))
}

/// Why a batch cannot be read in pieces.
pub(super) enum NotInPieces {
    /// A type is not supported.
    Type,
    Read(io::Error),
}

impl From<io::Error> for NotInPieces {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// A column's place among the nodes and buffers of a batch.
pub(super) struct ColumnPlace {
    pub node: usize,
    pub buffer: usize,
}

/// Returns the places of the columns in a batch; `None` if one is of a type whose buffers are not known.
fn places(schema: &Schema, records: RecordBatch<'_>) -> Option<Vec<ColumnPlace>> {
    let mut views = records.variadicBufferCounts().into_iter().flatten();
    let (mut node, mut buffer) = (0, 0);
    let mut places = Vec::new();
    for field in schema.fields() {
        places.push(ColumnPlace { node, buffer });
        let (nodes, buffers) = size_of(field.data_type(), &mut views)?;
        node += nodes;
        buffer += buffers;
    }
    Some(places)
}

/// Returns the numbers of nodes and buffers of a type. `views` has the numbers of the further buffers of view types.
fn size_of(data_type: &DataType, views: &mut dyn Iterator<Item = i64>) -> Option<(usize, usize)> {
    let (own, children): (usize, Vec<&DataType>) = match data_type {
        DataType::Null => (0, Vec::new()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => {
            (3, Vec::new())
        }
        DataType::Utf8View | DataType::BinaryView => {
            (2 + usize::try_from(views.next()?).ok()?, Vec::new())
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => {
            (2, vec![item.data_type()])
        }
        DataType::FixedSizeList(item, _) => (1, vec![item.data_type()]),
        DataType::Struct(fields) => (1, fields.iter().map(|field| field.data_type()).collect()),
        DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..) => return None,
        _ => (2, Vec::new()),
    };
    let (mut nodes, mut buffers) = (1, own);
    for child in children {
        let (more_nodes, more_buffers) = size_of(child, views)?;
        nodes += more_nodes;
        buffers += more_buffers;
    }
    Some((nodes, buffers))
}

/// The buffers of a batch in a file.
pub(super) struct Buffers<'a> {
    path: &'a Path,
    /// Offset of the body.
    body: u64,
    records: RecordBatch<'a>,
    codec: Option<CompressionType>,
    schema: &'a Schema,
    places: Vec<ColumnPlace>,
}

impl<'a> Buffers<'a> {
    /// Finds the buffers of the columns of `schema` in the batch `records`, whose body begins at `body` of the file.
    pub fn new(
        path: &'a Path,
        body: u64,
        records: RecordBatch<'a>,
        schema: &'a Schema,
    ) -> Result<Self, NotInPieces> {
        Ok(Self {
            path,
            body,
            records,
            codec: records.compression().map(|compression| compression.codec()),
            schema,
            places: places(schema, records).ok_or(NotInPieces::Type)?,
        })
    }

    /// Returns the place of column `index`.
    pub fn place(&self, index: usize) -> Result<&ColumnPlace, NotInPieces> {
        self.places.get(index).ok_or(NotInPieces::Type)
    }

    /// Opens column `index`, one of numbers.
    pub fn column(&self, index: usize) -> Result<Numbers, NotInPieces> {
        let kind = scalar_of(self.schema.field(index).data_type()).ok_or(NotInPieces::Type)?;
        Ok(self.numbers(self.place(index)?, kind)?)
    }

    pub fn section(&self, index: usize) -> io::Result<Section> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "a column lacks a buffer");
        let buffers = self.records.buffers().ok_or_else(wrong)?;
        if index >= buffers.len() {
            return Err(wrong());
        }
        let buffer = buffers.get(index);
        // The buffers lie inside the body: that was checked with the header.
        let begin = self.body + u64::try_from(buffer.offset()).unwrap_or(0);
        let end = begin + u64::try_from(buffer.length()).unwrap_or(0);
        Section::open(self.path, begin..end, self.codec)
    }

    /// Returns the length of a node, and the buffer that says which of its values are not null, if there are nulls.
    pub fn node(&self, place: &ColumnPlace) -> io::Result<(u64, Option<Bits>)> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "a column lacks its length");
        let nodes = self.records.nodes().ok_or_else(wrong)?;
        if place.node >= nodes.len() {
            return Err(wrong());
        }
        let node = nodes.get(place.node);
        let nulls = if node.null_count() > 0 {
            Some(Bits::new(self.section(place.buffer)?))
        } else {
            None
        };
        Ok((u64::try_from(node.length()).unwrap_or(0), nulls))
    }

    pub fn numbers(&self, place: &ColumnPlace, kind: ScalarType) -> io::Result<Numbers> {
        let (length, nulls) = self.node(place)?;
        Ok(Numbers {
            kind,
            length,
            values: self.section(place.buffer + 1)?,
            nulls,
        })
    }
}

/// A column of numbers.
pub(super) struct Numbers {
    pub kind: ScalarType,
    pub length: u64,
    pub values: Section,
    pub nulls: Option<Bits>,
}

impl Numbers {
    pub fn integers(&mut self, n: usize) -> io::Result<Vec<Option<i128>>> {
        let values = self.kind.integers(&self.values.read(n * self.kind.size())?);
        self.with_nulls(values)
    }

    pub fn floats(&mut self, n: usize) -> io::Result<Vec<Option<f64>>> {
        let values = self.kind.floats(&self.values.read(n * self.kind.size())?);
        self.with_nulls(values)
    }

    fn with_nulls<T>(&mut self, values: Vec<T>) -> io::Result<Vec<Option<T>>> {
        let Some(nulls) = &mut self.nulls else {
            return Ok(values.into_iter().map(Some).collect());
        };
        let is_there = nulls.read(values.len())?;
        let values = values.into_iter().zip(is_there);
        Ok(values
            .map(|(value, is_there)| is_there.then_some(value))
            .collect())
    }
}
