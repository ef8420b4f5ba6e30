//! The description of a kernel.

use std::fmt;

use super::bindings::BindGroup;
use super::imports;

/// The description that all variants of a kernel share.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct KernelInfo {
    /// Its name in labels and messages.
    pub name: &'static str,
    /// The name of its shader: the path under `shaders/` without the ending.
    pub module: &'static str,
    /// The text of its shader, with unresolved imports.
    pub source: &'static str,
    /// The entry point.
    pub entry: &'static str,
    /// How many workgroups a dispatch has.
    pub dispatch: DispatchSize,
    /// The files under `src/` that do the same on the CPU.
    pub twins: &'static [&'static str],
}

/// How many workgroups a dispatch over some waveforms has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DispatchSize {
    /// One per waveform.
    PerWaveform,
    /// One per tile; a tile has this number of waveforms.
    PerTile(u32),
    /// One in all.
    Single,
}

impl DispatchSize {
    /// Returns the number of workgroups for `n_waveforms`, in two dimensions: one dimension goes up to 65,535 only.
    #[must_use]
    pub fn workgroups(self, n_waveforms: u32) -> (u32, u32) {
        const MAX_PER_DIMENSION: u32 = 65_535;
        let number = match self {
            Self::PerWaveform => n_waveforms,
            Self::PerTile(width) => n_waveforms.div_ceil(width),
            Self::Single => 1,
        };
        if number <= MAX_PER_DIMENSION {
            (number.max(1), 1)
        } else {
            (MAX_PER_DIMENSION, number.div_ceil(MAX_PER_DIMENSION))
        }
    }
}

/// A variant of a kernel as it is compiled: one pipeline on the device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// The description that all variants share.
    pub info: &'static KernelInfo,
    /// Imported names, and the modules to take for them, see [`imports`].
    pub choices: Vec<(&'static str, &'static str)>,
    /// The values of its override constants.
    pub constants: Vec<(&'static str, u32)>,
    /// Its bind groups.
    pub bind_groups: Vec<&'static BindGroup>,
}

impl Kernel {
    /// Returns the text of its shader.
    ///
    /// # Errors
    /// If it imports a module that does not exist.
    pub fn source(&self) -> Result<String, String> {
        imports::resolve(self.info.module, self.info.source, &self.choices)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?} {:?}",
            self.info.name, self.choices, self.constants
        )
    }
}

/// The properties of a device that kernels depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Threads per workgroup of the extraction.
    pub width: u32,
    /// Threads per workgroup at most.
    pub max_width: u32,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// True if kernels may use subgroups.
    pub subgroups: bool,
    /// True if it computes on the CPU.
    pub is_software: bool,
}
