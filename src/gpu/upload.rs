//! Samples of a chunk into the mapped upload buffer, by all threads.

use rayon::prelude::*;

use super::failure::Failure;
use super::ring_slot::ChunkInput;
use crate::model::Samples;
use crate::threads::in_pool;

/// Bytes that one task copies into the upload.
const COPY_BYTES: u64 = 1 << 20;

/// Writes the samples of a chunk from byte `samples_at` of `upload` on, each waveform from a whole word on.
///
/// # Errors
/// If the buffer is not mapped.
pub fn write(
    upload: &wgpu::Buffer,
    samples_at: u64,
    input: &ChunkInput<'_>,
) -> Result<(), Failure> {
    in_pool(|| {
        pieces(input).into_par_iter().try_for_each(|piece| {
            let at = samples_at + piece.at;
            let view = upload
                .get_mapped_range_mut(at..at + piece.bytes)
                .map_err(|error| Failure::not_mapped(&error))?;
            copy_samples(view, input, piece.range);
            Ok(())
        })
    })
}

/// A part of the upload that one task writes: a run of waveforms whose places in it follow one another.
struct Piece {
    /// Where it begins among the samples, in bytes.
    at: u64,
    bytes: u64,
    range: std::ops::Range<usize>,
}

/// A chunk's samples in pieces of about [`COPY_BYTES`], which begin where a mapping may.
fn pieces(input: &ChunkInput<'_>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut begin, mut at, mut bytes) = (0, 0, 0);
    for (place, waveform) in input.chunk.waveforms.iter().enumerate() {
        bytes += 4 * u64::from(waveform.length.div_ceil(2));
        let last = place + 1 == input.chunk.waveforms.len();
        if last || (bytes >= COPY_BYTES && (at + bytes).is_multiple_of(wgpu::MAP_ALIGNMENT)) {
            pieces.push(Piece {
                at,
                bytes,
                range: begin..place + 1,
            });
            (begin, at, bytes) = (place + 1, at + bytes, 0);
        }
    }
    pieces
}

/// Copies the samples of some of a chunk's waveforms, each from a whole word on.
fn copy_samples(
    mut view: wgpu::BufferViewMut,
    input: &ChunkInput<'_>,
    range: std::ops::Range<usize>,
) {
    let Samples::U16(samples) = input.batch.samples() else {
        return;
    };
    let offsets = input.batch.offsets();
    let mut at = 0;
    for place in range {
        let index = input.chunk.places[place] as usize;
        let source: &[u8] = bytemuck::cast_slice(&samples[offsets[index]..offsets[index + 1]]);
        view.slice(at..at + source.len()).copy_from_slice(source);
        at += source.len();
        // An odd number of samples leaves half a word.
        if !source.len().is_multiple_of(4) {
            view.slice(at..at + 2).fill(0);
            at += 2;
        }
    }
}
