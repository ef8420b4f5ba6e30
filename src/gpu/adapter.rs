//! The adapters of this machine, and the choice of one.

use serde::Serialize;

use crate::error::{Error, ErrorKind, Hint, Result};

/// Storage buffers that one shader stage has to be able to use.
pub const STORAGE_BUFFERS: u32 = 10;
/// Bytes of workgroup memory at least: WebGPU guarantees them.
const WORKGROUP_BYTES: u32 = 16_384;
/// Threads per workgroup on hardware.
const WIDTH_HARDWARE: u32 = 64;
/// The same in software, where the cost of a barrier grows with the number of threads.
const WIDTH_SOFTWARE: u32 = 16;

/// An adapter: a GPU, or software that emulates one.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub(super) inner: wgpu::Adapter,
    /// Its properties.
    pub info: AdapterInfo,
}

/// The properties of an adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdapterInfo {
    /// Its name.
    pub name: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// `vulkan`, `metal` or `dx12`.
    pub api: String,
    /// The driver and its version.
    pub driver: String,
    /// Bytes of a storage binding at most.
    pub binding_bytes: u64,
    /// Bytes of a buffer at most.
    pub buffer_bytes: u64,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Threads per workgroup at most.
    pub workgroup_threads: u32,
    /// Threads per workgroup that nuwave uses here.
    pub width: u32,
    /// Smallest and largest subgroup.
    pub subgroup: (u32, u32),
    /// True if nuwave's kernels use subgroups here.
    pub uses_subgroups: bool,
    /// Features that it has and that nuwave could use.
    pub features: Vec<&'static str>,
    /// Why nuwave cannot use it; `None` if it can.
    pub unusable: Option<String>,
}

impl AdapterInfo {
    fn new(adapter: &wgpu::Adapter) -> Self {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "other",
        };
        let wanted = [
            (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
            (wgpu::Features::SUBGROUP, "subgroups"),
            (wgpu::Features::SHADER_F16, "f16"),
            (
                wgpu::Features::MAPPABLE_PRIMARY_BUFFERS,
                "mappable primary buffers",
            ),
        ];
        let features = adapter.features();
        let compute = adapter
            .get_downlevel_capabilities()
            .flags
            .contains(wgpu::DownlevelFlags::COMPUTE_SHADERS);
        let width = if kind == "software" {
            WIDTH_SOFTWARE
        } else {
            WIDTH_HARDWARE
        };
        let unusable = [
            (!compute, "it has no compute shaders".to_owned()),
            (
                limits.max_storage_buffers_per_shader_stage < STORAGE_BUFFERS,
                format!(
                    "a shader can use {} storage buffers, {STORAGE_BUFFERS} are needed",
                    limits.max_storage_buffers_per_shader_stage
                ),
            ),
            (
                limits.max_compute_workgroup_storage_size < WORKGROUP_BYTES,
                format!(
                    "workgroups have {} bytes of memory, {WORKGROUP_BYTES} are needed",
                    limits.max_compute_workgroup_storage_size
                ),
            ),
        ]
        .into_iter()
        .find_map(|(is, why)| is.then_some(why));
        Self {
            name: info.name,
            kind,
            api: info.backend.to_string(),
            driver: format!("{} {}", info.driver, info.driver_info)
                .trim()
                .to_owned(),
            binding_bytes: limits.max_storage_buffer_binding_size,
            buffer_bytes: limits.max_buffer_size,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            workgroup_threads: limits.max_compute_invocations_per_workgroup,
            width: width.min(limits.max_compute_invocations_per_workgroup),
            subgroup: (info.subgroup_min_size, info.subgroup_max_size),
            uses_subgroups: features.contains(wgpu::Features::SUBGROUP)
                && width.is_multiple_of(info.subgroup_max_size.max(1)),
            features: wanted
                .into_iter()
                .filter(|(feature, _)| features.contains(*feature))
                .map(|(_, name)| name)
                .collect(),
            unusable,
        }
    }

    /// Returns true if it computes on the CPU.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.kind == "software"
    }

    /// Returns its rank in the order of preference: discrete before integrated before the others, software last.
    fn rank(&self) -> u32 {
        match self.kind {
            "discrete" => 0,
            "integrated" => 1,
            "virtual" => 2,
            "other" => 3,
            _ => 4,
        }
    }

    /// Returns name and driver in one line.
    #[must_use]
    pub fn description(&self) -> String {
        format!("{} ({}, {})", self.name, self.api, self.driver)
    }
}

impl Adapter {
    /// Returns the same adapter with `width` threads per workgroup, for measurements.
    ///
    /// # Errors
    /// If `width` is not a power of two of at least 8, or the adapter has smaller workgroups.
    pub fn with_width(mut self, width: u32) -> Result<Self> {
        let most = self.info.workgroup_threads;
        if !width.is_power_of_two() || !(8..=most).contains(&width) {
            return Err(Error::usage(format!(
                "a workgroup of {width} threads: expected a power of two from 8 to {most}"
            )));
        }
        self.info.width = width;
        // Threads are numbered by subgroups, which have to be full for this.
        self.info.uses_subgroups &= width.is_multiple_of(self.info.subgroup.1.max(1));
        Ok(self)
    }

    /// Returns the same adapter without the use of subgroups.
    #[must_use]
    pub fn without_subgroups(mut self) -> Self {
        self.info.uses_subgroups = false;
        self
    }
}

/// Returns all adapters, in the order of preference.
#[must_use]
pub fn list() -> Vec<Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        // OpenGL's compute shaders lack what nuwave needs; these three are native.
        backends: wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12,
        // No validation layers and no debug information unless the environment asks for them.
        flags: wgpu::InstanceFlags::empty().with_env(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut all: Vec<Adapter> =
        pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()))
            .into_iter()
            .map(|inner| Adapter {
                info: AdapterInfo::new(&inner),
                inner,
            })
            .collect();
    all.sort_by_key(|adapter| adapter.info.rank());
    all
}

/// Returns the adapter that `auto` uses: the first usable one that is hardware.
#[must_use]
pub fn choose_automatic(all: &[Adapter]) -> Option<&Adapter> {
    all.iter()
        .find(|adapter| adapter.info.unusable.is_none() && !adapter.info.is_software())
}

/// Returns the adapter with the index `wanted` in the list, or with `wanted` in its name; without `wanted` the first usable one,
/// software included.
///
/// # Errors
/// If there is no such adapter, or it cannot be used ([`ErrorKind::Gpu`]).
pub fn find(wanted: Option<&str>) -> Result<Adapter> {
    let all = list();
    let gpu = |message: String| {
        Error::new(ErrorKind::Gpu, message)
            .with_hint(Hint::ListAdapters)
            .and_hint(Hint::UseCpu)
    };
    if all.is_empty() {
        return Err(Error::new(ErrorKind::Gpu, "there is no GPU adapter").with_hint(
            "on Linux a Vulkan driver and its loader (`libvulkan1`) are needed, `mesa-vulkan-drivers` brings a software \
             one",
        ).and_hint(Hint::UseCpu));
    }
    let chosen = match wanted {
        None => all.iter().find(|adapter| adapter.info.unusable.is_none()),
        Some(wanted) => {
            let index = wanted.parse::<usize>().ok();
            let named = |adapter: &&Adapter| {
                let name = adapter.info.name.to_lowercase();
                name.contains(&wanted.to_lowercase())
            };
            // A number beyond the list is part of a name, for example `3090`. If several names match, a usable adapter is preferred.
            index
                .and_then(|index| all.get(index))
                .or_else(|| {
                    all.iter()
                        .filter(named)
                        .find(|adapter| adapter.info.unusable.is_none())
                })
                .or_else(|| all.iter().find(named))
        }
    };
    let Some(chosen) = chosen.or(if wanted.is_none() { all.first() } else { None }) else {
        return Err(gpu(format!(
            "there is no adapter `{}`",
            wanted.unwrap_or_default()
        )));
    };
    if let Some(why) = &chosen.info.unusable {
        return Err(gpu(format!("`{}` cannot be used: {why}", chosen.info.name)));
    }
    Ok(chosen.clone())
}
