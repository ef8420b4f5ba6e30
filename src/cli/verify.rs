//! `nuwave verify`: checks finished outputs against their reports and their inputs.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{Verbosity, print_json};
use crate::error::ErrorKind;
use crate::pipeline::{Finding, verify};

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
}

pub(crate) fn run(args: &Args, verbosity: Verbosity) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    for dir in &args.dirs {
        let (report, findings) = verify(dir, !args.no_inputs)?;
        let name = dir.display();
        for Finding { place, what } in &findings {
            status!("`{name}`: {place}: {what}");
        }
        if findings.is_empty() && !verbosity.quiet {
            let totals = &report.totals;
            status!(
                "`{name}` passes: {} units, {} files, {} waveforms, {} hits, {} lost and listed{}",
                report.units.len(),
                report.outputs.len(),
                totals.waveforms,
                totals.hits,
                totals.lost,
                if args.no_inputs {
                    ""
                } else {
                    "; the inputs are unchanged"
                }
            );
        }
        all.push(Printed {
            dir: name.to_string(),
            holds: findings.is_empty(),
            status: report.status,
            units: report.units.len(),
            parts: report.outputs.len(),
            findings,
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
