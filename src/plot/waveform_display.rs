//! Waveform display: samples with baseline, fit and residuals, deconvolved trace with threshold, hits and true
//! photoelectrons.

use super::axis::Axis;
use super::figure::{Figure, GREY, INK, Look, PALETTE, Panel, Point, Series};
use super::layout;
use crate::error::Result;
use crate::model::TimedCharge;
use crate::text::counted;

/// Maximum number of columns of a line; of more samples the range of each column is drawn.
const COLUMNS: usize = 2000;
/// Maximum number of hits with a label.
const MAX_LABELS: usize = 20;

/// One waveform to be drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WaveformDisplay {
    /// Text above the panel: event, channel, flags.
    pub heading: String,
    /// Samples as recorded.
    pub samples_adc: Vec<f32>,
    /// Interval between samples; 0 if it is not known: the axis then counts samples.
    pub sampling_ns: f64,
    /// Part of the time axis that is drawn; `None`: the whole waveform.
    pub range_ns: Option<(f64, f64)>,
    /// True photoelectrons, if the file has them.
    pub truth: Vec<TimedCharge>,
    /// The result of the extraction, if there is a calibration.
    pub trace: Option<TraceDisplay>,
}

/// The result of the extraction of a waveform.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceDisplay {
    /// Baseline as recorded.
    pub baseline_adc: f64,
    /// Baseline of each sample as recorded, where it moves; otherwise empty.
    pub moving_baseline_adc: Vec<f32>,
    /// Interval of the deconvolved trace.
    pub step_ns: f64,
    /// The deconvolved trace; empty for a method without one.
    pub deconvolved_pe_per_ns: Vec<f32>,
    /// The smoothed trace, in which hits are looked for; empty for a method without one.
    pub smoothed_pe_per_ns: Vec<f32>,
    /// Threshold of the smoothed trace for a hit.
    pub threshold_pe_per_ns: f64,
    /// Samples minus fit, in ADC counts; empty without a fit.
    pub residual_adc: Vec<f32>,
    /// The hits, in the waveform's own time.
    pub hits: Vec<TimedCharge>,
}

/// Returns the SVG text of `waveforms`, one below the other.
///
/// # Errors
/// Only on an internal error of the drawing library.
pub fn waveforms_svg(title: &str, subtitle: &str, waveforms: &[WaveformDisplay]) -> Result<String> {
    let panels: Vec<_> = waveforms.iter().flat_map(panels_of).collect();
    let height: f64 = 140.0
        + panels
            .iter()
            .map(|panel| {
                let heading = if panel.heading.is_empty() { 0.0 } else { 26.0 };
                let footing = if panel.x.title.is_empty() { 20.0 } else { 64.0 };
                210.0 * panel.weight + heading + footing
            })
            .sum::<f64>();
    layout::svg(&Figure {
        title: title.to_owned(),
        subtitle: subtitle.to_owned(),
        entries: counted(waveforms.len() as u64, "waveform"),
        panels,
        width: 1120,
        height: height as u32,
    })
}

fn panels_of(waveform: &WaveformDisplay) -> Vec<Panel> {
    let (step, unit) = if waveform.sampling_ns > 0.0 {
        (waveform.sampling_ns, "Time from the first sample (ns)")
    } else {
        (1.0, "Sample")
    };
    let end = step * waveform.samples_adc.len().max(1) as f64;
    let range_ns = waveform.range_ns.unwrap_or((0.0, end));
    let x = Axis::linear(unit, range_ns.0, range_ns.1);
    let (low, high) = range(part(&waveform.samples_adc, step, range_ns));
    let space = (0.08 * (high - low)).max(2.0);
    let mut raw = Panel::new(
        x.clone(),
        Axis::linear("ADC counts", low - space, high + space),
    );
    raw.heading.clone_from(&waveform.heading);
    let line = Series::new(
        "samples",
        0,
        Look::Line,
        thinned(&waveform.samples_adc, step),
    );
    raw.series.push(line.coloured(INK));
    if let Some(trace) = &waveform.trace {
        let level = if trace.moving_baseline_adc.is_empty() {
            vec![
                Point::new(0.0, trace.baseline_adc),
                Point::new(end, trace.baseline_adc),
            ]
        } else {
            thinned(&trace.moving_baseline_adc, step)
        };
        raw.series
            .push(Series::new("baseline", 2, Look::Dashed, level));
        if !trace.residual_adc.is_empty() {
            let refolded: Vec<f32> = waveform
                .samples_adc
                .iter()
                .zip(&trace.residual_adc)
                .map(|(sample, left)| sample - left)
                .collect();
            let line = thinned(&refolded, step);
            raw.series.push(Series::new("fit", 3, Look::Line, line));
        }
    }
    let ticks: Vec<_> = waveform
        .truth
        .iter()
        .map(|pe| Point::new(pe.time_ns, 0.0))
        .collect();
    let truth = Series::new("true photoelectrons", 1, Look::Ticks, ticks);
    let Some(trace) = &waveform.trace else {
        if !truth.points.is_empty() {
            raw.series.push(truth);
        }
        return vec![raw];
    };

    raw.x = raw.x.untitled();
    let residual = residual_of(trace, &x, step);
    let (values, smoothed) = (&trace.deconvolved_pe_per_ns, &trace.smoothed_pe_per_ns);
    let (mut low, mut high) = range(part(values, trace.step_ns, range_ns));
    low = low.min(0.0);
    high = high.max(1.5 * trace.threshold_pe_per_ns).max(1e-6);
    let mut lower = Panel::new(
        x,
        Axis::linear(
            "PE / ns",
            low - 0.06 * (high - low),
            high + 0.25 * (high - low),
        ),
    );
    lower.guides.push(0.0);
    if values.is_empty() {
        "hits".clone_into(&mut lower.y.title);
    } else {
        let line = thinned(values, trace.step_ns);
        lower
            .series
            .push(Series::new("deconvolved", 0, Look::Line, line));
    }
    if !smoothed.is_empty() {
        let line = thinned(smoothed, trace.step_ns);
        let line = Series::new("smoothed trace", 4, Look::Line, line);
        lower.series.push(line);
        let level = trace.threshold_pe_per_ns;
        let level = vec![Point::new(0.0, level), Point::new(end, level)];
        let level = Series::new("threshold (smoothed trace)", 4, Look::Dashed, level);
        lower.series.push(level.coloured(GREY));
    }
    let hits = hits_of(trace, high);
    if !truth.points.is_empty() {
        lower.series.push(truth);
    }
    if !hits.points.is_empty() {
        lower.series.push(hits);
    }
    std::iter::once(raw)
        .chain(residual)
        .chain([lower])
        .collect()
}

/// Returns the hits as stems; the largest has the height `high`.
fn hits_of(trace: &TraceDisplay, high: f64) -> Series {
    let largest_pe = trace
        .hits
        .iter()
        .map(|hit| hit.charge_pe)
        .fold(1e-9, f64::max);
    let stems = trace
        .hits
        .iter()
        .map(|hit| Point::new(hit.time_ns, high * (hit.charge_pe / largest_pe).max(0.05)))
        .collect();
    // Of many hits the smallest have no label: those of the largest must be readable.
    let mut largest: Vec<f64> = trace.hits.iter().map(|hit| hit.charge_pe).collect();
    largest.sort_by(|a, b| b.total_cmp(a));
    let (least_pe, name) = match largest.get(MAX_LABELS) {
        Some(_) => (
            largest.get(MAX_LABELS - 1).copied().unwrap_or(0.0),
            format!("hits (height: charge; label: PE, the largest {MAX_LABELS})"),
        ),
        None => (
            f64::NEG_INFINITY,
            "hits (height: charge; label: PE)".to_owned(),
        ),
    };
    let mut hits = Series::new(name, 3, Look::Stems, stems);
    hits.colour = PALETTE[3];
    hits.texts = trace
        .hits
        .iter()
        .map(|hit| {
            if hit.charge_pe >= least_pe {
                format!("{:.2}", hit.charge_pe)
            } else {
                String::new()
            }
        })
        .collect();
    hits
}

/// The panel with the residuals of a fit, on its own scale.
fn residual_of(trace: &TraceDisplay, x: &Axis, step: f64) -> Option<Panel> {
    if trace.residual_adc.is_empty() {
        return None;
    }
    let (low, high) = range(part(&trace.residual_adc, step, (x.low(), x.high())));
    let space = (0.08 * (high - low)).max(1.0);
    let mut panel = Panel::new(
        x.clone().untitled(),
        Axis::linear("Residual (ADC)", low - space, high + space),
    );
    panel.weight = 0.6;
    panel.guides.push(0.0);
    let line = thinned(&trace.residual_adc, step);
    let series = Series::new("samples minus fit", 0, Look::Line, line);
    panel.series.push(series.coloured(GREY));
    Some(panel)
}

/// Returns the values, `step` apart, whose times are within a range.
fn part(values: &[f32], step: f64, (from, to): (f64, f64)) -> &[f32] {
    let first = ((from / step).floor().max(0.0) as usize).min(values.len());
    let last = ((to / step).ceil().max(0.0) as usize + 1).clamp(first, values.len());
    values.get(first..last).unwrap_or_default()
}

fn range(values: &[f32]) -> (f64, f64) {
    let finite = || {
        values
            .iter()
            .filter(|v| v.is_finite())
            .map(|&v| f64::from(v))
    };
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

/// Returns the samples as points; for more than [`COLUMNS`] samples, the extremes of each column.
fn thinned(values: &[f32], step: f64) -> Vec<Point> {
    let point = |(place, value): (usize, f32)| Point::new(place as f64 * step, f64::from(value));
    let all = values.iter().copied().enumerate();
    if values.len() <= COLUMNS {
        return all.map(point).collect();
    }
    let all: Vec<_> = all.filter(|(_, value)| value.is_finite()).collect();
    all.chunks(values.len().div_ceil(COLUMNS))
        .flat_map(|column| {
            let low = column.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
            let high = column.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
            let (mut first, mut second) = (low, high);
            if first.map(|p| p.0) > second.map(|p| p.0) {
                std::mem::swap(&mut first, &mut second);
            }
            first.into_iter().chain(second)
        })
        .map(point)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_shows_the_hits_charges_and_the_truth() {
        let picture = WaveformDisplay {
            range_ns: None,
            heading: "event 7, channel 3".to_owned(),
            samples_adc: (0..200)
                .map(|k| if k == 60 { 380.0 } else { 500.0 })
                .collect(),
            sampling_ns: 1.0,
            truth: vec![TimedCharge {
                time_ns: 60.0,
                charge_pe: 1.0,
            }],
            trace: Some(TraceDisplay {
                baseline_adc: 500.0,
                moving_baseline_adc: Vec::new(),
                step_ns: 2.0,
                deconvolved_pe_per_ns: vec![0.01; 100],
                smoothed_pe_per_ns: vec![0.01; 100],
                threshold_pe_per_ns: 0.05,
                residual_adc: vec![1.0; 200],
                hits: vec![TimedCharge {
                    time_ns: 60.2,
                    charge_pe: 0.97,
                }],
            }),
        };
        let svg = waveforms_svg("Waveforms", "", &[picture]).unwrap();
        for text in [
            "event 7, channel 3",
            "0.97",
            "baseline",
            "fit",
            "samples minus fit",
            "threshold (smoothed trace)",
            "true photoelectrons",
        ] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn a_part_of_the_time_axis_has_its_own_range_of_values() {
        let mut samples_adc = vec![500.0_f32; 1000];
        samples_adc[900] = 100.0;
        let mut picture = WaveformDisplay {
            samples_adc,
            sampling_ns: 2.0,
            range_ns: Some((200.0, 400.0)),
            ..WaveformDisplay::default()
        };
        let y = |picture: &WaveformDisplay| {
            let panel = panels_of(picture).remove(0);
            (panel.x.low(), panel.x.high(), panel.y.low())
        };
        assert_eq!(y(&picture), (200.0, 400.0, 498.0));
        picture.range_ns = None;
        assert_eq!(y(&picture), (0.0, 2000.0, 68.0));
    }

    #[test]
    fn thinning_keeps_every_extreme() {
        let mut values = vec![0.0_f32; 60_000];
        values[31_234] = -7.0;
        values[50_001] = 9.0;
        let points = thinned(&values, 1.0);
        assert!(points.len() <= 2 * COLUMNS + 2);
        assert!(points.iter().any(|p| p.y == -7.0 && p.x == 31_234.0));
        assert!(points.iter().any(|p| p.y == 9.0 && p.x == 50_001.0));
    }
}
