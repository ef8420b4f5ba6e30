//! What a detector has to learn from its own data: templates, gains, noise, time offsets, light maps.
//!
//! [`light`](light::light) makes light maps from the hits of sources at known indices.
//!
//! [`spe`](spe::spe) reads a run with little or no light three times. First it looks at each channel: noise, mean pulse, and
//! whether light comes at a fixed time. Then it fills the charge spectra and fits them. Last it averages the pulses of
//! single photoelectrons. Nothing is kept of a waveform but sums and histogram bins.

mod channel;
mod finalize;
mod first_pass;
pub mod light;
mod nelder_mead;
mod pedestal;
#[cfg(feature = "plots")]
pub mod plots;
pub mod spe;
mod spectrum;
mod template;

pub use spectrum::{Spectrum, SpectrumFit};
