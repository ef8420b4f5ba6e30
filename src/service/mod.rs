//! The network service: one process owns the GPU or the cores and extracts the waveforms of many clients.
//!
//! [`listen`] accepts connections. `router` dispatches requests by protocol (Arrow Flight in `flight`, KServe v2 in
//! `kserve`, plain HTTP in `http`) after `admission` has checked the token ([`auth`]) and reserved memory ([`budget`]).
//! The waveforms of a request are a job in the queue of a [`batcher`]; there is one per configuration in [`backends`], and
//! it merges the jobs of all clients into batches. [`response`] encodes the hits, waveform summaries or events.

mod admission;
pub mod auth;
pub mod backends;
pub mod batcher;
pub mod budget;
pub mod command;
mod flight;
mod http;
pub mod kserve;
pub mod listen;
pub mod local_files;
mod metered_body;
pub mod metrics;
pub mod rejection;
mod request;
pub mod response;
mod router;
pub mod state;
mod stream;
pub mod tls;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::server::graceful::GracefulShutdown;
use rayon::ThreadPool;
use tokio::sync::Semaphore;
use tonic_health::ServingStatus;

use crate::error::{Error, Result};
use crate::pipeline::CancelToken;
use auth::Tokens;
use backends::{Backends, Setup};
use batcher::Batching;
use budget::Budget;
use listen::{Acceptor, Address, Listener};
use local_files::LocalFiles;
use metrics::Metrics;
use state::{Limits, ServiceState};

/// The interval between two checks for cancellation.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The time that connections have to close after their requests have ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The services that `grpc.health.v1` reports, the server as a whole first.
const HEALTH_SERVICES: [&str; 3] = ["", flight::NAME, kserve::NAME];

/// The configuration of the service.
pub struct Options {
    /// The addresses to listen on.
    pub listen: Vec<Address>,
    /// The certificates for TCP connections; unencrypted if absent.
    pub tls: Option<tls::Files>,
    /// The accepted tokens; no authentication if absent.
    pub tokens: Option<Tokens>,
    /// The limits on requests and connections.
    pub limits: Limits,
    /// The size and delay of batches.
    pub batching: Batching,
    /// Calibrations, readout and the constructor of backends.
    pub setup: Setup,
    /// The thread pool of all extraction and reconstruction.
    pub pool: Arc<ThreadPool>,
    /// The description of the backend for the status page.
    pub backend_line: String,
    /// Access to files of this machine, if allowed.
    pub local_files: Option<LocalFiles>,
}

impl Options {
    /// Rejects an address that other machines can reach without encryption and authentication.
    ///
    /// # Errors
    /// If other machines can reach an address, and encryption or tokens are missing.
    pub fn check(&self) -> Result<()> {
        let Some(address) = self.listen.iter().find(|it| it.is_public()) else {
            return Ok(());
        };
        if self.tls.is_none() || self.tokens.is_none() {
            return Err(Error::usage(format!(
                "the address `{address}` can be reached from other machines, which requires encryption and authentication"
            )));
        }
        Ok(())
    }
}

/// Serves until `cancel` is set, then lets running requests finish. Calls `ready` with the addresses once requests are accepted.
///
/// # Errors
/// If an address cannot be bound, the certificates are invalid, or the backend cannot be created.
pub fn run(options: Options, cancel: &CancelToken, ready: impl FnOnce(&[Address])) -> Result<()> {
    options.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("service")
        .build()
        .map_err(|error| {
            Error::internal("cannot start the threads of the service").with_source(error)
        })?;
    let result = runtime.block_on(serve(options, cancel, ready));
    // A pass over local files ends at its next batch; everything else has ended.
    runtime.shutdown_timeout(CLOSE_TIMEOUT);
    result
}

async fn serve(
    options: Options,
    cancel: &CancelToken,
    ready: impl FnOnce(&[Address]),
) -> Result<()> {
    let Options {
        listen,
        tls,
        tokens,
        limits,
        batching,
        setup,
        pool,
        backend_line,
        local_files,
    } = options;
    let tls = tls.as_ref().map(tls::server).transpose()?;
    let mut listeners = Vec::new();
    for address in &listen {
        listeners.push(Listener::bind(address).await?);
    }
    let addresses: Vec<Address> = listeners
        .iter()
        .map(Listener::address)
        .collect::<Result<_>>()?;
    let budget = Arc::new(Budget::new(limits.memory));
    let metrics = Arc::new(Metrics::new(Arc::clone(&budget)));
    let backends = Backends::new(setup, pool, batching, Arc::clone(&metrics));
    let state = Arc::new(ServiceState::new(
        backends,
        limits,
        Arc::clone(&metrics),
        budget,
        backend_line,
        local_files,
    ));
    let (reporter, health) = tonic_health::server::health_reporter();
    for service in HEALTH_SERVICES {
        reporter
            .set_service_status(service, ServingStatus::NotServing)
            .await;
    }
    let acceptor = Arc::new(Acceptor {
        router: router::build(&state, tokens.map(Arc::new), health),
        state: Arc::clone(&state),
        tls,
        // `Semaphore::new` panics above this number.
        connection_slots: Arc::new(Semaphore::new(
            limits.connections.min(Semaphore::MAX_PERMITS),
        )),
        graceful: GracefulShutdown::new(),
    });
    let accept_tasks: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let acceptor = Arc::clone(&acceptor);
            tokio::spawn(async move { acceptor.accept(&listener).await })
        })
        .collect();
    let ticker = tokio::spawn({
        let metrics = Arc::clone(&metrics);
        async move {
            let mut second = tokio::time::interval(Duration::from_secs(1));
            loop {
                second.tick().await;
                metrics.tick();
            }
        }
    });
    // Liveness is already served while the backend warms up.
    state.backends.warm_up().await?;
    state.set_ready();
    for service in HEALTH_SERVICES {
        reporter
            .set_service_status(service, ServingStatus::Serving)
            .await;
    }
    ready(&addresses);
    while !cancel.is_cancelled() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    state.drain();
    for service in HEALTH_SERVICES {
        reporter
            .set_service_status(service, ServingStatus::NotServing)
            .await;
    }
    let drain_end = Instant::now() + limits.drain;
    wait_until_idle(&metrics, limits.drain).await;
    state.abort();
    wait_until_idle(&metrics, CLOSE_TIMEOUT).await;
    ticker.abort();
    for task in accept_tasks {
        task.abort();
        // The listener is dropped here, which closes and removes its socket.
        let _ = task.await;
    }
    if let Ok(acceptor) = Arc::try_unwrap(acceptor).map_err(drop) {
        // Finished responses may still be in the send buffers.
        let left = drain_end
            .saturating_duration_since(Instant::now())
            .max(CLOSE_TIMEOUT);
        let _ = tokio::time::timeout(left, acceptor.graceful.shutdown()).await;
    }
    Ok(())
}

/// Waits until no request is active, for at most `timeout`.
async fn wait_until_idle(metrics: &Metrics, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    while metrics.active.get() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
