//! One call from its begin to its end: counted, bounded in time, and never ending as if all were well when it is not.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::rejection::{Reason, Rejection};
use super::state::ServiceState;

/// ResponseSender that wait for the client to take them.
const RESPONSE_QUEUE: usize = 1;

/// A call that is being answered.
pub struct ActiveRequest {
    state: Arc<ServiceState>,
    protocol: &'static str,
    method: &'static str,
    finished: bool,
    deadline: Option<Instant>,
}

impl ActiveRequest {
    /// A call that just came through `protocol`, with the deadline that its metadata set.
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

    /// Takes note of how it finished.
    pub fn finish(&mut self, result: Result<(), &Rejection>) {
        self.finished = true;
        let metrics = &self.state.metrics;
        let code = match result {
            Ok(()) => "ok",
            Err(rejection) => {
                metrics.note_rejection(rejection);
                rejection.reason.label()
            }
        };
        metrics.note_request(self.protocol, self.method, code);
    }

    /// What a call begins with; where it is refused, the call ends.
    ///
    /// # Errors
    /// The rejection, as the client is told.
    pub fn or_reject<T>(&mut self, result: Result<T, Rejection>) -> Result<T, Status> {
        result.map_err(|rejection| {
            self.finish(Err(&rejection));
            rejection.into()
        })
    }

    /// Does `work` unless the deadline passes or the service ends before it is done.
    ///
    /// # Errors
    /// Those of `work`, or that there is no time left.
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
                "the deadline passed; what was not done yet is dropped",
            )),
        }
    }

    /// Does `work` as the whole of a call with one response.
    ///
    /// # Errors
    /// As [`until_deadline`](Self::until_deadline), as the client is told.
    pub async fn respond<T>(
        mut self,
        work: impl Future<Output = Result<T, Rejection>>,
    ) -> Result<T, Status> {
        let result = self.until_deadline(work).await;
        self.finish(result.as_ref().map(|_| ()));
        result.map_err(Status::from)
    }

    /// Does `work` as the whole of a call with a stream of responses, on a task of its own. A client that goes ends it.
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
        let responses = ResponseSender {
            sender: sender.clone(),
            idle,
        };
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
                // Only a panic, or a client that took nothing for too long, ends without a word.
                None => Some((Err(Status::internal("the call broke off")), None)),
            }
        })
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let metrics = &self.state.metrics;
        metrics.active.dec();
        if !self.finished {
            metrics.note_request(self.protocol, self.method, "cancelled");
        }
    }
}

enum Outgoing<T> {
    Response(T),
    End(Result<(), Status>),
}

/// Where a call puts its responses.
pub struct ResponseSender<T> {
    sender: mpsc::Sender<Outgoing<T>>,
    idle: Duration,
}

impl<T> ResponseSender<T> {
    /// Hands an response to the client, as soon as it takes it.
    ///
    /// # Errors
    /// If it takes nothing for too long.
    pub async fn send(&self, response: T) -> Result<(), Rejection> {
        let sent = self.sender.send(Outgoing::Response(response));
        match tokio::time::timeout(self.idle, sent).await {
            // Of a client that is gone the call hears elsewhere.
            Ok(_) => Ok(()),
            Err(_) => Err(Rejection::new(
                Reason::Idle,
                format!("the client took no response for {:?} (`--idle`)", self.idle),
            )),
        }
    }
}

/// The time in a `grpc-timeout`: digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // As the protocol has it: at most eight digits.
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

/// Waits for the next message of a stream, but not for ever: as long as `has_pending` says that the client waits for responses, and
/// then for the idle time.
///
/// # Errors
/// If none comes for too long, it is too large, or the stream breaks off.
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
                    format!("no whole message came for {idle:?} (`--idle`)"),
                ));
            }
        }
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
