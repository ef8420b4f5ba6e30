//! The plots of charge: linearity and resolution.

use super::method_series::{name, series_of};
use crate::evaluate::summary::Evaluation;
use crate::plot::axis::Axis;
use crate::plot::figure::{Figure, GREY, Look, Panel, Point, Series, count_axis, heights, values};

/// Minimum number of waveforms of a point.
const MIN_ENTRIES: u64 = 5;

pub(super) fn charge_linearity(evaluation: &Evaluation) -> Figure {
    let series = series_of(evaluation, Look::Marked, name, |result| {
        enough(&result.charge.by_charge, |bin| bin.deviation.n)
            .filter_map(|bin| {
                let deviation = bin.nonlinearity?;
                Some(Point::with_error(
                    bin.mean_true_pe,
                    100.0 * deviation.value,
                    100.0 * deviation.error,
                ))
            })
            .collect()
    });
    let references: Vec<_> = evaluation
        .methods
        .iter()
        .filter_map(|result| result.charge.reference)
        .map(|reference| format!("{} to {} PE", reference.low_pe, reference.high_pe))
        .collect();
    let reference = references.first().map_or("-", String::as_str);
    let subtitle = format!(
        "reconstructed / true charge, relative to its value at {reference}; tinted: within 1 %; bins of at least {MIN_ENTRIES} waveforms"
    );
    // Charges below half a photoelectron are affected by the threshold; the axis covers the larger ones.
    let above = |series: &Series| Series {
        points: series
            .points
            .iter()
            .copied()
            .filter(|point| point.x >= 1.0)
            .collect(),
        ..series.clone()
    };
    let shown: Vec<_> = series.iter().map(above).collect();
    let mut panel = Panel::new(
        count_axis("True charge of the waveform (PE)", &series),
        Axis::around("Residual nonlinearity (%)", heights(&shown), -2.0, 2.0),
    );
    panel.guides = vec![0.0];
    panel.band = Some((-1.0, 1.0));
    panel.series = series;
    Figure::new("Charge linearity", subtitle, panel)
}

pub(super) fn charge_resolution(evaluation: &Evaluation) -> Figure {
    let against_charge = series_of(
        evaluation,
        Look::Marked,
        |result| format!("{}: at one true charge", result.label),
        |result| {
            let bins = enough(&result.charge.by_charge, |bin| bin.deviation.n);
            bins.map(|bin| rms_point(bin.mean_true_pe, bin.deviation.rms, bin.deviation.n))
                .collect()
        },
    );
    let against_count = series_of(
        evaluation,
        Look::Open,
        |result| format!("{}: at one number N of photoelectrons", result.label),
        |result| {
            let bins = enough(&result.charge.by_n_pe, |bin| bin.deviation.n);
            bins.map(|bin| rms_point(bin.mean_n_pe, bin.deviation.rms, bin.deviation.n))
                .collect()
        },
    );
    let bound = evaluation.methods.first().map(|result| {
        let bins = enough(&result.charge.by_n_pe, |bin| bin.deviation.n);
        let points = bins.map(|bin| Point::new(bin.mean_n_pe, 100.0 * bin.true_rms));
        let name = "true charge at N: the bound for open markers";
        Series::new(name, 0, Look::Dashed, points.collect()).coloured(GREY)
    });
    let mut series: Vec<_> = bound
        .into_iter()
        .chain(against_charge)
        .chain(against_count)
        .collect();
    for line in &mut series {
        line.points
            .retain(|point| point.y.is_finite() && point.y > 1e-3);
    }
    let x = count_axis("True charge (PE), or number of photoelectrons", &series);
    let ys = values(&series, |point| point.y);
    let lowest = ys.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = ys.iter().copied().fold(90.0, f64::max);
    let lowest = if lowest.is_finite() { lowest } else { 1.0 };
    let mut panel = Panel::new(
        x,
        Axis::logarithmic("Charge resolution, RMS (%)", lowest / 1.4, highest * 1.4),
    );
    panel.series = series;
    let subtitle = format!(
        "filled: RMS of reconstructed / true charge; open: RMS of reconstructed charge / N, which holds the spread of the photoelectrons' own charges; bins of at least {MIN_ENTRIES} waveforms"
    );
    Figure::new("Charge resolution", subtitle, panel)
}

/// Returns the bins with enough entries for a point.
fn enough<T>(bins: &[T], n: impl Fn(&T) -> u64) -> impl Iterator<Item = &T> {
    bins.iter().filter(move |bin| n(bin) >= MIN_ENTRIES)
}

/// An RMS with its error, rms / sqrt(2 (n - 1)), in percent.
fn rms_point(x: f64, rms: f64, n: u64) -> Point {
    let error = rms / (2.0 * (n as f64 - 1.0)).sqrt();
    Point::with_error(x, 100.0 * rms, 100.0 * error)
}
