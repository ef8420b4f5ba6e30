//! Declared sizes in HDF5 files: of chunks, which most writers leave without a checksum, and of datasets.

use std::ops::Range;

use hdf5_pure::Dataset;

/// Maximum ratio of deflate.
pub(crate) const MAX_COMPRESSION: u64 = 1100;

/// Returns the rows of the chunks of `dataset` that declare more bytes than the file of `n_bytes` has.
///
/// An index of chunks that cannot be read is reported by reading itself.
pub(crate) fn oversized_chunks(dataset: &Dataset, n_bytes: u64) -> Vec<Range<u64>> {
    if !dataset.is_chunked() {
        return Vec::new();
    }
    let shape = dataset.shape().unwrap_or_default();
    let of_chunk = dataset.chunk_shape().ok().flatten().unwrap_or_default();
    let n_rows = shape.first().copied().unwrap_or(0);
    let rows = of_chunk.first().copied().unwrap_or(1);
    // The library allocates for as many chunks as the shapes declare. Each takes at least one byte.
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
                // Its position is that of no chunk: it may be read with any row.
                0..n_rows
            }
        })
        .collect()
}

/// Returns why `dataset` cannot be read as a whole: a file of `n_bytes` cannot hold it, or one of its chunks.
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

/// Returns the message for a chunk that [`oversized_chunks`] found.
pub(crate) fn oversized(rows: &Range<u64>) -> String {
    format!(
        "the chunk of rows {} to {} claims more bytes than the file has",
        rows.start,
        rows.end.saturating_sub(1)
    )
}
