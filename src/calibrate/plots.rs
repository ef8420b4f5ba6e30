//! Pictures of a calibration: each channel's charge spectrum with its fit, and its template.

use std::path::{Path, PathBuf};

use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::spe::ChannelSpe;
use super::{Spectrum, SpectrumFit};
use crate::error::{Error, Result};

const SIZE: (u32, u32) = (960, 640);
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(40, 40, 46);
const DATA: RGBColor = RGBColor(176, 184, 196);
const FIT: RGBColor = RGBColor(200, 40, 40);
/// Colours of the components that people who see colours differently can tell apart (Okabe and Ito).
const COMPONENTS: [(RGBColor, &str); 5] = [
    (RGBColor(0, 114, 178), "pedestal"),
    (RGBColor(0, 158, 115), "1 PE"),
    (RGBColor(230, 159, 0), "2 PE"),
    (RGBColor(204, 121, 167), "3 PE"),
    (RGBColor(86, 180, 233), "4 PE"),
];
/// Entries a bin has at least, on average, over the single-PE peak.
const ENTRIES_A_BIN: f64 = 20.0;

/// Writes `channel_<id>_spectrum.svg` and `channel_<id>_template.svg` into `folder` (made where it does not exist) and
/// returns what was written. A channel without a spectrum has no picture.
///
/// # Errors
/// If a picture cannot be written.
pub fn write(
    folder: &Path,
    channel: &ChannelSpe,
    sampling_ns: f64,
    log_y: bool,
) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)
        .map_err(|cause| Error::output(folder, "the folder cannot be made").with_source(cause))?;
    let mut written = Vec::new();
    let mut draw = |kind: &str, draw: &dyn Fn(&Path) -> Drawn| -> Result<()> {
        let name = format!("channel_{:05}_{kind}.svg", channel.channel_id);
        let path = folder.join(name);
        draw(&path).map_err(|cause| {
            Error::output(&path, format!("the picture cannot be written: {cause}"))
        })?;
        written.push(path);
        Ok(())
    };
    if let Some(spectrum) = channel.spectrum.as_ref().filter(|s| s.entries() > 0) {
        draw("spectrum", &|path| {
            draw_spectrum(path, channel, spectrum, log_y)
        })?;
    }
    draw("template", &|path| {
        draw_template(path, channel, sampling_ns)
    })?;
    Ok(written)
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Histogram steps of `merge` bins each: left edge, right edge, entries.
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

/// How many bins to draw as one: so that the single-PE peak is smooth, and the pedestal still has a shape.
fn bins_to_merge(spectrum: &Spectrum, fit: Option<&SpectrumFit>) -> usize {
    let Some(fit) = fit else { return 20 };
    let peak = fit.entries * fit.component(1, fit.pedestal + fit.gain, 0.0);
    let for_entries = ENTRIES_A_BIN / peak / spectrum.bin_width;
    let for_pedestal = (fit.pedestal_sigma / spectrum.bin_width).max(1.0);
    let for_gain = (fit.gain / 12.0 / spectrum.bin_width).max(1.0);
    for_entries
        .clamp(1.0, for_gain.min(2.0 * for_pedestal))
        .round() as usize
}

fn draw_spectrum(path: &Path, channel: &ChannelSpe, spectrum: &Spectrum, log_y: bool) -> Drawn {
    let fit = channel.fit.as_ref();
    let steps = merged(spectrum, bins_to_merge(spectrum, fit));
    let total: f64 = spectrum.entries() as f64;
    // The range holds all but the last 0.2 % of the entries.
    let mut seen = 0.0;
    let right = steps
        .iter()
        .find(|step| {
            seen += step.2;
            seen >= 0.998 * total
        })
        .map_or(1.0, |step| step.1);
    let first = steps.iter().find(|step| step.2 > 0.0);
    let left = first.map_or(0.0, |step| step.0);
    let margin = 0.04 * (right - left);
    let x = left - margin..right + margin;
    let highest = steps.iter().map(|step| step.2).fold(1.0, f64::max);
    // On a linear scale the pedestal would flatten the single-PE peak: it may leave the picture at the top.
    let peak = fit.map_or(highest, |fit| {
        let width = steps.first().map_or(1.0, |step| step.1 - step.0);
        let q = fit.pedestal + fit.gain;
        let density: f64 = (0..12).map(|n| fit.component(n, q, 0.0)).sum();
        3.0 * fit.entries * density * width
    });
    let title = match fit {
        Some(fit) => format!(
            "Channel {}: gain {:.0} ADC x sample, {:.2} PE a trigger, SPE spread {:.0} %",
            channel.channel_id,
            fit.gain,
            fit.mean_pe,
            100.0 * fit.gain_sigma / fit.gain
        ),
        None => format!("Channel {}: no fit", channel.channel_id),
    };
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(&root);
    builder
        .caption(title, (FONT, 24).into_font().color(&INK))
        .margin(18)
        .x_label_area_size(56)
        .y_label_area_size(78);
    let window = channel.window.unwrap_or_default();
    if log_y {
        let y = (0.5..highest * 2.0).log_scale();
        let chart = builder.build_cartesian_2d(x, y)?;
        fill_spectrum(chart, &steps, fit, 0.5, window)?;
    } else {
        let y = 0.0..(1.08 * highest).min(peak.max(10.0));
        let chart = builder.build_cartesian_2d(x, y)?;
        fill_spectrum(chart, &steps, fit, 0.0, window)?;
    }
    root.present()?;
    Ok(())
}

fn fill_spectrum<'a, Y>(
    mut chart: ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, Y>>,
    steps: &[(f64, f64, f64)],
    fit: Option<&SpectrumFit>,
    floor: f64,
    window: (usize, usize),
) -> Drawn
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let width = steps.first().map_or(1.0, |step| step.1 - step.0);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.08))
        .axis_style(INK)
        .label_style((FONT, 18).into_font().color(&INK))
        .axis_desc_style((FONT, 21).into_font().color(&INK))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .x_desc(format!(
            "charge in samples {} to {} (ADC counts x sample)",
            window.0,
            window.1.saturating_sub(1)
        ))
        .y_desc(format!("entries / {width:.0} ADC x sample"))
        .draw()?;
    chart
        .draw_series(
            steps
                .iter()
                .filter(|step| step.2 > 0.0)
                .map(|&(left, right, entries)| {
                    Rectangle::new([(left, floor), (right, entries.max(floor))], DATA.filled())
                }),
        )?
        .label("data")
        .legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 24, y + 5)], DATA.filled()));
    let Some(fit) = fit else { return Ok(()) };
    let (from, to) = (chart.x_range().start, chart.x_range().end);
    let curve = |value: &dyn Fn(f64) -> f64| -> Vec<(f64, f64)> {
        (0..=1200)
            .map(|step| from + (to - from) * f64::from(step) / 1200.0)
            .map(|q| (q, fit.entries * width * value(q)))
            .filter(|&(_, entries)| entries > floor.max(1e-3))
            .collect()
    };
    for (n, (color, name)) in COMPONENTS.into_iter().enumerate() {
        let points = curve(&|q| fit.component(n, q, width));
        if points.len() < 2 {
            continue;
        }
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(3)));
    }
    let sum = curve(&|q| (0..30).map(|n| fit.component(n, q, width)).sum());
    chart
        .draw_series(LineSeries::new(sum, FIT.stroke_width(3)))?
        .label("fit")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 24, y)], FIT.stroke_width(3)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .margin(14)
        .legend_area_size(32)
        .label_font((FONT, 19).into_font().color(&INK))
        .background_style(WHITE.mix(0.85))
        .border_style(INK.mix(0.3))
        .draw()?;
    Ok(())
}

fn draw_template(path: &Path, channel: &ChannelSpe, sampling_ns: f64) -> Drawn {
    let template = &channel.calibration.template_adc;
    let points = || {
        template
            .iter()
            .enumerate()
            .map(|(sample, &value)| (sample as f64 * sampling_ns, f64::from(value)))
    };
    let end_ns = template.len() as f64 * sampling_ns;
    let highest = points().map(|point| point.1).fold(0.0, f64::max);
    let lowest = points().map(|point| point.1).fold(0.0, f64::min);
    let margin = 0.08 * (highest - lowest);
    let title = format!(
        "Channel {}: mean response to one photoelectron ({} pulses)",
        channel.channel_id, channel.n_pulses
    );
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 24).into_font().color(&INK))
        .margin(18)
        .x_label_area_size(56)
        .y_label_area_size(78)
        .build_cartesian_2d(0.0..end_ns, lowest - margin..highest + margin)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.08))
        .axis_style(INK)
        .label_style((FONT, 18).into_font().color(&INK))
        .axis_desc_style((FONT, 21).into_font().color(&INK))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .x_desc("time after the photoelectron (ns)")
        .y_desc("amplitude (ADC counts)")
        .draw()?;
    let color = COMPONENTS[0].0;
    chart.draw_series(AreaSeries::new(points(), 0.0, color.mix(0.12)))?;
    chart.draw_series(LineSeries::new(points(), color.stroke_width(3)))?;
    if sampling_ns * 60.0 > 0.1 * end_ns {
        chart.draw_series(points().map(|point| Circle::new(point, 3, color.filled())))?;
    }
    chart.draw_series(LineSeries::new(
        [(0.0, 0.0), (end_ns, 0.0)],
        INK.stroke_width(1),
    ))?;
    let note = format!(
        "peak {:.1} ADC, FWHM {:.1} ns, area {:.0} ADC x sample, noise {:.2} ADC",
        channel.peak_adc,
        channel.fwhm_ns,
        channel.calibration.gain_adc_samples(),
        channel.calibration.noise_adc
    );
    chart.draw_series(std::iter::once(Text::new(
        note,
        (0.3 * end_ns, highest),
        (FONT, 20).into_font().color(&INK),
    )))?;
    root.present()?;
    Ok(())
}
