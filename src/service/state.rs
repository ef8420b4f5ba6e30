//! The state that all requests share: backends, limits, metrics, and whether the service is ready or shutting down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::backends::Backends;
use super::budget::{Budget, BudgetPermit, Ledger, SharedPermit};
use super::kserve::statistics::Statistics;
use super::local_files::LocalFiles;
use super::metrics::Metrics;
use super::rejection::{Reason, Rejection};

/// The limits on memory, connections and time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Memory of all clients together, in bytes.
    pub memory: u64,
    /// Memory of one connection, in bytes.
    pub client: u64,
    /// Size of one message, in bytes.
    pub message: usize,
    /// Number of connections.
    pub connections: usize,
    /// Time in which a client has to send a message or read a response.
    pub idle: Duration,
    /// Time that running requests have after shutdown was requested.
    pub drain: Duration,
}

impl Limits {
    /// Returns the memory that a stream reserves, in bytes: one incoming message and as much in flight.
    #[must_use]
    pub fn stream(&self) -> u64 {
        2 * self.message as u64
    }
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Client {
    /// The budget of the connection.
    pub ledger: Ledger,
}

/// The memory reserved by a unary request, which its jobs share.
#[derive(Clone)]
pub struct RequestPermit(pub SharedPermit);

/// The statistics of the two models.
#[derive(Debug, Default)]
pub struct ModelStatistics {
    /// Of the model `waveform`.
    pub waveform: Statistics,
    /// Of the model `event`.
    pub event: Statistics,
}

/// The state that all requests share.
pub struct ServiceState {
    /// Calibrations and backends.
    pub backends: Backends,
    /// The limits on memory, connections and time.
    pub limits: Limits,
    /// Counters, gauges and histograms.
    pub metrics: Arc<Metrics>,
    /// Requests by model, for clients of Triton.
    pub statistics: ModelStatistics,
    /// The memory of all clients together.
    pub budget: Arc<Budget>,
    /// The description of the backend for the status page.
    pub backend_line: String,
    /// Access to files of this machine, if allowed.
    pub local_files: Option<LocalFiles>,
    ready: AtomicBool,
    draining: AtomicBool,
    /// Becomes true when running requests have to end.
    abort: watch::Sender<bool>,
}

impl ServiceState {
    /// Creates the state of a service that is not ready yet.
    #[must_use]
    pub fn new(
        backends: Backends,
        limits: Limits,
        metrics: Arc<Metrics>,
        budget: Arc<Budget>,
        backend_line: String,
        local_files: Option<LocalFiles>,
    ) -> Self {
        Self {
            backends,
            limits,
            metrics,
            statistics: ModelStatistics::default(),
            budget,
            backend_line,
            local_files,
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            abort: watch::Sender::new(false),
        }
    }

    /// Creates the per-connection state.
    #[must_use]
    pub fn client(&self) -> Client {
        Client {
            ledger: Ledger::new(&self.budget, self.limits.client),
        }
    }

    /// Returns true if requests are accepted.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.draining.load(Ordering::Relaxed)
    }

    /// Starts accepting requests.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Stops accepting requests.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Ends the requests that are still running.
    pub fn abort(&self) {
        self.abort.send_replace(true);
    }

    /// Waits until running requests have to end.
    pub async fn aborted(&self) -> Rejection {
        // The sender lives as long as `self`.
        let _ = self.abort.subscribe().wait_for(|abort| *abort).await;
        Rejection::new(
            Reason::Draining,
            "the service shuts down and the time for running requests is over; send the request to another server",
        )
    }

    /// Reserves the memory of a stream of `client` for its whole duration.
    ///
    /// # Errors
    /// If no requests are accepted, or the memory is not available.
    pub fn admit_stream(&self, client: Option<&Client>) -> Result<BudgetPermit, Rejection> {
        self.check_ready()?;
        let client = client.ok_or_else(|| Rejection::internal("a request without a connection"))?;
        client.ledger.try_acquire(self.limits.stream())
    }

    /// Checks that requests are accepted.
    ///
    /// # Errors
    /// If the service is starting or shutting down.
    pub fn check_ready(&self) -> Result<(), Rejection> {
        if self.is_ready() {
            return Ok(());
        }
        let what = if self.draining.load(Ordering::Relaxed) {
            "the service is shutting down"
        } else {
            "the service is not ready yet"
        };
        Err(Rejection::new(
            Reason::Draining,
            format!("{what}; try again later or at another server"),
        ))
    }
}
