//! The numbers of `ModelStatistics`: how many requests each model answered, and how long they took.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::repository_messages::{InferStatistics, ModelStatistics, StatisticDuration};

/// The statistics of one model.
#[derive(Debug, Default)]
pub struct Statistics(Mutex<Totals>);

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    last_inference_ms: u64,
    n_executions: u64,
    success: StatisticDuration,
    fail: StatisticDuration,
    queue: StatisticDuration,
    input: StatisticDuration,
    infer: StatisticDuration,
    output: StatisticDuration,
}

/// The times of one request.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The arrival of the request.
    pub arrived: Instant,
    /// Decoding the tensors.
    pub input: Duration,
    /// Waiting for the batch.
    pub queue: Duration,
    /// Extraction of the batch.
    pub infer: Duration,
    /// Building the response.
    pub output: Duration,
    /// True for one request of each batch.
    pub is_first_of_batch: bool,
}

fn add(total: &mut StatisticDuration, time: Duration) {
    total.count += 1;
    total.ns = total.ns.saturating_add(nanoseconds(time));
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Statistics {
    fn update(&self, update: impl FnOnce(&mut Totals)) {
        // The numbers are only displayed, so a poisoned lock is harmless.
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        totals.last_inference_ms = now.map_or(0, |now| nanoseconds(now) / 1_000_000);
        update(&mut totals);
    }

    /// Records a request that was answered.
    pub fn record_success(&self, times: &Times) {
        self.update(|totals| {
            add(&mut totals.success, times.arrived.elapsed());
            add(&mut totals.input, times.input);
            add(&mut totals.queue, times.queue);
            add(&mut totals.infer, times.infer);
            add(&mut totals.output, times.output);
            totals.n_executions += u64::from(times.is_first_of_batch);
        });
    }

    /// Records a request that arrived at `arrived` and failed.
    pub fn record_failure(&self, arrived: Instant) {
        self.update(|totals| add(&mut totals.fail, arrived.elapsed()));
    }

    /// Returns the statistics of the model `name`.
    #[must_use]
    pub fn message(&self, name: &str, version: &str) -> ModelStatistics {
        let totals = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ModelStatistics {
            name: name.to_owned(),
            version: version.to_owned(),
            last_inference: totals.last_inference_ms,
            inference_count: totals.success.count,
            execution_count: totals.n_executions,
            inference_stats: Some(InferStatistics {
                success: Some(totals.success),
                fail: Some(totals.fail),
                queue: Some(totals.queue),
                compute_input: Some(totals.input),
                compute_infer: Some(totals.infer),
                compute_output: Some(totals.output),
            }),
        }
    }
}
