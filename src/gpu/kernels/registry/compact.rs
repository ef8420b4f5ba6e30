//! The kernels of the compaction, which put the hits in the order of their waveforms: count, prefix sum, scatter.

use crate::gpu::kernels::bindings;
use crate::gpu::kernels::kernel::{DispatchSize, Kernel, KernelInfo, Registered, Target};

/// Threads per workgroup, and waveforms per tile.
const WIDTH: u32 = 128;

const SOURCE: &str = include_str!("../../../../shaders/compact.wgsl");
/// The host restores the order of the hits where the CPU extracts.
const TWINS: &[&str] = &["gpu/transfer/merge_results.rs"];

macro_rules! registered {
    ($(#[$meta:meta])* $name:ident $info:ident $entry:literal $dispatch:expr) => {
        static $info: KernelInfo = KernelInfo {
            name: concat!("compaction: ", $entry),
            module: "compact",
            source: SOURCE,
            entry: $entry,
            dispatch: $dispatch,
            twins: TWINS,
        };

        $(#[$meta])*
        pub const $name: Registered = Registered {
            info: &$info,
            forms: |_: &Target| vec![kernel(&$info)],
        };
    };
}

registered!(
    /// Counts the hits of each tile.
    COUNT COUNT_INFO "count" DispatchSize::PerTile(WIDTH)
);
registered!(
    /// Sums the hits before each tile.
    PREFIX PREFIX_INFO "prefix" DispatchSize::Single
);
registered!(
    /// Copies each hit to its place.
    SCATTER SCATTER_INFO "scatter" DispatchSize::PerTile(WIDTH)
);

fn kernel(info: &'static KernelInfo) -> Kernel {
    Kernel {
        info,
        choices: Vec::new(),
        constants: vec![("WIDTH", WIDTH)],
        bind_groups: vec![&bindings::COMPACTION],
    }
}

/// Returns the kernels in the order in which they run.
#[must_use]
pub fn kernels() -> [Kernel; 3] {
    [&COUNT_INFO, &PREFIX_INFO, &SCATTER_INFO].map(kernel)
}

/// Returns the number of tiles of `n_waveforms`.
#[must_use]
pub fn n_tiles(n_waveforms: u32) -> u32 {
    n_waveforms.div_ceil(WIDTH)
}
