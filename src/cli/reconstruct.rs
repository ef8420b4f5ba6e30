//! `nuwave reconstruct`: waveforms -> hits -> events, unit of work by unit of work.

pub(crate) mod events;
mod from_hits;
mod from_waveforms;
mod job;
pub(crate) mod settings;
mod summary;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::Verbosity;
use super::args::merge_config;
use crate::error::{Error, Result};
use crate::io::inputs;
use crate::pipeline::{CancelToken, Mode, PlannedInput, REPORT, Selection};
use job::Request;
use settings::{From, Settings, WORK};

/// Turn waveforms into hits, and hits into events
///
/// Reads HDF5, Parquet, Arrow IPC, NumPy and CAEN WaveDump files (recognised by their content) and writes
/// the folder DIR with the Parquet tables `hits` and `waveforms`, `events` where the detector has a geometry, and a
/// `report.json`. DIR is there only when all is done; until then finished units of work wait in DIR.partial, and
/// `--resume` goes on with them. With `--from hits` inputs are tables of hits (a DIR of an earlier run, Parquet, HDF5),
/// and only `events` is written.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nuwave reconstruct testdata/juno64.h5 -o out
  nuwave reconstruct run*.dat --calibration spe.parquet --polarity negative -o out
  nuwave reconstruct raw.h5 --table Readout/Waveform --columns event=TriggerNo,channel=ChannelID,samples=Waveform -d jinping -o out
  nuwave reconstruct run.h5 -d juno --light-maps maps -o out
  nuwave reconstruct --from hits out -d juno --light-maps maps --event-method charge -o events
  nuwave reconstruct --inputs-from runs.txt -c spe.parquet -d juno --shard 3/40 --resume -o shards/3

Exit codes: 0 done, 2 usage or configuration, 3 input unreadable, 4 done but parts of the input were lost (listed in
the report), 5 output, 6 GPU demanded but absent, or lost for good (the result is whole then), 70 a defect of nuwave,
75 stopped by a signal, or an input that changes or cannot be read now: the same with `--resume` goes on.")]
pub(crate) struct Args {
    #[command(flatten)]
    job: JobArgs,
    /// Folder to make for the result
    #[arg(
        long,
        short,
        value_name = "DIR",
        required_unless_present = "print_config"
    )]
    output: Option<PathBuf>,
    /// Replace DIR if nuwave made it; begin anew what is unfinished
    #[arg(long)]
    overwrite: bool,
    /// Keep the units that an earlier run finished, and do the rest
    #[arg(long, help_heading = WORK)]
    resume: bool,
}

/// What `reconstruct` and `plan` have in common: the inputs, how they are divided, the settings.
#[derive(Debug, clap::Args)]
pub(crate) struct JobArgs {
    /// Waveform files, folders of them or patterns; or tables of hits
    #[arg(required_unless_present_any = ["print_config", "inputs_from"], value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// File with the names of (further) inputs, one a line
    #[arg(long, value_name = "FILE")]
    inputs_from: Option<PathBuf>,
    /// Do part I of N of the work
    #[arg(long, value_name = "I/N", value_parser = Selection::parse_shard, help_heading = WORK)]
    shard: Option<Selection>,
    /// Do the units A to B-1, as `nuwave plan` counts them
    #[arg(long, value_name = "A:B", value_parser = Selection::parse_units, conflicts_with = "shard", help_heading = WORK)]
    units: Option<Selection>,
    /// TOML file with settings; the command line wins
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings as they result from file and command line, and end
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    settings: Settings,
}

impl JobArgs {
    /// The settings of file and command line.
    fn settings(&self) -> Result<Settings> {
        merge_config(self.config.as_deref(), &self.settings)
    }

    /// Prints the settings if that is all that is wanted.
    fn prints_config(&self, settings: &Settings) -> Result<bool> {
        if self.print_config {
            let text = toml::to_string(&settings.resolved())
                .map_err(|error| Error::internal(format!("settings: {error}")))?;
            super::print(&text)?;
        }
        Ok(self.print_config)
    }

    /// The part of the work that is to be done.
    pub fn selection(&self) -> Selection {
        self.shard.or(self.units).unwrap_or_default()
    }

    /// The input files.
    fn inputs(&self, settings: &Settings, verbosity: Verbosity) -> Result<Vec<PathBuf>> {
        let list = self.inputs_from.as_deref();
        // A table of hits may be a folder.
        let found = match settings.from() {
            From::Hits => {
                let mut files = self.inputs.clone();
                let listed = list.map(inputs::lines).transpose()?.unwrap_or_default();
                files.extend(listed.into_iter().map(|(_, path)| path));
                return Ok(files);
            }
            From::Waveforms => inputs::expand(&self.inputs, list)?,
        };
        if !found.left_out.is_empty() && !verbosity.quiet {
            status!(
                "note: {} entries of folders are left out, which do not end like waveforms or are outputs of nuwave; the first is `{}`",
                found.left_out.len(),
                found.left_out[0].display()
            );
        }
        for path in &found.repeated {
            status!(
                "warning: `{}` is named more than once, and read as often",
                path.display()
            );
        }
        if found.files.is_empty() {
            return Err(Error::usage("no input").with_hint("name files, or `--inputs-from FILE`"));
        }
        Ok(found.files)
    }

    /// The inputs, divided into units; `None` if only the settings were wanted, and printed.
    pub fn plan(&self, verbosity: Verbosity) -> Result<Option<Vec<PlannedInput>>> {
        let settings = self.settings()?;
        if self.prints_config(&settings)? {
            return Ok(None);
        }
        let files = self.inputs(&settings, verbosity)?;
        Ok(Some(match settings.from() {
            From::Waveforms => from_waveforms::plan(&settings, &files)?.0,
            From::Hits => from_hits::plan(&settings, &files)?.0,
        }))
    }
}

pub(crate) fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    let settings = args.job.settings()?;
    if args.job.prints_config(&settings)? {
        return Ok(ExitCode::SUCCESS);
    }
    let Some(output) = &args.output else {
        return Err(Error::usage("`--output DIR` is missing"));
    };
    let files = args.job.inputs(&settings, verbosity)?;
    let request = Request {
        settings: &settings,
        files: &files,
        selection: args.job.selection(),
        output,
        mode: Mode {
            resume: args.resume,
            overwrite: args.overwrite,
        },
        verbosity,
        cancel: &CancelToken::on_signals(),
    };
    match settings.from() {
        From::Waveforms => from_waveforms::run(request),
        From::Hits => from_hits::run(request),
    }
}

/// A pass over `files` into the folder `output` without a word, going on with what an earlier one finished there; returns
/// its report.
pub(super) fn pass(
    settings: &Settings,
    files: &[PathBuf],
    output: &Path,
    cancel: &CancelToken,
) -> Result<serde_json::Value> {
    from_waveforms::run(Request {
        settings,
        files,
        selection: Selection::default(),
        output,
        mode: Mode {
            resume: true,
            overwrite: false,
        },
        verbosity: Verbosity {
            quiet: true,
            json: false,
        },
        cancel,
    })?;
    let path = output.join(REPORT);
    let wrong =
        |error: &dyn std::fmt::Display| Error::internal(format!("`{}`: {error}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(&error))?;
    serde_json::from_str(&text).map_err(|error| wrong(&error))
}

/// Reads the settings of a file and makes of them what needs no input.
pub(super) fn read_configuration(path: &Path) -> Result<()> {
    let settings: Settings = merge_config(Some(path), &Settings::default())?;
    toml::to_string(&settings.resolved())
        .map_err(|error| Error::internal(format!("settings: {error}")))?;
    let wrong = |error: Error| error.in_file(path);
    settings.threads.count().map_err(wrong)?;
    match settings.from() {
        From::Waveforms => settings.input.read_options(0).map_err(wrong)?,
        From::Hits => settings.input.hit_options().map_err(wrong)?,
    };
    Ok(())
}

/// The pool that extracts and reconstructs, of `threads` threads.
pub(super) fn thread_pool(threads: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| Error::internal(format!("{threads} threads: {error}")))
}
