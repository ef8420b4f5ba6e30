//! A chunk of waveforms: its input for the device, and its results.

use std::time::Duration;

use crate::gpu::kernels::numbers::LEFT_TO_CPU;
use crate::gpu::kernels::registry::Sequence;
use crate::gpu::kernels::shared_types::{DispatchParameters, Hit, Summary, Waveform};
use crate::model::Batch;

/// Why waveforms go to the CPU although there is a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CpuReason {
    /// They have more than [`MAX_GPU_SAMPLES`](crate::gpu::MAX_GPU_SAMPLES) samples.
    Long,
    /// Their template needs a longer transform than the kernels have.
    Transform,
    /// Their samples are not 16-bit counts.
    Floats,
    /// Their templates do not fit the adapter's bindings.
    Tables,
    /// There is no calibration, so nothing is computed.
    Uncalibrated,
    /// Their fit needs more workgroup memory than the adapter has.
    LargeFit,
    /// Their fit has more photoelectrons than its kernel has room for, or takes more steps than it may; the kernel itself finds this out.
    TooManyPulses,
    /// Their baseline may move, the end of the window cuts a pulse, or their samples may be no light and noise: padding, glitches, flat tops.
    /// The kernel itself finds this out, and the CPU decides.
    Irregular,
}

impl CpuReason {
    /// Returns the name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Long => "more than 4096 samples",
            Self::Transform => "a transform of more than 8192 samples",
            Self::Floats => "samples that are not 16-bit counts",
            Self::Tables => "templates that do not fit the adapter's bindings",
            Self::Uncalibrated => "no calibration",
            Self::TooManyPulses => "a fit of more photoelectrons or steps than the kernel holds",
            Self::Irregular => {
                "a moving baseline, light at the window's end or odd samples, to be checked"
            }
            Self::LargeFit => "a fit that needs larger workgroup memory",
        }
    }
}

/// A part of a batch, ready for the device.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Index of its first waveform in the batch.
    pub begin: usize,
    /// One past the index of its last waveform.
    pub end: usize,
    /// The waveforms for the GPU, grouped by kernels.
    pub waveforms: Vec<Waveform>,
    /// Their indices in the batch.
    pub indices: Vec<u32>,
    /// The groups.
    pub groups: Vec<KernelGroup>,
    /// Words of samples.
    pub words: u32,
    /// Indices in the batch of the waveforms for the CPU, with the reason.
    pub on_cpu: Vec<(u32, CpuReason)>,
}

/// Waveforms that the same kernels extract: all of a chunk, or as many of them as one dispatch takes.
#[derive(Clone, Copy, Debug)]
pub struct KernelGroup {
    /// The kernels.
    pub sequence: Sequence,
    /// Index of the first waveform in the chunk.
    pub first: u32,
    /// Number of waveforms.
    pub count: u32,
}

impl KernelGroup {
    /// Returns the words of state that the waveforms take in device memory.
    #[must_use]
    pub fn state_words(&self) -> u64 {
        u64::from(self.sequence.state_words()) * u64::from(self.count)
    }
}

/// A chunk with everything that its extraction needs.
pub struct ChunkInput<'a> {
    /// The batch that it is a part of.
    pub batch: &'a Batch,
    /// The chunk.
    pub chunk: &'a Chunk,
    /// The parameters of all dispatches, except for `first`, `count` and `capacity`.
    pub run: DispatchParameters,
    /// The state to begin with, if earlier stages have run elsewhere.
    pub state: Option<&'a [u32]>,
}

/// The results of a chunk.
#[derive(Default)]
pub struct ChunkResults {
    /// One per waveform of the chunk.
    pub summaries: Vec<Summary>,
    /// In the order of the waveforms.
    pub hits: Vec<Hit>,
    /// Time that the kernels took on the device, compaction included, where it has timestamps.
    pub kernel: Option<Duration>,
}

impl ChunkResults {
    /// Returns the numbers of waveforms that the kernels left to the CPU, by reason.
    #[must_use]
    pub fn left_to_cpu(&self) -> [(CpuReason, u64); 2] {
        let (mut fits, mut irregular) = (0, 0);
        let left = |summary: &&Summary| summary.flags & LEFT_TO_CPU != 0;
        for summary in self.summaries.iter().filter(left) {
            // Only waveforms that were extracted have seeds of a fit.
            if summary.n_seeds > 0 {
                fits += 1;
            } else {
                irregular += 1;
            }
        }
        [
            (CpuReason::TooManyPulses, fits),
            (CpuReason::Irregular, irregular),
        ]
    }
}
