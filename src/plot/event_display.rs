//! Event display: the sphere of PMTs on a plane, coloured by charge and by the time of the first hit.

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::fmt::Write as _;

use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, Frame, render, units};
use super::colour_scale::{STEPS, Scale, bar};
use super::figure::{Colour, GREY, INK};
use super::hammer_projection::hammer;
use super::lettering::{FOOT_PX, foot, text_width, wrapped};
use super::sphere_map::{LEFT_PX, MAP_PX, circle, cross, outline, pixel, ring};
use crate::error::{Error, Result};

const WIDTH_PX: f64 = 1120.0;
const TITLE_PX: f64 = 23.0;
const TEXT_PX: f64 = 16.0;
const SMALL_PX: f64 = 15.0;
const TOP_PX: f64 = 118.0;
const HEADING_PX: f64 = 30.0;
const GAP_PX: f64 = 28.0;
const LINE_PX: f64 = 23.0;
/// A PMT without a hit.
const UNLIT: Colour = (205, 205, 205);
/// Charges that differ by more than this factor have a logarithmic scale.
const MAX_LINEAR_RATIO: f64 = 30.0;
/// Share of the first hits that the scale of time holds: dark hits before and after the event would take most of it.
const TIME_SCALE_SHARE: f64 = 0.70;

/// One PMT.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DisplaySensor {
    /// Position; the origin is the centre.
    pub position_mm: [f64; 3],
    /// Charge of its hits.
    pub charge_pe: f64,
    /// Time of its first hit; `None` without one.
    pub first_ns: Option<f64>,
}

/// One event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventDisplay {
    /// Title.
    pub title: String,
    /// The line below the title.
    pub subtitle: String,
    /// All PMTs.
    pub sensors: Vec<DisplaySensor>,
    /// The reconstructed vertex, if there is one.
    pub found_mm: Option<[f64; 3]>,
    /// The true vertex, if it is known.
    pub true_mm: Option<[f64; 3]>,
    /// The lines below the maps.
    pub caption: Vec<String>,
}

/// Returns the SVG text of the display of an event.
///
/// # Errors
/// Only on an internal error of the drawing library.
pub fn event_svg(event: &EventDisplay) -> Result<String> {
    let panels = [Panel::charge(&event.sensors), Panel::time(&event.sensors)];
    let height = TOP_PX
        + 2.0 * (HEADING_PX + MAP_PX.1 + GAP_PX)
        + LINE_PX * event.caption.len() as f64
        + FOOT_PX
        + 14.0;
    let mut text = render(WIDTH_PX, height, |canvas| {
        draw(event, &panels, height, canvas)
    })?;
    // The dots are drawn below everything except the background, which is the first rectangle.
    let background = text
        .find("<rect")
        .and_then(|begin| Some(begin + text.get(begin..)?.find("/>")? + 2))
        .ok_or_else(|| Error::internal("a figure has no background"))?;
    let mut dots = String::new();
    for (place, panel) in panels.iter().enumerate() {
        panel.append_dots(&event.sensors, top_of(place), &mut dots);
    }
    text.insert_str(background, &dots);
    Ok(text)
}

/// Returns the top of the map of panel `place`.
fn top_of(place: usize) -> f64 {
    TOP_PX + HEADING_PX + place as f64 * (HEADING_PX + MAP_PX.1 + GAP_PX)
}

/// One of the two maps: its quantity and its colours.
struct Panel {
    heading: String,
    axis: Axis,
    scale: Scale,
    value: fn(&DisplaySensor) -> Option<f64>,
    /// True if the largest values are drawn last, on top.
    largest_on_top: bool,
}

impl Panel {
    fn charge(sensors: &[DisplaySensor]) -> Self {
        let value = |sensor: &DisplaySensor| sensor.first_ns.map(|_| sensor.charge_pe);
        let charges: Vec<f64> = sensors.iter().filter_map(value).collect();
        let lowest = charges.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = charges.iter().copied().fold(0.0, f64::max);
        let highest = if highest > 0.0 { highest } else { 1.0 };
        let title = "Charge (PE)";
        // Tiny charges must not determine the scale.
        let floor = lowest.max(0.1);
        let axis = if lowest.is_finite() && highest > MAX_LINEAR_RATIO * floor {
            Axis::logarithmic(title, floor, highest)
        } else {
            Axis::linear(title, 0.0, highest)
        };
        Self {
            heading: "Charge".to_owned(),
            axis,
            scale: Scale::ViridisReversed,
            value,
            largest_on_top: true,
        }
    }

    fn time(sensors: &[DisplaySensor]) -> Self {
        let mut times: Vec<f64> = sensors
            .iter()
            .filter_map(|sensor| sensor.first_ns)
            .collect();
        times.sort_by(f64::total_cmp);
        let (low, high) = densest(&times, TIME_SCALE_SHARE).unwrap_or((0.0, 1.0));
        Self {
            heading: "Time of the first hit (earlier and later hits: colours of the ends)"
                .to_owned(),
            axis: Axis::linear("First hit (ns)", low, high),
            scale: Scale::Viridis,
            value: |sensor| sensor.first_ns,
            largest_on_top: false,
        }
    }

    /// Appends one dot per PMT, grouped by colour: plotters' own circles would be three times as long.
    fn append_dots(&self, sensors: &[DisplaySensor], top: f64, text: &mut String) {
        let radius = dot_radius_px(sensors.len());
        let mut by_step: BTreeMap<Option<usize>, Vec<(f64, f64)>> = BTreeMap::new();
        for sensor in sensors {
            let Some(place) = hammer(sensor.position_mm) else {
                continue;
            };
            let step = (self.value)(sensor).map(|value| {
                let along = (self.axis.place(value) * STEPS as f64).clamp(0.0, STEPS as f64 - 1.0);
                along as usize
            });
            by_step.entry(step).or_default().push(pixel(place, top));
        }
        // PMTs without a hit come first, below all others.
        let dark = by_step.remove(&None).unwrap_or_default();
        group(text, UNLIT, &dark, 0.62 * radius);
        let mut lit: Vec<_> = by_step.into_iter().collect();
        if !self.largest_on_top {
            lit.reverse();
        }
        for (step, dots) in &lit {
            let place = (step.unwrap_or(0) as f64 + 0.5) / STEPS as f64;
            group(text, self.scale.colour(place), dots, radius);
        }
    }
}

/// The shortest range that holds `share` of ascending `sorted`.
fn densest(sorted: &[f64], share: f64) -> Option<(f64, f64)> {
    let within = ((share * sorted.len() as f64).ceil() as usize).max(1);
    let ranges = sorted.windows(within);
    ranges
        .filter_map(|range| Some((*range.first()?, *range.last()?)))
        .min_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0)))
}

/// Returns the radius of a dot for which neighbours nearly touch.
fn dot_radius_px(n: usize) -> f64 {
    let area = PI / 4.0 * MAP_PX.0 * MAP_PX.1 / n.max(1) as f64;
    (0.46 * area.sqrt()).clamp(1.2, 11.0)
}

fn group(text: &mut String, colour: Colour, dots: &[(f64, f64)], radius_px: f64) {
    if dots.is_empty() {
        return;
    }
    let (red, green, blue) = colour;
    // Writing to a `String` cannot fail.
    let _ = write!(text, "\n<g fill=\"#{red:02x}{green:02x}{blue:02x}\">");
    for &(x, y) in dots {
        let (x, y, radius) = (units(x), units(y), units(radius_px));
        let _ = write!(text, "\n<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>");
    }
    text.push_str("\n</g>");
}

fn draw(
    event: &EventDisplay,
    panels: &[Panel; 2],
    height: f64,
    canvas: &Canvas<'_, '_>,
) -> Result<()> {
    let top_left = Anchor(HPos::Left, VPos::Top);
    let bold = (INK, FontStyle::Bold, true);
    let grey = (GREY, FontStyle::Normal, true);
    canvas.text(&event.title, (LEFT_PX, 16.0), TITLE_PX, top_left, bold)?;
    for (line, text) in wrapped(&event.subtitle, SMALL_PX, WIDTH_PX - 2.0 * LEFT_PX)
        .iter()
        .enumerate()
    {
        let at = (LEFT_PX, 46.0 + 18.0 * line as f64);
        canvas.text(text, at, SMALL_PX, top_left, grey)?;
    }
    key(event, canvas)?;
    for (place, panel) in panels.iter().enumerate() {
        let top = top_of(place);
        let at = (LEFT_PX, top - HEADING_PX);
        canvas.text(&panel.heading, at, TEXT_PX, top_left, bold)?;
        outline(top, canvas)?;
        if let Some(at) = event.true_mm.and_then(hammer) {
            ring(pixel(at, top), canvas)?;
        }
        if let Some(at) = event.found_mm.and_then(hammer) {
            cross(pixel(at, top), canvas)?;
        }
        let left = LEFT_PX + MAP_PX.0 + 32.0;
        let bar_frame = Frame {
            left,
            right: left + 20.0,
            top: top + 0.12 * MAP_PX.1,
            bottom: top + 0.88 * MAP_PX.1,
        };
        bar(panel.scale, &panel.axis, &bar_frame, canvas)?;
    }
    for (line, text) in event.caption.iter().enumerate() {
        let below = height - FOOT_PX - 14.0 - LINE_PX * (event.caption.len() - line) as f64;
        canvas.plain(text, (LEFT_PX, below), TEXT_PX, top_left)?;
    }
    foot("1 event", LEFT_PX, height, canvas)
}

/// Draws the legend of dots and marks in one line.
fn key(event: &EventDisplay, canvas: &Canvas<'_, '_>) -> Result<()> {
    let y = 92.0;
    let radius = dot_radius_px(event.sensors.len()).clamp(3.0, 6.0);
    let mut x = LEFT_PX;
    let mut entry = |text: &str, mark: &dyn Fn((f64, f64)) -> Result<()>| -> Result<()> {
        mark((x + 8.0, y))?;
        canvas.plain(
            text,
            (x + 26.0, y),
            SMALL_PX,
            Anchor(HPos::Left, VPos::Center),
        )?;
        x += 26.0 + text_width(text, SMALL_PX) + 24.0;
        Ok(())
    };
    entry("PMT without a hit", &|at| {
        canvas.polygon(&circle(at, radius), UNLIT, 1.0)
    })?;
    if event.found_mm.and_then(hammer).is_some() {
        entry("direction of the reconstructed vertex", &|at| {
            cross(at, canvas)
        })?;
    }
    if event.true_mm.and_then(hammer).is_some() {
        entry("direction of the true vertex", &|at| ring(at, canvas))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_of_time_is_where_the_hits_are() {
        let mut times: Vec<f64> = (0..70).map(|k| 300.0 + 0.1 * f64::from(k)).collect();
        times.extend((0..30).map(|k| 31.0 * f64::from(k)));
        times.sort_by(f64::total_cmp);
        let (low, high) = densest(&times, TIME_SCALE_SHARE).unwrap();
        assert!(low >= 300.0 && high <= 310.0, "{low} {high}");
        assert_eq!(densest(&[4.0], TIME_SCALE_SHARE), Some((4.0, 4.0)));
        assert_eq!(densest(&[], TIME_SCALE_SHARE), None);
    }

    #[test]
    fn every_pmt_is_a_dot_in_either_map() {
        let sensors: Vec<DisplaySensor> = (0..300)
            .map(|k| DisplaySensor {
                position_mm: [
                    f64::from(k % 17) - 8.2,
                    f64::from(k % 13) - 6.1,
                    f64::from(k % 7) - 3.3,
                ],
                charge_pe: 0.5 * f64::from(k % 9),
                first_ns: (k % 3 == 0).then(|| 100.0 + f64::from(k)),
            })
            .collect();
        let svg = event_svg(&EventDisplay {
            title: "event 4".to_owned(),
            sensors,
            found_mm: Some([1.0, 2.0, 3.0]),
            true_mm: Some([1.0, 2.0, 2.0]),
            caption: vec!["x = 1 mm".to_owned()],
            ..EventDisplay::default()
        })
        .unwrap();
        assert_eq!(svg.matches("<circle").count(), 600);
        for text in [
            "event 4",
            "x = 1 mm",
            "Charge (PE)",
            "First hit (ns)",
            "true vertex",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("NaN"));
    }
}
