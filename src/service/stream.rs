//! Messages in and responses out side by side: read as long as there is window for them, answered in their order.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::rejection::Rejection;

/// Messages under way; their bytes are bounded beside that.
const MAX_IN_FLIGHT: usize = 64;
/// What a message counts at least: its place in queues takes memory too.
const MIN_MESSAGE_BYTES: usize = 4096;

/// A message that was read, or what was wrong with it.
pub type Next<P> = Result<P, Rejection>;

/// FlowWindow for the messages of a stream that are under way.
pub struct FlowWindow {
    capacity: usize,
    free: Arc<Semaphore>,
}

impl FlowWindow {
    /// FlowWindow for `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            free: Arc::new(Semaphore::new(capacity)),
        }
    }

    /// Waits for window for a message of `bytes`; it is free again when what is returned is dropped.
    ///
    /// # Errors
    /// Never, unless nuwave has a defect.
    pub async fn acquire(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Rejection> {
        let bytes = bytes.clamp(MIN_MESSAGE_BYTES.min(self.capacity), self.capacity);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.free).acquire_many_owned(bytes).await;
        taken.map_err(|_| Rejection::internal("a stream without window"))
    }

    /// True if the client waits for an response.
    pub fn has_pending(&self) -> bool {
        self.free.available_permits() < self.capacity
    }
}

/// Runs `read`, which puts messages into a queue, beside `response`, which takes them out; ends when `response` does. What `read`
/// fails with comes behind the messages before it.
///
/// # Errors
/// Those of `response`.
pub async fn read_and_respond<P, R, A>(
    read: impl FnOnce(mpsc::Sender<Next<P>>) -> R,
    response: impl FnOnce(mpsc::Receiver<Next<P>>) -> A,
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
        result = response(pending) => result,
        never = reading => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::rejection::Reason;

    #[tokio::test]
    async fn what_came_before_a_refusal_is_answered_first() {
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
    async fn room_is_free_again_when_an_answer_is_out() {
        let window = FlowWindow::new(10_000);
        let first = window.acquire(1).await.expect("4096 of 10,000");
        assert!(window.has_pending());
        // More than there is counts as all of it, and waits.
        let all = tokio::time::timeout(
            std::time::Duration::from_millis(20),
            window.acquire(1 << 40),
        );
        assert!(all.await.is_err());
        drop(first);
        drop(window.acquire(1 << 40).await.expect("all of it"));
        assert!(!window.has_pending());
    }
}
