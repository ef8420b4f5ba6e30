//! Batches read in pieces are those read as a whole.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, FixedSizeListArray, Float64Array, Int16Array, LargeListArray, ListArray, RecordBatch,
    StringArray, StringViewArray, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{DataType, Field, Schema};

use super::*;
use crate::io::BatchLimit;

const N_ROWS: usize = 5000;

/// A batch with columns that are not read, and nulls in every place.
fn batch(kind: &str) -> RecordBatch {
    let every = |n: usize| (0..N_ROWS).map(|row| row % n != 3).collect::<NullBuffer>();
    let lengths: Vec<usize> = (0..N_ROWS).map(|row| 30 + row % 40).collect();
    let total: usize = lengths.iter().sum();
    let counts = |n: usize| (0..n).map(|index| (index * 7919 % 16_384) as u16);
    let item = |data_type: DataType| Arc::new(Field::new_list_field(data_type, true));
    let lists: ArrayRef = match kind {
        "list" => Arc::new(ListArray::new(
            item(DataType::UInt16),
            OffsetBuffer::from_lengths(lengths),
            Arc::new(UInt16Array::from_iter_values(counts(total))),
            Some(every(97)),
        )),
        "large list" => {
            let nulls = (0..total)
                .map(|index| index % 20_011 != 5)
                .collect::<NullBuffer>();
            let values = counts(total)
                .map(|count| count.cast_signed() - 8000)
                .collect();
            Arc::new(LargeListArray::new(
                item(DataType::Int16),
                OffsetBuffer::from_lengths(lengths),
                Arc::new(Int16Array::new(values, Some(nulls))),
                None,
            ))
        }
        _ => Arc::new(FixedSizeListArray::new(
            item(DataType::UInt16),
            40,
            Arc::new(UInt16Array::from_iter_values(counts(40 * N_ROWS))),
            Some(every(31)),
        )),
    };
    let numbers = || (0..N_ROWS as u64).map(|row| row / 3);
    let text = || (0..N_ROWS).map(|row| format!("a text that is longer than a view {row}"));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("note", Arc::new(StringArray::from_iter_values(text()))),
        (
            "event_id",
            Arc::new(UInt64Array::new(numbers().collect(), Some(every(53)))),
        ),
        ("view", Arc::new(StringViewArray::from_iter_values(text()))),
        ("samples", lists),
        (
            "start_ns",
            Arc::new(Float64Array::from_iter_values(
                numbers().map(|row| row as f64),
            )),
        ),
        (
            "channel_id",
            Arc::new(UInt32Array::from_iter_values(
                (0..N_ROWS as u32).map(|row| row % 3),
            )),
        ),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("they fit")
}

fn write(path: &Path, batch: &RecordBatch, compression: Option<CompressionType>) {
    let options = IpcWriteOptions::default().try_with_compression(compression);
    let file = File::create(path).expect("a file");
    let options = options.expect("it is known");
    let mut writer =
        FileWriter::try_new_with_options(file, &batch.schema(), options).expect("a writer");
    for part in [batch.slice(0, 1700), batch.slice(1700, N_ROWS - 1700)] {
        writer.write(&part).expect("written");
    }
    writer.finish().expect("written");
}

/// Reads a file with batches of more than `max_whole_bytes` in pieces.
fn read(path: &Path, max_whole_bytes: u64) -> (Vec<crate::model::Batch>, Vec<Loss>, Vec<u64>) {
    let n_bytes = std::fs::metadata(path).expect("a file").len();
    let options = ReadOptions::default();
    let open = || Batches::open(path, n_bytes, true, max_whole_bytes, &options).expect("a file");
    let mut source = BlockSource::new(open());
    let limit = BatchLimit {
        waveforms: 777,
        ..BatchLimit::default()
    };
    let mut batches = Vec::new();
    while let Some(batch) = source.next_batch(limit).expect("waveforms") {
        batches.push(batch);
    }
    let mut events = Vec::new();
    let mut reader = open();
    while let Some(some) = reader.next_events().expect("events") {
        events.extend(some);
    }
    (batches, source.take_losses(), events)
}

#[test]
fn a_batch_in_pieces_is_the_batch_as_a_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.arrow");
    for kind in ["list", "large list", "fixed"] {
        let batch = batch(kind);
        for compression in [
            None,
            Some(CompressionType::ZSTD),
            Some(CompressionType::LZ4_FRAME),
        ] {
            write(&path, &batch, compression);
            let (whole, losses, events) = read(&path, u64::MAX);
            let (pieces, losses_of_pieces, events_of_pieces) = read(&path, 0);
            assert_eq!(whole, pieces, "{kind} {compression:?}");
            assert_eq!(losses, losses_of_pieces, "{kind} {compression:?}");
            assert_eq!(events, events_of_pieces);
            let n_read: usize = whole.iter().map(crate::model::Batch::len).sum();
            assert_eq!(n_read + losses.len(), N_ROWS);
            assert!(!losses.is_empty());
            assert_eq!(
                events.len(),
                (0..N_ROWS).filter(|row| row % 53 != 3).count()
            );
        }
    }
}

#[test]
fn damage_inside_a_batch_in_pieces_costs_its_last_rows_and_the_number_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.arrow");
    write(&path, &batch("fixed"), Some(CompressionType::ZSTD));
    let bytes = std::fs::read(&path).expect("the file");
    let mut n_unknown = 0;
    for place in (600..bytes.len() - 2500).step_by(bytes.len() / 150) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x55;
        std::fs::write(&path, damaged).expect("written");
        let (batches, losses, _) = read(&path, 0);
        let n_read: usize = batches.iter().map(crate::model::Batch::len).sum();
        let n_lost: u64 = losses.iter().map(Loss::at_least).sum();
        let n_told = n_read as u64 + n_lost;
        // Only the header of a batch states its number of rows.
        if losses.iter().all(|loss| loss.n_waveforms.is_some()) {
            assert_eq!(n_told, N_ROWS as u64, "byte {place}");
        } else {
            assert!(n_told < N_ROWS as u64, "byte {place}");
            n_unknown += 1;
        }
    }
    assert!(n_unknown < 20, "{n_unknown}");
}
