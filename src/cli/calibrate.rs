//! `nuwave calibrate`: one file per kind of calibration.

mod light;
mod spe;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use super::Verbosity;
use crate::error::Result;

/// Determine templates, gains, noise and light maps from data
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Spe(spe::Args),
    Light(light::Args),
}

pub(crate) fn run(args: Args, verbosity: Verbosity) -> Result<ExitCode> {
    match args.what {
        What::Spe(args) => spe::run(&args, verbosity),
        What::Light(args) => light::run(&args, verbosity),
    }
}

/// Returns the command line of this process, for the file that it writes. The folder of the program is left out.
fn command_line() -> String {
    let arguments = std::env::args().skip(1);
    std::iter::once("nuwave".to_owned())
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Prints the result to stdout in the requested form, and where it was written.
fn tell(
    verbosity: Verbosity,
    output: &Path,
    json: impl FnOnce() -> String,
    table: impl FnOnce() -> String,
) -> Result<()> {
    let text = if verbosity.json {
        format!("{}\n", json())
    } else if verbosity.quiet {
        String::new()
    } else {
        format!("{}\nwritten: `{}`\n", table(), output.display())
    };
    super::print(&text)
}
