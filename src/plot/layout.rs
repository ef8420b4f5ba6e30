//! Draws a [`Figure`] as SVG: title, legend, and panels one below the other.

use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Anchor, Canvas, Frame, render, stroke};
use super::figure::{Figure, GREY, INK, Panel};
use super::lettering::{FOOT_PX, foot, text_width, wrapped};
use super::marginal;
use super::markers::arrow;
use super::marks::{draw_series, is_beyond, key_width, sample};
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
    let grey = (GREY, FontStyle::Normal, true);
    for line in wrapped(&figure.subtitle, TICK_PX, width - LEFT_PX - RIGHT_PX) {
        let anchor = Anchor(HPos::Left, VPos::Top);
        canvas.text(&line, (LEFT_PX, y), TICK_PX, anchor, grey)?;
        y += TICK_PX + 5.0;
    }
    if !figure.subtitle.is_empty() {
        y += 5.0;
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
    let share = (height - y - fixed - FOOT_PX) / weights;
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
        let histogram_px = if panel.marginal.is_empty() {
            0.0
        } else {
            marginal::WIDTH_PX
        };
        let frame = Frame {
            left: LEFT_PX,
            right: width - RIGHT_PX - histogram_px,
            top: y,
            bottom: y + share * panel.weight,
        };
        draw_panel(panel, &frame, canvas)?;
        if !panel.marginal.is_empty() {
            marginal::draw(&panel.marginal, &panel.y, &frame, width - RIGHT_PX, canvas)?;
        }
        y = frame.bottom + footing(panel);
    }
    foot(&figure.entries, LEFT_PX, height, canvas)
}

/// Draws the legend in rows and returns where it ends.
fn legend(figure: &Figure, canvas: &Canvas<'_, '_>, top: f64, width: f64) -> Result<f64> {
    const TEXT_GAP_PX: f64 = 8.0;
    const ENTRY_GAP_PX: f64 = 24.0;
    let mut shown: Vec<&str> = Vec::new();
    let (mut x, mut y) = (LEFT_PX, top);
    let mut entry = |label: &str, key_px: f64, key: &dyn Fn(f64, f64) -> Result<()>| {
        let whole = key_px + TEXT_GAP_PX + text_width(label, TEXT_PX);
        if x > LEFT_PX && x + whole > width - RIGHT_PX {
            x = LEFT_PX;
            y += TEXT_PX + 10.0;
        }
        let middle = y + TEXT_PX / 2.0;
        key(x, middle)?;
        let at = (x + key_px + TEXT_GAP_PX, middle);
        canvas.plain(label, at, TEXT_PX, Anchor(HPos::Left, VPos::Center))?;
        x += whole + ENTRY_GAP_PX;
        Ok(())
    };
    for series in figure.panels.iter().flat_map(|panel| &panel.series) {
        if series.label.is_empty() || shown.contains(&series.label.as_str()) {
            continue;
        }
        shown.push(&series.label);
        let key = |x: f64, y: f64| sample(series, canvas, x, y);
        entry(&series.label, key_width(series.look), &key)?;
    }
    let beyond = |panel: &Panel| {
        let points = panel.series.iter().flat_map(|series| {
            let points = series.points.iter();
            points.filter(|point| is_beyond(series.look, point, panel))
        });
        points.count() > 0
    };
    let any_beyond = figure.panels.iter().any(beyond);
    if any_beyond {
        let key = |x: f64, y: f64| arrow((x + 6.0, y - 5.0), true, GREY, canvas);
        entry("beyond the axis", 12.0, &key)?;
    }
    let any = any_beyond || !shown.is_empty();
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

#[cfg(test)]
mod tests {
    use super::super::axis::Axis;
    use super::super::figure::{Look, Point, Series};
    use super::*;

    fn figure(highest: f64) -> Figure {
        let mut panel = Panel::new(Axis::linear("x", 0.0, 3.0), Axis::linear("y", -2.0, 2.0));
        let points = [0.5, 1.5, 2.5]
            .map(|x| Point::with_error(x, if x == 1.5 { highest } else { x - 1.0 }, 0.1));
        panel.series = vec![Series::new("one", 1, Look::Marked, points.to_vec())];
        let mut figure = Figure::new("Title", "a subtitle", panel);
        figure.entries = "8,000 events".to_owned();
        figure
    }

    #[test]
    fn a_point_beyond_the_axis_is_an_arrow_and_no_line_leads_to_it() {
        let (inside, beyond) = (svg(&figure(1.0)).unwrap(), svg(&figure(40.0)).unwrap());
        assert!(!inside.contains("beyond the axis"));
        assert!(beyond.contains("beyond the axis"));
        // Two arrows, one in the legend, in place of one marker; the lines to the marker and its interval are gone.
        let count = |svg: &str, what: &str| svg.matches(what).count();
        assert_eq!(count(&beyond, "<polygon"), count(&inside, "<polygon") + 1);
        assert!(count(&beyond, "<polyline") + 1 < count(&inside, "<polyline"));
    }

    #[test]
    fn the_foot_names_the_version_and_the_entries() {
        let text = svg(&figure(1.0)).unwrap();
        let foot = format!(
            "nuwave {}, 8,000 events",
            crate::version::VERSION_AND_COMMIT
        );
        assert!(text.contains(&foot));
    }
}
