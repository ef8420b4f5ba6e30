//! Cuts the groups of a chunk into dispatches.

use super::chunk::KernelGroup;
use crate::gpu::device::Device;

/// Words of state at most, of all waveforms together, where it is in device memory: 64 MiB.
pub const MAX_STATE_WORDS: u64 = 16 << 20;

/// Returns the groups of a chunk, cut where the memory for the state has room for fewer waveforms.
#[must_use]
pub fn split_into_dispatches(device: &Device, groups: &[KernelGroup]) -> Vec<KernelGroup> {
    let binding_words = device.inner.limits().max_storage_buffer_binding_size / 4;
    let mut all = Vec::new();
    for group in groups {
        let max_count = match group.sequence.state_words() {
            0 => group.count,
            words => (binding_words.min(MAX_STATE_WORDS) / u64::from(words)).max(1) as u32,
        };
        let mut done = 0;
        while done < group.count {
            let count = max_count.min(group.count - done);
            all.push(KernelGroup {
                first: group.first + done,
                count,
                ..*group
            });
            done += count;
        }
    }
    all
}
