//! Notices and progress of a pass while it runs.

use std::fmt;
use std::path::PathBuf;

use crate::error::Error;
use crate::event;
use crate::io::{MergedChannels, Remark};
use crate::text::counted;

/// Receives notices and progress of a pass. Every method does nothing by default.
pub trait Observer: Send + Sync {
    /// Receives a notice for the user.
    fn notice(&self, notice: &Notice) {
        let _ = notice;
    }

    /// Called once before the first unit: `units` are to be done, with `waveforms` in them where the inputs say so.
    fn start(&self, waveforms: Option<u64>, units: u64) {
        let _ = (waveforms, units);
    }

    /// Called when `waveforms` more are extracted, with `hits` hits.
    fn advance(&self, waveforms: u64, hits: u64) {
        let _ = (waveforms, hits);
    }

    /// Called when `events` more are reconstructed, with `hits` hits.
    fn advance_events(&self, events: u64, hits: u64) {
        let _ = (events, hits);
    }

    /// Called when one more unit is finished.
    fn finish_unit(&self) {}

    /// Called after the last unit, or when a unit fails.
    fn finish(&self) {}
}

/// The observer of a pass that is given none: notices go to the log.
pub(super) struct NoticeLog;

impl Observer for NoticeLog {
    fn notice(&self, notice: &Notice) {
        if notice.is_warning() {
            tracing::warn!("{notice}");
        } else {
            tracing::info!("{notice}");
        }
    }
}

/// Something that the user of a pass may want to know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// The backend, and why.
    Backend(String),
    /// The GPU cannot be used; the CPU takes its place.
    GpuUnavailable(Error),
    /// The origin of the calibration.
    Calibration(String),
    /// The reconstruction of events.
    Events {
        /// The method.
        method: event::EventMethod,
        /// The folder of light maps.
        light_maps: Option<String>,
    },
    /// Entries of input folders that do not look like waveforms, or are outputs of nuwave.
    LeftOut {
        /// Their number.
        count: usize,
        /// The first of them.
        first: PathBuf,
    },
    /// An input that is named more than once, and read once.
    Repeated(PathBuf),
    /// Units that an earlier run finished.
    Resuming {
        /// Units that are finished.
        finished: usize,
        /// Units of the pass.
        total: usize,
    },
    /// The output is finished already, with the same inputs and settings.
    AlreadyFinished(PathBuf),
    /// An input whose events are scattered over it; it is done as one unit.
    Scattered(PathBuf),
    /// A table of hits whose events do not ascend; its hits are sorted in memory.
    Unsorted {
        /// The table.
        path: PathBuf,
        /// Where the event number falls for the first time.
        place: String,
    },
    /// A table without hits.
    NoHits(PathBuf),
    /// Inputs without channels that all become channel 0.
    MergedChannels(MergedChannels),
    /// How an input is read, where that is not what a user may expect.
    Input {
        /// The input.
        path: PathBuf,
        /// The remark of its reader.
        remark: Remark,
        /// The number of further inputs with the same remark.
        more: usize,
    },
}

impl Notice {
    /// Returns true for notices that a quiet program prints as well: warnings, and inputs that cannot be divided.
    #[must_use]
    pub fn is_important(&self) -> bool {
        self.is_warning() || matches!(self, Self::Scattered(_))
    }

    /// Returns true if the result may not be what the user expects.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        match self {
            Self::GpuUnavailable(_)
            | Self::Repeated(_)
            | Self::NoHits(_)
            | Self::MergedChannels(_) => true,
            Self::Input { remark, .. } => remark.is_warning,
            _ => false,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(line) => f.write_str(line),
            Self::GpuUnavailable(error) => write!(f, "{}\nbackend: cpu", error.reason()),
            Self::Calibration(origin) => write!(f, "templates: {origin}"),
            Self::Events { method, light_maps } => {
                write!(f, "method for events: {}, ", event_method_name(*method))?;
                match light_maps {
                    Some(dir) => write!(f, "light maps `{dir}`"),
                    None => f.write_str("without light maps"),
                }
            }
            Self::LeftOut { count, first } => write!(
                f,
                "note: {count} entries of folders are left out, which do not end like waveforms or are outputs of nuwave; the first is `{}`",
                first.display()
            ),
            Self::Repeated(path) => write!(
                f,
                "`{}` is named more than once, and read once",
                path.display()
            ),
            Self::Resuming { finished, total } => {
                write!(f, "resuming: {finished} of {total} units are finished")
            }
            Self::AlreadyFinished(output) => write!(
                f,
                "`{}` is finished already, with the same inputs and settings",
                output.display()
            ),
            Self::Scattered(path) => write!(
                f,
                "note: the events of `{}` are not in ascending order; it is done as one unit",
                path.display()
            ),
            Self::Unsorted { path, place } => write!(
                f,
                "note: the events of `{}` are not in ascending order ({place}); its hits are sorted in memory, and hits of an input with the same number are one event",
                path.display()
            ),
            Self::NoHits(path) => write!(f, "`{}` holds no hits", path.display()),
            Self::MergedChannels(merged) => write!(f, "{merged}"),
            Self::Input { path, remark, more } => {
                let note = if remark.is_warning { "" } else { "note: " };
                let more = match more {
                    0 => String::new(),
                    more => format!(" and {}", counted(*more as u64, "more input")),
                };
                write!(f, "{note}`{}`{more}: {}", path.display(), remark.text)
            }
        }
    }
}

/// Returns the name of a method for events, as it is written in reports and configuration files.
pub(super) fn event_method_name(method: event::EventMethod) -> &'static str {
    match method {
        event::EventMethod::Centroid => "centroid",
        event::EventMethod::Charge => "charge",
        event::EventMethod::Time => "time",
        event::EventMethod::Full => "full",
    }
}
