//! One backend and the jobs that wait for it: jobs of all clients are joined into batches, and their results parted again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::metrics::Metrics;
use super::rejection::Rejection;
use crate::error::{Error, Result};
use crate::extract::Backend;
use crate::io::BatchLimit;
use crate::model::{Batch, Extracted, Samples};

/// Batches after which a backend lets everything come back, to be asked for its report: under steady load too it is to be
/// known that a device failed.
const MAX_CONSECUTIVE_BATCHES: usize = 64;

/// How large joined batches become, and how long they wait for that.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    /// How large a batch becomes; a single job may be larger.
    pub limit: BatchLimit,
    /// How long the first job of a batch waits for others.
    pub delay: Duration,
}

/// What a job takes from its client's budget, given back when the job is gone.
pub type SharedPermit = Arc<dyn Send + Sync>;

/// Waveforms of one client that are extracted together.
pub struct Job {
    batch: Batch,
    permit: SharedPermit,
    submitted: Instant,
    reply: oneshot::Sender<JobOutcome>,
}

/// What became of a job.
pub type JobOutcome = std::result::Result<JobResult, Rejection>;

/// A job's result.
#[derive(Debug)]
pub struct JobResult {
    /// The waveforms as they came.
    pub batch: Batch,
    /// Their hits.
    pub extracted: Extracted,
    /// Which backend answered: `cpu`, `gpu`, or `gpu+cpu`.
    pub backend: &'static str,
}

/// A backend at work on a thread of its own. It ends when the last handle is dropped and its jobs are done.
#[derive(Debug)]
pub struct Batcher {
    jobs: Sender<Job>,
}

impl Batcher {
    /// Starts a thread for `backend`.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(
        name: String,
        backend: Box<dyn Backend>,
        batching: Batching,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let (jobs, queue) = channel();
        std::thread::Builder::new()
            .name(name)
            .spawn(move || work(backend.as_ref(), &queue, batching, &metrics))
            .map_err(|error| Error::internal("no thread for a backend").with_source(error))?;
        Ok(Self { jobs })
    }

    /// Puts a job into the queue. Dropping the receiver withdraws it, as long as it waits.
    #[must_use]
    pub fn submit(&self, batch: Batch, permit: SharedPermit) -> oneshot::Receiver<JobOutcome> {
        let (reply, response) = oneshot::channel();
        // A thread that is gone drops the job, and the receiver says so.
        let _ = self.jobs.send(Job {
            batch,
            permit,
            submitted: Instant::now(),
            reply,
        });
        response
    }
}

/// The jobs of one batch that is under way.
struct InFlightBatch {
    jobs: Vec<PendingJob>,
    started: Instant,
}

/// A job whose waveforms are under way. Its own batch waits here, unless it is the one that travels.
struct PendingJob {
    batch: Option<Batch>,
    reply: oneshot::Sender<JobOutcome>,
    _permit: SharedPermit,
}

fn work(backend: &dyn Backend, queue: &Receiver<Job>, batching: Batching, metrics: &Metrics) {
    let (mut next, mut known_failures) = (None, 0);
    loop {
        if next.is_none() {
            match queue.recv() {
                Ok(job) => next = Some(job),
                Err(_) => return,
            }
        }
        let in_flight = RefCell::new(VecDeque::new());
        let mut batches = BatchQueue {
            queue,
            next: &mut next,
            in_flight: &in_flight,
            batching,
            metrics,
            left: MAX_CONSECUTIVE_BATCHES,
        };
        let run = || {
            backend.run(&mut batches, &mut |batch, extracted| {
                let group = in_flight.borrow_mut().pop_front();
                deliver(group, batch, extracted, backend.name(), metrics);
                Ok(true)
            })
        };
        let failed = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Rejection::from(error)),
            Err(_) => Some(Rejection::internal(
                "the extraction of a batch failed; this is a defect of nuwave",
            )),
        };
        if let Some(report) = backend.report() {
            metrics.record_backend_report(&report, &mut known_failures);
        }
        for job in in_flight
            .into_inner()
            .into_iter()
            .flat_map(|group: InFlightBatch| group.jobs)
        {
            let rejection = failed
                .clone()
                .unwrap_or_else(|| Rejection::internal("the backend lost a batch"));
            let _ = job.reply.send(Err(rejection));
        }
    }
}

/// The queue jobs as a backend takes them: joined into batches, ending when none waits, so that what is under way comes back.
struct BatchQueue<'a> {
    queue: &'a Receiver<Job>,
    next: &'a mut Option<Job>,
    in_flight: &'a RefCell<VecDeque<InFlightBatch>>,
    batching: Batching,
    metrics: &'a Metrics,
    /// Batches deadline the backend is asked how it does.
    left: usize,
}

impl BatchQueue<'_> {
    /// The next job that somebody still waits for; `deadline` is how long to wait for one to come.
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
        let (batch, jobs) = join(jobs, self.metrics);
        self.metrics.batch_waveforms.observe(n_waveforms as f64);
        self.in_flight
            .borrow_mut()
            .push_back(InFlightBatch { jobs, started });
        Some(batch)
    }
}

/// One batch of the waveforms of all `jobs`. A batcher's jobs have samples of one type.
fn join(mut jobs: Vec<Job>, metrics: &Metrics) -> (Batch, Vec<PendingJob>) {
    for job in &jobs {
        let queued = job.submitted.elapsed();
        metrics.queue_seconds.observe(queued.as_secs_f64());
    }
    if jobs.len() == 1
        && let Some(Job {
            batch,
            permit,
            reply,
            ..
        }) = jobs.pop()
    {
        let alone = PendingJob {
            batch: None,
            reply,
            _permit: permit,
        };
        return (batch, vec![alone]);
    }
    let mut all = match jobs.first().map(|job| job.batch.samples()) {
        Some(Samples::F32(_)) => Batch::new_f32(0),
        Some(Samples::U16(_)) | None => Batch::new_u16(0),
    };
    let mut queue = Vec::new();
    for job in jobs {
        all.append(&job.batch);
        queue.push(PendingJob {
            batch: Some(job.batch),
            reply: job.reply,
            _permit: job.permit,
        });
    }
    (all, queue)
}

/// Gives every job of `group` its part of what came back.
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
    metrics
        .compute_seconds
        .observe(started.elapsed().as_secs_f64());
    let backend = match extracted.left_to_cpu {
        0 => backend,
        all if all >= batch.len() => "cpu",
        _ => "gpu+cpu",
    };
    metrics.note_extracted(&extracted, batch.samples().len(), backend);
    let mut own = Some(batch);
    let mut rest = ResultSplitter::new(extracted);
    for PendingJob {
        batch,
        reply,
        _permit,
    } in jobs
    {
        let Some(batch) = batch.or_else(|| own.take()) else {
            continue;
        };
        let extracted = rest.next(batch.len());
        let response = if extracted.summaries.len() == batch.len() {
            Ok(JobResult {
                batch,
                extracted,
                backend,
            })
        } else {
            Err(Rejection::internal(
                "the backend's result does not fit its batch",
            ))
        };
        if reply.send(response).is_err() {
            metrics.cancelled.inc();
        }
    }
}

/// What is left of a result that is given away part by part.
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

    /// The result of the next `n_waveforms` waveforms.
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
