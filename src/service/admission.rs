//! Admission of requests: who may send requests, and what a request may take.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tonic::Status;

use super::auth::Tokens;
use super::budget::SharedPermit;
use super::metered_body::{MAX_SMALL_REQUEST, MeteredBody, PermitBody};
use super::rejection::{REASON, Reason, Rejection};
use super::state::{Client, RequestPermit, ServiceState};
use super::{flight, kserve};

/// A method of gRPC: the name of its service, and its own.
type Method = (&'static str, &'static str);

/// What is answered to everybody: whether the process lives.
const LIVE: &str = "/v2/health/live";
const SERVER_LIVE: Method = (kserve::NAME, "ServerLive");
/// The services of gRPC.
const SERVICES: [&str; 3] = [flight::NAME, kserve::NAME, HEALTH];
pub const HEALTH: &str = "grpc.health.v1.Health";
/// The call with one large request, whose memory is counted.
const INFER: Method = (kserve::NAME, "ModelInfer");
/// Calls with streams of requests, which count for themselves.
const STREAMS: [Method; 2] = [
    (kserve::NAME, "ModelStreamInfer"),
    (flight::NAME, "DoExchange"),
];
const GRPC: &str = "application/grpc";

/// Who keeps the doors.
#[derive(Clone)]
pub struct Admission {
    pub state: Arc<ServiceState>,
    pub tokens: Option<Arc<Tokens>>,
}

/// Lets a call in, or says why not.
pub async fn admit(
    State(admission): State<Admission>,
    mut request: Request,
    next: Next,
) -> Response {
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
        .map(|inner| Body::new(PermitBody::new(inner, held)))
}

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
