//! All doors behind one address: gRPC and HTTP, told apart by their paths; who comes in, and what a call may take.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Polling, Poll};

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::ServiceExt as _;

use super::budget::Permit;
use super::context::{Client, Context};
use super::flight::Flight;
use super::http as web;
use super::kserve::{self, KServe};
use super::refusal::{Reason, Refusal};
use super::token::Tokens;

/// What is answered to everybody: whether the process lives.
const OPEN: [&str; 2] = [
    "/v2/health/live",
    "/inference.GRPCInferenceService/ServerLive",
];
/// Calls with one request, whose bytes are counted as they come.
const METERED: [&str; 1] = ["/inference.GRPCInferenceService/ModelInfer"];
const GRPC: &str = "application/grpc";
const GRPC_STATUS: &str = "grpc-status";

/// Who keeps the doors.
#[derive(Clone)]
struct Guard {
    context: Arc<Context>,
    tokens: Option<Arc<Tokens>>,
}

/// All doors to `context`, open to those who have one of `tokens`.
pub fn all(
    context: &Arc<Context>,
    tokens: Option<Arc<Tokens>>,
    health: HealthServer<impl Health>,
) -> Router {
    let flight = FlightServiceServer::new(Flight::new(Arc::clone(context)))
        .max_decoding_message_size(context.limits.message)
        .max_encoding_message_size(usize::MAX);
    let flight = flight.map_request(|it: Request| it.map(tonic::body::Body::new));
    let health = health.map_request(|it: Request| it.map(tonic::body::Body::new));
    let kserve = |State(context): State<Arc<Context>>, request: Request| async move {
        KServe::new(context).serve(request).await
    };
    let guard = Guard {
        context: Arc::clone(context),
        tokens,
    };
    web::routes()
        .route(&format!("/{}/{{*method}}", kserve::NAME), any(kserve))
        .route_service("/arrow.flight.protocol.FlightService/{*method}", flight)
        .route_service("/grpc.health.v1.Health/{*method}", health)
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is nothing here\n") })
        .layer(from_fn_with_state(guard, admit))
        .with_state(Arc::clone(context))
}

/// Lets a call in, or says why not.
async fn admit(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if let Some(tokens) = &guard.tokens
        && !OPEN.contains(&path.as_str())
        && !tokens.open(request.headers())
    {
        let refusal = Refusal::new(
            Reason::Token,
            "the token is missing or wrong; send `authorization: Bearer TOKEN`",
        );
        guard.context.metrics.note_refusal(&refusal);
        return refuse(&request, refusal);
    }
    if METERED.contains(&path.as_str())
        && let Some(client) = request.extensions().get::<Client>()
    {
        // Held until the answer is made; what comes in is added to it.
        let Ok(permit) = client.ledger.take(0) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let permit = Arc::new(Mutex::new(permit));
        let held = Arc::clone(&permit);
        request = request.map(|inner| Body::new(Metered { inner, permit }));
        let response = next.run(request).await;
        drop(held);
        return told(response, &guard.context);
    }
    next.run(request).await
}

/// The answer to a call that is not let in, as its kind of client understands it.
fn refuse(request: &Request, refusal: Refusal) -> Response {
    let kind = request.headers().get(CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|it| it.as_bytes().starts_with(GRPC.as_bytes()));
    if is_grpc {
        return Status::from(refusal).into_http::<Body>();
    }
    // Browsers ask for a password then, which is the token.
    let ask = HeaderValue::from_static("Basic realm=\"nuwave\", charset=\"UTF-8\"");
    let message = format!("{}\n", refusal.message);
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, ask)], message).into_response()
}

/// What the transport itself refused, in this service's words and counts.
fn told(response: Response, context: &Context) -> Response {
    let code = response.headers().get(GRPC_STATUS);
    let is = |number: tonic::Code| {
        code.is_some_and(|it| it.as_bytes() == (number as i32).to_string().as_bytes())
    };
    if !is(tonic::Code::OutOfRange) {
        return response;
    }
    let status = Status::from_header_map(response.headers());
    let status = status.unwrap_or_else(|| Status::out_of_range("a message is too large"));
    let refusal = Refusal::of_transport(&status, context.limits.message);
    context.metrics.note_refusal(&refusal);
    Status::from(refusal).into_http::<Body>()
}

/// The body of a call whose bytes are counted before anything is kept of them.
struct Metered {
    inner: Body,
    permit: Arc<Mutex<Permit>>,
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Polling<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let mut permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(refusal) = permit.grow(data.len() as u64) {
                return Poll::Ready(Some(Err(Status::from(refusal).into())));
            }
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
