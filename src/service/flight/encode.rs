//! Encodes record batches as Flight messages.

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_schema::Schema;

use crate::service::rejection::Rejection;

/// The number of rows per message, which keeps it below the limit of 4 MiB of many clients.
const ROWS: usize = 1 << 15;

/// Encodes the first message of a response stream.
pub fn schema(schema: &Schema) -> FlightData {
    let mut tracker = DictionaryTracker::new(true);
    let encoded = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
        schema,
        &mut tracker,
        &IpcWriteOptions::default(),
    );
    FlightData::new().with_data_header(encoded.ipc_message)
}

/// Encodes `batch` as one or more messages, each with `metadata`.
///
/// # Errors
/// Only on an internal error.
pub fn records(batch: &RecordBatch, metadata: &str) -> Result<Vec<FlightData>, Rejection> {
    let mut messages = Vec::new();
    let mut begin = 0;
    while begin < batch.num_rows() || messages.is_empty() {
        let rows = ROWS.min(batch.num_rows() - begin);
        let (_, encoded) = IpcDataGenerator::default()
            .encode(
                &batch.slice(begin, rows),
                &mut DictionaryTracker::new(true),
                &IpcWriteOptions::default(),
                &mut IpcWriteContext::default(),
            )
            .map_err(|error| {
                Rejection::internal(format!("a response cannot be encoded: {error}"))
            })?;
        messages.push(
            FlightData::new()
                .with_data_header(encoded.ipc_message)
                .with_data_body(encoded.arrow_data)
                .with_app_metadata(metadata.to_owned()),
        );
        begin += rows;
    }
    Ok(messages)
}
