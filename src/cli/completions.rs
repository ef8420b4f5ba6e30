//! `nuwave completions`: completion scripts for shells.

use std::process::ExitCode;

use clap_complete::Shell;

use super::{print, utf8};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "To install it:\n  \
    nuwave completions bash > ~/.local/share/bash-completion/completions/nuwave\n  \
    nuwave completions zsh > ~/.zfunc/_nuwave      (a folder of `fpath`)\n  \
    nuwave completions fish > ~/.config/fish/completions/nuwave.fish")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "nuwave", &mut script);
    print(&utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}
