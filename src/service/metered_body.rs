//! Bodies of requests and responses that hold memory of a client's budget.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;

use super::budget::BudgetPermit;
use super::rejection::{Limit, Reason, Rejection};
use super::state::ServiceState;

/// The number of bytes that have to arrive within each idle timeout.
const BYTES_PER_IDLE_PERIOD: u64 = 1 << 20;
/// The maximum size of a request without tensors, in bytes.
pub const MAX_SMALL_REQUEST: u64 = 256 << 10;

/// The body of a response that holds the memory of its request until it is sent.
pub struct PermitBody {
    inner: Body,
    _permit: Arc<Mutex<BudgetPermit>>,
}

impl PermitBody {
    /// Wraps `inner` so that it holds `permit`.
    pub fn new(inner: Body, permit: Arc<Mutex<BudgetPermit>>) -> Self {
        Self {
            inner,
            _permit: permit,
        }
    }
}

impl HttpBody for PermitBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The size of the header of a gRPC message: a compression flag and the length.
const FRAME_HEADER: usize = 5;

/// The body of a unary request. The memory of a large message is reserved as soon as its header announces the length, so that a
/// message that does not fit is rejected before the client sends the rest. The body has to arrive at a minimum rate.
pub struct MeteredBody {
    inner: Body,
    permit: Arc<Mutex<BudgetPermit>>,
    state: Arc<ServiceState>,
    /// True if the message may be large; the memory of others is reserved already.
    grows: bool,
    /// The header of the message, as far as it has arrived.
    header: Vec<u8>,
    /// The number of received bytes, and of those reserved.
    received: u64,
    reserved: u64,
    started: Instant,
    timer: Pin<Box<Sleep>>,
}

impl MeteredBody {
    /// Wraps `inner`; `grows` if the message may be large.
    pub fn new(
        inner: Body,
        permit: Arc<Mutex<BudgetPermit>>,
        state: Arc<ServiceState>,
        grows: bool,
    ) -> Self {
        Self {
            inner,
            permit,
            grows,
            header: Vec::new(),
            received: 0,
            reserved: 0,
            started: Instant::now(),
            timer: Box::pin(tokio::time::sleep(state.limits.idle)),
            state,
        }
    }

    fn count(&mut self, data: &[u8]) -> Result<(), Rejection> {
        self.received += data.len() as u64;
        if !self.grows {
            return if self.received <= MAX_SMALL_REQUEST {
                Ok(())
            } else {
                Err(Rejection::new(
                    Reason::MessageSize,
                    format!("requests of this method may have at most {MAX_SMALL_REQUEST} bytes"),
                ))
            };
        }
        if self.header.len() < FRAME_HEADER {
            let missing = FRAME_HEADER - self.header.len();
            self.header.extend(data.iter().take(missing));
        }
        let mut needed = self.received;
        if let [_, length @ ..] = self.header.as_slice()
            && let Ok(length) = <[u8; 4]>::try_from(length)
        {
            // The transport rejects a message above the limit, with that as the reason.
            let length = u64::from(u32::from_be_bytes(length));
            if length <= self.state.limits.message as u64 {
                needed = needed.max(FRAME_HEADER as u64 + length);
            }
        }
        let more = needed.saturating_sub(self.reserved);
        if more > 0 {
            let mut permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
            permit.grow(more)?;
            self.reserved = needed;
        }
        Ok(())
    }

    /// Returns true if fewer bytes than required have arrived by now.
    fn is_late(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let idle = self.state.limits.idle;
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            let periods =
                u32::try_from(1 + self.received / BYTES_PER_IDLE_PERIOD).unwrap_or(u32::MAX);
            let Some(until) = self.started.checked_add(idle.saturating_mul(periods)) else {
                return false;
            };
            if until <= Instant::now() {
                return true;
            }
            self.timer.as_mut().reset(until);
        }
    }
}

impl HttpBody for MeteredBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        let rejected = match &polled {
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(data) => self.count(data).err(),
                None => None,
            },
            Poll::Pending if self.is_late(cx) => Some(
                Rejection::new(
                    Reason::Idle,
                    format!(
                        "the request did not arrive in time: {} bytes in {:?}",
                        self.received,
                        self.started.elapsed()
                    ),
                )
                .with_limit(Limit::idle_timeout(self.state.limits.idle)),
            ),
            _ => None,
        };
        if let Some(rejection) = rejected {
            self.state.metrics.record_rejection(&rejection);
            return Poll::Ready(Some(Err(Status::from(rejection).into())));
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
