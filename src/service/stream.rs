//! Bidirectional streams: reads messages while the flow window has room, and sends the responses in order at the same time.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Status;

use super::rejection::{Limit, Reason, Rejection};

/// The maximum number of messages in flight; the flow window bounds their bytes.
const MAX_IN_FLIGHT: usize = 64;
/// The minimum size that a message counts, because its queue entries take memory too.
const MIN_MESSAGE_BYTES: usize = 4096;

/// A message that was read, or the reason why it was rejected.
pub type Next<P> = Result<P, Rejection>;

/// Flow control: bounds the bytes of the messages of a stream that are in flight.
pub struct FlowWindow {
    capacity: usize,
    free: Arc<Semaphore>,
}

impl FlowWindow {
    /// Creates a window of `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            free: Arc::new(Semaphore::new(capacity)),
        }
    }

    /// Waits for room for a message of `bytes`. Dropping the permit frees it.
    ///
    /// # Errors
    /// Only on an internal error.
    pub async fn acquire(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Rejection> {
        let bytes = bytes.clamp(MIN_MESSAGE_BYTES.min(self.capacity), self.capacity);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.free).acquire_many_owned(bytes).await;
        permit.map_err(|_| Rejection::internal("a closed flow window"))
    }

    /// Returns true if messages are in flight, whose responses the client is waiting for.
    pub fn has_pending(&self) -> bool {
        self.free.available_permits() < self.capacity
    }
}

/// Runs `read`, which queues messages, and `respond`, which takes them from the queue, concurrently until `respond` ends. A
/// rejection of `read` is queued after the messages that were read before it.
///
/// # Errors
/// The rejection of `respond`.
pub async fn read_and_respond<P, R, A>(
    read: impl FnOnce(mpsc::Sender<Next<P>>) -> R,
    respond: impl FnOnce(mpsc::Receiver<Next<P>>) -> A,
) -> Result<(), Rejection>
where
    R: Future<Output = Result<(), Rejection>>,
    A: Future<Output = Result<(), Rejection>>,
{
    let (sender, pending) = mpsc::channel(MAX_IN_FLIGHT);
    let reading = async {
        if let Err(rejection) = read(sender.clone()).await {
            let _ = sender.send(Err(rejection)).await;
        }
        drop(sender);
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        result = respond(pending) => result,
        never = reading => match never {},
    }
}

/// A response, or the end of a streaming request.
pub enum Outgoing<T> {
    /// A response.
    Response(T),
    /// The end, with its status.
    End(Result<(), Status>),
}

/// Sends the responses of a streaming request.
pub struct ResponseSender<T> {
    sender: mpsc::Sender<Outgoing<T>>,
    idle: Duration,
}

impl<T> ResponseSender<T> {
    /// Sends to `sender`, each response within `idle`.
    pub fn new(sender: mpsc::Sender<Outgoing<T>>, idle: Duration) -> Self {
        Self { sender, idle }
    }

    /// Sends a response and waits until the client has room for it.
    ///
    /// # Errors
    /// If the client reads nothing for the idle timeout.
    pub async fn send(&self, response: T) -> Result<(), Rejection> {
        let sent = self.sender.send(Outgoing::Response(response));
        match tokio::time::timeout(self.idle, sent).await {
            // A disconnected client cancels the task of the request elsewhere.
            Ok(_) => Ok(()),
            Err(_) => Err(Rejection::new(
                Reason::Idle,
                format!("the client read no response for {:?}", self.idle),
            )
            .with_limit(Limit::idle_timeout(self.idle))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_before_a_rejection_are_answered_first() {
        let mut answered = Vec::new();
        let read = async |sender: mpsc::Sender<Next<u32>>| {
            for number in 0..200 {
                let _ = sender.send(Ok(number)).await;
            }
            Err(Rejection::malformed("the end"))
        };
        let result = read_and_respond(read, async |mut pending: mpsc::Receiver<Next<u32>>| {
            while let Some(next) = pending.recv().await {
                answered.push(next?);
            }
            Ok(())
        });
        let rejected = result.await.expect_err("the reader's");
        assert_eq!(rejected.reason, Reason::Malformed);
        assert_eq!(answered, (0..200).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn the_window_is_free_again_after_the_response() {
        let window = FlowWindow::new(10_000);
        let first = window.acquire(1).await.expect("4096 of 10,000");
        assert!(window.has_pending());
        // A message larger than the window takes all of it.
        let all = tokio::time::timeout(Duration::from_millis(20), window.acquire(1 << 40));
        assert!(all.await.is_err());
        drop(first);
        drop(window.acquire(1 << 40).await.expect("all of it"));
        assert!(!window.has_pending());
    }
}
