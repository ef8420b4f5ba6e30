//! Record batches that arrive as separate messages (Arrow Flight). Nothing that they declare is trusted.

use std::collections::HashMap;
use std::path::Path;

use arrow_buffer::Buffer;
use arrow_ipc::convert::try_schema_from_flatbuffer_bytes;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::{MessageHeader, root_as_message};
use arrow_schema::SchemaRef;
use bytes::Bytes;

use super::messages::{body_bytes, unpacked_bytes};
use crate::error::{Error, Result};
use crate::io::catch_panic::guarded;
use crate::io::waveforms::blocks::Block;
use crate::io::waveforms::columns::Columns;
use crate::io::{ReadOptions, SourceInfo};
use crate::model::{Batch, MIN_SAMPLES};

/// Returns the declared size of a message in memory. An invalid message counts with its own length.
pub(crate) fn size_of(header: &[u8], body: &[u8]) -> u64 {
    let message = root_as_message(header).ok();
    let bytes = message.and_then(|message| unpacked_bytes(&message, body));
    bytes
        .unwrap_or(body.len() as u64)
        .saturating_add(header.len() as u64)
}

/// Decodes the record batches of one stream of waveforms.
#[derive(Debug)]
pub(crate) struct Received {
    name: &'static Path,
    schema: SchemaRef,
    columns: Columns,
    info: SourceInfo,
    rows: u64,
    /// Maximum total size of the uncompressed buffers of a batch.
    max_bytes: u64,
}

impl Received {
    /// Starts a stream with its schema message. Errors call the stream `name`. A batch with more than `max_bytes` of
    /// uncompressed buffers is refused.
    ///
    /// # Errors
    /// If it is not a schema, or lacks a column of waveforms.
    pub fn begin(
        name: &'static Path,
        header: &[u8],
        options: &ReadOptions,
        max_bytes: u64,
    ) -> Result<Self> {
        let message = root_as_message(header).map_err(|_| {
            Error::input(name, "the first message with a header cannot be understood")
        })?;
        if message.header_type() != MessageHeader::Schema {
            return Err(Error::input(
                name,
                "the first message with a header is no schema",
            ));
        }
        let mut info = SourceInfo::new(name.to_owned(), "Arrow stream", 0);
        guarded(name, || {
            let schema = try_schema_from_flatbuffer_bytes(header)
                .map_err(|error| Error::input(name, "the schema is damaged").with_source(error))?;
            let columns = Columns::find(&schema, name, options, &mut info)?;
            Ok(Self {
                name,
                schema: SchemaRef::new(schema),
                columns,
                info,
                rows: 0,
                max_bytes,
            })
        })
    }

    /// Returns the information in the schema.
    pub fn info(&self) -> &SourceInfo {
        &self.info
    }

    /// Decodes the waveforms of the next message.
    ///
    /// # Errors
    /// If it is not a record batch of this schema, declares more than it holds, or has a row that is not a valid waveform. A
    /// stream has no list of losses, so that one bad row refuses the batch.
    pub fn decode(&mut self, header: &[u8], body: &Bytes) -> Result<Batch> {
        let wrong = |what: &str| {
            Err(Error::input(
                self.name,
                format!("the batch that begins with row {}: {what}", self.rows),
            ))
        };
        let Ok(message) = root_as_message(header) else {
            return wrong("its header cannot be understood");
        };
        let records = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => return wrong("dictionaries are not taken"),
            _ => return wrong("it is no record batch"),
        };
        let Some(records) = records else {
            return wrong("it is no record batch");
        };
        match body_bytes(&message) {
            None => return wrong("it announces buffers outside its body"),
            Some(claimed) if claimed > body.len() as u64 => {
                return wrong(&format!(
                    "it announces a body of {claimed} bytes and has {}",
                    body.len()
                ));
            }
            Some(_) => {}
        }
        let bytes = unpacked_bytes(&message, body);
        if bytes.is_none_or(|bytes| bytes > self.max_bytes) {
            return wrong(&format!(
                "it would unpack to more than {} bytes",
                self.max_bytes
            ));
        }
        // Rows without samples cost nothing to send, but much to refuse one by one.
        let rows = u64::try_from(records.length()).unwrap_or(u64::MAX);
        if rows.saturating_mul(MIN_SAMPLES as u64) > bytes.unwrap_or(0) {
            return wrong(&format!(
                "{rows} rows do not have {MIN_SAMPLES} samples each"
            ));
        }
        let block = guarded(self.name, || {
            let projection = self.columns.projection();
            let records = read_record_batch(
                &Buffer::from(body.clone()),
                records,
                SchemaRef::clone(&self.schema),
                &HashMap::new(),
                Some(&projection),
                &message.version(),
            )
            .map_err(|error| {
                let row = self.rows;
                Error::input(
                    self.name,
                    format!("the batch that begins with row {row} is damaged"),
                )
                .with_source(error)
            })?;
            let first = self.rows;
            let columns = self.columns.projected();
            columns.decode(&records, first, |row| first + row, self.name)
        })?;
        let Block { batch, losses, .. } = block;
        if let Some(loss) = losses.first() {
            return Err(Error::input(
                self.name,
                format!("{}: {}", loss.place, loss.reason),
            ));
        }
        self.rows += batch.len() as u64;
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;

    use arrow_array::{ArrayRef, RecordBatch, UInt16Array, UInt32Array, UInt64Array};
    use arrow_array::{FixedSizeListArray, ListArray};
    use arrow_buffer::OffsetBuffer;
    use arrow_ipc::CompressionType;
    use arrow_ipc::writer::{
        DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions,
    };
    use arrow_schema::{DataType, Field, Schema};
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::io::BatchLimit;

    const SAMPLES: usize = 40;

    /// The messages of two waveforms, once with lists and once with lists of a fixed size.
    fn stream(fixed: bool, compression: Option<CompressionType>) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let samples = UInt16Array::from_iter_values((0..2 * SAMPLES as u16).map(|it| 4000 + it));
        let item = Arc::new(Field::new_list_field(DataType::UInt16, false));
        let lists: ArrayRef = if fixed {
            Arc::new(FixedSizeListArray::new(
                item,
                i32::try_from(SAMPLES).expect("it is small"),
                Arc::new(samples),
                None,
            ))
        } else {
            let offsets = OffsetBuffer::from_lengths([SAMPLES; 2]);
            Arc::new(ListArray::new(item, offsets, Arc::new(samples), None))
        };
        let schema = Schema::new(vec![
            Field::new("event_id", DataType::UInt64, false),
            Field::new("channel_id", DataType::UInt32, false),
            Field::new("samples", lists.data_type().clone(), false),
        ]);
        let options = IpcWriteOptions::default()
            .try_with_compression(compression)
            .expect("it is known");
        let mut tracker = DictionaryTracker::new(true);
        let generator = IpcDataGenerator::default();
        let first =
            generator.schema_to_bytes_with_dictionary_tracker(&schema, &mut tracker, &options);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(vec![7, 8])),
            Arc::new(UInt32Array::from(vec![1, 2])),
            lists,
        ];
        let batch = RecordBatch::try_new(Arc::new(schema), columns).expect("they fit");
        let mut context = IpcWriteContext::default();
        let (_, second) = generator
            .encode(&batch, &mut tracker, &options, &mut context)
            .expect("it can be written");
        (first.ipc_message, second.ipc_message, second.arrow_data)
    }

    fn receive(schema: &[u8], header: &[u8], body: &[u8]) -> Result<Batch> {
        let options = ReadOptions::default();
        let mut received = Received::begin(Path::new("stream"), schema, &options, 1 << 20)?;
        received.decode(header, &Bytes::copy_from_slice(body))
    }

    /// Returns what a pass over a file with the same messages reads, if it loses nothing.
    fn read(schema: &[u8], header: &[u8], body: &[u8]) -> Option<Batch> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        for (header, body) in [(schema, &[][..]), (header, body)] {
            let length = u32::try_from(header.len()).expect("it is small");
            file.write_all(&[0xff; 4]).expect("written");
            file.write_all(&length.to_le_bytes()).expect("written");
            file.write_all(header).expect("written");
            file.write_all(body).expect("written");
        }
        file.flush().expect("written");
        let n_bytes = file.as_file().metadata().expect("a file").len();
        let options = ReadOptions::default();
        let mut source = guarded(file.path(), || {
            super::super::open(file.path(), n_bytes, false, &options)
        })
        .ok()?;
        let batch = source.next_batch(BatchLimit::default()).ok()??;
        source.take_losses().is_empty().then_some(batch)
    }

    #[test]
    fn a_batch_arrives_as_it_was_sent() {
        for fixed in [false, true] {
            for compression in [
                None,
                Some(CompressionType::ZSTD),
                Some(CompressionType::LZ4_FRAME),
            ] {
                let (schema, header, body) = stream(fixed, compression);
                let batch = receive(&schema, &header, &body).expect("nothing is wrong");
                assert_eq!(batch.event_id(), [7, 8]);
                assert_eq!(batch.channel_id(), [1, 2]);
                assert_eq!(batch.offsets(), [0, SAMPLES, 2 * SAMPLES]);
                assert_eq!(Some(batch), read(&schema, &header, &body));
            }
        }
    }

    #[test]
    fn a_batch_that_unpacks_to_too_much_is_refused() {
        let (schema, header, mut body) = stream(false, Some(CompressionType::ZSTD));
        let size = body.len();
        // The first buffer declares 2^40 bytes.
        body[..8].copy_from_slice(&(1_i64 << 40).to_le_bytes());
        let refused = receive(&schema, &header, &body).expect_err("it does not fit");
        assert!(
            refused.to_string().contains("would unpack to more than"),
            "{refused}"
        );
        assert_eq!(body.len(), size);
    }

    /// `NUWAVE_MUTATIONS` says how many; 100,000 of them take a minute.
    #[test]
    fn mutated_messages_are_refused_or_read_as_a_pass_over_a_file_reads_them() {
        let count = std::env::var("NUWAVE_MUTATIONS").ok();
        let count: u64 = count.and_then(|it| it.parse().ok()).unwrap_or(3000);
        let mut streams = Vec::new();
        for fixed in [false, true] {
            for compression in [
                None,
                Some(CompressionType::ZSTD),
                Some(CompressionType::LZ4_FRAME),
            ] {
                streams.push(stream(fixed, compression));
            }
        }
        let (mut taken, mut refused) = (0, 0);
        for seed in 0..count {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let (mut schema, mut header, mut body) =
                streams[random.random_range(0..streams.len())].clone();
            let target = match random.random_range(0..10) {
                0 => &mut schema,
                1..=2 => &mut body,
                _ => &mut header,
            };
            for _ in 0..random.random_range(1..4) {
                mutate(target, &mut random);
            }
            match receive(&schema, &header, &body) {
                Ok(batch) => {
                    taken += 1;
                    // Bytes after the body belong to nothing; a file would take them for the next message.
                    let claimed = root_as_message(&header).expect("it was taken").bodyLength();
                    let body = &body[..usize::try_from(claimed).expect("it was taken")];
                    let read = read(&schema, &header, body);
                    assert_eq!(Some(batch), read, "mutation {seed} was read in two ways");
                }
                Err(_) => refused += 1,
            }
        }
        println!("of {count} mutated messages {taken} were taken, {refused} refused");
        assert!(taken > count / 20 && refused > count / 10);
    }

    fn mutate(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
        if bytes.is_empty() {
            return;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..6) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.random()),
            4 => {
                let numbers = [0_i64, -1, 1 << 31, i64::MAX, i64::MIN, 1 << 20];
                let number = numbers[random.random_range(0..numbers.len())].to_le_bytes();
                let end = (at + 8).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            _ => {
                let from = random.random_range(0..bytes.len());
                let length = random.random_range(0..16).min(bytes.len() - at.max(from));
                let piece = bytes[from..from + length].to_vec();
                bytes[at..at + length].copy_from_slice(&piece);
            }
        }
    }
}
