//! Every registered kernel is parsed, validated and compared with what the host knows of it.

use std::path::Path;

use wgpu::naga;
use wgpu::naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

use super::bindings::{Access, BindGroup, Binding};
use super::kernel::{DispatchSize, Kernel, KernelInfo, Target};
use super::registry::KERNELS;
use super::registry::extract::{ExtractVariant, Memory};
use super::registry::template_fit::FitVariant;
use super::shared_types::{self, SharedStruct};
use crate::extract::Method;
use crate::gpu::adapter;
use crate::gpu::device::{Device, wait};

const TARGET: Target = Target {
    width: 64,
    max_width: 256,
    workgroup_bytes: 32 << 10,
    subgroups: true,
    is_software: false,
};

/// Parses and validates a kernel.
fn parse(kernel: &Kernel) -> (naga::Module, ModuleInfo) {
    let text = kernel
        .source()
        .unwrap_or_else(|error| panic!("{kernel}: {error}"));
    let module = naga::front::wgsl::parse_str(&text)
        .unwrap_or_else(|error| panic!("{kernel}: {}", error.emit_to_string(&text)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::SUBGROUP)
        .validate(&module)
        .unwrap_or_else(|error| panic!("{kernel}: {}", error.emit_to_string(&text)));
    (module, info)
}

/// The module with its override constants filled in.
fn filled(kernel: &Kernel) -> naga::Module {
    let (module, info) = parse(kernel);
    let constants = kernel
        .constants
        .iter()
        .map(|&(name, value)| (name.to_owned(), f64::from(value)))
        .collect();
    let entry = (naga::ShaderStage::Compute, kernel.info.entry);
    let (module, _) =
        naga::back::pipeline_constants::process_overrides(&module, &info, Some(entry), &constants)
            .unwrap_or_else(|error| panic!("{kernel}: {error}"));
    module.into_owned()
}

/// The variants of all kernels.
fn all_kernels() -> Vec<Kernel> {
    KERNELS
        .iter()
        .flat_map(|variants| variants(&TARGET))
        .collect()
}

/// The checks that every kernel has to pass.
fn check(kernel: &Kernel) {
    let (module, info) = parse(kernel);
    let entry = module
        .entry_points
        .iter()
        .position(|entry| entry.name == kernel.info.entry)
        .unwrap_or_else(|| panic!("{kernel}: no entry point"));
    for name in kernel.constants.iter().map(|(name, _)| Some(*name)) {
        let mut overrides = module.overrides.iter();
        let exists = overrides.any(|(_, constant)| constant.name.as_deref() == name);
        assert!(exists, "{kernel}: no override constant {name:?}");
    }
    filled(kernel);
    for (handle, variable) in module.global_variables.iter() {
        let used = !info.get_entry_point(entry)[handle].is_empty();
        let Some(place) = variable.binding.as_ref().filter(|_| used) else {
            continue;
        };
        let name = variable.name.as_deref().unwrap_or_default();
        let group = kernel
            .bind_groups
            .iter()
            .find(|group| group.index == place.group)
            .unwrap_or_else(|| panic!("{kernel}: no bind group of `{name}`"));
        let binding = &group.bindings[place.binding as usize];
        assert_eq!(binding.name, name, "{kernel}");
        let writes = matches!(
            variable.space,
            naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE)
        );
        assert_eq!(
            binding.access == Access::ReadWrite,
            writes,
            "{kernel}: `{name}`"
        );
    }
    for twin in kernel.info.twins {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(twin);
        assert!(path.is_file(), "{kernel}: no twin `{twin}`");
    }
}

#[test]
fn every_kernel_is_valid_and_as_described() {
    let kernels = all_kernels();
    for kernel in &kernels {
        check(kernel);
        let mut namesakes = kernels
            .iter()
            .filter(|other| other.info.name == kernel.info.name);
        assert!(
            namesakes.all(|other| std::ptr::eq(other.info, kernel.info)),
            "{kernel}: another kernel has its name"
        );
    }
}

/// The name and offset of every member of a shader's struct, and its size.
fn members(module: &naga::Module, name: &str) -> Option<(Vec<(String, usize)>, usize)> {
    let (_, kind) = module
        .types
        .iter()
        .find(|(_, kind)| kind.name.as_deref() == Some(name))?;
    let naga::TypeInner::Struct { members, span } = &kind.inner else {
        return None;
    };
    let members = members.iter().map(|member| {
        let name = member.name.clone().unwrap_or_default();
        (name, member.offset as usize)
    });
    Some((members.collect(), *span as usize))
}

fn has_the_layout_of<T: SharedStruct>(module: &naga::Module) {
    let expected: Vec<(String, usize)> = T::FIELDS
        .iter()
        .map(|(name, _, offset)| ((*name).to_owned(), *offset))
        .collect();
    assert_eq!(
        members(module, T::NAME),
        Some((expected, size_of::<T>())),
        "{}",
        T::NAME
    );
}

#[test]
fn host_and_shaders_agree_on_every_struct() {
    for kernel in all_kernels() {
        let (module, _) = parse(&kernel);
        has_the_layout_of::<shared_types::Summary>(&module);
        has_the_layout_of::<shared_types::Hit>(&module);
        if members(&module, "CompactionSize").is_some() {
            has_the_layout_of::<shared_types::CompactionSize>(&module);
        } else {
            has_the_layout_of::<shared_types::Waveform>(&module);
            has_the_layout_of::<shared_types::TemplatePlan>(&module);
            has_the_layout_of::<shared_types::DispatchParameters>(&module);
        }
    }
}

/// Bytes of workgroup memory of a module.
fn workgroup_bytes(module: &naga::Module) -> u32 {
    module
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup)
        .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
        .sum()
}

const WIDTHS: [u32; 3] = [8, 64, 256];

#[test]
fn the_host_knows_the_workgroup_memory_of_the_extraction() {
    for width in WIDTHS {
        let target = Target { width, ..TARGET };
        for (n_samples, decimation, n_fft) in [(32, 1, 64), (1000, 2, 1024), (4096, 1, 8192)] {
            for method in [Method::Deconvolution, Method::Integral] {
                let variant = ExtractVariant::new(method, n_samples, decimation, n_fft);
                let module = filled(&variant.kernel(&target));
                let (bytes, expected) = (workgroup_bytes(&module), variant.workgroup_bytes(width));
                assert!(bytes <= expected, "{variant:?}: {bytes}, not {expected}");
                assert!(
                    expected < bytes + 1024,
                    "{variant:?}: {bytes}, not {expected}"
                );
                assert_eq!(module.entry_points[0].workgroup_size, [width, 1, 1]);
            }
        }
    }
}

#[test]
fn the_host_knows_the_workgroup_memory_of_the_fit() {
    for width in WIDTHS {
        // The fit has at least 64 threads, unless workgroups are smaller.
        let target = Target {
            width,
            max_width: width,
            ..TARGET
        };
        for fit in [32, 1000, 4096].map(FitVariant::new) {
            let module = filled(&fit.kernel(&target));
            let (bytes, expected) = (workgroup_bytes(&module), fit.workgroup_bytes(width));
            assert!(bytes <= expected, "{fit:?}: {bytes}, not {expected}");
            // What alignment may add.
            assert!(expected < bytes + 1280, "{fit:?}: {bytes}, not {expected}");
            assert_eq!(module.entry_points[0].workgroup_size, [width, 1, 1]);
        }
    }
    // Small memories are enough: Vulkan guarantees 16 KiB, most devices have 32.
    assert!(FitVariant::new(1000).workgroup_bytes(64) <= 16 << 10);
    assert!(FitVariant::new(4096).workgroup_bytes(64) <= 32 << 10);
}

#[test]
fn the_state_in_device_memory_has_the_room_of_workgroup_memory() {
    for (n_samples, decimation, n_fft) in [(32, 1, 64), (1000, 2, 1024), (4096, 1, 8192)] {
        let variant = ExtractVariant {
            memory: Memory::Device,
            ..ExtractVariant::new(Method::Deconvolution, n_samples, decimation, n_fft)
        };
        let (layout, trace) = (variant.state_layout(), variant.trace);
        assert!(layout.bins - layout.samples >= trace);
        assert!(layout.smooth - layout.bins >= 2 * variant.bins());
        assert!(layout.blocks - layout.smooth >= trace);
        assert!(layout.regions - layout.blocks >= 4 * (trace / 8 + 10));
        assert!(layout.words - layout.regions > trace / 2);
    }
}

#[test]
fn workgroups_go_into_two_dimensions() {
    let workgroups = |dispatch: DispatchSize, n| dispatch.workgroups(n);
    assert_eq!(workgroups(DispatchSize::PerWaveform, 0), (1, 1));
    assert_eq!(workgroups(DispatchSize::PerWaveform, 65_535), (65_535, 1));
    assert_eq!(workgroups(DispatchSize::PerWaveform, 65_536), (65_535, 2));
    assert_eq!(workgroups(DispatchSize::PerTile(128), 129), (2, 1));
    assert_eq!(workgroups(DispatchSize::Single, 1_000_000), (1, 1));
}

// A kernel as in docs/developer/adding-a-kernel.md: a shader and a description.

static DOUBLING: KernelInfo = KernelInfo {
    name: "doubling",
    module: "doubling",
    source: "
        #import common/prefix_sum
        #import generated/flags

        @group(0) @binding(0) var<storage, read_write> values: array<u32>;

        @compute @workgroup_size(WIDTH)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            values[id.x] = 2u * values[id.x] + SATURATED_HIGH;
        }",
    entry: "main",
    dispatch: DispatchSize::PerTile(64),
    twins: &["gpu/kernels/tests.rs"],
};

static VALUES: BindGroup = BindGroup {
    name: "values",
    index: 0,
    bindings: &[Binding {
        name: "values",
        access: Access::ReadWrite,
        wgsl_type: "array<u32>",
    }],
};

fn doubling() -> Kernel {
    Kernel {
        info: &DOUBLING,
        choices: Vec::new(),
        constants: vec![("WIDTH", 64)],
        bind_groups: vec![&VALUES],
    }
}

#[test]
fn a_new_kernel_is_described_in_one_place() {
    check(&doubling());
}

#[test]
#[ignore = "needs a GPU adapter"]
fn a_new_kernel_runs() {
    let adapter = adapter::find(std::env::var("NUWAVE_TEST_ADAPTER").ok().as_deref());
    let time_limit = std::time::Duration::from_secs(60);
    let mut device = Device::open(&adapter.expect("an adapter"), time_limit).expect("a device");
    device.prepare(doubling()).expect("a valid kernel");
    let make = |usage| {
        device.inner.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * 256,
            usage,
            mapped_at_creation: false,
        })
    };
    let values = make(
        wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
    );
    let read_back = make(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let numbers: Vec<u32> = (0..256).collect();
    device
        .queue
        .write_buffer(&values, 0, bytemuck::cast_slice(&numbers));
    let group = device.inner.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: device.layout(&VALUES).expect("prepared"),
        entries: &[wgpu::BindGroupEntry {
            binding: 0,
            resource: values.as_entire_binding(),
        }],
    });
    let mut encoder = device
        .inner
        .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(device.pipeline(&doubling()).expect("prepared"));
        pass.set_bind_group(0, &group, &[]);
        let (x, y) = DOUBLING.dispatch.workgroups(256);
        pass.dispatch_workgroups(x, y, 1);
    }
    encoder.copy_buffer_to_buffer(&values, 0, &read_back, 0, 4 * 256);
    let submission = device.queue.submit([encoder.finish()]);
    read_back.map_async(wgpu::MapMode::Read, .., |_| ());
    wait(&device.inner, submission, time_limit).expect("it ends");
    let view = read_back.get_mapped_range(..).expect("mapped");
    let doubled: Vec<u32> = bytemuck::pod_collect_to_vec(&view);
    let expected: Vec<u32> = numbers.iter().map(|number| 2 * number + 1).collect();
    assert_eq!(doubled, expected);
}
