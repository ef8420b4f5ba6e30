//! `ModelStreamInfer`: queues incoming requests, and sends their responses in order at the same time.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::{Request, Status, Streaming};

use super::messages::{InferRequest, InferResponse, Parameter, StreamInferResponse, Value};
use super::{KServe, PROTOCOL, Submitted};
use crate::service::budget::{BudgetPermit, SharedPermit};
use crate::service::rejection::Rejection;
use crate::service::request::{ActiveRequest, next_message};
use crate::service::state::Client;
use crate::service::stream::{FlowWindow, Next, ResponseSender, read_and_respond};

type ResponseStream = Pin<Box<dyn Stream<Item = Result<StreamInferResponse, Status>> + Send>>;

/// A request of a stream that is in flight.
struct Pending {
    id: String,
    submitted: Result<Submitted, Rejection>,
    window_permit: OwnedSemaphorePermit,
}

impl KServe {
    /// Processes a stream of requests. Each has its own response, in order.
    pub(super) fn stream_infer(
        &self,
        request: Request<Streaming<InferRequest>>,
    ) -> Result<ResponseStream, Status> {
        let metadata = request.metadata();
        let mut active = ActiveRequest::start(&self.state, PROTOCOL, "ModelStreamInfer", metadata);
        let client = request.extensions().get::<Client>();
        let permit = active.or_reject(self.state.admit_stream(client))?;
        let (service, messages) = (self.clone(), request.into_inner());
        Ok(Box::pin(active.respond_stream(|responses| {
            service.exchange(messages, responses, permit)
        })))
    }

    async fn exchange(
        self,
        messages: Streaming<InferRequest>,
        responses: ResponseSender<StreamInferResponse>,
        permit: BudgetPermit,
    ) -> Result<(), Rejection> {
        // Jobs share the permit, because they may be in the queue after the request has ended.
        let permit: SharedPermit = Arc::new(permit);
        read_and_respond(
            |sender| self.read(messages, &permit, sender),
            |pending| self.write(pending, &responses),
        )
        .await
    }

    /// Sends one response per request, in order.
    async fn write(
        &self,
        mut pending: mpsc::Receiver<Next<Pending>>,
        responses: &ResponseSender<StreamInferResponse>,
    ) -> Result<(), Rejection> {
        while let Some(next) = pending.recv().await {
            let Pending {
                id,
                submitted,
                window_permit,
            } = next?;
            let result = match submitted {
                Ok(submitted) => self.finish(submitted).await,
                Err(rejection) => Err(rejection),
            };
            let response = match result {
                Ok(response) => StreamInferResponse {
                    error_message: String::new(),
                    infer_response: Some(response),
                },
                Err(rejection) => {
                    self.state.metrics.record_rejection(&rejection);
                    let mut response = InferResponse {
                        id,
                        ..InferResponse::default()
                    };
                    let label = rejection.reason.label();
                    response.parameters = text_parameters([
                        ("reason", Some(label.to_owned())),
                        ("limit", rejection.limit.map(|limit| limit.to_string())),
                        ("hint", rejection.hint),
                    ]);
                    StreamInferResponse {
                        error_message: format!("{label}: {}", rejection.message),
                        infer_response: Some(response),
                    }
                }
            };
            responses.send(response).await?;
            drop(window_permit);
        }
        Ok(())
    }

    async fn read(
        &self,
        mut messages: Streaming<InferRequest>,
        permit: &SharedPermit,
        pending: mpsc::Sender<Next<Pending>>,
    ) -> Result<(), Rejection> {
        let state = &self.state;
        let window = FlowWindow::new(state.limits.message);
        while let Some(request) =
            next_message(state, &mut messages, || window.has_pending()).await?
        {
            let window_permit = window.acquire(request.encoded_len()).await?;
            let id = request.id.clone();
            let submitted = self.submit(request, Arc::clone(permit)).await;
            let next = Pending {
                id,
                submitted,
                window_permit,
            };
            if pending.send(Ok(next)).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Returns the parameters that have a value.
fn text_parameters<const N: usize>(
    texts: [(&str, Option<String>); N],
) -> HashMap<String, Parameter> {
    let parameter = |(name, text): (&str, Option<String>)| {
        let value = Some(Value::Text(text?));
        Some((name.to_owned(), Parameter { value }))
    };
    texts.into_iter().filter_map(parameter).collect()
}
