//! The request for a pass, and its outcome.

use std::path::PathBuf;
use std::sync::Arc;

use super::cancel::CancelToken;
use super::observer::Observer;
use super::plan::Selection;
use super::report::Report;
use super::settings::PassSettings;
use super::staging::Mode;

/// Everything that determines a pass but its inputs.
#[derive(Clone)]
pub(super) struct Request {
    pub settings: PassSettings,
    pub output: PathBuf,
    pub selection: Selection,
    pub mode: Mode,
    pub cancel: CancelToken,
    pub observer: Arc<dyn Observer>,
}

impl Request {
    /// Fails if the pass is cancelled.
    pub fn check_cancelled(&self) -> crate::error::Result<()> {
        if self.cancel.is_cancelled() {
            return Err(self.cancel.error());
        }
        Ok(())
    }
}

/// The result of a pass.
#[derive(Debug)]
pub struct PassOutcome {
    /// The report, as written into the output folder.
    pub report: Report,
    /// True if an earlier pass with the same inputs and settings had finished the output.
    pub was_finished: bool,
    /// True if a GPU was demanded and failed for good; the CPU did the rest, and the result is complete.
    pub lost_gpu: bool,
}
