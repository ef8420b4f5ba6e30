//! What the service counts, for Prometheus and for the status page.

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

/// Errors that the status page shows.
const MAX_RECENT_ERRORS: usize = 20;
/// Seconds that the status page shows.
const HISTORY_S: usize = 600;

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    started: Instant,
    budget: Arc<Budget>,
    memory_used: Gauge,
    uptime: Gauge,
    requests: Family<Labels, Counter>,
    /// Calls that are being answered.
    pub active: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// Connections turned away since there were too many.
    pub connections_rejected: Counter,
    rejections: Family<Labels, Counter>,
    waveforms: Family<Labels, Counter>,
    hits: Counter,
    /// Events reconstructed.
    pub events: Counter,
    samples: Counter,
    /// Bytes of waveforms and hits that came and went, as messages.
    pub bytes_in: Counter,
    /// See `bytes_in`.
    pub bytes_out: Counter,
    flags: Family<Labels, Counter>,
    /// Time from a job's arrival to its batch.
    pub queue_seconds: Histogram,
    /// Time from a batch's departure to its hits.
    pub compute_seconds: Histogram,
    /// Waveforms in a batch.
    pub batch_waveforms: Histogram,
    /// Jobs that nobody waited for any more.
    pub cancelled: Counter,
    device_failures: Counter<u64, AtomicU64>,
    given_up: Gauge,
    history: Mutex<History>,
}

/// What the status page draws.
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

/// One second of the past.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Second {
    /// Waveforms extracted.
    pub waveforms: u64,
    /// Hits found.
    pub hits: u64,
    /// Bytes of messages received.
    pub bytes_in: u64,
    /// Bytes of memory that clients had taken.
    pub memory_used: u64,
}

/// Something that was refused.
#[derive(Clone, Debug, Serialize)]
pub struct RecentError {
    /// When, in seconds since 1970.
    pub unix_s: u64,
    /// Why.
    pub reason: &'static str,
    /// What the client was told.
    pub message: String,
}

/// The status page's numbers.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Open connections.
    pub connections: i64,
    /// Calls that are being answered.
    pub active: i64,
    /// Bytes of memory that clients have taken, and may take.
    pub memory_used: u64,
    /// See `memory_used`.
    pub memory_capacity: u64,
    /// Waveforms since the start.
    pub waveforms: u64,
    /// Hits since the start.
    pub hits: u64,
    /// Events since the start.
    pub events: u64,
    /// Devices that failed since the start.
    pub device_failures: u64,
    /// The last minutes, second by second.
    pub seconds: Vec<Second>,
    /// The last things that were refused, newest first.
    pub errors: Vec<RecentError>,
}

/// A metric at zero that `registry` knows.
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
    /// Metrics at zero; `budget` is shown as it changes.
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Self {
        let mut registry = Registry::with_prefix("nuwave");
        let it = &mut registry;
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        it.register("build", "The program", version);
        let seconds = || Histogram::new(exponential_buckets(1e-4, 2.0, 18));
        let counts = || Histogram::new(exponential_buckets(1.0, 4.0, 10));
        let metrics = Self {
            started: Instant::now(),
            budget,
            uptime: register_default(it, "uptime_seconds", "Time since the start"),
            requests: register_default(
                it,
                "requests",
                "Calls that ended, by protocol, method and code",
            ),
            active: register_default(it, "requests_active", "Calls that are being answered"),
            connections: register_default(it, "connections", "Open connections"),
            connections_rejected: register_default(
                it,
                "connections_rejected",
                "Connections turned away since there were too many",
            ),
            rejections: register_default(it, "rejections", "What was refused, by reason"),
            waveforms: register_default(
                it,
                "waveforms",
                "Waveforms extracted, by the backend that did it",
            ),
            hits: register_default(it, "hits", "Hits found"),
            events: register_default(it, "events", "Events reconstructed"),
            samples: register_default(it, "samples", "Samples extracted"),
            bytes_in: register_default(it, "received_bytes", "Bytes of calls received"),
            bytes_out: register_default(it, "sent_bytes", "Bytes of responses sent"),
            flags: register_default(it, "flagged_waveforms", "Waveforms, by flag"),
            queue_seconds: register(
                it,
                "queue_seconds",
                "Time from the arrival of a job to the begin of its batch",
                seconds(),
            ),
            compute_seconds: register(
                it,
                "compute_seconds",
                "Time from the begin of a batch to its hits",
                seconds(),
            ),
            batch_waveforms: register(
                it,
                "batch_waveforms",
                "Waveforms that were extracted together",
                counts(),
            ),
            cancelled: register_default(
                it,
                "cancelled_jobs",
                "Jobs dropped since nobody waited for them any more",
            ),
            memory_used: register_default(
                it,
                "memory_used_bytes",
                "Memory that clients have taken",
            ),
            device_failures: register_default(
                it,
                "device_failures",
                "GPU devices that failed and were opened anew",
            ),
            given_up: register_default(
                it,
                "gpu_given_up",
                "1 once a GPU failed for good and the CPU took its place",
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

    /// Notes that a call was refused.
    pub fn note_rejection(&self, rejection: &Rejection) {
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

    /// Notes that a call through `protocol` ended with `code`.
    pub fn note_request(&self, protocol: &'static str, method: &'static str, code: &'static str) {
        let labels = vec![("protocol", protocol), ("method", method), ("code", code)];
        self.requests.get_or_create(&labels).inc();
    }

    pub(super) fn note_extracted(
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

    /// Notes what a backend has to report; `known` are the failures of its devices noted before.
    pub(super) fn record_backend_report(&self, report: &BackendReport, known: &mut u64) {
        let failures = report.device_failures;
        self.device_failures.inc_by(failures.saturating_sub(*known));
        *known = failures;
        if report.given_up.is_some() {
            self.given_up.set(1);
        }
    }

    /// True once a GPU was given up.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.given_up.get() != 0
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        // Numbers for people: whatever a panicking thread left is good enough.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extracted(&self) -> u64 {
        let of = |backend| {
            let labels = vec![("backend", backend)];
            self.waveforms.get(&labels).map_or(0, |it| it.get())
        };
        of("cpu") + of("gpu")
    }

    /// Takes note that another second has passed.
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

    /// Everything as Prometheus reads it.
    #[must_use]
    pub fn text(&self) -> String {
        let seconds = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.uptime.set(seconds(self.started.elapsed().as_secs()));
        self.memory_used.set(seconds(self.budget.used()));
        let mut text = String::new();
        // A string can always be written to.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// The status page's numbers.
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
