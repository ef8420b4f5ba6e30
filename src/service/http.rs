//! Plain HTTP: health checks, metrics and the status page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::state::ServiceState;

/// The status page, which fetches `/status.json` every second.
const PAGE: &str = include_str!("status.html");
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// The content type that Prometheus expects for this encoding.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Builds the routes.
pub fn routes() -> axum::Router<Arc<ServiceState>> {
    axum::Router::new()
        .route(
            "/",
            get(|| async { typed("text/html; charset=utf-8", PAGE) }),
        )
        .route("/status.json", get(status))
        .route("/metrics", get(metrics))
        .route("/v2", get(server))
        .route("/v2/health/live", get(|| async { typed(TEXT, "live\n") }))
        .route("/v2/health/ready", get(ready))
}

fn typed(kind: &'static str, body: impl IntoResponse) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")], body).into_response()
}

async fn ready(State(state): State<Arc<ServiceState>>) -> Response {
    match state.check_ready() {
        Ok(()) => typed(TEXT, format!("ready, {}\n", backend(&state))),
        Err(rejection) => {
            let mut response = typed(TEXT, format!("{}\n", rejection.message));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
    }
}

async fn metrics(State(state): State<Arc<ServiceState>>) -> Response {
    typed(METRICS, state.metrics.text())
}

/// Returns the description of the backend, and whether it was replaced by the CPU.
fn backend(state: &ServiceState) -> String {
    if state.metrics.gave_up() {
        return format!("{}; failed, replaced by the CPU", state.backend_line);
    }
    state.backend_line.clone()
}

async fn server() -> Response {
    let about = serde_json::json!({
        "name": "nuwave",
        "version": crate::VERSION,
        "extensions": [],
    });
    typed(JSON, about.to_string())
}

async fn status(State(state): State<Arc<ServiceState>>) -> Response {
    let setup = state.backends.setup();
    let mut status = serde_json::to_value(state.metrics.snapshot()).unwrap_or_default();
    if let serde_json::Value::Object(fields) = &mut status {
        let ready = state.check_ready().map_err(|rejection| rejection.message);
        let readiness = ready.map_or_else(|why| why, |()| "ready".to_owned());
        fields.insert("version".to_owned(), crate::VERSION.into());
        fields.insert("commit".to_owned(), crate::COMMIT.into());
        fields.insert("state".to_owned(), readiness.into());
        fields.insert("backend".to_owned(), backend(&state).into());
        let names: Vec<&str> = setup.calibrations.keys().map(String::as_str).collect();
        fields.insert("calibrations".to_owned(), names.into());
    }
    typed(JSON, status.to_string())
}
