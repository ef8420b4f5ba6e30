//! The CPU backend: the stages of one waveform in order, and of all waveforms of a batch on the threads of the current rayon pool.

use std::ops::Range;

use rayon::prelude::*;

use super::backend::Backend;
use super::deconvolution::deconvolve::DeconvolutionPlan;
use super::deconvolution::follow_baseline::{Movement, Suspect};
use super::deconvolution::hit_finding::HitSearch;
use super::deconvolution::residual_baseline::ResidualBaseline;
use super::deconvolution::{charge, decimate, deconvolve, hit_finding, residual_baseline, time};
use super::empty_waveform::EmptyBaseline;
use super::extractor::{Channel, Extractor};
use super::finalize::finalize;
use super::load_samples::LoadedSamples;
use super::parameters::Method;
use super::prefetch::Prefetch;
use super::stage_kind::Stage;
use super::template_fit::state::FitProblem;
use super::template_fit::{config, seeds};
use super::threshold::over_threshold::{self, Noise};
use super::workspace::Workspace;
use super::{baseline, empty_waveform};
use crate::error::Result;
use crate::model::{Batch, Extracted, Flags, Hit, Waveform, WaveformSummary};
use crate::threads::in_pool;

/// Waveforms per task of the thread pool.
const WAVEFORMS_PER_TASK: usize = 128;

impl Backend for Extractor {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn extract(&self, batch: &Batch) -> Result<Extracted> {
        Ok(self.extract_range(batch, 0..batch.len()))
    }
}

impl Extractor {
    /// Extracts the waveforms `range` of `batch`.
    pub(crate) fn extract_range(&self, batch: &Batch, range: Range<usize>) -> Extracted {
        self.extract_each(range, |index| batch.get(index))
    }

    /// Extracts the waveforms that `waveform` returns for each index of `range`.
    pub(super) fn extract_each<'a>(
        &self,
        range: Range<usize>,
        waveform: impl Fn(usize) -> Option<Waveform<'a>> + Sync,
    ) -> Extracted {
        let starts: Vec<usize> = range.clone().step_by(WAVEFORMS_PER_TASK).collect();
        let parts = in_pool(|| {
            starts
                .into_par_iter()
                .map_init(Workspace::default, |work, start| {
                    let mut part = Extracted::default();
                    let mut next = waveform(start);
                    for index in start..(start + WAVEFORMS_PER_TASK).min(range.end) {
                        let this = next;
                        next = if index + 1 < range.end {
                            waveform(index + 1)
                        } else {
                            None
                        };
                        if let Some(waveform) = this {
                            let hits = &mut part.hits;
                            let mut prefetch = Prefetch::new(next.map(|next| next.samples));
                            let summary =
                                self.extract_waveform(waveform, work, hits, &mut |_, _| {
                                    prefetch.advance();
                                });
                            part.summaries.push(summary);
                        }
                    }
                    part
                })
                .collect()
        });
        Extracted::joined(parts)
    }

    /// Extracts one waveform: runs the stages and appends its hits. `on_stage` is called after each stage.
    pub(crate) fn extract_waveform(
        &self,
        waveform: Waveform<'_>,
        work: &mut Workspace,
        hits: &mut Vec<Hit>,
        on_stage: &mut impl FnMut(Stage, &Workspace),
    ) -> WaveformSummary {
        let row = self.calibration().row_of(waveform.channel_id);
        let mut flags = self.load(waveform, row.map(|(row, _)| row), work);
        let n_samples = work.loaded.even.len() + work.loaded.odd.len();
        let known = row.map(|row| (row.0, self.row_flags(row, n_samples)));
        if let Some((row, _)) = known
            && !flags.intersects(Flags::NON_FINITE | Flags::FLAT)
        {
            flags = self.check_samples(row, flags, work);
        }
        work.summary = WaveformSummary {
            flags,
            ..WaveformSummary::default()
        };
        on_stage(Stage::LoadSamples, work);
        let Some((row, calibration_flags)) = known else {
            return WaveformSummary::unknown(flags | Flags::NO_CALIBRATION);
        };
        flags |= calibration_flags;
        if flags.contains(Flags::NON_FINITE) {
            return WaveformSummary::unknown(flags);
        }
        let channel = self.channel(row);
        let first_hit = hits.len();
        work.summary.flags = flags;
        (work.threshold, work.step_ns) = (0.0, self.readout().sampling_ns as f32);
        // A flat waveform has only a baseline.
        if flags.contains(Flags::FLAT) {
            work.summary.baseline_adc = work.loaded.even.first().copied().unwrap_or(0.0);
        } else if self.parameters().method == Method::Auto
            && let Some(empty) = self.find_empty_baseline(row, &work.loaded)
        {
            work.summary.baseline_adc = empty.level_adc;
            work.summary.baseline_sigma_adc = empty.sigma_adc;
            work.summary.noise_adc = baseline::measured_noise_adc(&work.loaded, &mut work.sorted);
            work.summary.flags |= Flags::NO_LIGHT;
        } else if self.parameters().method.deconvolves() {
            self.deconvolve(row, work, hits, on_stage);
            if self.parameters().method.fits() && hits.len() > first_hit {
                self.fit(row, work, hits, first_hit);
            }
        } else {
            self.over_threshold(channel, work, hits);
        }
        let begin_ns = work.first_sample as f64 * self.readout().sampling_ns;
        let shift_ns = waveform.start_ns + begin_ns - f64::from(channel.time_offset_ns);
        finalize(work.summary, flags, hits, first_hit, shift_ns)
    }

    /// Returns the baseline of a waveform that is certainly empty.
    fn find_empty_baseline(&self, row: usize, loaded: &LoadedSamples) -> Option<EmptyBaseline> {
        let noise_adc = self.channel(row).noise_adc;
        if noise_adc <= 0.0 {
            return None;
        }
        empty_waveform::find_empty_baseline(
            loaded,
            self.template(row),
            self.readout().polarity.sign(),
            noise_adc.max(self.least_noise_adc()),
        )
    }

    /// Runs stages 2 to 7 of the methods with deconvolution.
    fn deconvolve(
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
        if self.cuts_pulse(channel, work) {
            let tolerance_adc = deconvolve::CUT_TOLERANCE * work.noise_adc;
            plan.deconvolve_cut_pulse(&channel.design, tolerance_adc, &mut work.deconvolve);
        } else {
            plan.deconvolve(&mut work.deconvolve);
        }
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
                    if self.cuts_pulse(channel, work) {
                        let tolerance_adc = deconvolve::CUT_TOLERANCE * work.noise_adc;
                        plan.deconvolve_cut_pulse(
                            &channel.design,
                            tolerance_adc,
                            &mut work.deconvolve,
                        );
                    } else {
                        plan.deconvolve(&mut work.deconvolve);
                    }
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

    /// True if the end of the window cuts a pulse: it is higher than the level, and than the baseline on which most blocks agree. The level
    /// alone may be that of the quietest block, in an undershoot.
    fn cuts_pulse(&self, channel: &Channel, work: &mut Workspace) -> bool {
        let (end_adc, share) =
            deconvolve::end_level(&work.deconvolve.trace, channel.design.decimation);
        let max_end_adc = deconvolve::CUT_PULSE_SIGMA * work.noise_adc * share;
        if end_adc <= max_end_adc {
            return false;
        }
        let baseline_adc = baseline::estimate_baseline(&work.loaded, &mut work.sorted).level_adc;
        let sign = self.readout().polarity.sign();
        end_adc + sign * (work.level_adc - baseline_adc) > max_end_adc
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

    /// Runs stage 8: the fit replaces the deconvolved hits, unless it fails.
    fn fit(&self, row: usize, work: &mut Workspace, hits: &mut Vec<Hit>, first_hit: usize) {
        let channel = self.channel(row);
        let template = self.template(row);
        let Workspace {
            loaded,
            fit,
            summary,
            fit_level_adc,
            ..
        } = work;
        if summary.flags.intersects(Flags::SATURATED) {
            summary.flags |= Flags::FIT_FAILED;
            return;
        }
        let sampling_ns = self.readout().sampling_ns as f32;
        let sign = self.readout().polarity.sign();
        fit.upright
            .resize(loaded.even.len() + loaded.odd.len(), 0.0);
        decimate::keep_all(loaded, *fit_level_adc, sign, &mut fit.upright);
        fit.pulses.clear();
        let Some((_, plan)) = &work.plan else { return };
        let trace = &work.deconvolve.trace;
        let noise = plan.noise_gain * work.noise_adc;
        let decimation = plan.step_ns / sampling_ns;
        for (&found, &(charge_pe, _, flags)) in work.found.iter().zip(&work.charges) {
            if charge_pe > 0.0 {
                let time = time::measure_time_ns(trace, plan, found, noise) / plan.step_ns;
                let kernel = (plan.kernel_sigma_ns / plan.step_ns, decimation);
                seeds::add_seeds(
                    trace,
                    (found, charge_pe, flags),
                    time,
                    kernel,
                    &mut fit.pulses,
                );
            }
        }
        let problem = FitProblem {
            template,
            noise_adc: work.noise_adc,
            judged_noise_adc: if channel.noise_adc > 0.0 {
                self.calibrated_noise_adc(channel)
            } else {
                work.noise_adc
            },
            charge_sigma_pe: channel.charge_sigma_pe,
            peak_adc: channel.peak_adc,
        };
        if !fit.fit(&problem) {
            summary.flags |= Flags::FIT_FAILED;
            return;
        }
        summary.flags |= Flags::FITTED;
        summary.chi2_ndf = Some(fit.chi2_ndf);
        summary.baseline_adc += sign * fit.baseline_adc;
        hits.truncate(first_hit);
        let length = fit.upright.len();
        hits.extend(fit.pulses.iter().map(|pulse| {
            let mut flags = Flags::NONE;
            let (_, [inside, _]) = template.inside(pulse.time.floor() as i32, length);
            if inside < config::CONTAINED_SHARE {
                flags |= Flags::TRUNCATED_AT_EDGE;
            }
            if pulse.charge_pe > config::PILE_UP_PE {
                flags |= Flags::PILE_UP;
            }
            Hit {
                time_ns: f64::from(pulse.time * sampling_ns),
                charge_pe: pulse.charge_pe,
                charge_sigma_pe: pulse.charge_sigma_pe,
                time_sigma_ns: pulse.time_sigma * sampling_ns,
                flags,
            }
        }));
    }

    /// Runs stages 2 to 7 of the methods `integral` and `coti`.
    fn over_threshold(&self, channel: &Channel, work: &mut Workspace, hits: &mut Vec<Hit>) {
        let loaded = &work.loaded;
        let found = baseline::estimate_baseline(loaded, &mut work.sorted);
        let summary = &mut work.summary;
        summary.baseline_adc = found.level_adc;
        summary.baseline_sigma_adc = found.sigma_adc;
        summary.noise_adc = found.noise_adc;
        if found.n_blocks < baseline::MIN_BASELINE_BLOCKS {
            summary.flags |= Flags::UNSTABLE_BASELINE;
        }
        work.upright
            .resize(loaded.even.len() + loaded.odd.len(), 0.0);
        decimate::keep_all(
            loaded,
            found.level_adc,
            self.readout().polarity.sign(),
            &mut work.upright,
        );
        let noise = Noise {
            sample_adc: channel
                .noise_adc
                .max(found.noise_adc)
                .max(self.least_noise_adc()),
            baseline_adc: found.sigma_adc,
            threshold_sigma: self.parameters().threshold_sigma,
        };
        if self.parameters().method == Method::Integral {
            over_threshold::find_integral(
                &work.upright,
                &channel.pulse,
                noise,
                &mut work.sorted,
                hits,
            );
        } else {
            over_threshold::find_coti(&work.upright, &channel.pulse, noise, hits);
        }
    }
}
