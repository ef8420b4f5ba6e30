//! The table on the terminal: one row a figure, one column a reconstruction.

use std::fmt::Write as _;

use super::charge::ChargeBin;
use super::events;
use super::stats::{Estimate, Share};
use super::summary::{Evaluation, Method};

/// Width of the column of names.
const NAME_WIDTH: usize = 44;
/// What stands where a figure does not exist.
const NOTHING: &str = "-";

/// A line of the table: a name, and a cell for each reconstruction; a heading has no cells.
pub(super) type Row = (String, Option<Vec<String>>);

/// The table of `evaluation`, with a final line end: hits first, then events.
#[must_use]
pub fn table(evaluation: &Evaluation) -> String {
    let mut text = String::new();
    if !evaluation.methods.is_empty() {
        let _ = writeln!(text, "Hits against the truth of {}\n", evaluation.truth);
        let labels: Vec<&str> = evaluation
            .methods
            .iter()
            .map(|method| method.label.as_str())
            .collect();
        let rows: Vec<Row> = rows()
            .into_iter()
            .map(|(name, cell)| {
                let cells = cell.map(|cell| evaluation.methods.iter().map(cell).collect());
                (name.to_owned(), cells)
            })
            .collect();
        columns(&mut text, &labels, &rows);
    }
    if !evaluation.events.is_empty() {
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(
            text,
            "{gap}Events against the truth of {}\n",
            evaluation.truth
        );
        let labels: Vec<&str> = evaluation
            .events
            .iter()
            .map(|method| method.label.as_str())
            .collect();
        columns(
            &mut text,
            &labels,
            &events::report::rows(&evaluation.events),
        );
    }
    text
}

/// Appends `rows` under `labels`.
fn columns(text: &mut String, labels: &[&str], rows: &[Row]) {
    let widths: Vec<usize> = labels
        .iter()
        .enumerate()
        .map(|(column, label)| {
            let cells = rows
                .iter()
                .filter_map(|(_, cells)| cells.as_ref()?.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max();
            widest.unwrap_or(0).max(label.chars().count())
        })
        .collect();
    let longest = rows
        .iter()
        .filter(|(_, cells)| cells.is_some())
        .map(|(name, _)| name.chars().count() + 2)
        .max();
    let name_width = longest.unwrap_or(0).max(NAME_WIDTH);
    let _ = write!(text, "{:name_width$}", "");
    for (label, width) in labels.iter().zip(&widths) {
        let _ = write!(text, "  {label:>width$}");
    }
    text.push('\n');
    for (name, cells) in rows {
        let Some(cells) = cells else {
            let _ = writeln!(text, "\n{name}");
            continue;
        };
        let _ = write!(text, "  {name:width$}", width = name_width - 2);
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
}

/// What is worth a warning: a line each, for the log.
#[must_use]
pub fn warnings(method: &Method) -> Vec<String> {
    let counts = &method.counts;
    let mut lines = Vec::new();
    let mut warn = |n: u64, text: String| {
        if n > 0 {
            lines.push(format!("{}: {text}", method.label));
        }
    };
    warn(
        counts.photoelectrons_not_in_output,
        format!(
            "{} true photoelectrons belong to {} waveforms that are not in the output; they are left out",
            thousands(counts.photoelectrons_not_in_output),
            thousands(counts.truth_waveforms_not_in_output)
        ),
    );
    warn(
        counts.hits_not_finite,
        format!(
            "{} hits without a finite time and charge are left out",
            thousands(counts.hits_not_finite)
        ),
    );
    warn(
        counts.photoelectrons_not_finite,
        format!(
            "{} true photoelectrons without a finite time and charge are left out",
            thousands(counts.photoelectrons_not_finite)
        ),
    );
    warn(
        counts.waveforms_saturated,
        format!(
            "{} saturated waveforms are left out of the charge figures",
            thousands(counts.waveforms_saturated)
        ),
    );
    lines
}

type Cell = fn(&Method) -> String;

/// The rows: a name and what stands in the column; headings have no cell.
fn rows() -> Vec<(&'static str, Option<Cell>)> {
    let row = |name: &'static str, cell: Cell| (name, Some(cell));
    let heading = |name: &'static str| (name, None);
    vec![
        heading("Compared"),
        row("waveforms", |m| thousands(m.counts.waveforms)),
        row("  with / without true photoelectrons", |m| {
            format!(
                "{} / {}",
                thousands(m.counts.waveforms_with_truth),
                thousands(m.counts.waveforms_without_truth)
            )
        }),
        row("  saturated, left out of the charge", |m| {
            thousands(m.counts.waveforms_saturated)
        }),
        row("true photoelectrons / hits", |m| {
            format!(
                "{} / {}",
                thousands(m.counts.photoelectrons),
                thousands(m.counts.hits)
            )
        }),
        row("photoelectrons not in the output", |m| {
            thousands(m.counts.photoelectrons_not_in_output)
        }),
        heading("Charge"),
        row("bias, sum over sum (%)", |m| percent_error(m.charge.bias)),
        row("resolution about 1 / 10 / 100 PE, RMS (%)", |m| {
            let rms = |pe| resolution_at(&m.charge.by_charge, pe);
            format!("{} / {} / {}", rms(1.0), rms(10.0), rms(100.0))
        }),
        row("largest nonlinearity, 1 to 200 PE (%)", |m| {
            percent_error(
                m.charge
                    .largest_nonlinearity
                    .map(|largest| largest.nonlinearity),
            )
        }),
        row("  found at (PE)", |m| {
            m.charge
                .largest_nonlinearity
                .map_or_else(nothing, |largest| {
                    format!("{} to {}", largest.low_pe, largest.high_pe)
                })
        }),
        heading("Time of the first hit"),
        row("bias (ns)", |m| with_error(m.timing.overall.bias_ns, 3)),
        row("RMS within \u{b1}20 ns (ns)", |m| {
            number(m.timing.overall.rms_ns, 2)
        }),
        row("half-width of the central 68 % (ns)", |m| {
            number(m.timing.overall.half_width_68_ns, 2)
        }),
        row("first hit > 20 ns late (%)", |m| {
            percent(Share::of(m.timing.late_first_hits, m.timing.overall.n))
        }),
        row("false hits > 20 ns before", |m| {
            thousands(m.timing.early_hits)
        }),
        heading("Shape"),
        row("Wasserstein distance, mean (ns)", |m| {
            with_error(m.wasserstein.mean_ns, 3)
        }),
        row("Wasserstein distance, median (ns)", |m| {
            number(m.wasserstein.median_ns, 2)
        }),
        row("pairs resolved at 50 % / 90 % from (ns)", |m| {
            format!(
                "{} / {}",
                number(m.pairs.resolved_50_ns, 1),
                number(m.pairs.resolved_90_ns, 1)
            )
        }),
        row("hits per photoelectron", |m| {
            with_error(m.detection.hits_per_pe, 3)
        }),
        heading("Detection (within \u{b1}10 ns)"),
        row("efficiency (%)", |m| percent(m.detection.efficiency)),
        row("waveforms with light but no hit (%)", |m| {
            percent(Share::of(
                m.counts.waveforms_missed,
                m.counts.waveforms_with_truth,
            ))
        }),
        row("purity (%)", |m| percent(m.detection.purity)),
        row("false hits per 1,000 waveforms", |m| {
            per_thousand(m.detection.false_hits_per_waveform)
        }),
        row("  in waveforms without light", |m| {
            per_thousand(m.detection.false_hits_per_empty_waveform)
        }),
    ]
}

pub(super) fn nothing() -> String {
    NOTHING.to_owned()
}

fn resolution_at(bins: &[ChargeBin], charge_pe: f64) -> String {
    let bin = bins
        .iter()
        .find(|bin| (bin.low_pe..bin.high_pe).contains(&charge_pe));
    number(bin.map(|bin| 100.0 * bin.deviation.rms), 1)
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value
        .filter(|value| value.is_finite())
        .map_or_else(nothing, |value| format!("{:.decimals$}", value + 0.0))
}

/// A figure with its error, with at least `decimals` decimals and at most two more, so that the error is not 0.
pub(super) fn with_error(estimate: Option<Estimate>, decimals: usize) -> String {
    estimate.map_or_else(nothing, |estimate| {
        let first_digit = -estimate.error.abs().log10().floor();
        let decimals = if first_digit.is_finite() {
            (first_digit.max(0.0) as usize).clamp(decimals, decimals + 2)
        } else {
            decimals
        };
        let error = number(Some(estimate.error), decimals);
        format!("{} \u{b1} {error}", number(Some(estimate.value), decimals))
    })
}

fn scaled(estimate: Option<Estimate>, factor: f64) -> Option<Estimate> {
    estimate.map(|estimate| Estimate {
        value: factor * estimate.value,
        error: factor * estimate.error,
    })
}

pub(super) fn percent_error(estimate: Option<Estimate>) -> String {
    with_error(scaled(estimate, 100.0), 2)
}

fn per_thousand(estimate: Option<Estimate>) -> String {
    with_error(scaled(estimate, 1000.0), 2)
}

pub(super) fn percent(share: Option<Share>) -> String {
    number(share.map(|share| 100.0 * share.value), 2)
}

/// A count with its thousands set apart.
#[must_use]
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1,000");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn what_does_not_exist_is_a_dash() {
        assert_eq!(percent_error(None), "-");
        assert_eq!(number(Some(f64::NAN), 2), "-");
        let single = Estimate {
            value: -0.012_34,
            error: f64::NAN,
        };
        assert_eq!(percent_error(Some(single)), "-1.23 \u{b1} -");
    }

    #[test]
    fn a_small_error_gets_the_decimals_to_show_it() {
        let of = |error| {
            Some(Estimate {
                value: 0.125_04,
                error,
            })
        };
        assert_eq!(with_error(of(0.2), 2), "0.13 \u{b1} 0.20");
        assert_eq!(with_error(of(0.002), 2), "0.125 \u{b1} 0.002");
        assert_eq!(with_error(of(0.0), 2), "0.13 \u{b1} 0.00");
    }
}
