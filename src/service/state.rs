//! What every door shares: the backends, the limits, the metrics, and whether the service is about to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::backends::Backends;
use super::budget::{Budget, BudgetPermit, Ledger};
use super::local_files::LocalFiles;
use super::metrics::Metrics;
use super::rejection::{Reason, Rejection};

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all clients together.
    pub memory: u64,
    /// Bytes of one connection.
    pub client: u64,
    /// Bytes of one message.
    pub message: usize,
    /// Connections.
    pub connections: usize,
    /// Time in which a client has to send or take something.
    pub idle: Duration,
    /// Time that running calls have once the service is to end.
    pub drain: Duration,
}

impl Limits {
    /// What a stream of messages takes in memory: one message that comes in, and as much under way.
    #[must_use]
    pub fn stream(&self) -> u64 {
        2 * self.message as u64
    }
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its budget.
    pub ledger: Ledger,
}

/// What every door shares.
pub struct ServiceState {
    /// Calibrations and backends.
    pub backends: Backends,
    /// What clients may take.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The memory of all clients together.
    pub budget: Arc<Budget>,
    /// The backend, for people.
    pub backend_line: String,
    /// Files on this machine, where the service may read them.
    pub local_files: Option<LocalFiles>,
    ready: AtomicBool,
    draining: AtomicBool,
    /// Turns true when running calls have to end.
    abort: watch::Sender<bool>,
}

impl ServiceState {
    /// A service that is not ready yet.
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
            budget,
            backend_line,
            local_files,
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            abort: watch::Sender::new(false),
        }
    }

    /// A new connection.
    #[must_use]
    pub fn client(&self) -> Client {
        Client {
            ledger: Ledger::new(&self.budget, self.limits.client),
        }
    }

    /// True if work is taken.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.draining.load(Ordering::Relaxed)
    }

    /// From now on work is taken.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// From now on no work is taken.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Ends the calls that still run.
    pub fn abort(&self) {
        self.abort.send_replace(true);
    }

    /// Returns when running calls have to end.
    pub async fn aborted(&self) -> Rejection {
        // The sender lives as long as `self`.
        let _ = self.abort.subscribe().wait_for(|abort| *abort).await;
        Rejection::new(
            Reason::Draining,
            "the service ends, and its time to finish is over; send it again elsewhere",
        )
    }

    /// The memory of a stream of `client`'s, from its begin to its end.
    ///
    /// # Errors
    /// If no work is taken, or it does not fit.
    pub fn admit_stream(&self, client: Option<&Client>) -> Result<BudgetPermit, Rejection> {
        self.check_ready()?;
        let client = client.ok_or_else(|| Rejection::internal("a call without a client"))?;
        client.ledger.try_acquire(self.limits.stream())
    }

    /// # Errors
    /// If no work is taken.
    pub fn check_ready(&self) -> Result<(), Rejection> {
        if self.is_ready() {
            return Ok(());
        }
        let what = if self.draining.load(Ordering::Relaxed) {
            "the service is about to end"
        } else {
            "the service is not ready yet"
        };
        Err(Rejection::new(
            Reason::Draining,
            format!("{what}; try again elsewhere or later"),
        ))
    }
}
