//! Colour scales, readable with colour vision deficiency, and the colour bar.

use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, Frame, stroke};
use super::figure::{Colour, INK};
use crate::error::Result;

/// Number of different colours of a scale.
pub(crate) const STEPS: usize = 64;
const TICK_PX: f64 = 15.0;

/// A scale of colours from 0 to 1, linear between its corners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// From dark to light: viridis (S. van der Walt and N. Smith, CC0) up to a green that is visible on white.
    Viridis,
    /// The same from light to dark.
    ViridisReversed,
    /// From blue through white to orange.
    Diverging,
}

const VIRIDIS: [Colour; 8] = [
    (68, 1, 84),
    (71, 45, 123),
    (59, 82, 139),
    (44, 114, 142),
    (33, 145, 140),
    (40, 174, 128),
    (94, 201, 98),
    (150, 196, 30),
];
const DIVERGING: [Colour; 5] = [
    (0, 76, 130),
    (86, 160, 205),
    (247, 247, 247),
    (232, 150, 80),
    (170, 70, 0),
];

impl Scale {
    /// Returns the colour of `place`, from 0 to 1; values outside have the colour of the end.
    pub fn colour(self, place: f64) -> Colour {
        let corners: &[Colour] = match self {
            Self::Viridis | Self::ViridisReversed => &VIRIDIS,
            Self::Diverging => &DIVERGING,
        };
        let place = place.clamp(0.0, 1.0);
        let place = if self == Self::ViridisReversed {
            1.0 - place
        } else {
            place
        };
        let along = place * (corners.len() - 1) as f64;
        let corner = |k: f64| corners[(k as usize).min(corners.len() - 1)];
        let (low, high) = (corner(along.floor()), corner(along.ceil()));
        let mixed = |a: u8, b: u8| {
            (f64::from(a) + (f64::from(b) - f64::from(a)) * along.fract()).round() as u8
        };
        (
            mixed(low.0, high.0),
            mixed(low.1, high.1),
            mixed(low.2, high.2),
        )
    }
}

/// Draws a vertical colour bar in `frame` with the values of `axis`.
pub(crate) fn bar(scale: Scale, axis: &Axis, frame: &Frame, canvas: &Canvas<'_, '_>) -> Result<()> {
    let Frame {
        left,
        right,
        top,
        bottom,
    } = *frame;
    for step in 0..STEPS {
        let at = |step: usize| bottom - (bottom - top) * step as f64 / STEPS as f64;
        // Each step overlaps the next, so that no gap is visible.
        let (low, high) = (at(step), (at(step + 1) - 0.5).max(top));
        let corners = [(left, low), (right, low), (right, high), (left, high)];
        let place = (step as f64 + 0.5) / STEPS as f64;
        canvas.polygon(&corners, scale.colour(place), 1.0)?;
    }
    canvas.path(&frame.outline(), stroke(INK, 1.0, 1.0))?;
    for tick in axis.ticks((((bottom - top) / 45.0) as usize).max(2)) {
        let y = frame.y(axis, tick.value);
        let length = if tick.label.is_empty() { 3.0 } else { 6.0 };
        canvas.path(&[(right, y), (right + length, y)], stroke(INK, 1.0, 1.0))?;
        let anchor = Anchor(HPos::Left, VPos::Center);
        canvas.plain(&tick.label, (right + 10.0, y), TICK_PX, anchor)?;
    }
    canvas.text(
        &axis.title,
        (right + 66.0, f64::midpoint(top, bottom)),
        TICK_PX,
        Anchor(HPos::Center, VPos::Center),
        (INK, FontStyle::Normal, false),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math;

    #[test]
    fn a_scale_ends_at_its_corners() {
        assert_eq!(Scale::Viridis.colour(0.0), VIRIDIS[0]);
        assert_eq!(Scale::Viridis.colour(7.0), VIRIDIS[7]);
        assert_eq!(Scale::ViridisReversed.colour(0.0), VIRIDIS[7]);
        assert_eq!(Scale::Diverging.colour(0.5), DIVERGING[2]);
    }

    #[test]
    fn every_colour_of_the_dots_is_visible_on_white() {
        // Relative luminance, weights of sRGB.
        let channel = |value: u8| math::powf(f64::from(value) / 255.0, 2.2);
        for step in 0..=STEPS {
            let (red, green, blue) = Scale::Viridis.colour(step as f64 / STEPS as f64);
            let luminance =
                0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
            let contrast = 1.05 / (luminance + 0.05);
            assert!(contrast > 1.9, "{step}: {contrast}");
        }
    }
}
