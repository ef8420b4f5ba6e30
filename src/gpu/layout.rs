//! What host and shaders share: the structs of `shaders/common/layout.wgsl`, byte for byte. A test asks the shaders for
//! their offsets.

use bytemuck::{Pod, Zeroable};

/// One waveform to extract.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Waveform {
    /// Its first word of two samples.
    pub first_word: u32,
    /// Samples.
    pub length: u32,
    /// Place of its plan.
    pub plan: u32,
    /// Place of its summary: its number among the waveforms of the chunk that go to the device.
    pub index: u32,
}

/// What is known of a template for one length of transform. `*_at` are places in the tables, `spectrum_at` in the spectra.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "the fields are those of `deconvolve::Plan`, `over_threshold::Pulse` and `template::Response`"
)]
pub struct Plan {
    pub spectrum_at: u32,
    pub response_at: u32,
    pub n_response: u32,
    pub block_response_at: u32,
    pub n_block_response: u32,
    pub shares_at: u32,
    pub n_shares: u32,
    pub charge_noise_at: u32,
    pub n_charge_noise: u32,
    pub kernel_integral_at: u32,
    pub n_kernel_integral: u32,
    pub lead_ramp_at: u32,
    pub n_lead_ramp: u32,
    pub tail_ramp_at: u32,
    pub n_tail_ramp: u32,
    pub decimation: u32,
    pub smoothing: u32,
    pub margin: u32,
    pub reach: u32,
    pub edge_reach: u32,
    pub step_ns: f32,
    pub kernel_sigma_ns: f32,
    pub noise_gain: f32,
    pub noise_adc: f32,
    pub kernel_lead_ns: f32,
    pub kernel_per_ns: f32,
    pub gain: f32,
    pub covered: f32,
    pub edge_ns: f32,
    pub before: u32,
    pub behind: u32,
    pub coefficients_at: u32,
    pub n_coefficients: u32,
    pub correlation_at: u32,
    pub sum_at: u32,
    pub share_at: u32,
    pub slope_share_at: u32,
    pub main_pulse_at: u32,
    pub main_samples: u32,
    pub seen: u32,
    pub scale: f32,
    pub squares: f32,
    pub squares_of_curvature: f32,
    pub main_area: f32,
    pub peak_adc: f32,
    pub charge_sigma_pe: f32,
}

/// What all waveforms of a dispatch share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Run {
    /// The dispatch's first waveform.
    pub first: u32,
    /// The dispatch's waveforms.
    pub count: u32,
    /// Samples below this one are at the low rail.
    pub rail_low: u32,
    /// Samples from this one on are at the high rail.
    pub rail_high: u32,
    /// As in [`Parameters`](crate::extract::Parameters).
    pub threshold_sigma: f32,
    /// As in [`Parameters`](crate::extract::Parameters).
    pub split_sigma: f32,
    /// What turns pulses upright.
    pub sign: f32,
    /// Room for hits.
    pub capacity: u32,
    /// Least noise of a sample.
    pub least_noise_adc: f32,
    /// Nothing.
    pub unused: u32,
}

/// Among the flags of a [`Summary`]: the fit has more photoelectrons than its kernels hold, and is the CPU's. As in `layout.wgsl`.
pub const OUTGROWN: u32 = 1 << 31;

/// What comes back for each waveform.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Summary {
    /// Hits found.
    pub n_hits: u32,
    /// Place of the first one before they are put into order.
    pub first_hit: u32,
    /// What the samples tell; what the calibration tells is the host's to add.
    pub flags: u32,
    /// As in [`WaveformSummary`](crate::model::WaveformSummary).
    pub baseline_adc: f32,
    /// As in [`WaveformSummary`](crate::model::WaveformSummary).
    pub baseline_sigma_adc: f32,
    /// As in [`WaveformSummary`](crate::model::WaveformSummary).
    pub noise_adc: f32,
    /// Seeds of the fit that stand behind the hits; more than a fit takes are counted and not there.
    pub n_seeds: u32,
    /// Noise that the fit goes by.
    pub used_noise_adc: f32,
    /// As in [`WaveformSummary`](crate::model::WaveformSummary), where there was a fit.
    pub chi2_ndf: f32,
}

/// What comes back for each hit: times from the first sample of the window.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "as in `model::Hit`")]
pub struct Hit {
    pub time_ns: f32,
    pub charge_pe: f32,
    pub charge_sigma_pe: f32,
    pub time_sigma_ns: f32,
    pub flags: u32,
}

/// What the compaction has to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Count {
    /// Waveforms of the chunk.
    pub n_waveforms: u32,
    /// Room for hits.
    pub capacity: u32,
    /// Tiles of as many waveforms as a workgroup has threads.
    pub n_tiles: u32,
    /// Nothing.
    pub unused: u32,
}
