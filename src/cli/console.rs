//! Notices and progress of a pass on stderr.

use std::sync::OnceLock;
use std::time::Duration;

use super::Verbosity;
use super::error_text::advice;
use super::progress::Progress;
use crate::pipeline::{Notice, Observer};

/// Prints what a pass reports.
pub(crate) struct Console {
    verbosity: Verbosity,
    interval: Duration,
    progress: OnceLock<Progress>,
}

impl Console {
    /// Returns an observer that prints a line of progress every `interval` where stderr is not a terminal.
    pub fn new(verbosity: Verbosity, interval: Duration) -> Self {
        Self {
            verbosity,
            interval,
            progress: OnceLock::new(),
        }
    }
}

impl Observer for Console {
    fn notice(&self, notice: &Notice) {
        if self.verbosity.quiet && !notice.is_important() {
            return;
        }
        if let Notice::Events {
            light_maps: None, ..
        } = notice
        {
            status!("{notice} (`--light-maps DIR` gives some)");
        } else if let Notice::MergedChannels(merged) = notice {
            status!("warning: {}", super::merged_channels_text(merged));
        } else if let Notice::Repeated(_) = notice {
            status!("note: {notice}");
        } else if let Notice::Input { remark, .. } = notice
            && let Some(hint) = &remark.hint
        {
            let kind = if remark.is_warning { "warning: " } else { "" };
            status!("{kind}{notice} ({})", advice(hint));
        } else if notice.is_warning() {
            status!("warning: {notice}");
        } else {
            status!("{notice}");
        }
    }

    fn start(&self, waveforms: Option<u64>, units: u64) {
        self.progress.get_or_init(|| {
            Progress::new(waveforms, Some(units), self.interval, self.verbosity.quiet)
        });
    }

    fn advance(&self, waveforms: u64, hits: u64) {
        if let Some(progress) = self.progress.get() {
            progress.advance(waveforms, hits);
        }
    }

    fn advance_events(&self, events: u64, _hits: u64) {
        if let Some(progress) = self.progress.get() {
            progress.advance_events(events);
        }
    }

    fn finish_unit(&self) {
        if let Some(progress) = self.progress.get() {
            progress.finish_unit();
        }
    }

    fn finish(&self) {
        if let Some(progress) = self.progress.get() {
            progress.finish();
        }
    }
}
