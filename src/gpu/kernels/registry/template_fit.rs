//! The kernel of the template fit: runs after the extraction over the seeds that it left.

use crate::extract::template_fit::config::MAX_PROPOSALS;
use crate::gpu::kernels::bindings;
use crate::gpu::kernels::kernel::{DispatchSize, Kernel, KernelInfo, Target};
use crate::gpu::kernels::numbers::{LANES, TILE};

static INFO: KernelInfo = KernelInfo {
    name: "template fit",
    module: "template_fit/fit",
    source: include_str!("../../../../shaders/template_fit/fit.wgsl"),
    entry: "main",
    dispatch: DispatchSize::PerWaveform,
    twins: &["extract/template_fit/fit.rs"],
};

/// A variant of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FitVariant {
    /// Capacity for samples.
    pub samples: u32,
}

/// The capacity for samples is a multiple of this; each multiple is compiled on its own.
const SAMPLES_STEP: u32 = 256;
/// Capacity for photoelectrons; a waveform with more is left to the CPU. With many close photoelectrons the last digits, and
/// occasionally decisions, depend on the order of rounding: beyond this number CPU and GPU would not agree as often as is
/// promised. Most waveforms have fewer.
const PULSE_CAPACITY: u32 = 8;
/// Threads per workgroup at least.
const MIN_WIDTH: u32 = 64;
/// Steps of a fit at most, in all rounds together; a fit that needs more is left to the CPU.
const MAX_TOTAL_STEPS: u32 = 1000;
/// The same in software: each step has hundreds of loop iterations, and Mesa's llvmpipe ends the loops of a thread after 65,535
/// iterations in all, without an error.
const MAX_TOTAL_STEPS_SOFTWARE: u32 = 45;

impl FitVariant {
    /// Returns the variant for waveforms of `n_samples`.
    #[must_use]
    pub fn new(n_samples: usize) -> Self {
        Self {
            samples: (n_samples as u32)
                .next_multiple_of(SAMPLES_STEP)
                .max(SAMPLES_STEP),
        }
    }

    /// Returns true if `target` has enough workgroup memory.
    #[must_use]
    pub fn fits(self, target: &Target) -> bool {
        self.workgroup_bytes(width(target)) <= target.workgroup_bytes
    }

    /// Returns the bytes of workgroup memory that the variant takes with `width` threads, rounded up.
    #[must_use]
    pub fn workgroup_bytes(self, width: u32) -> u32 {
        let columns = 2 * PULSE_CAPACITY + 1;
        let triangle = (columns + 1) * (columns + 2) / 2;
        // Times, charges, errors and indices, in numbers; then what the parts of the fit need in addition.
        let pulses = PULSE_CAPACITY * (4 + 1 + 4 + 4 + 3 + 4) + 4 * (PULSE_CAPACITY + 1);
        let search = TILE + 2 + 5 * MAX_PROPOSALS as u32;
        let words = self.samples + triangle + 5 * columns + pulses + 4 * partials(width) + search;
        // Reductions of common/layout.wgsl and prefix sums, and what alignment may add.
        4 * (words + width + 4 + 2) + 64
    }

    /// Returns the kernel as it is compiled for `target`.
    #[must_use]
    pub fn kernel(self, target: &Target) -> Kernel {
        let width = width(target);
        let max_total_steps = if target.is_software {
            MAX_TOTAL_STEPS_SOFTWARE
        } else {
            MAX_TOTAL_STEPS
        };
        Kernel {
            info: &INFO,
            choices: Vec::new(),
            constants: vec![
                ("MAX_TOTAL_STEPS", max_total_steps),
                ("WIDTH", width),
                ("SAMPLE_CAPACITY", self.samples),
                ("PULSE_CAPACITY", PULSE_CAPACITY),
                ("PARTIALS", partials(width)),
            ],
            bind_groups: vec![&bindings::WAVEFORMS],
        }
    }
}

/// Threads per workgroup.
fn width(target: &Target) -> u32 {
    target.width.max(MIN_WIDTH).min(target.max_width)
}

/// Lanes of the sums that are computed at once.
fn partials(width: u32) -> u32 {
    width.max(LANES)
}

/// Returns variants of short and long waveforms, for the tests that all kernels have to pass.
pub fn variants(target: &Target) -> Vec<Kernel> {
    [32, 1000, 4096]
        .map(|n_samples| FitVariant::new(n_samples).kernel(target))
        .to_vec()
}
