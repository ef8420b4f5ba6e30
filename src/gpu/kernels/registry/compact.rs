//! The kernels of the compaction, which put the hits in the order of their waveforms: count, prefix sum, scatter.

use crate::gpu::kernels::bindings;
use crate::gpu::kernels::kernel::{DispatchSize, Kernel, KernelInfo, Target};

/// Threads per workgroup, and waveforms per tile.
const WIDTH: u32 = 128;

const PER_TILE: DispatchSize = DispatchSize::PerTile(WIDTH);

/// The kernels in the order in which they run: count the hits of each tile, sum the hits before each tile, copy each hit to its
/// place.
static INFOS: [KernelInfo; 3] = [
    info("compaction: count", "count", PER_TILE),
    info("compaction: prefix", "prefix", DispatchSize::Single),
    info("compaction: scatter", "scatter", PER_TILE),
];

const fn info(name: &'static str, entry: &'static str, dispatch: DispatchSize) -> KernelInfo {
    KernelInfo {
        name,
        module: "compact",
        source: include_str!("../../../../shaders/compact.wgsl"),
        entry,
        dispatch,
        // Where the CPU extracts, the host restores the order of the hits.
        twins: &["gpu/transfer/merge_results.rs"],
    }
}

/// Returns the kernels in the order in which they run.
#[must_use]
pub fn kernels() -> [Kernel; 3] {
    INFOS.each_ref().map(|info| Kernel {
        info,
        choices: Vec::new(),
        constants: vec![("WIDTH", WIDTH)],
        bind_groups: vec![&bindings::COMPACTION],
    })
}

/// Returns the kernels, which have one variant each, for the tests that all kernels have to pass.
pub fn variants(_: &Target) -> Vec<Kernel> {
    kernels().into()
}

/// Returns the number of tiles of `n_waveforms`.
#[must_use]
pub fn n_tiles(n_waveforms: u32) -> u32 {
    n_waveforms.div_ceil(WIDTH)
}
