//! An SVG canvas addressed in pixels: strokes, areas and text. Text uses the viewer's sans-serif font, so that none is
//! needed here.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::figure::{Colour, INK};
use crate::error::{Error, Result};

/// Drawing units per pixel: coordinates are whole units, and whole pixels would make lines ragged.
const UNITS: f64 = 4.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::internal(format!("a figure could not be drawn: {error}"))
}

pub(crate) fn units(pixels: f64) -> i32 {
    (pixels * UNITS).round() as i32
}

fn rgb(colour: Colour) -> RGBColor {
    RGBColor(colour.0, colour.1, colour.2)
}

pub(crate) fn stroke(colour: Colour, width_px: f64, alpha: f64) -> ShapeStyle {
    ShapeStyle {
        color: rgb(colour).mix(alpha),
        filled: false,
        stroke_width: units(width_px).unsigned_abs(),
    }
}

/// The position of a text relative to its point.
#[derive(Clone, Copy)]
pub(crate) struct Anchor(pub HPos, pub VPos);

/// Returns the SVG text of a plot that `draw` draws on a white canvas.
///
/// # Errors
/// Only on an internal error of the drawing library.
pub(crate) fn render(
    width_px: f64,
    height_px: f64,
    draw: impl FnOnce(&Canvas<'_, '_>) -> Result<()>,
) -> Result<String> {
    let size = (
        units(width_px).unsigned_abs(),
        units(height_px).unsigned_abs(),
    );
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        draw(&Canvas { area: &area })?;
        area.present().map_err(|error| failed(&error))?;
    }
    // Coordinates are in fine units; the plot is shown in pixels.
    Ok(text.replacen(
        &format!("width=\"{}\" height=\"{}\"", size.0, size.1),
        &format!("width=\"{width_px}\" height=\"{height_px}\""),
        1,
    ))
}

/// A drawing area addressed in pixels.
pub(crate) struct Canvas<'a, 'b> {
    area: &'b Area<'a>,
}

impl Canvas<'_, '_> {
    pub fn path(&self, points: &[(f64, f64)], style: ShapeStyle) -> Result<()> {
        let points: Vec<_> = points.iter().map(|&(x, y)| (units(x), units(y))).collect();
        self.area
            .draw(&PathElement::new(points, style))
            .map_err(|error| failed(&error))
    }

    pub fn polygon(&self, points: &[(f64, f64)], colour: Colour, alpha: f64) -> Result<()> {
        let points: Vec<_> = points.iter().map(|&(x, y)| (units(x), units(y))).collect();
        self.area
            .draw(&Polygon::new(points, rgb(colour).mix(alpha).filled()))
            .map_err(|error| failed(&error))
    }

    pub fn text(
        &self,
        text: &str,
        at: (f64, f64),
        size_px: f64,
        anchor: Anchor,
        look: (Colour, FontStyle, bool),
    ) -> Result<()> {
        let (colour, style, upright) = look;
        // The SVG backend divides the size by 1.24.
        let mut font = FontDesc::new(FontFamily::SansSerif, size_px * UNITS * 1.24, style);
        if !upright {
            font = font.transform(FontTransform::Rotate270);
        }
        let colour = rgb(colour);
        let style = TextStyle::from(font)
            .color(&colour)
            .pos(Pos::new(anchor.0, anchor.1));
        self.area
            .draw(&Text::new(
                text.to_owned(),
                (units(at.0), units(at.1)),
                style,
            ))
            .map_err(|error| failed(&error))
    }

    pub fn plain(&self, text: &str, at: (f64, f64), size_px: f64, anchor: Anchor) -> Result<()> {
        self.text(text, at, size_px, anchor, (INK, FontStyle::Normal, true))
    }
}

/// The rectangle of a panel, in pixels.
pub(crate) struct Frame {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

impl Frame {
    pub fn x(&self, axis: &Axis, value: f64) -> f64 {
        self.left + (self.right - self.left) * axis.place(value)
    }

    pub fn y(&self, axis: &Axis, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * axis.place(value)
    }

    /// The corners, with the first one repeated at the end.
    pub fn outline(&self) -> [(f64, f64); 5] {
        [
            (self.left, self.top),
            (self.right, self.top),
            (self.right, self.bottom),
            (self.left, self.bottom),
            (self.left, self.top),
        ]
    }

    pub fn holds(&self, (x, y): (f64, f64)) -> bool {
        x >= self.left - 0.5
            && x <= self.right + 0.5
            && y >= self.top - 0.5
            && y <= self.bottom + 0.5
    }
}
