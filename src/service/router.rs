//! The router: dispatches requests of all protocols, which share one address, by their path.

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::any;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::ServiceExt as _;

use super::admission::{Admission, HEALTH, admit};
use super::auth::Tokens;
use super::flight::{self, Flight};
use super::http as web;
use super::kserve::{self, KServe};
use super::state::ServiceState;

/// Builds the router of all protocols for clients with one of `tokens`, or for everybody if there are none.
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
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
        .layer(from_fn_with_state(admission, admit))
        .with_state(Arc::clone(state))
}
