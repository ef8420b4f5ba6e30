//! Dot plot: named values with intervals on a common logarithmic scale, in groups.

use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, Frame, render, stroke};
use super::figure::{Colour, GREY, INK};
use super::lettering::text_width;
use crate::error::Result;
use crate::math;

const WIDTH_PX: f64 = 1040.0;
const LEFT_PX: f64 = 268.0;
const RIGHT_PX: f64 = 40.0;
const TITLE_PX: f64 = 23.0;
const TEXT_PX: f64 = 16.0;
const TICK_PX: f64 = 15.0;
const ROW_PX: f64 = 27.0;
const HEADING_PX: f64 = 34.0;
const TOP_PX: f64 = 118.0;
const BOTTOM_PX: f64 = 66.0;

/// A value with a name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dot {
    /// Name of the value.
    pub label: String,
    /// Colour.
    pub colour: Colour,
    /// The value, positive.
    pub value: f64,
    /// Lower and upper end of its interval.
    pub interval: (f64, f64),
    /// Text next to the dot.
    pub text: String,
}

/// Values that belong together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    /// Text above the values.
    pub heading: String,
    /// The values, top to bottom.
    pub dots: Vec<Dot>,
}

/// The plot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dots {
    /// Title.
    pub title: String,
    /// The lines below the title.
    pub subtitle: Vec<String>,
    /// Title of the axis.
    pub axis: String,
    /// The groups, top to bottom.
    pub groups: Vec<Group>,
    /// A reference value and its name.
    pub mark: Option<(f64, String)>,
}

/// Returns the SVG text of `dots`.
///
/// # Errors
/// Only on an internal error of the drawing library.
pub(crate) fn svg(dots: &Dots) -> Result<String> {
    let rows: usize = dots.groups.iter().map(|group| group.dots.len()).sum();
    let height = TOP_PX
        + TICK_PX * dots.subtitle.len() as f64
        + HEADING_PX * dots.groups.len() as f64
        + ROW_PX * rows as f64
        + 10.0
        + BOTTOM_PX;
    render(WIDTH_PX, height, |canvas| draw(dots, height, canvas))
}

/// An axis over all values, their intervals and the mark, with room for the texts to the right.
fn axis(dots: &Dots) -> Axis {
    let all = dots.groups.iter().flat_map(|group| &group.dots);
    let values = all
        .flat_map(|dot| [dot.value, dot.interval.0, dot.interval.1])
        .chain(dots.mark.as_ref().map(|(value, _)| *value))
        .filter(|value| value.is_finite() && *value > 0.0);
    let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let (low, high) = if low <= high {
        (low, high)
    } else {
        (1.0, 10.0)
    };
    Axis::logarithmic(dots.axis.clone(), low / 1.8, high * 3.2)
}

fn draw(dots: &Dots, height: f64, canvas: &Canvas<'_, '_>) -> Result<()> {
    let bold = (INK, FontStyle::Bold, true);
    let top_left = Anchor(HPos::Left, VPos::Top);
    canvas.text(&dots.title, (28.0, 16.0), TITLE_PX, top_left, bold)?;
    for (line, text) in dots.subtitle.iter().enumerate() {
        let at = (28.0, 16.0 + TITLE_PX + 8.0 + 20.0 * line as f64);
        canvas.text(text, at, TICK_PX, top_left, (GREY, FontStyle::Normal, true))?;
    }
    let axis = axis(dots);
    let frame = Frame {
        left: LEFT_PX,
        right: WIDTH_PX - RIGHT_PX,
        top: TOP_PX + TICK_PX * dots.subtitle.len() as f64 - 10.0,
        bottom: height - BOTTOM_PX,
    };
    draw_scale(&axis, &frame, canvas)?;
    if let Some((value, name)) = &dots.mark {
        let x = frame.x(&axis, *value);
        let line = [(x, frame.top - 4.0), (x, frame.bottom)];
        canvas.path(&line, stroke(INK, 1.6, 0.85))?;
        let anchor = Anchor(HPos::Center, VPos::Bottom);
        canvas.plain(name, (x, frame.top - 9.0), TICK_PX, anchor)?;
    }
    let mut y = frame.top + 6.0;
    for group in &dots.groups {
        let middle = y + HEADING_PX / 2.0;
        let width = 1.1 * text_width(&group.heading, TEXT_PX);
        draw_background((28.0, middle), width, canvas)?;
        canvas.text(
            &group.heading,
            (28.0, middle),
            TEXT_PX,
            Anchor(HPos::Left, VPos::Center),
            bold,
        )?;
        y += HEADING_PX;
        for dot in &group.dots {
            draw_dot(dot, y + ROW_PX / 2.0, &axis, &frame, canvas)?;
            y += ROW_PX;
        }
    }
    Ok(())
}

fn draw_scale(axis: &Axis, frame: &Frame, canvas: &Canvas<'_, '_>) -> Result<()> {
    let (left, right, top, bottom) = (frame.left, frame.right, frame.top, frame.bottom);
    for tick in axis.ticks(8) {
        let x = frame.x(axis, tick.value);
        let labelled = !tick.label.is_empty();
        let style = stroke(GREY, 1.0, if labelled { 0.32 } else { 0.11 });
        canvas.path(&[(x, top), (x, bottom)], style)?;
        if labelled {
            let anchor = Anchor(HPos::Center, VPos::Top);
            canvas.plain(&short(tick.value), (x, bottom + 8.0), TICK_PX, anchor)?;
        }
    }
    canvas.path(&[(left, bottom), (right, bottom)], stroke(INK, 1.3, 1.0))?;
    let at = (f64::midpoint(left, right), bottom + 34.0);
    canvas.plain(&axis.title, at, TEXT_PX, Anchor(HPos::Center, VPos::Top))
}

fn draw_dot(dot: &Dot, y: f64, axis: &Axis, frame: &Frame, canvas: &Canvas<'_, '_>) -> Result<()> {
    let place = |value: f64| frame.x(axis, value).clamp(frame.left, frame.right);
    canvas.plain(
        &dot.label,
        (frame.left - 14.0, y),
        TICK_PX,
        Anchor(HPos::Right, VPos::Center),
    )?;
    if !(dot.value.is_finite() && dot.value > 0.0) {
        return Ok(());
    }
    let x = place(dot.value);
    canvas.path(&[(frame.left, y), (x, y)], stroke(dot.colour, 1.6, 0.35))?;
    let (low, high) = (place(dot.interval.0), place(dot.interval.1));
    canvas.path(&[(low, y), (high, y)], stroke(dot.colour, 4.0, 0.55))?;
    for end in [low, high] {
        let tick = [(end, y - 5.0), (end, y + 5.0)];
        canvas.path(&tick, stroke(dot.colour, 1.6, 0.9))?;
    }
    let disc: Vec<(f64, f64)> = (0..24)
        .map(|corner| {
            let angle = std::f64::consts::TAU * f64::from(corner) / 24.0;
            (x + 6.0 * math::cos(angle), y + 6.0 * math::sin(angle))
        })
        .collect();
    canvas.polygon(&disc, dot.colour, 1.0)?;
    let from = high.max(x) + 12.0;
    let width = text_width(&dot.text, TICK_PX);
    draw_background((from, y), width, canvas)?;
    canvas.plain(
        &dot.text,
        (from, y),
        TICK_PX,
        Anchor(HPos::Left, VPos::Center),
    )
}

/// Draws a white background for a text that begins at `(x, y)`, which may lie on a line of the scale.
fn draw_background((x, y): (f64, f64), width: f64, canvas: &Canvas<'_, '_>) -> Result<()> {
    let (left, right) = (x - 2.0, x + width + 2.0);
    let (top, bottom) = (y - 9.0, y + 9.0);
    let corners = [(left, top), (right, top), (right, bottom), (left, bottom)];
    canvas.polygon(&corners, (255, 255, 255), 0.9)
}

/// Returns a rounded number with the prefix `k`, `M` or `G`.
pub(crate) fn short(value: f64) -> String {
    let (factor, unit) = match value {
        value if value >= 0.9995e9 => (1e9, " G"),
        value if value >= 0.9995e6 => (1e6, " M"),
        value if value >= 0.9995e3 => (1e3, " k"),
        _ => (1.0, ""),
    };
    let scaled = value / factor;
    let decimals = match scaled {
        scaled if (scaled - scaled.round()).abs() < 1e-6 * scaled || scaled >= 99.95 => 0,
        scaled if scaled >= 9.995 => 1,
        _ => 2,
    };
    format!("{scaled:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (20.0, "20"),
            (500e3, "500 k"),
            (17.612e6, "17.6 M"),
            (1.234e6, "1.23 M"),
            (999_990.0, "1.00 M"),
            (2e9, "2 G"),
            (0.5, "0.50"),
        ] {
            assert_eq!(short(value), expected);
        }
    }

    #[test]
    fn a_picture_names_every_value_and_the_mark() {
        let dot = |label: &str, value: f64| Dot {
            label: label.to_owned(),
            colour: INK,
            value,
            interval: (0.9 * value, 1.1 * value),
            text: short(value),
        };
        let dots = Dots {
            title: "Title".to_owned(),
            subtitle: vec!["below".to_owned()],
            axis: "waveforms per second".to_owned(),
            groups: vec![Group {
                heading: "heading".to_owned(),
                dots: vec![dot("one", 3e5), dot("nothing", 0.0), dot("two", 4e7)],
            }],
            mark: Some((1.76e7, "the mark".to_owned())),
        };
        let text = svg(&dots).expect("drawn");
        for expected in [
            "Title", "below", "heading", "one", "nothing", "40 M", "the mark", "1 M",
        ] {
            assert!(text.contains(expected), "{expected}");
        }
    }
}
