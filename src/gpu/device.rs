//! A device: the connection to an adapter, its health, its pipelines, and the one thread that polls it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::adapter::{Adapter, STORAGE_BUFFERS};
use super::driver_threads::DriverCallGuard;
use super::failure::Failure;
use super::layout::{Count, Run};
use super::shaders::{self, Fit, Memory, Variant};

/// Threads of a workgroup of the compaction.
const COMPACT_WIDTH: u32 = 128;

/// The first thing that went wrong with a device. Nothing else tells: `poll` and `submit` succeed on a lost one.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Option<Failure>>>);

impl Health {
    /// Notes what went wrong, unless something did before.
    pub fn fail(&self, failure: Failure) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(failure);
    }

    /// What went wrong, as an error.
    ///
    /// # Errors
    /// If something did.
    pub fn check(&self) -> Result<(), Failure> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }
}

/// A device with what is made once on it.
pub struct Device {
    pub(super) inner: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) health: Health,
    /// Threads of a workgroup of the extraction.
    pub(super) width: u32,
    /// True if it computes on the CPU.
    is_software: bool,
    /// True if kernels may go by subgroups.
    pub(super) subgroups: bool,
    pub(super) extract_layout: wgpu::BindGroupLayout,
    pub(super) state_layout: wgpu::BindGroupLayout,
    pub(super) compact_layout: wgpu::BindGroupLayout,
    /// Nanoseconds of a tick of the timestamps; `None` where there are none.
    pub(super) timestamp_ns: Option<f32>,
    compact: [wgpu::ComputePipeline; 3],
    pipelines: HashMap<Variant, wgpu::ComputePipeline>,
    fits: HashMap<Fit, wgpu::ComputePipeline>,
    poller: Option<Sender<wgpu::SubmissionIndex>>,
    polling: Option<JoinHandle<()>>,
}

impl Drop for Device {
    /// Ends the polling thread: the last one to let go of a device must not be at it while the process ends. One that a failing
    /// driver keeps is left behind; it holds an [`DriverCallGuard`].
    fn drop(&mut self) {
        self.poller = None;
        if self.health.check().is_ok()
            && let Some(polling) = self.polling.take()
        {
            let _ = polling.join();
        }
    }
}

impl Device {
    /// Opens a device on `adapter`. Work that takes longer than `time_limit` counts as hung.
    ///
    /// # Errors
    /// If the adapter gives no device, or refuses the compaction's shader.
    pub fn open(adapter: &Adapter, time_limit: Duration) -> Result<Self, Failure> {
        let offered = adapter.inner.limits();
        let limits = wgpu::Limits {
            max_storage_buffers_per_shader_stage: STORAGE_BUFFERS,
            max_storage_buffer_binding_size: offered.max_storage_buffer_binding_size,
            max_buffer_size: offered.max_buffer_size,
            max_compute_workgroup_storage_size: offered.max_compute_workgroup_storage_size,
            max_compute_invocations_per_workgroup: offered.max_compute_invocations_per_workgroup,
            max_compute_workgroup_size_x: offered.max_compute_workgroup_size_x,
            ..wgpu::Limits::downlevel_defaults().using_alignment(offered.clone())
        };
        let features = adapter.inner.features();
        let timestamps = features.contains(wgpu::Features::TIMESTAMP_QUERY);
        let subgroups = adapter.info.uses_subgroups;
        let mut required_features = wgpu::Features::empty();
        required_features.set(wgpu::Features::TIMESTAMP_QUERY, timestamps);
        required_features.set(wgpu::Features::SUBGROUP, subgroups);
        let opened = adapter.inner.request_device(&wgpu::DeviceDescriptor {
            label: Some("nuwave"),
            required_features,
            required_limits: limits,
            experimental_features: wgpu::ExperimentalFeatures::disabled(),
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        });
        let (device, queue) =
            pollster::block_on(opened).map_err(|error| Failure::Lost(error.to_string()))?;
        let health = Health::default();
        let of_errors = health.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            of_errors.fail(match error {
                wgpu::Error::OutOfMemory { .. } => Failure::OutOfMemory(error.to_string()),
                _ => Failure::Refused(error.to_string()),
            });
        }));
        let of_losses = health.clone();
        device.set_device_lost_callback(move |reason, message| {
            of_losses.fail(Failure::Lost(
                format!("{reason:?} {message}").trim().to_owned(),
            ));
        });
        let extract_layout = layout(
            &device,
            "extract",
            &[
                uniform::<Run>(true),
                storage(true),
                storage(true),
                storage(true),
                storage(true),
                storage(true),
                storage(true),
                storage(false),
                storage(false),
                storage(false),
            ],
        );
        let state_layout = layout(&device, "state", &[storage(false)]);
        let compact_layout = layout(
            &device,
            "compact",
            &[
                uniform::<Count>(false),
                storage(true),
                storage(true),
                storage(false),
                storage(false),
            ],
        );
        let compact = compact_pipelines(&device, &compact_layout);
        let (poller, polling) = poll_on_a_thread(device.clone(), &health, time_limit);
        let device = Self {
            timestamp_ns: timestamps.then(|| queue.get_timestamp_period()),
            poller: Some(poller),
            polling,
            width: adapter.info.width,
            is_software: adapter.info.is_software(),
            subgroups,
            pipelines: HashMap::new(),
            fits: HashMap::new(),
            inner: device,
            queue,
            health,
            extract_layout,
            state_layout,
            compact_layout,
            compact,
        };
        device.health.check()?;
        Ok(device)
    }

    /// The kind of memory in which the state of `variant` fits.
    #[must_use]
    pub fn memory_for(&self, variant: Variant) -> Memory {
        let room = self.inner.limits().max_compute_workgroup_storage_size;
        if variant.workgroup_bytes(self.width) <= room {
            Memory::Workgroup
        } else {
            Memory::Device
        }
    }

    /// Makes the pipeline of `variant`, unless it is there.
    ///
    /// # Errors
    /// If the device refuses it.
    pub fn prepare(&mut self, variant: Variant) -> Result<(), Failure> {
        let Entry::Vacant(entry) = self.pipelines.entry(variant) else {
            return Ok(());
        };
        let module = self
            .inner
            .create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("extract"),
                source: wgpu::ShaderSource::Wgsl(variant.source().into()),
            });
        let groups = [Some(&self.extract_layout), Some(&self.state_layout)];
        let n_groups = if variant.memory == Memory::Device {
            2
        } else {
            1
        };
        let pipeline_layout = self
            .inner
            .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some("extract"),
                bind_group_layouts: &groups[..n_groups],
                immediate_size: 0,
            });
        let pipeline = pipeline(
            &self.inner,
            &module,
            &pipeline_layout,
            "main",
            &variant.constants(self.width),
        );
        entry.insert(pipeline);
        self.health.check()
    }

    /// Threads of a workgroup of the fit.
    fn fit_width(&self) -> u32 {
        let most = self.inner.limits().max_compute_invocations_per_workgroup;
        Fit::width(self.width).min(most)
    }

    /// True if a fit runs here.
    #[must_use]
    pub fn holds(&self, fit: Fit) -> bool {
        let room = self.inner.limits().max_compute_workgroup_storage_size;
        fit.workgroup_bytes(self.fit_width()) <= room
    }

    /// Makes the pipeline of a fit, unless it is there.
    ///
    /// # Errors
    /// If the device refuses it.
    pub fn prepare_fit(&mut self, fit: Fit) -> Result<(), Failure> {
        let width = self.fit_width();
        let Entry::Vacant(entry) = self.fits.entry(fit) else {
            return Ok(());
        };
        let module = self
            .inner
            .create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("sparse"),
                source: wgpu::ShaderSource::Wgsl(fit.source().into()),
            });
        let layout = self
            .inner
            .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some("sparse"),
                bind_group_layouts: &[Some(&self.extract_layout)],
                immediate_size: 0,
            });
        entry.insert(pipeline(
            &self.inner,
            &module,
            &layout,
            "main",
            &fit.constants(width, self.is_software),
        ));
        self.health.check()
    }

    /// The pipeline of a fit that was prepared.
    #[must_use]
    pub fn fit_pipeline(&self, fit: Fit) -> Option<&wgpu::ComputePipeline> {
        self.fits.get(&fit)
    }

    /// The pipeline of a variant that was prepared.
    #[must_use]
    pub fn pipeline(&self, variant: Variant) -> Option<&wgpu::ComputePipeline> {
        self.pipelines.get(&variant)
    }

    /// Records the compaction of the hits of `n_waveforms`: count, prefix sum, scatter.
    pub fn compact(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        group: &wgpu::BindGroup,
        n_waveforms: u32,
    ) {
        let [count, prefix, scatter] = &self.compact;
        pass.set_bind_group(0, group, &[]);
        for (pipeline, groups) in [
            (count, n_tiles(n_waveforms)),
            (prefix, 1),
            (scatter, n_tiles(n_waveforms)),
        ] {
            pass.set_pipeline(pipeline);
            pass.dispatch_workgroups(groups, 1, 1);
        }
    }

    /// Has the polling thread wait for `submission`. What maps buffers has to be called before.
    pub fn wait_for(&self, submission: wgpu::SubmissionIndex) {
        let sent = self.poller.as_ref().map(|poller| poller.send(submission));
        if !matches!(sent, Some(Ok(()))) {
            self.health
                .fail(Failure::Lost("the polling thread has ended".to_owned()));
        }
    }
}

/// Tiles of the compaction.
#[must_use]
pub fn n_tiles(n_waveforms: u32) -> u32 {
    n_waveforms.div_ceil(COMPACT_WIDTH)
}

/// Waits for a submission. Must not be called by two threads at once: concurrent polls can panic in wgpu 30 (gfx-rs/wgpu#9958).
///
/// # Errors
/// If it takes longer than `time_limit`, or the device is lost.
pub fn wait(
    device: &wgpu::Device,
    submission: wgpu::SubmissionIndex,
    time_limit: Duration,
) -> Result<(), Failure> {
    let poll = || {
        device.poll(wgpu::PollType::Wait {
            submission_index: Some(submission),
            timeout: Some(time_limit),
        })
    };
    // Where the driver says that the device is lost, wgpu 30 panics instead of returning an error.
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll)) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(wgpu::PollError::Timeout)) => Err(Failure::Hang),
        Ok(Err(error)) => Err(Failure::Lost(error.to_string())),
        Err(_) => Err(Failure::Lost("the driver gave it up".to_owned())),
    }
}

/// The only thread that polls. It ends with the device's owner, or when the device fails.
fn poll_on_a_thread(
    device: wgpu::Device,
    health: &Health,
    time_limit: Duration,
) -> (Sender<wgpu::SubmissionIndex>, Option<JoinHandle<()>>) {
    let (sender, submissions) = channel();
    let of_thread = health.clone();
    let guard = DriverCallGuard::enter();
    let spawned = std::thread::Builder::new()
        .name("gpu poll".to_owned())
        .spawn(move || {
            // The device goes first.
            let (_guard, device) = (guard, device);
            for submission in submissions {
                if let Err(failure) = wait(&device, submission, time_limit) {
                    of_thread.fail(failure);
                    return;
                }
            }
        });
    if let Err(error) = &spawned {
        health.fail(Failure::Lost(format!("no polling thread: {error}")));
    }
    (sender, spawned.ok())
}

fn uniform<T>(dynamic: bool) -> wgpu::BindingType {
    wgpu::BindingType::Buffer {
        ty: wgpu::BufferBindingType::Uniform,
        has_dynamic_offset: dynamic,
        min_binding_size: wgpu::BufferSize::new(size_of::<T>() as u64),
    }
}

fn storage(read_only: bool) -> wgpu::BindingType {
    wgpu::BindingType::Buffer {
        ty: wgpu::BufferBindingType::Storage { read_only },
        has_dynamic_offset: false,
        min_binding_size: None,
    }
}

fn layout(
    device: &wgpu::Device,
    label: &str,
    bindings: &[wgpu::BindingType],
) -> wgpu::BindGroupLayout {
    let entries: Vec<_> = bindings
        .iter()
        .enumerate()
        .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: *ty,
            count: None,
        })
        .collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(label),
        entries: &entries,
    })
}

fn pipeline(
    device: &wgpu::Device,
    module: &wgpu::ShaderModule,
    layout: &wgpu::PipelineLayout,
    entry: &str,
    constants: &[(&str, f64)],
) -> wgpu::ComputePipeline {
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(entry),
        layout: Some(layout),
        module,
        entry_point: Some(entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants,
            // Every stage writes what it reads.
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    })
}

fn compact_pipelines(
    device: &wgpu::Device,
    layout: &wgpu::BindGroupLayout,
) -> [wgpu::ComputePipeline; 3] {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("compact"),
        source: wgpu::ShaderSource::Wgsl(shaders::compact_source().into()),
    });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("compact"),
        bind_group_layouts: &[Some(layout)],
        immediate_size: 0,
    });
    ["count", "prefix", "scatter"].map(|entry| {
        pipeline(
            device,
            &module,
            &layout,
            entry,
            &[("WIDTH", f64::from(COMPACT_WIDTH))],
        )
    })
}
