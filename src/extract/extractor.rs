//! The extractor: calibration, parameters and deconvolution plans, shared by all threads.

use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, OnceLock, RwLock};

use rayon::prelude::*;

use super::load_samples;
use super::parameters::{DigitizerConfig, Parameters};
use super::pulse_limits::PulseLimits;
use crate::error::{Error, Hint, Result};
use crate::extract::deconvolution::deconvolve::DeconvolutionPlan;
use crate::extract::deconvolution::filter::Design;
use crate::extract::template_fit::template::{Template, main_pulse_samples};
use crate::extract::threshold::over_threshold::PulseShape;
use crate::model::rails::rails;
use crate::model::{Calibration, Flags};
use crate::threads::in_pool;

/// Relative difference up to which two sampling intervals count as equal.
const SAMPLING_TOLERANCE: f64 = 1e-3;
/// Limits of the single-photoelectron charge spread in a fit, whatever the calibration says.
const CHARGE_SIGMA_RANGE: (f32, f32) = (0.15, 0.6);
/// The charge spread in a fit if the calibration has none.
const DEFAULT_CHARGE_SIGMA: f32 = 0.3;

fn limited_charge_sigma(charge_sigma_pe: f32) -> f32 {
    if charge_sigma_pe > 0.0 {
        charge_sigma_pe.clamp(CHARGE_SIGMA_RANGE.0, CHARGE_SIGMA_RANGE.1)
    } else {
        DEFAULT_CHARGE_SIGMA
    }
}

/// The key of a plan: calibration row and length of the transform.
pub(crate) type PlanKey = (usize, usize);

/// The CPU backend: turns waveforms into hits. It is shared by all threads.
pub struct Extractor {
    calibration: Calibration,
    channels: Vec<Channel>,
    readout: DigitizerConfig,
    parameters: Parameters,
    /// Plans, created at the first waveform that needs them.
    plans: RwLock<HashMap<PlanKey, Arc<DeconvolutionPlan>>>,
}

/// A plan as one thread uses it. Threads share the plan, but not its reference count: every waveform would write to it, and threads would
/// wait for one another.
pub(crate) struct ThreadPlan(Arc<DeconvolutionPlan>);

impl Deref for ThreadPlan {
    type Target = DeconvolutionPlan;

    fn deref(&self) -> &DeconvolutionPlan {
        &self.0
    }
}

/// The data that extraction derives from one row of the calibration.
pub(crate) struct Channel {
    pub(crate) design: Design,
    pub(crate) pulse: PulseShape,
    pub(crate) noise_adc: f32,
    /// Noise of means over many samples, relative to white noise.
    pub(crate) baseline_noise_ratio: f32,
    pub(crate) peak_adc: f32,
    /// Spread of the single-photoelectron charge, limited.
    pub(crate) charge_sigma_pe: f32,
    /// The template as a spline, created when it is first needed.
    template: OnceLock<Template>,
    pub(crate) time_offset_ns: f32,
    pub(crate) main_pulse_samples: usize,
    /// Limits of the samples that its pulses can make.
    pub(crate) limits: PulseLimits,
    /// The first row with the same template, noise and charge spread, whose plans this row shares.
    pub(crate) shared_row: usize,
}

impl Extractor {
    /// Creates an extractor with `calibration` for waveforms of `readout`. Templates that end before their tails are continued, see
    /// [`Calibration::continue_tails`].
    ///
    /// # Errors
    /// If a parameter is out of range, the calibration has no rows, or a row was made for another sampling interval.
    pub fn new(
        mut calibration: Calibration,
        readout: DigitizerConfig,
        parameters: Parameters,
    ) -> Result<Self> {
        parameters.validate()?;
        calibration.continue_tails();
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
        let mut first_row: HashMap<Vec<u32>, usize> = HashMap::new();
        let shared_row: Vec<usize> = calibration
            .rows()
            .iter()
            .enumerate()
            .map(|(index, row)| {
                let key = row
                    .template_adc
                    .iter()
                    .chain([
                        &row.noise_adc,
                        &row.charge_sigma_pe,
                        &row.baseline_noise_ratio,
                    ])
                    .map(|value| value.to_bits())
                    .collect();
                *first_row.entry(key).or_insert(index)
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
                        baseline_noise_ratio: row.baseline_noise_ratio,
                        peak_adc,
                        charge_sigma_pe: limited_charge_sigma(row.charge_sigma_pe),
                        template: OnceLock::new(),
                        time_offset_ns: row.time_offset_ns,
                        main_pulse_samples: main_pulse_samples(&row.template_adc),
                        limits: PulseLimits::new(&row.template_adc),
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

    /// Returns the parameters.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Returns the calibration.
    #[must_use]
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// Returns the configuration of the digitizer.
    #[must_use]
    pub fn readout(&self) -> &DigitizerConfig {
        &self.readout
    }

    /// Returns the template of calibration row `row` as a spline.
    pub(crate) fn template(&self, row: usize) -> &Template {
        let row = self.channels[row].shared_row;
        self.channels[row]
            .template
            .get_or_init(|| Template::new(&self.calibration.rows()[row].template_adc))
    }

    pub(crate) fn channel(&self, row: usize) -> &Channel {
        &self.channels[row]
    }

    /// Returns the flags of a waveform of `n_samples` on a calibration row, which may be its channel's own.
    pub(crate) fn row_flags(&self, (row, own): (usize, bool), n_samples: usize) -> Flags {
        let mut flags = Flags::NONE;
        if !own {
            flags |= Flags::NO_CALIBRATION;
        }
        if n_samples < self.channels[row].main_pulse_samples {
            flags |= Flags::SHORT_WINDOW;
        }
        flags
    }

    /// Returns the calibrated noise of a sample; 0 if it is not known.
    pub(crate) fn calibrated_noise_adc(&self, channel: &Channel) -> f32 {
        if channel.noise_adc > 0.0 {
            channel.noise_adc.max(self.least_noise_adc())
        } else {
            0.0
        }
    }

    /// Returns the least noise of a sample. A digitizer rounds to whole counts, which is a noise of 1 / sqrt(12); with less, the rounding
    /// errors of a large pulse would look like light.
    pub(crate) fn least_noise_adc(&self) -> f32 {
        if self.readout.adc_bits.is_some() {
            load_samples::ROUNDING_ADC
        } else {
            0.0
        }
    }

    /// Returns the lowest and the highest value of the digitizer. Waveforms with [signed counts](crate::model::rails) have others.
    pub(crate) fn rails(&self) -> (f32, f32) {
        // Without a resolution the samples are not counts, and 0 is an ordinary value.
        self.readout
            .adc_bits
            .map_or((f32::NEG_INFINITY, f32::INFINITY), rails)
    }

    /// Returns the plan for waveforms of `n_samples` on calibration row `row`; `last` is the plan that this thread used last.
    pub(crate) fn thread_plan(
        &self,
        row: usize,
        n_samples: usize,
        last: &mut Option<(PlanKey, Rc<ThreadPlan>)>,
    ) -> Rc<ThreadPlan> {
        let key = self.plan_key(row, n_samples);
        if let Some((last_key, plan)) = last
            && *last_key == key
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

    /// Returns the plan for waveforms of `n_samples` on calibration row `row`, and creates it if there is none yet.
    pub(crate) fn plan(&self, row: usize, n_samples: usize) -> Arc<DeconvolutionPlan> {
        let key = self.plan_key(row, n_samples);
        // After a panic with the lock held the map is still valid: only complete plans are inserted.
        let plan = self
            .plans
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(&key)
            .cloned();
        if let Some(plan) = plan {
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
