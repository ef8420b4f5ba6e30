//! The data types that all other modules share, without I/O: waveforms in batches, hits, flags, calibration, light maps, tables, truth.

mod batch;
mod calibration;
mod channel_hit;
mod event;
mod flags;
mod hit;
pub mod light_maps;
pub(crate) mod rails;
mod tables;
pub(crate) mod template_tail;
mod truth;
pub mod vector;

pub use batch::{Batch, MAX_SAMPLES, MIN_SAMPLES, Polarity, Samples, SamplesRef, Waveform};
pub use calibration::{Calibration, ChannelCalibration, RunKind, SpeMeasurement};
pub use channel_hit::{ChannelHit, EventHits};
pub use event::Event;
pub use flags::Flags;
pub use hit::{Extracted, Hit, TimedCharge, WaveformSummary};
pub use tables::{HitTable, Reconstruction, WaveformTable};
pub use truth::{Photoelectron, TrueEvent, Truth};
