//! Comparison of a reconstruction with the truth: tables and plots.
//!
//! [`matching::join`] joins hits and truth by waveform; [`charge`], [`timing`], [`pairs`], [`wasserstein`] and
//! [`detection`] are pure functions of the joined waveforms; [`summary`] collects them, [`report`] and `plots` present them.
//! [`events`] does the same with reconstructed events. [`survey`] describes waveforms without any calibration.
//! All hits and photoelectrons are held in memory (about 100 bytes each while they are sorted).

mod cells;
pub mod charge;
pub mod detection;
pub mod events;
pub mod matching;
pub mod pairs;
#[cfg(feature = "plots")]
pub mod plots;
pub mod report;
pub mod stats;
pub mod summary;
pub mod survey;
pub mod timing;
pub mod wasserstein;
