//! `nuwave man`: manual pages of all commands.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;

use super::{Verbosity, print, utf8};
use crate::error::{Error, Result};
use crate::text::counted;
use crate::version::VERSION;

/// Write the manual pages
///
/// One page per command: nuwave.1, nuwave-reconstruct.1 and so on. Without --output the page of `nuwave` is printed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nuwave man | man -l -\n  \
    nuwave man --output ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// Folder to write the pages to; pages of the same name are replaced
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, verbosity: Verbosity) -> anyhow::Result<ExitCode> {
    let mut command = super::command();
    command.build();
    let Some(folder) = &args.output else {
        print(&utf8(page(&command)?)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(folder)
        .map_err(|error| Error::output(folder, "cannot be made").with_source(error))?;
    let count = write_pages(folder, &command)?;
    if !verbosity.quiet {
        status!(
            "written: {} to `{}`",
            counted(count, "page"),
            folder.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the pages of `command` and of its subcommands, and returns their number.
fn write_pages(folder: &Path, command: &Command) -> Result<u64> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?)
        .map_err(|error| Error::output(&path, "cannot be written").with_source(error))?;
    let mut count = 1;
    for subcommand in command.get_subcommands() {
        if subcommand.get_name() != "help" {
            count += write_pages(folder, subcommand)?;
        }
    }
    Ok(count)
}

/// Returns the page of `command`, in roff.
fn page(command: &Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone())
        .source(format!("nuwave {VERSION}"))
        .render(&mut page)
        .map_err(|error| Error::internal("the manual page cannot be made").with_source(error))?;
    Ok(page)
}
