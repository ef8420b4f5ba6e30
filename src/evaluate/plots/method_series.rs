//! One series per reconstruction of hits.

use crate::evaluate::summary::{Evaluation, ReconstructionResult};
use crate::plot::figure::{Look, Point, Series};

/// Returns one series per reconstruction.
pub(super) fn series_of(
    evaluation: &Evaluation,
    look: Look,
    label: impl Fn(&ReconstructionResult) -> String,
    points: impl Fn(&ReconstructionResult) -> Vec<Point>,
) -> Vec<Series> {
    evaluation
        .methods
        .iter()
        .enumerate()
        .map(|(index, result)| Series::new(label(result), index, look, points(result)))
        .collect()
}

/// The name of a reconstruction, for a series that says no more.
pub(super) fn name(result: &ReconstructionResult) -> String {
    result.label.clone()
}
