//! The pictures of a calibration of light: maps, arrival times, and how well both describe the sources.

use std::path::{Path, PathBuf};

use super::write_figures;
use crate::calibrate::light::{LightResult, RunSummary};
use crate::error::Result;
use crate::math;
use crate::model::light_maps::{FROM_NS, STEP_NS, TypeLight};
use crate::model::vector::norm;
use crate::plot::axis::Axis;
use crate::plot::figure::{Figure, Look, Panel, Point, Series, heights};
use crate::text::counted;

/// Distances from the centre, as shares of the radius, for which a map is drawn.
const RADII: [f64; 4] = [0.25, 0.5, 0.75, 0.95];
/// Points of a curve.
const POINTS: u32 = 200;
/// Times that are drawn, in ns.
const TIMES_NS: (f64, f64) = (-20.0, 300.0);
/// Maximum number of energies with a colour of their own.
const MAX_ENERGIES: usize = 6;

/// Writes `light_maps.svg`, `light_times.svg` and `light_residuals.svg` into `folder` (created if it does not exist) and returns the
/// paths.
///
/// # Errors
/// If a plot cannot be written.
pub fn write_light(folder: &Path, result: &LightResult) -> Result<Vec<PathBuf>> {
    let figures = [
        ("light_maps.svg".to_owned(), maps(result)),
        ("light_times.svg".to_owned(), times(result)),
        ("light_residuals.svg".to_owned(), residuals(result)),
    ];
    write_figures(folder, figures)
}

fn entries(result: &LightResult) -> String {
    format!(
        "{} in {}",
        counted(result.events, "event"),
        counted(result.runs.len() as u64, "run")
    )
}

/// One panel per PMT type below the other.
fn by_type(
    result: &LightResult,
    title: &str,
    subtitle: &str,
    panel: impl Fn(&TypeLight) -> Panel,
) -> Figure {
    let types = &result.tables.types;
    let mut panels: Vec<Panel> = types
        .iter()
        .map(|kind| {
            let mut panel = panel(kind);
            panel.heading.clone_from(&kind.name);
            panel
        })
        .collect();
    let last = panels.len().saturating_sub(1);
    for panel in panels.iter_mut().take(last) {
        panel.x = panel.x.clone().untitled();
    }
    Figure {
        title: title.to_owned(),
        subtitle: subtitle.to_owned(),
        entries: entries(result),
        height: 220 + 300 * panels.len() as u32,
        panels,
        width: 960,
    }
}

fn maps(result: &LightResult) -> Figure {
    let radius_mm = result.tables.radius_mm;
    let subtitle = "photoelectrons for 1 MeV in a PMT of efficiency 1, for sources at four distances r from the centre";
    by_type(result, "Light maps", subtitle, |kind| {
        let map = &kind.map;
        let pmt_mm = (math::exp(map.v.high) - radius_mm).max(1.0);
        let series: Vec<Series> = RADII
            .into_iter()
            .enumerate()
            .map(|(index, share)| {
                let (near, far) = (pmt_mm - share * radius_mm, pmt_mm + share * radius_mm);
                let points = (0..=POINTS)
                    .map(|step| near + (far - near) * f64::from(step) / f64::from(POINTS))
                    .filter(|distance_mm| *distance_mm > 0.0)
                    .map(|distance_mm| {
                        let v = math::ln(distance_mm).clamp(map.v.low, map.v.high);
                        let (light, ..) = map.value(share * share, v);
                        let pe = math::exp(light) * 1e6 / (distance_mm * distance_mm);
                        Point::new(1e-3 * distance_mm, pe)
                    })
                    .filter(|point| point.y.is_finite() && point.y > 0.0);
                let label = format!("r = {:.1} m", 1e-3 * share * radius_mm);
                Series::new(label, index, Look::Line, points.collect())
            })
            .collect();
        let values: Vec<f64> = heights(&series).collect();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        let (low, high) = if low > 0.0 && low <= high {
            (low / 1.5, high * 1.5)
        } else {
            (0.1, 1.0)
        };
        let end = 1e-3 * (pmt_mm + radius_mm);
        let mut panel = Panel::new(
            Axis::linear("Distance of source and PMT (m)", 0.0, end),
            Axis::logarithmic("Photoelectrons at 1 MeV", low, high),
        );
        panel.series = series;
        panel
    })
}

fn times(result: &LightResult) -> Figure {
    let subtitle = "density of the time of a photoelectron after the time of flight, for sources at the centre and at the edge, at a middle distance";
    by_type(result, "Arrival times", subtitle, |kind| {
        let table = &kind.times;
        let rows = [("centre", 0), ("edge", table.u.count.saturating_sub(1))];
        let series: Vec<Series> = rows
            .into_iter()
            .enumerate()
            .filter_map(|(index, (label, u))| {
                let densities = table
                    .densities()
                    .get(u * table.v.count + table.v.count / 2)?;
                let sum: f64 = densities.iter().sum::<f64>() * STEP_NS;
                let points = densities
                    .iter()
                    .enumerate()
                    .map(|(step, density)| {
                        Point::new(FROM_NS + STEP_NS * step as f64, density / sum)
                    })
                    .filter(|point| point.y > 0.0 && (TIMES_NS.0..=TIMES_NS.1).contains(&point.x));
                Some(Series::new(label, index, Look::Line, points.collect()))
            })
            .collect();
        let high = heights(&series).fold(0.0, f64::max).max(1e-6);
        let mut panel = Panel::new(
            Axis::linear("Time after the time of flight (ns)", TIMES_NS.0, TIMES_NS.1),
            Axis::logarithmic("Density (1 / ns)", 1e-4 * high, 2.0 * high),
        );
        panel.series = series;
        panel
    })
}

/// Light and fitted energy of the runs against their distance from the centre.
fn residuals(result: &LightResult) -> Figure {
    let mut energies: Vec<f64> = result.runs.iter().map(|run| run.energy_mev).collect();
    energies.sort_by(f64::total_cmp);
    energies.dedup_by(|a, b| (*a - *b).abs() < 1e-3 * b.abs());
    let one_colour = energies.len() > MAX_ENERGIES;
    let index_of = |run: &RunSummary| {
        let distance = |energy: &f64| (energy - run.energy_mev).abs();
        let nearest = energies
            .iter()
            .enumerate()
            .min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)));
        nearest.map_or(0, |(index, _)| if one_colour { 0 } else { index })
    };
    let series = |of: &dyn Fn(&RunSummary) -> Option<(f64, f64)>| -> Vec<Series> {
        let n = if one_colour { 1 } else { energies.len() };
        (0..n)
            .map(|index| {
                let runs = result.runs.iter().filter(|run| index_of(run) == index);
                let points = runs.filter_map(|run| {
                    let (value, error) = of(run)?;
                    let r = 1e-3 * norm(run.position_mm);
                    Some(Point::with_error(r, 100.0 * (value - 1.0), 100.0 * error))
                });
                let label = if one_colour {
                    "all energies".to_owned()
                } else {
                    format!("{:.3} MeV", energies.get(index).copied().unwrap_or(0.0))
                };
                Series::new(label, index, Look::Dots, points.collect())
            })
            .collect()
    };
    let light = series(&|run| {
        let found = run.pe * run.events as f64;
        (run.expected_pe > 0.0 && found > 0.0).then(|| {
            let ratio = run.pe / run.expected_pe;
            (ratio, ratio / found.sqrt())
        })
    });
    let mut energy = series(&|run| Some((run.response?, run.response_sigma?)));
    // One legend is enough.
    for one in &mut energy {
        one.label.clear();
    }
    let x = Axis::linear(
        "Distance from the centre (m)",
        0.0,
        1.02e-3 * result.tables.radius_mm,
    );
    let panel = |x: Axis, title: &str, series: Vec<Series>| {
        let mut panel = Panel::new(x, Axis::around(title, heights(&series), -1.0, 1.0));
        panel.guides = vec![0.0];
        panel.series = series;
        panel
    };
    let upper = panel(
        x.clone().untitled(),
        "Light: found / maps \u{2212} 1 (%)",
        light,
    );
    let lower = panel(x, "Energy: fitted / true \u{2212} 1 (%)", energy);
    let mut figure = Figure::new(
        "Sources and light maps",
        "upper: photoelectrons of each run over those that the maps predict; lower: fitted over true energy; bars: statistical errors",
        upper,
    );
    figure.panels.push(lower);
    figure.entries = entries(result);
    figure.height = 760;
    figure
}
