//! A pass: from inputs and settings to an output folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cancel::CancelToken;
use super::observer::{Notice, NoticeLog, Observer};
use super::plan::{PlannedInput, Selection};
use super::request::{PassOutcome, Request};
use super::settings::{InputKind, PassSettings};
use super::staging::Mode;
use super::{hit_pass, waveform_pass};
use crate::error::{Error, Hint, Result};
use crate::io::inputs;

/// A pass over inputs: waveforms to hits to events, or hits to events.
///
/// The pass divides its inputs into units, does those that are selected, and writes the tables and a report into a folder that
/// appears by one rename when all units are done. Until then finished units wait in a staging folder next to it, where a
/// later pass with [`resume`](Self::resume) finds them. The result does not depend on threads, batches or backend.
///
/// # Examples
/// Simulates some waveforms, extracts their hits and reads the report:
/// ```
/// use nuwave::io::{self, WriteInfo};
/// use nuwave::model::Truth;
/// use nuwave::pipeline::{BackendKind, Pass, PassSettings, Report};
/// use nuwave::simulate::{self, LightLevel, Profile, WaveformPlan};
///
/// # fn main() -> nuwave::Result<()> {
/// let detector = nuwave::detector::load("juno")?;
/// let folder = tempfile::tempdir().expect("a temporary folder");
/// let input = folder.path().join("run.arrow");
/// let info = WriteInfo {
///     sampling_ns: detector.readout.sampling_ns,
///     adc_bits: detector.readout.adc_bits,
///     polarity: detector.readout.polarity,
///     detector: detector.name.clone(),
///     origin: String::new(),
/// };
/// let plan = WaveformPlan {
///     profile: Profile::named("ls", &detector)?,
///     detector,
///     seed: 1,
///     events: 4,
///     channels: (0..8).collect(),
///     light: LightLevel::MeanPe(2.0),
/// };
/// let mut sink = io::create(&input, &info)?;
/// for block in simulate::waveforms(&plan)? {
///     sink.write(&block.batch)?;
/// }
/// sink.finish(&Truth::default())?;
///
/// let settings = PassSettings {
///     backend: BackendKind::Cpu,
///     ..PassSettings::default()
/// };
/// let output = folder.path().join("out");
/// let outcome = Pass::new(settings, [&input], &output).run()?;
/// assert_eq!(outcome.report.totals.waveforms, 32);
/// assert!(outcome.report.totals.hits > 0);
///
/// let report = Report::read(&output)?;
/// assert_eq!(report.totals.hits, outcome.report.totals.hits);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Pass {
    request: Request,
    named: Vec<PathBuf>,
    list: Option<PathBuf>,
}

impl Pass {
    /// Returns a pass over `inputs` (files, folders or patterns; tables of hits may be folders) into the folder `output`. Its
    /// notices go to the log (`tracing`), unless it is given an [`observer`](Self::observer).
    #[must_use]
    pub fn new<P: Into<PathBuf>>(
        settings: PassSettings,
        inputs: impl IntoIterator<Item = P>,
        output: impl Into<PathBuf>,
    ) -> Self {
        Self {
            request: Request {
                settings,
                output: output.into(),
                selection: Selection::All,
                mode: Mode::default(),
                cancel: CancelToken::default(),
                observer: Arc::new(NoticeLog),
            },
            named: inputs.into_iter().map(Into::into).collect(),
            list: None,
        }
    }

    /// Returns the inputs as given to [`new`](Self::new).
    #[must_use]
    pub fn inputs(&self) -> &[PathBuf] {
        &self.named
    }

    /// Adds the inputs that are named in the file `list`, one per line.
    #[must_use]
    pub fn inputs_from(mut self, list: Option<&Path>) -> Self {
        self.list = list.map(Path::to_owned);
        self
    }

    /// Does some of the units only.
    #[must_use]
    pub fn selection(mut self, selection: Selection) -> Self {
        self.request.selection = selection;
        self
    }

    /// Keeps the units that an earlier pass finished.
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.request.mode.resume = resume;
        self
    }

    /// Replaces an output of nuwave, and starts an unfinished one over.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.request.mode.overwrite = overwrite;
        self
    }

    /// Ends the pass early once the token is set.
    #[must_use]
    pub fn cancel_token(mut self, cancel: &CancelToken) -> Self {
        self.request.cancel = cancel.clone();
        self
    }

    /// Sends notices and progress to `observer`.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.request.observer = observer;
        self
    }

    /// Returns the inputs, divided into units. Reads the headers of all inputs, and of hits the whole files.
    ///
    /// # Errors
    /// If an input cannot be read, or the settings do not fit the inputs.
    pub fn plan(&self) -> Result<Vec<PlannedInput>> {
        let files = self.files()?;
        Ok(match self.request.settings.from {
            InputKind::Waveforms => waveform_pass::plan(&self.request, &files)?.0,
            InputKind::Hits => hit_pass::plan(&self.request.settings, &files)?.0,
        })
    }

    /// Runs the pass.
    ///
    /// # Errors
    /// If an input cannot be read, the settings do not fit the inputs, the output cannot be written or exists already, or the
    /// pass is cancelled. Finished units stay in the staging folder.
    pub fn run(&self) -> Result<PassOutcome> {
        let files = self.files()?;
        match self.request.settings.from {
            InputKind::Waveforms => waveform_pass::run(&self.request, &files),
            InputKind::Hits => hit_pass::run(&self.request, &files),
        }
    }

    fn tell_repeated(&self, paths: Vec<PathBuf>) {
        for path in paths {
            self.request.observer.notice(&Notice::Repeated(path));
        }
    }

    /// Returns the input files.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let list = self.list.as_deref();
        // A table of hits may be a folder.
        if self.request.settings.from == InputKind::Hits {
            let mut files = self.named.clone();
            let listed = list.map(inputs::lines).transpose()?.unwrap_or_default();
            files.extend(listed.into_iter().map(|(_, path)| path));
            let (files, repeated) = inputs::unique(files);
            self.tell_repeated(repeated);
            return Ok(files);
        }
        let found = inputs::expand(&self.named, list)?;
        if let Some(first) = found.left_out.first() {
            self.request.observer.notice(&Notice::LeftOut {
                count: found.left_out.len(),
                first: first.clone(),
            });
        }
        self.tell_repeated(found.repeated);
        if found.files.is_empty() {
            return Err(Error::usage("no input").with_hint(Hint::NameInputs));
        }
        Ok(found.files)
    }
}
