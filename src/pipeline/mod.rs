//! Offline reconstruction: source, extraction, events, tables and report; units of work, resuming, merging and verifying.
//!
//! A [`Pass`] is a list of units (`plan.rs`), each a block of whole events of one input. Three stages of a unit run at the same
//! time (`unit.rs`): one thread reads batches, the thread pool extracts them, one thread writes tables. The queues between them
//! hold few batches: a slow stage slows down the others and memory stays constant. Batches leave in the order they came in.
//! Where the detector has a geometry, events are then reconstructed from the hits that were written (`events.rs`). Each
//! finished unit is recorded in the staging folder (`staging.rs`), where a later run finds it; the report is made from those
//! records (`report/`).

mod backend;
mod cancel;
mod contradictions;
mod cut_pulses;
mod detector_context;
mod duplicates;
mod event_builder;
mod event_stage;
mod events;
mod facts;
mod hit_pass;
mod job;
mod memory;
mod merge;
mod observer;
mod outcome;
mod output;
mod pass;
mod plan;
mod record;
mod report;
mod request;
mod run_manifest;
mod sample_range;
mod settings;
mod staging;
mod sums;
mod unit;
mod verify;
mod waveform_pass;

pub use backend::{BackendChoice, BackendKind};
pub use cancel::CancelToken;
#[cfg(feature = "service")]
pub(crate) use contradictions::imprecise_start;
pub use cut_pulses::CutPulses;
#[cfg(feature = "cli")]
pub(crate) use detector_context::continue_tails;
pub use detector_context::{DetectorContext, missing_readout};
pub use duplicates::{DuplicateFilter, FallBack};
pub use event_builder::EventBuilder;
pub use event_stage::EventStage;
pub use facts::{Expected, Observed};
#[cfg(feature = "cli")]
pub(crate) use memory::memory_mib;
pub use merge::merge;
pub use observer::{Notice, Observer};
pub use output::OutputFolder;
pub use pass::Pass;
pub use plan::{PlannedInput, Selection, Unit, units};
pub use record::{RangeChecksum, UnitEvents, UnitRecord, UnitReport, UnitTimings};
pub use report::{
    EventsPlan, EventsReport, InputReport, InputWarning, LightMaps, ListedLoss, Report, Timings,
    Totals,
};
pub use request::PassOutcome;
pub use run_manifest::RunManifest;
pub use sample_range::AboveRange;
pub use settings::{InputKind, InputOptions, OnError, PassSettings};
pub use staging::Mode;
pub use verify::{Finding, verify};
