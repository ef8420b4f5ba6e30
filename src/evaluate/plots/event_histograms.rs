//! The plots of an evaluation of events that show distributions: pulls and residuals.

use crate::evaluate::events::EventResult;
use crate::evaluate::events::metrics::Pull;
use crate::evaluate::events::residuals::{Histogram, Residuals};
use crate::evaluate::stats::Estimate;
use crate::math;
use crate::plot::axis::{Axis, with_minus};
use crate::plot::figure::{Figure, GREY, Look, Panel, Point, Series, values};

/// The outline of a histogram: the share of all entries per bin, in percent.
fn outline(histogram: &Histogram, n: u64) -> Vec<Point> {
    let all = n.max(1) as f64;
    let heights = histogram
        .counts
        .iter()
        .map(|&count| 100.0 * count as f64 / all);
    heights
        .chain([0.0])
        .enumerate()
        .map(|(bin, height)| Point::new(histogram.low + bin as f64 * histogram.step, height))
        .collect()
}

/// Histograms of all reconstructions in a panel, over the range of the widest.
fn histograms(
    results: &[EventResult],
    heading: &dyn Fn(&EventResult) -> String,
    title: &str,
    of: &dyn Fn(&EventResult) -> (Histogram, u64),
    factor: f64,
) -> Panel {
    let series: Vec<Series> = results
        .iter()
        .enumerate()
        .map(|(index, result)| {
            let (histogram, n) = of(result);
            let mut points = outline(&histogram, n);
            for point in &mut points {
                point.x *= factor;
            }
            Series::new(result.label.clone(), index, Look::Steps, points)
        })
        .collect();
    let xs = values(&series, |point| point.x);
    let low = xs.iter().copied().fold(f64::INFINITY, f64::min);
    let high = xs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low < high { (low, high) } else { (-1.0, 1.0) };
    let highest = values(&series, |point| point.y)
        .into_iter()
        .fold(0.1, f64::max);
    let mut panel = Panel::new(
        Axis::linear(title, low, high),
        Axis::linear("Events per bin (%)", 0.0, 1.1 * highest),
    );
    panel.heading = results.iter().map(heading).collect::<Vec<_>>().join("; ");
    panel.series = series;
    panel
}

/// Stacks `panels`; only the lowest one shows the common horizontal axis.
fn stacked(title: &str, subtitle: &str, mut panels: Vec<Panel>) -> Figure {
    let last = panels.len().saturating_sub(1);
    for panel in panels.iter_mut().take(last) {
        panel.x = panel.x.clone().untitled();
    }
    Figure {
        title: title.to_owned(),
        subtitle: subtitle.to_owned(),
        entries: String::new(),
        height: 150 + 205 * panels.len() as u32,
        panels,
        width: 960,
    }
}

/// A value with few digits; a dash where there is none.
fn short(estimate: Option<Estimate>, factor: f64, decimals: usize) -> String {
    estimate.map_or_else(
        || "\u{2013}".to_owned(),
        |estimate| with_minus(&format!("{:.decimals$}", factor * estimate.value)),
    )
}

/// Pulls, with a Gaussian of width 1 for comparison.
pub(super) fn pulls(results: &[EventResult]) -> Figure {
    type Of = fn(&EventResult) -> &Pull;
    let all: [(&str, Of); 5] = [
        ("x", |result| &result.pulls.x),
        ("y", |result| &result.pulls.y),
        ("z", |result| &result.pulls.z),
        ("time, minus its mean offset", |result| &result.pulls.time),
        ("energy", |result| &result.pulls.energy),
    ];
    let panels = all
        .into_iter()
        .map(|(name, of)| {
            let heading = |result: &EventResult| {
                let residuals = of(result).residuals;
                let words = format!(
                    "mean {}, width {}",
                    short(residuals.bias, 1.0, 2),
                    short(residuals.sigma_68, 1.0, 2)
                );
                if results.len() > 1 {
                    format!("{}: {words}", result.label)
                } else {
                    words
                }
            };
            let histogram = |result: &EventResult| {
                let pull = of(result);
                (pull.histogram.clone(), pull.residuals.n)
            };
            let mut panel = histograms(results, &heading, "Pull", &histogram, 1.0);
            panel.heading = format!("{name}: {}", panel.heading);
            let step = results
                .first()
                .map_or(0.2, |result| of(result).histogram.step);
            let curve: Vec<Point> = (-100..=100)
                .map(|step| f64::from(step) / 20.0)
                .map(|pull| {
                    let density = math::exp(-0.5 * pull * pull) / std::f64::consts::TAU.sqrt();
                    Point::new(pull, 100.0 * step * density)
                })
                .collect();
            let unit = Series::new("Gaussian of width 1", 0, Look::Line, curve).coloured(GREY);
            let highest = values(&panel.series, |point| point.y)
                .into_iter()
                .fold(40.0 * step, f64::max);
            panel.y = Axis::linear("Events per bin (%)", 0.0, 1.1 * highest);
            panel.series.insert(0, unit);
            panel
        })
        .collect();
    stacked(
        "Pulls",
        "(found \u{2212} true) / its own uncertainty; width: half-width of the central 68 %",
        panels,
    )
}

/// Reconstructed minus true vertex.
pub(super) fn vertex_residuals(results: &[EventResult]) -> Figure {
    type Of = fn(&EventResult) -> (&Histogram, Residuals);
    let all: [(&str, Of); 3] = [
        ("x", |m| (&m.histograms.x_mm, m.vertex.overall.x_mm)),
        ("y", |m| (&m.histograms.y_mm, m.vertex.overall.y_mm)),
        ("z", |m| (&m.histograms.z_mm, m.vertex.overall.z_mm)),
    ];
    let panels = all
        .into_iter()
        .map(|(axis, of)| {
            let heading = |result: &EventResult| residual_words(result, of(result).1, results);
            let histogram = |result: &EventResult| {
                let (histogram, residuals) = of(result);
                (histogram.clone(), residuals.n)
            };
            let title = "Reconstructed \u{2212} true (mm)";
            let mut panel = histograms(results, &heading, title, &histogram, 1.0);
            panel.heading = format!("{axis}: {}", panel.heading);
            panel
        })
        .collect();
    stacked(
        "Vertex residuals",
        "half-width: half of the central 68 %; entries beyond six half-widths are not drawn",
        panels,
    )
}

fn residual_words(result: &EventResult, residuals: Residuals, results: &[EventResult]) -> String {
    let words = format!(
        "bias {} mm, half-width {} mm, RMS {} mm",
        short(residuals.bias, 1.0, 1),
        short(residuals.sigma_68, 1.0, 1),
        short(residuals.rms, 1.0, 1)
    );
    if results.len() > 1 {
        format!("{}: {words}", result.label)
    } else {
        words
    }
}

/// Reconstructed over true energy, and reconstructed minus true time.
pub(super) fn energy_residuals(results: &[EventResult]) -> Figure {
    let label = |result: &EventResult| {
        let all = &result.energy.overall;
        let words = format!(
            "bias {} %, resolution {} %",
            short(all.bias, 100.0, 2),
            short(all.resolution, 100.0, 2)
        );
        if results.len() > 1 {
            format!("{}: {words}", result.label)
        } else {
            words
        }
    };
    let energy = |result: &EventResult| (result.histograms.energy.clone(), result.energy.overall.n);
    let title = "Reconstructed / true energy \u{2212} 1 (%)";
    let mut energy = histograms(results, &label, title, &energy, 100.0);
    energy.heading = format!("energy: {}", energy.heading);
    let words = |result: &EventResult| {
        let all = &result.time_ns.overall;
        let words = format!(
            "mean {} ns, half-width {} ns",
            short(all.bias, 1.0, 2),
            short(all.sigma_68, 1.0, 2)
        );
        if results.len() > 1 {
            format!("{}: {words}", result.label)
        } else {
            words
        }
    };
    let time = |result: &EventResult| (result.histograms.time_ns.clone(), result.time_ns.overall.n);
    let title = "Reconstructed \u{2212} true time (ns)";
    let mut time = histograms(results, &words, title, &time, 1.0);
    time.heading = format!("time: {}", time.heading);
    let mut figure = Figure::new(
        "Energy and time residuals",
        "of all energies together; half-width and resolution: half of the central 68 %",
        energy,
    );
    figure.panels.push(time);
    figure.height = 720;
    figure
}
