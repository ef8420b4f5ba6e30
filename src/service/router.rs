//! All doors behind one address: gRPC and HTTP, translate_transport_rejection apart by their paths; who comes in, and what a call may take.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};

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
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::ServiceExt as _;

use super::auth::Tokens;
use super::batcher::SharedPermit;
use super::budget::BudgetPermit;
use super::flight::{self, Flight};
use super::http as web;
use super::kserve::{self, KServe};
use super::rejection::{REASON, Reason, Rejection};
use super::state::{Client, ServiceState};

/// A method of gRPC: the name of its service, and its own.
type Method = (&'static str, &'static str);

/// What is answered to everybody: whether the process lives.
const LIVE: &str = "/v2/health/live";
const SERVER_LIVE: Method = (kserve::NAME, "ServerLive");
/// The services of gRPC.
const SERVICES: [&str; 3] = [flight::NAME, kserve::NAME, HEALTH];
const HEALTH: &str = "grpc.health.v1.Health";
/// The call with one large request, whose memory is counted.
const INFER: Method = (kserve::NAME, "ModelInfer");
/// Calls with streams of requests, which count for themselves.
const STREAMS: [Method; 2] = [
    (kserve::NAME, "ModelStreamInfer"),
    (flight::NAME, "DoExchange"),
];
/// Most bytes of every other request.
const MAX_SMALL_REQUEST: u64 = 256 << 10;
/// Bytes that have to come within each idle time.
const BYTES_PER_IDLE_PERIOD: u64 = 1 << 20;
const GRPC: &str = "application/grpc";

/// Who keeps the doors.
#[derive(Clone)]
struct Admission {
    state: Arc<ServiceState>,
    tokens: Option<Arc<Tokens>>,
}

/// All doors to `state`, open to those who have one of `tokens`.
pub fn build(
    state: &Arc<ServiceState>,
    tokens: Option<Arc<Tokens>>,
    health: HealthServer<impl Health>,
) -> Router {
    let flight = FlightServiceServer::new(Flight::new(Arc::clone(state)))
        .max_decoding_message_size(state.limits.message)
        .max_encoding_message_size(usize::MAX);
    let flight = flight.map_request(|it: Request| it.map(tonic::body::Body::new));
    let health = health.map_request(|it: Request| it.map(tonic::body::Body::new));
    let kserve = |State(state): State<Arc<ServiceState>>, request: Request| async move {
        KServe::new(state).serve(request).await
    };
    let admission = Admission {
        state: Arc::clone(state),
        tokens,
    };
    web::routes()
        .route(&format!("/{}/{{*method}}", kserve::NAME), any(kserve))
        .route_service(&format!("/{}/{{*method}}", flight::NAME), flight)
        .route_service(&format!("/{HEALTH}/{{*method}}"), health)
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is nothing here\n") })
        .layer(from_fn_with_state(admission, admit))
        .with_state(Arc::clone(state))
}

/// Lets a call in, or says why not.
async fn admit(State(admission): State<Admission>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let parts = path.strip_prefix('/').and_then(|it| it.split_once('/'));
    let method = parts.unwrap_or_default();
    if let Some(tokens) = &admission.tokens
        && path != LIVE
        && method != SERVER_LIVE
        && !tokens.authorize(request.headers())
    {
        let rejection = Rejection::new(
            Reason::Token,
            "the token is missing or wrong; send `authorization: Bearer TOKEN`",
        );
        admission.state.metrics.note_rejection(&rejection);
        return reject(&request, rejection);
    }
    if !is_grpc(&request) {
        // What comes over plain HTTP has no body that anybody reads; gRPC's methods would.
        if SERVICES.contains(&method.0) {
            return (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "this is a gRPC method\n",
            )
                .into_response();
        }
        return next.run(request).await;
    }
    if STREAMS.contains(&method) {
        return next.run(request).await;
    }
    let is_infer = method == INFER;
    let permit = match request.extensions().get::<Client>() {
        Some(client) if is_infer => client.ledger.try_acquire(0),
        Some(client) => client.ledger.try_acquire(MAX_SMALL_REQUEST),
        None => Err(Rejection::internal("a call without a client")),
    };
    let permit = match permit {
        Ok(permit) => Arc::new(Mutex::new(permit)),
        Err(rejection) => {
            admission.state.metrics.note_rejection(&rejection);
            return reject(&request, rejection);
        }
    };
    if is_infer {
        let held = Arc::clone(&permit) as SharedPermit;
        request.extensions_mut().insert(RequestPermit(held));
    }
    let held = Arc::clone(&permit);
    let state = Arc::clone(&admission.state);
    request = request.map(|inner| Body::new(MeteredBody::new(inner, permit, state, is_infer)));
    let response = next.run(request).await;
    // The response is memory too, until it is sent.
    translate_transport_rejection(response, &admission.state)
        .map(|inner| Body::new(PermitBody { inner, _held: held }))
}

/// What a call holds of its client's budget, for its jobs to hold as well.
#[derive(Clone)]
pub struct RequestPermit(pub SharedPermit);

fn is_grpc(request: &Request) -> bool {
    let kind = request.headers().get(CONTENT_TYPE);
    kind.is_some_and(|it| it.as_bytes().starts_with(GRPC.as_bytes()))
}

/// The response to a call that is not let in, as its kind of client understands it.
fn reject(request: &Request, rejection: Rejection) -> Response {
    if is_grpc(request) {
        return Status::from(rejection).into_http::<Body>();
    }
    // Browsers ask for a password then, which is the token.
    let ask = HeaderValue::from_static("Basic realm=\"nuwave\", charset=\"UTF-8\"");
    let message = format!("{}\n", rejection.message);
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, ask)], message).into_response()
}

/// What the transport itself rejected, in this service's words and counts.
fn translate_transport_rejection(response: Response, state: &ServiceState) -> Response {
    let headers = response.headers();
    let Some(status) = Status::from_header_map(headers) else {
        return response;
    };
    let own = headers.contains_key(REASON);
    let transport_codes = [
        tonic::Code::OutOfRange,
        tonic::Code::Internal,
        tonic::Code::Unknown,
    ];
    if own || !transport_codes.contains(&status.code()) {
        return response;
    }
    let rejection = Rejection::from_transport(&status, state.limits.message);
    state.metrics.note_rejection(&rejection);
    Status::from(rejection).into_http::<Body>()
}

/// The body of an response, with what it holds until it is sent.
struct PermitBody {
    inner: Body,
    _held: Arc<Mutex<BudgetPermit>>,
}

impl HttpBody for PermitBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Bytes in front of a message: whether it is compressed, and its length.
const FRAME_HEADER: usize = 5;

/// The body of a call with one message. The memory of a large one is reserved as soon as its first bytes say how long it is: who
/// does not fit is rejected before the rest is sent. And it has to come at a pace.
struct MeteredBody {
    inner: Body,
    permit: Arc<Mutex<BudgetPermit>>,
    state: Arc<ServiceState>,
    /// True for a large message; others have their memory already.
    grows: bool,
    /// The first bytes, as far as they have come.
    prefix: Vec<u8>,
    /// Bytes that received, and those that were reserved for them.
    received: u64,
    reserved: u64,
    started: Instant,
    timer: Pin<Box<Sleep>>,
}

impl MeteredBody {
    fn of(
        inner: Body,
        permit: Arc<Mutex<BudgetPermit>>,
        state: Arc<ServiceState>,
        grows: bool,
    ) -> Self {
        Self {
            inner,
            permit,
            grows,
            prefix: Vec::new(),
            received: 0,
            reserved: 0,
            started: Instant::now(),
            timer: Box::pin(tokio::time::sleep(state.limits.idle)),
            state,
        }
    }

    fn count(&mut self, data: &[u8]) -> Result<(), Rejection> {
        self.received += data.len() as u64;
        if !self.grows {
            return if self.received <= MAX_SMALL_REQUEST {
                Ok(())
            } else {
                Err(Rejection::new(
                    Reason::MessageSize,
                    format!("this call's request may have {MAX_SMALL_REQUEST} bytes"),
                ))
            };
        }
        if self.prefix.len() < FRAME_HEADER {
            let missing = FRAME_HEADER - self.prefix.len();
            self.prefix.extend(data.iter().take(missing));
        }
        let mut needed = self.received;
        if let [_, length @ ..] = self.prefix.as_slice()
            && let Ok(length) = <[u8; 4]>::try_from(length)
        {
            // What is larger than a message may be the transport refuses, with that as its reason.
            let length = u64::from(u32::from_be_bytes(length));
            if length <= self.state.limits.message as u64 {
                needed = needed.max(FRAME_HEADER as u64 + length);
            }
        }
        let more = needed.saturating_sub(self.reserved);
        if more > 0 {
            let mut permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
            permit.grow(more)?;
            self.reserved = needed;
        }
        Ok(())
    }

    /// True if it should have come further by now.
    fn is_late(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let idle = self.state.limits.idle;
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            let periods =
                u32::try_from(1 + self.received / BYTES_PER_IDLE_PERIOD).unwrap_or(u32::MAX);
            let Some(until) = self.started.checked_add(idle.saturating_mul(periods)) else {
                return false;
            };
            if until <= Instant::now() {
                return true;
            }
            self.timer.as_mut().reset(until);
        }
    }
}

impl HttpBody for MeteredBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        let rejected = match &polled {
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(data) => self.count(data).err(),
                None => None,
            },
            Poll::Pending if self.is_late(cx) => Some(Rejection::new(
                Reason::Idle,
                format!(
                    "the request did not come whole: {} bytes in {:?} (`--idle`)",
                    self.received,
                    self.started.elapsed()
                ),
            )),
            _ => None,
        };
        if let Some(rejection) = rejected {
            self.state.metrics.note_rejection(&rejection);
            return Poll::Ready(Some(Err(Status::from(rejection).into())));
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
