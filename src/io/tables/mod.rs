//! The tables of `reconstruct`: `hits`, `waveforms` and `events`, written and read.

pub mod columns;
pub mod event_hits;
pub mod events;
pub mod read;
mod write;

#[cfg(feature = "service")]
pub(crate) use write::{HitColumns, WaveformColumns};
pub use write::{
    Part, TablesWriter, checksum, folder_checksum, hits_schema, path_checksum, waveforms_schema,
};
