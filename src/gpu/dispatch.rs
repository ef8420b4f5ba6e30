//! Which kernels run over a chunk, in how many workgroups.

use super::device::Device;
use super::shaders::{Fit, Memory, Variant};

/// Words of state in all, where waveforms keep it in device memory: 64 MiB.
pub const STATE_WORDS: u64 = 16 << 20;

/// Waveforms of one kernel: all of a chunk, or as many of them as one dispatch takes.
#[derive(Clone, Copy, Debug)]
pub struct KernelGroup {
    /// The kernel.
    pub variant: Variant,
    /// The fit behind it, where the method has one.
    pub fit: Option<Fit>,
    /// Its first waveform among the chunk's.
    pub first: u32,
    /// Their number.
    pub count: u32,
}

impl KernelGroup {
    /// Words of state they take in device memory.
    #[must_use]
    pub fn state_words(&self) -> u64 {
        match self.variant.memory {
            Memory::Workgroup => 0,
            Memory::Device => u64::from(self.variant.state_words()) * u64::from(self.count),
        }
    }

    /// Workgroups, one a waveform, in two dimensions: one alone goes to 65,535.
    #[must_use]
    pub fn workgroups(&self) -> (u32, u32) {
        const MOST: u32 = 65_535;
        if self.count <= MOST {
            (self.count.max(1), 1)
        } else {
            (MOST, self.count.div_ceil(MOST))
        }
    }
}

/// The dispatches of a chunk: its groups, cut where the state's memory holds fewer waveforms.
#[must_use]
pub fn dispatches(device: &Device, groups: &[KernelGroup]) -> Vec<KernelGroup> {
    let binding_words = device.inner.limits().max_storage_buffer_binding_size / 4;
    let mut all = Vec::new();
    for group in groups {
        let max_waveforms = match group.variant.memory {
            Memory::Workgroup => u64::from(group.count),
            Memory::Device => {
                binding_words.min(STATE_WORDS) / u64::from(group.variant.state_words())
            }
        };
        let most = max_waveforms.clamp(1, u64::from(u32::MAX)) as u32;
        let mut at = 0;
        while at < group.count {
            let count = most.min(group.count - at);
            all.push(KernelGroup {
                first: group.first + at,
                count,
                ..*group
            });
            at += count;
        }
    }
    all
}
