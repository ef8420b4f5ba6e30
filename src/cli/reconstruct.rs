//! `nuwave reconstruct`: waveforms -> hits -> events.

mod events;
mod from_hits;
mod settings;
mod tell;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use super::Talk;
use super::shared::{layered, threads};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::{Account, Backend, Extractor, ReadoutFacts};
use crate::io::tables::{TablesWriter, checksum};
use crate::io::{self, SourceInfo};
use crate::pipeline::{FinishedInput, OutputFolder, Progress, Provenance, Report, run_input};
use events::EventStage;
use settings::{From, Settings};
use tell::tell;

/// Turn waveforms into hits, and hits into events
///
/// Reads HDF5, Parquet, Arrow IPC, NumPy and CAEN WaveDump files (recognised by their content) and writes
/// the folder DIR with the Parquet tables `hits` and `waveforms`, `events` where the detector has a geometry, and a
/// `report.json`. The report is there only when all is done. With `--from hits` inputs are tables of hits (a DIR
/// of an earlier run, Parquet, HDF5), and only `events` is written.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nuwave reconstruct testdata/juno64.h5 -o out
  nuwave reconstruct run*.dat --calibration spe.parquet --polarity negative -o out
  nuwave reconstruct raw.h5 --table Readout/Waveform --columns event=TriggerNo,channel=ChannelID,samples=Waveform -d jinping -o out
  nuwave reconstruct run.h5 -d juno --light maps -o out
  nuwave reconstruct --from hits out -d juno --light maps --event-method charge -o events

Exit codes: 0 done, 2 usage or configuration, 3 input unreadable, 4 done but parts of the input were lost (listed in
the report), 5 output, 6 GPU demanded but absent, or lost for good (the result is whole then), 70 a defect of nuwave.")]
pub(crate) struct Args {
    /// Waveform files, or tables of hits
    #[arg(required_unless_present = "print_config", value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Folder to make for the result
    #[arg(
        long,
        short,
        value_name = "DIR",
        required_unless_present = "print_config"
    )]
    output: Option<PathBuf>,
    /// Replace DIR if nuwave made it
    #[arg(long)]
    overwrite: bool,
    /// TOML file with settings; the command line wins
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings as they result from file and command line, and end
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    settings: Settings,
}

pub(crate) fn run(args: Args, talk: Talk) -> Result<ExitCode> {
    let settings = layered(args.config.as_deref(), &args.settings)?;
    if args.print_config {
        let text = toml::to_string(&settings.explicit())
            .map_err(|error| Error::internal(format!("settings: {error}")))?;
        super::print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(output) = args.output else {
        return Err(Error::usage("`--output DIR` is missing"));
    };
    match settings.from() {
        From::Waveforms => from_waveforms(&settings, &args.inputs, &output, args.overwrite, talk),
        From::Hits => from_hits::run(&settings, &args.inputs, &output, args.overwrite, talk),
    }
}

/// The pool that extracts and reconstructs, of `threads` threads.
pub(super) fn thread_pool(threads: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| Error::internal(format!("{threads} threads: {error}")))
}

fn from_waveforms(
    settings: &Settings,
    inputs: &[PathBuf],
    output: &Path,
    overwrite: bool,
    talk: Talk,
) -> Result<ExitCode> {
    let start = Instant::now();
    let threads = threads(settings.threads)?;
    let choice = settings.backend.choose()?;
    if !talk.quiet {
        say!("{}", choice.line);
    }
    let pool = thread_pool(threads)?;
    // Every input is opened before anything is written: a wrong name ends the run at once.
    let sources = inputs
        .iter()
        .enumerate()
        .map(|(input_id, path)| io::open(path, &settings.input.read_options(input_id as u32)?))
        .collect::<Result<Vec<_>>>()?;
    let infos: Vec<SourceInfo> = sources.iter().map(|source| source.info().clone()).collect();
    let known = settings
        .known
        .read(infos.first().ok_or_else(|| Error::usage("no input"))?)?;
    let total = infos
        .iter()
        .map(|info| info.n_waveforms)
        .sum::<Option<u64>>();
    let events = EventStage::choose(settings, known.detector.as_ref())?;
    if !talk.quiet {
        say!("templates: {}", known.origin);
        if let Some(line) = events.line() {
            say!("{line}");
        }
    }

    let folder = OutputFolder::create(output, overwrite)?;
    let progress = Progress::new(total, talk.quiet);
    let limit = settings.limit(&choice);
    let mut finished = Vec::new();
    let mut backend: Option<(ReadoutFacts, Box<dyn Backend>)> = None;
    let mut accounts: Option<Account> = None;
    for (source, info) in sources.into_iter().zip(infos) {
        let readout = settings.input.readout(&info, &known)?;
        let current = match backend.take() {
            Some(current) if current.0 == readout => current,
            previous => {
                Account::gather(&mut accounts, previous.and_then(|(_, one)| one.account()));
                let made = choice.build(|| {
                    pool.install(|| {
                        Extractor::new(known.calibration.clone(), readout, settings.parameters())
                    })
                    .map_err(|error| error.in_file(&info.path))
                })?;
                (readout, made)
            }
        };
        let input_id = finished.len() as u32;
        let writer = TablesWriter::create(folder.path(), input_id)?;
        let path = info.path.clone();
        // The checksum reads the file alongside, while its pages are in memory anyway.
        let checksum = std::thread::spawn(move || checksum(&path));
        let outcome =
            pool.install(|| run_input(source, current.1.as_ref(), writer, limit, &progress))?;
        let (_, crc32c) = checksum
            .join()
            .map_err(|_| Error::internal("the checksum's thread panicked"))?
            .map_err(|error| Error::input(&info.path, "cannot be read").with_source(error))?;
        let of_events =
            pool.install(|| events.of_parts(folder.path(), &outcome.parts, input_id, &progress))?;
        finished.push(FinishedInput {
            info,
            crc32c,
            sampling_ns: Some(readout.sampling_ns),
            polarity: Some(readout.polarity),
            input_of_table: None,
            outcome,
            events: of_events,
        });
        backend = Some(current);
    }
    progress.finish();
    Account::gather(&mut accounts, backend.and_then(|(_, one)| one.account()));
    let given_up = accounts
        .as_ref()
        .is_some_and(|account| account.given_up.is_some());
    let configuration = settings.explicit();
    let provenance = Provenance {
        from: "waveforms",
        events: events.plan.clone(),
        backend: if accounts.is_some() { "gpu" } else { "cpu" },
        configuration_crc32c: settings.checksum(Some(&known.calibration), &events.plan)?,
        configuration,
        threads,
        gpu: accounts,
    };
    let report = Report::new(finished, provenance, start.elapsed().as_secs_f64());
    folder.commit(&report)?;
    tell(&report, output, talk)?;
    // The result is whole, but not what was asked for.
    if given_up && choice.demanded && report.exit_code() == 0 {
        return Ok(ExitCode::from(ErrorKind::Gpu.exit_code()));
    }
    Ok(ExitCode::from(report.exit_code()))
}
