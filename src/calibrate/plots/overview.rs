//! The overview of a calibration: gain, noise, charge spread and time against the channel, and their histograms.

use crate::calibrate::parameters::RunKind;
use crate::calibrate::result::{ChannelSpe, SpeResult};
use crate::model::Flags;
use crate::plot::axis::Axis;
use crate::plot::figure::{Figure, Look, Panel, Point, Series};
use crate::text::counted;

/// Number of bins of a histogram.
const BINS: usize = 30;
/// Values farther from the median than so many half-widths of the central 68 % are beyond the axis.
const MAX_WIDTHS: f64 = 8.0;

/// Minimum number of channels that an axis spans.
const MIN_CHANNELS: f64 = 8.0;

/// A quantity of a channel; `None` where it is not known.
struct Quantity {
    name: &'static str,
    axis: &'static str,
    decimals: usize,
    of: fn(&ChannelSpe) -> Option<f64>,
}

const GAIN: Quantity = Quantity {
    name: "Gain",
    axis: "ADC x sample",
    decimals: 1,
    of: |channel| Some(channel.fit?.gain),
};
const NOISE: Quantity = Quantity {
    name: "Noise",
    axis: "ADC counts",
    decimals: 2,
    of: |channel| {
        let row = &channel.calibration;
        (!row.flags.contains(Flags::NOISE_UNKNOWN)).then_some(f64::from(row.noise_adc))
    },
};
const SPREAD: Quantity = Quantity {
    name: "Charge spread of one photoelectron",
    axis: "% of the gain",
    decimals: 1,
    of: |channel| channel.fit.map(|fit| 100.0 * fit.gain_sigma / fit.gain),
};
const OFFSET: Quantity = Quantity {
    name: "Time offset",
    axis: "ns",
    decimals: 2,
    of: |channel| {
        channel.light_time_ns?;
        Some(f64::from(channel.calibration.time_offset_ns))
    },
};
const LIGHT: Quantity = Quantity {
    name: "Time of the light (all time offsets are 0)",
    axis: "ns",
    decimals: 2,
    of: |channel| channel.light_time_ns,
};

/// Returns the overview of all channels.
pub(super) fn figure(result: &SpeResult) -> Figure {
    let channels = &result.channels;
    let mut quantities = vec![GAIN, NOISE, SPREAD];
    if result.run == RunKind::Led {
        let has_offsets = channels
            .iter()
            .any(|channel| channel.calibration.time_offset_ns != 0.0);
        quantities.push(if has_offsets { OFFSET } else { LIGHT });
    }
    let mut panels: Vec<Panel> = quantities
        .iter()
        .map(|quantity| panel(channels, quantity))
        .collect();
    let last = panels.len() - 1;
    for panel in panels.iter_mut().take(last) {
        panel.x = panel.x.clone().untitled();
    }
    let flagged = channels.iter().filter(|channel| is_flagged(channel));
    let kind = match result.run {
        RunKind::Led => "light at a fixed time",
        RunKind::Dark => "dark pulses",
    };
    let n_waveforms = channels.iter().map(|channel| channel.n_waveforms).sum();
    Figure {
        title: "Single-photoelectron calibration".to_owned(),
        subtitle: format!(
            "{kind}; {} flagged; right: number of channels; half-width: half of the central 68 %",
            counted(flagged.count() as u64, "channel")
        ),
        entries: format!(
            "{}, {}",
            counted(channels.len() as u64, "channel"),
            counted(n_waveforms, "waveform")
        ),
        height: 190 + 215 * panels.len() as u32,
        panels,
        width: 1120,
    }
}

fn is_flagged(channel: &ChannelSpe) -> bool {
    channel.calibration.flags != Flags::NONE
}

fn panel(channels: &[ChannelSpe], quantity: &Quantity) -> Panel {
    let values = |flagged: bool| -> Vec<Point> {
        let own = channels.iter().filter(|one| is_flagged(one) == flagged);
        own.filter_map(|channel| {
            let value = (quantity.of)(channel).filter(|value| value.is_finite())?;
            Some(Point::new(f64::from(channel.channel_id), value))
        })
        .collect()
    };
    let (good, flagged) = (values(false), values(true));
    let mut sorted: Vec<f64> = good.iter().chain(&flagged).map(|point| point.y).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(place).copied()
    };
    let summary = at(0.5).zip(at(0.158_655).zip(at(0.841_345)));
    let (median, half_width) = summary.map_or((0.0, 0.0), |(median, (low, high))| {
        (median, (high - low) / 2.0)
    });
    let (low, high) = range(&sorted, median, half_width);
    let ids = channels.iter().map(|channel| f64::from(channel.channel_id));
    let (first, last) = ids.fold((f64::INFINITY, 0.0_f64), |(first, last), id| {
        (first.min(id), last.max(id))
    });
    // Few channels do not fill the axis, whose ticks are whole numbers then.
    let space = (0.02 * (last - first) + 0.5).max(0.5 * (MIN_CHANNELS - (last - first)));
    let mut panel = Panel::new(
        Axis::linear("Channel", first - space, last + space),
        Axis::linear(quantity.axis, low, high),
    );
    let decimals = quantity.decimals;
    panel.heading = match summary {
        Some(_) => format!(
            "{}: median {median:.decimals$}, half-width {half_width:.decimals$}, {}",
            quantity.name,
            counted(sorted.len() as u64, "channel")
        ),
        None => format!("{}: not known for any channel", quantity.name),
    };
    panel.marginal = histogram(&sorted, low, high);
    panel.series = vec![
        Series::new("channel", 0, Look::Dots, good),
        Series::new("flagged channel", 1, Look::Dots, flagged),
    ];
    panel.series.retain(|series| !series.points.is_empty());
    panel
}

/// Returns the range of the axis: all `sorted` values but those far away from most.
fn range(sorted: &[f64], median: f64, half_width: f64) -> (f64, f64) {
    let reach = if half_width > 0.0 {
        MAX_WIDTHS * half_width
    } else {
        f64::INFINITY
    };
    let near = || {
        sorted
            .iter()
            .copied()
            .filter(|value| (value - median).abs() <= reach)
    };
    let low = near().fold(median, f64::min);
    let high = near().fold(median, f64::max);
    let space = (0.08 * (high - low)).max(1e-3 * median.abs()).max(1e-6);
    (low - space, high + space)
}

fn histogram(values: &[f64], low: f64, high: f64) -> Vec<(f64, f64, u64)> {
    let step = (high - low) / BINS as f64;
    let edge = |bin: usize| low + step * bin as f64;
    (0..BINS)
        .map(|bin| {
            let (from, to) = (edge(bin), edge(bin + 1));
            let inside = values.iter().filter(|value| (from..to).contains(*value));
            (from, to, inside.count() as u64)
        })
        .collect()
}
