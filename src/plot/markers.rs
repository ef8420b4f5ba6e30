//! Markers of points, and arrows for points beyond the axis.

use super::canvas::{Canvas, stroke};
use super::figure::{Colour, Look, Series};
use crate::error::Result;
use crate::math;

/// Draws an arrow with its point at `(x, y)`.
pub(super) fn arrow(
    (x, y): (f64, f64),
    up: bool,
    colour: Colour,
    canvas: &Canvas<'_, '_>,
) -> Result<()> {
    let length = if up { 11.0 } else { -11.0 };
    let corners = [(x, y), (x + 5.5, y + length), (x - 5.5, y + length)];
    canvas.polygon(&corners, colour, 1.0)
}

/// Draws a filled circle.
pub(super) fn disc(
    at: (f64, f64),
    radius: f64,
    colour: Colour,
    canvas: &Canvas<'_, '_>,
) -> Result<()> {
    canvas.polygon(&shape(0, at, radius), colour, 1.0)
}

/// Draws the marker of a series.
pub(super) fn marker(series: &Series, at: (f64, f64), canvas: &Canvas<'_, '_>) -> Result<()> {
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
