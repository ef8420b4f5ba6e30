//! The method `deconvolution`: division by the template's spectrum, then hits of the deconvolved trace.

pub(crate) mod charge;
pub(crate) mod decimate;
pub(crate) mod deconvolve;
pub(crate) mod filter;
pub(crate) mod hit_finding;
pub(crate) mod residual_baseline;
pub(crate) mod time;
