//! The plots of an evaluation.

mod charge;
mod event_histograms;
mod events;
mod hits;
mod method_series;
mod uniformity_map;

use super::summary::Evaluation;
use crate::error::Result;
use crate::plot::layout;
use crate::text::{counted, thousands};

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
    let counts = evaluation.methods.iter().map(|result| &result.counts);
    let n_waveforms = entries(counts.map(|counts| counts.waveforms), "waveform");
    let counts = evaluation.events.iter().map(|result| &result.counts);
    let n_events = entries(counts.map(|counts| counts.matched), "event");
    let of_hits = hits.into_iter().map(|plot| (plot, &n_waveforms));
    let of_events = events::all(&evaluation.events);
    let of_events = of_events.into_iter().map(|plot| (plot, &n_events));
    let mut svgs = of_hits
        .chain(of_events)
        .map(|((name, mut figure), entries)| {
            figure.entries.clone_from(entries);
            Ok((name, layout::svg(&figure)?))
        })
        .collect::<Result<Vec<_>>>()?;
    if !evaluation.events.is_empty() {
        svgs.push((
            "energy_uniformity.svg",
            uniformity_map::svg(&evaluation.events, &n_events)?,
        ));
    }
    Ok(svgs)
}

/// The number of waveforms or events for the foot of a picture; one per reconstruction if they differ.
fn entries(counts: impl Iterator<Item = u64>, what: &str) -> String {
    let mut counts: Vec<u64> = counts.collect();
    counts.dedup();
    match counts.as_slice() {
        [one] => counted(*one, what),
        several => {
            let several: Vec<String> = several.iter().copied().map(thousands).collect();
            format!("{} {what}s", several.join(" / "))
        }
    }
}
