//! Windows whose end cuts a pulse: the pulse is continued by the template, where any other level is held.

use super::deconvolve::{DeconvolutionPlan, DeconvolutionWorkspace, LEVEL_SAMPLES, mean};
use super::filter::Design;
use super::packed_filter::PackedFilter;

/// Part of the window before its end in which light is not known, in standard deviations of the kernel.
const CUT_SIGMA: f32 = 3.3;
/// Rounds of finding light and continuing it.
const CUT_ROUNDS: usize = 3;
/// Change of the continuation from which another round is made, in standard deviations of the noise.
pub(crate) const CUT_TOLERANCE: f32 = 0.25;
/// Height of the end of the window over the baseline from which a pulse is cut, in standard deviations of the noise.
pub(crate) const CUT_PULSE_SIGMA: f32 = 4.0;

impl DeconvolutionPlan {
    /// Deconvolves the window in `work.trace`, whose end cuts a pulse, in place: it is continued as the light found so far continues it, where any
    /// other level is held. Light is found in the window but for its end, and continued by convolution; a few times, as each continuation
    /// improves the light found before it, until it changes by less than `tolerance_adc`.
    pub(crate) fn deconvolve_cut_pulse(
        &self,
        design: &Design,
        tolerance_adc: f32,
        work: &mut DeconvolutionWorkspace,
    ) {
        let length = work.trace.len();
        work.window.clear();
        work.window.extend_from_slice(&work.trace);
        work.beyond.clear();
        let convolution = self
            .trace_convolution
            .get_or_init(|| PackedFilter::new(&design.decimated_template_spectrum(self.n_fft)));
        let cut = (CUT_SIGMA * self.kernel_sigma_ns / self.step_ns).ceil() as usize;
        let first = mean(&work.window[..LEVEL_SAMPLES.min(length)]);
        self.deconvolve_ring(work);
        for _ in 0..CUT_ROUNDS {
            work.found.clear();
            work.found.extend_from_slice(&work.trace[..length]);
            // The light of the window but for its end; what it leaves outside is its continuation.
            work.trace[length.saturating_sub(cut)..].fill(0.0);
            convolution.apply(&mut work.trace, &mut work.packed);
            let (window, beyond) = work.trace.split_at_mut(length);
            window.copy_from_slice(&work.window);
            let count = beyond.len();
            let lead = self.lead_ramp.len().min(count);
            let ramp = &self.lead_ramp[self.lead_ramp.len() - lead..];
            for (sample, weight) in beyond[count - lead..].iter_mut().zip(ramp) {
                *sample = *sample * (1.0 - weight) + first * weight;
            }
            let mut pairs = work.beyond.iter().zip(&*beyond);
            if !work.beyond.is_empty() && pairs.all(|(old, new)| (new - old).abs() <= tolerance_adc)
            {
                window.copy_from_slice(&work.found);
                break;
            }
            work.beyond.clear();
            work.beyond.extend_from_slice(beyond);
            self.filter.apply(&mut work.trace, &mut work.packed);
        }
        work.trace.resize(length, 0.0);
    }
}

/// Returns the level of the last samples of a window, and its standard deviation for a noise of 1 per sample of the waveform.
pub(crate) fn end_level(window: &[f32], decimation: usize) -> (f32, f32) {
    let end = &window[window.len().saturating_sub(LEVEL_SAMPLES)..];
    // The mean of samples of the trace is that of as many raw samples.
    let n_samples = (LEVEL_SAMPLES * decimation) as f32;
    (mean(end), 1.0 / n_samples.sqrt())
}
