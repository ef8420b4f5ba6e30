//! One waveform's way through the stages, with everything it leaves between them.

use std::rc::Rc;

use super::extractor::{Channel, Extractor, PlanKey, ThreadPlan};
use super::load_samples::{self, LoadedSamples};
use super::parameters::Method;
use super::stage_kind::Stage;
use super::{baseline, empty_waveform};
use crate::extract::deconvolution::deconvolve::{DeconvolutionPlan, DeconvolutionWorkspace};
use crate::extract::deconvolution::hit_finding::{FoundHit, HitSearch};
use crate::extract::deconvolution::residual_baseline::{
    self, ResidualBaseline, ResidualBaselineWorkspace,
};
use crate::extract::deconvolution::{charge, decimate, hit_finding, time};
use crate::extract::template_fit::state::{FitProblem, FitWorkspace};
use crate::extract::template_fit::{config, seeds};
use crate::extract::threshold::over_threshold::{self, Noise};
use crate::model::{Flags, Hit, Waveform, WaveformSummary};

/// Extension of a hit beyond threshold, in standard deviations of the kernel.
const REACH_SIGMA: f32 = 1.7;
/// Light earlier than this many standard deviations of the kernel lies where the baseline is read.
pub(crate) const EARLY_SIGMA: f32 = 2.0;

/// Room for one waveform on its way through the stages, one a thread; afterwards what each stage found.
#[derive(Default)]
pub(crate) struct Workspace {
    pub(crate) loaded: LoadedSamples,
    pub(crate) deconvolve: DeconvolutionWorkspace,
    pub(crate) residual_baseline: ResidualBaselineWorkspace,
    pub(crate) found: Vec<FoundHit>,
    /// Charge, its error and the flags of each found hit.
    pub(crate) charges: Vec<(f32, f32, Flags)>,
    /// The plan this thread used last.
    pub(crate) plan: Option<(PlanKey, Rc<ThreadPlan>)>,
    /// The level that decimation took off.
    pub(crate) level_adc: f32,
    /// Noise of a sample, as used: the calibration's, behind the floor what the trace shows.
    pub(crate) noise_adc: f32,
    pub(crate) summary: WaveformSummary,
    pub(crate) threshold: f32,
    pub(crate) step_ns: f32,
    pub(crate) fit: FitWorkspace,
    sorted: Vec<f32>,
    upright: Vec<f32>,
}

/// How far hits extend beyond threshold, in samples of the trace.
pub(crate) fn reach(plan: &DeconvolutionPlan) -> usize {
    (REACH_SIGMA * plan.kernel_sigma_ns / plan.step_ns)
        .round()
        .max(1.0) as usize
}

impl Extractor {
    /// Runs the stages on one waveform; appends its hits. `on_stage` is called behind each stage.
    pub(crate) fn extract_one(
        &self,
        waveform: Waveform<'_>,
        work: &mut Workspace,
        hits: &mut Vec<Hit>,
        on_stage: &mut impl FnMut(Stage, &Workspace),
    ) -> WaveformSummary {
        let mut flags =
            load_samples::load_samples(waveform.samples, self.rails(), &mut work.loaded);
        work.summary = WaveformSummary {
            flags,
            ..WaveformSummary::default()
        };
        on_stage(Stage::LoadSamples, work);
        let Some((row, calibration_flags)) =
            self.row_and_flags(waveform.channel_id, waveform.samples.len())
        else {
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
        // A flat waveform has its baseline and nothing else to find.
        if flags.contains(Flags::FLAT) {
            work.summary.baseline_adc = work.loaded.even.first().copied().unwrap_or(0.0);
        } else if self.parameters().method == Method::Auto
            && let Some(dark) = self.find_empty_baseline(row, &work.loaded)
        {
            let (level_adc, sigma_adc) = dark;
            work.summary.baseline_adc = level_adc;
            work.summary.baseline_sigma_adc = sigma_adc;
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
        let shift_ns = waveform.start_ns as f32 - channel.time_offset_ns;
        finalize(work.summary, flags, hits, first_hit, shift_ns)
    }

    /// The level of a waveform without light, if that is plain to see.
    fn find_empty_baseline(&self, row: usize, loaded: &LoadedSamples) -> Option<(f32, f32)> {
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

    /// Stages 2 to 7 of the default method.
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

        let sign = self.readout().polarity.sign();
        let trace = &mut work.deconvolve.trace;
        trace.resize(trace_length, 0.0);
        if channel.design.decimation == 2 {
            decimate::halve(&work.loaded, work.level_adc, sign, trace);
        } else {
            decimate::keep_all(&work.loaded, work.level_adc, sign, trace);
        }
        on_stage(Stage::Decimate, work);
        plan.deconvolve(&mut work.deconvolve);
        on_stage(Stage::Deconvolve, work);

        let trace = &mut work.deconvolve.trace;
        let ResidualBaseline {
            level_adc,
            sigma_adc,
            noise_ratio,
            unstable,
        } = residual_baseline::estimate_residual_baseline(
            trace,
            &plan,
            work.noise_adc,
            &mut work.residual_baseline,
        );
        work.summary.baseline_adc = work.level_adc + sign * level_adc;
        work.summary.baseline_sigma_adc = sigma_adc;
        if unstable {
            work.summary.flags |= Flags::UNSTABLE_BASELINE;
        }
        work.noise_adc *= noise_ratio;
        let noise = plan.noise_gain * work.noise_adc;
        work.threshold = self.parameters().threshold_sigma
            * residual_baseline::smooth_noise(&plan, work.noise_adc);
        on_stage(Stage::ResidualBaseline, work);

        let search = HitSearch {
            threshold: work.threshold,
            valley_depth: self.parameters().split_sigma * noise,
            reach: reach(&plan),
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

        let early_ns = EARLY_SIGMA * plan.kernel_sigma_ns;
        let trace = &work.deconvolve.trace;
        for (&found, &(charge_pe, charge_sigma_pe, flags)) in work.found.iter().zip(&work.charges) {
            // A shoulder's share of the trace can come out empty; there is nothing to report then.
            if charge_pe <= 0.0 {
                continue;
            }
            let time_ns = time::measure_time_ns(trace, &plan, found, noise);
            if time_ns < early_ns {
                work.summary.flags |= Flags::PULSE_IN_BASELINE;
            }
            hits.push(Hit {
                time_ns,
                charge_pe,
                charge_sigma_pe,
                time_sigma_ns: 0.0,
                flags,
            });
        }
        on_stage(Stage::Time, work);
    }

    /// Stage 8: a fit to the whole waveform in place of the deconvolved hits, which stay where it fails.
    fn fit(&self, row: usize, work: &mut Workspace, hits: &mut Vec<Hit>, first_hit: usize) {
        let channel = self.channel(row);
        let template = self.template(row);
        let Workspace {
            loaded,
            fit,
            summary,
            ..
        } = work;
        let rails = Flags::SATURATED_HIGH | Flags::SATURATED_LOW;
        if summary.flags.intersects(rails) {
            summary.flags |= Flags::FIT_FAILED;
            return;
        }
        let sampling_ns = self.readout().sampling_ns as f32;
        let sign = self.readout().polarity.sign();
        fit.upright
            .resize(loaded.even.len() + loaded.odd.len(), 0.0);
        decimate::keep_all(loaded, summary.baseline_adc, sign, &mut fit.upright);
        fit.pulses.clear();
        let Some((_, plan)) = &work.plan else { return };
        let trace = &work.deconvolve.trace;
        let noise = plan.noise_gain * work.noise_adc;
        let decimation = plan.step_ns / sampling_ns;
        for (&found, &(charge_pe, _, flags)) in work.found.iter().zip(&work.charges) {
            if charge_pe > 0.0 {
                let at = time::measure_time_ns(trace, plan, found, noise) / plan.step_ns;
                let kernel = (plan.kernel_sigma_ns / plan.step_ns, decimation);
                seeds::add_seeds(
                    trace,
                    (found, charge_pe, flags),
                    at,
                    kernel,
                    &mut fit.pulses,
                );
            }
        }
        let problem = FitProblem {
            template,
            noise_adc: work.noise_adc,
            charge_sigma_pe: channel.charge_sigma_pe,
            peak_adc: channel.peak_adc,
        };
        if !fit.fit(&problem) {
            summary.flags |= Flags::FIT_FAILED;
            return;
        }
        summary.flags |= Flags::FITTED;
        // The fit counts in the noise that the trace shows; chi-square is against the calibration's, where it has one.
        let ratio = if channel.noise_adc > 0.0 {
            work.noise_adc / channel.noise_adc.max(self.least_noise_adc())
        } else {
            1.0
        };
        summary.chi2_ndf = Some(fit.chi2_ndf * ratio * ratio);
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
                time_ns: pulse.time * sampling_ns,
                charge_pe: pulse.charge_pe,
                charge_sigma_pe: pulse.charge_sigma_pe,
                time_sigma_ns: pulse.time_sigma * sampling_ns,
                flags,
            }
        }));
    }

    /// Stages 2 to 7 of `integral` and `coti`.
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

/// What makes a waveform's hits and summary final, whichever backend found them: times shifted by `shift_ns`, flags of
/// hits and waveform joined, sums, order in time. The waveform's hits are those from `first_hit` on; `flags` are the ones that
/// stay if the result is not finite.
pub(crate) fn finalize(
    mut summary: WaveformSummary,
    flags: Flags,
    hits: &mut Vec<Hit>,
    first_hit: usize,
    shift_ns: f32,
) -> WaveformSummary {
    let mut charge_pe = 0.0;
    for hit in &mut hits[first_hit..] {
        hit.time_ns += shift_ns;
        hit.flags |=
            summary.flags & (Flags::SATURATED_HIGH | Flags::SATURATED_LOW | Flags::NO_CALIBRATION);
        charge_pe += hit.charge_pe;
        summary.flags |= hit.flags;
    }
    // Samples so large that sums over them overflow are as good as infinite.
    let numbers = [
        charge_pe,
        summary.baseline_adc,
        summary.baseline_sigma_adc,
        summary.noise_adc,
    ];
    let of_hits = hits[first_hit..]
        .iter()
        .flat_map(|hit| [hit.time_ns, hit.charge_pe, hit.charge_sigma_pe]);
    if !numbers.into_iter().chain(of_hits).all(f32::is_finite) {
        hits.truncate(first_hit);
        return WaveformSummary::unknown(flags | Flags::NON_FINITE);
    }
    hits[first_hit..].sort_by(|a, b| a.time_ns.total_cmp(&b.time_ns));
    summary.charge_pe = charge_pe;
    summary.n_hits = (hits.len() - first_hit) as u32;
    summary.first_time_ns = hits.get(first_hit).map(|hit| hit.time_ns);
    summary
}
