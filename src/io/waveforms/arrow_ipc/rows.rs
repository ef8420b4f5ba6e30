//! The rows of a record batch that is too large to be held in memory, a few at a time.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::Path;

use arrow_ipc::{CompressionType, RecordBatch};
use arrow_schema::{DataType, Schema};

use super::section::{Bits, Section};
use crate::io::Loss;
use crate::io::waveforms::blocks::{BLOCK_BYTES, Block, Row, wrong_length};
use crate::io::waveforms::columns::Roles;
use crate::io::waveforms::numpy::slice;
use crate::io::waveforms::scalar::{Scalar, ScalarType};
use crate::model::MAX_SAMPLES;

/// Rows whose numbers are read at a time.
const ROWS_AT_A_TIME: u64 = 1024;

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

/// Returns whether a column holds lists of plain numbers.
pub(super) fn has_plain_samples(schema: &Schema, column: usize) -> bool {
    match schema.field(column).data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            scalar_of(item.data_type()).is_some()
        }
        _ => false,
    }
}

/// A column's place among the nodes and buffers of a batch.
struct ColumnPlace {
    node: usize,
    buffer: usize,
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
struct Buffers<'a> {
    path: &'a Path,
    /// Offset of the body.
    body: u64,
    records: RecordBatch<'a>,
    codec: Option<CompressionType>,
}

impl Buffers<'_> {
    fn section(&self, index: usize) -> io::Result<Section> {
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
    fn node(&self, place: &ColumnPlace) -> io::Result<(u64, Option<Bits>)> {
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

    fn numbers(&self, place: &ColumnPlace, kind: ScalarType) -> io::Result<Numbers> {
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
struct Numbers {
    kind: ScalarType,
    length: u64,
    values: Section,
    nulls: Option<Bits>,
}

impl Numbers {
    fn integers(&mut self, n: usize) -> io::Result<Vec<Option<i128>>> {
        let values = self.kind.integers(&self.values.read(n * self.kind.size())?);
        self.with_nulls(values)
    }

    fn floats(&mut self, n: usize) -> io::Result<Vec<Option<f64>>> {
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

/// A column of lists of samples.
struct Lists {
    /// The offsets, and their type; of lists of a fixed size the size.
    offsets: Offsets,
    /// The sample that the next value is.
    position: u64,
    nulls: Option<Bits>,
    values: Numbers,
}

enum Offsets {
    Variable {
        section: Section,
        kind: ScalarType,
        last: Option<u64>,
    },
    Fixed {
        length: u64,
        next: u64,
    },
}

impl Offsets {
    /// Reads the ranges of the next `n` lists.
    fn read(&mut self, n: usize, n_values: u64) -> io::Result<Vec<Range<u64>>> {
        let wrong = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut ranges = Vec::with_capacity(n);
        match self {
            Self::Fixed { length, next } => {
                for _ in 0..n {
                    let end = next.saturating_add(*length);
                    ranges.push(*next..end);
                    *next = end;
                }
            }
            Self::Variable {
                section,
                kind,
                last,
            } => {
                let mut read = |n: usize| -> io::Result<Vec<u64>> {
                    let numbers = kind.integers(&section.read(n * kind.size())?).into_iter();
                    numbers
                        .map(|number| u64::try_from(number).map_err(|_| wrong("a negative offset")))
                        .collect()
                };
                let mut begin = match last {
                    Some(last) => *last,
                    None => read(1)?.first().copied().unwrap_or(0),
                };
                for end in read(n)? {
                    if end < begin {
                        return Err(wrong("offsets that do not ascend"));
                    }
                    ranges.push(begin..end);
                    begin = end;
                }
                *last = Some(begin);
            }
        }
        if ranges.last().is_some_and(|last| last.end > n_values) {
            return Err(wrong("a list that reaches beyond the samples"));
        }
        Ok(ranges)
    }
}

impl Lists {
    /// Reads the samples `range`; `None` if one of them is null.
    fn samples(&mut self, range: &Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let gap = range.start.saturating_sub(self.position);
        self.skip(gap)?;
        let n = (range.end - range.start) as usize;
        let bytes = self.values.values.read(n * self.values.kind.size())?;
        self.position = range.end;
        let is_whole = match &mut self.values.nulls {
            Some(nulls) => nulls.read(n)?.into_iter().all(|is_there| is_there),
            None => true,
        };
        Ok(is_whole.then_some(bytes))
    }

    fn skip(&mut self, n: u64) -> io::Result<()> {
        self.values
            .values
            .skip(n * self.values.kind.size() as u64)?;
        if let Some(nulls) = &mut self.values.nulls {
            nulls.skip(n)?;
        }
        self.position += n;
        Ok(())
    }
}

/// The rows of a record batch.
pub(super) struct BatchRows {
    n_rows: u64,
    /// Rows whose numbers were read, and rows that were returned.
    n_read: u64,
    n_done: u64,
    event_id: Numbers,
    channel_id: Option<Numbers>,
    start_ns: Option<Numbers>,
    samples: Lists,
    waiting: VecDeque<Waiting>,
    /// The error after the rows that were returned.
    failed: Option<io::Error>,
}

/// A row whose samples have not been read yet.
struct Waiting {
    event_id: Option<i128>,
    channel_id: Option<i128>,
    start_ns: Option<f64>,
    is_null: bool,
    samples: Range<u64>,
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

impl BatchRows {
    /// Opens the columns in `roles` of the batch `records`, whose body begins at `body` of the file.
    pub fn open(
        path: &Path,
        body: u64,
        records: RecordBatch<'_>,
        schema: &Schema,
        roles: Roles,
    ) -> Result<Self, NotInPieces> {
        let places = places(schema, records).ok_or(NotInPieces::Type)?;
        let buffers = Buffers {
            path,
            body,
            records,
            codec: records.compression().map(|compression| compression.codec()),
        };
        let numbers = |index: usize| -> Result<Numbers, NotInPieces> {
            let kind = scalar_of(schema.field(index).data_type()).ok_or(NotInPieces::Type)?;
            let place = places.get(index).ok_or(NotInPieces::Type)?;
            Ok(buffers.numbers(place, kind)?)
        };
        let place = places.get(roles.samples).ok_or(NotInPieces::Type)?;
        let (item, offset_type, n_buffers) = match schema.field(roles.samples).data_type() {
            DataType::List(item) => (item, Some(Scalar::I32), 2),
            DataType::LargeList(item) => (item, Some(Scalar::I64), 2),
            DataType::FixedSizeList(item, _) => (item, None, 1),
            _ => return Err(NotInPieces::Type),
        };
        let item_place = ColumnPlace {
            node: place.node + 1,
            buffer: place.buffer + n_buffers,
        };
        let item_kind = scalar_of(item.data_type()).ok_or(NotInPieces::Type)?;
        let (_, nulls) = buffers.node(place)?;
        let samples = Lists {
            offsets: match (offset_type, schema.field(roles.samples).data_type()) {
                (Some(scalar), _) => Offsets::Variable {
                    section: buffers.section(place.buffer + 1)?,
                    kind: ScalarType::new(scalar, false),
                    last: None,
                },
                (None, DataType::FixedSizeList(_, length)) => Offsets::Fixed {
                    length: u64::try_from(*length).unwrap_or(0),
                    next: 0,
                },
                (None, _) => return Err(NotInPieces::Type),
            },
            position: 0,
            nulls,
            values: buffers.numbers(&item_place, item_kind)?,
        };
        Ok(Self {
            n_rows: u64::try_from(records.length()).unwrap_or(0),
            n_read: 0,
            n_done: 0,
            event_id: numbers(roles.event_id)?,
            channel_id: roles.channel_id.map(numbers).transpose()?,
            start_ns: roles.start_ns.map(numbers).transpose()?,
            samples,
            waiting: VecDeque::new(),
            failed: None,
        })
    }

    /// Returns the number of rows that have not been returned.
    pub fn n_left(&self) -> u64 {
        self.n_rows - self.n_done
    }

    /// Reads the numbers of the next rows. Returns false after the last.
    fn fill(&mut self) -> io::Result<bool> {
        let n = (self.n_rows - self.n_read).min(ROWS_AT_A_TIME) as usize;
        if n == 0 {
            return Ok(false);
        }
        let event_id = self.event_id.integers(n)?;
        let channel_id = match &mut self.channel_id {
            Some(numbers) => numbers.integers(n)?,
            None => vec![Some(0); n],
        };
        let start_ns = match &mut self.start_ns {
            Some(numbers) => numbers.floats(n)?,
            None => vec![Some(0.0); n],
        };
        let ranges = self.samples.offsets.read(n, self.samples.values.length)?;
        let is_there = match &mut self.samples.nulls {
            Some(nulls) => nulls.read(n)?,
            None => vec![true; n],
        };
        self.n_read += n as u64;
        let numbers = event_id.into_iter().zip(channel_id).zip(start_ns);
        let rows = numbers.zip(ranges).zip(is_there);
        self.waiting.extend(rows.map(
            |((((event_id, channel_id), start_ns), samples), is_there)| Waiting {
                event_id,
                channel_id,
                start_ns,
                is_null: !is_there,
                samples,
            },
        ));
        Ok(true)
    }

    /// Reads the next rows into a block of input `input_id`; `None` after the last. `row` is the position of the batch's first
    /// row in the file.
    pub fn next_block(&mut self, input_id: u32, row: u64) -> io::Result<Option<Block>> {
        let kind = self.samples.values.kind;
        let mut block = Block::new(input_id, kind.empty_samples());
        let max_samples = BLOCK_BYTES / 2;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        while block.batch.samples().len() < max_samples && block.losses.len() < max_samples {
            match self.push_next(&mut block, row) {
                Ok(true) => {}
                Ok(false) => break,
                // The rows before the damage are good, and returned first.
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        if !(block.batch.is_empty() && block.losses.is_empty()) {
            return Ok(Some(block));
        }
        self.failed.take().map_or(Ok(None), Err)
    }

    /// Adds the next row to `block`. Returns false after the last.
    fn push_next(&mut self, block: &mut Block, row: u64) -> io::Result<bool> {
        let kind = self.samples.values.kind;
        if self.waiting.is_empty() && !self.fill()? {
            return Ok(false);
        }
        let Some(next) = self.waiting.pop_front() else {
            return Ok(false);
        };
        let position = row + self.n_done;
        let length = next.samples.end - next.samples.start;
        if length > MAX_SAMPLES as u64 && !next.is_null {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            block.losses.push(Loss {
                place: format!("row {position}"),
                event_id: next.event_id.and_then(|id| u64::try_from(id).ok()),
                channel_id: next.channel_id.and_then(|id| u32::try_from(id).ok()),
                n_waveforms: Some(1),
                reason: wrong_length(length).unwrap_or_default(),
                position,
            });
        } else {
            let bytes = if next.is_null {
                None
            } else {
                self.samples.samples(&next.samples)?
            };
            let samples = bytes.map(|bytes| kind.samples(&bytes));
            let row = Row {
                event_id: next.event_id,
                channel_id: next.channel_id,
                start_ns: next.start_ns,
                samples: samples
                    .as_ref()
                    .and_then(|samples| slice(samples, 0..samples.len())),
            };
            block.push(row, position, || format!("row {position}"));
        }
        self.n_done += 1;
        Ok(true)
    }
}

/// The event numbers of a record batch, without its samples.
pub(super) struct BatchEvents {
    n_left: u64,
    numbers: Numbers,
}

impl BatchEvents {
    /// Opens the column of events of the batch `records`, whose body begins at `body` of the file.
    pub fn open(
        path: &Path,
        body: u64,
        records: RecordBatch<'_>,
        schema: &Schema,
        column: usize,
    ) -> Result<Self, NotInPieces> {
        let places = places(schema, records).ok_or(NotInPieces::Type)?;
        let buffers = Buffers {
            path,
            body,
            records,
            codec: records.compression().map(|compression| compression.codec()),
        };
        let place = places.get(column).ok_or(NotInPieces::Type)?;
        let kind = scalar_of(schema.field(column).data_type()).ok_or(NotInPieces::Type)?;
        Ok(Self {
            n_left: u64::try_from(records.length()).unwrap_or(0),
            numbers: buffers.numbers(place, kind)?,
        })
    }

    /// Reads the next event numbers, without nulls; `None` after the last.
    pub fn next(&mut self) -> io::Result<Option<Vec<u64>>> {
        let n = self.n_left.min(1 << 16);
        if n == 0 {
            return Ok(None);
        }
        self.n_left -= n;
        let ids = self.numbers.integers(n as usize)?.into_iter().flatten();
        Ok(Some(ids.filter_map(|id| u64::try_from(id).ok()).collect()))
    }
}
