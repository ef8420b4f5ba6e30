//! One place of the ring: the buffers of one chunk of waveforms on its way up, through the kernels, and back.
//!
//! Buffers grow to what the chunks need and are used again after that. The upload buffer and the read-back buffer are the ring's own
//! staging: wgpu's `write_buffer` would allocate with each call.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytemuck::Zeroable as _;

use super::buffers::{BindGroups, Buffers, PREAMBLE, Sizes, UNIFORM_STEP};
use super::device::{Device, n_tiles};
use super::dispatch::{KernelGroup, dispatches};
use super::failure::{Failure, Fault};
use super::layout::{Count, Hit, OUTGROWN, Run, Summary, Waveform};
use super::routing::Chunk;
use super::shaders::Memory;
use super::template_tables::DeviceTables;
use super::upload;
use crate::extract::Stage;
use crate::model::Batch;

/// How long to wait before asking whether the device is still there.
const HEALTH_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// What a chunk brings.
pub struct ChunkInput<'a> {
    /// The batch it belongs to.
    pub batch: &'a Batch,
    /// The chunk.
    pub chunk: &'a Chunk,
    /// What all dispatches share, but for `first`, `count` and `capacity`.
    pub run: Run,
    /// State to begin with, where earlier stages have run elsewhere.
    pub state: Option<&'a [u32]>,
}

/// What came back.
#[derive(Default)]
pub struct ChunkResults {
    /// One a waveform of the chunk.
    pub summaries: Vec<Summary>,
    /// Waveform after waveform.
    pub hits: Vec<Hit>,
    /// Time the kernels took on the device, extraction and compaction, where it has timestamps.
    pub kernel: Option<Duration>,
}

impl ChunkResults {
    /// Waveforms whose fit is left to the CPU.
    #[must_use]
    pub fn n_left_to_cpu(&self) -> u64 {
        let flags = self.summaries.iter().map(|summary| summary.flags);
        flags.filter(|flags| flags & OUTGROWN != 0).count() as u64
    }
}

/// A slot, and what is known of the chunk in it.
pub struct RingSlot {
    buffers: Option<Buffers>,
    queries: Option<wgpu::QuerySet>,
    groups: Option<BindGroups>,
    /// The generation of the tables in the groups.
    bound_to: usize,
    mapped: Sender<Result<(), wgpu::BufferAsyncError>>,
    arrivals: Receiver<Result<(), wgpu::BufferAsyncError>>,
    n_waveforms: u32,
    /// True if the last stage is among those that run.
    gives_hits: bool,
    /// Hits that were copied for reading back.
    copied_hits: u64,
    /// Hits of the last chunk.
    hits_seen: u64,
    /// Room they took: where there was a fit, seeds and hits that it replaced had some too.
    room_seen: u64,
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
            bound_to: 0,
            mapped,
            arrivals,
            n_waveforms: 0,
            gives_hits: true,
            copied_hits: 0,
            hits_seen: 0,
            room_seen: 0,
            fits: false,
        }
    }
}

impl RingSlot {
    /// Makes room, uploads and submits a chunk, all stages and the compaction.
    ///
    /// # Errors
    /// If the device fails; the chunk has to be done elsewhere then.
    pub fn submit(
        &mut self,
        device: &mut Device,
        tables: &DeviceTables,
        input: &ChunkInput<'_>,
        faults: &mut dyn FnMut() -> Option<Fault>,
    ) -> Result<(), Failure> {
        fail_at(faults(), device)?;
        for group in &input.chunk.groups {
            device.prepare(group.variant)?;
            if let Some(fit) = group.fit {
                device.prepare_fit(fit)?;
            }
        }
        let dispatches = dispatches(device, &input.chunk.groups);
        let needed = self.needed(input, &dispatches);
        self.make_room(device, needed, tables)?;
        if let (Some(words), Some(buffer)) = (
            input.state,
            self.buffers
                .as_ref()
                .and_then(|buffers| buffers.state.as_ref()),
        ) {
            device
                .queue
                .write_buffer(buffer, 0, bytemuck::cast_slice(words));
        }
        fail_at(faults(), device)?;
        self.upload(input, &dispatches)?;
        let fault = faults();
        fail_at(fault, device)?;
        let submission = self.record_and_submit(device, input, &dispatches)?;
        if fault == Some(Fault::Vanish) {
            let health = device.health.clone();
            std::thread::spawn(move || {
                std::thread::sleep(2 * HEALTH_CHECK_INTERVAL);
                health.fail(Failure::Lost("brought about by a test".to_owned()));
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
            hits: (2 * n_waveforms).max(self.room_seen) + 1024,
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
        let have = self.buffers.as_ref().map(|buffers| buffers.sizes);
        let sizes = have.unwrap_or_default().grown(needed);
        let grew = have != Some(sizes);
        if grew {
            // The old ones go first: there may not be room for both.
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
            && (self.bound_to != tables.generation || self.groups.is_none())
        {
            self.groups = Some(buffers.bind(device, tables));
            self.bound_to = tables.generation;
        }
        device.health.check()
    }

    /// Writes a chunk into the mapped upload buffer, samples by all threads.
    fn upload(
        &mut self,
        input: &ChunkInput<'_>,
        dispatches: &[KernelGroup],
    ) -> Result<(), Failure> {
        let Some(buffers) = &self.buffers else {
            return Err(Failure::Refused("no buffers".to_owned()));
        };
        let sizes = buffers.sizes;
        let mut view = buffers
            .upload
            .get_mapped_range_mut(..sizes.samples_at())
            .map_err(|error| Failure::not_mapped(&error))?;
        for (place, dispatch) in dispatches.iter().enumerate() {
            let run = Run {
                first: dispatch.first,
                count: dispatch.count,
                capacity: sizes.hits as u32,
                ..input.run
            };
            let at = UNIFORM_STEP as usize * place;
            view.slice(at..at + size_of::<Run>())
                .copy_from_slice(bytemuck::bytes_of(&run));
        }
        let count = Count {
            n_waveforms: input.chunk.waveforms.len() as u32,
            capacity: sizes.hits as u32,
            n_tiles: n_tiles(input.chunk.waveforms.len() as u32),
            ..Count::zeroed()
        };
        let at = sizes.uniform_bytes() as usize;
        view.slice(at..at + size_of::<Count>())
            .copy_from_slice(bytemuck::bytes_of(&count));
        let bytes: &[u8] = bytemuck::cast_slice(&input.chunk.waveforms);
        let at = sizes.waveforms_at() as usize;
        view.slice(at..at + bytes.len()).copy_from_slice(bytes);
        upload::write(&buffers.upload, sizes.samples_at(), input)
    }

    fn record_and_submit(
        &mut self,
        device: &Device,
        input: &ChunkInput<'_>,
        dispatches: &[KernelGroup],
    ) -> Result<wgpu::SubmissionIndex, Failure> {
        let (Some(buffers), Some((extract, compact, state))) = (&self.buffers, &self.groups) else {
            return Err(Failure::Refused("no buffers".to_owned()));
        };
        let sizes = buffers.sizes;
        let n_waveforms = input.chunk.waveforms.len() as u64;
        buffers.upload.unmap();
        let mut encoder = device
            .inner
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for (at, to, bytes) in [
            (0, &buffers.uniforms, UNIFORM_STEP * dispatches.len() as u64),
            (
                sizes.uniform_bytes(),
                &buffers.count,
                size_of::<Count>() as u64,
            ),
            (
                sizes.waveforms_at(),
                &buffers.waveforms,
                size_of::<Waveform>() as u64 * n_waveforms,
            ),
            (
                sizes.samples_at(),
                &buffers.samples,
                4 * u64::from(input.chunk.words),
            ),
        ] {
            encoder.copy_buffer_to_buffer(&buffers.upload, at, to, 0, bytes);
        }
        encoder.clear_buffer(&buffers.n_hits, 0, None);
        {
            let stamps = self
                .queries
                .as_ref()
                .map(|queries| wgpu::ComputePassTimestampWrites {
                    query_set: queries,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                });
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("extract"),
                timestamp_writes: stamps,
            });
            for (place, dispatch) in dispatches.iter().enumerate() {
                let variant = dispatch.variant;
                let Some(pipeline) = device.pipeline(variant) else {
                    return Err(Failure::Refused(format!("no pipeline {variant}")));
                };
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, extract, &[(UNIFORM_STEP * place as u64) as u32]);
                if variant.memory == Memory::Device {
                    pass.set_bind_group(1, state, &[]);
                }
                let (x, y) = dispatch.workgroups();
                pass.dispatch_workgroups(x, y, 1);
            }
            record_fits(&mut pass, device, extract, dispatches)?;
            device.compact(&mut pass, compact, input.chunk.waveforms.len() as u32);
        }
        self.n_waveforms = input.chunk.waveforms.len() as u32;
        self.gives_hits = input
            .chunk
            .groups
            .iter()
            .all(|group| group.variant.stages.1 == Stage::Time);
        self.fits = dispatches.iter().any(|dispatch| dispatch.fit.is_some());
        // As many hits as lately and some more; a chunk with yet more is read in a second go.
        self.copied_hits = (self.hits_seen + self.hits_seen / 4 + 256).min(sizes.hits);
        let hits_at = Sizes::hits_at(n_waveforms);
        if let Some(queries) = &self.queries {
            encoder.resolve_query_set(queries, 0..2, &buffers.stamps, 0);
            encoder.copy_buffer_to_buffer(&buffers.stamps, 0, &buffers.read_back, 16, 16);
        }
        encoder.copy_buffer_to_buffer(&buffers.n_hits, 0, &buffers.read_back, 0, 16);
        encoder.copy_buffer_to_buffer(
            &buffers.summaries,
            0,
            &buffers.read_back,
            PREAMBLE,
            size_of::<Summary>() as u64 * n_waveforms,
        );
        encoder.copy_buffer_to_buffer(
            &buffers.hits,
            0,
            &buffers.read_back,
            hits_at,
            size_of::<Hit>() as u64 * self.copied_hits,
        );
        let submission = device.queue.submit([encoder.finish()]);
        let bytes = hits_at + size_of::<Hit>() as u64 * self.copied_hits;
        self.map(&buffers.read_back, bytes, wgpu::MapMode::Read);
        self.map(&buffers.upload, sizes.upload_bytes(), wgpu::MapMode::Write);
        Ok(submission)
    }

    fn map(&self, buffer: &wgpu::Buffer, bytes: u64, mode: wgpu::MapMode) {
        let mapped = self.mapped.clone();
        buffer.map_async(mode, ..bytes, move |result| {
            // Nobody listens any more if the slot was given up.
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
        // A lost device calls back as if all were well.
        device.health.check()
    }

    /// Waits for the chunk and reads it back. `None`: it has more hits than there is room for, and has to be submitted again;
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
        fail_at(fault, device)?;
        self.wait(device, 2, time_limit)?;
        let n_waveforms = u64::from(self.n_waveforms);
        let Some(buffers) = &self.buffers else {
            return Err(Failure::Refused("no buffers".to_owned()));
        };
        let hits_at = Sizes::hits_at(n_waveforms);
        let mut result = ChunkResults::default();
        let (room, n_hits): (u64, u64);
        {
            let view = buffers
                .read_back
                .get_mapped_range(..hits_at + size_of::<Hit>() as u64 * self.copied_hits)
                .map_err(|error| Failure::not_mapped(&error))?;
            room = u64::from(word(&view, 0));
            let stamp = |at| u64::from(word(&view, at)) | u64::from(word(&view, at + 4)) << 32;
            if let Some(tick_ns) = device.timestamp_ns {
                let ticks = stamp(24).saturating_sub(stamp(16));
                result.kernel = Some(Duration::from_nanos(
                    (ticks as f64 * f64::from(tick_ns)) as u64,
                ));
            }
            let end = PREAMBLE as usize + size_of::<Summary>() * n_waveforms as usize;
            result.summaries = bytemuck::pod_collect_to_vec(&view[PREAMBLE as usize..end]);
            n_hits = result
                .summaries
                .iter()
                .map(|summary| u64::from(summary.n_hits))
                .sum();
            let there = n_hits.min(self.copied_hits) as usize;
            let at = hits_at as usize;
            result.hits = bytemuck::pod_collect_to_vec(&view[at..at + size_of::<Hit>() * there]);
        }
        buffers.read_back.unmap();
        // What a dying device leaves in memory may be anything.
        if self.gives_hits && (n_hits > room || (!self.fits && n_hits < room)) {
            return Err(Failure::Lost(format!(
                "the waveforms have {n_hits} hits where there are {room}"
            )));
        }
        (self.hits_seen, self.room_seen) = (n_hits, room);
        if room > buffers.sizes.hits {
            return Ok(None);
        }
        if n_hits > self.copied_hits {
            result.hits = self.read_all_hits(device, n_hits, time_limit)?;
        }
        Ok(Some(result))
    }

    /// Reads all of `n_hits`, where fewer were copied.
    fn read_all_hits(
        &self,
        device: &Device,
        n_hits: u64,
        time_limit: Duration,
    ) -> Result<Vec<Hit>, Failure> {
        let Some(buffers) = &self.buffers else {
            return Err(Failure::Refused("no buffers".to_owned()));
        };
        let bytes = size_of::<Hit>() as u64 * n_hits;
        let mut encoder = device
            .inner
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&buffers.hits, 0, &buffers.read_back, 0, bytes);
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

/// The fits behind the extraction.
fn record_fits(
    pass: &mut wgpu::ComputePass<'_>,
    device: &Device,
    extract: &wgpu::BindGroup,
    dispatches: &[KernelGroup],
) -> Result<(), Failure> {
    for (place, dispatch) in dispatches.iter().enumerate() {
        if let Some(fit) = dispatch.fit {
            let Some(pipeline) = device.fit_pipeline(fit) else {
                return Err(Failure::Refused(format!("no pipeline {fit}")));
            };
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, extract, &[(UNIFORM_STEP * place as u64) as u32]);
            let (x, y) = dispatch.workgroups();
            pass.dispatch_workgroups(x, y, 1);
        }
    }
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .map_or(0, bytemuck::pod_read_unaligned)
}

/// Brings a failure about, where a test wants one.
fn fail_at(fault: Option<Fault>, device: &Device) -> Result<(), Failure> {
    match fault {
        None | Some(Fault::Vanish) => {}
        Some(Fault::Lose) => device.inner.destroy(),
        Some(Fault::OutOfMemory) => {
            return Err(Failure::OutOfMemory("brought about by a test".to_owned()));
        }
        Some(Fault::Hang) => device.health.fail(Failure::Hang),
        Some(Fault::Refuse) => {
            return Err(Failure::Refused("brought about by a test".to_owned()));
        }
    }
    device.health.check()
}
