//! The figures of an evaluation of events, one function each.

use super::event_histograms::{energy_residuals, pulls, vertex_residuals};
use crate::evaluate::events::EventMethod;
use crate::evaluate::events::bins::Binned;
use crate::evaluate::events::figures::{EnergyFigures, VertexFigures};
use crate::evaluate::events::spread::Residuals;
use crate::evaluate::stats::Estimate;
use crate::plot::axis::Axis;
use crate::plot::figure::{Figure, GREY, Look, Panel, Point, Series};
use crate::plot::figure::{count_axis, heights};

/// Residuals along a direction, of a bin.
type Along = fn(&VertexFigures) -> Residuals;

/// The axes that are drawn where there is one reconstruction.
const AXES: [(&str, Along); 3] = [
    ("x", |figures| figures.x_mm),
    ("y", |figures| figures.y_mm),
    ("z", |figures| figures.z_mm),
];

/// All figures with the names of their files.
pub(super) fn all(methods: &[EventMethod]) -> Vec<(&'static str, Figure)> {
    if methods.is_empty() {
        return Vec::new();
    }
    vec![
        ("vertex_by_radius.svg", vertex_by_radius(methods)),
        ("vertex_by_energy.svg", vertex_by_energy(methods)),
        ("vertex_by_angle.svg", vertex_by_angle(methods)),
        ("energy_resolution.svg", energy_resolution(methods)),
        ("energy_by_radius.svg", energy_by_radius(methods)),
        ("pulls.svg", pulls(methods)),
        ("vertex_residuals.svg", vertex_residuals(methods)),
        ("energy_residuals.svg", energy_residuals(methods)),
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

/// One series a reconstruction.
fn series_of(
    methods: &[EventMethod],
    label: impl Fn(&EventMethod) -> String,
    points: impl Fn(&EventMethod) -> Vec<Point>,
) -> Vec<Series> {
    methods
        .iter()
        .enumerate()
        .map(|(index, method)| Series::new(label(method), index, Look::Marked, points(method)))
        .collect()
}

fn name(method: &EventMethod) -> String {
    method.label.clone()
}

/// A panel around `series` that always shows `low..high`.
fn panel(x: Axis, title: &str, series: Vec<Series>, low: f64, high: f64) -> Panel {
    let mut panel = Panel::new(x, Axis::around(title, heights(&series), low, high));
    panel.series = series;
    panel
}

/// Bias above resolution. One reconstruction is drawn by axis; of several, radius and distance.
fn vertex(
    methods: &[EventMethod],
    title: &str,
    axis: &dyn Fn(&[Series]) -> Axis,
    bins: fn(&EventMethod) -> &[Binned<VertexFigures>],
    place: fn(f64) -> f64,
) -> Figure {
    let points = |method: &EventMethod, of: &dyn Fn(&VertexFigures) -> Option<Estimate>| {
        bins(method)
            .iter()
            .filter_map(|bin| point(place(bin.mean), of(&bin.figures), 1.0))
            .collect::<Vec<_>>()
    };
    let (mut biases, mut widths) = (Vec::new(), Vec::new());
    if let [method] = methods {
        for (index, (name, along)) in AXES.into_iter().enumerate() {
            let offset = points(method, &|figures| along(figures).bias);
            biases.push(Series::new(name, index, Look::Marked, offset));
            let width = points(method, &|figures| along(figures).sigma_68);
            widths.push(Series::new(name, index, Look::Marked, width));
        }
        let radial = points(method, &|figures| figures.radial_mm.bias);
        biases.push(Series::new(
            "distance from the centre",
            3,
            Look::Marked,
            radial,
        ));
        let radial = points(method, &|figures| figures.radial_mm.sigma_68);
        widths.push(Series::new(
            "distance from the centre",
            3,
            Look::Marked,
            radial,
        ));
    } else {
        biases = series_of(methods, name, |method| {
            points(method, &|figures| figures.radial_mm.bias)
        });
        widths = series_of(methods, name, |method| {
            points(method, &|figures| figures.distance_68_mm)
        });
    }
    let x = axis(&biases);
    let (above, below, subtitle) = if methods.len() == 1 {
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
    let mut figure = Figure::new(title, subtitle, upper);
    figure.panels.push(lower);
    figure.height = 720;
    figure
}

fn radius_axis(methods: &[EventMethod]) -> Axis {
    let largest = methods
        .iter()
        .filter_map(|method| method.binning.radius_edges_mm.last())
        .fold(0.0, |largest: f64, edge| largest.max(*edge));
    Axis::linear("True distance from the centre (m)", 0.0, 1.02e-3 * largest)
}

fn vertex_by_radius(methods: &[EventMethod]) -> Figure {
    let axis = |_: &[Series]| radius_axis(methods);
    let title = "Vertex against the distance from the centre";
    vertex(
        methods,
        title,
        &axis,
        |method| &method.vertex.by_radius,
        |radius_mm| 1e-3 * radius_mm,
    )
}

fn vertex_by_energy(methods: &[EventMethod]) -> Figure {
    let axis = |series: &[Series]| count_axis("True energy (MeV)", series);
    let title = "Vertex against energy";
    vertex(
        methods,
        title,
        &axis,
        |method| &method.vertex.by_energy,
        |energy_mev| energy_mev,
    )
}

fn vertex_by_angle(methods: &[EventMethod]) -> Figure {
    let axis = |_: &[Series]| Axis::linear("True cos \u{3b8}", -1.0, 1.0);
    let title = "Vertex against the polar angle";
    vertex(
        methods,
        title,
        &axis,
        |method| &method.vertex.by_cos_theta,
        |cos_theta| cos_theta,
    )
}

fn energy_resolution(methods: &[EventMethod]) -> Figure {
    let label = |method: &EventMethod| match &method.resolution_fit.fit {
        Some(fit) => format!(
            "{}: a = {:.2} %, b = {:.2} %, c = {:.2} %",
            method.label,
            100.0 * fit.a.value,
            100.0 * fit.b.value,
            100.0 * fit.c.value
        ),
        None => method.label.clone(),
    };
    let mut robust = series_of(methods, label, |method| {
        let bins = method.energy.by_energy.iter();
        bins.filter_map(|bin| point(bin.mean, bin.figures.resolution, 100.0))
            .collect()
    });
    let mut core = series_of(
        methods,
        |method| format!("{}: Gaussian core", method.label),
        |method| {
            let bins = method.energy.by_energy.iter();
            bins.filter_map(|bin| point(bin.mean, bin.figures.resolution_core, 100.0))
                .collect()
        },
    );
    for series in &mut core {
        series.look = Look::Open;
        // Beside the filled marker, which it would cover.
        for point in &mut series.points {
            point.x *= 1.03;
        }
    }
    let biases = series_of(
        methods,
        |_| String::new(),
        |method| {
            let bins = method.energy.by_energy.iter();
            bins.filter_map(|bin| point(bin.mean, bin.figures.bias, 100.0))
                .collect()
        },
    );
    let x = count_axis("True energy (MeV)", &robust);
    let mut curves = Vec::new();
    for (index, method) in methods.iter().enumerate() {
        let Some(fit) = &method.resolution_fit.fit else {
            continue;
        };
        let points = (0..=120)
            .map(|step| x.low() * (x.high() / x.low()).powf(f64::from(step) / 120.0))
            .map(|energy_mev| Point::new(energy_mev, 100.0 * fit.at(energy_mev)))
            .collect();
        curves.push(Series::new("", index, Look::Line, points));
        // The curve says how the points hang together.
        if let Some(series) = robust.get_mut(index) {
            series.look = Look::Open;
        }
        if let Some(series) = core.get_mut(index) {
            series.marker += 2;
            series.colour = GREY;
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
    let subtitle = "half-width of the central 68 % of found / true energy; curve: sqrt(a\u{b2}/E + b\u{b2} + c\u{b2}/E\u{b2}), E in MeV";
    let mut figure = Figure::new("Energy resolution", subtitle, upper);
    figure.panels.push(lower);
    figure.height = 720;
    figure
}

fn energy_by_radius(methods: &[EventMethod]) -> Figure {
    let series = |of: fn(&EnergyFigures) -> Option<Estimate>| {
        series_of(methods, name, |method| {
            let bins = method.energy.by_radius.iter();
            bins.filter_map(|bin| point(1e-3 * bin.mean, of(&bin.figures), 100.0))
                .collect()
        })
    };
    let x = radius_axis(methods);
    let mut upper = panel(
        x.clone().untitled(),
        "Bias (%)",
        series(|figures| figures.bias),
        -0.5,
        0.5,
    );
    upper.guides = vec![0.0];
    let lower = panel(
        x,
        "Resolution (%)",
        series(|figures| figures.resolution),
        0.0,
        1.0,
    );
    let subtitle =
        "found / true energy of all energies together; resolution: half-width of the central 68 %";
    let mut figure = Figure::new(
        "Energy against the distance from the centre",
        subtitle,
        upper,
    );
    figure.panels.push(lower);
    figure.height = 720;
    figure
}
