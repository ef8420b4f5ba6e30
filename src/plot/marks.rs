//! Drawing of series: lines, markers, steps, bars, stems, ticks, and their keys in the legend.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Anchor, Canvas, Frame, LETTER, stroke};
use super::figure::{Colour, Look, Panel, Point, Series};
use crate::error::Result;
use crate::math;

/// Opacity of the bars of a histogram.
const BAR_ALPHA: f64 = 0.45;

/// Draws the key of a series in the legend.
pub(super) fn sample(series: &Series, canvas: &Canvas<'_, '_>, x: f64, y: f64) -> Result<()> {
    let line = [(x, y), (x + 32.0, y)];
    let style = stroke(series.colour, 2.5, 1.0);
    match series.look {
        Look::Line | Look::Steps => canvas.path(&line, style),
        Look::Dashed => dashed(&line, style, canvas),
        Look::Marked => {
            canvas.path(&line, stroke(series.colour, 1.5, 0.5))?;
            marker(series, (x + 16.0, y), canvas)
        }
        Look::Open => marker(series, (x + 16.0, y), canvas),
        Look::Stems => {
            canvas.path(&[(x + 16.0, y + 8.0), (x + 16.0, y - 6.0)], style)?;
            disc((x + 16.0, y - 6.0), 4.0, series.colour, canvas)
        }
        Look::Ticks => canvas.path(&[(x + 16.0, y + 7.0), (x + 16.0, y - 7.0)], style),
        Look::Bars => {
            let (right, low, high) = (x + 32.0, y + 6.0, y - 6.0);
            let corners = [(x, low), (right, low), (right, high), (x, high)];
            canvas.polygon(&corners, series.colour, BAR_ALPHA)
        }
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
    let style = stroke(series.colour, 2.2, 1.0);
    match series.look {
        Look::Line => visible(&points, frame)
            .iter()
            .try_for_each(|run| canvas.path(run, stroke(series.colour, 1.6, 1.0))),
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
        Look::Bars => bars(series, &points, frame, canvas),
        Look::Marked | Look::Open => {
            if series.look == Look::Marked {
                for run in visible(&points, frame) {
                    canvas.path(&run, stroke(series.colour, 1.5, 0.5))?;
                }
            }
            for point in &series.points {
                let at = place(point);
                if let Some((low, high)) = point.interval {
                    let inside = |value| frame.y(&panel.y, value).clamp(frame.top, frame.bottom);
                    if at.0 >= frame.left && at.0 <= frame.right {
                        canvas.path(
                            &[(at.0, inside(low)), (at.0, inside(high))],
                            stroke(series.colour, 1.6, 0.9),
                        )?;
                    }
                }
                if frame.holds(at) {
                    marker(series, at, canvas)?;
                }
            }
            Ok(())
        }
        Look::Ticks => points
            .iter()
            .filter(|point| point.0 >= frame.left && point.0 <= frame.right)
            .try_for_each(|&(x, _)| {
                canvas.path(&[(x, frame.bottom), (x, frame.bottom - 16.0)], style)
            }),
        Look::Stems => stems(series, &points, frame, canvas, frame.y(&panel.y, 0.0)),
    }
}

/// Filled bars from the bottom of the panel.
fn bars(
    series: &Series,
    points: &[(f64, f64)],
    frame: &Frame,
    canvas: &Canvas<'_, '_>,
) -> Result<()> {
    for pair in points.windows(2) {
        let (left, right) = (pair[0].0.max(frame.left), pair[1].0.min(frame.right));
        let top = pair[0].1.max(frame.top);
        if right > left && top < frame.bottom {
            let corners = [
                (left, frame.bottom),
                (right, frame.bottom),
                (right, top),
                (left, top),
            ];
            canvas.polygon(&corners, series.colour, BAR_ALPHA)?;
        }
    }
    Ok(())
}

fn stems(
    series: &Series,
    points: &[(f64, f64)],
    frame: &Frame,
    canvas: &Canvas<'_, '_>,
    foot: f64,
) -> Result<()> {
    let foot = foot.clamp(frame.top, frame.bottom);
    let mut free_from = f64::NEG_INFINITY;
    for (place, &(x, y)) in points.iter().enumerate() {
        if x < frame.left || x > frame.right {
            continue;
        }
        let y = y.clamp(frame.top, frame.bottom);
        canvas.path(&[(x, foot), (x, y)], stroke(series.colour, 2.0, 0.9))?;
        disc((x, y), 3.6, series.colour, canvas)?;
        let Some(text) = series.texts.get(place) else {
            continue;
        };
        // Labels that would lie on the one before are left out.
        let half = LETTER * 13.0 * text.chars().count() as f64 / 2.0 + 2.0;
        if x - half >= free_from {
            let look = (series.colour, FontStyle::Normal, true);
            canvas.text(
                text,
                (x, y - 6.0),
                13.0,
                Anchor(HPos::Center, VPos::Bottom),
                look,
            )?;
            free_from = x + half;
        }
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

fn disc(at: (f64, f64), radius: f64, colour: Colour, canvas: &Canvas<'_, '_>) -> Result<()> {
    canvas.polygon(&shape(0, at, radius), colour, 1.0)
}

fn marker(series: &Series, at: (f64, f64), canvas: &Canvas<'_, '_>) -> Result<()> {
    let outline = shape(series.marker, at, 5.2);
    if series.look == Look::Open {
        canvas.polygon(&outline, (255, 255, 255), 1.0)?;
    } else {
        canvas.polygon(&outline, series.colour, 1.0)?;
    }
    let closed: Vec<_> = outline.iter().chain(outline.first()).copied().collect();
    canvas.path(&closed, stroke(series.colour, 1.8, 1.0))
}

/// The corners of marker number `kind`: circle, square, triangle, diamond.
fn shape(kind: usize, (x, y): (f64, f64), radius: f64) -> Vec<(f64, f64)> {
    let (corners, turn, scale) = match kind % 4 {
        0 => (20, 0.0, 1.0),
        1 => (4, 0.125, 1.2),
        2 => (3, -0.25, 1.3),
        _ => (4, 0.0, 1.3),
    };
    (0..corners)
        .map(|corner| {
            let angle = std::f64::consts::TAU * (f64::from(corner) / f64::from(corners) + turn);
            (
                x + radius * scale * math::cos(angle),
                y + radius * scale * math::sin(angle),
            )
        })
        .collect()
}
