//! The plots of a calibration: each channel's charge spectrum with its fit, and its template.

use std::path::{Path, PathBuf};

use super::result::ChannelSpe;
use super::{Spectrum, SpectrumFit};
use crate::error::{Error, Result};
use crate::plot::axis::Axis;
use crate::plot::figure::{Figure, GREY, Look, Panel, Point, Series};
use crate::plot::layout;

/// The components of the fit, each with its index in the palette.
const COMPONENTS: [(&str, usize); 5] = [
    ("pedestal", 0),
    ("1 PE", 2),
    ("2 PE", 4),
    ("3 PE", 3),
    ("4 PE", 5),
];
/// Index of the sum of all components in the palette.
const FIT: usize = 1;
/// Entries per bin, on average, over the single-PE peak.
const ENTRIES_PER_BIN: f64 = 20.0;

/// Writes `channel_<id>_spectrum.svg` and `channel_<id>_template.svg` into `folder` (created if it does not exist) and
/// returns the paths. A channel without a spectrum has no spectrum plot.
///
/// # Errors
/// If a plot cannot be written.
pub fn write(
    folder: &Path,
    channel: &ChannelSpe,
    sampling_ns: f64,
    log_y: bool,
) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)
        .map_err(|cause| Error::output(folder, "the folder cannot be made").with_source(cause))?;
    let mut written = Vec::new();
    let mut write = |kind: &str, figure: &Figure| -> Result<()> {
        let path = folder.join(format!("channel_{:05}_{kind}.svg", channel.channel_id));
        std::fs::write(&path, layout::svg(figure)?).map_err(|cause| {
            Error::output(&path, "the plot cannot be written").with_source(cause)
        })?;
        written.push(path);
        Ok(())
    };
    if let Some(spectrum) = channel.spectrum.as_ref().filter(|s| s.entries() > 0) {
        write("spectrum", &spectrum_figure(channel, spectrum, log_y))?;
    }
    write("template", &template_figure(channel, sampling_ns))?;
    Ok(written)
}

/// Returns the histogram with `merge` bins joined into one: left edge, right edge, entries.
fn merged(spectrum: &Spectrum, merge: usize) -> Vec<(f64, f64, f64)> {
    spectrum
        .counts
        .chunks(merge)
        .enumerate()
        .map(|(chunk, counts)| {
            let left = spectrum.low + (chunk * merge) as f64 * spectrum.bin_width;
            let right = left + counts.len() as f64 * spectrum.bin_width;
            (left, right, counts.iter().map(|&n| f64::from(n)).sum())
        })
        .collect()
}

/// Returns how many bins to draw as one, so that the single-PE peak is smooth and the pedestal still has a shape.
fn bins_to_merge(spectrum: &Spectrum, fit: Option<&SpectrumFit>) -> usize {
    let Some(fit) = fit else { return 20 };
    let peak = fit.entries * fit.component(1, fit.pedestal + fit.gain, 0.0);
    let for_entries = ENTRIES_PER_BIN / peak / spectrum.bin_width;
    let for_pedestal = (fit.pedestal_sigma / spectrum.bin_width).max(1.0);
    let for_gain = (fit.gain / 12.0 / spectrum.bin_width).max(1.0);
    for_entries
        .clamp(1.0, for_gain.min(2.0 * for_pedestal))
        .round() as usize
}

fn spectrum_figure(channel: &ChannelSpe, spectrum: &Spectrum, log_y: bool) -> Figure {
    let fit = channel.fit.as_ref();
    let steps = merged(spectrum, bins_to_merge(spectrum, fit));
    let width = steps.first().map_or(1.0, |step| step.1 - step.0);
    let total: f64 = spectrum.entries() as f64;
    // The range holds all but the last 0.2 % of the entries.
    let mut sum = 0.0;
    let right = steps
        .iter()
        .find(|step| {
            sum += step.2;
            sum >= 0.998 * total
        })
        .map_or(1.0, |step| step.1);
    let first = steps.iter().find(|step| step.2 > 0.0);
    let left = first.map_or(0.0, |step| step.0);
    let margin = 0.04 * (right - left);
    let highest = steps.iter().map(|step| step.2).fold(1.0, f64::max);
    // On a linear scale the pedestal would flatten the single-PE peak: it may exceed the axis.
    let peak = fit.map_or(highest, |fit| {
        let q = fit.pedestal + fit.gain;
        let density: f64 = (0..12).map(|n| fit.component(n, q, 0.0)).sum();
        3.0 * fit.entries * density * width
    });
    let window = channel.window.unwrap_or_default();
    let x = Axis::linear(
        format!(
            "Charge in samples {} to {} (ADC counts x sample)",
            window.0,
            window.1.saturating_sub(1)
        ),
        left - margin,
        right + margin,
    );
    let title = format!("Entries per {width:.0} ADC counts x sample");
    let y = if log_y {
        Axis::logarithmic(title, 0.5, highest * 2.0)
    } else {
        Axis::linear(title, 0.0, (1.08 * highest).min(peak.max(10.0)))
    };
    let mut panel = Panel::new(x, y);
    let end = steps.last().map(|step| Point::new(step.1, 0.0));
    let bins = steps.iter().map(|step| Point::new(step.0, step.2));
    let data = Series::new("data", 0, Look::Bars, bins.chain(end).collect());
    panel.series.push(data.coloured(GREY));
    if let Some(fit) = fit {
        panel.series.extend(curves(fit, &panel, width));
    }
    let subtitle = match fit {
        Some(fit) => format!(
            "gain {:.0} ADC x sample, {:.2} PE per trigger, SPE spread {:.0} %",
            fit.gain,
            fit.mean_pe,
            100.0 * fit.gain_sigma / fit.gain
        ),
        None => "no fit".to_owned(),
    };
    let title = format!("Channel {}: charge spectrum", channel.channel_id);
    Figure::new(title, subtitle, panel)
}

/// Returns the components of `fit` and their sum over the range of `panel`, for bins of `width`.
fn curves(fit: &SpectrumFit, panel: &Panel, width: f64) -> Vec<Series> {
    let (from, to, lowest) = (panel.x.low(), panel.x.high(), panel.y.low().max(1e-3));
    let curve = |value: &dyn Fn(f64) -> f64| -> Vec<Point> {
        (0..=1200)
            .map(|step| from + (to - from) * f64::from(step) / 1200.0)
            .map(|q| Point::new(q, fit.entries * width * value(q)))
            .filter(|point| point.y > lowest)
            .collect()
    };
    let mut series: Vec<Series> = COMPONENTS
        .into_iter()
        .enumerate()
        .map(|(n, (name, colour))| {
            let points = curve(&|q| fit.component(n, q, width));
            Series::new(name, colour, Look::Line, points)
        })
        .filter(|series| series.points.len() > 1)
        .collect();
    let sum = curve(&|q| (0..30).map(|n| fit.component(n, q, width)).sum());
    series.push(Series::new("fit", FIT, Look::Line, sum));
    series
}

fn template_figure(channel: &ChannelSpe, sampling_ns: f64) -> Figure {
    let template = &channel.calibration.template_adc;
    let points: Vec<Point> = template
        .iter()
        .enumerate()
        .map(|(sample, &value)| Point::new(sample as f64 * sampling_ns, f64::from(value)))
        .collect();
    let end_ns = template.len() as f64 * sampling_ns;
    let highest = points.iter().map(|point| point.y).fold(0.0, f64::max);
    let lowest = points.iter().map(|point| point.y).fold(0.0, f64::min);
    let margin = 0.08 * (highest - lowest);
    // Few samples are drawn as markers, so that each is visible.
    let look = if sampling_ns * 60.0 > 0.1 * end_ns {
        Look::Marked
    } else {
        Look::Line
    };
    let mut panel = Panel::new(
        Axis::linear("Time after the photoelectron (ns)", 0.0, end_ns),
        Axis::linear("Amplitude (ADC counts)", lowest - margin, highest + margin),
    );
    panel.guides = vec![0.0];
    panel.series = vec![Series::new("", 0, look, points)];
    let title = format!(
        "Channel {}: mean response to one photoelectron",
        channel.channel_id
    );
    let subtitle = format!(
        "{} pulses; peak {:.1} ADC, FWHM {:.1} ns, area {:.0} ADC x sample, noise {:.2} ADC",
        channel.n_pulses,
        channel.peak_adc,
        channel.fwhm_ns,
        channel.calibration.gain_adc_samples(),
        channel.calibration.noise_adc
    );
    Figure::new(title, subtitle, panel)
}
