//! One waveform's way through the stages, with everything it leaves between them.

use std::rc::Rc;

use super::extractor::{Channel, Extractor, Held, PlanKey};
use super::load_samples::{self, Loaded};
use super::parameters::Method;
use super::stage_kind::Stage;
use super::{baseline, empty_waveform};
use crate::extract::deconvolution::deconvolve::{self, Plan};
use crate::extract::deconvolution::residual_baseline::{self, Floor};
use crate::extract::deconvolution::{charge, decimate, hit_finding, time};
use crate::extract::template_fit::{fit, seeds};
use crate::extract::threshold::over_threshold::{self, Noise};
use crate::model::{Flags, Hit, Waveform, WaveformSummary};

/// Extension of a hit beyond threshold, in standard deviations of the kernel.
const REACH_SIGMA: f32 = 1.7;
/// Light earlier than this many standard deviations of the kernel lies where the baseline is read.
const EARLY_SIGMA: f32 = 2.0;

/// Room for one waveform on its way through the stages, one a thread; afterwards what each stage found.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) loaded: Loaded,
    pub(crate) deconvolve: deconvolve::Work,
    pub(crate) floor: residual_baseline::Work,
    pub(crate) found: Vec<hit_finding::Found>,
    /// Charge, its error and the flags of each found hit.
    pub(crate) charges: Vec<(f32, f32, Flags)>,
    /// The plan this thread used last.
    pub(crate) plan: Option<(PlanKey, Rc<Held>)>,
    /// The level that decimation took off.
    pub(crate) level_adc: f32,
    /// Noise of a sample, as used: the calibration's, behind the floor what the trace shows.
    pub(crate) noise_adc: f32,
    pub(crate) summary: WaveformSummary,
    pub(crate) threshold: f32,
    pub(crate) step_ns: f32,
    pub(crate) sparse: fit::Work,
    sorted: Vec<f32>,
    upright: Vec<f32>,
}

/// How far hits extend beyond threshold, in samples of the trace.
pub(crate) fn reach(plan: &Plan) -> usize {
    (REACH_SIGMA * plan.kernel_sigma_ns / plan.step_ns)
        .round()
        .max(1.0) as usize
}

impl Extractor {
    /// Runs the stages on one waveform; appends its hits. `watch` is called behind each stage.
    pub(crate) fn extract_one(
        &self,
        waveform: Waveform<'_>,
        work: &mut Work,
        hits: &mut Vec<Hit>,
        watch: &mut impl FnMut(Stage, &Work),
    ) -> WaveformSummary {
        let mut flags = load_samples::load(waveform.samples, self.rails(), &mut work.loaded);
        work.summary = WaveformSummary {
            flags,
            ..WaveformSummary::default()
        };
        watch(Stage::Sanity, work);
        let Some((row, known)) = self.flags_of(waveform.channel_id, waveform.samples.len()) else {
            return WaveformSummary::unknown(flags | Flags::NO_CALIBRATION);
        };
        flags |= known;
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
            && let Some(dark) = self.glance(row, &work.loaded)
        {
            let (level_adc, sigma_adc) = dark;
            work.summary.baseline_adc = level_adc;
            work.summary.baseline_sigma_adc = sigma_adc;
            work.summary.noise_adc = baseline::noise_adc(&work.loaded, &mut work.sorted);
            work.summary.flags |= Flags::NO_LIGHT;
        } else if self.parameters().method.deconvolves() {
            self.deconvolve(row, work, hits, watch);
            if self.parameters().method.fits() && hits.len() > first_hit {
                self.fit(row, work, hits, first_hit);
            }
        } else {
            self.over_threshold(channel, work, hits);
        }
        let shift_ns = waveform.start_ns as f32 - channel.time_offset_ns;
        conclude(work.summary, flags, hits, first_hit, shift_ns)
    }

    /// The level of a waveform without light, if that is plain to see.
    fn glance(&self, row: usize, loaded: &Loaded) -> Option<(f32, f32)> {
        let noise_adc = self.channel(row).noise_adc;
        if noise_adc <= 0.0 {
            return None;
        }
        empty_waveform::dark(
            loaded,
            self.response(row),
            self.readout().polarity.sign(),
            noise_adc.max(self.least_noise_adc()),
        )
    }

    /// Stages 2 to 7 of the default method.
    fn deconvolve(
        &self,
        row: usize,
        work: &mut Work,
        hits: &mut Vec<Hit>,
        watch: &mut impl FnMut(Stage, &Work),
    ) {
        let channel = self.channel(row);
        let n_samples = work.loaded.even.len() + work.loaded.odd.len();
        let plan = self.plan_of_thread(row, n_samples, &mut work.plan);
        work.step_ns = plan.step_ns;
        let measured_adc = baseline::noise_adc(&work.loaded, &mut work.sorted);
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
            baseline::estimate(&work.loaded, &mut work.sorted).level_adc
        };
        work.summary.noise_adc = measured_adc;
        watch(Stage::Baseline, work);

        let sign = self.readout().polarity.sign();
        let trace = &mut work.deconvolve.trace;
        trace.resize(trace_length, 0.0);
        if channel.design.decimation == 2 {
            decimate::halve(&work.loaded, work.level_adc, sign, trace);
        } else {
            decimate::keep_all(&work.loaded, work.level_adc, sign, trace);
        }
        watch(Stage::Decimate, work);
        plan.run(&mut work.deconvolve);
        watch(Stage::Deconvolve, work);

        let trace = &mut work.deconvolve.trace;
        let Floor {
            level_adc,
            sigma_adc,
            noise_ratio,
            unstable,
        } = residual_baseline::refine(trace, &plan, work.noise_adc, &mut work.floor);
        work.summary.baseline_adc = work.level_adc + sign * level_adc;
        work.summary.baseline_sigma_adc = sigma_adc;
        if unstable {
            work.summary.flags |= Flags::UNSTABLE_BASELINE;
        }
        work.noise_adc *= noise_ratio;
        let noise = plan.noise_gain * work.noise_adc;
        work.threshold = self.parameters().threshold_sigma
            * residual_baseline::smooth_noise(&plan, work.noise_adc);
        watch(Stage::Floor, work);

        let search = hit_finding::Search {
            threshold: work.threshold,
            valley: self.parameters().split_sigma * noise,
            reach: reach(&plan),
        };
        let trace = &work.deconvolve.trace;
        hit_finding::find(
            trace,
            &work.floor.smooth,
            &work.floor.block_max,
            search,
            &mut work.found,
        );
        watch(Stage::Find, work);

        let trace = &work.deconvolve.trace;
        work.charges.clear();
        work.charges.extend(
            work.found
                .iter()
                .map(|&found| charge::measure(trace, &plan, found, work.noise_adc, sigma_adc)),
        );
        watch(Stage::Charge, work);

        let early_ns = EARLY_SIGMA * plan.kernel_sigma_ns;
        let trace = &work.deconvolve.trace;
        for (&found, &(charge_pe, charge_sigma_pe, flags)) in work.found.iter().zip(&work.charges) {
            // A shoulder's share of the trace can come out empty; there is nothing to report then.
            if charge_pe <= 0.0 {
                continue;
            }
            let time_ns = time::measure_ns(trace, &plan, found, noise);
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
        watch(Stage::Time, work);
    }

    /// Stage 8: a fit to the whole waveform in place of the deconvolved hits, which stay where it fails.
    fn fit(&self, row: usize, work: &mut Work, hits: &mut Vec<Hit>, first_hit: usize) {
        let channel = self.channel(row);
        let response = self.response(row);
        let Work {
            loaded,
            sparse: fit,
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
        fit.light.clear();
        let Some((_, plan)) = &work.plan else { return };
        let trace = &work.deconvolve.trace;
        let noise = plan.noise_gain * work.noise_adc;
        let decimation = plan.step_ns / sampling_ns;
        for (&found, &(charge_pe, _, flags)) in work.found.iter().zip(&work.charges) {
            if charge_pe > 0.0 {
                let at = time::measure_ns(trace, plan, found, noise) / plan.step_ns;
                let kernel = (plan.kernel_sigma_ns / plan.step_ns, decimation);
                seeds::add(trace, (found, charge_pe, flags), at, kernel, &mut fit.light);
            }
        }
        let problem = fit::Problem {
            response,
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
        hits.extend(fit.light.iter().map(|light| {
            let mut flags = Flags::NONE;
            let (_, [inside, _]) = response.inside(light.at.floor() as i32, length);
            if inside < fit::INSIDE {
                flags |= Flags::TRUNCATED_AT_EDGE;
            }
            if light.charge_pe > fit::SEVERAL_PE {
                flags |= Flags::PILE_UP;
            }
            Hit {
                time_ns: light.at * sampling_ns,
                charge_pe: light.charge_pe,
                charge_sigma_pe: light.charge_sigma_pe,
                time_sigma_ns: light.at_sigma * sampling_ns,
                flags,
            }
        }));
    }

    /// Stages 2 to 7 of `integral` and `coti`.
    fn over_threshold(&self, channel: &Channel, work: &mut Work, hits: &mut Vec<Hit>) {
        let loaded = &work.loaded;
        let found = baseline::estimate(loaded, &mut work.sorted);
        let summary = &mut work.summary;
        summary.baseline_adc = found.level_adc;
        summary.baseline_sigma_adc = found.sigma_adc;
        summary.noise_adc = found.noise_adc;
        if found.n_blocks < baseline::MIN_BLOCKS {
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
pub(crate) fn conclude(
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
