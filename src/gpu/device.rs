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
use super::kernels::bindings::BindGroup;
use super::kernels::kernel::{Kernel, Target};
use super::kernels::registry::compact;

/// The first failure of a device. Nothing else reports it: `poll` and `submit` succeed on a lost device.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Option<Failure>>>);

impl Health {
    /// Records a failure, unless there was one before.
    pub fn fail(&self, failure: Failure) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(failure);
    }

    /// Returns the failure as an error.
    ///
    /// # Errors
    /// If there was a failure.
    pub fn check(&self) -> Result<(), Failure> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }
}

/// A device, with everything that is made once on it.
pub struct Device {
    pub(super) inner: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) health: Health,
    /// The properties that kernels depend on.
    pub(super) target: Target,
    /// Nanoseconds per tick of the timestamps; `None` where there are none.
    pub(super) timestamp_ns: Option<f32>,
    /// The layouts of the bind groups of all prepared kernels, by name.
    layouts: HashMap<&'static str, wgpu::BindGroupLayout>,
    pipelines: HashMap<Kernel, wgpu::ComputePipeline>,
    poller: Option<Sender<wgpu::SubmissionIndex>>,
    polling: Option<JoinHandle<()>>,
}

impl Drop for Device {
    /// Ends the polling thread: it must not be the last owner of the device while the process ends. A thread that a failing
    /// driver does not return from is not joined; it holds a [`DriverCallGuard`].
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
    /// If the adapter gives no device, or refuses the kernels of the compaction.
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
        report_failures_to(&device, &health);
        let (poller, polling) = spawn_poll_thread(device.clone(), &health, time_limit);
        let limits = device.limits();
        let mut device = Self {
            timestamp_ns: timestamps.then(|| queue.get_timestamp_period()),
            poller: Some(poller),
            polling,
            target: Target {
                width: adapter.info.width,
                max_width: limits.max_compute_invocations_per_workgroup,
                workgroup_bytes: limits.max_compute_workgroup_storage_size,
                subgroups,
                is_software: adapter.info.is_software(),
            },
            layouts: HashMap::new(),
            pipelines: HashMap::new(),
            inner: device,
            queue,
            health,
        };
        for kernel in compact::kernels() {
            device.prepare(kernel)?;
        }
        Ok(device)
    }

    /// Makes the pipeline of `kernel`, unless it exists.
    ///
    /// # Errors
    /// If the device refuses it.
    pub fn prepare(&mut self, kernel: Kernel) -> Result<(), Failure> {
        let Entry::Vacant(entry) = self.pipelines.entry(kernel) else {
            return Ok(());
        };
        let kernel = entry.key();
        let label = Some(kernel.info.name);
        let source = kernel.source().map_err(Failure::Refused)?;
        let module = self
            .inner
            .create_shader_module(wgpu::ShaderModuleDescriptor {
                label,
                source: wgpu::ShaderSource::Wgsl(source.into()),
            });
        for group in &kernel.bind_groups {
            self.layouts
                .entry(group.name)
                .or_insert_with(|| group.layout(&self.inner));
        }
        let layouts: Vec<_> = kernel
            .bind_groups
            .iter()
            .map(|group| self.layouts.get(group.name))
            .collect();
        let layout = self
            .inner
            .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label,
                bind_group_layouts: &layouts,
                immediate_size: 0,
            });
        let constants: Vec<(&str, f64)> = kernel
            .constants
            .iter()
            .map(|&(name, value)| (name, f64::from(value)))
            .collect();
        let pipeline = self
            .inner
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label,
                layout: Some(&layout),
                module: &module,
                entry_point: Some(kernel.info.entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &constants,
                    // Every stage writes what it reads.
                    zero_initialize_workgroup_memory: false,
                },
                cache: None,
            });
        entry.insert(pipeline);
        self.health.check()
    }

    /// Returns the pipeline of a kernel that was prepared.
    ///
    /// # Errors
    /// If it was not.
    pub fn pipeline(&self, kernel: &Kernel) -> Result<&wgpu::ComputePipeline, Failure> {
        self.pipelines
            .get(kernel)
            .ok_or_else(|| Failure::Refused(format!("no pipeline for {kernel}")))
    }

    /// Returns the layout of a bind group; `None` if no kernel that was prepared has it.
    #[must_use]
    pub fn layout(&self, group: &BindGroup) -> Option<&wgpu::BindGroupLayout> {
        self.layouts.get(group.name)
    }

    /// Makes the polling thread wait for `submission`. Mapping of buffers has to be requested before.
    pub fn wait_for(&self, submission: wgpu::SubmissionIndex) {
        let sent = self.poller.as_ref().map(|poller| poller.send(submission));
        if !matches!(sent, Some(Ok(()))) {
            self.health
                .fail(Failure::Lost("the polling thread has ended".to_owned()));
        }
    }
}

/// Makes `device` record its errors and its loss in `health`.
fn report_failures_to(device: &wgpu::Device, health: &Health) {
    let error_health = health.clone();
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        error_health.fail(match error {
            wgpu::Error::OutOfMemory { .. } => Failure::OutOfMemory(error.to_string()),
            _ => Failure::Refused(error.to_string()),
        });
    }));
    let loss_health = health.clone();
    device.set_device_lost_callback(move |reason, message| {
        loss_health.fail(Failure::Lost(
            format!("{reason:?} {message}").trim().to_owned(),
        ));
    });
}

/// Waits for a submission. Two threads must not call this at once: concurrent polls can panic in wgpu 30 (gfx-rs/wgpu#9958).
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
    // If the driver reports that the device is lost, wgpu 30 panics instead of returning an error.
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll)) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(wgpu::PollError::Timeout)) => Err(Failure::Hang),
        Ok(Err(error)) => Err(Failure::Lost(error.to_string())),
        Err(_) => Err(Failure::Lost("the driver reported its loss".to_owned())),
    }
}

/// Spawns the only thread that polls. It ends with the device's owner, or when the device fails.
fn spawn_poll_thread(
    device: wgpu::Device,
    health: &Health,
    time_limit: Duration,
) -> (Sender<wgpu::SubmissionIndex>, Option<JoinHandle<()>>) {
    let (sender, submissions) = channel();
    let thread_health = health.clone();
    let guard = DriverCallGuard::enter();
    let spawned = std::thread::Builder::new()
        .name("gpu poll".to_owned())
        .spawn(move || {
            // Locals are dropped in reverse order: the device before the guard.
            let (_guard, device) = (guard, device);
            for submission in submissions {
                if let Err(failure) = wait(&device, submission, time_limit) {
                    thread_health.fail(failure);
                    return;
                }
            }
        });
    if let Err(error) = &spawned {
        health.fail(Failure::Lost(format!("no polling thread: {error}")));
    }
    (sender, spawned.ok())
}
