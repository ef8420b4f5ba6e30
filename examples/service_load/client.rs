//! A client: sends messages and compares the responses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use arrow_flight::FlightData;
use arrow_flight::flight_service_client::FlightServiceClient;
use futures::StreamExt as _;
use nuwave::service::command::Output;
use nuwave::service::kserve::messages::{InferRequest, InferResponse};
use nuwave::service::response;
use tonic::body::Body;
use tonic::codec::Codec as _;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tower::ServiceExt as _;

use crate::Args;
use crate::counts::Counts;
use crate::messages::{Message, bytes_of};

pub async fn connect(address: &str) -> Result<Channel> {
    connect_with(address, 4 << 20).await
}

/// Connects with a flow control window of `window` bytes for responses.
pub async fn connect_with(address: &str, window: u32) -> Result<Channel> {
    let address = match address.strip_prefix("unix:") {
        Some(path) => format!("unix://{path}"),
        None => format!("http://{address}"),
    };
    let endpoint = Endpoint::from_shared(address)?
        .initial_stream_window_size(window)
        .initial_connection_window_size(2 * window);
    Ok(endpoint.connect().await?)
}

/// Closes the semaphore when the stream of responses has ended for any reason.
struct CloseOnDrop<'a>(&'a tokio::sync::Semaphore);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

pub struct Client {
    pub channel: Channel,
    pub args: Args,
    pub schema: FlightData,
    pub messages: Arc<Vec<Message>>,
    pub counts: Arc<Counts>,
    pub number: usize,
    pub begin: Instant,
    pub end: Instant,
}

impl Client {
    pub fn message(&self, index: usize) -> &Message {
        &self.messages[(self.number * 7 + index) % self.messages.len()]
    }

    /// Returns the scheduled time of message `index`.
    fn due(&self, index: usize) -> Instant {
        if self.args.rate <= 0.0 {
            return Instant::now();
        }
        let bytes = self.message(0).bytes as f64;
        let each = bytes * self.args.clients as f64 / (self.args.rate * 1e6);
        let share = self.number as f64 / self.args.clients as f64;
        self.begin + Duration::from_secs_f64(each * (index as f64 + share))
    }

    pub async fn flight(&self) {
        let mut index = 0;
        while Instant::now() < self.end {
            let started = Instant::now();
            match self.one_stream(&mut index).await {
                Ok(()) => {}
                Err(status) => {
                    self.counts.note_error(&status, started);
                    tokio::time::sleep(Duration::from_millis(self.args.backoff)).await;
                }
            }
        }
    }

    /// Sends the messages of one stream and compares their responses.
    pub async fn one_stream(&self, start: &mut usize) -> Result<(), Status> {
        let (to_send, outgoing) = tokio::sync::mpsc::channel(1);
        let _ = to_send.send(self.schema.clone()).await;
        let incoming = futures::stream::unfold(outgoing, |mut receiver| async {
            receiver.recv().await.map(|it| (it, receiver))
        });
        let mut client = FlightServiceClient::new(self.channel.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        let mut responses = client.do_exchange(incoming).await?.into_inner();
        let slots = Arc::new(tokio::sync::Semaphore::new(self.args.depth));
        let (due, mut dues) = tokio::sync::mpsc::unbounded_channel();
        let first = *start;
        let sending = async {
            for index in first..first + self.args.messages {
                let at = self.due(index);
                // Even a sleep of zero takes a millisecond.
                if at > Instant::now() {
                    tokio::time::sleep_until(at.into()).await;
                }
                if Instant::now() >= self.end {
                    break;
                }
                let Ok(permit) = Arc::clone(&slots).acquire_owned().await else {
                    break;
                };
                permit.forget();
                let at = if self.args.rate > 0.0 {
                    at
                } else {
                    Instant::now()
                };
                let _ = due.send((index, at));
                if to_send
                    .send(self.message(index).flight.clone())
                    .await
                    .is_err()
                {
                    break;
                }
            }
            drop(to_send);
            drop(due);
        };
        let receiving = async {
            // Stops the sender.
            let _end = CloseOnDrop(&slots);
            // The first response is the schema; then there is one per message if its hits fit into one.
            responses.message().await?;
            while let Some(response) = responses.message().await? {
                let hits = arrow_flight::utils::flight_data_to_arrow_batch(
                    &response,
                    response::schema(Output::Hits),
                    &std::collections::HashMap::new(),
                )
                .map_err(|error| Status::internal(error.to_string()))?;
                let Some((index, at)) = dues.recv().await else {
                    return Err(Status::internal("an unexpected response"));
                };
                let message = self.message(index);
                let same = hits.num_rows() == message.n_hits && bytes_of(&hits) == message.hits;
                self.counts.note(message, at, same);
                slots.add_permits(1);
            }
            Ok(())
        };
        let ((), received) = tokio::join!(sending, receiving);
        received?;
        if dues.recv().await.is_some() {
            return Err(Status::data_loss("a message has no response"));
        }
        *start += self.args.messages;
        Ok(())
    }

    pub async fn kserve(&self) {
        let slots = Arc::new(tokio::sync::Semaphore::new(self.args.depth));
        let calls = futures::stream::iter(0..).map(|index| {
            let slots = Arc::clone(&slots);
            async move {
                let at = self.due(index);
                // Even a sleep of zero takes a millisecond.
                if at > Instant::now() {
                    tokio::time::sleep_until(at.into()).await;
                }
                let _permit = if self.args.rate > 0.0 {
                    None
                } else {
                    slots.acquire_owned().await.ok()
                };
                if Instant::now() >= self.end {
                    return false;
                }
                let started = Instant::now();
                let at = if self.args.rate > 0.0 { at } else { started };
                match self.call(index).await {
                    Ok(same) => self.counts.note(self.message(index), at, same),
                    Err(status) => {
                        self.counts.note_error(&status, started);
                        if self.args.rate <= 0.0 {
                            tokio::time::sleep(Duration::from_millis(self.args.backoff)).await;
                        }
                    }
                }
                true
            }
        });
        // With a rate, requests do not wait for earlier ones, like those of independent users.
        let max_calls = if self.args.rate > 0.0 {
            4096
        } else {
            self.args.depth
        };
        let mut calls = std::pin::pin!(
            calls
                .buffer_unordered(max_calls)
                .take_while(|go_on| { std::future::ready(*go_on) })
        );
        while calls.next().await.is_some() {}
    }

    pub async fn call(&self, index: usize) -> Result<bool, Status> {
        let message = self.message(index);
        let response = self.send(message, None).await?;
        let hits = response.raw_output_contents.iter().skip(1).flatten();
        Ok(hits.eq(&message.hits))
    }

    pub async fn send(
        &self,
        message: &Message,
        timeout: Option<Duration>,
    ) -> Result<InferResponse, Status> {
        // A stream without a declared length, as gRPC clients send it.
        let frame = Ok::<_, Status>(http_body::Frame::data(message.kserve.clone()));
        let body = http_body_util::StreamBody::new(futures::stream::iter([frame]));
        let mut request = http::Request::post("/inference.GRPCInferenceService/ModelInfer")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", format!("{}u", timeout.as_micros()));
        }
        let request = request.body(Body::new(body));
        let request = request.map_err(|error| Status::internal(error.to_string()))?;
        let response = self.channel.clone().oneshot(request).await;
        let response = response.map_err(|error| Status::from_error(error.into()))?;
        if let Some(status) = Status::from_header_map(response.headers()) {
            return Err(status);
        }
        let decoder = ProstCodec::<InferRequest, InferResponse>::default().decoder();
        let status = response.status();
        let mut responses = Streaming::new_response(
            decoder,
            response.into_body(),
            status,
            None,
            Some(usize::MAX),
        );
        let response = responses.message().await?;
        response.ok_or_else(|| Status::internal("a response without a message"))
    }
}
