//! The stages by name, for benchmarks, comparisons and shaders.

use std::fmt;

/// The stages of extraction, in order. The shaders use the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Samples to floats, flags, sums of blocks.
    LoadSamples,
    /// Noise and first level.
    Baseline,
    /// Pulses upright, rate halved.
    Decimate,
    /// The template's spectrum divided out.
    Deconvolve,
    /// Residual baseline and noise.
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

    /// Returns the name, which is that of the file of the stage.
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
