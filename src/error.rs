//! The one error type of the library: a kind (which fixes the exit code), a message that names the place, a hint.

use std::fmt;
use std::path::Path;

/// The kind of an error. The binary's exit code follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A wrong argument, configuration, detector or calibration (exit code 2).
    Usage,
    /// An input that cannot be read or understood (exit code 3).
    Input,
    /// An output that cannot be written: permission, full disk, exists already (exit code 5).
    Output,
    /// A GPU was demanded and there is none, or it was lost (exit code 6).
    Gpu,
    /// A defect of nuwave itself (exit code 70).
    Internal,
    /// Nothing is wrong with what was asked for: a signal, a file that changes or that the system cannot read at the
    /// moment, another process at work on the same output (exit code 75).
    TryAgain,
}

/// Exit code of a run that finished but had to leave parts of the input out.
pub const EXIT_PARTIAL: u8 = 4;

impl ErrorKind {
    /// The exit code of a command that fails with this kind.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Input => 3,
            Self::Output => 5,
            Self::Gpu => 6,
            Self::Internal => 70,
            Self::TryAgain => 75,
        }
    }
}

/// An error with the place it happened at and, where one is known, what to do about it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Result with nuwave's error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind`; `message` names the place and what was expected there.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// A wrong argument or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// An input file that cannot be read or understood; the message begins with the path.
    pub fn input(path: &Path, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Input, format!("`{}`: {message}", path.display()))
    }

    /// An output that cannot be written; the message begins with the path.
    pub fn output(path: &Path, message: impl fmt::Display) -> Self {
        Self::new(
            ErrorKind::Output,
            format!("`{}`: {message}", path.display()),
        )
    }

    /// A defect of nuwave itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// A failure that may be gone later.
    pub fn try_again(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::TryAgain, message)
    }

    /// True if the operating system failed at reading or writing, and not the content at making sense.
    ///
    /// Decoders hand on such errors as text only; what they have in common is how the standard library ends it.
    #[must_use]
    pub fn is_of_the_system(&self) -> bool {
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let of_io = error
                .downcast_ref::<std::io::Error>()
                .and_then(std::io::Error::raw_os_error);
            if of_io.is_some() || error.to_string().contains("(os error ") {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// An input that the system failed at reading may be readable another time: the same error of kind
    /// [`ErrorKind::TryAgain`], with the way on.
    #[must_use]
    pub fn to_be_tried_again(mut self) -> Self {
        if self.kind == ErrorKind::Input && self.is_of_the_system() {
            self.kind = ErrorKind::TryAgain;
            self.hint = Some("when the file can be read again, `--resume` goes on".to_owned());
        }
        self
    }

    /// Message and cause without the hint, for lists.
    #[must_use]
    pub fn reason(&self) -> String {
        match &self.source {
            Some(source) => format!("{}: {source}", self.message),
            None => self.message.clone(),
        }
    }

    /// Puts the file it happened with before the message.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        self.message = format!("`{}`: {}", path.display(), self.message);
        self
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Keeps the cause, printed after the message.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The hint, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}
