//! Pictures as SVG: the figures of an evaluation, waveforms with their hits, and named values on one scale.

mod axis;
mod canvas;
pub(crate) mod dots;
pub(crate) mod figure;
mod figures;
mod layout;
mod marks;
mod waveform;

pub use waveform::{TracePicture, WaveformPicture, waveforms_svg};

use super::summary::Evaluation;
use crate::error::Result;

/// Every figure of `evaluation`: the name of its file, and the SVG text.
///
/// # Errors
/// Only if the drawing library fails, which is a defect.
pub fn evaluation_svgs(evaluation: &Evaluation) -> Result<Vec<(&'static str, String)>> {
    figures::all(evaluation)
        .into_iter()
        .map(|(name, figure)| Ok((name, layout::svg(&figure)?)))
        .collect()
}
