//! `nuwave verify`: checks finished outputs against their reports and their inputs.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{Verbosity, print_json, print_summary};
use crate::cli::reconstruct::print_warnings;
use crate::error::ErrorKind;
use crate::pipeline::{EventsReport, Finding, InputWarning, Report, verify};
use crate::text::counted;

/// Check finished outputs: files, checksums, counts, every waveform and event once, inputs unchanged
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nuwave verify out
  nuwave verify --no-inputs shards/*

Exit codes: 0 all checks pass (also if the report lists losses), 3 a check fails.")]
pub(crate) struct Args {
    /// Outputs of `nuwave reconstruct` or `nuwave merge`
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Do not read the inputs again
    #[arg(long)]
    no_inputs: bool,
}

/// The result as JSON.
#[derive(Serialize)]
struct Printed {
    dir: String,
    holds: bool,
    status: String,
    units: usize,
    parts: usize,
    findings: Vec<Finding>,
    /// Reasons to doubt the result, from the report.
    warnings: Vec<InputWarning>,
}

/// The content of an output in words.
fn content(report: &Report) -> String {
    let totals = &report.totals;
    let mut parts = vec![
        counted(report.units.len() as u64, "unit"),
        counted(report.outputs.len() as u64, "file"),
    ];
    // A pass over hits has no waveforms.
    if report.from == "waveforms" {
        parts.push(counted(totals.waveforms, "waveform"));
    }
    parts.push(counted(totals.hits, "hit"));
    if let EventsReport::Present { events, .. } = &report.events {
        parts.push(counted(*events, "event"));
    }
    parts.push(format!("{} lost and listed", totals.lost_text()));
    parts.join(", ")
}

pub(crate) fn run(args: &Args, verbosity: Verbosity) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    for dir in &args.dirs {
        let (report, findings) = verify(dir, !args.no_inputs)?;
        let name = dir.display();
        for Finding { place, what } in &findings {
            status!("`{name}`: {place}: {what}");
        }
        print_warnings(&report);
        if findings.is_empty() {
            let unchanged = if args.no_inputs {
                ""
            } else {
                "; the inputs are unchanged"
            };
            let text = format!("`{name}` passes: {}{unchanged}\n", content(&report));
            print_summary(&text, verbosity);
        }
        all.push(Printed {
            dir: name.to_string(),
            holds: findings.is_empty(),
            status: report.status,
            units: report.units.len(),
            parts: report.outputs.len(),
            findings,
            warnings: report.warnings,
        });
    }
    if verbosity.json {
        print_json("the findings", &all)?;
    }
    let holds = all.iter().all(|one| one.holds);
    Ok(ExitCode::from(if holds {
        0
    } else {
        ErrorKind::Input.exit_code()
    }))
}
