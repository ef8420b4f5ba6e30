//! Arrays of events x channels x samples: what is said about them.

use std::path::Path;

use crate::error::Error;
use crate::io::Remark;
use crate::io::hdf5_file::shape_text;

/// The hint for arrays whose last axis cannot be that of the samples.
pub(crate) const TRANSPOSE: &str = "the axes have to be events, channels, samples; of events, samples, channels \
                                    `numpy.ascontiguousarray(a.transpose(0, 2, 1))` makes that";

/// Returns the remark on how the axes are taken.
pub(crate) fn remark(what: &str, n_events: u64, n_channels: u64, n_samples: usize) -> Remark {
    let text = format!(
        "takes {what} as {n_events} events x {n_channels} channels x {n_samples} samples: the event is the first axis, the \
         channel the second"
    );
    // Few readouts have more channels than samples.
    if n_channels > n_samples as u64 {
        Remark::warning(text).with_hint(TRANSPOSE)
    } else {
        Remark::note(text)
    }
}

/// Returns the error of an array of three axes next to which `ids` states one channel for each entry of the first axis.
pub(crate) fn one_channel_per_row(path: &Path, what: &str, shape: &[u64], ids: &str) -> Error {
    let n_samples = shape.last().copied().unwrap_or(0);
    Error::input(
        path,
        format!(
            "{what} has the shape {}, but {ids} states one channel for each entry of the first axis: nothing tells what the \
             second axis is",
            shape_text(shape)
        ),
    )
    .with_hint(format!(
        "write one row for each waveform, with its channel; in Python `a.reshape(-1, {n_samples})` are the waveforms"
    ))
}
