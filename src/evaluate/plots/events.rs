//! The plots of an evaluation of events, one function each.

use super::event_histograms::{energy_residuals, pulls, vertex_residuals};
use crate::evaluate::events::EventResult;
use crate::evaluate::events::bins::Binned;
use crate::evaluate::events::metrics::{EnergyMetrics, VertexMetrics};
use crate::evaluate::events::residuals::Residuals;
use crate::evaluate::stats::Estimate;
use crate::math;
use crate::plot::axis::Axis;
use crate::plot::figure::{Figure, Look, Panel, Point, Series, count_axis, heights};
use crate::text::thousands;

/// Residuals along a direction, of a bin.
type Along = fn(&VertexMetrics) -> Residuals;

/// The axes that are drawn where there is one reconstruction.
const AXES: [(&str, Along); 3] = [
    ("x", |metrics| metrics.x_mm),
    ("y", |metrics| metrics.y_mm),
    ("z", |metrics| metrics.z_mm),
];

/// Returns all plots with their file names.
pub(super) fn all(results: &[EventResult]) -> Vec<(&'static str, Figure)> {
    if results.is_empty() {
        return Vec::new();
    }
    vec![
        ("vertex_by_radius.svg", vertex_by_radius(results)),
        ("vertex_by_energy.svg", vertex_by_energy(results)),
        ("vertex_by_angle.svg", vertex_by_angle(results)),
        ("energy_resolution.svg", energy_resolution(results)),
        ("energy_by_radius.svg", energy_by_radius(results)),
        ("pulls.svg", pulls(results)),
        ("vertex_residuals.svg", vertex_residuals(results)),
        ("energy_residuals.svg", energy_residuals(results)),
    ]
}

fn point(x: f64, estimate: Option<Estimate>, factor: f64) -> Option<Point> {
    let estimate = estimate.filter(|_| x.is_finite())?;
    Some(Point::with_error(
        x,
        factor * estimate.value,
        factor * estimate.error,
    ))
}

/// Returns one series per reconstruction.
fn series_of(
    results: &[EventResult],
    label: impl Fn(&EventResult) -> String,
    points: impl Fn(&EventResult) -> Vec<Point>,
) -> Vec<Series> {
    results
        .iter()
        .enumerate()
        .map(|(index, result)| Series::new(label(result), index, Look::Marked, points(result)))
        .collect()
}

fn name(result: &EventResult) -> String {
    result.label.clone()
}

/// A panel around `series` that always shows `low..high`.
fn panel(x: Axis, title: &str, series: Vec<Series>, low: f64, high: f64) -> Panel {
    let mut panel = Panel::new(x, Axis::around(title, heights(&series), low, high));
    panel.series = series;
    panel
}

/// Bias above resolution: per axis for one reconstruction, radius and distance for several.
fn vertex(
    results: &[EventResult],
    title: &str,
    axis: &dyn Fn(&[Series]) -> Axis,
    bins: fn(&EventResult) -> &[Binned<VertexMetrics>],
    x_of: fn(f64) -> f64,
) -> Figure {
    let points = |result: &EventResult, of: &dyn Fn(&VertexMetrics) -> Option<Estimate>| {
        bins(result)
            .iter()
            .filter_map(|bin| point(x_of(bin.mean), of(&bin.metrics), 1.0))
            .collect::<Vec<_>>()
    };
    let (mut biases, mut widths) = (Vec::new(), Vec::new());
    if let [result] = results {
        for (index, (name, along)) in AXES.into_iter().enumerate() {
            let offset = points(result, &|metrics| along(metrics).bias);
            biases.push(Series::new(name, index, Look::Marked, offset));
            let width = points(result, &|metrics| along(metrics).sigma_68);
            widths.push(Series::new(name, index, Look::Marked, width));
        }
        let radial = points(result, &|metrics| metrics.radial_mm.bias);
        biases.push(Series::new(
            "distance from the centre",
            3,
            Look::Marked,
            radial,
        ));
        let radial = points(result, &|metrics| metrics.radial_mm.sigma_68);
        widths.push(Series::new(
            "distance from the centre",
            3,
            Look::Marked,
            radial,
        ));
    } else {
        biases = series_of(results, name, |result| {
            points(result, &|metrics| metrics.radial_mm.bias)
        });
        widths = series_of(results, name, |result| {
            points(result, &|metrics| metrics.distance_68_mm)
        });
    }
    let x = axis(&biases);
    let counts = results.iter().flat_map(bins).map(|bin| bin.metrics.x_mm.n);
    let counts = events_per_bin(counts);
    let (above, below, subtitle) = if results.len() == 1 {
        (
            "Bias (mm)",
            "Resolution (mm)",
            "found \u{2212} true; resolution: half-width of the central 68 %; bars: statistical errors",
        )
    } else {
        (
            "Bias of the radius (mm)",
            "68 % distance (mm)",
            "found \u{2212} true distance from the centre; distance of found and true vertex that 68 % do not exceed",
        )
    };
    let mut upper = panel(x.clone().untitled(), above, biases, -10.0, 10.0);
    upper.guides = vec![0.0];
    let lower = panel(x, below, widths, 0.0, 20.0);
    let mut figure = Figure::new(title, format!("{subtitle}; {counts}"), upper);
    figure.panels.push(lower);
    figure.height = 740;
    figure
}

/// The numbers of events per bin in words.
fn events_per_bin(counts: impl Iterator<Item = u64>) -> String {
    let filled = counts.filter(|n| *n > 0);
    let range = filled.fold(None, |range: Option<(u64, u64)>, n| {
        let (low, high) = range.unwrap_or((n, n));
        Some((low.min(n), high.max(n)))
    });
    match range {
        Some((low, high)) if low < high => {
            format!("{} to {} events per bin", thousands(low), thousands(high))
        }
        Some((n, _)) => format!("{} events per bin", thousands(n)),
        None => "no events".to_owned(),
    }
}

fn radius_axis(results: &[EventResult]) -> Axis {
    let largest = results
        .iter()
        .filter_map(|result| result.binning.radius_edges_mm.last())
        .fold(0.0, |largest: f64, edge| largest.max(*edge));
    Axis::linear("True distance from the centre (m)", 0.0, 1.02e-3 * largest)
}

fn vertex_by_radius(results: &[EventResult]) -> Figure {
    let axis = |_: &[Series]| radius_axis(results);
    let title = "Vertex against the distance from the centre";
    vertex(
        results,
        title,
        &axis,
        |result| &result.joined_bins.vertex_by_radius,
        |radius_mm| 1e-3 * radius_mm,
    )
}

fn vertex_by_energy(results: &[EventResult]) -> Figure {
    let axis = |series: &[Series]| count_axis("True energy (MeV)", series);
    let title = "Vertex against energy";
    vertex(
        results,
        title,
        &axis,
        |result| &result.vertex.by_energy,
        |energy_mev| energy_mev,
    )
}

fn vertex_by_angle(results: &[EventResult]) -> Figure {
    let axis = |_: &[Series]| Axis::linear("True cos \u{3b8}", -1.0, 1.0);
    let title = "Vertex against the polar angle";
    vertex(
        results,
        title,
        &axis,
        |result| &result.joined_bins.vertex_by_cos_theta,
        |cos_theta| cos_theta,
    )
}

fn energy_resolution(results: &[EventResult]) -> Figure {
    let label = |result: &EventResult| match &result.resolution_fit.fit {
        Some(fit) => format!(
            "{}: a = {:.2} %, b = {:.2} %, c = {:.2} %",
            result.label,
            100.0 * fit.a.value,
            100.0 * fit.b.value,
            100.0 * fit.c.value
        ),
        None => result.label.clone(),
    };
    let mut robust = series_of(results, label, |result| {
        let bins = result.energy.by_energy.iter();
        bins.filter_map(|bin| point(bin.mean, bin.metrics.resolution, 100.0))
            .collect()
    });
    // At the same energies, smaller, so that both markers can be seen.
    let mut core = series_of(
        results,
        |result| format!("{}: Gaussian core", result.label),
        |result| {
            let bins = result.energy.by_energy.iter();
            bins.filter_map(|bin| point(bin.mean, bin.metrics.resolution_core, 100.0))
                .collect()
        },
    );
    let biases = series_of(
        results,
        |_| String::new(),
        |result| {
            let bins = result.energy.by_energy.iter();
            bins.filter_map(|bin| point(bin.mean, bin.metrics.bias, 100.0))
                .collect()
        },
    );
    let x = count_axis("True energy (MeV)", &robust);
    for series in &mut core {
        series.look = Look::Dots;
    }
    let mut curves = Vec::new();
    for (index, result) in results.iter().enumerate() {
        let Some(fit) = &result.resolution_fit.fit else {
            continue;
        };
        let points = (0..=120)
            .map(|step| x.low() * math::powf(x.high() / x.low(), f64::from(step) / 120.0))
            .map(|energy_mev| Point::new(energy_mev, 100.0 * fit.at(energy_mev)))
            .collect();
        curves.push(Series::new("", index, Look::Line, points));
        // The curve connects the points.
        if let Some(series) = robust.get_mut(index) {
            series.look = Look::Open;
        }
    }
    let drawn: Vec<Series> = curves.into_iter().chain(core).chain(robust).collect();
    let shown: Vec<Series> = drawn
        .iter()
        .filter(|series| series.look != Look::Line)
        .cloned()
        .collect();
    let mut upper = panel(x.clone().untitled(), "Resolution (%)", shown, 0.0, 1.0);
    upper.series = drawn;
    upper.weight = 1.6;
    let mut lower = panel(x, "Bias (%)", biases, -0.5, 0.5);
    lower.guides = vec![0.0];
    let subtitle = "half-width of the central 68 % of reconstructed / true energy; curve: sqrt(a\u{b2}/E + b\u{b2} + c\u{b2}/E\u{b2}), E in MeV; small dots: width of a Gaussian fitted to the core";
    let mut figure = Figure::new("Energy resolution", subtitle, upper);
    figure.panels.push(lower);
    figure.height = 720;
    figure
}

fn energy_by_radius(results: &[EventResult]) -> Figure {
    let series = |of: fn(&EnergyMetrics) -> Option<Estimate>| {
        series_of(results, name, |result| {
            let bins = result.joined_bins.energy_by_radius.iter();
            bins.filter_map(|bin| point(1e-3 * bin.mean, of(&bin.metrics), 100.0))
                .collect()
        })
    };
    let x = radius_axis(results);
    let mut upper = panel(
        x.clone().untitled(),
        "Bias (%)",
        series(|metrics| metrics.bias),
        -0.5,
        0.5,
    );
    upper.guides = vec![0.0];
    let lower = panel(
        x,
        "Resolution (%)",
        series(|metrics| metrics.resolution),
        0.0,
        1.0,
    );
    let counts = results
        .iter()
        .flat_map(|result| &result.joined_bins.energy_by_radius)
        .map(|bin| bin.metrics.n);
    let subtitle = format!(
        "reconstructed / true energy of all energies together; resolution: half-width of the central 68 %; {}",
        events_per_bin(counts)
    );
    let mut figure = Figure::new(
        "Energy against the distance from the centre",
        subtitle,
        upper,
    );
    figure.panels.push(lower);
    figure.height = 720;
    figure
}
