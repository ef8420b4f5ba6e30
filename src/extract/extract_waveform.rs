//! The CPU backend: the stages of one waveform in order, and of all waveforms of a batch on the threads of the current rayon pool.

use std::ops::Range;

use rayon::prelude::*;

use super::backend::Backend;
use super::deconvolution::{decimate, time};
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

    fn cpu(&self) -> &Extractor {
        self
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
