//! `nuwave detector`: lists the presets, or prints a detector file.

use std::process::ExitCode;

use super::{Verbosity, print, print_json};
use crate::detector;

/// List the detector presets, or print one as a file for editing
#[derive(Debug, clap::Args)]
#[command(after_help = "To describe your own detector:\n  \
    nuwave detector juno > mine.toml\n  \
    (edit mine.toml)\n  \
    nuwave simulate waveforms --detector mine.toml -o waveforms.h5")]
pub(crate) struct Args {
    /// A preset's name, or a detector file to check and print; without it, the presets are listed
    #[arg(value_name = "NAME|FILE")]
    detector: Option<String>,
}

pub(crate) fn run(args: Args, verbosity: Verbosity) -> anyhow::Result<ExitCode> {
    match args.detector {
        None => list(verbosity)?,
        Some(name) => {
            let (text, origin) = detector::text(&name)?;
            let detector = detector::parse(&text, &origin)?;
            if verbosity.json {
                print_json("the detector", &detector)?;
            } else {
                print(&text)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(verbosity: Verbosity) -> anyhow::Result<()> {
    let mut detectors = Vec::new();
    for (name, text) in detector::PRESETS {
        detectors.push(detector::parse(text, &format!("preset {name}"))?);
    }
    if verbosity.json {
        return print_json("the detectors", &detectors);
    }
    let lines = detectors.iter().fold(String::new(), |list, detector| {
        list + &format!("{:<10} {}\n", detector.name, detector.description)
    });
    print(&lines)?;
    Ok(())
}
