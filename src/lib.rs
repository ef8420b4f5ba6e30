//! nuwave: raw waveforms of photomultiplier tubes in, photoelectron hits out.
//!
//! Everything the binary does can be done from this library. `ARCHITECTURE.md` says which folder answers which question.

#[cfg(feature = "cli")]
pub mod bench;
pub mod calibrate;
#[cfg(feature = "cli")]
pub mod cli;
pub mod detector;
pub mod error;
pub mod evaluate;
pub mod event;
pub mod extract;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod io;
mod math;
pub mod model;
pub mod pipeline;
#[cfg(feature = "plots")]
mod plot;
#[cfg(feature = "service")]
pub mod service;
pub mod simulate;
mod text;
mod threads;
mod version;

pub use error::{Error, ErrorKind, Hint, Result};
pub use version::{COMMIT, RESULTS_VERSION, VERSION, VERSION_AND_COMMIT};
