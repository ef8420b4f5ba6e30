//! Pictures as SVG: the figures of an evaluation, waveforms with their hits, events, and named values on one scale.

mod axis;
mod canvas;
mod colours;
pub(crate) mod dots;
mod event_histograms;
mod events;
pub(crate) mod figure;
mod figures;
mod hammer;
mod layout;
mod map;
mod marks;
mod sphere;
mod waveform;

pub use hammer::hammer;
pub use sphere::{EventPicture, SensorLight, event_svg};
pub use waveform::{TracePicture, WaveformPicture, waveforms_svg};

use super::summary::Evaluation;
use crate::error::Result;

/// Every figure of `evaluation`: the name of its file, and the SVG text.
///
/// # Errors
/// Only if the drawing library fails, which is a defect.
pub fn evaluation_svgs(evaluation: &Evaluation) -> Result<Vec<(&'static str, String)>> {
    let hits = if evaluation.methods.is_empty() {
        Vec::new()
    } else {
        figures::all(evaluation)
    };
    let mut svgs = hits
        .into_iter()
        .chain(events::all(&evaluation.events))
        .map(|(name, figure)| Ok((name, layout::svg(&figure)?)))
        .collect::<Result<Vec<_>>>()?;
    if !evaluation.events.is_empty() {
        svgs.push(("energy_uniformity.svg", map::svg(&evaluation.events)?));
    }
    Ok(svgs)
}
