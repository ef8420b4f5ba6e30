//! `nuwave reconstruct`: waveforms to hits to events.

pub(crate) mod settings;
mod summary;

pub(super) use summary::print_warnings;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::args::{CONFIGURATION, INPUT, OUTPUT, merge_config};
use super::console::Console;
use super::{Verbosity, print, print_json};
use crate::error::{Error, ErrorKind, Result};
use crate::io;
use crate::pipeline::{CancelToken, Pass, PassSettings, PlannedInput, Selection};
use settings::{Settings, WORK};

/// Reconstruct hits from waveforms, and events from hits
///
/// Reads files of waveforms, recognised by their content, and writes the folder DIR with the Parquet tables `hits` and `waveforms`, `events` if the detector has a geometry, and a
/// `report.json`. DIR appears when all units are done; until then finished units are kept in DIR.partial, and
/// `--resume` continues with them. With `--from hits` inputs are tables of hits (a DIR of an earlier run, Parquet, HDF5),
/// and only `events` is written.
#[derive(Debug, clap::Args)]
#[command(override_usage = "nuwave reconstruct -o <DIR> [OPTIONS] <INPUT>...")]
#[command(after_help = "\
Examples:
  nuwave reconstruct testdata/juno64.h5 -o out
  nuwave reconstruct run*.dat --calibration spe.parquet --polarity negative -o out
  nuwave reconstruct raw.h5 --table Readout/Waveform --columns event=TriggerNo,channel=ChannelID,samples=Waveform -d jinping -o out
  nuwave reconstruct run.h5 -d juno --light-maps maps -o out
  nuwave reconstruct --from hits out -d juno --light-maps maps --event-method charge -o events
  nuwave reconstruct --inputs-from runs.txt -c spe.parquet -d juno --shard 3/40 --resume -o shards/3

`nuwave --help` lists the exit codes.")]
pub(crate) struct Args {
    /// Output folder
    #[arg(
        long,
        short,
        value_name = "DIR",
        required_unless_present = "print_config",
        help_heading = OUTPUT
    )]
    output: Option<PathBuf>,
    /// Replace DIR if nuwave made it; start unfinished output over
    #[arg(long, help_heading = OUTPUT)]
    overwrite: bool,
    /// Keep the units that an earlier run finished, and do the others
    #[arg(long, help_heading = WORK)]
    resume: bool,
    #[command(flatten)]
    job: JobArgs,
}

/// The help of INPUT, with the formats that can be read.
fn inputs_help() -> String {
    let formats = io::waveforms::readable_formats();
    format!("Files of waveforms ({formats}), folders or patterns; or tables of hits")
}

/// Arguments of `reconstruct` and `plan`: inputs, selection of units, settings.
#[derive(Debug, clap::Args)]
pub(crate) struct JobArgs {
    #[arg(help = inputs_help(), required_unless_present_any = ["print_config", "inputs_from"], value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// File with names of (further) inputs, one per line
    #[arg(long, value_name = "FILE", help_heading = INPUT)]
    inputs_from: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// Do part I of N of the units
    #[arg(long, value_name = "I/N", value_parser = Selection::parse_shard, help_heading = WORK)]
    shard: Option<Selection>,
    /// Do the units A to B-1, as numbered by `nuwave plan`
    #[arg(long, value_name = "A:B", value_parser = Selection::parse_units, conflicts_with = "shard", help_heading = WORK)]
    units: Option<Selection>,
    /// TOML file with settings; the command line wins
    #[arg(long, value_name = "FILE", help_heading = CONFIGURATION)]
    config: Option<PathBuf>,
    /// Print the settings resulting from file and command line, and exit
    #[arg(long, help_heading = CONFIGURATION)]
    print_config: bool,
}

impl JobArgs {
    /// Returns the settings of file and command line.
    fn settings(&self) -> Result<Settings> {
        merge_config(self.config.as_deref(), &self.settings)
    }

    /// Prints the settings if that is all that is asked for.
    fn prints_config(&self, settings: &PassSettings) -> Result<bool> {
        if self.print_config {
            print(&config_text(settings)?)?;
        }
        Ok(self.print_config)
    }

    /// Returns the units to do.
    pub fn selection(&self) -> Selection {
        self.shard.or(self.units).unwrap_or_default()
    }

    /// Returns the pass into the folder `output`.
    fn pass(&self, settings: PassSettings, output: &Path, console: Console) -> Pass {
        Pass::new(settings, &self.inputs, output)
            .inputs_from(self.inputs_from.as_deref())
            .selection(self.selection())
            .observer(Arc::new(console))
    }

    /// Returns the inputs, divided into units; `None` if only the settings were asked for, and printed.
    pub fn plan(&self, verbosity: Verbosity) -> Result<Option<Vec<PlannedInput>>> {
        let settings = self.settings()?;
        let pass_settings = settings.pass_settings()?;
        if self.prints_config(&pass_settings)? {
            return Ok(None);
        }
        let console = Console::new(verbosity, settings.progress_interval()?);
        let pass = self.pass(pass_settings, Path::new(""), console);
        pass.plan().map(Some)
    }
}

pub(crate) fn run(args: &Args, verbosity: Verbosity) -> anyhow::Result<ExitCode> {
    let settings = args.job.settings()?;
    let pass_settings = settings.pass_settings()?;
    if args.job.prints_config(&pass_settings)? {
        return Ok(ExitCode::SUCCESS);
    }
    let Some(output) = &args.output else {
        return Err(Error::usage("`--output DIR` is missing").into());
    };
    let console = Console::new(verbosity, settings.progress_interval()?);
    let outcome = args
        .job
        .pass(pass_settings, output, console)
        .resume(args.resume)
        .overwrite(args.overwrite)
        .cancel_token(&CancelToken::on_signals_and_hangup())
        .run()?;
    if verbosity.json {
        print_json("the report", &outcome.report)?;
    }
    if !outcome.was_finished {
        summary::print_summary(&outcome.report, output, verbosity);
    }
    // The result is complete, but not computed as demanded.
    let code = match outcome.report.exit_code() {
        0 if outcome.lost_gpu => ErrorKind::Gpu.exit_code(),
        code => code,
    };
    Ok(ExitCode::from(code))
}

/// Returns the settings as a configuration file.
fn config_text(settings: &PassSettings) -> Result<String> {
    toml::to_string(&settings.resolved())
        .map_err(|error| Error::internal(format!("settings: {error}")))
}

/// Reads the settings of a file and checks everything that needs no input.
pub(super) fn read_configuration(path: &Path) -> Result<()> {
    let settings: Settings = merge_config(Some(path), &Settings::default())?;
    let settings = settings
        .pass_settings()
        .map_err(|error| error.in_file(path))?;
    config_text(&settings)?;
    Ok(())
}
