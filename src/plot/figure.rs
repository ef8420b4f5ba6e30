//! A figure as data: panels with axes, series of points, and how each series looks.

use super::axis::Axis;

/// A colour. The palette can be distinguished by people with colour vision deficiency (Okabe and Ito).
pub(crate) type Colour = (u8, u8, u8);
/// Colours of the series, in order.
pub(crate) const PALETTE: [Colour; 6] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
];
/// Colour of guides for the eye.
pub(crate) const GREY: Colour = (120, 120, 120);
/// Colour of data as recorded.
pub(crate) const INK: Colour = (40, 44, 52);

/// The colour of series number `index`.
pub(crate) fn colour(index: usize) -> Colour {
    PALETTE[index % PALETTE.len()]
}

/// A point with an optional vertical interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// Horizontal value.
    pub x: f64,
    /// Vertical value.
    pub y: f64,
    /// Lower and upper end of the interval.
    pub interval: Option<(f64, f64)>,
}

impl Point {
    /// A point without interval.
    pub fn new(x: f64, y: f64) -> Self {
        Self {
            x,
            y,
            interval: None,
        }
    }

    /// A point with a symmetric error; none is drawn where it is not finite.
    pub fn with_error(x: f64, y: f64, error: f64) -> Self {
        Self {
            x,
            y,
            interval: error.is_finite().then_some((y - error, y + error)),
        }
    }
}

/// The style of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Look {
    /// A line through the points.
    Line,
    /// A wide, light line through the points, on which others can be seen.
    Wide,
    /// A dashed line through the points.
    Dashed,
    /// Filled markers, with their intervals, joined by a thin line.
    Marked,
    /// Small filled markers with their intervals.
    Dots,
    /// Open markers, with their intervals.
    Open,
    /// A histogram's outline; each point is the left edge and the height of a bin, the last repeats the height.
    Steps,
    /// Lines from 0 up to the point, with a head and the series' label texts.
    Stems,
    /// Short strokes at the foot of the panel.
    Ticks,
}

/// Points that belong together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    /// Name in the legend; not in the legend if empty.
    pub label: String,
    /// Colour.
    pub colour: Colour,
    /// Look.
    pub look: Look,
    /// Shape of the markers: circle, square, triangle, diamond by number.
    pub marker: usize,
    /// The points, in drawing order.
    pub points: Vec<Point>,
    /// A text at each point, for stems; may be shorter than `points`.
    pub texts: Vec<String>,
}

impl Series {
    /// A series with the colour and marker of number `index`.
    pub fn new(label: impl Into<String>, index: usize, look: Look, points: Vec<Point>) -> Self {
        Self {
            label: label.into(),
            colour: colour(index),
            look,
            marker: index,
            points,
            texts: Vec::new(),
        }
    }

    /// Returns the series in another colour.
    pub fn coloured(self, colour: Colour) -> Self {
        Self { colour, ..self }
    }
}

/// One pair of axes with what is drawn on them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panel {
    /// Text above the panel on the left; may be empty.
    pub heading: String,
    /// Horizontal axis; labels and title are drawn only where `title` is not empty.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The series, the first at the bottom.
    pub series: Vec<Series>,
    /// Values with a thin horizontal line.
    pub guides: Vec<f64>,
    /// Range of vertical values that is tinted.
    pub band: Option<(f64, f64)>,
    /// Height relative to the other panels.
    pub weight: f64,
    /// Histogram of the vertical values, to the right of the panel: lower end, upper end and entries of each bin. Empty: none.
    pub marginal: Vec<(f64, f64, u64)>,
}

impl Panel {
    /// An empty panel.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self {
            heading: String::new(),
            x,
            y,
            series: Vec::new(),
            guides: Vec::new(),
            band: None,
            weight: 1.0,
            marginal: Vec::new(),
        }
    }
}

/// A figure: a title, a line below it, a legend of all series, and panels one below the other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    /// Title.
    pub title: String,
    /// Text below the title that says what exactly is shown; in several lines if it is long.
    pub subtitle: String,
    /// Number of events, waveforms or the like, for the line at the foot.
    pub entries: String,
    /// The panels, top to bottom.
    pub panels: Vec<Panel>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl Figure {
    /// A figure of the usual size with one panel.
    pub fn new(title: impl Into<String>, subtitle: impl Into<String>, panel: Panel) -> Self {
        Self {
            title: title.into(),
            subtitle: subtitle.into(),
            entries: String::new(),
            panels: vec![panel],
            width: 960,
            height: 600,
        }
    }
}

/// Returns the finite numbers that `of` gives for all points of `series`.
pub(crate) fn values(series: &[Series], of: impl Fn(&Point) -> f64) -> Vec<f64> {
    series
        .iter()
        .flat_map(|series| &series.points)
        .map(of)
        .filter(|value| value.is_finite())
        .collect()
}

/// Returns the ends of the points' intervals, and the values of points without one.
pub(crate) fn heights(series: &[Series]) -> impl Iterator<Item = f64> + '_ {
    series
        .iter()
        .flat_map(|series| &series.points)
        .flat_map(|point| {
            let (low, high) = point.interval.unwrap_or((point.y, point.y));
            [low, high]
        })
}

/// Returns a logarithmic axis over the x values of `series`, with some space at both ends.
pub(crate) fn count_axis(title: &str, series: &[Series]) -> Axis {
    let xs = values(series, |point| point.x);
    let low = xs.iter().copied().fold(f64::INFINITY, f64::min);
    let high = xs.iter().copied().fold(0.0, f64::max);
    let (low, high) = if low > 0.0 && low <= high {
        (low, high)
    } else {
        (1.0, 10.0)
    };
    Axis::logarithmic(title, low / 1.25, high * 1.25)
}
