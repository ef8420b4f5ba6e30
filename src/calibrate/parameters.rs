//! The parameters of the single-photoelectron calibration.

use crate::model::Polarity;
pub use crate::model::RunKind;

/// The parameters of [`spe`](super::spe::spe).
#[derive(Clone, Debug, PartialEq)]
pub struct SpeParameters {
    /// Direction of the pulses.
    pub polarity: Polarity,
    /// Interval between samples.
    pub sampling_ns: f64,
    /// Bits of a sample, where the digitiser is known: waveforms that reach a limit of it are left out.
    pub adc_bits: Option<u32>,
    /// The kind of run; `None`: determined from the data.
    pub run: Option<RunKind>,
    /// Samples over which the charge is summed, the last not included; `None`: determined from the data.
    pub window: Option<(usize, usize)>,
    /// Minimum number of pulses for a channel's own template.
    pub min_pulses: u64,
    /// Time at which light reaches the PMTs, from the first sample on, which fixes the offsets. `None`: offsets are zero.
    pub light_ns: Option<f64>,
}
