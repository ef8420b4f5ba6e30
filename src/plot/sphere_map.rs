//! The map of a sphere in Hammer's projection: its place in a picture, its grid, and marks on it.

use std::f64::consts::{PI, SQRT_2};

use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Anchor, Canvas, stroke};
use super::figure::{INK, PALETTE};
use super::hammer_projection::hammer;
use crate::error::Result;
use crate::math;

/// Left edge of the map.
pub(super) const LEFT_PX: f64 = 40.0;
/// Size of the map, twice as wide as high.
pub(super) const MAP_PX: (f64, f64) = (920.0, 460.0);
const SMALL_PX: f64 = 15.0;

/// Returns the pixel of a projected direction on the map with its top at `top`.
pub(super) fn pixel((x, y): (f64, f64), top: f64) -> (f64, f64) {
    (
        LEFT_PX + MAP_PX.0 / 2.0 * (1.0 + x),
        top + MAP_PX.1 / 2.0 * (1.0 - y),
    )
}

/// Draws the edge of a map with its meridians and parallels, and the labels of the axes.
pub(super) fn outline(top: f64, canvas: &Canvas<'_, '_>) -> Result<()> {
    let direction = |longitude: f64, latitude: f64| {
        let (sin, cos) = math::sin_cos(latitude);
        [cos * math::cos(longitude), cos * math::sin(longitude), sin]
    };
    let line = |points: &mut dyn Iterator<Item = (f64, f64)>, alpha: f64| {
        let points: Vec<_> = points
            .filter_map(|(longitude, latitude)| hammer(direction(longitude, latitude)))
            .map(|place| pixel(place, top))
            .collect();
        canvas.path(&points, stroke(INK, 1.0, alpha))
    };
    // Short of 180 degrees, where a longitude changes its sign.
    let longest = PI * (1.0 - 1e-9);
    for meridian in -2..=2 {
        let longitude = f64::from(meridian) * PI / 3.0;
        line(
            &mut (-45..=45).map(|k| (longitude, f64::from(k) * PI / 90.0)),
            0.22,
        )?;
    }
    for parallel in -2..=2 {
        let latitude = f64::from(parallel) * PI / 6.0;
        line(
            &mut (-60..=60).map(|k| (f64::from(k) / 60.0 * longest, latitude)),
            0.22,
        )?;
    }
    let edge: Vec<_> = (0..=180)
        .map(|k| math::sin_cos(f64::from(k) * PI / 90.0))
        .map(|(sin, cos)| pixel((cos, sin), top))
        .collect();
    canvas.path(&edge, stroke(INK, 1.3, 0.9))?;
    let (middle, bottom) = (LEFT_PX + MAP_PX.0 / 2.0, top + MAP_PX.1);
    let above = Anchor(HPos::Left, VPos::Bottom);
    canvas.plain("+z", (middle + 40.0, top + 1.0), SMALL_PX, above)?;
    let below = Anchor(HPos::Left, VPos::Top);
    canvas.plain("\u{2212}z", (middle + 40.0, bottom + 1.0), SMALL_PX, below)?;
    let centred = Anchor(HPos::Center, VPos::Center);
    for (name, position) in [
        ("+x", [1.0, 0.0, 0.0]),
        ("+y", [0.0, 1.0, 0.0]),
        ("\u{2212}y", [0.0, -1.0, 0.0]),
    ] {
        if let Some(place) = hammer(position) {
            let at = pixel(place, top);
            canvas.polygon(&circle(at, 11.0), (255, 255, 255), 0.75)?;
            canvas.plain(name, at, SMALL_PX, centred)?;
        }
    }
    Ok(())
}

/// Returns the corners of a circle.
pub(super) fn circle((x, y): (f64, f64), radius: f64) -> Vec<(f64, f64)> {
    (0..=32)
        .map(|k| math::sin_cos(f64::from(k) * PI / 16.0))
        .map(|(sin, cos)| (x + radius * cos, y + radius * sin))
        .collect()
}

/// A cross with a light outline, visible on any background.
pub(super) fn cross((x, y): (f64, f64), canvas: &Canvas<'_, '_>) -> Result<()> {
    let arm = 9.0 / SQRT_2;
    let lines = [
        [(x - arm, y - arm), (x + arm, y + arm)],
        [(x - arm, y + arm), (x + arm, y - arm)],
    ];
    for (colour, width) in [((255, 255, 255), 7.0), (PALETTE[1], 3.4)] {
        for line in &lines {
            canvas.path(line, stroke(colour, width, 1.0))?;
        }
    }
    Ok(())
}

/// A ring with a light outline.
pub(super) fn ring(at: (f64, f64), canvas: &Canvas<'_, '_>) -> Result<()> {
    let points = circle(at, 10.5);
    for (colour, width) in [((255, 255, 255), 6.4), (PALETTE[3], 3.0)] {
        canvas.path(&points, stroke(colour, width, 1.0))?;
    }
    Ok(())
}
