//! `nuwave reconstruct`: waveforms -> hits.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Talk;
use super::backend::{BackendArgs, Choice};
use super::shared::{DetectorArgs, InputArgs, Known, layered, threads};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::{Account, Backend, Extractor, Filter, Method, Parameters, ReadoutFacts};
use crate::io::tables::{TablesWriter, checksum};
use crate::io::{self, BatchLimit, SourceInfo};
use crate::pipeline::{FinishedInput, OutputFolder, Progress, Provenance, Report, run_input};

/// Turn waveforms into hits
///
/// Reads HDF5, Parquet, Arrow IPC, NumPy and CAEN WaveDump files (recognised by their content) and writes
/// the folder DIR with the Parquet tables `hits` and `waveforms` and a `report.json`. The report is there only
/// when all is done.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nuwave reconstruct testdata/juno64.h5 -o out
  nuwave reconstruct run*.dat --calibration spe.parquet --polarity negative -o out
  nuwave reconstruct raw.h5 --table Readout/Waveform --columns event=TriggerNo,channel=ChannelID,samples=Waveform -d jinping -o out

Exit codes: 0 done, 2 usage or configuration, 3 input unreadable, 4 done but parts of the input were lost (listed in
the report), 5 output, 6 GPU demanded but absent, or lost for good (the result is whole then), 70 a defect of nuwave.")]
pub(crate) struct Args {
    /// Waveform files
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

/// What file and command line can both set.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(default)]
struct Settings {
    /// How charge and time are taken
    #[arg(long, value_enum)]
    method: Option<Method>,
    /// Low-pass of the deconvolution: `auto`, `wiener`, `gaussian:SIGMA_MHZ`, `flat:FLAT_MHZ:SIGMA_MHZ`
    #[arg(long)]
    filter: Option<Filter>,
    /// Least height of a hit in standard deviations of the noise [default: 5]
    #[arg(long, value_name = "N")]
    threshold_sigma: Option<f32>,
    /// Least depth of the valley between two hits in standard deviations of the noise [default: 2]
    #[arg(long, value_name = "N")]
    split_sigma: Option<f32>,
    #[command(flatten)]
    #[serde(flatten)]
    backend: BackendArgs,
    /// Threads that extract [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Waveforms a batch; changes speed and memory, never the result [default: 4096, with a GPU 16384]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    #[command(flatten)]
    #[serde(flatten)]
    known: DetectorArgs,
    #[command(flatten)]
    #[serde(flatten)]
    input: InputArgs,
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
    let start = Instant::now();
    let threads = threads(settings.threads)?;
    let choice = settings.backend.choose()?;
    if !talk.quiet {
        say!("{}", choice.line);
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| Error::internal(format!("{threads} threads: {error}")))?;
    // Every input is opened before anything is written: a wrong name ends the run at once.
    let sources = args
        .inputs
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
    if !talk.quiet {
        say!("templates: {}", known.origin);
    }

    let folder = OutputFolder::create(&output, args.overwrite)?;
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
        let writer = TablesWriter::create(folder.path(), finished.len() as u32)?;
        let path = info.path.clone();
        // The checksum reads the file alongside, while its pages are in memory anyway.
        let checksum = std::thread::spawn(move || checksum(&path));
        let outcome =
            pool.install(|| run_input(source, current.1.as_ref(), writer, limit, &progress))?;
        let (_, crc32c) = checksum
            .join()
            .map_err(|_| Error::internal("the checksum's thread panicked"))?
            .map_err(|error| Error::input(&info.path, "cannot be read").with_source(error))?;
        finished.push(FinishedInput {
            info,
            crc32c,
            sampling_ns: readout.sampling_ns,
            polarity: readout.polarity,
            outcome,
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
        backend: if accounts.is_some() { "gpu" } else { "cpu" },
        configuration_crc32c: settings.checksum(&known)?,
        configuration,
        threads,
        gpu: accounts,
    };
    let report = Report::new(finished, provenance, start.elapsed().as_secs_f64());
    folder.commit(&report)?;
    tell(&report, &output, talk)?;
    // The result is whole, but not what was asked for.
    if given_up && choice.demanded && report.exit_code() == 0 {
        return Ok(ExitCode::from(ErrorKind::Gpu.exit_code()));
    }
    Ok(ExitCode::from(report.exit_code()))
}

/// The result for whoever looks: losses and a summary for a person, the report for a machine.
fn tell(report: &Report, output: &Path, talk: Talk) -> Result<()> {
    const MOST_SHOWN: usize = 5;
    if talk.json {
        let text = serde_json::to_string_pretty(report)
            .map_err(|error| Error::internal(format!("the report: {error}")))?;
        super::print(&(text + "\n"))?;
    }
    for loss in report.losses.iter().take(MOST_SHOWN) {
        let path = report
            .inputs
            .get(loss.input_id as usize)
            .map_or("", |input| input.path.as_str());
        say!(
            "warning: `{path}`: {}: {}",
            loss.loss.place,
            loss.loss.reason
        );
    }
    if report.losses.len() > MOST_SHOWN {
        say!(
            "warning: {} more losses are listed in the report",
            report.losses.len() - MOST_SHOWN
        );
    }
    if let Some(gpu) = &report.gpu {
        say_of_gpu(gpu, talk);
    }
    for input in &report.inputs {
        if let Some(cut) = &input.cut {
            say!("warning: reading ended early: {cut}");
        }
    }
    if !talk.quiet {
        say!("\n{}\n{}", output.display(), report.summary().trim_end());
    }
    Ok(())
}

/// What the user should know of the GPU's work: what it could not take, what it lost.
fn say_of_gpu(gpu: &Account, talk: Talk) {
    for (reason, waveforms) in gpu.on_cpu.iter().filter(|_| !talk.quiet) {
        say!("note: {waveforms} waveforms were extracted on the CPU: {reason}");
    }
    if gpu.device_failures > 0 {
        let redone: u64 = gpu.redone.iter().map(|redone| redone.waveforms).sum();
        say!(
            "warning: the GPU failed {} time{}; {redone} waveforms were done again and are listed in the report",
            gpu.device_failures,
            if gpu.device_failures == 1 { "" } else { "s" },
        );
    }
    if let Some(why) = &gpu.given_up {
        say!("warning: the GPU was given up, the CPU did the rest: {why}");
    }
}

impl Settings {
    fn parameters(&self) -> Parameters {
        let default = Parameters::default();
        Parameters {
            method: self.method.unwrap_or(default.method),
            filter: self.filter.unwrap_or(default.filter),
            threshold_sigma: self.threshold_sigma.unwrap_or(default.threshold_sigma),
            split_sigma: self.split_sigma.unwrap_or(default.split_sigma),
        }
    }

    /// The settings with every default spelled out, except those that change speed and not the result.
    fn explicit(&self) -> serde_json::Value {
        let Parameters {
            method,
            filter,
            threshold_sigma,
            split_sigma,
        } = self.parameters();
        let spelled_out = Self {
            method: Some(method),
            filter: Some(filter),
            threshold_sigma: Some(threshold_sigma),
            split_sigma: Some(split_sigma),
            backend: BackendArgs::default(),
            threads: None,
            batch: None,
            known: self.known.clone(),
            input: self.input.clone(),
        };
        let mut value = serde_json::to_value(spelled_out).unwrap_or_default();
        if let serde_json::Value::Object(map) = &mut value {
            map.retain(|_, value| !value.is_null());
        }
        value
    }

    /// One checksum of everything but the input that the result depends on.
    fn checksum(&self, known: &Known) -> Result<String> {
        let text = serde_json::to_string(&self.explicit())
            .map_err(|error| Error::internal(format!("settings: {error}")))?;
        let mut crc = crc32c::crc32c(env!("CARGO_PKG_VERSION").as_bytes());
        crc = crc32c::crc32c_append(crc, text.as_bytes());
        for row in known.calibration.rows() {
            for value in row.template_adc.iter().chain([
                &row.noise_adc,
                &row.time_offset_ns,
                &row.sampling_ns,
            ]) {
                crc = crc32c::crc32c_append(crc, &value.to_le_bytes());
            }
        }
        for (channel, row) in known.calibration.channels() {
            crc = crc32c::crc32c_append(crc, &channel.to_le_bytes());
            crc = crc32c::crc32c_append(crc, &(row as u64).to_le_bytes());
        }
        Ok(format!("{crc:08x}"))
    }

    fn limit(&self, choice: &Choice) -> BatchLimit {
        let default = BatchLimit::default();
        let waveforms = choice.batch_waveforms(default.waveforms);
        BatchLimit {
            waveforms: self.batch.unwrap_or(waveforms).max(1),
            samples: default.samples * (waveforms / default.waveforms),
        }
    }
}
