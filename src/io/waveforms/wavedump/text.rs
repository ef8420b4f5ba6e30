//! WaveDump text: lines of `Key: value`, then one sample per line; or samples alone.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::counters::RecordOrder;
use super::{BLOCK_SAMPLES, TEXT, TEXT_WITHOUT_HEADERS};
use crate::error::{Error, Result};
use crate::io::waveforms::blocks::{Block, BlockReader, Row, check_fixed_length, wrong_length};
use crate::io::{Extent, Loss, ReadOptions, SourceInfo};
use crate::model::{MAX_SAMPLES, Samples, SamplesRef};

/// The start of the first line of a record.
const FIRST_KEY: &str = "Record Length:";
/// A byte order mark, which editors put in front of a text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Bytes at the beginning of a file from which the type of its samples is named.
const HEAD_BYTES: u64 = 1 << 20;
/// Number of losses that wait for the next whole record.
const MAX_PENDING: usize = 1000;
/// Maximum length of a line; WaveDump's longest has about 40 characters.
const MAX_LINE_BYTES: u64 = 256;

/// Returns whether a file that begins with `head` begins with a header line.
pub(super) fn has_header_lines(head: &[u8]) -> bool {
    let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
    text.trim_ascii_start().starts_with(FIRST_KEY.as_bytes())
}

/// Returns whether the bytes could be a text of one number per line.
pub(super) fn looks_like_numbers(head: &[u8]) -> bool {
    let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
    let text = head
        .iter()
        .all(|byte| byte.is_ascii_digit() || byte.is_ascii_whitespace() || b"+-.eE".contains(byte));
    text && head.iter().any(u8::is_ascii_digit)
}

/// A line of the file.
enum Line {
    /// `Key: value`.
    Header(String, String),
    Sample(f64),
    Blank,
    Nonsense,
    /// The end of the file.
    End,
}

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
    nonsense: Option<(u64, &'static str)>,
}

pub(super) struct Text {
    info: SourceInfo,
    input_id: u32,
    /// The channel if there are no header lines.
    channel_id: u32,
    reader: BufReader<File>,
    /// Samples per record if there are no header lines.
    record_samples: Option<usize>,
    position: u64,
    line: u64,
    record: u64,
    /// The record whose header line was read already.
    open: Option<Record>,
    /// The order of the records with header lines, from which the number of missing ones follows.
    order: RecordOrder,
    /// Losses since the last whole record.
    pending: Vec<Loss>,
    /// True if the last line that was read lacks its line feed, which WaveDump always writes.
    cut: bool,
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
        let format = match record_samples {
            None => TEXT,
            Some(_) => TEXT_WITHOUT_HEADERS,
        };
        let mut text = Self {
            info: SourceInfo::new(path.to_owned(), format.name, n_bytes),
            input_id: options.input_id,
            channel_id: 0,
            reader: open(path)?,
            record_samples,
            order: RecordOrder::default(),
            pending: Vec::new(),
            position: 0,
            line: 0,
            record: 0,
            open: None,
            cut: false,
            ended: false,
        };
        text.info.layout = match record_samples {
            None => "records with header lines, event = event number".to_owned(),
            Some(n) => format!("records of {n} lines, event = record number"),
        };
        if record_samples.is_some() {
            text.channel_id = text.info.name_channel(options, true)?;
        }
        // Digitisers write counts or corrected (fractional, or negative) values. Every record is read by its own samples.
        let mut samples = record_samples.map(|n| n as u64);
        let (mut has_samples, mut are_counts) = (false, true);
        while text.position < HEAD_BYTES && are_counts {
            let (begin, line) = text.read_line()?;
            match line {
                Line::Sample(value) => {
                    are_counts &= is_count(value);
                    if !has_samples {
                        has_samples = true;
                        let samples = samples.unwrap_or(1).clamp(1, MAX_SAMPLES as u64);
                        let per_waveform = begin + samples * (text.position - begin);
                        text.info.extent = Extent::bytes(n_bytes, per_waveform, samples);
                    }
                }
                Line::Header(key, value) if key == FIRST_KEY && !has_samples => {
                    samples = value.parse().ok();
                }
                Line::End => break,
                _ => {}
            }
        }
        text.reader = open(path)?;
        text.position = 0;
        text.line = 0;
        let sample_type = if are_counts { "u16" } else { "f32" };
        sample_type.clone_into(&mut text.info.sample_type);
        text.info.n_samples = record_samples;
        Ok(text)
    }

    /// Reads the next line. Returns it with its offset.
    fn read_line(&mut self) -> Result<(u64, Line)> {
        let begin = self.position;
        let mut bytes = Vec::new();
        let n_read = (&mut self.reader)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| {
                Error::input(&self.info.path, format!("cannot be read at byte {begin}"))
                    .with_source(error)
            })?;
        self.position += n_read as u64;
        if n_read == 0 {
            return Ok((begin, Line::End));
        }
        self.line += 1;
        self.cut = bytes.last() != Some(&b'\n');
        let bytes = match bytes.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if begin == 0 => rest,
            _ => bytes.as_slice(),
        };
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Ok((begin, Line::Nonsense));
        };
        let line = if let Some((key, value)) = text.split_once(':') {
            Line::Header(format!("{}:", key.trim()), value.trim().to_owned())
        } else if text.trim().is_empty() {
            Line::Blank
        } else if self.cut && n_read as u64 == MAX_LINE_BYTES {
            Line::Nonsense
        } else {
            text.trim().parse().map_or(Line::Nonsense, Line::Sample)
        };
        Ok((begin, line))
    }

    /// Reads up to the next record's first line, or to the end. Returns false at the end.
    fn read_record(&mut self, block: &mut Block) -> Result<bool> {
        let mut record = self.open.take();
        loop {
            let (byte, line) = self.read_line()?;
            let full = |record: &Record| {
                self.record_samples
                    .is_some_and(|length| record.n_samples >= length as u64)
            };
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
                Line::Header(key, value) if key == FIRST_KEY => {
                    self.open = Some(Record {
                        byte,
                        length: value.parse().ok(),
                        ..Record::default()
                    });
                    if let Some(record) = record {
                        self.close(&record, block, false);
                    }
                    return Ok(true);
                }
                line => {
                    let current = record.get_or_insert_with(|| Record {
                        byte,
                        ..Record::default()
                    });
                    self.take_line(current, line);
                    if full(current) {
                        self.close(&record.take().unwrap_or_default(), block, false);
                        return Ok(true);
                    }
                }
            }
        }
    }

    fn take_line(&self, record: &mut Record, line: Line) {
        match line {
            // The first line of the next record is damaged: these lines are that record's.
            Line::Header(..) if record.n_samples > 0 => {
                let first = (self.line, "is a header line among samples");
                record.nonsense = record.nonsense.or(Some(first));
            }
            Line::Header(key, value) => match key.as_str() {
                "Channel:" => record.channel = value.parse().ok(),
                "Event Number:" => record.event = value.parse().ok(),
                _ => {}
            },
            Line::Sample(value) => {
                record.n_samples += 1;
                if record.samples.len() < MAX_SAMPLES {
                    record.samples.push(value);
                }
            }
            _ => {
                let first = (self.line, "is neither a header line nor a number");
                record.nonsense = record.nonsense.or(Some(first));
            }
        }
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
        let problem = if let Some((line, what)) = record.nonsense {
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
        } else if at_end && self.cut {
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
        self.open.as_ref().map_or(self.position, |open| open.byte)
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

fn open(path: &Path) -> Result<BufReader<File>> {
    let file = File::open(path)
        .map_err(|error| Error::input(path, "cannot be opened").with_source(error))?;
    Ok(BufReader::new(file))
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
