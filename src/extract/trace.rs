//! The intermediate results of one waveform, for plots.

use super::extractor::Extractor;
use super::stage_kind::Stage;
use super::workspace::Workspace;
use crate::model::{Flags, Hit, Waveform};

/// The intermediate results of one waveform, for plots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Baseline as recorded.
    pub baseline_adc: f32,
    /// The baseline of each sample as recorded, where it moves; otherwise empty.
    pub moving_baseline_adc: Vec<f32>,
    /// Noise of one sample.
    pub noise_adc: f32,
    /// Interval of the deconvolved trace; its first value is at the time of the first sample.
    pub step_ns: f32,
    /// The deconvolved trace; empty for the methods without deconvolution.
    pub deconvolved_pe_per_ns: Vec<f32>,
    /// The smoothed deconvolved trace, in which hits are looked for; empty without one.
    pub smoothed_pe_per_ns: Vec<f32>,
    /// Threshold of the smoothed deconvolved trace.
    pub threshold_pe_per_ns: f32,
    /// Samples minus the fit, in counts as recorded; empty without a fit.
    pub residual_adc: Vec<f32>,
    /// The hits; times are from the first sample, without the time offset of the channel.
    pub hits: Vec<Hit>,
    /// Flags of the waveform.
    pub flags: Flags,
}

/// Puts `count` copies of the first value before a trace, if it has any.
fn pad_front(values: &mut Vec<f32>, count: usize) {
    if let Some(&first) = values.first() {
        values.splice(0..0, std::iter::repeat_n(first, count));
    }
}

impl Extractor {
    /// Extracts one waveform and returns its intermediate results.
    #[must_use]
    pub fn trace(&self, waveform: Waveform<'_>) -> Trace {
        let mut trace = Trace::default();
        let mut work = Workspace::default();
        let mut keep = |stage: Stage, work: &Workspace| {
            if stage == Stage::ResidualBaseline {
                trace.deconvolved_pe_per_ns = work.deconvolve.trace.to_vec();
                trace
                    .smoothed_pe_per_ns
                    .clone_from(&work.residual_baseline.smooth);
            }
        };
        let summary = self.extract_waveform(waveform, &mut work, &mut trace.hits, &mut keep);
        trace.baseline_adc = summary.baseline_adc;
        trace.noise_adc = summary.noise_adc;
        trace.flags = summary.flags;
        if summary.flags.contains(Flags::FITTED) {
            let sign = self.readout().polarity.sign();
            let residual = work.fit.residual.iter();
            trace.residual_adc = residual.map(|value| sign * value).collect();
        }
        if summary.flags.contains(Flags::BASELINE_FOLLOWED) {
            let sign = self.readout().polarity.sign();
            let n_samples = work.loaded.even.len() + work.loaded.odd.len();
            let curve = work.follow.curve_adc(n_samples).iter();
            trace.moving_baseline_adc = curve
                .map(|value| work.fit_level_adc + sign * value)
                .collect();
        }
        trace.threshold_pe_per_ns = work.threshold;
        trace.step_ns = work.step_ns;
        let skipped_ns = work.first_sample as f64 * self.readout().sampling_ns;
        let skipped = (skipped_ns / f64::from(work.step_ns)).round() as usize;
        pad_front(&mut trace.deconvolved_pe_per_ns, skipped);
        pad_front(&mut trace.smoothed_pe_per_ns, skipped);
        pad_front(&mut trace.residual_adc, work.first_sample);
        pad_front(&mut trace.moving_baseline_adc, work.first_sample);
        let offset_ns = self
            .calibration()
            .row_of(waveform.channel_id)
            .map_or(0.0, |(row, _)| self.channel(row).time_offset_ns);
        let shift_ns = f64::from(offset_ns) - waveform.start_ns;
        for hit in &mut trace.hits {
            hit.time_ns += shift_ns;
        }
        trace
    }
}
