//! The GPU backend: host side of the compute shaders.
//!
//! [`adapter`] finds the GPUs, `device.rs` is the connection to one. `routing.rs` says which waveforms go there, [`shaders`]
//! with which kernel, `template_tables.rs` brings templates. A `ring_slot.rs` takes one chunk of waveforms up (`upload.rs`, into its
//! `buffers.rs`), through the kernels and back, `dispatch.rs` cuts it into dispatches, `merge_results.rs` makes hits of what came. [`GpuExtractor`] keeps a few chunks in flight (`in_flight.rs`),
//! in order, and does again what a failing device loses; `main` waits for whoever is still inside that device's driver ([`driver_threads`]).
//! [`compare`] and [`stage_by_stage`] hold the results against the CPU's.

pub mod adapter;
pub mod bandwidth;
mod buffers;
pub mod compare;
mod constants;
mod device;
mod dispatch;
pub mod driver_threads;
mod extractor;
mod failure;
mod in_flight;
pub mod layout;
mod merge_results;
mod ring_slot;
mod routing;
pub mod shaders;
pub mod stage_by_stage;
mod template_tables;
mod upload;

#[cfg(test)]
mod shader_tests;

pub use extractor::{GpuExtractor, Options};
pub use failure::{Failure, Fault, Faults};
pub use routing::MAX_GPU_SAMPLES;
