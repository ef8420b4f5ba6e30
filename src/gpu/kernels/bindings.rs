//! The buffers that kernels see: one list per bind group, from which both the layout on the device and the WGSL declarations
//! are made. `transfer/buffers.rs` has a buffer for every name.

use std::fmt::Write as _;

use super::shared_types::{CompactionSize, DispatchParameters};

/// A bind group.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct BindGroup {
    /// Its name in labels.
    pub name: &'static str,
    /// Its index in the kernels.
    pub index: u32,
    /// Its buffers, in the order of their binding numbers.
    pub bindings: &'static [Binding],
}

/// A buffer in a bind group.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The name of the variable in WGSL, and of the buffer.
    pub name: &'static str,
    /// How kernels use it.
    pub access: Access,
    /// Its type in WGSL.
    pub wgsl_type: &'static str,
}

/// How kernels use a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// A uniform; if `dynamic`, at an offset that each dispatch sets.
    Uniform {
        /// Its size in bytes.
        bytes: usize,
        /// True if dispatches set an offset.
        dynamic: bool,
    },
    /// Storage that is read.
    Read,
    /// Storage that is read and written.
    ReadWrite,
}

const fn read(name: &'static str, wgsl_type: &'static str) -> Binding {
    Binding {
        name,
        access: Access::Read,
        wgsl_type,
    }
}

const fn read_write(name: &'static str, wgsl_type: &'static str) -> Binding {
    Binding {
        name,
        access: Access::ReadWrite,
        wgsl_type,
    }
}

/// The buffers of the extraction and the fit.
pub static WAVEFORMS: BindGroup = BindGroup {
    name: "waveforms",
    index: 0,
    bindings: &[
        Binding {
            name: "run",
            access: Access::Uniform {
                bytes: size_of::<DispatchParameters>(),
                dynamic: true,
            },
            wgsl_type: "DispatchParameters",
        },
        read("waveforms", "array<Waveform>"),
        read("samples", "array<u32>"),
        read("plans", "array<TemplatePlan>"),
        read("spectra", "array<vec4<f32>>"),
        read("tables", "array<f32>"),
        read("twiddles", "array<vec2<f32>>"),
        read_write("summaries", "array<Summary>"),
        read_write("hits", "array<Hit>"),
        read_write("n_hits", "atomic<u32>"),
    ],
};

/// The state of waveforms between stages, where it lives in device memory.
pub static STATE: BindGroup = BindGroup {
    name: "state",
    index: 1,
    bindings: &[read_write("state", "array<u32>")],
};

/// The buffers of the compaction.
pub static COMPACTION: BindGroup = BindGroup {
    name: "compaction",
    index: 0,
    bindings: &[
        Binding {
            name: "size",
            access: Access::Uniform {
                bytes: size_of::<CompactionSize>(),
                dynamic: false,
            },
            wgsl_type: "CompactionSize",
        },
        read("summaries", "array<Summary>"),
        read("hits", "array<Hit>"),
        read_write("tiles", "array<u32>"),
        read_write("ordered_hits", "array<Hit>"),
    ],
};

impl BindGroup {
    /// Returns the declarations of its variables in WGSL.
    #[must_use]
    pub fn wgsl(&self) -> String {
        let mut text = String::new();
        for (number, binding) in self.bindings.iter().enumerate() {
            let space = match binding.access {
                Access::Uniform { .. } => "uniform",
                Access::Read => "storage, read",
                Access::ReadWrite => "storage, read_write",
            };
            let _ = writeln!(
                text,
                "@group({}) @binding({number}) var<{space}> {}: {};",
                self.index, binding.name, binding.wgsl_type
            );
        }
        text
    }

    /// Makes its layout on `device`.
    #[must_use]
    pub fn layout(&self, device: &wgpu::Device) -> wgpu::BindGroupLayout {
        let entries: Vec<_> = (0..)
            .zip(self.bindings)
            .map(|(number, binding)| wgpu::BindGroupLayoutEntry {
                binding: number,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: binding.access.binding_type(),
                count: None,
            })
            .collect();
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(self.name),
            entries: &entries,
        })
    }
}

impl Access {
    fn binding_type(self) -> wgpu::BindingType {
        let (ty, has_dynamic_offset, min_binding_size) = match self {
            Self::Uniform { bytes, dynamic } => (
                wgpu::BufferBindingType::Uniform,
                dynamic,
                wgpu::BufferSize::new(bytes as u64),
            ),
            Self::Read => (
                wgpu::BufferBindingType::Storage { read_only: true },
                false,
                None,
            ),
            Self::ReadWrite => (
                wgpu::BufferBindingType::Storage { read_only: false },
                false,
                None,
            ),
        };
        wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset,
            min_binding_size,
        }
    }
}
