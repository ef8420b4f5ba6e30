//! Admission control: checks the token of each request and reserves the memory for it.

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

/// A gRPC method: the names of its service and of the method.
type Method = (&'static str, &'static str);

/// The liveness checks, which need no token.
const LIVE: &str = "/v2/health/live";
const SERVER_LIVE: Method = (kserve::NAME, "ServerLive");
/// The gRPC services.
const SERVICES: [&str; 3] = [flight::NAME, kserve::NAME, HEALTH];
/// The health service of gRPC.
pub const HEALTH: &str = "grpc.health.v1.Health";
/// The unary method with large requests, whose memory is reserved by their size.
const INFER: Method = (kserve::NAME, "ModelInfer");
/// The streaming methods, which reserve their memory themselves.
const STREAMS: [Method; 2] = [
    (kserve::NAME, "ModelStreamInfer"),
    (flight::NAME, "DoExchange"),
];
const GRPC: &str = "application/grpc";

/// The state of the admission middleware.
#[derive(Clone)]
pub struct Admission {
    /// The state that all requests share.
    pub state: Arc<ServiceState>,
    /// The accepted tokens; no authentication if absent.
    pub tokens: Option<Arc<Tokens>>,
}

/// Admits a request, or responds with a rejection.
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
        admission.state.metrics.record_rejection(&rejection);
        return reject(&request, rejection);
    }
    if !is_grpc(&request) {
        // Plain HTTP requests have no body that is read, so they need no memory; the gRPC services would read it.
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
        None => Err(Rejection::internal("a request without a connection")),
    };
    let permit = match permit {
        Ok(permit) => Arc::new(Mutex::new(permit)),
        Err(rejection) => {
            admission.state.metrics.record_rejection(&rejection);
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
    // The response takes memory too until it is sent.
    translate_transport_rejection(response, &admission.state)
        .map(|inner| Body::new(PermitBody::new(inner, held)))
}

fn is_grpc(request: &Request) -> bool {
    let kind = request.headers().get(CONTENT_TYPE);
    kind.is_some_and(|it| it.as_bytes().starts_with(GRPC.as_bytes()))
}

/// Builds the response to a rejected request, as gRPC or HTTP.
fn reject(request: &Request, rejection: Rejection) -> Response {
    if is_grpc(request) {
        return Status::from(rejection).into_http::<Body>();
    }
    // With this header browsers ask for a password, which is the token.
    let challenge = HeaderValue::from_static("Basic realm=\"nuwave\", charset=\"UTF-8\"");
    let message = format!("{}\n", rejection.message);
    (
        StatusCode::UNAUTHORIZED,
        [(WWW_AUTHENTICATE, challenge)],
        message,
    )
        .into_response()
}

/// Replaces a rejection by the transport itself with one of this service, and counts it.
fn translate_transport_rejection(response: Response, state: &ServiceState) -> Response {
    let headers = response.headers();
    let Some(status) = Status::from_header_map(headers) else {
        return response;
    };
    let is_own = headers.contains_key(REASON);
    let transport_codes = [
        tonic::Code::OutOfRange,
        tonic::Code::Internal,
        tonic::Code::Unknown,
    ];
    if is_own || !transport_codes.contains(&status.code()) {
        return response;
    }
    let rejection = Rejection::from_transport(&status, state.limits.message);
    state.metrics.record_rejection(&rejection);
    Status::from(rejection).into_http::<Body>()
}
