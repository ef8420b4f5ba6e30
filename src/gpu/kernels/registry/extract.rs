//! The extraction kernel: a waveform from raw samples to hits in one workgroup. It is compiled in many variants: by method, length
//! of the transform, kind of memory and stages.

use crate::extract::{Method, Stage};
use crate::gpu::kernels::bindings;
use crate::gpu::kernels::kernel::{DispatchSize, Kernel, KernelInfo, Target};
use crate::gpu::kernels::numbers::{FitNumber, HEADER_WORDS, MethodNumber};

static INFO: KernelInfo = KernelInfo {
    name: "extract",
    module: "extract",
    source: include_str!("../../../../shaders/extract.wgsl"),
    entry: "main",
    dispatch: DispatchSize::PerWaveform,
    twins: &["extract/extract_waveform.rs"],
};

/// Where the state of a waveform lives between stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// In workgroup memory: fast, and too small for long transforms.
    Workgroup,
    /// In device memory, where it outlives the dispatch.
    Device,
}

/// A variant of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtractVariant {
    /// How charge and time are measured.
    pub method: Method,
    /// Complex points of the transform, as a power of two.
    pub log2_bins: u32,
    /// Capacity for samples of the trace.
    pub trace: u32,
    /// Where the state is.
    pub memory: Memory,
    /// True if prefix sums use subgroups.
    pub subgroups: bool,
    /// First and last stage that run.
    pub stages: (Stage, Stage),
}

/// All stages.
const ALL_STAGES: (Stage, Stage) = (Stage::ALL[0], Stage::ALL[Stage::ALL.len() - 1]);

/// Offsets of the parts of a waveform's state in device memory, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateLayout {
    /// Raw samples, two per word; the trace after the deconvolution.
    pub samples: u32,
    /// The points of the transform; the found hits after the search.
    pub bins: u32,
    /// The smoothed trace; charges after the measurement.
    pub smooth: u32,
    /// Four numbers per block.
    pub blocks: u32,
    /// The regions over threshold.
    pub regions: u32,
    /// Words in all.
    pub words: u32,
}

impl ExtractVariant {
    /// Returns the variant for waveforms of `n_samples` whose transform has `n_fft` samples (methods without a transform ignore it), with
    /// all stages in workgroup memory.
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

    /// Returns the variant for `target`: in workgroup memory if the state fits there.
    #[must_use]
    pub fn on(self, target: &Target) -> Self {
        let memory = if self.workgroup_bytes(target.width) <= target.workgroup_bytes {
            Memory::Workgroup
        } else {
            Memory::Device
        };
        Self {
            memory,
            subgroups: target.subgroups,
            ..self
        }
    }

    /// Returns the complex points of the transform.
    #[must_use]
    pub fn bins(&self) -> u32 {
        1 << self.log2_bins
    }

    /// Returns the bytes of workgroup memory that the variant takes with `width` threads, rounded up.
    #[must_use]
    pub fn workgroup_bytes(&self, width: u32) -> u32 {
        // Reductions of common/layout.wgsl and residual_baseline.wgsl, and what alignment may add.
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

    /// Returns where the parts of a waveform's state lie in device memory.
    #[must_use]
    pub fn state_layout(&self) -> StateLayout {
        let samples = HEADER_WORDS;
        let bins = samples + self.trace;
        let smooth = bins + 2 * self.bins();
        let blocks = smooth + self.trace;
        let regions = blocks + self.trace / 2 + 40;
        StateLayout {
            samples,
            bins,
            smooth,
            blocks,
            regions,
            words: regions + self.trace / 2 + 8,
        }
    }

    /// Returns the kernel as it is compiled for `target`.
    #[must_use]
    pub fn kernel(&self, target: &Target) -> Kernel {
        let (memory, bind_groups) = match self.memory {
            Memory::Workgroup => ("common/memory_workgroup", vec![&bindings::WAVEFORMS]),
            Memory::Device => (
                "common/memory_device",
                vec![&bindings::WAVEFORMS, &bindings::STATE],
            ),
        };
        let scan = if self.subgroups {
            "common/scan_subgroup"
        } else {
            "common/scan_workgroup"
        };
        let stages = if self.method.deconvolves() {
            "extract_deconvolution"
        } else {
            "threshold/over_threshold"
        };
        Kernel {
            info: &INFO,
            choices: vec![("memory", memory), ("scan", scan), ("stages", stages)],
            constants: self.constants(target.width),
            bind_groups,
        }
    }

    fn constants(&self, width: u32) -> Vec<(&'static str, u32)> {
        let mut constants = vec![
            ("WIDTH", width),
            ("LOG2_BINS", self.log2_bins),
            ("TRACE", self.trace),
            ("METHOD", MethodNumber::from(self.method) as u32),
            ("FIT", FitNumber::from(self.method) as u32),
            ("FIRST_STAGE", self.stages.0 as u32),
            ("LAST_STAGE", self.stages.1 as u32),
        ];
        if self.memory == Memory::Device {
            let layout = self.state_layout();
            constants.extend([
                ("WORDS_AT", layout.samples),
                ("BINS_AT", layout.bins),
                ("SMOOTH_AT", layout.smooth),
                ("BLOCKS_AT", layout.blocks),
                ("REGIONS_AT", layout.regions),
                ("STATE_WORDS", layout.words),
            ]);
        }
        constants
    }
}

/// Returns variants of every method, kind of memory and stage, for the tests that all kernels have to pass.
pub fn variants(target: &Target) -> Vec<Kernel> {
    let mut variants = Vec::new();
    for method in [
        Method::Deconvolution,
        Method::Sparse,
        Method::Auto,
        Method::Integral,
        Method::Coti,
    ] {
        for memory in [Memory::Workgroup, Memory::Device] {
            for subgroups in [false, true] {
                variants.push(ExtractVariant {
                    memory,
                    subgroups,
                    ..ExtractVariant::new(method, 1000, 2, 1024)
                });
            }
        }
    }
    for stage in Stage::ALL {
        variants.push(ExtractVariant {
            memory: Memory::Device,
            stages: (stage, stage),
            ..ExtractVariant::new(Method::Deconvolution, 1000, 2, 1024)
        });
    }
    variants
        .iter()
        .map(|variant| variant.kernel(target))
        .collect()
}
