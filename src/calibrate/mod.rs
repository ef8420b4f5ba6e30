//! Calibration of a detector from its own data: templates, gains, noise, time offsets, light maps.
//!
//! [`light`](light::light) makes light maps from the hits of sources at known positions.
//!
//! [`spe`](spe::spe) reads a run with little or no light three times. The first pass determines each channel's noise and mean
//! pulse, and whether light arrives at a fixed time. The second pass fills the charge spectra, which are then fitted. The
//! third pass averages the pulses of single photoelectrons. Only sums and histogram bins are kept of the waveforms.

mod channel;
pub mod defects;
mod diagnosis;
mod finalize;
mod first_pass;
pub mod light;
mod nelder_mead;
mod noise_histogram;
mod parameters;
mod pedestal;
#[cfg(feature = "plots")]
pub mod plots;
mod quantile;
mod quiet;
mod refusal;
mod result;
pub mod spe;
mod spectrum;
mod spectrum_quality;
mod template;

pub use diagnosis::RunProblems;
pub use quiet::{NoiseLine, QuietNoise};
pub use spectrum::{Spectrum, SpectrumFit};
pub use spectrum_quality::FitErrors;
