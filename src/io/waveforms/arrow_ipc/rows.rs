//! The rows of a record batch that is too large to be held in memory, a few at a time.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::Path;

use arrow_ipc::RecordBatch;
use arrow_schema::{DataType, Schema};

use super::buffers::{Buffers, ColumnPlace, NotInPieces, Numbers, scalar_of};
use super::section::{Bits, Section};
use crate::io::Loss;
use crate::io::waveforms::blocks::{BLOCK_BYTES, Block, Row, wrong_length};
use crate::io::waveforms::columns::Roles;
use crate::io::waveforms::numpy::slice;
use crate::io::waveforms::scalar::{Scalar, ScalarType};
use crate::model::MAX_SAMPLES;

/// Rows whose numbers are read at a time.
const ROWS_AT_A_TIME: u64 = 1024;

/// Returns whether a column holds lists of plain numbers.
pub(super) fn has_plain_samples(schema: &Schema, column: usize) -> bool {
    match schema.field(column).data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            scalar_of(item.data_type()).is_some()
        }
        _ => false,
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
    absent_channel: u32,
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

impl BatchRows {
    /// Opens the columns in `roles` of the batch `records`, whose body begins at `body` of the file.
    pub fn open(
        path: &Path,
        body: u64,
        records: RecordBatch<'_>,
        schema: &Schema,
        roles: Roles,
    ) -> Result<Self, NotInPieces> {
        let buffers = Buffers::new(path, body, records, schema)?;
        let place = buffers.place(roles.samples)?;
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
            event_id: buffers.column(roles.event_id)?,
            channel_id: roles
                .channel_id
                .map(|index| buffers.column(index))
                .transpose()?,
            absent_channel: roles.absent_channel,
            start_ns: roles
                .start_ns
                .map(|index| buffers.column(index))
                .transpose()?,
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
            None => vec![Some(i128::from(self.absent_channel)); n],
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
        Ok(Self {
            n_left: u64::try_from(records.length()).unwrap_or(0),
            numbers: Buffers::new(path, body, records, schema)?.column(column)?,
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
