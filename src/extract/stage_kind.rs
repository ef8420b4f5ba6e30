//! The names of the stages, as reports, benchmarks and shaders use them.

use std::fmt;

/// A stage of extraction, in order. The number is the one the shaders know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Floats, flags, blocks.
    LoadSamples,
    /// Noise and rough level.
    Baseline,
    /// Pulses upright, rate halved.
    Decimate,
    /// The template's spectrum divided out.
    Deconvolve,
    /// What is left of the baseline.
    ResidualBaseline,
    /// Regions over threshold, split into hits.
    HitFinding,
    /// Charge of each hit.
    Charge,
    /// Time of each hit.
    Time,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 8] = [
        Self::LoadSamples,
        Self::Baseline,
        Self::Decimate,
        Self::Deconvolve,
        Self::ResidualBaseline,
        Self::HitFinding,
        Self::Charge,
        Self::Time,
    ];

    /// The name of its file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LoadSamples => "load_samples",
            Self::Baseline => "baseline",
            Self::Decimate => "decimate",
            Self::Deconvolve => "deconvolve",
            Self::ResidualBaseline => "residual_baseline",
            Self::HitFinding => "hit_finding",
            Self::Charge => "charge",
            Self::Time => "time",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
