//! A slot of the ring: takes one chunk of waveforms through upload, kernels and read-back.
//!
//! Its buffers grow to what the chunks need and are used again after that. The upload buffer and the read-back buffer are the
//! staging of the ring: wgpu's `write_buffer` would allocate on each call.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::buffers::{BindGroups, Buffers, Sizes};
use super::chunk::{ChunkInput, ChunkResults, KernelGroup};
use super::dispatch::split_into_dispatches;
use super::read_back;
use super::record::Recording;
use super::upload;
use crate::extract::Stage;
use crate::gpu::device::Device;
use crate::gpu::failure::{Failure, Fault};
use crate::gpu::kernels::shared_types::Hit;
use crate::gpu::template_tables::DeviceTables;

/// Time between two checks whether the device still works.
const HEALTH_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// A slot, with what is known of the chunk in it.
pub struct RingSlot {
    buffers: Option<Buffers>,
    queries: Option<wgpu::QuerySet>,
    groups: Option<BindGroups>,
    /// The generation of the tables in the bind groups.
    bound_generation: usize,
    mapped: Sender<Result<(), wgpu::BufferAsyncError>>,
    arrivals: Receiver<Result<(), wgpu::BufferAsyncError>>,
    n_waveforms: u64,
    /// True if the last stage is among those that run.
    gives_hits: bool,
    /// Hits that were copied for reading back.
    copied_hits: u64,
    /// Hits of the last chunk.
    last_hits: u64,
    /// The room that they took, in hits: with a fit, seeds and the hits that it replaced took some too.
    last_room: u64,
    /// True if a fit runs.
    fits: bool,
}

impl Default for RingSlot {
    fn default() -> Self {
        let (mapped, arrivals) = channel();
        Self {
            buffers: None,
            queries: None,
            groups: None,
            bound_generation: 0,
            mapped,
            arrivals,
            n_waveforms: 0,
            gives_hits: true,
            copied_hits: 0,
            last_hits: 0,
            last_room: 0,
            fits: false,
        }
    }
}

impl RingSlot {
    /// Makes room, uploads and submits a chunk, all kernels and the compaction.
    ///
    /// # Errors
    /// If the device fails; the chunk has to be extracted elsewhere then.
    pub fn submit(
        &mut self,
        device: &mut Device,
        tables: &DeviceTables,
        input: &ChunkInput<'_>,
        faults: &mut dyn FnMut() -> Option<Fault>,
    ) -> Result<(), Failure> {
        inject(faults(), device)?;
        for group in &input.chunk.groups {
            for kernel in group.sequence.kernels(&device.target) {
                device.prepare(kernel)?;
            }
        }
        let dispatches = split_into_dispatches(device, &input.chunk.groups);
        let needed = self.needed(input, &dispatches);
        self.make_room(device, needed, tables)?;
        let Some(buffers) = &self.buffers else {
            return Err(no_buffers());
        };
        if let (Some(words), Some(buffer)) = (input.state, &buffers.state) {
            device
                .queue
                .write_buffer(buffer, 0, bytemuck::cast_slice(words));
        }
        inject(faults(), device)?;
        upload::write(&buffers.upload, buffers.sizes, input, &dispatches)?;
        let fault = faults();
        inject(fault, device)?;
        let submission = self.record_and_submit(device, input, &dispatches)?;
        if fault == Some(Fault::Vanish) {
            let health = device.health.clone();
            std::thread::spawn(move || {
                std::thread::sleep(2 * HEALTH_CHECK_INTERVAL);
                health.fail(Failure::Lost(INJECTED.to_owned()));
            });
            return Ok(());
        }
        device.wait_for(submission);
        device.health.check()
    }

    fn needed(&self, input: &ChunkInput<'_>, dispatches: &[KernelGroup]) -> Sizes {
        let n_waveforms = input.chunk.waveforms.len() as u64;
        Sizes {
            dispatches: dispatches.len() as u64,
            waveforms: n_waveforms,
            words: u64::from(input.chunk.words).max(1),
            hits: (2 * n_waveforms).max(self.last_room) + 1024,
            state_words: dispatches
                .iter()
                .map(KernelGroup::state_words)
                .max()
                .unwrap_or(0),
        }
    }

    fn make_room(
        &mut self,
        device: &Device,
        needed: Sizes,
        tables: &DeviceTables,
    ) -> Result<(), Failure> {
        let current = self.buffers.as_ref().map(|buffers| buffers.sizes);
        let sizes = current.unwrap_or_default().grown(needed);
        if current != Some(sizes) {
            // The old buffers go first: there may not be room for both.
            self.groups = None;
            self.buffers = None;
            self.buffers = Some(Buffers::new(device, sizes));
        }
        if self.queries.is_none() && device.timestamp_ns.is_some() {
            self.queries = Some(device.inner.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("stamps"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            }));
        }
        device.health.check()?;
        if let Some(buffers) = &self.buffers
            && (self.bound_generation != tables.generation || self.groups.is_none())
        {
            self.groups = Some(buffers.bind(device, tables)?);
            self.bound_generation = tables.generation;
        }
        device.health.check()
    }

    fn record_and_submit(
        &mut self,
        device: &Device,
        input: &ChunkInput<'_>,
        dispatches: &[KernelGroup],
    ) -> Result<wgpu::SubmissionIndex, Failure> {
        let (Some(buffers), Some(groups)) = (&self.buffers, &self.groups) else {
            return Err(no_buffers());
        };
        buffers.upload.unmap();
        self.n_waveforms = input.chunk.waveforms.len() as u64;
        self.gives_hits = dispatches
            .iter()
            .all(|dispatch| dispatch.sequence.extract.stages.1 == Stage::Time);
        self.fits = dispatches
            .iter()
            .any(|dispatch| dispatch.sequence.fit.is_some());
        // As many hits as the last chunk had, and some more; if this chunk has yet more, they are read separately.
        self.copied_hits = (self.last_hits + self.last_hits / 4 + 256).min(buffers.sizes.hits);
        let recording = Recording {
            device,
            buffers,
            groups,
            queries: self.queries.as_ref(),
        };
        let commands = recording.record(input, dispatches, self.copied_hits)?;
        let submission = device.queue.submit([commands]);
        self.map(
            &buffers.read_back,
            self.read_back_bytes(),
            wgpu::MapMode::Read,
        );
        self.map(
            &buffers.upload,
            buffers.sizes.upload_bytes(),
            wgpu::MapMode::Write,
        );
        Ok(submission)
    }

    /// Bytes that are read back, with the hits that were copied.
    fn read_back_bytes(&self) -> u64 {
        Sizes::hits_at(self.n_waveforms) + size_of::<Hit>() as u64 * self.copied_hits
    }

    fn map(&self, buffer: &wgpu::Buffer, bytes: u64, mode: wgpu::MapMode) {
        let mapped = self.mapped.clone();
        buffer.map_async(mode, ..bytes, move |result| {
            // Nobody receives any more if the slot was given up.
            let _ = mapped.send(result);
        });
    }

    /// Waits until `number` buffers are mapped.
    fn wait(&self, device: &Device, number: usize, time_limit: Duration) -> Result<(), Failure> {
        let start = Instant::now();
        let mut missing = number;
        while missing > 0 {
            match self.arrivals.recv_timeout(HEALTH_CHECK_INTERVAL) {
                Ok(Ok(())) => missing -= 1,
                Ok(Err(error)) => {
                    device.health.check()?;
                    return Err(Failure::Lost(error.to_string()));
                }
                Err(_) => {
                    // A device that is lost for good never calls back.
                    device.health.check()?;
                    if start.elapsed() > time_limit {
                        return Err(Failure::Hang);
                    }
                }
            }
        }
        // A lost device calls back as if nothing had happened.
        device.health.check()
    }

    /// Waits for the chunk and returns its results. `None`: it has more hits than there is room for, and has to be submitted again;
    /// there will be room then.
    ///
    /// # Errors
    /// If the device fails.
    pub fn read(
        &mut self,
        device: &Device,
        time_limit: Duration,
        fault: Option<Fault>,
    ) -> Result<Option<ChunkResults>, Failure> {
        if fault == Some(Fault::Hang) {
            return Err(Failure::Hang);
        }
        inject(fault, device)?;
        self.wait(device, 2, time_limit)?;
        let Some(buffers) = &self.buffers else {
            return Err(no_buffers());
        };
        let parsed = {
            let view = buffers
                .read_back
                .get_mapped_range(..self.read_back_bytes())
                .map_err(|error| Failure::not_mapped(&error))?;
            read_back::parse(
                &view,
                self.n_waveforms,
                self.copied_hits,
                device.timestamp_ns,
            )
        };
        buffers.read_back.unmap();
        let (mut results, n_hits, room) = (parsed.results, parsed.n_hits, parsed.room);
        // A dying device may leave anything in memory.
        if self.gives_hits && (n_hits > room || (!self.fits && n_hits < room)) {
            return Err(Failure::Lost(format!(
                "the waveforms have {n_hits} hits where there are {room}"
            )));
        }
        (self.last_hits, self.last_room) = (n_hits, room);
        if room > buffers.sizes.hits {
            return Ok(None);
        }
        if n_hits > self.copied_hits {
            results.hits = self.read_all_hits(device, n_hits, time_limit)?;
        }
        Ok(Some(results))
    }

    /// Reads all of `n_hits`, where fewer were copied.
    fn read_all_hits(
        &self,
        device: &Device,
        n_hits: u64,
        time_limit: Duration,
    ) -> Result<Vec<Hit>, Failure> {
        let Some(buffers) = &self.buffers else {
            return Err(no_buffers());
        };
        let bytes = size_of::<Hit>() as u64 * n_hits;
        let mut encoder = device
            .inner
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&buffers.ordered_hits, 0, &buffers.read_back, 0, bytes);
        let submission = device.queue.submit([encoder.finish()]);
        self.map(&buffers.read_back, bytes, wgpu::MapMode::Read);
        device.wait_for(submission);
        self.wait(device, 1, time_limit)?;
        let hits = {
            let view = buffers
                .read_back
                .get_mapped_range(..bytes)
                .map_err(|error| Failure::not_mapped(&error))?;
            bytemuck::pod_collect_to_vec(&view)
        };
        buffers.read_back.unmap();
        Ok(hits)
    }
}

fn no_buffers() -> Failure {
    Failure::Refused("no buffers".to_owned())
}

/// The reason of an injected failure.
const INJECTED: &str = "injected by a test";

/// Injects a failure, if a test wants one.
fn inject(fault: Option<Fault>, device: &Device) -> Result<(), Failure> {
    match fault {
        None | Some(Fault::Vanish) => {}
        Some(Fault::Lose) => device.inner.destroy(),
        Some(Fault::OutOfMemory) => return Err(Failure::OutOfMemory(INJECTED.to_owned())),
        Some(Fault::Hang) => device.health.fail(Failure::Hang),
        Some(Fault::Refuse) => return Err(Failure::Refused(INJECTED.to_owned())),
    }
    device.health.check()
}
