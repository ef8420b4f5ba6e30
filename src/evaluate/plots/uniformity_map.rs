//! The map of the mean response: a coloured cell for each part of equal volume, one panel per reconstruction.

use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, VPos};

use crate::error::Result;
use crate::evaluate::events::EventResult;
use crate::evaluate::events::uniformity::Cell;
use crate::plot::axis::Axis;
use crate::plot::canvas::{Anchor, Canvas, Frame, render, stroke};
use crate::plot::colour_scale::{Scale, bar};
use crate::plot::figure::{GREY, INK};
use crate::plot::lettering::{FOOT_PX as VERSION_PX, foot, text_width, wrapped};

const WIDTH_PX: f64 = 960.0;
const LEFT_PX: f64 = 104.0;
const RIGHT_PX: f64 = 152.0;
const TITLE_PX: f64 = 23.0;
const TEXT_PX: f64 = 16.0;
const TICK_PX: f64 = 15.0;
const TOP_PX: f64 = 104.0;
const PANEL_PX: f64 = 330.0;
const HEADING_PX: f64 = 26.0;
const FOOT_PX: f64 = 70.0;

/// Returns the SVG text of the maps of `results`, with the number of `entries` at the foot.
///
/// # Errors
/// Only on an internal error of the drawing library.
pub(super) fn svg(results: &[EventResult], entries: &str) -> Result<String> {
    let height = TOP_PX + (HEADING_PX + PANEL_PX + FOOT_PX) * results.len() as f64 + VERSION_PX;
    render(WIDTH_PX, height, |canvas| {
        draw(results, canvas)?;
        foot(entries, LEFT_PX, height, canvas)
    })
}

/// Returns the mean response of the parts that have one.
fn centre(cells: &[Cell]) -> Option<f64> {
    let means: Vec<f64> = cells
        .iter()
        .filter_map(|cell| Some(cell.response?.value))
        .collect();
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    (mean > 0.0).then_some(mean)
}

/// Returns a part's response relative to `centre`, minus 1, in percent.
fn deviation(cell: &Cell, centre: f64) -> Option<f64> {
    Some(100.0 * (cell.response?.value / centre - 1.0))
}

fn draw(results: &[EventResult], canvas: &Canvas<'_, '_>) -> Result<()> {
    let top_left = Anchor(HPos::Left, VPos::Top);
    let bold = (INK, FontStyle::Bold, true);
    let title = "Uniformity of the energy scale";
    canvas.text(title, (LEFT_PX, 16.0), TITLE_PX, top_left, bold)?;
    let subtitle = "mean of found / true energy in parts of equal volume, relative to the mean of the parts; crossed: too few events";
    let grey = (GREY, FontStyle::Normal, true);
    for (line, text) in wrapped(subtitle, TICK_PX, WIDTH_PX - LEFT_PX - 28.0)
        .iter()
        .enumerate()
    {
        let at = (LEFT_PX, 47.0 + 20.0 * line as f64);
        canvas.text(text, at, TICK_PX, top_left, grey)?;
    }
    // One scale for all panels, so that they can be compared.
    let largest = results
        .iter()
        .filter_map(|result| Some((centre(&result.uniformity.cells)?, result)))
        .flat_map(|(centre, result)| {
            let cells = result.uniformity.cells.iter();
            cells.filter_map(move |cell| deviation(cell, centre))
        })
        .fold(0.05, |largest: f64, value| largest.max(value.abs()));
    let scale = Axis::linear("Deviation (%)", -largest, largest);
    for (index, result) in results.iter().enumerate() {
        let y = TOP_PX + (HEADING_PX + PANEL_PX + FOOT_PX) * index as f64;
        canvas.text(&heading(result), (LEFT_PX, y), TEXT_PX, top_left, bold)?;
        let frame = Frame {
            left: LEFT_PX,
            right: WIDTH_PX - RIGHT_PX,
            top: y + HEADING_PX,
            bottom: y + HEADING_PX + PANEL_PX,
        };
        panel(result, &scale, &frame, canvas)?;
        let bar_frame = Frame {
            left: frame.right + 20.0,
            right: frame.right + 40.0,
            ..frame
        };
        bar(Scale::Diverging, &scale, &bar_frame, canvas)?;
    }
    Ok(())
}

fn heading(result: &EventResult) -> String {
    let words = result.uniformity.all.by_cell.map_or_else(
        || "too few events".to_owned(),
        |found| {
            format!(
                "spread {:.2} \u{b1} {:.2} % (the events' scatter taken off)",
                100.0 * found.spread.value,
                100.0 * found.spread.error
            )
        },
    );
    format!("{}: {words}", result.label)
}

fn panel(result: &EventResult, scale: &Axis, frame: &Frame, canvas: &Canvas<'_, '_>) -> Result<()> {
    let volume = Axis::linear("(r / R)\u{b3}", 0.0, 1.0);
    let angle = Axis::linear("cos \u{3b8}", -1.0, 1.0);
    let cells = &result.uniformity.cells;
    let centre = centre(cells).unwrap_or(1.0);
    for cell in cells {
        let x = [cell.volume.0, cell.volume.1.min(1.0)].map(|value| frame.x(&volume, value));
        let y = [cell.cos_theta.0, cell.cos_theta.1.min(1.0)].map(|value| frame.y(&angle, value));
        let corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])];
        if let Some(deviation) = deviation(cell, centre) {
            let colour = Scale::Diverging.colour(scale.place(deviation));
            canvas.polygon(&corners, colour, 1.0)?;
        } else {
            for line in [[corners[0], corners[2]], [corners[1], corners[3]]] {
                canvas.path(&line, stroke(GREY, 1.0, 0.5))?;
            }
        }
    }
    let border = (result.binning.fiducial_mm / result.binning.radius_mm).powi(3);
    if border < 1.0 {
        let x = frame.x(&volume, border);
        canvas.path(&[(x, frame.top), (x, frame.bottom)], stroke(INK, 1.6, 0.9))?;
        let anchor = Anchor(HPos::Right, VPos::Top);
        let text = format!("fiducial, {:.2} m", 1e-3 * result.binning.fiducial_mm);
        let (right, top) = (x - 6.0, frame.top + 6.0);
        let (left, bottom) = (
            right - text_width(&text, TICK_PX) - 10.0,
            top + TICK_PX + 5.0,
        );
        let corners = [(left, top), (right, top), (right, bottom), (left, bottom)];
        canvas.polygon(&corners, (255, 255, 255), 0.9)?;
        canvas.plain(&text, (right - 4.0, top + 2.0), TICK_PX, anchor)?;
    }
    for tick in volume.ticks(6) {
        let x = frame.x(&volume, tick.value);
        let line = [(x, frame.bottom), (x, frame.bottom + 5.0)];
        canvas.path(&line, stroke(INK, 1.0, 1.0))?;
        let anchor = Anchor(HPos::Center, VPos::Top);
        canvas.plain(&tick.label, (x, frame.bottom + 8.0), TICK_PX, anchor)?;
    }
    for tick in angle.ticks(5) {
        let y = frame.y(&angle, tick.value);
        canvas.path(
            &[(frame.left - 5.0, y), (frame.left, y)],
            stroke(INK, 1.0, 1.0),
        )?;
        let anchor = Anchor(HPos::Right, VPos::Center);
        canvas.plain(&tick.label, (frame.left - 9.0, y), TICK_PX, anchor)?;
    }
    canvas.path(&frame.outline(), stroke(INK, 1.3, 1.0))?;
    let middle = f64::midpoint(frame.left, frame.right);
    let anchor = Anchor(HPos::Center, VPos::Top);
    canvas.plain(
        &volume.title,
        (middle, frame.bottom + 32.0),
        TEXT_PX,
        anchor,
    )?;
    canvas.text(
        &angle.title,
        (40.0, f64::midpoint(frame.top, frame.bottom)),
        TEXT_PX,
        Anchor(HPos::Center, VPos::Center),
        (INK, FontStyle::Normal, false),
    )
}
