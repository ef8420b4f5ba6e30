//! All results of an evaluation in one structure, the content of `evaluation.json`.
//!
//! The JSON is stable: fields are added, never renamed; a change of meaning raises [`SCHEMA_VERSION`]. Numbers that do
//! not exist (an error from one entry, the upper edge of an open bin, a result without data) are `null`. Shares and
//! relative deviations are fractions, not percent.

use std::path::Path;

use serde::Serialize;

use super::events::EventResult;
use super::matching::{Counts, Joined};
use super::{charge, detection, pairs, timing, wasserstein};

/// Version of the JSON's structure.
pub const SCHEMA_VERSION: u32 = 1;

/// One or several reconstructions of the same input, compared with its truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of nuwave that evaluated.
    pub nuwave_version: &'static str,
    /// The truth, as given.
    pub truth: String,
    /// The hits: one entry per reconstruction that has some, in the order given.
    pub methods: Vec<ReconstructionResult>,
    /// The events: one entry per reconstruction that has some, in the order given.
    pub events: Vec<EventResult>,
}

impl Evaluation {
    /// Combines the results of several reconstructions.
    #[must_use]
    pub fn new(truth: &Path, methods: Vec<ReconstructionResult>, events: Vec<EventResult>) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            nuwave_version: env!("CARGO_PKG_VERSION"),
            truth: truth.display().to_string(),
            methods,
            events,
        }
    }
}

/// The hits of one reconstruction compared with the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReconstructionResult {
    /// Name in the table and in the plots.
    pub label: String,
    /// The output folder, as given.
    pub dir: String,
    /// Numbers of what was compared, and of what could not be.
    pub counts: Counts,
    /// Charge.
    pub charge: charge::ChargeResult,
    /// Time of the first hit.
    pub timing: timing::TimingResult,
    /// Pair separation.
    pub pairs: pairs::PairResult,
    /// Wasserstein distance.
    pub wasserstein: wasserstein::WassersteinResult,
    /// Efficiency, purity, hits per photoelectron.
    pub detection: detection::DetectionResult,
}

impl ReconstructionResult {
    /// Computes all results of one reconstruction.
    #[must_use]
    pub fn evaluate(label: String, dir: &Path, joined: &Joined) -> Self {
        let waveforms = joined.waveforms();
        Self {
            label,
            dir: dir.display().to_string(),
            counts: joined.counts.clone(),
            charge: charge::evaluate(&waveforms),
            timing: timing::evaluate(&waveforms),
            pairs: pairs::evaluate(&waveforms),
            wasserstein: wasserstein::evaluate(&waveforms),
            detection: detection::evaluate(&waveforms),
        }
    }
}
