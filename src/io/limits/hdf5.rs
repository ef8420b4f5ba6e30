//! Sizes in HDF5: those of chunks, which most writers' files have no checksum over, and those of datasets.

use std::ops::Range;

use hdf5_pure::Dataset;

/// Deflate makes at most this of one byte.
const MAX_COMPRESSION: u64 = 1100;

/// The rows of the chunks of `dataset` that claim more bytes than the file of `n_bytes` has.
///
/// Where the index of chunks cannot be read, reading will say so.
pub(crate) fn oversized_chunks(dataset: &Dataset, n_bytes: u64) -> Vec<Range<u64>> {
    if !dataset.is_chunked() {
        return Vec::new();
    }
    let shape = dataset.shape().unwrap_or_default();
    let of_chunk = dataset.chunk_shape().ok().flatten().unwrap_or_default();
    let n_rows = shape.first().copied().unwrap_or(0);
    let rows = of_chunk.first().copied().unwrap_or(1);
    // The library makes room for as many as the shapes say; none of them is in less than a byte.
    let n_chunks = shape
        .iter()
        .zip(&of_chunk)
        .fold(1_u64, |all, (&length, &of_chunk)| {
            all.saturating_mul(length.div_ceil(of_chunk.max(1)))
        });
    if n_chunks > n_bytes {
        return std::iter::once(0..n_rows.max(1)).collect();
    }
    let chunks = dataset.chunks().unwrap_or_default();
    chunks
        .iter()
        .filter(|chunk| chunk.storage_size > n_bytes)
        .map(|chunk| {
            let first = chunk.offset.first().copied().unwrap_or(0);
            if first < n_rows && first.is_multiple_of(rows.max(1)) {
                first..first.saturating_add(rows)
            } else {
                // It stands where no chunk does: it may be read with any row.
                0..n_rows
            }
        })
        .collect()
}

/// Why `dataset` cannot be read as a whole: a file of `n_bytes` cannot hold it, or one of its chunks.
pub(crate) fn check_whole(dataset: &Dataset, n_bytes: u64) -> Result<(), String> {
    let shape = dataset.shape().map_err(|error| error.to_string())?;
    let element = dataset.element_size().map_err(|error| error.to_string())?;
    let size = shape
        .iter()
        .try_fold(element, |all, &length| all.checked_mul(length));
    if size.is_none_or(|size| size > n_bytes.saturating_mul(MAX_COMPRESSION)) {
        return Err(format!(
            "it claims the shape {shape:?}, more than a file of {n_bytes} bytes can hold"
        ));
    }
    match oversized_chunks(dataset, n_bytes).first() {
        None => Ok(()),
        Some(rows) => Err(oversized(rows)),
    }
}

/// What is to be said of a chunk that [`oversized_chunks`] found.
pub(crate) fn oversized(rows: &Range<u64>) -> String {
    format!(
        "the chunk of rows {} to {} claims more bytes than the file has",
        rows.start,
        rows.end.saturating_sub(1)
    )
}
