//! WaveDump binary without headers: bare samples, of which the user states how many make a waveform.

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::path::Path;

use super::{BINARY_WITHOUT_HEADERS, BLOCK_SAMPLES, sample_kind};
use crate::error::{Error, Result};
use crate::io::waveforms::blocks::{Block, BlockReader, Row, check_fixed_length};
use crate::io::waveforms::numpy::npy::read_up_to;
use crate::io::waveforms::numpy::slice;
use crate::io::waveforms::scalar::ScalarType;
use crate::io::{Extent, Loss, ReadOptions, SourceInfo};

/// Bytes from which the number type of the samples is recognised.
const HEAD_BYTES: usize = 1 << 16;

/// Samples without headers.
pub(super) struct Bare {
    info: SourceInfo,
    input_id: u32,
    channel_id: u32,
    reader: BufReader<File>,
    kind: ScalarType,
    record_samples: usize,
    record: u64,
    ended: bool,
}

impl Bare {
    pub fn open(
        path: &Path,
        n_bytes: u64,
        record_samples: usize,
        options: &ReadOptions,
    ) -> Result<Self> {
        check_fixed_length(path, "the stated record length", record_samples)?;
        let cannot = |error| Error::input(path, "cannot be opened").with_source(error);
        let mut reader = BufReader::new(File::open(path).map_err(cannot)?);
        let mut head = vec![0; HEAD_BYTES];
        let n_read = read_up_to(&mut reader, &mut head).map_err(cannot)?;
        head.truncate(n_read - n_read % 8);
        reader.rewind().map_err(cannot)?;
        let kind = sample_kind::recognise(&[head]);
        let record_bytes = (kind.size() * record_samples) as u64;
        let mut info = SourceInfo::new(path.to_owned(), BINARY_WITHOUT_HEADERS.name, n_bytes);
        info.layout = format!("records of {record_samples} samples, event = record number");
        let channel_id = info.name_channel(options, true)?;
        info.remarks.extend(sample_kind::remark(kind));
        info.adc_bits = sample_kind::adc_bits(kind);
        info.n_waveforms = Some(n_bytes / record_bytes);
        info.n_samples = Some(record_samples);
        info.extent = Extent::rows(n_bytes.div_ceil(record_bytes), record_samples as u64);
        kind.scalar.name().clone_into(&mut info.sample_type);
        Ok(Self {
            info,
            input_id: options.input_id,
            channel_id,
            reader,
            kind,
            record_samples,
            record: 0,
            ended: false,
        })
    }

    fn record_bytes(&self) -> usize {
        self.kind.size() * self.record_samples
    }
}

impl BlockReader for Bare {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn position(&self) -> u64 {
        self.record
    }

    fn seek(&mut self, position: u64) -> Result<()> {
        let byte = position.saturating_mul(self.record_bytes() as u64);
        self.reader
            .seek(io::SeekFrom::Start(byte))
            .map_err(|error| Error::input(&self.info.path, "cannot be read").with_source(error))?;
        self.record = position;
        self.ended = false;
        Ok(())
    }

    fn next_block(&mut self) -> Result<Option<Block>> {
        if self.ended {
            return Ok(None);
        }
        let record_bytes = self.record_bytes();
        let n_records = (BLOCK_SAMPLES / self.record_samples).max(1);
        let mut bytes = vec![0; n_records * record_bytes];
        let n_read = read_up_to(&mut self.reader, &mut bytes)
            .map_err(|error| Error::input(&self.info.path, "cannot be read").with_source(error))?;
        self.ended = n_read < bytes.len();
        bytes.truncate(n_read);
        let mut block = Block::new(self.input_id, self.kind.empty_samples());
        for record in bytes.chunks(record_bytes) {
            let place = format!(
                "record {} at byte {}",
                self.record,
                self.record * record_bytes as u64
            );
            if record.len() < record_bytes {
                block.losses.push(Loss {
                    place,
                    event_id: Some(self.record),
                    channel_id: Some(self.channel_id),
                    n_waveforms: Some(1),
                    reason: format!(
                        "the file ends after {} of the record's {record_bytes} bytes",
                        record.len()
                    ),
                    position: self.record,
                });
            } else {
                let samples = self.kind.samples(record);
                let row = Row {
                    event_id: Some(i128::from(self.record)),
                    channel_id: Some(i128::from(self.channel_id)),
                    start_ns: Some(0.0),
                    samples: slice(&samples, 0..samples.len()),
                };
                block.push(row, self.record, || place);
            }
            self.record += 1;
        }
        Ok(Some(block))
    }
}
