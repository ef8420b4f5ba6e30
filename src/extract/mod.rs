//! Waveform -> hits: the stages in order, one file each, and the backend that runs them on a batch.

use crate::error::Result;
use crate::model::{Batch, Extracted};

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

pub mod baseline;
pub mod decimate;
pub mod deconvolve;
pub mod filter;
pub mod parameters;
pub mod sanity;
#[cfg(test)]
mod testing;
