//! The network service: one process holds the GPU or the cores, and many clients send it their waveforms.
//!
//! Clients come in over [`listen`], pass the `doors` (Arrow Flight in `flight`, KServe v2 in `kserve`, `http`), get
//! memory from the [`budget`], and their waveforms wait in a [`batcher`] of the [`backends`], where jobs of all clients are joined into
//! batches. `response` makes of hits what goes back.

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

/// How often the service looks whether it is to end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Time that connections have to close once their calls have ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Services that `grpc.health.v1` knows, the whole one first.
const HEALTH_SERVICES: [&str; 3] = ["", flight::NAME, kserve::NAME];

/// How the service is run.
pub struct Options {
    /// Where it listens.
    pub listen: Vec<Address>,
    /// Certificates, for what comes over TCP.
    pub tls: Option<tls::Files>,
    /// Who may come in; everybody where there are none.
    pub tokens: Option<Tokens>,
    /// What clients may take.
    pub limits: Limits,
    /// How jobs are joined.
    pub batching: Batching,
    /// What it computes with.
    pub setup: Setup,
    /// The backend, for people.
    pub backend_line: String,
    /// Files on this machine, where it may read them.
    pub local_files: Option<LocalFiles>,
}

impl Options {
    /// Refuses what would let anybody in.
    ///
    /// # Errors
    /// If other machines can reach an address and there is no encryption, or no token.
    pub fn check(&self) -> Result<()> {
        let Some(address) = self.listen.iter().find(|it| it.is_public()) else {
            return Ok(());
        };
        if self.tls.is_none() || self.tokens.is_none() {
            return Err(Error::usage(format!(
                "`--listen {address}` can be reached from other machines: that needs `--tls-certificate`, `--tls-key` and `--token-file`"
            ))
            .with_hint("listen at `127.0.0.1:8815` or `unix:PATH` for this machine alone"));
        }
        Ok(())
    }
}

/// Serves until `cancel` is set, then lets running calls finish. `ready` is told where, once work is taken.
///
/// # Errors
/// If an address cannot be taken, the certificates do not fit, or the backend cannot be made.
pub fn run(options: Options, cancel: &CancelToken, ready: impl FnOnce(&[Address])) -> Result<()> {
    options.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("service")
        .build()
        .map_err(|error| Error::internal("no threads for the service").with_source(error))?;
    let result = runtime.block_on(serve(options, cancel, ready));
    // A pass over files ends at its next block; nothing else is left that would be worth waiting for.
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
    let backends = Backends::new(setup, batching, Arc::clone(&metrics));
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
        connection_slots: Arc::new(Semaphore::new(limits.connections)),
        graceful: GracefulShutdown::new(),
    });
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let acceptor = Arc::clone(&acceptor);
            tokio::spawn(async move { acceptor.accept(&listener).await })
        })
        .collect();
    let ticking = tokio::spawn({
        let metrics = Arc::clone(&metrics);
        async move {
            let mut second = tokio::time::interval(Duration::from_secs(1));
            loop {
                second.tick().await;
                metrics.tick();
            }
        }
    });
    // Whether it lives can be asked already.
    let warm = state.backends.warm_up().await;
    warm.map_err(|rejection| Error::usage(rejection.message))?;
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
    ticking.abort();
    for accepting in accepting {
        accepting.abort();
        // Its socket is closed, and removed, before the process ends.
        let _ = accepting.await;
    }
    if let Ok(acceptor) = Arc::try_unwrap(acceptor).map_err(drop) {
        // ResponseSender that are made are still to be sent.
        let left = drain_end
            .saturating_duration_since(Instant::now())
            .max(CLOSE_TIMEOUT);
        let _ = tokio::time::timeout(left, acceptor.graceful.shutdown()).await;
    }
    Ok(())
}

/// Waits until no call runs any more, no longer than `most`.
async fn wait_until_idle(metrics: &Metrics, timeout: Duration) {
    let drain_end = Instant::now() + timeout;
    while metrics.active.get() > 0 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
