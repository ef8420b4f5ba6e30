//! `nuwave merge`: joins shards into one output.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Verbosity, print_json, print_summary};
use crate::pipeline::{Mode, merge};

/// Join the outputs of shards into one, identical to that of a single run
///
/// Refuses shards with different settings, and incomplete sets of shards. Compares every part with its checksum.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nuwave merge shards/* -o out

Exit codes: as for `nuwave reconstruct`; 4 if parts of the inputs were lost.")]
pub(crate) struct Args {
    /// Outputs of `nuwave reconstruct --shard`
    #[arg(required = true, value_name = "DIR")]
    shards: Vec<PathBuf>,
    /// Output folder
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Replace DIR if nuwave made it
    #[arg(long)]
    overwrite: bool,
    /// Keep the units that an earlier run joined
    #[arg(long)]
    resume: bool,
}

pub(crate) fn run(args: &Args, verbosity: Verbosity) -> anyhow::Result<ExitCode> {
    let mode = Mode {
        resume: args.resume,
        overwrite: args.overwrite,
    };
    let report = merge(&args.shards, &args.output, mode)?;
    if verbosity.json {
        print_json("the report", &report)?;
    }
    super::reconstruct::print_warnings(&report);
    let text = format!("{}\n{}", args.output.display(), report.summary());
    print_summary(&text, verbosity);
    Ok(ExitCode::from(report.exit_code()))
}
