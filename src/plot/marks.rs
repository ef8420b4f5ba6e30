//! Drawing of series: lines, markers, steps, bars, stems, ticks, and their keys in the legend.

use plotters::prelude::*;

use super::canvas::{Canvas, Frame, stroke};
use super::figure::{Colour, Look, Panel, Point, Series};
use super::markers::{arrow, disc, marker};
use super::stems;
use crate::error::Result;
use crate::math;

/// Radius of a small marker.
const DOT_PX: f64 = 2.6;
/// Number of dots from which they are drawn as cells of this size.
const MAX_DOTS: usize = 1500;
const CELL_PX: f64 = 3.0;

/// Width of the lines of a series, in the panel and in the legend.
fn line_width(look: Look) -> f64 {
    match look {
        Look::Line => 1.6,
        Look::Marked => 1.5,
        Look::Wide => 5.0,
        _ => 2.2,
    }
}

fn wide(colour: Colour) -> ShapeStyle {
    stroke(colour, line_width(Look::Wide), 0.55)
}

/// Width of the key of a series in the legend.
pub(super) fn key_width(look: Look) -> f64 {
    match look {
        Look::Open | Look::Dots | Look::Stems | Look::Ticks => 12.0,
        _ => 32.0,
    }
}

/// Draws the key of a series in the legend.
pub(super) fn sample(series: &Series, canvas: &Canvas<'_, '_>, x: f64, y: f64) -> Result<()> {
    let width = key_width(series.look);
    let middle = x + width / 2.0;
    let line = [(x, y), (x + width, y)];
    let style = stroke(series.colour, line_width(series.look), 1.0);
    match series.look {
        Look::Line | Look::Steps => canvas.path(&line, style),
        Look::Wide => canvas.path(&line, wide(series.colour)),
        Look::Dashed => dashed(&line, style, canvas),
        Look::Marked => {
            canvas.path(&line, stroke(series.colour, 1.5, 0.5))?;
            marker(series, (middle, y), canvas)
        }
        Look::Open => marker(series, (middle, y), canvas),
        Look::Dots => {
            if series.points.iter().any(|point| point.interval.is_some()) {
                let bar = [(middle, y + 7.0), (middle, y - 7.0)];
                canvas.path(&bar, stroke(series.colour, 1.1, 0.9))?;
            }
            disc((middle, y), DOT_PX, series.colour, canvas)
        }
        Look::Stems => {
            canvas.path(&[(middle, y + 8.0), (middle, y - 6.0)], style)?;
            disc((middle, y - 6.0), 4.0, series.colour, canvas)
        }
        Look::Ticks => canvas.path(&[(middle, y + 7.0), (middle, y - 7.0)], style),
    }
}

pub(super) fn draw_series(
    series: &Series,
    panel: &Panel,
    frame: &Frame,
    canvas: &Canvas<'_, '_>,
) -> Result<()> {
    let place = |point: &Point| (frame.x(&panel.x, point.x), frame.y(&panel.y, point.y));
    let mut points: Vec<(f64, f64)> = series
        .points
        .iter()
        .filter(|point| point.x.is_finite() && point.y.is_finite())
        .map(place)
        .collect();
    let style = stroke(series.colour, line_width(series.look), 1.0);
    match series.look {
        Look::Line => visible(&points, frame)
            .iter()
            .try_for_each(|run| canvas.path(run, style)),
        Look::Wide => visible(&points, frame)
            .iter()
            .try_for_each(|run| canvas.path(run, wide(series.colour))),
        Look::Dashed => visible(&points, frame)
            .iter()
            .try_for_each(|run| dashed(run, style, canvas)),
        Look::Steps => {
            points = points
                .windows(2)
                .flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)])
                .collect();
            visible(&points, frame)
                .iter()
                .try_for_each(|run| canvas.path(run, style))
        }
        Look::Dots if points.len() > MAX_DOTS => cells(series, &points, frame, canvas),
        Look::Marked | Look::Open | Look::Dots => markers(series, panel, frame, canvas),
        Look::Ticks => points
            .iter()
            .filter(|point| point.0 >= frame.left && point.0 <= frame.right)
            .try_for_each(|&(x, _)| {
                canvas.path(&[(x, frame.bottom), (x, frame.bottom - 16.0)], style)
            }),
        Look::Stems => stems::draw(series, &points, frame, canvas, frame.y(&panel.y, 0.0)),
    }
}

/// True if a point of a series with markers lies above or below the panel.
pub(super) fn is_beyond(look: Look, point: &Point, panel: &Panel) -> bool {
    matches!(look, Look::Marked | Look::Open | Look::Dots)
        && (panel.x.low()..=panel.x.high()).contains(&point.x)
        && point.y.is_finite()
        && !(panel.y.low()..=panel.y.high()).contains(&point.y)
}

/// Markers with their intervals; an arrow at the edge where the point lies beyond it.
fn markers(series: &Series, panel: &Panel, frame: &Frame, canvas: &Canvas<'_, '_>) -> Result<()> {
    let place = |point: &Point| (frame.x(&panel.x, point.x), frame.y(&panel.y, point.y));
    let within = |value: f64| (panel.y.low()..=panel.y.high()).contains(&value);
    if series.look == Look::Marked {
        for pair in series.points.windows(2) {
            let ends = [place(&pair[0]), place(&pair[1])];
            if ends.iter().all(|end| frame.holds(*end)) {
                canvas.path(&ends, stroke(series.colour, line_width(series.look), 0.5))?;
            }
        }
    }
    let width_px = if series.look == Look::Dots { 1.1 } else { 1.6 };
    for point in &series.points {
        let (x, y) = place(point);
        if let Some((low, high)) = point.interval
            && (frame.left..=frame.right).contains(&x)
            && (within(low) || within(high) || within(point.y))
        {
            let inside = |value| frame.y(&panel.y, value).clamp(frame.top, frame.bottom);
            let line = [(x, inside(low)), (x, inside(high))];
            canvas.path(&line, stroke(series.colour, width_px, 0.9))?;
        }
        if is_beyond(series.look, point, panel) {
            let up = point.y > panel.y.high();
            let edge = if up { frame.top } else { frame.bottom };
            arrow((x, edge), up, series.colour, canvas)?;
        } else if !frame.holds((x, y)) {
        } else if series.look == Look::Dots {
            disc((x, y), DOT_PX, series.colour, canvas)?;
        } else {
            marker(series, (x, y), canvas)?;
        }
    }
    Ok(())
}

/// The cells of a grid that hold a point; cells above each other are one area, so that many points are a small file.
fn cells(
    series: &Series,
    points: &[(f64, f64)],
    frame: &Frame,
    canvas: &Canvas<'_, '_>,
) -> Result<()> {
    let mut occupied: Vec<(i64, i64)> = points
        .iter()
        .filter(|point| frame.holds(**point))
        .map(|(x, y)| ((x / CELL_PX).floor() as i64, (y / CELL_PX).floor() as i64))
        .collect();
    occupied.sort_unstable();
    occupied.dedup();
    let next = |a: &(i64, i64), b: &(i64, i64)| a.0 == b.0 && a.1 + 1 == b.1;
    for run in occupied.chunk_by(next) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            continue;
        };
        let (left, top) = (first.0 as f64 * CELL_PX, first.1 as f64 * CELL_PX);
        let (right, bottom) = (left + CELL_PX, (last.1 + 1) as f64 * CELL_PX);
        let corners = [(left, top), (right, top), (right, bottom), (left, bottom)];
        canvas.polygon(&corners, series.colour, 0.8)?;
    }
    Ok(())
}

/// The parts of a line within the frame, each cut at its edge.
fn visible(points: &[(f64, f64)], frame: &Frame) -> Vec<Vec<(f64, f64)>> {
    let mut runs: Vec<Vec<(f64, f64)>> = Vec::new();
    for pair in points.windows(2) {
        let Some((from, to)) = clipped(pair[0], pair[1], frame) else {
            continue;
        };
        match runs.last_mut() {
            Some(run) if run.last() == Some(&from) => run.push(to),
            _ => runs.push(vec![from, to]),
        }
    }
    runs
}

/// The part of a segment within the frame (Liang and Barsky).
fn clipped(from: (f64, f64), to: (f64, f64), frame: &Frame) -> Option<((f64, f64), (f64, f64))> {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
    for (speed, distance) in [
        (-dx, from.0 - frame.left),
        (dx, frame.right - from.0),
        (-dy, from.1 - frame.top),
        (dy, frame.bottom - from.1),
    ] {
        if speed == 0.0 {
            if distance < 0.0 {
                return None;
            }
        } else if speed < 0.0 {
            enter = enter.max(distance / speed);
        } else {
            leave = leave.min(distance / speed);
        }
    }
    let at = |share: f64| match share {
        0.0 => from,
        1.0 => to,
        _ => (from.0 + share * dx, from.1 + share * dy),
    };
    (enter <= leave).then(|| (at(enter), at(leave)))
}

fn dashed(points: &[(f64, f64)], style: ShapeStyle, canvas: &Canvas<'_, '_>) -> Result<()> {
    const DASH_PX: f64 = 9.0;
    const PERIOD_PX: f64 = 15.0;
    let mut walked = 0.0;
    for pair in points.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let length = math::hypot(to.0 - from.0, to.1 - from.1);
        let at = |s: f64| {
            let share = (s / length).clamp(0.0, 1.0);
            (
                from.0 + (to.0 - from.0) * share,
                from.1 + (to.1 - from.1) * share,
            )
        };
        let mut s = -(walked % PERIOD_PX);
        while s < length {
            if s + DASH_PX > 0.0 {
                canvas.path(&[at(s.max(0.0)), at((s + DASH_PX).min(length))], style)?;
            }
            s += PERIOD_PX;
        }
        walked += length;
    }
    Ok(())
}
