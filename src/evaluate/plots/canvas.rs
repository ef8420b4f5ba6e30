//! Strokes, areas and text addressed in pixels. Text is left to the viewer's sans-serif font, so no font is needed here.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::figure::{Colour, INK};
use crate::error::{Error, Result};

/// Drawing units a pixel: coordinates are whole units, and whole pixels would make lines ragged.
const UNITS: f64 = 4.0;
/// Width of a letter relative to its size, on average, for laying texts out.
pub(super) const LETTER: f64 = 0.54;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(super) fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::internal(format!("a figure could not be drawn: {error}"))
}

pub(super) fn units(pixels: f64) -> i32 {
    (pixels * UNITS).round() as i32
}

fn rgb(colour: Colour) -> RGBColor {
    RGBColor(colour.0, colour.1, colour.2)
}

pub(super) fn stroke(colour: Colour, width_px: f64, alpha: f64) -> ShapeStyle {
    ShapeStyle {
        color: rgb(colour).mix(alpha),
        filled: false,
        stroke_width: units(width_px).unsigned_abs(),
    }
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy)]
pub(super) struct Anchor(pub HPos, pub VPos);

/// A drawing area addressed in pixels.
pub(super) struct Canvas<'a, 'b> {
    pub area: &'b Area<'a>,
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
pub(super) struct Frame {
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

    pub fn holds(&self, (x, y): (f64, f64)) -> bool {
        x >= self.left - 0.5
            && x <= self.right + 0.5
            && y >= self.top - 0.5
            && y <= self.bottom + 0.5
    }
}
