//! The stages of the methods with deconvolution for one waveform, from the baseline to the times of hits.

use super::baseline;
use super::deconvolution::deconvolve::DeconvolutionPlan;
use super::deconvolution::follow_baseline::{Movement, Suspect};
use super::deconvolution::hit_finding::HitSearch;
use super::deconvolution::residual_baseline::ResidualBaseline;
use super::deconvolution::{charge, cut_pulse, decimate, hit_finding, residual_baseline, time};
use super::extractor::{Channel, Extractor};
use super::stage_kind::Stage;
use super::workspace::Workspace;
use crate::model::{Flags, Hit};

impl Extractor {
    /// Runs stages 2 to 7 of the methods with deconvolution.
    pub(super) fn deconvolve(
        &self,
        row: usize,
        work: &mut Workspace,
        hits: &mut Vec<Hit>,
        on_stage: &mut impl FnMut(Stage, &Workspace),
    ) {
        let channel = self.channel(row);
        let n_samples = work.loaded.even.len() + work.loaded.odd.len();
        let plan = self.thread_plan(row, n_samples, &mut work.plan);
        work.step_ns = plan.step_ns;
        let measured_adc = baseline::measured_noise_adc(&work.loaded, &mut work.sorted);
        work.noise_adc = if channel.noise_adc > 0.0 {
            channel.noise_adc
        } else {
            measured_adc
        }
        .max(self.least_noise_adc());
        let trace_length = n_samples.div_ceil(channel.design.decimation);
        work.level_adc = if residual_baseline::is_long(&plan, trace_length) {
            baseline::rough_level_adc(&work.loaded)
        } else {
            baseline::estimate_baseline(&work.loaded, &mut work.sorted).level_adc
        };
        work.summary.noise_adc = measured_adc;
        on_stage(Stage::Baseline, work);

        self.decimate(channel, work, trace_length);
        on_stage(Stage::Decimate, work);
        // The quietest block, whose level this is, may lie in an undershoot.
        let is_cut = self.cuts_pulse(channel, work, work.level_adc) && {
            let agreed = baseline::estimate_baseline(&work.loaded, &mut work.sorted);
            self.cuts_pulse(channel, work, agreed.level_adc)
        };
        Self::deconvolve_trace(channel, &plan, is_cut, work);
        on_stage(Stage::Deconvolve, work);

        let noise_ratio = self.subtract_baseline(channel, &plan, work);
        work.noise_adc *= noise_ratio;
        let noise = plan.noise_gain * work.noise_adc;
        work.threshold = self.parameters().threshold_sigma
            * residual_baseline::smooth_noise(&plan, work.noise_adc);
        on_stage(Stage::ResidualBaseline, work);

        let sigma_adc = work.summary.baseline_sigma_adc;
        let search = HitSearch {
            threshold: work.threshold,
            valley_depth: self.parameters().split_sigma * noise,
            reach: hit_finding::reach(&plan),
        };
        let trace = &work.deconvolve.trace;
        hit_finding::find_hits(
            trace,
            &work.residual_baseline.smooth,
            &work.residual_baseline.block_max,
            search,
            &mut work.found,
        );
        on_stage(Stage::HitFinding, work);

        let trace = &work.deconvolve.trace;
        work.charges.clear();
        work.charges.extend(
            work.found.iter().map(|&found| {
                charge::measure_charge(trace, &plan, found, work.noise_adc, sigma_adc)
            }),
        );
        on_stage(Stage::Charge, work);

        let early_ns = time::EARLY_SIGMA * plan.kernel_sigma_ns;
        let trace = &work.deconvolve.trace;
        for (&found, &(charge_pe, charge_sigma_pe, flags)) in work.found.iter().zip(&work.charges) {
            // A shoulder may have no charge of its own; it is then not a hit.
            if charge_pe <= 0.0 {
                continue;
            }
            let time_ns = time::measure_time_ns(trace, &plan, found, noise);
            if time_ns < early_ns {
                work.summary.flags |= Flags::PULSE_IN_BASELINE;
            }
            hits.push(Hit {
                time_ns: f64::from(time_ns),
                charge_pe,
                charge_sigma_pe,
                time_sigma_ns: 0.0,
                flags,
            });
        }
        on_stage(Stage::Time, work);
    }

    /// Subtracts the residual baseline from the trace; a baseline that moves is subtracted from the samples, which are then deconvolved again.
    /// Returns the ratio of the noise of the trace to the calibrated one.
    fn subtract_baseline(
        &self,
        channel: &Channel,
        plan: &DeconvolutionPlan,
        work: &mut Workspace,
    ) -> f32 {
        let sign = self.readout().polarity.sign();
        let trace_length = work.deconvolve.trace.len();
        let mut residual = residual_baseline::estimate_residual_baseline(
            &mut work.deconvolve.trace,
            plan,
            work.noise_adc,
            &mut work.residual_baseline,
        );
        let mut curve_mean_adc = 0.0;
        if !work.summary.flags.intersects(Flags::SATURATED) {
            let movement = self.follow_baseline(channel, plan, residual.level_adc, work);
            match movement {
                Movement::Constant => (),
                Movement::Unexplained => residual.unstable = true,
                Movement::Followed(followed) => {
                    work.summary.flags |= Flags::BASELINE_FOLLOWED;
                    curve_mean_adc = followed.mean_adc;
                    work.level_adc = followed.level_adc;
                    self.decimate(channel, work, trace_length);
                    let is_cut = self.cuts_pulse(channel, work, work.level_adc);
                    Self::deconvolve_trace(channel, plan, is_cut, work);
                    residual = residual_baseline::estimate_residual_baseline(
                        &mut work.deconvolve.trace,
                        plan,
                        work.noise_adc,
                        &mut work.residual_baseline,
                    );
                    residual.unstable |= !followed.is_reliable;
                }
            }
        }
        let ResidualBaseline {
            level_adc,
            sigma_adc,
            noise_ratio,
            unstable,
        } = residual;
        work.fit_level_adc = work.level_adc + sign * level_adc;
        work.summary.baseline_adc = work.fit_level_adc + curve_mean_adc;
        work.summary.baseline_sigma_adc = sigma_adc;
        if unstable {
            work.summary.flags |= Flags::UNSTABLE_BASELINE;
        }
        noise_ratio
    }

    /// True if the end of the window is so far above the baseline `baseline_adc` that it cuts a pulse.
    fn cuts_pulse(&self, channel: &Channel, work: &Workspace, baseline_adc: f32) -> bool {
        let decimation = channel.design.decimation;
        let (end_adc, sigma) = cut_pulse::end_level(&work.deconvolve.trace, decimation);
        let above_adc = end_adc + self.readout().polarity.sign() * (work.level_adc - baseline_adc);
        above_adc > cut_pulse::CUT_PULSE_SIGMA * sigma * work.noise_adc
    }

    /// Deconvolves the trace; `is_cut` if the end of the window cuts a pulse.
    fn deconvolve_trace(
        channel: &Channel,
        plan: &DeconvolutionPlan,
        is_cut: bool,
        work: &mut Workspace,
    ) {
        if is_cut {
            let tolerance_adc = cut_pulse::CUT_TOLERANCE * work.noise_adc;
            plan.deconvolve_cut_pulse(&channel.design, tolerance_adc, &mut work.deconvolve);
        } else {
            plan.deconvolve(&mut work.deconvolve);
        }
    }

    /// Turns the samples upright, and halves their rate where the filter allows it.
    fn decimate(&self, channel: &Channel, work: &mut Workspace, trace_length: usize) {
        let sign = self.readout().polarity.sign();
        let trace = &mut work.deconvolve.trace;
        trace.resize(trace_length, 0.0);
        if channel.design.decimation == 2 {
            decimate::halve(&work.loaded, work.level_adc, sign, trace);
        } else {
            decimate::keep_all(&work.loaded, work.level_adc, sign, trace);
        }
    }

    /// Tests whether the baseline moves; if so, subtracts its curve from the samples. The noise is the calibrated one, or that of the quiet
    /// samples where it is higher.
    fn follow_baseline(
        &self,
        channel: &Channel,
        plan: &DeconvolutionPlan,
        residual_level_adc: f32,
        work: &mut Workspace,
    ) -> Movement {
        let sign = self.readout().polarity.sign();
        let ratio = work.summary.noise_adc / work.noise_adc.max(f32::MIN_POSITIVE);
        let suspect = Suspect {
            plan,
            design: &channel.design,
            trace: &work.deconvolve.trace,
            residual: &work.residual_baseline,
            level_adc: work.level_adc + sign * residual_level_adc,
            sign,
            noise_adc: work.noise_adc * ratio.clamp(1.0, residual_baseline::MAX_NOISE_RATIO),
            noise_ratio: channel.baseline_noise_ratio,
        };
        work.follow.follow(&suspect, &mut work.loaded)
    }
}
