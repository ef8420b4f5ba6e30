//! The method `deconvolution`: division by the spectrum of the template, then hit finding in the deconvolved trace.

mod auto_filter;
mod baseline_curve;
mod baseline_decision;
pub(crate) mod charge;
pub(crate) mod cut_pulse;
pub(crate) mod decimate;
pub(crate) mod deconvolve;
pub(crate) mod filter;
pub(crate) mod follow_baseline;
pub(crate) mod hit_finding;
mod kernel_integral;
pub(crate) mod moving_baseline;
pub(crate) mod packed_filter;
pub(crate) mod residual_baseline;
mod smoothing_spline;
mod template_area;
pub(crate) mod time;
mod trace_blocks;
mod trace_noise;
