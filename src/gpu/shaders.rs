//! The shaders' text, and the variants of it: which method, length of transform, kind of memory and stages.
//!
//! WGSL has no `include`: a shader is the text of its files one after the other, stage functions as they stand.

use std::fmt;

use super::constants;
use crate::extract::template_fit::config::MAX_PROPOSALS;
use crate::extract::{Method, Stage};

/// Room in the state's head, in words.
pub const HEADER_WORDS: u32 = 16;

const RESULTS: &str = include_str!("../../shaders/common/results.wgsl");
const PREFIX_SUM: &str = include_str!("../../shaders/common/prefix_sum.wgsl");
const LAYOUT: &str = include_str!("../../shaders/common/layout.wgsl");
const STATE: &str = include_str!("../../shaders/common/state.wgsl");
const FFT: &str = include_str!("../../shaders/common/fft.wgsl");
const MEMORY_WORKGROUP: &str = include_str!("../../shaders/common/memory_workgroup.wgsl");
const MEMORY_DEVICE: &str = include_str!("../../shaders/common/memory_device.wgsl");
const SCAN_WORKGROUP: &str = include_str!("../../shaders/common/scan_workgroup.wgsl");
const SCAN_SUBGROUP: &str = include_str!("../../shaders/common/scan_subgroup.wgsl");
const LOAD_SAMPLES: &str = include_str!("../../shaders/load_samples.wgsl");
const BASELINE: &str = include_str!("../../shaders/baseline.wgsl");
const DECIMATE: &str = include_str!("../../shaders/deconvolution/decimate.wgsl");
const DECONVOLVE: &str = include_str!("../../shaders/deconvolution/deconvolve.wgsl");
const RESIDUAL_BASELINE: &str = include_str!("../../shaders/deconvolution/residual_baseline.wgsl");
const HIT_FINDING: &str = include_str!("../../shaders/deconvolution/hit_finding.wgsl");
const CHARGE: &str = include_str!("../../shaders/deconvolution/charge.wgsl");
const TIME: &str = include_str!("../../shaders/deconvolution/time.wgsl");
const SEEDS: &str = include_str!("../../shaders/template_fit/seeds.wgsl");
const EMPTY_WAVEFORM: &str = include_str!("../../shaders/empty_waveform.wgsl");
const FIT_CAPACITY: &str = include_str!("../../shaders/template_fit/capacity.wgsl");
const FIT_STATE: &str = include_str!("../../shaders/template_fit/state.wgsl");
const ITERATE: &str = include_str!("../../shaders/template_fit/iterate.wgsl");
const TEMPLATE: &str = include_str!("../../shaders/template_fit/template.wgsl");
const NORMAL_EQUATIONS: &str = include_str!("../../shaders/template_fit/normal_equations.wgsl");
const FIT: &str = include_str!("../../shaders/template_fit/fit.wgsl");
const PRIORS: &str = include_str!("../../shaders/template_fit/priors.wgsl");
const ADD_PULSES: &str = include_str!("../../shaders/template_fit/add_pulses.wgsl");
const PRUNE: &str = include_str!("../../shaders/template_fit/prune.wgsl");
const PAIR_SEPARATION: &str = include_str!("../../shaders/template_fit/pair_separation.wgsl");
const EXTRACT: &str = include_str!("../../shaders/extract.wgsl");
const EXTRACT_DECONVOLUTION: &str = include_str!("../../shaders/extract_deconvolution.wgsl");
const OVER_THRESHOLD: &str = include_str!("../../shaders/threshold/over_threshold.wgsl");
const COMPACT: &str = include_str!("../../shaders/compact.wgsl");

/// The text of the compaction: hits into the order of their waveforms.
#[must_use]
pub fn compact_source() -> String {
    [RESULTS, PREFIX_SUM, COMPACT].join("\n")
}

/// Where a waveform's state lives while it is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// In the workgroup's own memory: fast, and too small for long transforms.
    Workgroup,
    /// In device memory, where it outlives the dispatch.
    Device,
}

/// What a pipeline is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// How charge and time are taken.
    pub method: Method,
    /// Complex points of the transform, as a power of two.
    pub log2_bins: u32,
    /// Room for samples of the trace.
    pub trace: u32,
    /// Where the state is.
    pub memory: Memory,
    /// True if prefix sums go by subgroups.
    pub subgroups: bool,
    /// First and last stage that run.
    pub stages: (Stage, Stage),
}

/// All stages.
pub const ALL_STAGES: (Stage, Stage) = (Stage::LoadSamples, Stage::Time);

impl Variant {
    /// The variant for waveforms of `n_samples` whose transform has `n_fft` samples (the method's without a transform: none).
    #[must_use]
    pub fn new(method: Method, n_samples: usize, decimation: usize, n_fft: usize) -> Self {
        let n_trace = n_samples.div_ceil(decimation.max(1));
        let (trace, bins) = if method.deconvolves() {
            let trace = if 2 * n_trace <= n_fft {
                n_fft / 2
            } else {
                n_fft
            };
            (trace, n_fft / 2)
        } else {
            // The bins hold found pulses, of which there are half as many as samples at most.
            let trace = n_trace.next_power_of_two().max(64);
            (trace, trace / 2)
        };
        Self {
            method,
            log2_bins: bins.trailing_zeros(),
            trace: trace as u32,
            memory: Memory::Workgroup,
            subgroups: false,
            stages: ALL_STAGES,
        }
    }

    /// Complex points of the transform.
    #[must_use]
    pub fn bins(&self) -> u32 {
        1 << self.log2_bins
    }

    /// Bytes of workgroup memory it takes with `width` threads.
    #[must_use]
    pub fn workgroup_bytes(&self, width: u32) -> u32 {
        // Reductions, as layout.wgsl and residual_baseline.wgsl have them, and what aligning may add.
        let common = 4 * width + 4 * 4 + 4 + 4 * 80 + 4 * 10 + 128;
        match self.memory {
            Memory::Device => common,
            Memory::Workgroup => {
                let (trace, bins) = (self.trace, self.bins());
                let row = 4 * (trace + trace / 8 + 1);
                // Without a transform a kernel has no use for its bins.
                let points = if self.method.deconvolves() {
                    bins + bins / 8
                } else {
                    0
                };
                common
                    + 2 * row
                    + 8 * points
                    + 16 * (trace / 8 + 10)
                    + 4 * (trace / 2 + 1)
                    + 4 * HEADER_WORDS
            }
        }
    }

    /// Words of device memory a waveform takes, where its state lives there. As in `common/memory_device.wgsl`.
    #[must_use]
    pub fn state_words(&self) -> u32 {
        HEADER_WORDS + 2 * self.trace + 2 * self.bins() + self.trace / 2 + 40 + self.trace / 2 + 8
    }

    /// The text.
    #[must_use]
    pub fn source(&self) -> String {
        let memory = match self.memory {
            Memory::Workgroup => MEMORY_WORKGROUP,
            Memory::Device => MEMORY_DEVICE,
        };
        let scan = if self.subgroups {
            SCAN_SUBGROUP
        } else {
            SCAN_WORKGROUP
        };
        let constants = constants::extraction_constants();
        let mut parts = vec![
            RESULTS,
            PREFIX_SUM,
            LAYOUT,
            &constants,
            memory,
            STATE,
            scan,
            LOAD_SAMPLES,
            BASELINE,
            EXTRACT,
        ];
        if self.method.deconvolves() {
            parts.extend([
                FFT,
                DECIMATE,
                DECONVOLVE,
                RESIDUAL_BASELINE,
                HIT_FINDING,
                CHARGE,
                TIME,
                SEEDS,
                EMPTY_WAVEFORM,
                EXTRACT_DECONVOLUTION,
            ]);
        } else {
            parts.push(OVER_THRESHOLD);
        }
        parts.join("\n")
    }

    /// The values of its override constants.
    #[must_use]
    pub fn constants(&self, width: u32) -> Vec<(&'static str, f64)> {
        let method = match self.method {
            Method::Deconvolution | Method::Sparse | Method::Auto => 0,
            Method::Integral => 1,
            Method::Coti => 2,
        };
        let fit = match self.method {
            Method::Deconvolution | Method::Integral | Method::Coti => 0,
            Method::Sparse => 1,
            Method::Auto => 2,
        };
        vec![
            ("WIDTH", f64::from(width)),
            ("LOG2_BINS", f64::from(self.log2_bins)),
            ("TRACE", f64::from(self.trace)),
            ("METHOD", f64::from(method)),
            ("FIT", f64::from(fit)),
            ("FIRST_STAGE", f64::from(self.stages.0 as u32)),
            ("LAST_STAGE", f64::from(self.stages.1 as u32)),
        ]
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.stages;
        write!(
            f,
            "{} {}..={} of {} bins, {} samples, {:?} memory",
            self.method.name(),
            first,
            last,
            self.bins(),
            self.trace,
            self.memory
        )
    }
}

/// What a pipeline of the fit is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fit {
    /// Room for samples.
    pub samples: u32,
}

/// Samples are given room in steps of so many: each step is a kernel of its own.
const STEP: u32 = 256;
/// Room for photoelectrons; a waveform with more is the CPU's. Of many that stand close the last digits hang on how sums are
/// rounded, and so, now and then, do decisions: with more than these CPU and GPU would not give the same hits as often as is
/// promised. Most waveforms have fewer.
const PULSE_CAPACITY: u32 = 8;
/// Threads of a workgroup of the fit at least.
const FIT_WIDTH: u32 = 64;
/// Lanes of a sum over samples, as in `state.wgsl` of the fit.
const LANES: u32 = 32;
/// Steps of a fit at most; what takes more is the CPU's. In software each has hundreds of turns of loops, and Mesa's llvmpipe ends a
/// thread's loops, all together, after 65,535 turns, without a word.
const SOFTWARE_STEPS: u32 = 45;
const MOST_STEPS: u32 = 1000;

impl Fit {
    /// The fit of waveforms of `n_samples`.
    #[must_use]
    pub fn of(n_samples: usize) -> Self {
        Self {
            samples: (n_samples as u32).next_multiple_of(STEP).max(STEP),
        }
    }

    /// Threads of a workgroup where other kernels have `width`.
    #[must_use]
    pub fn width(width: u32) -> u32 {
        width.max(FIT_WIDTH)
    }

    /// Bytes of workgroup memory it takes with `width` threads.
    #[must_use]
    pub fn workgroup_bytes(&self, width: u32) -> u32 {
        let columns = 2 * PULSE_CAPACITY + 1;
        let triangle = (columns + 1) * (columns + 2) / 2;
        // Times, charges, errors and places, in numbers; then what the parts of the fit have beside them.
        let lights = PULSE_CAPACITY * (4 + 1 + 4 + 4 + 3 + 4) + 4 * (PULSE_CAPACITY + 1);
        let around = 66 + 5 * MAX_PROPOSALS as u32;
        let words = self.samples + triangle + 5 * columns + lights + 4 * partials(width) + around;
        // Reductions of `layout.wgsl` and prefix sums, and what aligning may add.
        4 * (words + width + 4 + 2) + 64
    }

    /// The text.
    #[must_use]
    pub fn source(&self) -> String {
        let constants = constants::fit_constants();
        [
            RESULTS,
            PREFIX_SUM,
            LAYOUT,
            &constants,
            FIT_CAPACITY,
            TEMPLATE,
            NORMAL_EQUATIONS,
            FIT_STATE,
            ITERATE,
            FIT,
            PRIORS,
            ADD_PULSES,
            PRUNE,
            PAIR_SEPARATION,
        ]
        .join("\n")
    }

    /// The values of its override constants, for hardware or software.
    #[must_use]
    pub fn constants(&self, width: u32, is_software: bool) -> Vec<(&'static str, f64)> {
        let most_steps = if is_software {
            SOFTWARE_STEPS
        } else {
            MOST_STEPS
        };
        vec![
            ("MAX_TOTAL_STEPS", f64::from(most_steps)),
            ("WIDTH", f64::from(width)),
            ("SAMPLE_CAPACITY", f64::from(self.samples)),
            ("PULSE_CAPACITY", f64::from(PULSE_CAPACITY)),
            ("PARTIALS", f64::from(partials(width))),
        ]
    }
}

/// Lanes of sums that are under way at once.
fn partials(width: u32) -> u32 {
    width.max(LANES)
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fit of {} samples", self.samples)
    }
}
