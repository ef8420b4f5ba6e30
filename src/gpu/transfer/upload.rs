//! Writes a chunk into the mapped upload buffer, its samples by all threads.

use bytemuck::Zeroable as _;
use rayon::prelude::*;

use super::buffers::{Sizes, UNIFORM_STEP};
use super::chunk::{ChunkInput, KernelGroup};
use crate::gpu::failure::Failure;
use crate::gpu::kernels::registry::compact::n_tiles;
use crate::gpu::kernels::shared_types::{CompactionSize, DispatchParameters};
use crate::model::Samples;
use crate::threads::in_pool;

/// Bytes of samples that one task copies.
const COPY_BYTES: u64 = 1 << 20;

/// Writes a chunk into `upload`: the parameters of its dispatches, the size of the compaction, the waveforms and the samples. The
/// samples of each waveform begin at a whole word.
///
/// # Errors
/// If the buffer is not mapped.
pub fn write(
    upload: &wgpu::Buffer,
    sizes: Sizes,
    input: &ChunkInput<'_>,
    dispatches: &[KernelGroup],
) -> Result<(), Failure> {
    let mut view = upload
        .get_mapped_range_mut(..sizes.samples_at())
        .map_err(|error| Failure::not_mapped(&error))?;
    let mut put = |offset: u64, bytes: &[u8]| {
        let offset = offset as usize;
        view.slice(offset..offset + bytes.len())
            .copy_from_slice(bytes);
    };
    for (index, dispatch) in (0..).zip(dispatches) {
        let run = DispatchParameters {
            first: dispatch.first,
            count: dispatch.count,
            capacity: sizes.hits as u32,
            ..input.run
        };
        put(UNIFORM_STEP * index, bytemuck::bytes_of(&run));
    }
    let n_waveforms = input.chunk.waveforms.len() as u32;
    let size = CompactionSize {
        n_waveforms,
        capacity: sizes.hits as u32,
        n_tiles: n_tiles(n_waveforms),
        ..CompactionSize::zeroed()
    };
    put(sizes.uniform_bytes(), bytemuck::bytes_of(&size));
    put(
        sizes.waveforms_at(),
        bytemuck::cast_slice(&input.chunk.waveforms),
    );
    drop(view);
    write_samples(upload, sizes.samples_at(), input)
}

/// Writes the samples from byte `offset` of `upload` on.
fn write_samples(
    upload: &wgpu::Buffer,
    offset: u64,
    input: &ChunkInput<'_>,
) -> Result<(), Failure> {
    in_pool(|| {
        pieces(input).into_par_iter().try_for_each(|piece| {
            let begin = offset + piece.offset;
            let view = upload
                .get_mapped_range_mut(begin..begin + piece.bytes)
                .map_err(|error| Failure::not_mapped(&error))?;
            copy_samples(view, input, piece.range);
            Ok(())
        })
    })
}

/// A part of the upload that one task writes: the samples of consecutive waveforms of the chunk.
struct Piece {
    /// Offset of its first sample among the samples, in bytes.
    offset: u64,
    bytes: u64,
    range: std::ops::Range<usize>,
}

/// Returns the samples of a chunk in pieces of about [`COPY_BYTES`], which begin where a mapping may begin.
fn pieces(input: &ChunkInput<'_>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut begin, mut offset, mut bytes) = (0, 0, 0);
    for (index, waveform) in input.chunk.waveforms.iter().enumerate() {
        bytes += 4 * u64::from(waveform.length.div_ceil(2));
        let is_last = index + 1 == input.chunk.waveforms.len();
        if is_last || (bytes >= COPY_BYTES && (offset + bytes).is_multiple_of(wgpu::MAP_ALIGNMENT))
        {
            pieces.push(Piece {
                offset,
                bytes,
                range: begin..index + 1,
            });
            (begin, offset, bytes) = (index + 1, offset + bytes, 0);
        }
    }
    pieces
}

/// Copies the samples of some waveforms of a chunk; those of each waveform begin at a whole word.
fn copy_samples(
    mut view: wgpu::BufferViewMut,
    input: &ChunkInput<'_>,
    range: std::ops::Range<usize>,
) {
    let Samples::U16(samples) = input.batch.samples() else {
        return;
    };
    let offsets = input.batch.offsets();
    let mut offset = 0;
    for index in range {
        let index = input.chunk.indices[index] as usize;
        let source: &[u8] = bytemuck::cast_slice(&samples[offsets[index]..offsets[index + 1]]);
        view.slice(offset..offset + source.len())
            .copy_from_slice(source);
        offset += source.len();
        // An odd number of samples leaves half a word.
        if !source.len().is_multiple_of(4) {
            view.slice(offset..offset + 2).fill(0);
            offset += 2;
        }
    }
}
