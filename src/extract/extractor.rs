//! The CPU backend: runs the stages on every waveform of a batch, on all threads of the current rayon pool.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use rayon::prelude::*;

use super::deconvolve::{self, Plan};
use super::filter::Design;
use super::floor::{self, Floor};
use super::over_threshold::{self, Noise, Pulse};
use super::parameters::{Method, Parameters, ReadoutFacts};
use super::sanity::{self, Loaded};
use super::{Backend, baseline, charge, decimate, find, time};
use crate::error::{Error, Result};
use crate::model::{Batch, Calibration, Extracted, Flags, Hit, Waveform, WaveformSummary};

/// Waveforms a task of the thread pool.
const TASK: usize = 128;
/// Relative difference between two sampling intervals that counts as none.
const SAME_SAMPLING: f64 = 1e-3;
/// The template's main pulse ends where it last exceeds this share of its peak; a window has to hold it.
const MAIN_PULSE: f32 = 0.05;
/// Extension of a hit beyond threshold, in standard deviations of the kernel.
const REACH_SIGMA: f32 = 1.7;

/// The stages with everything they need to know, shared by all threads.
pub struct Extractor {
    calibration: Calibration,
    channels: Vec<Channel>,
    readout: ReadoutFacts,
    parameters: Parameters,
    /// Plans by calibration row and length of the transform, made when a length is first met.
    plans: RwLock<HashMap<(usize, usize), Arc<Plan>>>,
}

/// What extraction derives from one row of the calibration.
struct Channel {
    design: Design,
    pulse: Pulse,
    noise_adc: f32,
    time_offset_ns: f32,
    main_pulse_samples: usize,
    /// The earliest row with the same template and noise, whose plans serve this one too.
    same_as: usize,
}

/// Room for one waveform on its way through the stages, one a thread.
#[derive(Default)]
struct Work {
    loaded: Loaded,
    sorted: Vec<f32>,
    deconvolve: deconvolve::Work,
    floor: floor::Work,
    found: Vec<find::Found>,
    upright: Vec<f32>,
    plan: Option<((usize, usize), Arc<Plan>)>,
}

/// What a waveform looked like on its way, for pictures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Baseline as recorded.
    pub baseline_adc: f32,
    /// Noise of one sample.
    pub noise_adc: f32,
    /// Interval of the deconvolved trace; its first value stands at the first sample's time.
    pub step_ns: f32,
    /// The deconvolved trace; empty for the methods that do not deconvolve.
    pub deconvolved_pe_per_ns: Vec<f32>,
    /// What the smoothed deconvolved trace has to exceed.
    pub threshold_pe_per_ns: f32,
    /// The hits; times count from the first sample, the channel's offset not subtracted.
    pub hits: Vec<Hit>,
    /// The waveform's flags.
    pub flags: Flags,
}

impl Extractor {
    /// Prepares extraction with `calibration` for waveforms of `readout`.
    ///
    /// # Errors
    /// If a parameter is out of range, the calibration has no rows, or a row was made for another sampling interval.
    pub fn new(
        calibration: Calibration,
        readout: ReadoutFacts,
        parameters: Parameters,
    ) -> Result<Self> {
        parameters.validate()?;
        if calibration.rows().is_empty() {
            return Err(Error::usage("the calibration has no rows"));
        }
        for row in calibration.rows() {
            if (f64::from(row.sampling_ns) / readout.sampling_ns - 1.0).abs() > SAME_SAMPLING {
                return Err(Error::usage(format!(
                    "the calibration was made for a sampling interval of {} ns, the waveforms have {} ns",
                    row.sampling_ns, readout.sampling_ns
                ))
                .with_hint("calibrate with data of this digitiser, or correct the input's with `--sampling-ns`"));
            }
        }
        let mut first_with: HashMap<Vec<u32>, usize> = HashMap::new();
        let same_as: Vec<usize> = calibration
            .rows()
            .iter()
            .enumerate()
            .map(|(index, row)| {
                let key = row
                    .template_adc
                    .iter()
                    .chain([&row.noise_adc])
                    .map(|value| value.to_bits())
                    .collect();
                *first_with.entry(key).or_insert(index)
            })
            .collect();
        let channels = calibration
            .rows()
            .par_iter()
            .zip(same_as)
            .map(|(row, same_as)| {
                let peak_adc = row.template_adc.iter().copied().fold(0.0, f32::max);
                let main = row
                    .template_adc
                    .iter()
                    .rposition(|&value| value > MAIN_PULSE * peak_adc);
                Ok(Channel {
                    design: Design::new(row, parameters.filter)?,
                    pulse: Pulse::new(row, parameters.threshold_sigma),
                    noise_adc: row.noise_adc,
                    time_offset_ns: row.time_offset_ns,
                    main_pulse_samples: main.unwrap_or(0) + 1,
                    same_as,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            calibration,
            channels,
            readout,
            parameters,
            plans: RwLock::default(),
        })
    }

    /// The parameters it was made with.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The calibration it was made with.
    #[must_use]
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// One waveform's way through the stages, for a picture.
    #[must_use]
    pub fn trace(&self, waveform: Waveform<'_>) -> Trace {
        let mut trace = Trace::default();
        let (summary, threshold, step_ns) = self.extract_one(
            waveform,
            &mut Work::default(),
            &mut trace.hits,
            Some(&mut trace.deconvolved_pe_per_ns),
        );
        trace.baseline_adc = summary.baseline_adc;
        trace.noise_adc = summary.noise_adc;
        trace.flags = summary.flags;
        trace.threshold_pe_per_ns = threshold;
        trace.step_ns = step_ns;
        let offset_ns = self
            .calibration
            .row_of(waveform.channel_id)
            .map_or(0.0, |(row, _)| self.channels[row].time_offset_ns);
        let shift_ns = offset_ns - waveform.start_ns as f32;
        for hit in &mut trace.hits {
            hit.time_ns += shift_ns;
        }
        trace
    }

    fn rails(&self) -> (f32, f32) {
        let highest = self.readout.adc_bits.map_or(f32::INFINITY, |bits| {
            2.0_f32.powi(bits.min(32).cast_signed()) - 1.0
        });
        // Without a digitiser's resolution the samples are not counts, and 0 is a value like any other.
        if highest.is_finite() {
            (0.0, highest)
        } else {
            (f32::NEG_INFINITY, highest)
        }
    }

    /// Runs the stages on one waveform; appends its hits. Also returns the threshold and the step of the trace.
    fn extract_one(
        &self,
        waveform: Waveform<'_>,
        work: &mut Work,
        hits: &mut Vec<Hit>,
        picture: Option<&mut Vec<f32>>,
    ) -> (WaveformSummary, f32, f32) {
        let mut flags = sanity::load(waveform.samples, self.rails(), &mut work.loaded);
        let Some((row, own)) = self.calibration.row_of(waveform.channel_id) else {
            return (
                WaveformSummary::unknown(flags | Flags::NO_CALIBRATION),
                0.0,
                0.0,
            );
        };
        let channel = &self.channels[row];
        if !own {
            flags |= Flags::NO_CALIBRATION;
        }
        if waveform.samples.len() < channel.main_pulse_samples {
            flags |= Flags::SHORT_WINDOW;
        }
        if flags.contains(Flags::NON_FINITE) {
            return (WaveformSummary::unknown(flags), 0.0, 0.0);
        }
        let first_hit = hits.len();
        let mut summary = WaveformSummary {
            flags,
            ..WaveformSummary::default()
        };
        let (mut threshold, mut step_ns) = (0.0, self.readout.sampling_ns as f32);
        // A flat waveform has its baseline and nothing else to find.
        if flags.contains(Flags::FLAT) {
            summary.baseline_adc = work.loaded.even.first().copied().unwrap_or(0.0);
        } else if self.parameters.method == Method::Deconvolution {
            (threshold, step_ns) = self.deconvolve(row, &mut summary, work, hits);
            if let Some(picture) = picture {
                *picture = work.deconvolve.trace.to_vec();
            }
        } else {
            self.over_threshold(channel, &mut summary, work, hits);
        }
        let shift_ns = waveform.start_ns as f32 - channel.time_offset_ns;
        let mut charge_pe = 0.0;
        for hit in &mut hits[first_hit..] {
            hit.time_ns += shift_ns;
            hit.flags |= summary.flags
                & (Flags::SATURATED_HIGH | Flags::SATURATED_LOW | Flags::NO_CALIBRATION);
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
            let flags = flags | Flags::NON_FINITE;
            return (WaveformSummary::unknown(flags), 0.0, 0.0);
        }
        hits[first_hit..].sort_by(|a, b| a.time_ns.total_cmp(&b.time_ns));
        summary.charge_pe = charge_pe;
        summary.n_hits = (hits.len() - first_hit) as u32;
        summary.first_time_ns = hits.get(first_hit).map(|hit| hit.time_ns);
        (summary, threshold, step_ns)
    }

    /// Stages 2 to 7 of the default method. Returns the threshold and the step of the trace.
    fn deconvolve(
        &self,
        row: usize,
        summary: &mut WaveformSummary,
        work: &mut Work,
        hits: &mut Vec<Hit>,
    ) -> (f32, f32) {
        let channel = &self.channels[row];
        let n_samples = work.loaded.even.len() + work.loaded.odd.len();
        let plan = self.plan(row, n_samples, &mut work.plan);
        let loaded = &work.loaded;
        let measured_adc = baseline::noise_adc(loaded, &mut work.sorted);
        let noise_adc = if channel.noise_adc > 0.0 {
            channel.noise_adc
        } else {
            measured_adc
        };
        let trace_length = n_samples.div_ceil(channel.design.decimation);
        let level = if floor::is_long(&plan, trace_length) {
            baseline::rough_level_adc(loaded)
        } else {
            baseline::estimate(loaded, &mut work.sorted).level_adc
        };
        let sign = self.readout.polarity.sign();

        let trace = &mut work.deconvolve.trace;
        if channel.design.decimation == 2 {
            trace.resize(loaded.even.len(), 0.0);
            decimate::halve(loaded, level, sign, trace);
        } else {
            trace.resize(n_samples, 0.0);
            decimate::keep_all(loaded, level, sign, trace);
        }
        plan.run(&mut work.deconvolve);
        let trace = &mut work.deconvolve.trace;
        let floor = floor::refine(trace, &plan, noise_adc, &mut work.floor);
        let Floor {
            level_adc,
            sigma_adc,
            noise_ratio,
            unstable,
        } = floor;
        summary.baseline_adc = level + sign * level_adc;
        summary.baseline_sigma_adc = sigma_adc;
        summary.noise_adc = measured_adc;
        if unstable {
            summary.flags |= Flags::UNSTABLE_BASELINE;
        }
        let noise_adc = noise_adc * noise_ratio;
        let noise = plan.noise_gain * noise_adc;
        let threshold = self.parameters.threshold_sigma * floor::smooth_noise(&plan, noise_adc);
        let search = find::Search {
            threshold,
            valley: self.parameters.split_sigma * noise,
            reach: (REACH_SIGMA * plan.kernel_sigma_ns / plan.step_ns)
                .round()
                .max(1.0) as usize,
        };
        find::find(
            trace,
            &work.floor.smooth,
            &work.floor.block_max,
            search,
            &mut work.found,
        );
        let early_ns = 2.0 * plan.kernel_sigma_ns;
        for &found in &work.found {
            let (charge_pe, charge_sigma_pe, flags) =
                charge::measure(trace, &plan, found, noise_adc, sigma_adc);
            // A shoulder's share of the trace can come out empty; there is nothing to report then.
            if charge_pe <= 0.0 {
                continue;
            }
            let time_ns = time::measure_ns(trace, &plan, found, noise);
            if time_ns < early_ns {
                summary.flags |= Flags::PULSE_IN_BASELINE;
            }
            hits.push(Hit {
                time_ns,
                charge_pe,
                charge_sigma_pe,
                flags,
            });
        }
        (threshold, plan.step_ns)
    }

    /// Stages 2 to 7 of `integral` and `coti`.
    fn over_threshold(
        &self,
        channel: &Channel,
        summary: &mut WaveformSummary,
        work: &mut Work,
        hits: &mut Vec<Hit>,
    ) {
        let loaded = &work.loaded;
        let found = baseline::estimate(loaded, &mut work.sorted);
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
            self.readout.polarity.sign(),
            &mut work.upright,
        );
        let noise = Noise {
            sample_adc: channel.noise_adc.max(found.noise_adc),
            baseline_adc: found.sigma_adc,
            threshold_sigma: self.parameters.threshold_sigma,
        };
        if self.parameters.method == Method::Integral {
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

    /// The plan for waveforms of `n_samples` on calibration row `row`; `last` is the one this thread used last.
    fn plan(
        &self,
        row: usize,
        n_samples: usize,
        last: &mut Option<((usize, usize), Arc<Plan>)>,
    ) -> Arc<Plan> {
        let row = self.channels[row].same_as;
        let design = &self.channels[row].design;
        let key = (row, design.n_fft(n_samples));
        if let Some((key_of_last, plan)) = last
            && *key_of_last == key
        {
            return Arc::clone(plan);
        }
        // A thread that panicked while it held the lock leaves a whole map behind: plans are inserted complete.
        let known = self
            .plans
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(&key)
            .cloned();
        let plan = if let Some(plan) = known {
            plan
        } else {
            let plan = Arc::new(Plan::new(design, key.1));
            let mut plans = self
                .plans
                .write()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            Arc::clone(plans.entry(key).or_insert(plan))
        };
        *last = Some((key, Arc::clone(&plan)));
        plan
    }
}

impl Backend for Extractor {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn extract(&self, batch: &Batch) -> Result<Extracted> {
        let starts: Vec<usize> = (0..batch.len()).step_by(TASK).collect();
        let parts = starts
            .into_par_iter()
            .map_init(Work::default, |work, start| {
                let mut part = Extracted::default();
                for index in start..(start + TASK).min(batch.len()) {
                    if let Some(waveform) = batch.get(index) {
                        let (summary, _, _) =
                            self.extract_one(waveform, work, &mut part.hits, None);
                        part.summaries.push(summary);
                    }
                }
                part
            })
            .collect::<Vec<_>>();
        let mut all = Extracted::default();
        all.hits
            .reserve(parts.iter().map(|part| part.hits.len()).sum());
        all.summaries.reserve(batch.len());
        for part in parts {
            all.hits.extend(part.hits);
            all.summaries.extend(part.summaries);
        }
        Ok(all)
    }
}
