//! The GPU backend: the host side of the compute shaders.
//!
//! [`adapter`] finds the GPUs, `device.rs` is the connection to one of them. [`GpuExtractor`] is the backend: `routing.rs` decides which
//! waveforms the GPU takes and with which kernels, `template_tables.rs` has what the kernels know of templates, [`kernels`] has the
//! kernels themselves, [`transfer`] moves chunks of waveforms to the device and back. [`driver_threads`] waits for threads inside a
//! driver before the process ends. [`comparison`] compares the results with those of the CPU.

pub mod adapter;
#[cfg(feature = "cli")]
pub(crate) mod bandwidth;
#[doc(hidden)]
pub mod comparison;
mod device;
pub mod driver_threads;
mod extractor;
mod failure;
mod kernels;
mod routing;
mod template_tables;
mod transfer;

pub use extractor::{GpuExtractor, Options};
pub use failure::{Fault, Faults};
pub use routing::MAX_GPU_SAMPLES;
