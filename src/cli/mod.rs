//! The command line: one file per command, which parses arguments, calls the library and prints the result.

/// Prints a line on stderr. Unlike `eprintln!` it ignores errors: a closed terminal or a log on a full disk must not end a
/// run.
macro_rules! status {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr().lock(), $($part)*);
    }};
}

mod args;
mod backend;
mod bench;
mod calibrate;
mod completions;
mod console;
mod counter;
mod detector;
mod devices;
mod duration;
mod error_text;
mod evaluate;
mod exit_codes;
mod flag_reference;
mod flags;
mod inspect;
mod log;
mod man;
mod merge;
mod plan;
mod progress;
mod reconstruct;
mod serve;
mod simulate;
mod verify;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use serde::Serialize;

#[doc(hidden)]
pub use exit_codes::{EXIT_CODES, ExitCodeDescription};
#[doc(hidden)]
pub use flag_reference::{FLAG_DESCRIPTIONS, FlagDescription};

use crate::error::{Error, ErrorKind, Result};
use crate::gpu::driver_threads;
use crate::io::MergedChannels;

/// Time that GPU drivers have to close their devices before the process ends anyway.
const CLOSING: Duration = Duration::from_secs(5);

/// Waveform reconstruction for neutrino detectors: raw photomultiplier waveforms in, photoelectron hits out
#[derive(Debug, Parser)]
#[command(
    name = "nuwave",
    version = crate::version::VERSION_AND_COMMIT,
    max_term_width = 110,
    after_help = exit_codes()
)]
struct Cli {
    /// Print warnings and errors only
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Print the result as JSON on stdout
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Reconstruct(Box<reconstruct::Args>),
    Plan(Box<plan::Args>),
    Merge(merge::Args),
    Verify(verify::Args),
    Serve(Box<serve::Args>),
    Simulate(simulate::Args),
    Calibrate(calibrate::Args),
    Evaluate(evaluate::Args),
    Inspect(inspect::Args),
    Detector(detector::Args),
    Devices(devices::Args),
    Bench(bench::Args),
    Flags(flags::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Returns the exit codes as a list, for `--help`.
fn exit_codes() -> String {
    EXIT_CODES
        .iter()
        .fold("Exit codes:".to_owned(), |list, code| {
            list + &format!("\n  {:>2}  {}", code.code, code.meaning)
        })
}

/// Returns the whole command line, for completion scripts, manual pages and the command reference; not part of the library's
/// interface.
#[doc(hidden)]
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// How much a command prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verbosity {
    /// Warnings and errors only.
    pub quiet: bool,
    /// JSON on stdout.
    pub json: bool,
}

/// Prints the result of a command on stdout. A closed pipe (`| head`) is not an error, a full disk is.
pub(crate) fn print(text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Output, "stdout cannot be written").with_source(error))
        }
        _ => Ok(()),
    }
}

/// Prints the summary of a result that is in a folder or file on stdout, unless JSON is wanted there. Errors are ignored: the result is
/// complete without it.
pub(crate) fn print_summary(text: &str, verbosity: Verbosity) {
    if !verbosity.quiet && !verbosity.json {
        let _ = print(text);
    }
}

/// Returns the result of a command as JSON.
pub(crate) fn json_text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| Error::internal("the JSON cannot be written").with_source(error))
}

/// Returns text that another crate made as bytes.
pub(crate) fn utf8(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes)
        .map_err(|error| Error::internal("the text is not UTF-8").with_source(error))
}

/// Prints the result of a command as JSON on stdout. `what` names the result in an error.
pub(crate) fn print_json(what: &'static str, value: &impl Serialize) -> anyhow::Result<()> {
    print(&json_text(value).context(what)?)?;
    Ok(())
}

/// Returns the warning that several inputs become one channel, with the option that keeps them apart.
pub(crate) fn merged_channels_text(merged: &MergedChannels) -> String {
    let pattern = merged.pattern.as_deref().unwrap_or("PATTERN");
    format!(
        "{merged}; if each is another channel, add `--channel-id '{pattern}'`, if not, `--channel-id 0`"
    )
}

/// Takes `-5` as the value of an option: the command then checks the number and names its range.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            // A switch of the configuration file has an action for values, and none on the command line.
            let takes_values = arg.get_action().takes_values()
                && arg.get_num_args().is_none_or(|range| range.takes_values());
            if arg.get_long().is_some() && takes_values {
                arg.allow_negative_numbers(true)
            } else {
                arg
            }
        })
        .mut_subcommands(with_negative_numbers)
}

/// Parses the arguments of this process.
fn parse() -> std::result::Result<Cli, clap::Error> {
    let matches: ArgMatches = with_negative_numbers(Cli::command()).try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

/// Runs the command line of this process and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    backend::quiet_vulkan_layer();
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` arrive here too; clap knows which stream and code each takes.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    log::install(matches!(cli.command, Command::Serve(_)));
    let verbosity = Verbosity {
        quiet: cli.quiet,
        json: cli.json,
    };
    let code = match run(cli.command, verbosity) {
        Ok(code) => code,
        Err(error) => {
            status!("error: {}", error_text::chain_text(&error));
            ExitCode::from(error_text::exit_code(&error))
        }
    };
    if !driver_threads::wait_for_driver_threads(CLOSING) {
        leave_at_once(code);
    }
    code
}

/// Ends the process without the exit handlers of its libraries, which would crash while a thread is inside a GPU driver.
fn leave_at_once(code: ExitCode) {
    use std::io::Write as _;
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
    // `ExitCode` has no accessor for its number.
    if let Some(number) = (0..=u8::MAX).find(|&number| ExitCode::from(number) == code) {
        signal_hook::low_level::exit(number.into());
    }
}

/// Reads and checks the settings of `nuwave reconstruct` as `--config` does. For fuzzing; not part of the library's
/// interface.
///
/// # Errors
/// If the file cannot be read, a key is unknown, or a value is invalid.
#[doc(hidden)]
pub fn read_configuration(path: &std::path::Path) -> Result<()> {
    reconstruct::read_configuration(path)
}

fn run(command: Command, verbosity: Verbosity) -> anyhow::Result<ExitCode> {
    Ok(match command {
        Command::Reconstruct(args) => reconstruct::run(&args, verbosity)?,
        Command::Plan(args) => plan::run(&args, verbosity)?,
        Command::Merge(args) => merge::run(&args, verbosity)?,
        Command::Verify(args) => verify::run(&args, verbosity)?,
        Command::Serve(args) => serve::run(&args, verbosity)?,
        Command::Simulate(args) => simulate::run(args, verbosity)?,
        Command::Calibrate(args) => calibrate::run(args, verbosity)?,
        Command::Evaluate(args) => evaluate::run(&args, verbosity)?,
        Command::Inspect(args) => inspect::run(&args, verbosity)?,
        Command::Detector(args) => detector::run(args, verbosity)?,
        Command::Devices(args) => devices::run(&args, verbosity)?,
        Command::Bench(args) => bench::run(&args, verbosity)?,
        Command::Flags(args) => flags::run(&args, verbosity)?,
        Command::Completions(args) => completions::run(&args)?,
        Command::Man(args) => man::run(&args, verbosity)?,
    })
}
