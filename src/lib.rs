//! nuwave: raw waveforms of photomultiplier tubes in, photoelectron hits out.
//!
//! Everything the binary does can be done from this library. `ARCHITECTURE.md` says which folder answers which question.

#[cfg(feature = "cli")]
pub mod bench;
mod bounds;
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
mod guard;
pub mod io;
mod math;
pub mod model;
pub mod pipeline;
#[cfg(feature = "service")]
pub mod service;
pub mod simulate;

pub use error::{Error, ErrorKind, Result};

/// The version of this library, as `Cargo.toml` states it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that this library was built from: twelve digits, with `-dirty` after them if the work tree had changes;
/// `unknown` if it was built outside a Git work tree and `NUWAVE_COMMIT` was not set.
pub const COMMIT: &str = env!("NUWAVE_COMMIT");
/// Version and commit in one text, as `nuwave --version` prints them.
pub const VERSION_AND_COMMIT: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("NUWAVE_COMMIT"), ")");
