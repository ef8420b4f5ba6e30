//! nuwave: raw waveforms of photomultiplier tubes in, photoelectron hits out.
//!
//! Everything the binary does can be done from this library. `ARCHITECTURE.md` says which folder answers which question.

pub mod bench;
mod bounds;
pub mod calibrate;
pub mod cli;
pub mod detector;
pub mod error;
pub mod evaluate;
pub mod event;
pub mod extract;
pub mod gpu;
mod guard;
pub mod io;
pub mod model;
pub mod pipeline;
pub mod service;
pub mod simulate;

pub use error::{Error, ErrorKind, Result};
