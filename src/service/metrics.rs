//! Metrics of the service, for Prometheus and for the status page.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};
use serde::Serialize;

use super::budget::Budget;
use super::rejection::{Reason, Rejection};
use crate::extract::BackendReport;
use crate::model::{Extracted, Flags};

type Labels = Vec<(&'static str, &'static str)>;

/// The number of errors on the status page.
const MAX_RECENT_ERRORS: usize = 20;
/// The number of seconds on the status page.
const HISTORY_S: usize = 600;

/// The metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    started: Instant,
    budget: Arc<Budget>,
    memory_used: Gauge,
    uptime: Gauge,
    requests: Family<Labels, Counter>,
    /// Requests that are being processed.
    pub active: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// Connections rejected by the limit.
    pub connections_rejected: Counter,
    rejections: Family<Labels, Counter>,
    waveforms: Family<Labels, Counter>,
    hits: Counter,
    /// Reconstructed events.
    pub events: Counter,
    samples: Counter,
    /// Bytes of received messages.
    pub bytes_in: Counter,
    /// Bytes of sent messages.
    pub bytes_out: Counter,
    flags: Family<Labels, Counter>,
    /// The time from the submission of a job to the start of its batch.
    pub queue_seconds: Histogram,
    /// The time from the start of a batch to its result.
    pub compute_seconds: Histogram,
    /// The number of waveforms per batch.
    pub batch_waveforms: Histogram,
    /// Jobs whose requests had ended.
    pub cancelled: Counter,
    device_failures: Counter<u64, AtomicU64>,
    given_up: Gauge,
    history: Mutex<History>,
}

/// The history on the status page.
#[derive(Debug, Default)]
struct History {
    last: Totals,
    seconds: VecDeque<Second>,
    errors: VecDeque<RecentError>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    waveforms: u64,
    hits: u64,
    bytes_in: u64,
}

/// One second of the history.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Second {
    /// Extracted waveforms.
    pub waveforms: u64,
    /// Found hits.
    pub hits: u64,
    /// Bytes of received messages.
    pub bytes_in: u64,
    /// Memory reserved by clients, in bytes.
    pub memory_used: u64,
}

/// A recent rejection.
#[derive(Clone, Debug, Serialize)]
pub struct RecentError {
    /// The time in seconds since 1970.
    pub unix_s: u64,
    /// The reason.
    pub reason: &'static str,
    /// The message for the client.
    pub message: String,
}

/// The numbers on the status page.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Open connections.
    pub connections: i64,
    /// Requests that are being processed.
    pub active: i64,
    /// Memory reserved by clients, in bytes.
    pub memory_used: u64,
    /// Memory that clients may reserve, in bytes.
    pub memory_capacity: u64,
    /// Waveforms since the start.
    pub waveforms: u64,
    /// Hits since the start.
    pub hits: u64,
    /// Events since the start.
    pub events: u64,
    /// Devices that failed since the start.
    pub device_failures: u64,
    /// The last minutes, by second.
    pub seconds: Vec<Second>,
    /// The latest rejections, newest first.
    pub errors: Vec<RecentError>,
}

/// Registers a metric at zero.
fn register_default<M: Metric + Clone + Default>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> M {
    register(registry, name, help, M::default())
}

fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// Creates the metrics at zero. The current use of `budget` is one of them.
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Self {
        let mut registry = Registry::with_prefix("nuwave");
        let it = &mut registry;
        let version = Info::new([("version", crate::VERSION), ("commit", crate::COMMIT)]);
        it.register("build", "Version of the server", version);
        let seconds = || Histogram::new(exponential_buckets(1e-4, 2.0, 18));
        let counts = || Histogram::new(exponential_buckets(1.0, 4.0, 10));
        let metrics = Self {
            started: Instant::now(),
            budget,
            uptime: register_default(it, "uptime_seconds", "Time since the start"),
            requests: register_default(
                it,
                "requests",
                "Finished requests by protocol, method and code",
            ),
            active: register_default(it, "requests_active", "Requests that are being processed"),
            connections: register_default(it, "connections", "Open connections"),
            connections_rejected: register_default(
                it,
                "connections_rejected",
                "Connections rejected by the limit",
            ),
            rejections: register_default(it, "rejections", "Rejected requests by reason"),
            waveforms: register_default(it, "waveforms", "Extracted waveforms by backend"),
            hits: register_default(it, "hits", "Found hits"),
            events: register_default(it, "events", "Reconstructed events"),
            samples: register_default(it, "samples", "Extracted samples"),
            bytes_in: register_default(it, "received_bytes", "Bytes of received messages"),
            bytes_out: register_default(it, "sent_bytes", "Bytes of sent messages"),
            flags: register_default(it, "flagged_waveforms", "Waveforms by flag"),
            queue_seconds: register(
                it,
                "queue_seconds",
                "Time from the submission of a job to the start of its batch",
                seconds(),
            ),
            compute_seconds: register(
                it,
                "compute_seconds",
                "Time from the start of a batch to its result",
                seconds(),
            ),
            batch_waveforms: register(it, "batch_waveforms", "Waveforms per batch", counts()),
            cancelled: register_default(
                it,
                "cancelled_jobs",
                "Jobs dropped because their request had ended",
            ),
            memory_used: register_default(it, "memory_used_bytes", "Memory reserved by clients"),
            device_failures: register_default(it, "device_failures", "Failures of GPU devices"),
            given_up: register_default(
                it,
                "gpu_given_up",
                "1 after a GPU failed permanently and was replaced by the CPU",
            ),
            history: Mutex::default(),
            registry,
        };
        for reason in Reason::ALL {
            let labels = vec![("reason", reason.label())];
            let _ = metrics.rejections.get_or_create(&labels);
        }
        metrics
    }

    /// Records a rejection.
    pub fn record_rejection(&self, rejection: &Rejection) {
        let labels = vec![("reason", rejection.reason.label())];
        self.rejections.get_or_create(&labels).inc();
        let mut history = self.history();
        history.errors.truncate(MAX_RECENT_ERRORS - 1);
        let unix_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |it| it.as_secs());
        history.errors.push_front(RecentError {
            unix_s,
            reason: rejection.reason.label(),
            message: rejection.message.clone(),
        });
    }

    /// Records that a request ended with `code`.
    pub fn record_request(&self, protocol: &'static str, method: &'static str, code: &'static str) {
        let labels = vec![("protocol", protocol), ("method", method), ("code", code)];
        self.requests.get_or_create(&labels).inc();
    }

    pub(super) fn record_extracted(
        &self,
        extracted: &Extracted,
        n_samples: usize,
        backend: &'static str,
    ) {
        let all = extracted.summaries.len();
        let left = extracted.left_to_cpu.min(all);
        let main = if backend == "cpu" { "cpu" } else { "gpu" };
        let count = |backend, waveforms: usize| {
            if waveforms > 0 {
                let labels = vec![("backend", backend)];
                self.waveforms
                    .get_or_create(&labels)
                    .inc_by(waveforms as u64);
            }
        };
        count(main, all - left);
        count("cpu", left);
        self.samples.inc_by(n_samples as u64);
        self.hits.inc_by(extracted.hits.len() as u64);
        for (flag, name, _) in Flags::ALL {
            let flagged = extracted
                .summaries
                .iter()
                .filter(|it| it.flags.contains(flag));
            let flagged = flagged.count();
            if flagged > 0 {
                self.flags
                    .get_or_create(&vec![("flag", name)])
                    .inc_by(flagged as u64);
            }
        }
    }

    /// Records the report of a backend; `known` is the number of its device failures recorded before.
    pub(super) fn record_backend_report(&self, report: &BackendReport, known: &mut u64) {
        let failures = report.device_failures;
        self.device_failures.inc_by(failures.saturating_sub(*known));
        *known = failures;
        if report.given_up.is_some() {
            self.given_up.set(1);
        }
    }

    /// Returns true if a GPU failed permanently.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.given_up.get() != 0
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        // The history is only displayed, so a poisoned lock is harmless.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extracted(&self) -> u64 {
        let of = |backend| {
            let labels = vec![("backend", backend)];
            self.waveforms.get(&labels).map_or(0, |it| it.get())
        };
        of("cpu") + of("gpu")
    }

    /// Appends a second to the history.
    pub fn tick(&self) {
        let now = Totals {
            waveforms: self.extracted(),
            hits: self.hits.get(),
            bytes_in: self.bytes_in.get(),
        };
        let mut history = self.history();
        let last = std::mem::replace(&mut history.last, now);
        if history.seconds.len() == HISTORY_S {
            history.seconds.pop_front();
        }
        history.seconds.push_back(Second {
            waveforms: now.waveforms - last.waveforms,
            hits: now.hits - last.hits,
            bytes_in: now.bytes_in - last.bytes_in,
            memory_used: self.budget.used(),
        });
    }

    /// Returns the metrics in the text format of Prometheus.
    #[must_use]
    pub fn text(&self) -> String {
        let seconds = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.uptime.set(seconds(self.started.elapsed().as_secs()));
        self.memory_used.set(seconds(self.budget.used()));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Returns the numbers on the status page.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let history = self.history();
        Snapshot {
            uptime_s: self.started.elapsed().as_secs(),
            connections: self.connections.get(),
            active: self.active.get(),
            memory_used: self.budget.used(),
            memory_capacity: self.budget.capacity(),
            waveforms: self.extracted(),
            hits: self.hits.get(),
            events: self.events.get(),
            device_failures: self.device_failures.get(),
            seconds: history.seconds.iter().copied().collect(),
            errors: history.errors.iter().cloned().collect(),
        }
    }
}
