//! Subtracts a baseline that moves from the samples, and deconvolves them once more.

use super::baseline_curve::{BaselineCurveWorkspace, CurveInput};
use super::decimate;
use super::deconvolve::{DeconvolutionPlan, DeconvolutionWorkspace};
use super::filter::Design;
use super::moving_baseline::{MovingBaselineWorkspace, is_suspect};
use super::residual_baseline::ResidualBaselineWorkspace;
use crate::extract::load_samples::LoadedSamples;

/// Buffers.
#[derive(Debug, Default)]
pub(crate) struct FollowWorkspace {
    test: MovingBaselineWorkspace,
    curve: BaselineCurveWorkspace,
    convolution: DeconvolutionWorkspace,
}

/// A waveform whose baseline may move.
pub(crate) struct Suspect<'a> {
    pub(crate) plan: &'a DeconvolutionPlan,
    pub(crate) design: &'a Design,
    /// The trace, its residual baseline subtracted.
    pub(crate) trace: &'a [f32],
    pub(crate) residual: &'a ResidualBaselineWorkspace,
    /// The level that was subtracted from the samples, as recorded, with the residual baseline.
    pub(crate) level_adc: f32,
    /// Polarity of pulses.
    pub(crate) sign: f32,
    /// Noise of a sample.
    pub(crate) noise_adc: f32,
    /// Noise of means over many samples, relative to white noise.
    pub(crate) noise_ratio: f32,
}

/// How the baseline of a waveform was found to move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Movement {
    /// It is one constant level, or there are too few samples without light to tell.
    Constant,
    /// It moves, but no curve describes it, or blocks lie below the level, where no light can be; no curve was subtracted.
    Unexplained,
    /// A curve was subtracted from the samples.
    Followed(Followed),
}

/// A curve that was subtracted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Followed {
    /// The level that remains in the samples, as recorded.
    pub(crate) level_adc: f32,
    /// Mean of the curve, relative to that level, as recorded.
    pub(crate) mean_adc: f32,
    /// False if the curve is not determined well.
    pub(crate) is_reliable: bool,
}

impl FollowWorkspace {
    /// Tests whether the baseline of `suspect` moves; if so, subtracts its curve from `loaded`.
    pub(crate) fn follow(&mut self, suspect: &Suspect<'_>, loaded: &mut LoadedSamples) -> Movement {
        let &Suspect {
            plan,
            trace,
            residual,
            noise_adc,
            noise_ratio,
            sign,
            ..
        } = suspect;
        let noise = (noise_adc, noise_ratio);
        if !is_suspect(trace, plan, noise, residual, &mut self.test) {
            return Movement::Constant;
        }
        let (verdict, blocks) = self.test.test(plan, &residual.smooth, noise);
        if !verdict.is_moving {
            return if verdict.is_too_deep {
                Movement::Unexplained
            } else {
                Movement::Constant
            };
        }
        let level_adc = suspect.level_adc + sign * verdict.level_adc;
        // The trace outside the window is needed too, with the level corrected.
        let ring = &mut self.convolution.trace;
        ring.resize(trace.len(), 0.0);
        if suspect.design.decimation == 2 {
            decimate::halve(loaded, level_adc, sign, ring);
        } else {
            decimate::keep_all(loaded, level_adc, sign, ring);
        }
        plan.deconvolve_ring(&mut self.convolution);
        let found = self.curve.find(&CurveInput {
            trace: &self.convolution.trace[..trace.len()],
            plan,
            blocks,
            test: &self.test,
            noise_adc,
        });
        let Some(is_reliable) = found else {
            return Movement::Unexplained;
        };
        let n_samples = loaded.even.len() + loaded.odd.len();
        self.convolve_curve(suspect, n_samples, trace.len());
        let curve = &self.convolution.trace[..n_samples];
        for (index, value) in curve.iter().enumerate() {
            let half = if index % 2 == 0 {
                &mut loaded.even
            } else {
                &mut loaded.odd
            };
            half[index / 2] -= sign * value;
        }
        Movement::Followed(Followed {
            level_adc,
            mean_adc: sign * curve.iter().sum::<f32>() / n_samples as f32,
            is_reliable,
        })
    }

    /// Returns the curve of the waveform that was followed last, with pulses upright, relative to the level: ADC counts per sample.
    pub(crate) fn curve_adc(&self, n_samples: usize) -> &[f32] {
        self.convolution.trace.get(..n_samples).unwrap_or_default()
    }

    /// Writes the curve in ADC counts per sample into the buffer of the convolution: inside the window the curve, outside what the trace shows
    /// there, convolved with the template.
    fn convolve_curve(&mut self, suspect: &Suspect<'_>, n_samples: usize, trace_length: usize) {
        let ring = self.convolution.trace.to_vec();
        let decimation = suspect.design.decimation;
        let curve = &self.curve.curve;
        let interpolate = |values: &[f32], index: usize, after: usize| {
            let (whole, rest) = (index / decimation, index % decimation);
            let share = rest as f32 / decimation as f32;
            values[whole] * (1.0 - share) + values[after] * share
        };
        let full = &mut self.convolution.trace;
        full.resize(ring.len() * decimation, 0.0);
        for (index, value) in full.iter_mut().enumerate() {
            *value = if index < n_samples {
                let after = (index / decimation + 1).min(trace_length - 1);
                interpolate(curve, index, after)
            } else {
                let after = (index / decimation + 1) % ring.len();
                interpolate(&ring, index, after)
            };
        }
        suspect
            .plan
            .convolve_with_template(suspect.design, &mut self.convolution);
    }
}
