//! Extraction: waveforms to hits.
//!
//! [`Extractor`] runs the stages on the CPU; [`Backend`] is the trait that it shares with the GPU. The stages of a waveform, in order:
//!
//! | stage | module |
//! |---|---|
//! | constant runs at the edges of the window | [`padding`] |
//! | samples to floats, flags, block sums | [`load_samples`] |
//! | samples that no pulse can make; pulses that are cut | [`glitches`], [`flat_top`], [`nonnegative_fit`], [`pulse_limits`] |
//! | baseline (pedestal) and noise | [`baseline`] |
//! | test for light, method `auto` | [`empty_waveform`] |
//! | pulses upright, rate halved | [`deconvolution::decimate`] |
//! | division by the spectrum of the template, low-pass ([`deconvolution::filter`]) | [`deconvolution::deconvolve`] |
//! | residual baseline and noise | [`deconvolution::residual_baseline`] |
//! | a baseline that moves | [`deconvolution::moving_baseline`], [`deconvolution::follow_baseline`] |
//! | hit finding | [`deconvolution::hit_finding`] |
//! | charge and time of a hit | [`deconvolution::charge`], [`deconvolution::time`] |
//! | template fit of pile-up, methods `sparse` and `auto` | [`template_fit`] |
//! | methods `integral` and `coti`, without deconvolution | [`threshold`] |

pub(crate) mod aligned_buffer;
mod arrays;
mod backend;
pub(crate) mod baseline;
mod check_samples;
pub(crate) mod deconvolution;
mod deconvolve_waveform;
pub(crate) mod empty_waveform;
mod extract_waveform;
pub(crate) mod extractor;
pub(crate) mod finalize;
pub(crate) mod flat_top;
pub(crate) mod glitches;
pub(crate) mod load_samples;
pub(crate) mod nonnegative_fit;
pub(crate) mod padding;
mod parameters;
pub(crate) mod prefetch;
pub(crate) mod pulse_height;
pub(crate) mod pulse_limits;
mod select_nth;
mod stage_kind;
pub(crate) mod template_fit;
#[cfg(test)]
mod tests;
pub(crate) mod threshold;
mod trace;
pub(crate) mod workspace;

pub use arrays::{HitArrays, Sample};
pub use backend::{Backend, BackendReport, Retry};
pub use extractor::Extractor;
pub use parameters::{DigitizerConfig, Filter, Method, Parameters};
pub use stage_kind::Stage;
pub use trace::Trace;
