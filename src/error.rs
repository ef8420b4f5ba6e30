//! The error type of the library: a kind, the file and the place in it, a message, the cause, and hints.
//!
//! [`Error`] displays its own message only. [`Error::reason`] adds the causes; hints are data that a program words in its
//! own terms, as the command line does with its options.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

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
    /// Returns the exit code of a command that fails with this kind.
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

/// Advice on what the user can do about an error.
///
/// Variants other than [`Text`](Hint::Text) concern settings, which each program names differently: options of the command
/// line, fields of a request, arguments of a function.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Hint {
    /// Advice that concerns no setting.
    Text(Cow<'static, str>),
    /// Name the columns or arrays with these roles.
    NameColumns {
        /// True if the table has to be named as well.
        table: bool,
        /// The roles: `event`, `channel`, `samples`, `time`, `charge`.
        roles: &'static [&'static str],
    },
    /// Name the column of the charges, or say that every hit counts one photoelectron.
    NameCharge {
        /// A column that may hold them.
        candidate: String,
    },
    /// Read these columns or arrays, which were not used, with their roles.
    UseColumns(Vec<(&'static str, String)>),
    /// Choose one of several tables.
    ChooseTable {
        /// One of them, where the names are known.
        example: Option<String>,
    },
    /// State the pattern of the names of groups or files that contain the channel.
    ChannelPattern {
        /// The pattern, where the names show it.
        pattern: Option<String>,
    },
    /// State how many samples make a waveform; the file has no headers.
    RecordSamples {
        /// The formats that need no such statement, where the file may be of any.
        formats: Option<String>,
    },
    /// Use a calibration of this digitiser, or correct the sampling interval.
    SamplingInterval,
    /// Let nuwave choose the filter, or name frequencies below this limit.
    ChooseFilter {
        /// Half the sampling rate.
        max_mhz: f64,
    },
    /// Check the direction of the pulses.
    StatePolarity,
    /// State what is not known about the readout, all at once.
    StateReadout(MissingReadout),
    /// Name a detector with a geometry.
    NameDetector,
    /// Name input files.
    NameInputs,
    /// Do not exclude events, or reconstruct waveforms instead of hits.
    WithEvents,
    /// Do not name an adapter, or do not demand the CPU.
    AdapterOrBackend,
    /// Check the polarity, take more or weaker light, or accept fewer pulses.
    SinglePulses,
    /// Choose the input that the truth belongs to.
    ChooseInput,
    /// Compute on the CPU.
    UseCpu,
    /// List the GPU adapters.
    ListAdapters,
    /// Choose another output.
    OtherOutput,
    /// Choose another output, or replace the one that is there.
    ReplaceOutput,
    /// Move the unexpected entry away, or choose another output.
    MoveEntry,
    /// Resume the earlier run, or replace what it left.
    ResumeOrReplace,
    /// Resume with the settings of the earlier run, replace what it left, or choose another output.
    SameSettings,
    /// Resume: the units that are finished are kept.
    Resume {
        /// Units that are finished.
        finished: u64,
        /// All units.
        units: u64,
        /// The folder with the finished units.
        folder: PathBuf,
    },
    /// Complete an unfinished output by resuming the run that makes it.
    CompleteOutput,
    /// Divide the run into smaller units, so that the first is finished earlier and kept.
    SmallerUnits,
    /// Resume once the file can be read again.
    ResumeLater,
    /// Resume once no program writes to the file any more.
    ResumeOnceClosed,
    /// Skip and list damaged parts instead of stopping at the first.
    SkipDamage,
    /// Divide one and the same run into shards.
    OneShardedRun,
}

/// The properties of the readout of an input that are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissingReadout {
    /// There is neither a detector nor a calibration.
    pub detector: bool,
    /// The direction of the pulses.
    pub polarity: bool,
    /// The sampling interval.
    pub sampling: bool,
    /// The first waveforms, where the input can be read: their number, and those with a negative and with a positive pulse.
    pub pulses: Option<(u64, u64, u64)>,
}

impl From<&'static str> for Hint {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Hint {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

/// An error: kind, file, place in the file, message, cause and hints.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    path: Option<PathBuf>,
    place: Option<String>,
    message: String,
    hints: Vec<Hint>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// True if a decoder reported a failure of the operating system without handing on its error.
    is_system_failure: bool,
}

/// Result with nuwave's error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Creates an error of `kind`. The message says what was found and what was expected.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            path: None,
            place: None,
            message: message.into(),
            hints: Vec::new(),
            source: None,
            is_system_failure: false,
        }
    }

    /// Creates an error of a wrong argument or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Creates an error of an input file that cannot be read or understood.
    pub fn input(path: &Path, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Input, message.to_string()).in_file(path)
    }

    /// Creates an error of an output that cannot be written.
    pub fn output(path: &Path, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Output, message.to_string()).in_file(path)
    }

    /// Creates an error of a defect of nuwave itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Creates an error of something that may be possible later.
    pub fn try_again(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::TryAgain, message)
    }

    /// Returns true if the operating system failed to read or write, as opposed to content that makes no sense.
    #[must_use]
    pub fn is_system_failure(&self) -> bool {
        self.is_system_failure || std::error::Error::source(self).is_some_and(has_os_error)
    }

    /// Records that the operating system failed, where the cause does not tell it.
    #[must_use]
    pub(crate) fn with_system_failure(mut self) -> Self {
        self.is_system_failure = true;
        self
    }

    /// Turns an input error that the operating system caused into one of kind [`ErrorKind::TryAgain`]: the file may be
    /// readable later.
    #[must_use]
    pub fn into_retryable(mut self) -> Self {
        if self.kind == ErrorKind::Input && self.is_system_failure() {
            self.kind = ErrorKind::TryAgain;
            self.hints = vec![Hint::ResumeLater];
        }
        self
    }

    /// Turns an input error into one of kind [`ErrorKind::Usage`], for a file that a setting names: a detector or a calibration.
    #[must_use]
    pub fn into_usage(mut self) -> Self {
        if self.kind == ErrorKind::Input {
            self.kind = ErrorKind::Usage;
        }
        self
    }

    /// Returns the message and its causes, each once, without the hints.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut text = self.to_string();
        let mut last = text.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let next = error.to_string();
            // Many errors print their own cause as part of themselves.
            if !last.contains(&next) {
                text = format!("{text}: {next}");
                last = next;
            }
            cause = error.source();
        }
        text
    }

    /// Sets the file that the error happened in. A file that was set before becomes part of the message.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        if self.path.is_some() {
            self.message = self.to_string();
            self.place = None;
        }
        self.path = Some(path.to_owned());
        self
    }

    /// Sets the place in the file: `row 12`, `line 3`.
    #[must_use]
    pub fn at_place(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Sets the hint, replacing all earlier ones.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Hint>) -> Self {
        self.hints = vec![hint.into()];
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn and_hint(mut self, hint: impl Into<Hint>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the file that the error happened in.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns the place in the file.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// Returns the message without file and place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the hints.
    #[must_use]
    pub fn hints(&self) -> &[Hint] {
        &self.hints
    }
}

/// Returns true if an error or one of its causes comes from the operating system.
pub(crate) fn has_os_error(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        // The error that an `io::Error` wraps is not its source: the source is that error's own.
        let wrapped = error
            .get_ref()
            .map(|wrapped| -> &(dyn std::error::Error + 'static) { wrapped });
        return error.raw_os_error().is_some() || wrapped.is_some_and(has_os_error);
    }
    error.source().is_some_and(has_os_error)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "`{}`: ", path.display())?;
        }
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn disk() -> io::Error {
        io::Error::from_raw_os_error(5)
    }

    #[test]
    fn an_error_displays_its_own_message_and_its_reason_has_each_cause_once() {
        let error = Error::input(Path::new("run.h5"), "cannot be read")
            .at_place("row 7")
            .with_source(io::Error::other(disk()))
            .with_hint("read the manual");
        assert_eq!(error.to_string(), "`run.h5`: row 7: cannot be read");
        let cause = disk().to_string();
        assert_eq!(error.reason(), format!("{error}: {cause}"));
        assert_eq!(error.hints(), [Hint::from("read the manual")]);
        let outer = error.in_file(Path::new("list:3"));
        assert_eq!(
            outer.to_string(),
            "`list:3`: `run.h5`: row 7: cannot be read"
        );
        assert_eq!(outer.path(), Some(Path::new("list:3")));
    }

    #[test]
    fn errors_of_the_system_are_found_by_their_type() {
        let error = || Error::input(Path::new("run.h5"), "cannot be read");
        let wrapped = io::Error::other(io::Error::other(disk()));
        assert!(error().with_source(disk()).is_system_failure());
        assert!(error().with_source(wrapped).is_system_failure());
        assert!(error().with_system_failure().is_system_failure());
        let text = "it says (os error 5), as a damaged file may";
        assert!(!error().with_source(text).is_system_failure());
        assert!(!error().is_system_failure());
        let later = error().with_source(disk()).into_retryable();
        assert_eq!(later.kind(), ErrorKind::TryAgain);
        assert_eq!(later.hints(), [Hint::ResumeLater]);
    }
}
