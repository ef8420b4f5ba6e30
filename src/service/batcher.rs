//! Dynamic batching: merges the queued jobs of all clients into batches for one backend, and splits the results per job.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rayon::ThreadPool;
use tokio::sync::oneshot;

use super::budget::SharedPermit;
use super::metrics::Metrics;
use super::rejection::Rejection;
use crate::error::{Error, Result};
use crate::extract::Backend;
use crate::io::BatchLimit;
use crate::model::{Batch, Extracted, Samples};

/// The number of batches after which the pipeline of a backend is drained and its report is read, so that device failures
/// are also noticed under steady load.
const MAX_CONSECUTIVE_BATCHES: usize = 64;

/// The size of merged batches, and how long a batch waits for further jobs.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    /// The maximum size of a merged batch; a single job may be larger.
    pub limit: BatchLimit,
    /// The time that the first job of a batch waits for others.
    pub delay: Duration,
}

/// The waveforms of one message of a client.
pub struct Job {
    batch: Batch,
    permit: SharedPermit,
    submitted: Instant,
    reply: oneshot::Sender<JobOutcome>,
}

/// The result of a job, or the reason why it failed.
pub type JobOutcome = std::result::Result<JobResult, Rejection>;

/// The result of a job.
#[derive(Debug)]
pub struct JobResult {
    /// The waveforms of the job.
    pub batch: Batch,
    /// Their hits.
    pub extracted: Extracted,
    /// The backend that extracted them: `cpu`, `gpu`, or `gpu+cpu`.
    pub backend: &'static str,
    /// The time from the submission of the job to the start of its batch.
    pub queued: Duration,
    /// The time from the start of the batch to its result.
    pub computed: Duration,
    /// True for one job of each batch.
    pub is_first_of_batch: bool,
}

/// A backend on its own thread. The thread ends when the batcher is dropped and all jobs are done.
#[derive(Debug)]
pub struct Batcher {
    jobs: Sender<Job>,
}

impl Batcher {
    /// Starts the thread of `backend`, whose parallel work runs in `pool`.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        name: String,
        backend: Box<dyn Backend>,
        pool: Arc<ThreadPool>,
        batching: Batching,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let (jobs, queue) = channel();
        std::thread::Builder::new()
            .name(name)
            .spawn(move || run(backend.as_ref(), &pool, queue, batching, &metrics))
            .map_err(|error| {
                Error::internal("cannot start the thread of a backend").with_source(error)
            })?;
        Ok(Self { jobs })
    }

    /// Queues a job. Dropping the receiver cancels the job if it is still in the queue.
    #[must_use]
    pub fn submit(&self, batch: Batch, permit: SharedPermit) -> oneshot::Receiver<JobOutcome> {
        let (reply, outcome) = oneshot::channel();
        // If the thread has ended, the job is dropped and the receiver returns an error.
        let _ = self.jobs.send(Job {
            batch,
            permit,
            submitted: Instant::now(),
            reply,
        });
        outcome
    }
}

/// The jobs of a batch that the backend is processing.
struct InFlightBatch {
    jobs: Vec<PendingJob>,
    started: Instant,
}

/// A job that waits for its result. `batch` is `None` if the job is alone in its batch, which the backend returns.
struct PendingJob {
    batch: Option<Batch>,
    queued: Duration,
    reply: oneshot::Sender<JobOutcome>,
    _permit: SharedPermit,
}

/// Runs `backend` on the jobs of `queue` until the queue is closed. Waits outside of `pool` while the queue is empty, so that
/// its threads are free for other work.
fn run(
    backend: &dyn Backend,
    pool: &ThreadPool,
    mut queue: Receiver<Job>,
    batching: Batching,
    metrics: &Metrics,
) {
    // The CPU has no batches in flight, so that it can let other work into the pool after each batch.
    let max_batches = match backend.name() {
        "cpu" => 1,
        _ => MAX_CONSECUTIVE_BATCHES,
    };
    let (mut next, mut known_failures) = (None, 0);
    loop {
        if next.is_none() {
            match queue.recv() {
                Ok(job) => next = Some(job),
                Err(_) => return,
            }
        }
        pool.install(|| {
            run_batches(
                backend,
                &mut queue,
                &mut next,
                max_batches,
                batching,
                metrics,
            );
        });
        if let Some(report) = backend.report() {
            metrics.record_backend_report(&report, &mut known_failures);
        }
    }
}

/// Runs `backend` on the queued jobs, at most `max_batches` batches of them.
fn run_batches(
    backend: &dyn Backend,
    queue: &mut Receiver<Job>,
    next: &mut Option<Job>,
    max_batches: usize,
    batching: Batching,
    metrics: &Metrics,
) {
    let in_flight = RefCell::new(VecDeque::new());
    let mut batches = BatchQueue {
        queue,
        next,
        in_flight: &in_flight,
        batching,
        metrics,
        left: max_batches,
    };
    let extract = || {
        backend.run(&mut batches, &mut |batch, extracted| {
            let group = in_flight.borrow_mut().pop_front();
            deliver(group, batch, extracted, backend.name(), metrics);
            Ok(true)
        })
    };
    let failed = match catch_unwind(AssertUnwindSafe(extract)) {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(Rejection::from(error)),
        Err(_) => Some(Rejection::internal("the extraction of a batch panicked")),
    };
    for job in in_flight
        .into_inner()
        .into_iter()
        .flat_map(|group: InFlightBatch| group.jobs)
    {
        let rejection = failed
            .clone()
            .unwrap_or_else(|| Rejection::internal("the backend did not return a batch"));
        let _ = job.reply.send(Err(rejection));
    }
}

/// Iterator over merged batches for a backend. Ends when the queue is empty, so that the backend returns the batches in
/// flight.
struct BatchQueue<'a> {
    queue: &'a Receiver<Job>,
    next: &'a mut Option<Job>,
    in_flight: &'a RefCell<VecDeque<InFlightBatch>>,
    batching: Batching,
    metrics: &'a Metrics,
    /// The number of batches until the report of the backend is read.
    left: usize,
}

impl BatchQueue<'_> {
    /// Returns the next job that was not cancelled, and waits for it until `deadline` if there is one.
    fn next_job(&mut self, deadline: Option<Instant>) -> Option<Job> {
        loop {
            let job = match (self.next.take(), deadline) {
                (Some(job), _) => job,
                (None, None) => self.queue.try_recv().ok()?,
                (None, Some(deadline)) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    match self.queue.recv_timeout(left) {
                        Ok(job) => job,
                        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                            return None;
                        }
                    }
                }
            };
            if !job.reply.is_closed() {
                return Some(job);
            }
            self.metrics.cancelled.inc();
        }
    }
}

impl Iterator for BatchQueue<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.left = self.left.checked_sub(1)?;
        let first = self.next_job(None)?;
        let started = Instant::now();
        let Batching {
            limit: BatchLimit { waveforms, samples },
            delay,
        } = self.batching;
        let deadline = (delay > Duration::ZERO).then(|| first.submitted + delay);
        let (mut n_waveforms, mut n_samples) = (first.batch.len(), first.batch.samples().len());
        let mut jobs = vec![first];
        while n_waveforms < waveforms && n_samples < samples {
            let Some(job) = self.next_job(deadline) else {
                break;
            };
            let (more_waveforms, more_samples) = (job.batch.len(), job.batch.samples().len());
            if n_waveforms + more_waveforms > waveforms || n_samples + more_samples > samples {
                *self.next = Some(job);
                break;
            }
            n_waveforms += more_waveforms;
            n_samples += more_samples;
            jobs.push(job);
        }
        let (batch, jobs) = merge(jobs, self.metrics);
        self.metrics.batch_waveforms.observe(n_waveforms as f64);
        self.in_flight
            .borrow_mut()
            .push_back(InFlightBatch { jobs, started });
        Some(batch)
    }
}

/// Merges the waveforms of `jobs` into one batch. All jobs of a batcher have the same sample type.
fn merge(mut jobs: Vec<Job>, metrics: &Metrics) -> (Batch, Vec<PendingJob>) {
    let started = Instant::now();
    for job in &jobs {
        let queued = started.saturating_duration_since(job.submitted);
        metrics.queue_seconds.observe(queued.as_secs_f64());
    }
    if jobs.len() == 1
        && let Some(Job {
            batch,
            permit,
            submitted,
            reply,
        }) = jobs.pop()
    {
        let alone = PendingJob {
            batch: None,
            queued: started.saturating_duration_since(submitted),
            reply,
            _permit: permit,
        };
        return (batch, vec![alone]);
    }
    let mut merged = match jobs.first().map(|job| job.batch.samples()) {
        Some(Samples::F32(_)) => Batch::new_f32(0),
        Some(Samples::U16(_)) | None => Batch::new_u16(0),
    };
    let mut pending = Vec::new();
    for job in jobs {
        merged.append(&job.batch);
        pending.push(PendingJob {
            batch: Some(job.batch),
            queued: started.saturating_duration_since(job.submitted),
            reply: job.reply,
            _permit: job.permit,
        });
    }
    (merged, pending)
}

/// Sends its part of the result to each job of `group`.
fn deliver(
    group: Option<InFlightBatch>,
    batch: Batch,
    extracted: Extracted,
    backend: &'static str,
    metrics: &Metrics,
) {
    let Some(InFlightBatch { jobs, started }) = group else {
        return;
    };
    let computed = started.elapsed();
    metrics.compute_seconds.observe(computed.as_secs_f64());
    let backend = match extracted.left_to_cpu {
        0 => backend,
        all if all >= batch.len() => "cpu",
        _ => "gpu+cpu",
    };
    metrics.record_extracted(&extracted, batch.samples().len(), backend);
    let mut own = Some(batch);
    let mut rest = ResultSplitter::new(extracted);
    let mut is_first_of_batch = true;
    for PendingJob {
        batch,
        queued,
        reply,
        _permit,
    } in jobs
    {
        let Some(batch) = batch.or_else(|| own.take()) else {
            continue;
        };
        let extracted = rest.next(batch.len());
        let outcome = if extracted.summaries.len() == batch.len() {
            Ok(JobResult {
                batch,
                extracted,
                backend,
                queued,
                computed,
                is_first_of_batch: std::mem::take(&mut is_first_of_batch),
            })
        } else {
            Err(Rejection::internal(
                "the backend's result does not match its batch",
            ))
        };
        if reply.send(outcome).is_err() {
            metrics.cancelled.inc();
        }
    }
}

/// Splits the result of a merged batch into the results of its jobs, in order.
struct ResultSplitter {
    whole: Extracted,
    hits_taken: usize,
    summaries_taken: usize,
}

impl ResultSplitter {
    fn new(whole: Extracted) -> Self {
        Self {
            whole,
            hits_taken: 0,
            summaries_taken: 0,
        }
    }

    /// Returns the result of the next `n_waveforms` waveforms.
    fn next(&mut self, n_waveforms: usize) -> Extracted {
        if self.summaries_taken == 0 && n_waveforms == self.whole.summaries.len() {
            return std::mem::take(&mut self.whole);
        }
        let rest = self.whole.summaries.get(self.summaries_taken..);
        let summaries: Vec<_> = rest
            .and_then(|rest| rest.get(..n_waveforms))
            .unwrap_or_default()
            .to_vec();
        self.summaries_taken += summaries.len();
        let n_hits: usize = summaries.iter().map(|it| it.n_hits as usize).sum();
        let hits = self.whole.hits.get(self.hits_taken..);
        let hits = hits.and_then(|rest| rest.get(..n_hits)).unwrap_or_default();
        self.hits_taken += n_hits;
        Extracted {
            hits: hits.to_vec(),
            summaries,
            left_to_cpu: 0,
        }
    }
}
