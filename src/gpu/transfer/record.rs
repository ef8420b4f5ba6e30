//! Records the commands for a chunk: copy its input, run the kernels, copy the results.

use super::buffers::{BindGroups, Buffers, PREAMBLE, Sizes, UNIFORM_STEP};
use super::chunk::{ChunkInput, KernelGroup};
use crate::gpu::device::Device;
use crate::gpu::failure::Failure;
use crate::gpu::kernels::bindings::Access;
use crate::gpu::kernels::kernel::Kernel;
use crate::gpu::kernels::registry::compact;
use crate::gpu::kernels::shared_types::{CompactionSize, Hit, Summary, Waveform};

/// Everything that the commands use.
pub struct Recording<'a> {
    /// The device, on which all kernels are prepared.
    pub device: &'a Device,
    /// The buffers of the slot.
    pub buffers: &'a Buffers,
    /// Their bind groups.
    pub groups: &'a BindGroups,
    /// The timestamps of the slot, if the device has any.
    pub queries: Option<&'a wgpu::QuerySet>,
}

impl Recording<'_> {
    /// Records all commands for a chunk; `copied_hits` hits are copied for reading back.
    ///
    /// # Errors
    /// If a pipeline or a bind group is missing.
    pub fn record(
        &self,
        input: &ChunkInput<'_>,
        dispatches: &[KernelGroup],
        copied_hits: u64,
    ) -> Result<wgpu::CommandBuffer, Failure> {
        let mut encoder = self
            .device
            .inner
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let n_waveforms = input.chunk.waveforms.len() as u32;
        self.copy_input(&mut encoder, input, dispatches.len() as u64);
        {
            let timestamp_writes = self
                .queries
                .map(|query_set| wgpu::ComputePassTimestampWrites {
                    query_set,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                });
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("extract"),
                timestamp_writes,
            });
            self.run_sequences(&mut pass, dispatches)?;
            for kernel in compact::kernels() {
                self.run(&mut pass, &kernel, 0, n_waveforms)?;
            }
        }
        self.copy_results(&mut encoder, u64::from(n_waveforms), copied_hits);
        Ok(encoder.finish())
    }

    fn copy_input(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: &ChunkInput<'_>,
        n_dispatches: u64,
    ) {
        let buffers = self.buffers;
        let sizes = buffers.sizes;
        for (offset, to, bytes) in [
            (0, &buffers.runs, UNIFORM_STEP * n_dispatches),
            (
                sizes.uniform_bytes(),
                &buffers.size,
                size_of::<CompactionSize>() as u64,
            ),
            (
                sizes.waveforms_at(),
                &buffers.waveforms,
                (size_of::<Waveform>() * input.chunk.waveforms.len()) as u64,
            ),
            (
                sizes.samples_at(),
                &buffers.samples,
                4 * u64::from(input.chunk.words),
            ),
        ] {
            encoder.copy_buffer_to_buffer(&buffers.upload, offset, to, 0, bytes);
        }
        encoder.clear_buffer(&buffers.n_hits, 0, None);
    }

    /// Runs the first kernel over all dispatches, then the second one, and so on.
    fn run_sequences(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        dispatches: &[KernelGroup],
    ) -> Result<(), Failure> {
        let target = &self.device.target;
        let sequences: Vec<Vec<Kernel>> = dispatches
            .iter()
            .map(|dispatch| dispatch.sequence.kernels(target))
            .collect();
        let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
        for step in 0..longest {
            for (index, (kernels, dispatch)) in (0..).zip(sequences.iter().zip(dispatches)) {
                if let Some(kernel) = kernels.get(step) {
                    self.run(pass, kernel, UNIFORM_STEP * index, dispatch.count)?;
                }
            }
        }
        Ok(())
    }

    /// Runs a kernel over `n_waveforms`; the parameters of the dispatch are at `offset`.
    fn run(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        kernel: &Kernel,
        offset: u64,
        n_waveforms: u32,
    ) -> Result<(), Failure> {
        pass.set_pipeline(self.device.pipeline(kernel)?);
        for group in &kernel.bind_groups {
            let dynamic = group
                .bindings
                .iter()
                .any(|binding| matches!(binding.access, Access::Uniform { dynamic: true, .. }));
            let offsets = [offset as u32];
            pass.set_bind_group(
                group.index,
                self.groups.get(group.name),
                &offsets[..usize::from(dynamic)],
            );
        }
        let (x, y) = kernel.info.dispatch.workgroups(n_waveforms);
        pass.dispatch_workgroups(x, y, 1);
        Ok(())
    }

    fn copy_results(&self, encoder: &mut wgpu::CommandEncoder, n_waveforms: u64, copied_hits: u64) {
        let buffers = self.buffers;
        let to = &buffers.read_back;
        if let Some(queries) = self.queries {
            encoder.resolve_query_set(queries, 0..2, &buffers.stamps, 0);
            encoder.copy_buffer_to_buffer(&buffers.stamps, 0, to, 16, 16);
        }
        encoder.copy_buffer_to_buffer(&buffers.n_hits, 0, to, 0, 16);
        encoder.copy_buffer_to_buffer(
            &buffers.summaries,
            0,
            to,
            PREAMBLE,
            size_of::<Summary>() as u64 * n_waveforms,
        );
        encoder.copy_buffer_to_buffer(
            &buffers.ordered_hits,
            0,
            to,
            Sizes::hits_at(n_waveforms),
            size_of::<Hit>() as u64 * copied_hits,
        );
    }
}
