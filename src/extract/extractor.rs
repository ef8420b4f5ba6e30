//! The CPU backend: runs the stages on every waveform of a batch, on all threads of the current rayon pool.

use std::collections::HashMap;
use std::ops::{Deref, Range};
use std::rc::Rc;
use std::sync::{Arc, OnceLock, RwLock};

use rayon::prelude::*;

use super::Backend;
use super::baseline;
use super::parameters::{Parameters, ReadoutFacts};
use super::stage_kind::Stage;
use super::workspace::Workspace;
use crate::error::{Error, Hint, Result};
use crate::extract::deconvolution::deconvolve::DeconvolutionPlan;
use crate::extract::deconvolution::filter::Design;
use crate::extract::template_fit::template::{Template, main_pulse_samples};
use crate::extract::threshold::over_threshold::PulseShape;
use crate::model::{Batch, Calibration, Extracted, Flags, Hit, Waveform};
use crate::threads::in_pool;

/// Waveforms a task of the thread pool.
const WAVEFORMS_PER_TASK: usize = 128;
/// Relative difference between two sampling intervals that counts as none.
const SAMPLING_TOLERANCE: f64 = 1e-3;
/// The spread of the single-photoelectron charge that a fit assumes lies between these, whatever the calibration says.
const CHARGE_SIGMA_RANGE: (f32, f32) = (0.15, 0.6);
/// And is this where the calibration says nothing.
const DEFAULT_CHARGE_SIGMA: f32 = 0.3;

fn limited_charge_sigma(charge_sigma_pe: f32) -> f32 {
    if charge_sigma_pe > 0.0 {
        charge_sigma_pe.clamp(CHARGE_SIGMA_RANGE.0, CHARGE_SIGMA_RANGE.1)
    } else {
        DEFAULT_CHARGE_SIGMA
    }
}

/// What a plan is for: a calibration row and a length of transform.
pub(crate) type PlanKey = (usize, usize);

/// The stages with everything they need to know, shared by all threads.
pub struct Extractor {
    calibration: Calibration,
    channels: Vec<Channel>,
    readout: ReadoutFacts,
    parameters: Parameters,
    /// Plans by calibration row and length of the transform, made when a length is first met.
    plans: RwLock<HashMap<PlanKey, Arc<DeconvolutionPlan>>>,
}

/// A plan in the hands of one thread. Threads share plans, but not this count of its users: each waveform would write to it, and they
/// would wait for one another.
pub(crate) struct ThreadPlan(Arc<DeconvolutionPlan>);

impl Deref for ThreadPlan {
    type Target = DeconvolutionPlan;

    fn deref(&self) -> &DeconvolutionPlan {
        &self.0
    }
}

/// What extraction derives from one row of the calibration.
pub(crate) struct Channel {
    pub(crate) design: Design,
    pub(crate) pulse: PulseShape,
    pub(crate) noise_adc: f32,
    pub(crate) peak_adc: f32,
    /// Spread of the single-photoelectron charge, within reason.
    pub(crate) charge_sigma_pe: f32,
    /// The template between its samples, made when it is first needed.
    template: OnceLock<Template>,
    pub(crate) time_offset_ns: f32,
    main_pulse_samples: usize,
    /// The earliest row with the same template, noise and spread of charges, whose plans serve this one too.
    pub(crate) shared_row: usize,
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
    /// What a fit leaves of the samples, in counts as recorded; empty without a fit.
    pub residual_adc: Vec<f32>,
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
            if (f64::from(row.sampling_ns) / readout.sampling_ns - 1.0).abs() > SAMPLING_TOLERANCE {
                return Err(Error::usage(format!(
                    "the calibration was made for a sampling interval of {} ns, the waveforms have {} ns",
                    row.sampling_ns, readout.sampling_ns
                ))
                .with_hint(Hint::SamplingInterval));
            }
        }
        let mut first_with: HashMap<Vec<u32>, usize> = HashMap::new();
        let shared_row: Vec<usize> = calibration
            .rows()
            .iter()
            .enumerate()
            .map(|(index, row)| {
                let key = row
                    .template_adc
                    .iter()
                    .chain([&row.noise_adc, &row.charge_sigma_pe])
                    .map(|value| value.to_bits())
                    .collect();
                *first_with.entry(key).or_insert(index)
            })
            .collect();
        let channels = in_pool(|| {
            calibration
                .rows()
                .par_iter()
                .zip(shared_row)
                .map(|(row, shared_row)| {
                    let peak_adc = row.template_adc.iter().copied().fold(0.0, f32::max);
                    Ok(Channel {
                        design: Design::new(row, parameters.filter)?,
                        pulse: PulseShape::new(row, parameters.threshold_sigma),
                        noise_adc: row.noise_adc,
                        peak_adc,
                        charge_sigma_pe: limited_charge_sigma(row.charge_sigma_pe),
                        template: OnceLock::new(),
                        time_offset_ns: row.time_offset_ns,
                        // A window has to hold it.
                        main_pulse_samples: main_pulse_samples(&row.template_adc),
                        shared_row,
                    })
                })
                .collect::<Result<Vec<_>>>()
        })?;
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
        let mut work = Workspace::default();
        let mut keep = |stage: Stage, work: &Workspace| {
            if stage == Stage::ResidualBaseline {
                trace.deconvolved_pe_per_ns = work.deconvolve.trace.to_vec();
            }
        };
        let summary = self.extract_one(waveform, &mut work, &mut trace.hits, &mut keep);
        trace.baseline_adc = summary.baseline_adc;
        trace.noise_adc = summary.noise_adc;
        trace.flags = summary.flags;
        if summary.flags.contains(Flags::FITTED) {
            let sign = self.readout.polarity.sign();
            let residual = work.fit.residual.iter();
            trace.residual_adc = residual.map(|value| sign * value).collect();
        }
        trace.threshold_pe_per_ns = work.threshold;
        trace.step_ns = work.step_ns;
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

    /// The readout it was made for.
    #[must_use]
    pub fn readout(&self) -> &ReadoutFacts {
        &self.readout
    }

    /// The template of calibration row `row` between its samples.
    pub(crate) fn template(&self, row: usize) -> &Template {
        let row = self.channels[row].shared_row;
        self.channels[row]
            .template
            .get_or_init(|| Template::new(&self.calibration.rows()[row].template_adc))
    }

    pub(crate) fn channel(&self, row: usize) -> &Channel {
        &self.channels[row]
    }

    /// The calibration row for a waveform of `n_samples`, and what there is to flag about it. `None` without any row.
    pub(crate) fn row_and_flags(
        &self,
        channel_id: u32,
        n_samples: usize,
    ) -> Option<(usize, Flags)> {
        let (row, own) = self.calibration.row_of(channel_id)?;
        let mut flags = Flags::NONE;
        if !own {
            flags |= Flags::NO_CALIBRATION;
        }
        if n_samples < self.channels[row].main_pulse_samples {
            flags |= Flags::SHORT_WINDOW;
        }
        Some((row, flags))
    }

    /// Least noise of a sample: a digitiser rounds to whole counts, which alone is a noise of 1 / sqrt(12). Below it
    /// what rounding leaves of a large pulse would look like light.
    pub(crate) fn least_noise_adc(&self) -> f32 {
        if self.readout.adc_bits.is_some() {
            baseline::ROUNDING_ADC
        } else {
            0.0
        }
    }

    /// The lowest and highest value the digitiser can give.
    pub(crate) fn rails(&self) -> (f32, f32) {
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

    /// The plan for waveforms of `n_samples` on calibration row `row`; `last` is the one this thread used last.
    pub(crate) fn thread_plan(
        &self,
        row: usize,
        n_samples: usize,
        last: &mut Option<(PlanKey, Rc<ThreadPlan>)>,
    ) -> Rc<ThreadPlan> {
        let key = self.plan_key(row, n_samples);
        if let Some((key_of_last, plan)) = last
            && *key_of_last == key
        {
            return Rc::clone(plan);
        }
        let plan = Rc::new(ThreadPlan(self.plan(row, n_samples)));
        *last = Some((key, Rc::clone(&plan)));
        plan
    }

    fn plan_key(&self, row: usize, n_samples: usize) -> PlanKey {
        let row = self.channels[row].shared_row;
        (row, self.channels[row].design.n_fft(n_samples))
    }

    /// The plan for waveforms of `n_samples` on calibration row `row`, made if there is none yet.
    pub(crate) fn plan(&self, row: usize, n_samples: usize) -> Arc<DeconvolutionPlan> {
        let key = self.plan_key(row, n_samples);
        // A thread that panicked while it held the lock leaves a whole map behind: plans are inserted complete.
        let known = self
            .plans
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(&key)
            .cloned();
        if let Some(plan) = known {
            return plan;
        }
        let plan = Arc::new(DeconvolutionPlan::new(&self.channels[key.0].design, key.1));
        let mut plans = self
            .plans
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(plans.entry(key).or_insert(plan))
    }
}

impl Extractor {
    /// Extracts the waveforms `range` of `batch`.
    pub(crate) fn extract_range(&self, batch: &Batch, range: Range<usize>) -> Extracted {
        let starts: Vec<usize> = range.clone().step_by(WAVEFORMS_PER_TASK).collect();
        let parts = in_pool(|| {
            starts
                .into_par_iter()
                .map_init(Workspace::default, |work, start| {
                    let mut part = Extracted::default();
                    for index in start..(start + WAVEFORMS_PER_TASK).min(range.end) {
                        if let Some(waveform) = batch.get(index) {
                            let summary =
                                self.extract_one(waveform, work, &mut part.hits, &mut |_, _| ());
                            part.summaries.push(summary);
                        }
                    }
                    part
                })
                .collect()
        });
        Extracted::joined(parts)
    }
}

impl Backend for Extractor {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn extract(&self, batch: &Batch) -> Result<Extracted> {
        Ok(self.extract_range(batch, 0..batch.len()))
    }
}
