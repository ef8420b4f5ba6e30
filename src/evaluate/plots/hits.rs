//! The plots of an evaluation of hits, one function each.

use super::charge::{charge_linearity, charge_resolution};
use super::method_series::{name, series_of};
use crate::evaluate::pairs::PairBin;
use crate::evaluate::stats::Share;
use crate::evaluate::summary::{Evaluation, ReconstructionResult};
use crate::plot::axis::Axis;
use crate::plot::figure::{Figure, Look, Panel, Point, count_axis, heights, values};

/// Minimum number of pairs of a point.
const MIN_PAIRS: u64 = 20;
/// Largest distance of pairs that is drawn.
const MAX_DISTANCE_NS: f64 = 60.0;

/// Returns all plots with their file names.
pub(crate) fn all(evaluation: &Evaluation) -> Vec<(&'static str, Figure)> {
    vec![
        ("charge_linearity.svg", charge_linearity(evaluation)),
        ("charge_resolution.svg", charge_resolution(evaluation)),
        ("first_hit_time.svg", first_hit_time(evaluation)),
        (
            "first_hit_time_by_pe.svg",
            first_hit_time_by_count(evaluation),
        ),
        ("pair_separation.svg", pair_separation(evaluation)),
        ("efficiency.svg", efficiency(evaluation)),
        ("hits_per_pe.svg", hits_per_pe(evaluation)),
        ("wasserstein.svg", wasserstein(evaluation)),
    ]
}

fn first_hit_time(evaluation: &Evaluation) -> Figure {
    let label = |result: &ReconstructionResult| {
        let overall = result.timing.overall;
        match (overall.bias_ns, overall.half_width_68_ns) {
            (Some(bias), Some(width)) => {
                format!(
                    "{}: bias {:.2} ns, half-width {width:.2} ns",
                    result.label, bias.value
                )
            }
            _ => result.label.clone(),
        }
    };
    let series = series_of(evaluation, Look::Steps, label, |result| {
        let histogram = &result.timing.histogram;
        let all = result.timing.overall.n.max(1) as f64;
        let heights = histogram
            .counts
            .iter()
            .map(|&count| 100.0 * count as f64 / all);
        heights
            .chain([0.0])
            .enumerate()
            .map(|(bin, height)| {
                Point::new(histogram.low_ns + bin as f64 * histogram.step_ns, height)
            })
            .collect()
    });
    let width = evaluation
        .methods
        .iter()
        .filter_map(|result| {
            let overall = result.timing.overall;
            Some(overall.median_ns?.abs() + 6.0 * overall.half_width_68_ns?)
        })
        .fold(4.0, f64::max)
        .min(20.0)
        .ceil();
    let step_ns = evaluation
        .methods
        .first()
        .map_or(0.0, |result| result.timing.histogram.step_ns);
    let highest = values(&series, |point| point.y)
        .into_iter()
        .fold(0.1, f64::max);
    let mut panel = Panel::new(
        Axis::linear(
            "First hit \u{2212} first true photoelectron (ns)",
            -width,
            width,
        ),
        Axis::linear(
            format!("Waveforms per {step_ns} ns (%)"),
            0.0,
            1.08 * highest,
        ),
    );
    panel.series = series;
    let subtitle = "bias: mean within \u{b1}20 ns; half-width: half of the central 68 %";
    Figure::new("Time of the first hit", subtitle, panel)
}

fn first_hit_time_by_count(evaluation: &Evaluation) -> Figure {
    let biases = series_of(evaluation, Look::Marked, name, |result| {
        let timing = result.timing.by_n_pe.iter();
        timing
            .filter_map(|bin| {
                let bias = bin.residuals.bias_ns?;
                Some(Point::with_error(bin.mean, bias.value, bias.error))
            })
            .collect()
    });
    let widths = series_of(evaluation, Look::Marked, name, |result| {
        let timing = result.timing.by_n_pe.iter();
        timing
            .filter_map(|bin| Some(Point::new(bin.mean, bin.residuals.half_width_68_ns?)))
            .collect()
    });
    let x = count_axis("True photoelectrons in the waveform", &biases);
    let mut upper = Panel::new(
        x.clone().untitled(),
        Axis::around("Bias (ns)", heights(&biases), -0.5, 0.5),
    );
    upper.guides = vec![0.0];
    upper.series = biases;
    let mut lower = Panel::new(
        x,
        Axis::around("Half-width (ns)", heights(&widths), 0.0, 1.0),
    );
    lower.series = widths;
    let subtitle =
        "first hit \u{2212} first true photoelectron; half-width: half of the central 68 %";
    let mut figure = Figure::new(
        "Time of the first hit against the number of photoelectrons",
        subtitle,
        upper,
    );
    figure.panels.push(lower);
    figure.height = 680;
    figure
}

fn pair_separation(evaluation: &Evaluation) -> Figure {
    let label = |result: &ReconstructionResult| match result.pairs.resolved_50_ns {
        Some(half) => format!("{}: half resolved from {half:.1} ns", result.label),
        None => result.label.clone(),
    };
    let series = series_of(evaluation, Look::Marked, label, |result| {
        joined_pairs(&result.pairs.by_distance)
            .into_iter()
            .map(|(distance_ns, resolved)| Point {
                x: distance_ns,
                y: 100.0 * resolved.value,
                interval: Some((100.0 * resolved.low, 100.0 * resolved.high)),
            })
            .filter(|point| point.x <= MAX_DISTANCE_NS)
            .collect()
    });
    let mut panel = Panel::new(
        Axis::linear(
            "True distance of the two photoelectrons (ns)",
            0.0,
            MAX_DISTANCE_NS,
        ),
        Axis::linear("Pairs resolved (%)", 0.0, 104.0),
    );
    panel.guides = vec![50.0, 90.0];
    panel.series = series;
    let subtitle = format!(
        "waveforms with exactly two photoelectrons; resolved: each has its own hit within min(5 ns, d/2); bins of at least {MIN_PAIRS} pairs, up to {MAX_DISTANCE_NS} ns"
    );
    Figure::new("Pair separation", subtitle, panel)
}

/// Returns distance and resolved share of bins that are joined until each has [`MIN_PAIRS`] pairs; a rest at the end is left
/// out.
fn joined_pairs(bins: &[PairBin]) -> Vec<(f64, Share)> {
    let mut joined = Vec::new();
    let (mut k, mut n, mut sum_ns) = (0, 0, 0.0);
    for bin in bins {
        k += bin.resolved.k;
        n += bin.resolved.n;
        sum_ns += bin.mean_ns * bin.resolved.n as f64;
        if n >= MIN_PAIRS {
            joined.extend(Share::new(k, n).map(|share| (sum_ns / n as f64, share)));
            (k, n, sum_ns) = (0, 0, 0.0);
        }
    }
    joined
}

fn efficiency(evaluation: &Evaluation) -> Figure {
    let series = series_of(evaluation, Look::Marked, name, |result| {
        let bins = result.detection.efficiency_by_charge.iter();
        bins.map(|bin| Point {
            x: bin.mean_pe,
            y: 100.0 * bin.found.value,
            interval: Some((100.0 * bin.found.low, 100.0 * bin.found.high)),
        })
        .collect()
    });
    let right = values(&series, |point| point.x)
        .into_iter()
        .fold(2.0, f64::max)
        .min(6.0);
    let mut panel = Panel::new(
        Axis::linear("True charge of the photoelectron (PE)", 0.0, 1.04 * right),
        Axis::linear("Photoelectrons with a hit (%)", 0.0, 104.0),
    );
    panel.guides = vec![100.0];
    panel.series = series;
    let subtitle = "a hit within \u{b1}10 ns of the true photoelectron";
    Figure::new("Efficiency", subtitle, panel)
}

fn hits_per_pe(evaluation: &Evaluation) -> Figure {
    let series = series_of(evaluation, Look::Marked, name, |result| {
        let bins = result.detection.hits_per_pe_by_n_pe.iter();
        bins.map(|bin| {
            Point::with_error(bin.mean_n_pe, bin.hits_per_pe.value, bin.hits_per_pe.error)
        })
        .collect()
    });
    let mut panel = Panel::new(
        count_axis("True photoelectrons in the waveform", &series),
        Axis::around("Hits per photoelectron", heights(&series), 0.0, 1.15),
    );
    panel.guides = vec![1.0];
    panel.series = series;
    Figure::new(
        "Hits per photoelectron",
        "1: each photoelectron has its own hit",
        panel,
    )
}

fn wasserstein(evaluation: &Evaluation) -> Figure {
    let label = |result: &ReconstructionResult| match result.wasserstein.mean_ns {
        Some(mean) => format!("{}: mean {:.2} ns", result.label, mean.value),
        None => result.label.clone(),
    };
    let series = series_of(evaluation, Look::Marked, label, |result| {
        let bins = result.wasserstein.by_n_pe.iter();
        bins.map(|bin| {
            let mean_n_pe = if bin.high.is_finite() {
                (bin.low + bin.high - 1.0) / 2.0
            } else {
                bin.low
            };
            Point::with_error(mean_n_pe, bin.w1_ns.mean.value, bin.w1_ns.mean.error)
        })
        .collect()
    });
    let mut panel = Panel::new(
        count_axis("True photoelectrons in the waveform", &series),
        Axis::around("Wasserstein distance (ns)", heights(&series), 0.0, 1.0),
    );
    panel.series = series;
    let subtitle = "1-Wasserstein distance between hits and true photoelectrons, both charge-normalised; mean by waveform";
    Figure::new(
        "Distance of the hits from the truth in time",
        subtitle,
        panel,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_of_a_handful_of_pairs_are_joined() {
        let bin = |mean_ns: f64, k, n| PairBin {
            low_ns: mean_ns - 1.0,
            high_ns: mean_ns + 1.0,
            mean_ns,
            resolved: Share::new(k, n).unwrap(),
        };
        let bins = [
            bin(2.0, 5, 40),
            bin(10.0, 6, 10),
            bin(14.0, 8, 10),
            bin(30.0, 1, 3),
        ];
        let joined = joined_pairs(&bins);
        assert_eq!(joined.len(), 2, "the three at the end are too few");
        assert_eq!((joined[1].0, joined[1].1.value), (12.0, 0.7));
    }
}
