//! The structs that host and shaders share. Each is defined once, here: the macro makes the Rust struct and the text of the
//! WGSL struct from the same list of fields. A test compares the offsets in the shaders with those in Rust.

use std::fmt::Write as _;

use bytemuck::{Pod, Zeroable};

/// A struct that shaders have too.
pub trait SharedStruct: Pod {
    /// Its name in Rust and in WGSL.
    const NAME: &'static str;
    /// Its fields in order: name, type (the names of the types used are the same in Rust and in WGSL) and offset in Rust.
    const FIELDS: &'static [(&'static str, &'static str, usize)];

    /// Returns its definition in WGSL.
    #[must_use]
    fn wgsl() -> String {
        let mut text = format!("struct {} {{\n", Self::NAME);
        for (name, kind, _) in Self::FIELDS {
            let _ = writeln!(text, "    {name}: {kind},");
        }
        text + "}\n"
    }
}

macro_rules! shared_structs {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* pub $field:ident: $kind:ident,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $kind,)*
        }

        impl SharedStruct for $name {
            const NAME: &'static str = stringify!($name);
            const FIELDS: &'static [(&'static str, &'static str, usize)] = &[
                $((stringify!($field), stringify!($kind), std::mem::offset_of!($name, $field)),)*
            ];
        }
    )*};
}

shared_structs! {
    /// A waveform to extract.
    pub struct Waveform {
        /// Index of its first word in `samples`; a word holds two samples, the earlier one in the low half.
        pub first_word: u32,
        /// Number of samples.
        pub length: u32,
        /// Index of its plan in `plans`.
        pub plan: u32,
        /// Index of its summary: its number among the waveforms of the chunk that go to the device.
        pub index: u32,
    }

    /// The numbers of a template for one length of transform. `*_at` is the index of the first of `n_*` numbers in `tables`;
    /// `spectrum_at` is an index in `spectra`.
    ///
    /// The fields come from `deconvolve::DeconvolutionPlan`, `over_threshold::Pulse` and `template::Template` in `extract`.
    pub struct TemplatePlan {
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
        pub after: u32,
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
        pub sharpness_of_one: f32,
        pub sharpness_of_two: f32,
        pub peak_width: f32,
        pub equal_run: u32,
        pub baseline_noise_ratio: f32,
    }

    /// The parameters that all waveforms of a dispatch share.
    pub struct DispatchParameters {
        /// Index of the dispatch's first waveform in `waveforms`.
        pub first: u32,
        /// Number of waveforms of the dispatch.
        pub count: u32,
        /// Samples below this count are at the low rail.
        pub rail_low: u32,
        /// Samples from this count on are at the high rail.
        pub rail_high: u32,
        /// As in [`Parameters`](crate::extract::Parameters).
        pub threshold_sigma: f32,
        /// As in [`Parameters`](crate::extract::Parameters).
        pub split_sigma: f32,
        /// The factor that turns pulses upright: 1 or -1.
        pub sign: f32,
        /// Number of hits that `hits` has room for.
        pub capacity: u32,
        /// Least noise of a sample.
        pub least_noise_adc: f32,
        /// Not used.
        pub unused: u32,
    }

    /// The result of a waveform.
    pub struct Summary {
        /// Number of its hits.
        pub n_hits: u32,
        /// Index of its first hit before the compaction.
        pub first_hit: u32,
        /// Flags from the samples; the host adds those of the calibration.
        pub flags: u32,
        /// As in [`WaveformSummary`](crate::model::WaveformSummary).
        pub baseline_adc: f32,
        /// As in [`WaveformSummary`](crate::model::WaveformSummary).
        pub baseline_sigma_adc: f32,
        /// As in [`WaveformSummary`](crate::model::WaveformSummary).
        pub noise_adc: f32,
        /// Number of seeds of the fit, which follow the hits; more than a fit takes are counted, but not stored.
        pub n_seeds: u32,
        /// Noise that the fit uses.
        pub used_noise_adc: f32,
        /// As in [`WaveformSummary`](crate::model::WaveformSummary), if the flag `FITTED` is set.
        pub chi2_ndf: f32,
    }

    /// A hit, as in `model::Hit`; its time counts from the first sample of the window.
    pub struct Hit {
        pub time_ns: f32,
        pub charge_pe: f32,
        pub charge_sigma_pe: f32,
        pub time_sigma_ns: f32,
        pub flags: u32,
    }

    /// The size of the input of the compaction.
    pub struct CompactionSize {
        /// Number of waveforms of the chunk.
        pub n_waveforms: u32,
        /// Number of hits that the buffers have room for.
        pub capacity: u32,
        /// Number of tiles; a tile has as many waveforms as a workgroup has threads.
        pub n_tiles: u32,
        /// Not used.
        pub unused: u32,
    }
}
