//! The help of every command, as a user reads it.

use crate::support::reconstruct::{Run, nuwave};
use crate::support::snapshot;

/// Asserts the help of a command, and of the commands below it.
fn check(command: &[String]) {
    let run = Run::new(
        nuwave()
            .args(command)
            .arg("--help")
            .env_remove("COLUMNS")
            .stdin(std::process::Stdio::null()),
    )
    .ended_with(0);
    let name = [&["help".to_owned()], command].concat().join("-");
    snapshot::assert(&name, &run.stdout);
    for below in commands(&run.stdout) {
        check(&[command, &[below]].concat());
    }
}

/// The commands that a help lists.
fn commands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_has_the_help_of_its_snapshot() {
    check(&[]);
}
