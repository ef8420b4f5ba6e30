//! The GPU backend: host side of the compute shaders.
//!
//! [`adapter`] finds the GPUs, `device.rs` is the connection to one. `route.rs` says which waveforms go there, [`shaders`]
//! with which kernel, `tables.rs` brings templates. A `slot.rs` takes one chunk of waveforms up (`upload.rs`, into its
//! `buffers.rs`), through the kernels and back, `dispatch.rs` cuts it into dispatches, `assemble.rs` makes hits of what came. [`GpuExtractor`] keeps a few chunks in flight (`flight.rs`),
//! in order, and does again what a failing device loses; `main` waits for whoever is still inside that device's driver ([`driver_threads`]).
//! [`compare`] and [`staged`] hold the results against the CPU's.

pub mod adapter;
mod assemble;
pub mod bandwidth;
mod buffers;
pub mod compare;
mod constants;
mod device;
mod dispatch;
mod extractor;
mod failure;
mod flight;
pub mod driver_threads;
pub mod layout;
mod route;
pub mod shaders;
mod slot;
pub mod staged;
mod tables;
mod upload;

#[cfg(test)]
mod shader_tests;

pub use extractor::{GpuExtractor, Options};
pub use failure::{Failure, Fault, Faults};
pub use route::MAX_GPU_SAMPLES;
