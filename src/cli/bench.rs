//! `nuwave bench`: the speed of CPU and GPU on this machine, and the comparison of their hits.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::{ThreadArgs, method_parser, refuse_existing, write_files};
use super::backend::BackendArgs;
use super::{Verbosity, json_text};
use crate::bench::{self, Occupancy, agreement, plot, table};
use crate::detector;
use crate::error::{Error, ErrorKind, Result};
use crate::extract::{Method, Parameters};
use crate::gpu::adapter::{self, Adapter};
use crate::pipeline::BackendKind;

/// Default number of waveforms per batch: for a GPU; in software and without a GPU; for a quick run.
const BATCH: usize = 16_384;
const BATCH_CPU: usize = 4096;
const BATCH_QUICK: usize = 256;
/// Default number of repetitions, and for a quick run.
const REPETITIONS: usize = 10;
const REPETITIONS_QUICK: usize = 3;
/// Default number of waveforms to compare; stage by stage; for a quick run.
const COMPARED: usize = 100_000;
const COMPARED_BY_STAGE: usize = 20_000;
const COMPARED_QUICK: usize = 1000;

/// Measure how fast extraction is on this machine
///
/// Simulates waveforms and times their extraction: on the CPU with one thread and with all, as a whole and stage by stage;
/// on a GPU the kernels alone, one batch with its transfers, and a stream of batches from host memory to hits. Prints a
/// table of waveforms per second, and of the share of the memory and transfer bandwidth, which are measured too. `--compare` compares
/// the hits of CPU and GPU instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nuwave bench
  nuwave bench --backend cpu --threads 4 --mean-pe 0,1,5,20 --method coti
  nuwave bench --lengths 256,1000,4000 --batch 4096,16384,65536 -o bench
  nuwave bench --compare --waveforms 1000000
  nuwave bench --compare --by-stage

Exit codes: 0 done, 2 usage or configuration, 5 output, 6 GPU demanded but absent, 70 a defect of nuwave, which different
hits are.")]
pub(crate) struct Args {
    /// Samples per waveform, one or more lengths [default: the detector's]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    lengths: Vec<usize>,
    /// Mean number of photoelectrons per waveform, one or more; `mix`: nine of ten without light, the others 1 to 5
    /// [default: 0,1,5,mix]
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        conflicts_with = "compare"
    )]
    mean_pe: Vec<Occupancy>,
    /// Waveforms per batch, one or more sizes; with a GPU, the CPU is timed with the smallest [default: 16384 for a GPU,
    /// else 4096]
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        conflicts_with = "compare"
    )]
    batch: Vec<usize>,
    /// Method of the extraction [default: deconvolution; all methods with `--compare`]
    #[arg(long, value_parser = method_parser())]
    method: Option<Method>,
    /// Preset or detector file
    #[arg(long, short, value_name = "NAME|FILE", default_value = "juno")]
    detector: String,
    #[command(flatten)]
    backend: BackendArgs,
    /// Threads per workgroup on the GPU, to find the fastest [default: as listed by `nuwave devices`]
    #[arg(long, value_name = "N")]
    workgroup: Option<u32>,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Repetitions, without warm-up [default: 10]
    #[arg(long, value_name = "N", conflicts_with = "compare")]
    repetitions: Option<usize>,
    /// A short run with larger errors
    #[arg(long)]
    quick: bool,
    /// Folder for the results as JSON, text and plot
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace the files of an earlier run in the output folder
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    compare: CompareArgs,
}

/// Options of the comparison.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Comparing instead of timing")]
struct CompareArgs {
    /// Compare the hits of CPU and GPU on waveforms with 0 to 100 photoelectrons
    #[arg(long)]
    compare: bool,
    /// Waveforms to compare [default: 100000, 20000 stage by stage]
    #[arg(long, value_name = "N", requires = "compare")]
    waveforms: Option<usize>,
    /// Compare stage by stage: earlier stages on the CPU, the stage and later ones on the GPU (deconvolution only)
    #[arg(long, requires = "compare")]
    by_stage: bool,
}

pub(crate) fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    if let Some(output) = &args.output {
        refuse_existing(output, args.overwrite)?;
    }
    let choice = args.backend.choose()?;
    let adapter = match (choice.adapter, args.workgroup) {
        (Some(adapter), Some(width)) => Some(adapter.with_width(width)?),
        (adapter, _) => adapter,
    };
    if args.compare.compare {
        if args.backend.backend == Some(BackendKind::Cpu) {
            return Err(
                Error::usage("`--compare` needs a GPU").with_hint("leave `--backend cpu` out")
            );
        }
        return compare(args, adapter, verbosity);
    }
    let settings = args.settings(adapter.as_ref())?;
    settings.validate()?;
    if !verbosity.quiet {
        match &adapter {
            Some(adapter) => status!("backends: cpu, gpu: {}", adapter.info.description()),
            None if args.backend.backend == Some(BackendKind::Cpu) => status!("backends: cpu"),
            None => status!("backends: cpu (there is no GPU; `--backend gpu` takes software too)"),
        }
    }
    let report = bench::run(settings, adapter, &mut |next| {
        if !verbosity.quiet {
            status!("measuring: {next}");
        }
    })?;
    let text = table::text(&report);
    let json = json_text(&report)?;
    if let Some(output) = &args.output {
        let svg = plot::svg(&report)?;
        let files = [
            ("bench.json", json.as_str()),
            ("bench.txt", text.as_str()),
            ("bench.svg", svg.as_str()),
        ];
        write_files(output, files)?;
        say_where(output, verbosity);
    }
    super::print(if verbosity.json { &json } else { &text })?;
    Ok(ExitCode::SUCCESS)
}

fn compare(args: &Args, adapter: Option<Adapter>, verbosity: Verbosity) -> Result<ExitCode> {
    let Some(adapter) = adapter else {
        return Err(no_gpu());
    };
    let settings = args.to_compare()?;
    if !verbosity.quiet {
        status!("backends: cpu against gpu: {}", adapter.info.description());
    }
    let found = agreement::run(settings, &adapter, &mut |next| {
        if !verbosity.quiet {
            status!("comparing: {next}");
        }
    })?;
    let text = agreement::table(&found);
    let json = json_text(&found)?;
    if let Some(output) = &args.output {
        let files = [
            ("compare.json", json.as_str()),
            ("compare.txt", text.as_str()),
        ];
        write_files(output, files)?;
        say_where(output, verbosity);
    }
    super::print(if verbosity.json { &json } else { &text })?;
    if found.holds {
        return Ok(ExitCode::SUCCESS);
    }
    let wrong: Vec<&str> = found
        .rows
        .iter()
        .filter(|row| !row.holds)
        .map(|row| row.gpu_from.unwrap_or(row.method.name()))
        .collect();
    let error = Error::internal(format!(
        "CPU and GPU do not give the same hits: {}",
        wrong.join(", ")
    ));
    Err(if args.compare.by_stage {
        error.with_hint("the stage that differs is the last one of the table that does not hold")
    } else if wrong.contains(&Method::Deconvolution.name()) {
        error.with_hint("`--compare --by-stage` finds the stage that differs")
    } else {
        error
    })
}

/// Returns the error of a comparison without a GPU: it names the software adapter that checks the same.
fn no_gpu() -> Error {
    let software = adapter::list()
        .into_iter()
        .find(|adapter| adapter.info.is_software() && adapter.info.unusable.is_none());
    let hint = match software {
        Some(adapter) => format!(
            "`--backend gpu` compares with {}, which computes in software: slow, but it checks that the hits are the same",
            adapter.info.name
        ),
        None => "install a GPU driver with Vulkan; or lavapipe, which computes in software (on Debian and Ubuntu \
                 `mesa-vulkan-drivers`), and add `--backend gpu`: slow, but it checks that the hits are the same"
            .to_owned(),
    };
    Error::new(ErrorKind::Gpu, "there is no GPU to compare the CPU with").with_hint(hint)
}

impl Args {
    fn lengths(&self, detector: &detector::Detector) -> Vec<usize> {
        if self.lengths.is_empty() {
            return vec![detector.readout.window_samples];
        }
        self.lengths.clone()
    }

    fn settings(&self, adapter: Option<&Adapter>) -> Result<bench::Settings> {
        let detector = detector::load(&self.detector)?;
        let is_hardware = adapter.is_some_and(|adapter| !adapter.info.is_software());
        let batch = match (self.quick, is_hardware) {
            (true, _) => BATCH_QUICK,
            (false, true) => BATCH,
            (false, false) => BATCH_CPU,
        };
        let repetitions = if self.quick {
            REPETITIONS_QUICK
        } else {
            REPETITIONS
        };
        Ok(bench::Settings {
            lengths: self.lengths(&detector),
            mean_pe: if !self.mean_pe.is_empty() {
                self.mean_pe.clone()
            } else if self.quick {
                vec![Occupancy::Mix]
            } else {
                let means = [0.0, 1.0, 5.0].map(Occupancy::MeanPe);
                means.into_iter().chain([Occupancy::Mix]).collect()
            },
            batches: if self.batch.is_empty() {
                vec![batch]
            } else {
                self.batch.clone()
            },
            parameters: Parameters {
                method: self.method.unwrap_or_default(),
                ..Parameters::default()
            },
            repetitions: self.repetitions.unwrap_or(repetitions),
            threads: self.threads.count()?,
            quick: self.quick,
            detector,
        })
    }

    fn to_compare(&self) -> Result<agreement::Settings> {
        if self.compare.by_stage
            && self
                .method
                .is_some_and(|method| method != Method::Deconvolution)
        {
            return Err(Error::usage(
                "`--by-stage`: only the method `deconvolution` has stages that can run one by one",
            ));
        }
        let detector = detector::load(&self.detector)?;
        let waveforms = match (self.quick, self.compare.by_stage) {
            (true, _) => COMPARED_QUICK,
            (false, true) => COMPARED_BY_STAGE,
            (false, false) => COMPARED,
        };
        let methods = match self.method {
            Some(method) => vec![method],
            None if self.compare.by_stage => vec![Method::Deconvolution],
            None => vec![
                Method::Deconvolution,
                Method::Sparse,
                Method::Integral,
                Method::Coti,
            ],
        };
        Ok(agreement::Settings {
            lengths: self.lengths(&detector),
            detector,
            methods,
            waveforms: self.compare.waveforms.unwrap_or(waveforms),
            by_stage: self.compare.by_stage,
            threads: self.threads.count()?,
        })
    }
}

fn say_where(output: &Path, verbosity: Verbosity) {
    if !verbosity.quiet {
        status!("the results are in `{}`", output.display());
    }
}
