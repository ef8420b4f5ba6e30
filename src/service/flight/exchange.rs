//! `DoExchange`: decodes and queues incoming messages, and sends their responses in order at the same time.

use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tonic::Streaming;

use super::{Flight, encode};
use crate::event::EventReconstructor;
use crate::io::ReadOptions;
use crate::io::waveforms::arrow_ipc::{Received, size_of};
use crate::model::EventHits;
use crate::pipeline::DuplicateFilter;
use crate::service::backends::BackendKey;
use crate::service::batcher::{JobOutcome, JobResult};
use crate::service::budget::{BudgetPermit, SharedPermit};
use crate::service::command::{Command, Output};
use crate::service::rejection::Rejection;
use crate::service::request::{check_starts, next_message};
use crate::service::response::{self, EventGrouper};
use crate::service::state::ServiceState;
use crate::service::stream::{FlowWindow, Next, ResponseSender, read_and_respond};

/// The name of the stream in error messages.
const NAME: &str = "stream";
/// A message in flight.
type Pending = (oneshot::Receiver<JobOutcome>, OwnedSemaphorePermit);

/// Processes a stream of waveforms; `permit` is its memory.
pub async fn run(
    service: Flight,
    mut messages: Streaming<FlightData>,
    responses: ResponseSender<FlightData>,
    permit: BudgetPermit,
) -> Result<(), Rejection> {
    let state = Arc::clone(&service.state);
    let Some(Opened {
        command,
        key,
        received,
    }) = open(&service, &mut messages).await?
    else {
        return Ok(());
    };
    responses
        .send(encode::schema(&response::schema(command.output)))
        .await?;
    let events = match command.output {
        Output::Events => Some(state.backends.events()?),
        Output::Hits | Output::Waveforms => None,
    };
    // Jobs share the permit, because they may be in the queue after the request has ended.
    let permit: SharedPermit = Arc::new(permit);
    read_and_respond(
        |sender| read(&state, messages, received, &key, &permit, sender),
        |pending| write(&state, pending, command.output, events, &responses),
    )
    .await
}

/// A stream whose command and schema were received.
struct Opened {
    command: Command,
    key: BackendKey,
    received: Received,
}

/// Reads the stream up to the schema. Returns `None` if the client ends it before.
async fn open(
    service: &Flight,
    messages: &mut Streaming<FlightData>,
) -> Result<Option<Opened>, Rejection> {
    let state = &service.state;
    let mut command = None;
    while let Some(message) = next_message(state, messages, || false).await? {
        state.metrics.bytes_in.inc_by(message.encoded_len() as u64);
        if let (Some(descriptor), None) = (&message.flight_descriptor, &command) {
            command = Some(service.command(descriptor)?);
        }
        // The first message of some clients contains only the descriptor.
        if message.data_header.is_empty() {
            continue;
        }
        let command = match command {
            Some(command) => command,
            None => service.command(&arrow_flight::FlightDescriptor::default())?,
        };
        let max_bytes = state.limits.message as u64;
        let options = ReadOptions::default();
        let received = Received::begin(Path::new(NAME), &message.data_header, &options, max_bytes)?;
        let key = state.backends.key(&command, received.info())?;
        return Ok(Some(Opened {
            command,
            key,
            received,
        }));
    }
    Ok(None)
}

/// Reads messages and queues their waveforms while the flow window has room.
async fn read(
    state: &ServiceState,
    mut messages: Streaming<FlightData>,
    mut received: Received,
    key: &BackendKey,
    permit: &SharedPermit,
    pending: mpsc::Sender<Next<Pending>>,
) -> Result<(), Rejection> {
    let window = FlowWindow::new(state.limits.message);
    while let Some(message) = next_message(state, &mut messages, || window.has_pending()).await? {
        let bytes = message.encoded_len();
        state.metrics.bytes_in.inc_by(bytes as u64);
        if message.data_header.is_empty() {
            if message.data_body.is_empty() {
                continue;
            }
            return Err(Rejection::malformed("a message has a body but no header"));
        }
        let unpacked = size_of(&message.data_header, &message.data_body);
        let bytes = usize::try_from(unpacked).unwrap_or(usize::MAX).max(bytes);
        let window_permit = window.acquire(bytes).await?;
        let batch = received.decode(&message.data_header, &message.data_body)?;
        drop(message);
        if batch.is_empty() {
            continue;
        }
        check_starts(batch.start_ns())?;
        let permit = Arc::clone(permit);
        let outcome = state.backends.submit(key, batch, permit).await?;
        if pending.send(Ok((outcome, window_permit))).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Sends the responses in the order of the messages.
async fn write(
    state: &ServiceState,
    mut pending: mpsc::Receiver<Next<Pending>>,
    output: Output,
    events: Option<Arc<EventReconstructor>>,
    responses: &ResponseSender<FlightData>,
) -> Result<(), Rejection> {
    let mut seen = DuplicateFilter::for_stream();
    let mut grouper = EventGrouper::default();
    while let Some(next) = pending.recv().await {
        let (outcome, window_permit) = next?;
        let lost = |_| Rejection::internal("the backend did not return a batch");
        let JobResult {
            batch,
            mut extracted,
            backend,
            ..
        } = outcome.await.map_err(lost)??;
        seen.mark(&batch, &mut extracted)
            .map_err(|error| Rejection::internal(error.reason()))?;
        let rows = match (output, &events) {
            (Output::Hits, _) => response::hits(&batch, &extracted)?,
            (Output::Waveforms, _) => response::waveforms(&batch, &extracted)?,
            (Output::Events, None) => {
                return Err(Rejection::internal("no event reconstruction"));
            }
            (Output::Events, Some(reconstructor)) => {
                grouper.add(&batch, &extracted)?;
                complete_events(state, reconstructor, grouper.take_complete(false)).await?
            }
        };
        let metadata = serde_json::json!({"backend": backend, "waveforms": batch.len()});
        send(state, responses, &rows, &metadata.to_string()).await?;
        drop(window_permit);
    }
    if let Some(reconstructor) = &events {
        let rows = complete_events(state, reconstructor, grouper.take_complete(true)).await?;
        if rows.num_rows() > 0 {
            send(state, responses, &rows, "{}").await?;
        }
    }
    Ok(())
}

/// Reconstructs complete events and encodes them.
async fn complete_events(
    state: &ServiceState,
    reconstructor: &Arc<EventReconstructor>,
    events: Vec<EventHits>,
) -> Result<RecordBatch, Rejection> {
    let events = response::reconstruct(reconstructor, state.backends.pool(), events).await?;
    state.metrics.events.inc_by(events.len() as u64);
    response::events(&events)
}

async fn send(
    state: &ServiceState,
    responses: &ResponseSender<FlightData>,
    rows: &RecordBatch,
    metadata: &str,
) -> Result<(), Rejection> {
    for message in encode::records(rows, metadata)? {
        state.metrics.bytes_out.inc_by(message.encoded_len() as u64);
        responses.send(message).await?;
    }
    Ok(())
}
