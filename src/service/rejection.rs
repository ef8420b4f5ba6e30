//! Rejected requests: the reasons, which all protocols and the metrics share, and their gRPC status codes.

use std::fmt;
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::error::{Error, ErrorKind, Hint};

/// The response header with the reason, with the same labels as the metrics.
pub const REASON: &str = "nuwave-reason";
/// The response header with the name and the value of the limit that a request exceeds, as `client_memory_bytes=268435456`.
pub const LIMIT: &str = "nuwave-limit";
/// The response header with advice on how to change the request.
pub const HINT: &str = "nuwave-hint";
/// The maximum length of a message or a hint in bytes. A message may quote the request, and both are sent in headers.
const MAX_TEXT_BYTES: usize = 1024;

/// The reason of a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The request does not conform to the protocol or the model.
    Malformed,
    /// There is no such model, output, action or calibration.
    Unknown,
    /// A message is larger than the limit.
    MessageSize,
    /// The memory for all clients together is used up.
    Memory,
    /// The memory for this client is used up.
    ClientMemory,
    /// The token is missing or wrong.
    Token,
    /// The service is starting or shutting down.
    Draining,
    /// The client's deadline passed.
    Deadline,
    /// The client sent or read nothing for too long.
    Idle,
    /// The action is disabled, or names a file that may not be accessed.
    Forbidden,
    /// Something outside the request does not work at the moment.
    Unavailable,
    /// An internal error.
    Internal,
}

impl Reason {
    /// All reasons; metrics list them before the first rejection.
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

    /// Returns the label in the metrics.
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

/// A limit of the service that a request exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The name, with the unit.
    pub name: &'static str,
    /// The value in this unit.
    pub value: u64,
}

impl Limit {
    /// Memory of all clients together.
    #[must_use]
    pub fn memory(value: u64) -> Self {
        let name = "memory_bytes";
        Self { name, value }
    }

    /// Memory of one client.
    #[must_use]
    pub fn client_memory(value: u64) -> Self {
        let name = "client_memory_bytes";
        Self { name, value }
    }

    /// Size of one message.
    #[must_use]
    pub fn message(value: u64) -> Self {
        let name = "message_bytes";
        Self { name, value }
    }

    /// Time in which a client has to send a message or read a response.
    #[must_use]
    pub fn idle_timeout(timeout: Duration) -> Self {
        Self {
            name: "idle_timeout_ms",
            value: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// A rejected request, with the message for the client.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// The reason.
    pub reason: Reason,
    /// The message: the place of the error, the expected and the received values.
    pub message: String,
    /// The limit that the request exceeds, if that is the reason.
    pub limit: Option<Limit>,
    /// Advice on how to change the request.
    pub hint: Option<String>,
}

impl Rejection {
    /// Creates a rejection for `reason`.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: shorten(message.into()),
            limit: None,
            hint: None,
        }
    }

    /// Adds the limit that the request exceeds.
    #[must_use]
    pub fn with_limit(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Creates a rejection of a malformed request.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(Reason::Malformed, message)
    }

    /// Creates a rejection because of an internal error.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(
            Reason::Internal,
            format!("internal error: {}", message.into()),
        )
    }

    /// Converts a status of the transport about a broken or oversized message; `limit` is the largest message in bytes.
    #[must_use]
    pub fn from_transport(status: &Status, limit: usize) -> Self {
        match status.code() {
            // The transport reports a message that is too large as out of range.
            Code::OutOfRange => Self::new(
                Reason::MessageSize,
                format!(
                    "{}; a message may have at most {limit} bytes",
                    status.message()
                ),
            )
            .with_limit(Limit::message(limit as u64)),
            Code::ResourceExhausted => Self::new(Reason::Memory, status.message()),
            Code::Cancelled | Code::Unknown => {
                Self::malformed(format!("the stream is broken: {}", status.message()))
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
        let hints: Vec<String> = error.hints().iter().filter_map(advice).collect();
        let mut rejection = Self::new(reason, error.reason());
        rejection.hint = (!hints.is_empty()).then(|| shorten(hints.join("; ")));
        rejection
    }
}

impl From<Rejection> for Status {
    fn from(rejection: Rejection) -> Self {
        let limit = rejection.limit.map(|limit| limit.to_string());
        let fields = [(LIMIT, limit), (HINT, rejection.hint)];
        let mut status = Self::new(rejection.reason.code(), rejection.message);
        let reason = MetadataValue::from_static(rejection.reason.label());
        status.metadata_mut().insert(REASON, reason);
        for (name, text) in fields {
            // A text that is not ASCII cannot be sent in a header.
            if let Some(value) = text.and_then(|text| text.parse().ok()) {
                status.metadata_mut().insert(name, value);
            }
        }
        status
    }
}

/// Truncates a text to the maximum length.
fn shorten(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let mut ends = (0..=MAX_TEXT_BYTES).rev();
        let end = ends.find(|&it| text.is_char_boundary(it));
        text.truncate(end.unwrap_or(0));
        text.push_str(" ..");
    }
    text
}

/// Words a hint in terms of a request. Returns `None` if it concerns the configuration of the service.
fn advice(hint: &Hint) -> Option<String> {
    let text = match hint {
        Hint::Text(text) => return Some(text.clone().into_owned()),
        Hint::NameColumns { roles, .. } => {
            return Some(format!("columns for {} are needed", roles.join(", ")));
        }
        Hint::UseColumns(columns) => {
            let columns: Vec<String> = columns
                .iter()
                .map(|(role, name)| format!("`{name}` for {role}"))
                .collect();
            return Some(format!("name the columns {}", columns.join(", ")));
        }
        Hint::Resume {
            finished, units, ..
        } => {
            return Some(format!(
                "{finished} of {units} units are finished; the same request continues from there"
            ));
        }
        Hint::SamplingInterval => "select a calibration of this digitizer",
        Hint::OtherOutput | Hint::ReplaceOutput | Hint::MoveEntry => "name another output folder",
        Hint::SameSettings => {
            "send the inputs, the method and the calibration of the earlier request, or name another output folder"
        }
        Hint::ResumeLater => "send the same request again once the file can be read",
        Hint::ResumeOnceClosed => "send the same request again once no program writes to the file",
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn hints_are_worded_for_clients() {
        let error = Error::input(Path::new("run.h5"), "cannot be read")
            .with_hint(Hint::ResumeLater)
            .and_hint(Hint::UseCpu)
            .and_hint("check the disk");
        let status = Status::from(Rejection::from(error));
        assert_eq!(status.message(), "`run.h5`: cannot be read");
        let hint = status.metadata().get(HINT).and_then(|it| it.to_str().ok());
        let expected = "send the same request again once the file can be read; check the disk";
        assert_eq!(hint, Some(expected));
        let error = Error::usage("no adapter").with_hint(Hint::ListAdapters);
        assert_eq!(Rejection::from(error).hint, None);
    }
}
