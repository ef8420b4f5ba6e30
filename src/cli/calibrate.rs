//! `nuwave calibrate`: one file for each kind of calibration.

mod light;
mod spe;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use super::Talk;
use crate::error::Result;

/// Learn templates, gains, noise and light maps from data
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

pub(crate) fn run(args: Args, talk: Talk) -> Result<ExitCode> {
    match args.what {
        What::Spe(args) => spe::run(&args, talk),
        What::Light(args) => light::run(&args, talk),
    }
}

/// Says on stdout what was found, as the user wants it, and where it was written.
fn tell(
    talk: Talk,
    output: &Path,
    json: impl FnOnce() -> String,
    table: impl FnOnce() -> String,
) -> Result<()> {
    let text = if talk.json {
        format!("{}\n", json())
    } else if talk.quiet {
        String::new()
    } else {
        format!("{}\nwritten: `{}`\n", table(), output.display())
    };
    super::print(&text)
}
