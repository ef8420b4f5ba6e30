//! The method `deconvolution`: division by the spectrum of the template, then hit finding in the deconvolved trace.

pub(crate) mod charge;
pub(crate) mod decimate;
pub(crate) mod deconvolve;
pub(crate) mod filter;
pub(crate) mod hit_finding;
pub(crate) mod residual_baseline;
pub(crate) mod time;
mod trace_blocks;
