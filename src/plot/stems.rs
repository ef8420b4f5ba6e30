//! Stems with their labels, none of which lies on another or on a stem.

use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Anchor, Canvas, Frame, stroke};
use super::figure::Series;
use super::lettering::text_width;
use super::markers::disc;
use crate::error::Result;

const LABEL_PX: f64 = 13.0;
/// Space from a head to the label above it, and to a row of labels that are moved aside.
const ABOVE_PX: f64 = 6.0;
const ROW_PX: f64 = 16.0;

/// A label: the place of its head, its own middle, and the lower edge of its text.
#[derive(Clone, Debug, PartialEq)]
struct Label<'a> {
    text: &'a str,
    head: (f64, f64),
    middle: f64,
    bottom: f64,
    width: f64,
}

/// Draws a line from `foot` to each point, with a head and the text of the series.
pub(super) fn draw(
    series: &Series,
    points: &[(f64, f64)],
    frame: &Frame,
    canvas: &Canvas<'_, '_>,
    foot: f64,
) -> Result<()> {
    let foot = foot.clamp(frame.top, frame.bottom);
    let inside = |x: f64| x >= frame.left && x <= frame.right;
    let heads: Vec<(f64, f64)> = points
        .iter()
        .map(|&(x, y)| (x, y.clamp(frame.top, frame.bottom)))
        .collect();
    for &(x, y) in heads.iter().filter(|head| inside(head.0)) {
        canvas.path(&[(x, foot), (x, y)], stroke(series.colour, 2.0, 0.9))?;
        disc((x, y), 3.6, series.colour, canvas)?;
    }
    let named: Vec<_> = heads
        .into_iter()
        .zip(&series.texts)
        .filter(|(head, text)| inside(head.0) && !text.is_empty())
        .map(|(head, text)| (head, text.as_str()))
        .collect();
    for label in placed(&named, frame) {
        let (x, y) = label.head;
        let is_moved = (label.middle - x).abs() > 1.0 || y - label.bottom > ABOVE_PX + 1.0;
        if is_moved {
            let leader = [(label.middle, label.bottom + 1.0), (x, y - 3.6)];
            canvas.path(&leader, stroke(series.colour, 1.0, 0.6))?;
        }
        let at = (label.middle, label.bottom);
        let look = (series.colour, FontStyle::Normal, true);
        let anchor = Anchor(HPos::Center, VPos::Bottom);
        canvas.text(label.text, at, LABEL_PX, anchor, look)?;
    }
    Ok(())
}

/// Places a label above each head; labels that would overlap are put side by side in the order of their heads, above the
/// highest of these heads.
fn placed<'a>(named: &[((f64, f64), &'a str)], frame: &Frame) -> Vec<Label<'a>> {
    let mut sorted = named.to_vec();
    sorted.sort_by(|a, b| a.0.0.total_cmp(&b.0.0));
    let mut rows: Vec<Vec<Label<'a>>> = Vec::new();
    for (head, text) in sorted {
        let mut row = vec![Label {
            text,
            head,
            middle: head.0,
            bottom: head.1 - ABOVE_PX,
            width: text_width(text, LABEL_PX) + 8.0,
        }];
        spread(&mut row, frame);
        while let Some(last) = rows.last() {
            if end(last) <= begin(&row) {
                break;
            }
            let mut joined = rows.pop().unwrap_or_default();
            joined.append(&mut row);
            row = joined;
            spread(&mut row, frame);
        }
        rows.push(row);
    }
    rows.into_iter().flatten().collect()
}

fn begin(row: &[Label<'_>]) -> f64 {
    row.first()
        .map_or(0.0, |label| label.middle - label.width / 2.0)
}

fn end(row: &[Label<'_>]) -> f64 {
    row.last()
        .map_or(0.0, |label| label.middle + label.width / 2.0)
}

/// Puts the labels of a row side by side, their middle at that of their heads, within the frame.
fn spread(row: &mut [Label<'_>], frame: &Frame) {
    let width: f64 = row.iter().map(|label| label.width).sum();
    let middle = row.iter().map(|label| label.head.0).sum::<f64>() / row.len().max(1) as f64;
    let mut x = (middle - width / 2.0)
        .min(frame.right - width)
        .max(frame.left);
    let highest = row
        .iter()
        .map(|label| label.head.1)
        .fold(f64::INFINITY, f64::min);
    let above = if row.len() > 1 { ROW_PX } else { ABOVE_PX };
    for label in row {
        label.middle = x + label.width / 2.0;
        label.bottom = (highest - above).max(frame.top + LABEL_PX + 2.0);
        x += label.width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_close_hits_stand_side_by_side() {
        let frame = Frame {
            left: 100.0,
            right: 1000.0,
            top: 50.0,
            bottom: 250.0,
        };
        let heads = [
            (101.0, 90.0),
            (400.0, 80.0),
            (401.5, 82.0),
            (404.0, 200.0),
            (430.0, 150.0),
        ];
        let named: Vec<_> = heads.iter().map(|&head| (head, "12.02")).collect();
        let labels = placed(&named, &frame);
        assert_eq!(labels.len(), heads.len(), "none is left out");
        for pair in labels.windows(2) {
            let right = pair[0].middle + pair[0].width / 2.0;
            assert!(
                right <= pair[1].middle - pair[1].width / 2.0 + 1e-9,
                "{pair:?}"
            );
        }
        for label in &labels {
            let (left, right) = (
                label.middle - label.width / 2.0,
                label.middle + label.width / 2.0,
            );
            assert!(left >= frame.left - 1e-9 && right <= frame.right + 1e-9);
            // No stem passes through a text.
            for head in heads.iter().filter(|head| head.0 > left && head.0 < right) {
                assert!(head.1 > label.bottom, "{label:?} {head:?}");
            }
        }
        // A label with room is right above its head.
        let alone = placed(&[((600.0, 90.0), "0.63")], &frame);
        assert_eq!((alone[0].middle, alone[0].bottom), (600.0, 84.0));
    }
}
