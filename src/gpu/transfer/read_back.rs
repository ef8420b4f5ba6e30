//! Parses the results of a chunk.

use std::time::Duration;

use super::buffers::{PREAMBLE, Sizes};
use super::chunk::ChunkResults;
use crate::gpu::kernels::shared_types::{Hit, Summary};

/// The content of the read-back buffer.
pub struct ReadBack {
    /// The results, with as many of the hits as were copied.
    pub results: ChunkResults,
    /// Hits of all waveforms.
    pub n_hits: u64,
    /// Room that hits and seeds took, in hits.
    pub room: u64,
}

/// Parses the results of `n_waveforms` with `copied_hits`. `tick_ns` is the length of a tick of the timestamps, if there are any.
#[must_use]
pub fn parse(bytes: &[u8], n_waveforms: u64, copied_hits: u64, tick_ns: Option<f32>) -> ReadBack {
    let end = PREAMBLE as usize + size_of::<Summary>() * n_waveforms as usize;
    let summaries: Vec<Summary> = bytemuck::pod_collect_to_vec(&bytes[PREAMBLE as usize..end]);
    let n_hits = summaries
        .iter()
        .map(|summary| u64::from(summary.n_hits))
        .sum();
    let begin = Sizes::hits_at(n_waveforms) as usize;
    let end = begin + size_of::<Hit>() * copied_hits.min(n_hits) as usize;
    ReadBack {
        results: ChunkResults {
            summaries,
            hits: bytemuck::pod_collect_to_vec(&bytes[begin..end]),
            kernel: tick_ns.map(|tick_ns| kernel_time(bytes, tick_ns)),
        },
        n_hits,
        room: u64::from(word(bytes, 0)),
    }
}

/// Returns the time between the two timestamps.
fn kernel_time(bytes: &[u8], tick_ns: f32) -> Duration {
    let stamp = |offset| u64::from(word(bytes, offset)) | u64::from(word(bytes, offset + 4)) << 32;
    let ticks = stamp(24).saturating_sub(stamp(16));
    Duration::from_nanos((ticks as f64 * f64::from(tick_ns)) as u64)
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    bytes
        .get(offset..offset + 4)
        .map_or(0, bytemuck::pod_read_unaligned)
}
