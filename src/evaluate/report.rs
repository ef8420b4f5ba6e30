//! The table on the terminal: one row per result, one column per reconstruction.

use std::fmt::Write as _;

use super::cells::{per_thousand, percent, percent_error, with_error};
use super::charge::ChargeBin;
use super::events;
use super::stats::Share;
use super::summary::{Evaluation, ReconstructionResult};
use crate::text::table::{Row, append_table};
use crate::text::{missing, number, thousands};

/// Minimum width of the column of names.
const NAME_WIDTH: usize = 44;

/// Returns the table of `evaluation` with a final line end: hits first, then events.
#[must_use]
pub fn table(evaluation: &Evaluation) -> String {
    let mut text = String::new();
    if !evaluation.methods.is_empty() {
        let _ = writeln!(text, "Hits against the truth of {}\n", evaluation.truth);
        let labels: Vec<&str> = evaluation
            .methods
            .iter()
            .map(|result| result.label.as_str())
            .collect();
        let rows: Vec<Row> = rows()
            .into_iter()
            .map(|(name, cell)| {
                let cells = cell.map(|cell| evaluation.methods.iter().map(cell).collect());
                (name.to_owned(), cells)
            })
            .collect();
        append_table(&mut text, NAME_WIDTH, &labels, &rows);
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
            .map(|result| result.label.as_str())
            .collect();
        append_table(
            &mut text,
            NAME_WIDTH,
            &labels,
            &events::report::rows(&evaluation.events),
        );
    }
    text
}

/// Returns warnings, one line each.
#[must_use]
pub fn warnings(result: &ReconstructionResult) -> Vec<String> {
    let counts = &result.counts;
    let mut lines = Vec::new();
    let mut warn = |n: u64, text: String| {
        if n > 0 {
            lines.push(format!("{}: {text}", result.label));
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
            "{} saturated waveforms are left out of the charge metrics",
            thousands(counts.waveforms_saturated)
        ),
    );
    lines
}

type Cell = fn(&ReconstructionResult) -> String;

/// Returns the rows: a name and a function for the cells; headings have none.
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
                .map_or_else(missing, |largest| {
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
            percent(Share::new(m.timing.late_first_hits, m.timing.overall.n))
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
            percent(Share::new(
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

fn resolution_at(bins: &[ChargeBin], charge_pe: f64) -> String {
    let bin = bins
        .iter()
        .find(|bin| (bin.low_pe..bin.high_pe).contains(&charge_pe));
    number(bin.map(|bin| 100.0 * bin.deviation.rms), 1)
}
