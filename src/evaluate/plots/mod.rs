//! The plots of an evaluation.

mod event_histograms;
mod events;
mod hits;
mod uniformity_map;

use super::summary::Evaluation;
use crate::error::Result;
use crate::plot::layout;

/// Returns all plots of `evaluation`, each as file name and SVG text.
///
/// # Errors
/// Only on an internal error of the drawing library.
pub fn evaluation_svgs(evaluation: &Evaluation) -> Result<Vec<(&'static str, String)>> {
    let hits = if evaluation.methods.is_empty() {
        Vec::new()
    } else {
        hits::all(evaluation)
    };
    let mut svgs = hits
        .into_iter()
        .chain(events::all(&evaluation.events))
        .map(|(name, figure)| Ok((name, layout::svg(&figure)?)))
        .collect::<Result<Vec<_>>>()?;
    if !evaluation.events.is_empty() {
        svgs.push((
            "energy_uniformity.svg",
            uniformity_map::svg(&evaluation.events)?,
        ));
    }
    Ok(svgs)
}
