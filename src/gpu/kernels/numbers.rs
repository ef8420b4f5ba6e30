//! Numbers that host and shaders share and that no stage defines.

use crate::extract::Method;
use crate::model::Flags;

/// Complex points of the longest transform.
pub const MAX_BINS: usize = 4096;
/// Where the angles of the packed transform begin among the twiddle factors.
pub const ANGLES_AT: usize = 2 * MAX_BINS;

/// Lanes of a sum over samples; the same for every width of workgroup, so that sums do not depend on it.
pub const LANES: u32 = 32;
/// Samples that the search for missed pulses looks at together.
pub const TILE: u32 = 64;
/// Words of the header of a waveform's state.
pub const HEADER_WORDS: u32 = 16;

/// The words of the header of a waveform's state: results of stages for later stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Flags of the waveform.
    Flags,
    /// Rough level of the baseline.
    Level,
    /// Noise of a sample, from the raw blocks.
    MeasuredNoise,
    /// Noise of a sample that is used: the calibrated one, and after the residual baseline the one in the trace.
    Noise,
    /// The baseline.
    Baseline,
    /// Its standard deviation.
    BaselineSigma,
    /// Threshold of the hit finding.
    Threshold,
    /// Number of found hits.
    NFound,
}

impl Header {
    /// Every word with its name in the shaders.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::Flags, "HEADER_FLAGS"),
        (Self::Level, "HEADER_LEVEL"),
        (Self::MeasuredNoise, "HEADER_MEASURED_NOISE"),
        (Self::Noise, "HEADER_NOISE"),
        (Self::Baseline, "HEADER_BASELINE"),
        (Self::BaselineSigma, "HEADER_BASELINE_SIGMA"),
        (Self::Threshold, "HEADER_THRESHOLD"),
        (Self::NFound, "HEADER_N_FOUND"),
    ];
}

// Bits of a found hit's second word, above its peak; the flags of the hit follow.
/// The hit is the first one of its region.
pub const LEADS: u32 = 1 << 16;
/// There is no other region right before the hit.
pub const ALONE_BEFORE: u32 = 1 << 17;
/// There is no other region right after the hit.
pub const ALONE_AFTER: u32 = 1 << 18;
/// Bits below the flags.
pub const FLAGS_SHIFT: u32 = 20;

/// A flag of a [`Summary`](super::shared_types::Summary) that only device and host exchange: the fit is left to the CPU.
pub const LEFT_TO_CPU: u32 = 1 << 31;

// No flag of the tables has this bit.
const _: () = {
    let mut index = 0;
    while index < Flags::ALL.len() {
        assert!(Flags::ALL[index].0.0 & LEFT_TO_CPU == 0);
        index += 1;
    }
};

/// The methods as the kernel numbers them: methods with a fit begin with the deconvolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodNumber {
    /// `METHOD_DECONVOLUTION`.
    Deconvolution,
    /// `METHOD_INTEGRAL`.
    Integral,
    /// `METHOD_COTI`.
    Coti,
}

impl MethodNumber {
    /// Every number with its name in the shaders.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Deconvolution, "METHOD_DECONVOLUTION"),
        (Self::Integral, "METHOD_INTEGRAL"),
        (Self::Coti, "METHOD_COTI"),
    ];
}

impl From<Method> for MethodNumber {
    fn from(method: Method) -> Self {
        match method {
            Method::Deconvolution | Method::Sparse | Method::Auto => Self::Deconvolution,
            Method::Integral => Self::Integral,
            Method::Coti => Self::Coti,
        }
    }
}

/// The fit after the extraction, as the kernel numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FitNumber {
    /// `FIT_NONE`.
    None,
    /// `FIT_ALWAYS`: of every waveform with hits.
    Always,
    /// `FIT_AUTO`: of every waveform with hits; empty waveforms are recognised first.
    Auto,
}

impl FitNumber {
    /// Every number with its name in the shaders.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::None, "FIT_NONE"),
        (Self::Always, "FIT_ALWAYS"),
        (Self::Auto, "FIT_AUTO"),
    ];
}

impl From<Method> for FitNumber {
    fn from(method: Method) -> Self {
        match method {
            Method::Deconvolution | Method::Integral | Method::Coti => Self::None,
            Method::Sparse => Self::Always,
            Method::Auto => Self::Auto,
        }
    }
}
