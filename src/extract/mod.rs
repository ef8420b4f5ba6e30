//! Waveform -> hits: the stages in order, one file each, and the backend that runs them on a batch.
//!
//! [`sanity`] loads and flags, [`baseline`] takes level and noise, [`decimate`] turns pulses upright and halves the
//! rate, [`deconvolve`] divides by the template's spectrum (designed by [`filter`]), [`floor`] takes what is left of the
//! baseline off, [`find`] looks for hits, [`charge`] and [`time`] measure them. [`over_threshold`] holds the methods
//! without deconvolution. [`Extractor`] runs them.

use crate::error::Result;
use crate::model::{Batch, Extracted};

pub mod baseline;
pub mod charge;
pub mod decimate;
pub mod deconvolve;
mod extractor;
pub mod filter;
pub mod find;
pub mod floor;
pub mod lines;
pub mod over_threshold;
mod parameters;
#[cfg(test)]
mod physics;
mod quantile;
pub mod sanity;
#[cfg(test)]
mod testing;
pub mod time;

pub use extractor::{Extractor, Trace};
pub use parameters::{Filter, Method, Parameters, ReadoutFacts};

/// Something that turns a batch of waveforms into hits. The result depends on each waveform and its channel's
/// calibration alone, never on the batch it came in.
pub trait Backend: Send + Sync {
    /// `cpu` or `gpu`.
    fn name(&self) -> &'static str;

    /// Extracts the hits of every waveform of `batch`.
    ///
    /// # Errors
    /// If the backend itself fails; bad waveforms are flagged, not errors.
    fn extract(&self, batch: &Batch) -> Result<Extracted>;
}
