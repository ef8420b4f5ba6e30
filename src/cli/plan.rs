//! `nuwave plan`: the units that a run would do.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use super::reconstruct::JobArgs;
use super::{Verbosity, print, print_json};
use crate::pipeline::{PlannedInput, units};

/// Print the units of a run, or those of one shard
///
/// A unit is a block of whole events of one input. Units depend on the inputs alone: all machines with the same files agree on
/// them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nuwave plan runs/ -c spe.parquet -d juno
  nuwave plan runs/ -c spe.parquet -d juno --shard 3/40
  nuwave plan runs/ -c spe.parquet -d juno --json | jq .total_units")]
pub(crate) struct Args {
    #[command(flatten)]
    job: JobArgs,
}

/// The plan as JSON.
#[derive(Serialize)]
struct Printed<'a> {
    inputs: &'a [PlannedInput],
    total_units: usize,
    selection: String,
    units: Vec<Line>,
}

/// One unit.
#[derive(Serialize)]
struct Line {
    /// Its number, as used by `--units`.
    unit: u64,
    input_id: u32,
    block: u32,
    /// Position of its first event in the input, in rows or bytes.
    first_position: u64,
    /// Position after its last event; absent for the last unit.
    end_position: Option<u64>,
}

pub(crate) fn run(args: &Args, verbosity: Verbosity) -> anyhow::Result<ExitCode> {
    let Some(inputs) = args.job.plan(verbosity)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let selection = args.job.selection();
    let all: Vec<_> = units(&inputs).collect();
    let range = selection.range(all.len() as u64)?;
    let lines: Vec<Line> = (range.start..)
        .zip(
            all.get(range.start as usize..range.end as usize)
                .unwrap_or_default(),
        )
        .filter_map(|(number, unit)| {
            let positions = inputs.get(unit.input_id as usize)?.positions(unit.block);
            Some(Line {
                unit: number,
                input_id: unit.input_id,
                block: unit.block,
                first_position: positions.start,
                end_position: Some(positions.end).filter(|&end| end != u64::MAX),
            })
        })
        .collect();
    if verbosity.json {
        let printed = Printed {
            inputs: &inputs,
            total_units: all.len(),
            selection: selection.to_string(),
            units: lines,
        };
        print_json("the plan", &printed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::from("  unit  input  block  from position  input file\n");
    for line in &lines {
        let path = inputs
            .get(line.input_id as usize)
            .map(|input| input.path.display());
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            text,
            "{:>6} {:>6} {:>6} {:>14}  {}",
            line.unit,
            line.input_id,
            line.block,
            line.first_position,
            path.map_or_else(String::new, |path| path.to_string())
        );
    }
    for reason in inputs.iter().filter_map(|input| input.unusable.as_ref()) {
        let _ = writeln!(text, "cannot be read: {reason}");
    }
    let _ = writeln!(text, "{} of {} units, {selection}", lines.len(), all.len());
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
