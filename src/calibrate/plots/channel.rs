//! The pictures of one channel: charge spectrum with its fit and their difference, and the template.

use crate::calibrate::parameters::RunKind;
use crate::calibrate::result::ChannelSpe;
use crate::calibrate::spectrum_quality::Quality;
use crate::calibrate::{FitErrors, Spectrum, SpectrumFit};
use crate::model::Flags;
use crate::plot::axis::Axis;
use crate::plot::figure::{Figure, GREY, INK, Look, Panel, Point, Series};
use crate::text::{counted, thousands, with_error};

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
/// Largest difference of data and fit that is drawn, in standard deviations.
const MAX_PULL: f64 = 5.0;

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

/// Returns the range of the steps that holds all but the last 0.2 % of the entries.
fn drawn_range(steps: &[(f64, f64, f64)]) -> (f64, f64) {
    let total: f64 = steps.iter().map(|step| step.2).sum();
    let mut sum = 0.0;
    let last = steps.iter().find(|step| {
        sum += step.2;
        sum >= 0.998 * total
    });
    let first = steps.iter().find(|step| step.2 > 0.0);
    (
        first.map_or(0.0, |step| step.0),
        last.map_or(1.0, |step| step.1),
    )
}

pub(super) fn spectrum(
    channel: &ChannelSpe,
    spectrum: &Spectrum,
    run: RunKind,
    linear_y: bool,
) -> Figure {
    let merge = bins_to_merge(spectrum, channel.fit.as_ref());
    let fit = channel
        .fit
        .as_ref()
        .map(|fit| (fit, Quality::new(spectrum, fit, run, merge)));
    let steps = merged(spectrum, merge);
    let width = steps.first().map_or(1.0, |step| step.1 - step.0);
    let (left, right) = drawn_range(&steps);
    let highest = steps.iter().map(|step| step.2).fold(1.0, f64::max);
    // On a linear scale the pedestal would flatten the single-PE peak: it may exceed the axis.
    let peak = fit.as_ref().map_or(highest, |(fit, quality)| {
        let q = fit.pedestal + fit.gain;
        let density: f64 = (quality.first_n..12)
            .map(|n| fit.component(n, q, 0.0))
            .sum();
        3.0 * quality.scale * density * width
    });
    let window = channel.window.unwrap_or_default();
    let margin = 0.04 * (right - left);
    let x = Axis::linear(
        format!(
            "Charge in samples {} to {} (ADC counts x sample)",
            window.0,
            window.1.saturating_sub(1)
        ),
        left - margin,
        right + margin,
    );
    let title = format!("Charges per {width:.0} ADC counts x sample");
    let y = if linear_y {
        Axis::linear(title, 0.0, (1.08 * highest).min(peak.max(10.0)))
    } else {
        Axis::logarithmic(title, 0.5, highest * 2.0)
    };
    let mut panel = Panel::new(x.clone(), y);
    if let Some((fit, quality)) = &fit {
        panel.series = curves(fit, quality, &panel, width);
    }
    let points = steps
        .iter()
        .filter(|step| step.2 > 0.0)
        .map(|&(low, high, n)| Point::with_error(f64::midpoint(low, high), n, n.sqrt()));
    let data = Series::new("data, \u{b1} sqrt(N)", 0, Look::Dots, points.collect());
    panel.series.insert(0, data.coloured(INK));
    let above: f64 = steps
        .iter()
        .filter(|step| step.0 >= right)
        .map(|step| step.2)
        .sum();
    let title = format!("Channel {}: charge spectrum", channel.channel_id);
    let mut figure = match &fit {
        Some((fit, quality)) => {
            panel.x = x.clone().untitled();
            panel.weight = 3.0;
            let mut figure = Figure::new(title, words(fit, quality), panel);
            figure.panels.push(pulls(quality, x));
            figure.height = 720;
            figure
        }
        None => Figure::new(title, "no fit", panel),
    };
    figure.entries = format!(
        "{}, {}, {} above the axis, {} below",
        counted(channel.n_waveforms, "waveform"),
        counted(
            spectrum.entries() + spectrum.overflow + spectrum.underflow,
            "charge"
        ),
        counted(above as u64 + spectrum.overflow, "charge"),
        thousands(spectrum.underflow)
    );
    figure
}

/// The results of the fit in words.
fn words(fit: &SpectrumFit, quality: &Quality) -> String {
    let error = |value: fn(&FitErrors) -> f64, factor: f64, digits: usize| {
        quality.errors.as_ref().map_or_else(String::new, |errors| {
            format!(" \u{b1} {:.digits$}", factor * value(errors))
        })
    };
    let agreement = match quality.degrees_of_freedom {
        Some(degrees) => format!("\u{3c7}\u{b2}/ndf = {:.1}/{degrees}", quality.chi2),
        None => "too few bins for a \u{3c7}\u{b2}".to_owned(),
    };
    format!(
        "gain {:.1}{} ADC counts x sample, single-PE spread ({:.1}{}) %, mean ({:.3}{}) PE (statistical errors); {agreement}, of bins with at least 5 expected charges",
        fit.gain,
        error(|errors| errors.gain, 1.0, 1),
        100.0 * fit.gain_sigma / fit.gain,
        error(|errors| errors.relative_sigma, 100.0, 1),
        fit.mean_pe,
        error(|errors| errors.mean_pe, 1.0, 3)
    )
}

/// Returns the components of `fit` and their sum over the range of `panel`, for bins of `width`.
fn curves(fit: &SpectrumFit, quality: &Quality, panel: &Panel, width: f64) -> Vec<Series> {
    let (from, to, lowest) = (panel.x.low(), panel.x.high(), panel.y.low().max(1e-3));
    let curve = |value: &dyn Fn(f64) -> f64| -> Vec<Point> {
        (0..=1200)
            .map(|step| from + (to - from) * f64::from(step) / 1200.0)
            .map(|q| Point::new(q, quality.scale * width * value(q)))
            .collect()
    };
    let sum = curve(&|q| {
        (quality.first_n..30)
            .map(|n| fit.component(n, q, width))
            .sum()
    });
    let mut series = vec![Series::new("fit", FIT, Look::Wide, sum)];
    series.extend(
        COMPONENTS
            .into_iter()
            .enumerate()
            .skip(quality.first_n)
            .map(|(n, (name, colour))| {
                let points = curve(&|q| fit.component(n, q, width));
                Series::new(name, colour, Look::Line, points)
            })
            .filter(|series| series.points.iter().any(|point| point.y > lowest)),
    );
    series
}

/// The panel with the difference of data and fit.
fn pulls(quality: &Quality, x: Axis) -> Panel {
    let points = quality
        .bins
        .iter()
        .map(|bin| Point::new(f64::midpoint(bin.low, bin.high), bin.pull()))
        .filter(|point| point.x <= x.high());
    let pulls = Series::new("", 0, Look::Dots, points.collect());
    let y = Axis::linear("Pull", -MAX_PULL, MAX_PULL);
    let mut panel = Panel::new(x, y);
    "(data \u{2212} fit) / sqrt(fit)".clone_into(&mut panel.heading);
    panel.guides = vec![0.0];
    panel.band = Some((-1.0, 1.0));
    panel.series = vec![pulls.coloured(INK)];
    panel
}

pub(super) fn template(channel: &ChannelSpe, sampling_ns: f64) -> Figure {
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
    let is_own = !channel.calibration.flags.contains(Flags::TEMPLATE_FALLBACK);
    let series = Series::new("", 0, look, points);
    let mut panel = Panel::new(
        Axis::linear("Time after the photoelectron (ns)", 0.0, end_ns),
        Axis::linear("Amplitude (ADC counts)", lowest - margin, highest + margin),
    );
    panel.guides = vec![0.0];
    panel.series = vec![if is_own {
        series
    } else {
        series.coloured(GREY)
    }];
    let title = format!(
        "Channel {}: mean response to one photoelectron",
        channel.channel_id
    );
    let measured = channel.calibration.measurement.unwrap_or_default();
    let shape = format!(
        "peak {} ADC, area {:.0} ADC x sample, noise {} ADC",
        with_error(channel.peak_adc, measured.peak_error_adc.into(), 1),
        channel.calibration.area_adc_samples(),
        with_error(
            channel.calibration.noise_adc.into(),
            measured.noise_error_adc.into(),
            3
        )
    );
    let subtitle = if is_own {
        let cut = if channel.cut.is_some() {
            "; the tail goes on after the window"
        } else {
            ""
        };
        format!(
            "{shape}, FWHM {} ns{cut}",
            with_error(channel.fwhm_ns, channel.fwhm_error_ns, 2)
        )
    } else {
        format!("{shape}; mean template of other channels, for too few pulses in this one")
    };
    let mut figure = Figure::new(title, subtitle, panel);
    figure.entries = format!(
        "{}, {}",
        counted(channel.n_waveforms, "waveform"),
        counted(channel.n_pulses, "pulse")
    );
    figure
}
