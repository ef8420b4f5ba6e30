//! The result of extraction: hits, and a summary per waveform.

use super::Flags;

/// One reconstructed hit: a time and a charge.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hit {
    /// Time of the photoelectron: start of the window plus the position in it, with the channel's offset subtracted.
    pub time_ns: f64,
    /// Charge in photoelectrons.
    pub charge_pe: f32,
    /// Expected standard deviation of the charge from noise and baseline error (not the single-PE spread).
    pub charge_sigma_pe: f32,
    /// Expected standard deviation of the time; 0 if the method does not estimate it.
    pub time_sigma_ns: f32,
    /// Flags of the hit.
    pub flags: Flags,
}

/// A time and a charge: a hit or a true photoelectron.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimedCharge {
    /// Time from the first sample of the window.
    pub time_ns: f64,
    /// Charge.
    pub charge_pe: f64,
}

/// The summary of one waveform.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WaveformSummary {
    /// Sum of the charges of the hits.
    pub charge_pe: f32,
    /// Time of the earliest hit; `None` if there is none.
    pub first_time_ns: Option<f64>,
    /// Number of hits.
    pub n_hits: u32,
    /// Baseline in ADC counts, as recorded (not inverted).
    pub baseline_adc: f32,
    /// Standard deviation of the baseline's estimate.
    pub baseline_sigma_adc: f32,
    /// Standard deviation of a single sample without light.
    pub noise_adc: f32,
    /// Chi-square of the fit's residual per degree of freedom; `None` without a fit.
    pub chi2_ndf: Option<f32>,
    /// Flags of the waveform, including those of its hits.
    pub flags: Flags,
}

impl WaveformSummary {
    /// Creates the summary of a waveform that could not be reconstructed; `flags` state why.
    #[must_use]
    pub fn unknown(flags: Flags) -> Self {
        Self {
            charge_pe: f32::NAN,
            baseline_adc: f32::NAN,
            baseline_sigma_adc: f32::NAN,
            noise_adc: f32::NAN,
            flags,
            ..Self::default()
        }
    }
}

/// The hits and summaries of one batch, in the batch's order.
///
/// `summaries` has one entry per waveform; waveform `i` owns the next `summaries[i].n_hits` hits, in time order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extracted {
    /// All hits, waveform after waveform.
    pub hits: Vec<Hit>,
    /// One summary per waveform.
    pub summaries: Vec<WaveformSummary>,
    /// How many of them the CPU extracted although a GPU was there to do it: it does not take them, or it failed.
    pub left_to_cpu: usize,
}

impl Extracted {
    /// Concatenates the parts of a batch.
    #[must_use]
    pub fn joined(mut parts: Vec<Self>) -> Self {
        if parts.len() == 1 {
            return parts.swap_remove(0);
        }
        let mut all = Self::default();
        all.hits
            .reserve(parts.iter().map(|part| part.hits.len()).sum());
        all.summaries
            .reserve(parts.iter().map(|part| part.summaries.len()).sum());
        for part in parts {
            all.left_to_cpu += part.left_to_cpu;
            all.hits.extend(part.hits);
            all.summaries.extend(part.summaries);
        }
        all
    }
}
