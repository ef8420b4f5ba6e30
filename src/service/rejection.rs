//! What is not done for a client, and why: one list of reasons for every door, its status codes, and the metrics.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::error::{Error, ErrorKind};

/// The header of an response that says why a call was refused, as metrics do.
pub const REASON: &str = "nuwave-reason";
/// Most bytes of a message: what a client sent may be part of it, and goes back in a header.
const MAX_MESSAGE_BYTES: usize = 1024;

/// Why something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The request is not what the protocol or the model wants.
    Malformed,
    /// There is no such model, output, action or calibration.
    Unknown,
    /// A message is larger than the limit.
    MessageSize,
    /// The memory for all clients together is taken.
    Memory,
    /// The memory for this client is taken.
    ClientMemory,
    /// The token is missing or wrong.
    Token,
    /// The service is about to end.
    Draining,
    /// The client's deadline passed.
    Deadline,
    /// The client sent or took nothing for too long.
    Idle,
    /// The action is switched off, or names a file that it may not.
    Forbidden,
    /// Something outside the request does not work at the moment.
    Unavailable,
    /// A defect of nuwave.
    Internal,
}

impl Reason {
    /// All of them, for metrics that are there before the first rejection.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::Unknown,
        Self::MessageSize,
        Self::Memory,
        Self::ClientMemory,
        Self::Token,
        Self::Draining,
        Self::Deadline,
        Self::Idle,
        Self::Forbidden,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Its label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::MessageSize => "message_size",
            Self::Memory => "memory",
            Self::ClientMemory => "client_memory",
            Self::Token => "token",
            Self::Draining => "draining",
            Self::Deadline => "deadline",
            Self::Idle => "idle",
            Self::Forbidden => "forbidden",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    fn code(self) -> Code {
        match self {
            Self::Malformed => Code::InvalidArgument,
            Self::Unknown => Code::NotFound,
            Self::MessageSize | Self::Memory | Self::ClientMemory => Code::ResourceExhausted,
            Self::Token => Code::Unauthenticated,
            Self::Draining | Self::Unavailable => Code::Unavailable,
            Self::Deadline | Self::Idle => Code::DeadlineExceeded,
            Self::Forbidden => Code::PermissionDenied,
            Self::Internal => Code::Internal,
        }
    }
}

/// Something that is not done, with what the client is told.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// What the client is told: the place, what was expected, a way out.
    pub message: String,
}

impl Rejection {
    /// A rejection for `reason`.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_MESSAGE_BYTES {
            let ends = (0..=MAX_MESSAGE_BYTES).rev();
            let end = ends.into_iter().find(|&it| message.is_char_boundary(it));
            message.truncate(end.unwrap_or(0));
            message.push_str(" ..");
        }
        Self { reason, message }
    }

    /// The request is not what it has to be.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(Reason::Malformed, message)
    }

    /// A defect of nuwave.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Reason::Internal, message)
    }

    /// What a broken or oversized message of a client is, as the transport tells it; `limit` is the largest message.
    #[must_use]
    pub fn from_transport(status: &Status, limit: usize) -> Self {
        match status.code() {
            // The transport calls a message that is too large out of range.
            Code::OutOfRange => Self::new(
                Reason::MessageSize,
                format!(
                    "{}; a message may have {limit} bytes (`--message-mib`)",
                    status.message()
                ),
            ),
            Code::ResourceExhausted => Self::new(Reason::Memory, status.message()),
            Code::Cancelled | Code::Unknown => {
                Self::malformed(format!("the stream broke off: {}", status.message()))
            }
            _ => Self::malformed(status.message()),
        }
    }
}

impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        let reason = match error.kind() {
            ErrorKind::Usage | ErrorKind::Input => Reason::Malformed,
            ErrorKind::TryAgain | ErrorKind::Output => Reason::Unavailable,
            ErrorKind::Gpu | ErrorKind::Internal => Reason::Internal,
        };
        Self::new(reason, error.reason())
    }
}

impl From<Rejection> for Status {
    fn from(rejection: Rejection) -> Self {
        let mut status = Self::new(rejection.reason.code(), rejection.message);
        let reason = MetadataValue::from_static(rejection.reason.label());
        status.metadata_mut().insert(REASON, reason);
        status
    }
}
