//! The histogram of a panel's vertical values, drawn to its right with the bars across.

use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, Frame, stroke};
use super::figure::{GREY, INK, PALETTE};
use crate::error::Result;

/// Width that a panel gives to its histogram, with the space between both.
pub(super) const WIDTH_PX: f64 = 190.0;
const GAP_PX: f64 = 14.0;
const TICK_PX: f64 = 13.0;

/// Draws the bars of `bins` (lower end, upper end, entries) between the right edge of the frame and `right_px`.
pub(super) fn draw(
    bins: &[(f64, f64, u64)],
    y: &Axis,
    frame: &Frame,
    right_px: f64,
    canvas: &Canvas<'_, '_>,
) -> Result<()> {
    let own = Frame {
        left: frame.right + GAP_PX,
        right: right_px,
        ..*frame
    };
    let most = bins.iter().map(|bin| bin.2).max().unwrap_or(0).max(1);
    let x = Axis::linear("", 0.0, 1.08 * most as f64);
    for &(low, high, n) in bins.iter().filter(|bin| bin.2 > 0) {
        let inside = |value: f64| own.y(y, value).clamp(own.top, own.bottom);
        let (low, high, end) = (inside(low), inside(high), own.x(&x, n as f64));
        let corners = [
            (own.left, low),
            (end, low),
            (end, high),
            (own.left, high),
            (own.left, low),
        ];
        canvas.polygon(&corners, PALETTE[0], 0.45)?;
        canvas.path(&corners, stroke(PALETTE[0], 0.8, 0.9))?;
    }
    let last = most as f64;
    for value in [0.0, last] {
        let at = own.x(&x, value);
        canvas.path(&[(at, own.top), (at, own.bottom)], stroke(GREY, 1.0, 0.28))?;
        let anchor = Anchor(HPos::Center, VPos::Top);
        let below = (at, own.bottom + 5.0);
        canvas.plain(&format!("{value:.0}"), below, TICK_PX, anchor)?;
    }
    canvas.path(&own.outline(), stroke(INK, 1.0, 0.8))
}
