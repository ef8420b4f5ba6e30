//! The buffers for the extraction of one waveform. After extraction they hold the result of each stage.

use std::rc::Rc;

use super::deconvolution::deconvolve::DeconvolutionWorkspace;
use super::deconvolution::follow_baseline::FollowWorkspace;
use super::deconvolution::hit_finding::FoundHit;
use super::deconvolution::residual_baseline::ResidualBaselineWorkspace;
use super::extractor::{PlanKey, ThreadPlan};
use super::load_samples::LoadedSamples;
use super::template_fit::state::FitWorkspace;
use crate::model::{Flags, WaveformSummary};

/// Buffers for one waveform at a time; each thread has its own.
#[derive(Default)]
pub(crate) struct Workspace {
    /// The first sample of the window that is no padding.
    pub(crate) first_sample: usize,
    pub(crate) loaded: LoadedSamples,
    pub(crate) deconvolve: DeconvolutionWorkspace,
    pub(crate) residual_baseline: ResidualBaselineWorkspace,
    pub(crate) follow: FollowWorkspace,
    pub(crate) found: Vec<FoundHit>,
    /// Charge, its standard deviation and flags of each found hit.
    pub(crate) charges: Vec<(f32, f32, Flags)>,
    /// The plan that this thread used last.
    pub(crate) plan: Option<(PlanKey, Rc<ThreadPlan>)>,
    /// The level that decimation subtracted.
    pub(crate) level_adc: f32,
    /// The level of the samples after the residual baseline, from which the fit starts. Equal to the baseline, unless that moves.
    pub(crate) fit_level_adc: f32,
    /// Noise of a sample: the calibrated one, after the residual baseline the one measured in the trace.
    pub(crate) noise_adc: f32,
    pub(crate) summary: WaveformSummary,
    pub(crate) threshold: f32,
    pub(crate) step_ns: f32,
    pub(crate) fit: FitWorkspace,
    /// Scratch memory for sorting and smoothing.
    pub(super) sorted: Vec<f32>,
    /// The waveform with pulses upright, for the methods without deconvolution.
    pub(super) upright: Vec<f32>,
}
