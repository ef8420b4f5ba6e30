//! The table of `nuwave calibrate spe`: one line per channel, figures with their statistical errors.

use std::fmt::Write as _;

use crate::calibrate::spe::{ChannelSpe, RunKind, SpeResult};
use crate::text::{missing, thousands, with_error};

const HEADINGS: [&str; 13] = [
    "channel",
    "waveforms",
    "mean PE",
    "gain",
    "SPE sigma",
    "noise",
    "peak",
    "FWHM ns",
    "light ns",
    "offset ns",
    "pulses",
    "chi2/ndf",
    "flags",
];

pub(super) fn as_table(result: &SpeResult) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(result.channels.iter().map(cells));
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| {
                // Flags are left-aligned in the last column.
                if column + 1 == HEADINGS.len() {
                    cell.clone()
                } else {
                    format!("{cell:>width$}")
                }
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    let kind = match result.run {
        RunKind::Led => "light at a fixed time",
        RunKind::Dark => "dark pulses",
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\n{kind}; gain in ADC counts x samples per photoelectron within the charge window{}, noise and peak in ADC counts; errors are statistical",
        windows(&result.channels)
    );
    if result.run == RunKind::Led {
        text.push_str(
            "light: mean time of the photoelectrons after the first sample; times of hits count from the first sample, minus the offset\n",
        );
    }
    text
}

fn cells(channel: &ChannelSpe) -> [String; HEADINGS.len()] {
    let row = &channel.calibration;
    let measured = row.measurement.unwrap_or_default();
    let flags: Vec<&str> = row.flags.names().collect();
    let known = |value: f64, error: f64, decimals: usize| {
        if value > 0.0 {
            with_error(value, error, decimals)
        } else {
            missing()
        }
    };
    let (fit, errors) = (channel.fit.as_ref(), channel.fit_errors.as_ref());
    let fitted = |value: Option<f64>, error: Option<f64>, decimals: usize| {
        value.map_or_else(missing, |value| {
            with_error(value, error.unwrap_or(f64::NAN), decimals)
        })
    };
    let offset = f64::from(row.time_offset_ns);
    let chi2 = if measured.degrees_of_freedom > 0 {
        format!("{:.0}/{}", measured.chi2, measured.degrees_of_freedom)
    } else {
        missing()
    };
    [
        channel.channel_id.to_string(),
        thousands(channel.n_waveforms),
        fitted(fit.map(|f| f.mean_pe), errors.map(|e| e.mean_pe), 3),
        fitted(fit.map(|f| f.gain), errors.map(|e| e.gain), 1),
        fitted(
            fit.map(|f| f.gain_sigma / f.gain),
            errors.map(|e| e.relative_sigma),
            3,
        ),
        with_error(row.noise_adc.into(), measured.noise_error_adc.into(), 2),
        with_error(channel.peak_adc, measured.peak_error_adc.into(), 1),
        known(channel.fwhm_ns, channel.fwhm_error_ns, 1),
        known(
            channel.light_time_ns.unwrap_or(0.0),
            measured.time_offset_error_ns.into(),
            1,
        ),
        // Offsets of 0 are not measured.
        if offset == 0.0 {
            "0.00".to_owned()
        } else {
            with_error(offset, measured.time_offset_error_ns.into(), 2)
        },
        thousands(channel.n_pulses),
        chi2,
        flags.join(","),
    ]
}

/// Returns the charge windows, if they are few.
fn windows(channels: &[ChannelSpe]) -> String {
    let mut windows: Vec<(usize, usize)> = channels
        .iter()
        .filter_map(|channel| channel.window)
        .collect();
    windows.sort_unstable();
    windows.dedup();
    match windows.as_slice() {
        [] => String::new(),
        few if few.len() <= 4 => {
            let few: Vec<String> = few
                .iter()
                .map(|(low, high)| format!("{low}:{high}"))
                .collect();
            format!(" ({})", few.join(", "))
        }
        many => format!(" ({} different ones)", many.len()),
    }
}
