//! `nuwave merge`: shards become one output.

use std::path::PathBuf;
use std::process::ExitCode;

use super::Verbosity;
use crate::error::{Error, Result};
use crate::pipeline::{Mode, merge};

/// Join the outputs of shards into what a single run would have made
///
/// Refuses shards that were not made alike, and a set of them that is not complete. Every part is compared with its checksum
/// on the way.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nuwave merge shards/* -o out

Exit codes: as those of `nuwave reconstruct`; 4 if parts of the inputs were lost.")]
pub(crate) struct Args {
    /// Outputs of `nuwave reconstruct --shard`
    #[arg(required = true, value_name = "DIR")]
    shards: Vec<PathBuf>,
    /// Folder to make for the result
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Replace it if nuwave made it
    #[arg(long)]
    overwrite: bool,
    /// Keep what an earlier run joined
    #[arg(long)]
    resume: bool,
}

pub(crate) fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    let mode = Mode {
        resume: args.resume,
        overwrite: args.overwrite,
    };
    let report = merge(&args.shards, &args.output, mode)?;
    if verbosity.json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Error::internal(format!("the report: {error}")))?;
        super::print(&(text + "\n"))?;
    }
    if !verbosity.quiet {
        status!("{}\n{}", args.output.display(), report.summary().trim_end());
    }
    Ok(ExitCode::from(report.exit_code()))
}
