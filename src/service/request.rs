//! The lifetime of a request: it is counted, has a deadline, and always ends with a status.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::rejection::{Limit, Reason, Rejection};
use super::state::ServiceState;
use super::stream::{Outgoing, ResponseSender};
use crate::pipeline::imprecise_start;

/// The number of responses that wait for the client to read them.
const RESPONSE_QUEUE: usize = 1;

/// A request that is being processed.
pub struct ActiveRequest {
    state: Arc<ServiceState>,
    protocol: &'static str,
    method: &'static str,
    finished: bool,
    deadline: Option<Instant>,
}

impl ActiveRequest {
    /// Registers a request of `protocol`, with the deadline in its metadata.
    #[must_use]
    pub fn start(
        state: &Arc<ServiceState>,
        protocol: &'static str,
        method: &'static str,
        metadata: &MetadataMap,
    ) -> Self {
        state.metrics.active.inc();
        let timeout = metadata.get("grpc-timeout");
        let timeout = timeout
            .and_then(|it| it.to_str().ok())
            .and_then(parse_timeout);
        Self {
            state: Arc::clone(state),
            protocol,
            method,
            finished: false,
            deadline: timeout.and_then(|it| Instant::now().checked_add(it)),
        }
    }

    /// Records the outcome of the request.
    pub fn finish(&mut self, result: Result<(), &Rejection>) {
        self.finished = true;
        let metrics = &self.state.metrics;
        let code = match result {
            Ok(()) => "ok",
            Err(rejection) => {
                metrics.record_rejection(rejection);
                rejection.reason.label()
            }
        };
        metrics.record_request(self.protocol, self.method, code);
    }

    /// Returns the value of `result`; if it is a rejection, ends the request with it.
    ///
    /// # Errors
    /// The rejection as a gRPC status.
    pub fn or_reject<T>(&mut self, result: Result<T, Rejection>) -> Result<T, Status> {
        result.map_err(|rejection| {
            self.finish(Err(&rejection));
            rejection.into()
        })
    }

    /// Runs `work` until it is done, the deadline passes, or the service ends.
    ///
    /// # Errors
    /// The rejection of `work`, or that the deadline passed or the service ends.
    pub async fn until_deadline<T>(
        &self,
        work: impl Future<Output = Result<T, Rejection>>,
    ) -> Result<T, Rejection> {
        let deadline = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = work => result,
            rejection = self.state.aborted() => Err(rejection),
            () = deadline => Err(Rejection::new(
                Reason::Deadline,
                "the deadline of the request passed; its remaining work is dropped",
            )),
        }
    }

    /// Runs `work` and ends the request with its response.
    ///
    /// # Errors
    /// As [`until_deadline`](Self::until_deadline), as a gRPC status.
    pub async fn respond<T>(
        mut self,
        work: impl Future<Output = Result<T, Rejection>>,
    ) -> Result<T, Status> {
        let result = self.until_deadline(work).await;
        self.finish(result.as_ref().map(|_| ()));
        result.map_err(Status::from)
    }

    /// Runs `work` on its own task and returns its responses as a stream. The task is cancelled when the client disconnects.
    pub fn respond_stream<T, F>(
        mut self,
        work: impl FnOnce(ResponseSender<T>) -> F,
    ) -> impl Stream<Item = Result<T, Status>>
    where
        T: Send + 'static,
        F: Future<Output = Result<(), Rejection>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(RESPONSE_QUEUE);
        let idle = self.state.limits.idle;
        let responses = ResponseSender::new(sender.clone(), idle);
        let work = work(responses);
        tokio::spawn(async move {
            let result = tokio::select! {
                result = self.until_deadline(work) => result,
                () = sender.closed() => return,
            };
            self.finish(result.as_ref().copied());
            let end = Outgoing::End(result.map_err(Status::from));
            let _ = tokio::time::timeout(idle, sender.send(end)).await;
        });
        futures::stream::unfold(Some(receiver), |receiver| async {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(Outgoing::Response(response)) => Some((Ok(response), Some(receiver))),
                Some(Outgoing::End(Ok(()))) => None,
                Some(Outgoing::End(Err(status))) => Some((Err(status), None)),
                // The sender is only dropped without an end by a panic, or if the client did not read in time.
                None => Some((
                    Err(Status::internal("the request ended unexpectedly")),
                    None,
                )),
            }
        })
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let metrics = &self.state.metrics;
        metrics.active.dec();
        if !self.finished {
            metrics.record_request(self.protocol, self.method, "cancelled");
        }
    }
}

/// Parses the value of `grpc-timeout`: digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // The protocol allows at most eight digits.
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Returns the next message of a stream. The idle timeout does not apply while `has_pending` is true, because the client is then
/// waiting for responses.
///
/// # Errors
/// If no message arrives within the idle timeout, it is too large, or the stream is broken.
pub async fn next_message<T>(
    state: &ServiceState,
    messages: &mut tonic::Streaming<T>,
    has_pending: impl Fn() -> bool,
) -> Result<Option<T>, Rejection> {
    let idle = state.limits.idle;
    let mut next = std::pin::pin!(messages.message());
    loop {
        match tokio::time::timeout(idle, next.as_mut()).await {
            Ok(Ok(message)) => return Ok(message),
            Ok(Err(status)) => {
                return Err(Rejection::from_transport(&status, state.limits.message));
            }
            Err(_) if has_pending() => {}
            Err(_) => {
                return Err(Rejection::new(
                    Reason::Idle,
                    format!("no complete message arrived for {idle:?}"),
                )
                .with_limit(Limit::idle_timeout(idle)));
            }
        }
    }
}

/// Refuses windows that begin so late that their times are imprecise.
///
/// # Errors
/// If one does; a stream has no report that could say so.
pub fn check_starts(start_ns: &[f64]) -> Result<(), Rejection> {
    let latest_ns = start_ns
        .iter()
        .fold(0.0_f64, |latest, it| latest.max(it.abs()));
    match imprecise_start(latest_ns) {
        Some(what) => Err(Rejection::malformed(format!("`start_ns`: {what}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(
            parse_timeout("99999999H"),
            Some(Duration::from_secs(359_999_996_400))
        );
        for wrong in ["", "m", "-1S", "123456789S", "1.5S", "10", "1é", "+1S"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong}");
        }
    }
}
