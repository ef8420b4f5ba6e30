//! Draws a [`Figure`] as SVG: title, legend, and panels one below the other.

use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Anchor, Canvas, Frame, LETTER, render, stroke};
use super::figure::{Figure, GREY, INK, Panel};
use super::marks::{draw_series, sample};
use crate::error::Result;

const TITLE_PX: f64 = 23.0;
const TEXT_PX: f64 = 16.0;
const TICK_PX: f64 = 15.0;
const LEFT_PX: f64 = 104.0;
const RIGHT_PX: f64 = 28.0;
const BOTTOM_PX: f64 = 64.0;
/// Space between panels that share an axis title.
const GAP_PX: f64 = 20.0;

/// Returns the SVG text of `figure`.
///
/// # Errors
/// Only on an internal error of the drawing library.
pub(crate) fn svg(figure: &Figure) -> Result<String> {
    let (width, height) = (f64::from(figure.width), f64::from(figure.height));
    render(width, height, |canvas| draw(figure, width, height, canvas))
}

fn draw(figure: &Figure, width: f64, height: f64, canvas: &Canvas<'_, '_>) -> Result<()> {
    let mut y = 16.0;
    let bold = (INK, FontStyle::Bold, true);
    canvas.text(
        &figure.title,
        (LEFT_PX, y),
        TITLE_PX,
        Anchor(HPos::Left, VPos::Top),
        bold,
    )?;
    y += TITLE_PX + 8.0;
    if !figure.subtitle.is_empty() {
        let grey = (GREY, FontStyle::Normal, true);
        canvas.text(
            &figure.subtitle,
            (LEFT_PX, y),
            TICK_PX,
            Anchor(HPos::Left, VPos::Top),
            grey,
        )?;
        y += TICK_PX + 10.0;
    }
    y = legend(figure, canvas, y, width)? + 10.0;

    let heading = |panel: &Panel| if panel.heading.is_empty() { 0.0 } else { 26.0 };
    let footing = |panel: &Panel| {
        if panel.x.title.is_empty() {
            GAP_PX
        } else {
            BOTTOM_PX
        }
    };
    let fixed: f64 = figure.panels.iter().map(|p| heading(p) + footing(p)).sum();
    let weights: f64 = figure.panels.iter().map(|panel| panel.weight).sum();
    let share = (height - y - fixed) / weights;
    for panel in &figure.panels {
        if !panel.heading.is_empty() {
            canvas.text(
                &panel.heading,
                (LEFT_PX, y),
                TEXT_PX,
                Anchor(HPos::Left, VPos::Top),
                bold,
            )?;
            y += heading(panel);
        }
        let frame = Frame {
            left: LEFT_PX,
            right: width - RIGHT_PX,
            top: y,
            bottom: y + share * panel.weight,
        };
        draw_panel(panel, &frame, canvas)?;
        y = frame.bottom + footing(panel);
    }
    Ok(())
}

/// Draws the legend in rows and returns where it ends.
fn legend(figure: &Figure, canvas: &Canvas<'_, '_>, top: f64, width: f64) -> Result<f64> {
    let mut shown: Vec<&str> = Vec::new();
    let (mut x, mut y, mut any) = (LEFT_PX, top, false);
    for series in figure.panels.iter().flat_map(|panel| &panel.series) {
        if series.label.is_empty() || shown.contains(&series.label.as_str()) {
            continue;
        }
        shown.push(&series.label);
        let entry = 40.0 + LETTER * TEXT_PX * series.label.chars().count() as f64 + 22.0;
        if any && x + entry > width - RIGHT_PX {
            x = LEFT_PX;
            y += TEXT_PX + 10.0;
        }
        any = true;
        let middle = y + TEXT_PX / 2.0;
        sample(series, canvas, x, middle)?;
        canvas.plain(
            &series.label,
            (x + 40.0, middle),
            TEXT_PX,
            Anchor(HPos::Left, VPos::Center),
        )?;
        x += entry;
    }
    Ok(if any { y + TEXT_PX + 8.0 } else { top })
}

fn draw_panel(panel: &Panel, frame: &Frame, canvas: &Canvas<'_, '_>) -> Result<()> {
    let Frame {
        left,
        right,
        top,
        bottom,
    } = *frame;
    if let Some((low, high)) = panel.band {
        let inside = |value: f64| frame.y(&panel.y, value).clamp(top, bottom);
        let (low, high) = (inside(low), inside(high));
        let corners = [(left, low), (right, low), (right, high), (left, high)];
        canvas.polygon(&corners, (0, 158, 115), 0.10)?;
    }
    let grid = |labelled: bool| stroke(GREY, 1.0, if labelled { 0.28 } else { 0.12 });
    let ticks_across = ((right - left) / 110.0) as usize;
    for tick in panel.x.ticks(ticks_across) {
        let x = frame.x(&panel.x, tick.value);
        canvas.path(&[(x, top), (x, bottom)], grid(!tick.label.is_empty()))?;
        if !panel.x.title.is_empty() {
            canvas.plain(
                &tick.label,
                (x, bottom + 8.0),
                TICK_PX,
                Anchor(HPos::Center, VPos::Top),
            )?;
        }
    }
    for tick in panel
        .y
        .ticks((((bottom - top) / 58.0) as usize).clamp(3, 8))
    {
        let y = frame.y(&panel.y, tick.value);
        canvas.path(&[(left, y), (right, y)], grid(!tick.label.is_empty()))?;
        canvas.plain(
            &tick.label,
            (left - 9.0, y),
            TICK_PX,
            Anchor(HPos::Right, VPos::Center),
        )?;
    }
    for &guide in &panel.guides {
        let y = frame.y(&panel.y, guide);
        canvas.path(&[(left, y), (right, y)], stroke(INK, 1.2, 0.7))?;
    }
    for series in &panel.series {
        draw_series(series, panel, frame, canvas)?;
    }
    canvas.path(&frame.outline(), stroke(INK, 1.3, 1.0))?;
    if !panel.x.title.is_empty() {
        let at = (f64::midpoint(left, right), bottom + 34.0);
        canvas.plain(&panel.x.title, at, TEXT_PX, Anchor(HPos::Center, VPos::Top))?;
    }
    let at = (22.0, f64::midpoint(top, bottom));
    let anchor = Anchor(HPos::Center, VPos::Center);
    canvas.text(
        &panel.y.title,
        at,
        TEXT_PX,
        anchor,
        (INK, FontStyle::Normal, false),
    )
}
