//! nuwave reconstructs waveforms of photomultiplier tubes: it turns raw waveforms into photoelectron hits (a time and a charge each),
//! and the hits of an event into vertex, time and energy. It is made for liquid-scintillator neutrino detectors such as JUNO.
//!
//! The program `nuwave` is a thin layer over this library. The items below are its interface:
//!
//! | to | use |
//! |---|---|
//! | read waveform files of any supported format | [`open`], [`Source`], [`Batch`] |
//! | describe the detector and its channels | [`Detector`], [`Calibration`] |
//! | extract hits | [`Extractor`], `GpuExtractor`, [`Parameters`] |
//! | reconstruct events from hits | [`EventReconstructor`], [`LightModel`] |
//! | do all of it over files, with resume, tables and a report | [`Pass`] |
//! | simulate waveforms with truth | [`WaveformPlan`], [`simulate_waveforms`] |
//!
//! # Where to start
//! A program that extracts hits in its own loop needs three steps: describe the waveforms and the detector ([`DigitizerConfig`],
//! [`Calibration`], from a file made by `nuwave calibrate spe` or [`Detector::nominal_calibration`]), make an [`Extractor`], and call
//! [`Backend::extract`] with one [`Batch`] after another. A batch comes from a file ([`open`]) or from memory ([`Batch::push`]);
//! [`Extractor::extract_array`] takes an array of samples instead. A program that only wants tables on disk runs a [`Pass`].
//! `examples/extract.rs` and `examples/events.rs` are complete programs.
//!
//! Extraction uses the caller's rayon thread pool, or a pool of the library with one thread per core. It never starts the global
//! pool of rayon. Errors are values of [`Error`]; bad waveforms are no errors but get [`Flags`].
//!
//! # Example
//! Simulates waveforms of three photoelectrons each and finds their charge again:
//! ```
//! use nuwave::{Backend as _, DigitizerConfig, Extractor, LightLevel, Parameters, Profile, WaveformPlan};
//!
//! # fn main() -> nuwave::Result<()> {
//! let detector = nuwave::load_detector("juno")?;
//! let digitizer = DigitizerConfig {
//!     sampling_ns: detector.readout.sampling_ns,
//!     polarity: detector.readout.polarity,
//!     adc_bits: Some(detector.readout.adc_bits),
//! };
//! let extractor = Extractor::new(detector.nominal_calibration()?, digitizer, Parameters::default())?;
//!
//! let plan = WaveformPlan {
//!     profile: Profile::named("ls", &detector)?,
//!     detector,
//!     seed: 1,
//!     events: 50,
//!     channels: vec![0, 1],
//!     light: LightLevel::FixedPe(3),
//! };
//! for block in nuwave::simulate_waveforms(&plan)? {
//!     let extracted = extractor.extract(&block.batch)?;
//!     let found_pe: f64 = extracted.hits.iter().map(|hit| f64::from(hit.charge_pe)).sum();
//!     let true_pe: f64 = block.photoelectrons.iter().map(|pe| f64::from(pe.charge_pe)).sum();
//!     assert!((found_pe / true_pe - 1.0).abs() < 0.1);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Cargo features
//! All are on by default. Without any, the library reads and writes files and extracts on the CPU.
//!
//! - `gpu`: extraction by compute shaders
//! - `service`: the network service
//! - `plots`: plots as SVG
//! - `cli`: the program; needs the other three

#![deny(clippy::disallowed_methods)]

#[cfg(feature = "cli")]
mod bench;
#[doc(hidden)]
pub mod calibrate;
#[doc(hidden)]
#[cfg(feature = "cli")]
pub mod cli;
#[doc(hidden)]
pub mod detector;
#[doc(hidden)]
pub mod error;
#[cfg(feature = "cli")]
mod evaluate;
#[doc(hidden)]
pub mod event;
#[doc(hidden)]
pub mod extract;
#[doc(hidden)]
#[cfg(feature = "gpu")]
pub mod gpu;
#[doc(hidden)]
pub mod io;
mod math;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod pipeline;
#[cfg(feature = "plots")]
#[cfg_attr(
    not(feature = "cli"),
    expect(dead_code, reason = "only the command line draws every kind of plot")
)]
mod plot;
#[doc(hidden)]
#[cfg(feature = "service")]
pub mod service;
#[doc(hidden)]
pub mod simulate;
mod text;
mod threads;
mod version;

#[doc(inline)]
pub use detector::{Detector, load as load_detector};
#[doc(inline)]
pub use error::{Error, ErrorKind, Hint, Result};
#[doc(inline)]
pub use event::{EventFit, EventReconstructor, LightModel};
#[doc(inline)]
pub use extract::{Backend, DigitizerConfig, Extractor, Method, Parameters};
#[cfg(feature = "gpu")]
#[doc(inline)]
pub use gpu::{GpuExtractor, Options as GpuOptions};
#[doc(inline)]
pub use io::{BatchLimit, ReadOptions, Source, open, read_truth};
#[doc(inline)]
pub use model::{
    Batch, Calibration, ChannelHit, Event, EventHits, Extracted, Flags, Hit, Photoelectron,
    Polarity, Samples, SamplesRef, TrueEvent, Truth, Waveform, WaveformSummary,
};
#[doc(inline)]
pub use pipeline::{CancelToken, Pass, PassOutcome, PassSettings, Report};
#[doc(inline)]
pub use simulate::{LightLevel, Profile, WaveformPlan, waveforms as simulate_waveforms};
pub use version::{COMMIT, RESULTS_VERSION, VERSION, VERSION_AND_COMMIT};
