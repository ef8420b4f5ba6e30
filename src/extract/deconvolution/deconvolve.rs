//! Stage 4: deconvolution by FFT: division by the spectrum of the template and low-pass; ADC counts in, PE per ns out.
//!
//! The window is extended at both ends from the level there smoothly to the baseline, so that an undershoot tail that the window cuts
//! makes no edge. After that there is padding for the tail of the inverse filter, so that nothing wraps around.

use std::sync::OnceLock;

use super::filter::Design;
use super::kernel_integral::KernelIntegral;
use super::packed_filter::{PackedFilter, PackedWorkspace};
use crate::extract::aligned_buffer::AlignedBuffer;
use crate::math;

/// Samples of the trace per block, over which the later stages sum.
pub(crate) const BLOCK: usize = 8;
/// Samples whose mean is the level at an end of the window.
pub(crate) const LEVEL_SAMPLES: usize = 8;
/// Distance at which the smoothed trace is compared with itself to find bumps, in standard deviations of the kernel.
const BUMP_REACH_SIGMA: f32 = 3.0;
/// Longest ramp from that level to the baseline, in decimated samples.
const MAX_RAMP: usize = 64;
/// Number of samples up to which the noise of sums is tabulated.
const NOISE_TABLE: usize = 256;

/// The deconvolution of one template for one length of the transform.
pub struct DeconvolutionPlan {
    /// Samples of the transform, decimated.
    pub n_fft: usize,
    /// Interval of the deconvolved trace.
    pub step_ns: f32,
    /// Standard deviation of the Gaussian with the kernel's height.
    pub kernel_sigma_ns: f32,
    /// Noise of the deconvolved trace, in PE/ns for white noise of 1 ADC count per sample.
    pub noise_gain: f32,
    /// Noise of the charge in 0, 1, .. samples of the trace, in PE for white noise of 1 ADC count per sample.
    pub charge_noise: Vec<f32>,
    /// Response of the trace to a baseline error of 1 ADC count, in PE/ns.
    pub baseline_response: Vec<f32>,
    /// The same summed over blocks of [`BLOCK`] samples.
    pub block_response: Vec<f32>,
    /// Share of the charge of a photoelectron inside the window, by the distance of its peak from the end in decimated samples.
    pub share_before_end: Vec<f32>,
    pub(crate) kernel_integral: KernelIntegral,
    /// Distance in samples of the trace over which the smoothed trace is compared with itself to find bumps as narrow as the kernel.
    pub(crate) bump_reach: usize,
    /// Standard deviation of that comparison, in PE/ns for white noise of 1 ADC count.
    pub(crate) bump_noise: f32,
    /// Height of the template over its area above 0, per ns.
    pub(crate) height_per_area: f32,
    pub(super) filter: PackedFilter,
    /// The convolution of a trace with the template at the rate of the trace, created when a waveform first needs it.
    pub(super) trace_convolution: OnceLock<PackedFilter>,
    /// The same at the full sampling rate.
    template_filter: OnceLock<PackedFilter>,
    pub(crate) lead_ramp: Vec<f32>,
    pub(crate) tail_ramp: Vec<f32>,
}

/// Buffers for the deconvolution of one waveform.
#[derive(Debug, Default)]
pub struct DeconvolutionWorkspace {
    /// Input: the decimated window, whose length the caller sets. Result: the deconvolved trace.
    pub trace: AlignedBuffer,
    pub(super) packed: PackedWorkspace,
    /// Of a cut pulse: the window, its continuation in the round before, and the trace of that round.
    pub(super) window: Vec<f32>,
    pub(super) beyond: Vec<f32>,
    pub(super) found: Vec<f32>,
}

impl DeconvolutionPlan {
    /// Creates the plan of `design` for transforms of `n_fft` decimated samples, an even number.
    #[must_use]
    pub fn new(design: &Design, n_fft: usize) -> Self {
        let step_ns = (design.decimation as f64 * design.sampling_ns) as f32;
        let lead = design.kernel_lead.div_ceil(design.decimation);
        let padding = design.padding.div_ceil(design.decimation).min(n_fft / 2);
        let ramp = |longest: usize| -> Vec<f32> {
            let length = longest.clamp(1, MAX_RAMP);
            (0..length)
                .map(|index| {
                    let angle = std::f64::consts::PI * (index as f64 + 0.5) / length as f64;
                    (0.5 + 0.5 * math::cos(angle)) as f32
                })
                .collect()
        };
        let mut plan = Self {
            n_fft,
            step_ns,
            kernel_sigma_ns: design.kernel_sigma_ns as f32,
            noise_gain: design.noise_gain as f32,
            charge_noise: design
                .charge_noise_pe(NOISE_TABLE)
                .into_iter()
                .map(|value| value as f32)
                .collect(),
            baseline_response: Vec::new(),
            block_response: Vec::new(),
            share_before_end: Vec::new(),
            kernel_integral: KernelIntegral::new(design),
            bump_reach: 0,
            bump_noise: 0.0,
            height_per_area: design.height_per_area() as f32,
            filter: PackedFilter::new(&design.spectrum(n_fft)),
            trace_convolution: OnceLock::new(),
            template_filter: OnceLock::new(),
            lead_ramp: ramp(padding / 4).into_iter().rev().collect(),
            tail_ramp: ramp(padding / 2),
        };
        let longest = n_fft - padding;
        let mut work = DeconvolutionWorkspace::default();
        work.trace.resize(longest, 1.0);
        plan.deconvolve(&mut work);
        plan.baseline_response = work.trace.to_vec();
        plan.block_response = plan
            .baseline_response
            .chunks_exact(BLOCK)
            .map(|block| block.iter().sum())
            .collect();
        plan.share_before_end = plan.shares_before_end(design, lead);
        // A detector has thousands of plans, and few of them will see a pulse that the end of the window cuts.
        plan.trace_convolution = OnceLock::new();
        plan.bump_reach =
            ((BUMP_REACH_SIGMA * plan.kernel_sigma_ns / step_ns).round() as usize).max(2);
        let taps = bump_taps(plan.smoothing(), plan.bump_reach);
        plan.bump_noise = design.filtered_noise(&taps) as f32;
        plan
    }

    /// Returns the width in samples over which the trace is smoothed to find hits: that of a matched filter, odd.
    #[must_use]
    pub fn smoothing(&self) -> usize {
        let wanted = 2.8 * self.kernel_sigma_ns / self.step_ns;
        (2 * (0.5 * wanted) as usize + 1).max(3)
    }

    /// Returns the length of the longest window in decimated samples.
    #[must_use]
    pub fn max_window(&self) -> usize {
        self.baseline_response.len()
    }

    /// Returns the share of the charge of a photoelectron inside the window, by the distance of its peak from the end. The peak of a pulse that
    /// the window cuts is later than its time, so that several times may have one peak.
    fn shares_before_end(&self, design: &Design, lead: usize) -> Vec<f32> {
        let longest = self.max_window();
        let count = (3 * lead).min(longest / 2);
        let mut sums = vec![(0.0_f32, 0.0_f32); count + 1];
        let mut work = DeconvolutionWorkspace::default();
        for distance in 1..count {
            work.trace.resize(longest, 0.0);
            work.trace.fill(0.0);
            let at = longest - distance;
            design.decimated_template(&mut work.trace[at..]);
            self.deconvolve_cut_pulse(design, 0.0, &mut work);
            let seen = &work.trace[at.saturating_sub(lead)..];
            let share = seen.iter().sum::<f32>() * self.step_ns;
            let (peak, _) =
                seen.iter()
                    .enumerate()
                    .fold((0, f32::NEG_INFINITY), |best, (index, &value)| {
                        if value > best.1 { (index, value) } else { best }
                    });
            // Of a pulse that has hardly begun, the highest sample may be anywhere.
            let expected = at - at.saturating_sub(lead);
            if peak + lead / 2 >= expected
                && let Some(sum) = sums.get_mut(seen.len() - peak)
            {
                *sum = (sum.0 + share, sum.1 + 1.0);
            }
        }
        // A distance at which no time has its peak takes the share of the next larger one.
        let mut share = 1.0;
        let mut shares: Vec<f32> = sums
            .into_iter()
            .rev()
            .map(|(sum, number)| {
                share = if number > 0.0 { sum / number } else { share };
                share
            })
            .collect();
        shares.reverse();
        shares
    }

    /// Returns the share of the kernel up to `time_ns` after its centre.
    #[must_use]
    pub fn kernel_integral(&self, time_ns: f32) -> f32 {
        self.kernel_integral.at(time_ns)
    }

    /// Deconvolves the window in `work.trace` in place. Its length must not exceed [`max_window`](Self::max_window).
    pub fn deconvolve(&self, work: &mut DeconvolutionWorkspace) {
        let length = work.trace.len();
        self.deconvolve_ring(work);
        work.trace.resize(length, 0.0);
    }

    /// Deconvolves the window in `work.trace`, and returns the trace of the whole circular transform: the window, what follows it, and what
    /// precedes it.
    pub(super) fn deconvolve_ring(&self, work: &mut DeconvolutionWorkspace) {
        let length = work.trace.len();
        let trace = &mut work.trace;
        let first = mean(&trace[..LEVEL_SAMPLES.min(length)]);
        let (last, decay) = level_and_decay(&trace[length.saturating_sub(2 * LEVEL_SAMPLES)..]);
        trace.resize(self.n_fft, 0.0);
        let beyond = &mut trace[length..];
        let count = beyond.len();
        write_tail(beyond, last, decay, &self.tail_ramp);
        // The transform is circular: its end precedes the window.
        let lead = self.lead_ramp.len().min(count);
        write_lead(
            &mut beyond[count - lead..],
            first,
            &self.lead_ramp[self.lead_ramp.len() - lead..],
        );
        self.filter.apply(trace, &mut work.packed);
    }

    /// Converts a trace in PE/ns into samples in ADC counts, in place: the convolution with the template. `work.trace` holds one number per
    /// sample of the waveform for the whole circular transform.
    pub(super) fn convolve_with_template(
        &self,
        design: &Design,
        work: &mut DeconvolutionWorkspace,
    ) {
        let filter = self.template_filter.get_or_init(|| {
            PackedFilter::new(&design.template_spectrum(self.n_fft * design.decimation))
        });
        filter.apply(&mut work.trace, &mut work.packed);
    }
}

/// Returns the weights of the difference between the trace smoothed over `width` samples and the mean of it `reach` before and after.
fn bump_taps(width: usize, reach: usize) -> Vec<f64> {
    let mut taps = vec![0.0; width + 2 * reach];
    let share = 1.0 / width as f64;
    for offset in 0..width {
        taps[offset] -= 0.5 * share;
        taps[offset + reach] += share;
        taps[offset + 2 * reach] -= 0.5 * share;
    }
    taps
}

/// Writes the samples after the window: a level that decays by the share `decay` per sample, faded out by `ramp`.
#[multiversion::multiversion(targets = "simd")]
fn write_tail(beyond: &mut [f32], level: f32, decay: f32, ramp: &[f32]) {
    for (index, (sample, weight)) in beyond.iter_mut().zip(ramp).enumerate() {
        let ahead = (index as u32 + 1) as f32;
        *sample = level * weight / (1.0 + decay * ahead);
    }
}

/// Writes the samples before the window: from the baseline to a level along `ramp`, which is as long as `before`.
#[multiversion::multiversion(targets = "simd")]
fn write_lead(before: &mut [f32], level: f32, ramp: &[f32]) {
    for (sample, weight) in before.iter_mut().zip(ramp) {
        *sample = level * weight;
    }
}

pub(super) fn mean(samples: &[f32]) -> f32 {
    samples.iter().sum::<f32>() / samples.len().max(1) as f32
}

/// Returns the level after the end of a window, and the share by which it decays per sample.
///
/// A level that moves towards the baseline (the tail of an undershoot) continues to do so; any other stays.
fn level_and_decay(end: &[f32]) -> (f32, f32) {
    let (before, after) = end.split_at(end.len() / 2);
    let (before, after) = (mean(before), mean(after));
    let half = 0.5 * end.len() as f32;
    let slope = (after - before) / half;
    let level = after + 0.5 * slope * half;
    let decay = -slope / level;
    // A faster decay is that of a pulse, of which nothing is known after the window.
    let fastest = 1.0 / half;
    if level * after > 0.0 && decay > 0.0 && decay < fastest {
        (level, decay)
    } else {
        (after, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::deconvolution::decimate;
    use crate::extract::load_samples::{LoadedSamples, load_samples};
    use crate::extract::parameters::Filter;
    use crate::extract::tests::helpers::{PEAK_ADC, juno_pulse, juno_row};
    use crate::model::SamplesRef;

    fn deconvolved(samples: &[f32], undershoot: f32) -> (Design, DeconvolutionPlan, Vec<f32>) {
        let design = Design::new(&juno_row(undershoot, 0.1), Filter::Auto).expect("a valid filter");
        let plan = DeconvolutionPlan::new(&design, design.n_fft(samples.len()));
        let mut loaded = LoadedSamples::default();
        load_samples(
            SamplesRef::F32(samples),
            (f32::NEG_INFINITY, f32::INFINITY),
            &mut loaded,
        );
        let mut work = DeconvolutionWorkspace::default();
        work.trace.resize(loaded.even.len(), 0.0);
        decimate::halve(&loaded, 0.0, 1.0, &mut work.trace);
        plan.deconvolve(&mut work);
        (design, plan, work.trace.to_vec())
    }

    fn pulse_at(t0: f64, charge: f64, undershoot: f64, length: usize) -> Vec<f32> {
        (0..length)
            .map(|t| PEAK_ADC * (charge * juno_pulse(t as f64 - t0, undershoot)) as f32)
            .collect()
    }

    #[test]
    fn a_photoelectron_becomes_the_kernel_at_its_time() {
        for (t0, charge) in [(300.0, 1.0), (300.4, 7.0), (700.9, 100.0)] {
            let (design, _, trace) = deconvolved(&pulse_at(t0, charge, 0.05, 1000), 0.05);
            let sigma = design.kernel_sigma_ns;
            let height = charge / (sigma * (2.0 * std::f64::consts::PI).sqrt());
            for (index, &value) in trace.iter().enumerate() {
                let distance = (2.0 * index as f64 - t0) / sigma;
                let expected = height * math::exp(-0.5 * distance * distance);
                assert!(
                    (f64::from(value) - expected).abs() < 2e-3 * height,
                    "{t0}, {charge}, {index}: {value} for {expected}"
                );
            }
        }
    }

    #[test]
    fn a_tail_cut_by_the_end_makes_no_light_there() {
        // 100 PE, and an undershoot that still stands 5 PE deep at the end.
        let (design, _, trace) = deconvolved(&pulse_at(900.0, 100.0, 0.10, 1000), 0.10);
        let height = 100.0 / (design.kernel_sigma_ns * (2.0 * std::f64::consts::PI).sqrt()) as f32;
        let largest = trace[470..]
            .iter()
            .fold(0.0_f32, |largest, value| largest.max(value.abs()));
        assert!(largest < 2e-3 * height, "{largest} of {height}");
    }

    #[test]
    fn a_constant_comes_out_as_the_baseline_response() {
        let (design, plan, trace) = deconvolved(&[1.0; 1000], 0.05);
        // Windows of other lengths have another way to wrap; well below what matters for a baseline that is nearly right.
        for (index, (&found, &expected)) in trace.iter().zip(&plan.baseline_response).enumerate() {
            assert!(
                (found / expected - 1.0).abs() < 0.08,
                "{index}: {found} for {expected}"
            );
        }
        let area: f64 = crate::extract::tests::helpers::juno_template(0.05)
            .iter()
            .map(|&value| f64::from(value))
            .sum();
        let late = f64::from(plan.baseline_response[450]) * area * design.sampling_ns;
        assert!(
            (late - 1.0).abs() < 0.02,
            "one count is one over the area: {late}"
        );
    }

    #[test]
    fn deconvolution_is_linear_and_shifts_with_its_input() {
        let (_, _, one) = deconvolved(&pulse_at(300.0, 1.0, 0.05, 1000), 0.05);
        let (_, _, later) = deconvolved(&pulse_at(340.0, 3.0, 0.05, 1000), 0.05);
        for (index, (a, b)) in one[..450].iter().zip(&later[20..]).enumerate() {
            assert!((3.0 * a - b).abs() < 1e-3, "{index}: {a} and {b}");
        }
    }

    #[test]
    fn charge_is_kept_until_close_to_the_end() {
        let (design, plan, _) = deconvolved(&[0.0; 1000], 0.05);
        let sigma_steps = (design.kernel_sigma_ns / 2.0).ceil() as usize;
        for (distance, &share) in plan
            .share_before_end
            .iter()
            .enumerate()
            .skip(15 * sigma_steps)
        {
            assert!((share - 1.0).abs() < 0.01, "{distance}: {share}");
        }
        assert!(plan.share_before_end[0] < 0.6);
    }
}
