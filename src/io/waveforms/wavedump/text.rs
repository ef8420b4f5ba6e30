//! WaveDump text: lines of `Key: value`, then one sample per line; or samples alone, one or all of a record per line.

use std::path::Path;

use super::counters::RecordOrder;
use super::lines::{Layout, Line, Lines};
use super::text_kind::{self, FIRST_KEY};
use super::{BLOCK_SAMPLES, TEXT, TEXT_WITHOUT_HEADERS};
use crate::error::Result;
use crate::io::waveforms::blocks::{Block, BlockReader, Row, check_fixed_length, wrong_length};
use crate::io::{Extent, Loss, ReadOptions, SourceInfo};
use crate::model::{MAX_SAMPLES, Samples, SamplesRef};

/// Bytes at the beginning of a file from which the type of its samples is named.
const HEAD_BYTES: u64 = 1 << 20;
/// Number of losses that wait for the next whole record.
const MAX_PENDING: usize = 1000;

/// The record that is being read.
#[derive(Default)]
struct Record {
    byte: u64,
    length: Option<u64>,
    channel: Option<i128>,
    event: Option<i128>,
    /// The samples, up to the maximum of a waveform.
    samples: Vec<f64>,
    n_samples: u64,
    /// The first line that does not belong there, and what it is.
    nonsense: Option<(u64, String)>,
}

impl Record {
    fn new(byte: u64) -> Self {
        Self {
            byte,
            ..Self::default()
        }
    }
}

pub(super) struct Text {
    info: SourceInfo,
    input_id: u32,
    /// The channel if there are no header lines.
    channel_id: u32,
    lines: Lines,
    layout: Layout,
    /// Samples per record if there are no header lines.
    record_samples: Option<usize>,
    record: u64,
    /// The record whose header line was read already.
    open: Option<Record>,
    /// The order of the records with header lines, from which the number of missing ones follows.
    order: RecordOrder,
    /// Losses since the last whole record.
    pending: Vec<Loss>,
    ended: bool,
}

impl Text {
    pub fn open(
        path: &Path,
        n_bytes: u64,
        record_samples: Option<usize>,
        options: &ReadOptions,
    ) -> Result<Self> {
        if let Some(record_samples) = record_samples {
            check_fixed_length(path, "the stated record length", record_samples)?;
        }
        let (format, layout) = match record_samples {
            None => (TEXT, Layout::Headers),
            Some(n) => (TEXT_WITHOUT_HEADERS, text_kind::layout(path, n)?),
        };
        let mut text = Self {
            info: SourceInfo::new(path.to_owned(), format.name, n_bytes),
            input_id: options.input_id,
            channel_id: 0,
            lines: Lines::open(path, layout)?,
            layout,
            record_samples,
            order: RecordOrder::default(),
            pending: Vec::new(),
            record: 0,
            open: None,
            ended: false,
        };
        text.info.layout = match layout {
            Layout::Headers => "records with header lines, event = event number".to_owned(),
            Layout::Column(n) => format!("records of {n} lines, event = record number"),
            Layout::Rows(n) => format!("records of {n} numbers in a line, event = record number"),
        };
        if record_samples.is_some() {
            text.channel_id = text.info.name_channel(options, true)?;
        }
        text.survey(n_bytes)?;
        text.lines = Lines::open(path, layout)?;
        text.info.n_samples = record_samples;
        Ok(text)
    }

    /// Reads the beginning of the file for the type and the number of the samples.
    fn survey(&mut self, n_bytes: u64) -> Result<()> {
        // Digitisers write counts or corrected (fractional, or negative) values. Every record is read by its own samples.
        let mut samples = self.record_samples.map(|n| n as u64);
        let (mut has_samples, mut are_counts) = (false, true);
        while self.lines.position < HEAD_BYTES && are_counts {
            let (begin, line) = self.lines.read()?;
            let line_bytes = self.lines.position - begin;
            let per_waveform = match &line {
                Line::Sample(value) => {
                    are_counts &= is_count(*value);
                    let samples = samples.unwrap_or(1).clamp(1, MAX_SAMPLES as u64);
                    begin + samples * line_bytes
                }
                Line::Row(values) => {
                    are_counts &= values.iter().copied().all(is_count);
                    line_bytes
                }
                Line::Header(key, value) if key == FIRST_KEY && !has_samples => {
                    samples = value.parse().ok();
                    continue;
                }
                Line::End => break,
                _ => continue,
            };
            if !has_samples {
                has_samples = true;
                let samples = samples.unwrap_or(1).clamp(1, MAX_SAMPLES as u64);
                self.info.extent = Extent::bytes(n_bytes, per_waveform, samples);
            }
        }
        let sample_type = if are_counts { "u16" } else { "f32" };
        sample_type.clone_into(&mut self.info.sample_type);
        Ok(())
    }

    /// Reads up to the next record's first line, or to the end. Returns false at the end.
    fn read_record(&mut self, block: &mut Block) -> Result<bool> {
        let mut record = self.open.take();
        loop {
            let (byte, line) = self.lines.read()?;
            match line {
                Line::End => {
                    if let Some(record) = record
                        && (self.record_samples.is_none() || record.n_samples > 0)
                    {
                        self.close(&record, block, true);
                    }
                    return Ok(false);
                }
                Line::Blank => {}
                // Between two records.
                Line::Comment
                    if record
                        .as_ref()
                        .is_none_or(|it| it.length == Some(it.n_samples)) => {}
                Line::Header(key, value) if key == FIRST_KEY => {
                    self.open = Some(Record {
                        length: value.parse().ok(),
                        ..Record::new(byte)
                    });
                    if let Some(record) = record {
                        self.close(&record, block, false);
                    }
                    return Ok(true);
                }
                line => {
                    let current = record.get_or_insert_with(|| Record::new(byte));
                    self.take_line(current, line);
                    let is_full = match self.layout {
                        Layout::Headers => false,
                        Layout::Column(length) => current.n_samples >= length as u64,
                        Layout::Rows(_) => true,
                    };
                    if is_full {
                        // Of a number in a row that is cut off the last digits may be missing.
                        let at_end = self.lines.cut && matches!(self.layout, Layout::Rows(_));
                        self.close(&record.take().unwrap_or_default(), block, at_end);
                        return Ok(true);
                    }
                }
            }
        }
    }

    fn take_line(&self, record: &mut Record, line: Line) {
        let what = match line {
            // The first line of the next record is damaged: these lines are that record's.
            Line::Header(..) if record.n_samples > 0 => "is a header line among samples".to_owned(),
            Line::Header(key, value) => {
                match key.as_str() {
                    "Channel:" => record.channel = value.parse().ok(),
                    "Event Number:" => record.event = value.parse().ok(),
                    _ => {}
                }
                return;
            }
            Line::Sample(value) => {
                record.n_samples += 1;
                if record.samples.len() < MAX_SAMPLES {
                    record.samples.push(value);
                }
                return;
            }
            Line::Row(values) => {
                record.n_samples = values.len() as u64;
                record.samples = values;
                return;
            }
            Line::Comment => "is a comment within a record".to_owned(),
            Line::Nonsense(what) => {
                // It is in the place of a number: the next record begins where it would.
                record.n_samples += u64::from(matches!(self.layout, Layout::Column(_)));
                what
            }
            Line::Blank | Line::End => return,
        };
        let number = self.lines.number;
        record.nonsense.get_or_insert((number, what));
    }

    /// Adds the loss of a record. The next whole record tells how many are missing in all.
    fn lose(&mut self, loss: Loss, block: &mut Block) {
        self.pending.push(loss);
        if self.record_samples.is_some() || self.pending.len() >= MAX_PENDING {
            self.order = RecordOrder::default();
            block.losses.append(&mut self.pending);
        }
    }

    /// Adds the losses before a whole record of `event` and `channel`.
    fn end_gap(&mut self, event: u64, channel: u32, block: &mut Block) {
        if self.pending.is_empty() {
            self.order.add(event, channel);
            return;
        }
        if let Some(missing) = self.order.add_after_gap(event, channel) {
            share_out(missing, &mut self.pending);
        }
        block.losses.append(&mut self.pending);
    }

    /// Checks a record and appends it to the block.
    fn close(&mut self, record: &Record, block: &mut Block, at_end: bool) {
        let place = format!("record {} at byte {}", self.record, record.byte);
        let (event_id, channel_id, length) = match self.record_samples {
            Some(length) => (
                Some(i128::from(self.record)),
                Some(i128::from(self.channel_id)),
                Some(length as u64),
            ),
            None => (record.event, record.channel, record.length),
        };
        self.record += 1;
        let problem = if let Some((line, what)) = &record.nonsense {
            Some(format!("line {line} {what}"))
        } else if length != Some(record.n_samples) {
            let said = length.map_or_else(|| "no length".to_owned(), |n| format!("{n} samples"));
            let what = if at_end {
                "the file ends after"
            } else {
                "there are"
            };
            Some(format!(
                "the record says {said}, {what} {}",
                record.n_samples
            ))
        } else if at_end && self.lines.cut {
            // Its last digits may be missing.
            Some("the last line of the file is cut off (it has no line feed)".to_owned())
        } else {
            let n_samples = usize::try_from(record.n_samples).unwrap_or(usize::MAX);
            wrong_length(n_samples)
        };
        let event = event_id.and_then(|id| u64::try_from(id).ok());
        let channel = channel_id.and_then(|id| u32::try_from(id).ok());
        if let Some(reason) = problem {
            // Where header lines are damaged, several records may look like one.
            let is_one = length.is_some_and(|length| record.n_samples <= length);
            self.lose(
                Loss {
                    place,
                    event_id: event,
                    channel_id: channel,
                    n_waveforms: is_one.then_some(1),
                    reason,
                    position: record.byte,
                },
                block,
            );
            return;
        }
        if let (Some(event), Some(channel), None) = (event, channel, self.record_samples) {
            self.end_gap(event, channel, block);
        }
        let is_integer = record.samples.iter().copied().all(is_count);
        let samples = if is_integer {
            Samples::U16(record.samples.iter().map(|&value| value as u16).collect())
        } else {
            Samples::F32(record.samples.iter().map(|&value| value as f32).collect())
        };
        let row = Row {
            event_id,
            channel_id,
            start_ns: Some(0.0),
            samples: Some(match &samples {
                Samples::U16(samples) => SamplesRef::U16(samples),
                Samples::F32(samples) => SamplesRef::F32(samples),
            }),
        };
        block.push(row, record.byte, || place);
    }
}

impl BlockReader for Text {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn position(&self) -> u64 {
        self.open
            .as_ref()
            .map_or(self.lines.position, |open| open.byte)
    }

    fn next_block(&mut self) -> Result<Option<Block>> {
        if self.ended {
            return Ok(None);
        }
        let mut block = Block::new(self.input_id, Samples::U16(Vec::new()));
        while block.batch.samples().len() < BLOCK_SAMPLES && block.losses.len() < BLOCK_SAMPLES {
            if !self.read_record(&mut block)? {
                block.losses.append(&mut self.pending);
                self.ended = true;
                break;
            }
        }
        Ok(Some(block))
    }
}

/// Returns true for an integer of 16 bits.
fn is_count(value: f64) -> bool {
    value.fract() == 0.0 && (0.0..=f64::from(u16::MAX)).contains(&value)
}

/// Shares out `missing` records among losses of one record each or of an unknown number.
fn share_out(missing: u64, losses: &mut [Loss]) {
    let known: u64 = losses.iter().map(Loss::at_least).sum();
    let Some(more) = missing.checked_sub(known) else {
        return;
    };
    let unknown = losses.iter().position(|loss| loss.n_waveforms.is_none());
    for loss in losses.iter_mut() {
        loss.n_waveforms = Some(loss.at_least());
    }
    let place = unknown.unwrap_or(losses.len().saturating_sub(1));
    if let Some(loss) = losses.get_mut(place).filter(|_| more > 0) {
        loss.n_waveforms = Some(loss.at_least() + more);
        let reason = &mut loss.reason;
        *reason = format!(
            "{reason}; by the event counter {} records are missing",
            1 + more
        );
    }
}
