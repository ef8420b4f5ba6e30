//! Source -> extract -> events -> sink: units of work, batching, back-pressure, order, resuming, report.
//!
//! A run is a list of units (`plan.rs`), each a block of whole events of one input. Within a unit three things go on at once
//! (`unit.rs`): a thread reads batches, the thread pool extracts them, a thread writes tables. The queues between them
//! hold few batches, so that a slow stage slows the others and memory stays flat. Batches come out in the order they
//! went in. EventBuilder follow where a detector has a geometry, from the hits that were written (`events.rs`). A finished unit is
//! recorded in the staging folder (`work.rs`), where a later run finds it; the report is made of those records (`report.rs`).

mod cancel;
mod duplicates;
mod event_builder;
mod events;
mod memory;
mod merge;
mod outcome;
mod output;
mod plan;
mod progress;
mod progress_bar;
mod read_report;
mod record;
mod report;
mod report_events;
mod run_manifest;
mod staging;
mod summary;
mod unit;
mod verify;

pub use cancel::CancelToken;
pub use duplicates::DuplicateFilter;
pub use event_builder::EventBuilder;
pub use events::run_events;
pub use merge::merge;
pub use outcome::{EventsOutcome, UnitOutcome};
pub use output::{OutputFolder, REPORT};
pub use plan::{PlannedInput, Selection, Unit, units};
pub use progress::Progress;
#[cfg(feature = "cli")]
pub use progress_bar::style as progress_style;
pub use record::{RangeChecksum, UnitEvents, UnitRecord, UnitReport, UnitTimings};
pub use report::{InputReport, ListedLoss, Provenance, Report, Timings, Totals};
pub(crate) use report_events::method_name;
pub use report_events::{EventsPlan, EventsReport, LightMaps};
pub use run_manifest::RunManifest;
pub use staging::{Mode, OpenOutcome, StagingDir};
pub use unit::{UnitContext, run_unit, stopped_at};
pub use verify::{Finding, verify};
