//! `nuwave simulate`: waveforms and events with truth, from a detector preset or file.

mod events;
mod settings;
mod source_files;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use super::args::{CONFIGURATION, OUTPUT, ThreadArgs, merge_exclusive_config};
use super::counter::Counter;
use super::{Verbosity, print_summary};
use crate::detector::{self, Detector};
use crate::error::{Error, Result};
use crate::io::{self, WaveformSink, WriteInfo};
use crate::model::Truth;
use crate::simulate::{PROFILES, WaveformPlan, waveforms};
use crate::text::{counted, thousands};
use crate::threads::thread_pool;
use settings::{LIGHT_KEYS, Settings};

/// Simulate data with known truth
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Waveforms(Box<WaveformArgs>),
    Events(Box<events::EventArgs>),
}

/// The help of `--output`, with the formats that can be written.
fn output_help() -> String {
    let endings = io::waveforms::writable_endings();
    format!("File to write; its extension selects the format ({endings})")
}

/// Simulate the waveforms of a detector's channels with true photoelectrons
#[derive(Debug, clap::Args)]
#[command(override_usage = "nuwave simulate waveforms -o <FILE> [OPTIONS]")]
#[command(after_help = profiles_help())]
struct WaveformArgs {
    #[arg(
        help = output_help(),
        long,
        short,
        value_name = "FILE",
        required_unless_present = "print_config",
        help_heading = OUTPUT
    )]
    output: Option<PathBuf>,
    /// Also write the detector as simulated, changes included: a detector file for `nuwave reconstruct --detector`
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    write_detector: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Settings as a TOML file, keys named as the options here with `_` for `-`; the command line wins
    #[arg(long, value_name = "FILE", help_heading = CONFIGURATION)]
    config: Option<PathBuf>,
    /// Print the settings as they would be used, as TOML, and stop
    #[arg(long, help_heading = CONFIGURATION)]
    print_config: bool,
}

fn profiles_help() -> String {
    let mut help = String::from("Time profiles (`--profile`):\n");
    for (name, meaning) in PROFILES {
        // Writing to a string does not fail.
        let _ = writeln!(help, "  {name:<10} {meaning}");
    }
    help + "\nTruth lists the photoelectrons within the window, dark ones included. Times count from the first sample."
}

pub(crate) fn run(args: Args, verbosity: Verbosity) -> Result<ExitCode> {
    let args = match args.what {
        What::Waveforms(args) => args,
        What::Events(args) => return events::run(*args, verbosity),
    };
    let exclusive: [&[&str]; 2] = [&LIGHT_KEYS, &["dark_rate", "no_dark"]];
    let settings = merge_exclusive_config(args.config.as_deref(), &args.settings, &exclusive)?;
    let plan = settings.plan()?;
    if args.print_config {
        super::print(&settings.resolved(&plan).to_toml()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(output) = args.output else {
        return Err(Error::usage("no output file was given").with_hint("add `-o FILE`"));
    };
    let pool = thread_pool(args.threads.count()?)?;
    if let Some(path) = &args.write_detector {
        let text = toml::to_string(&plan.detector)
            .map_err(|error| Error::internal(format!("the detector: {error}")))?;
        std::fs::write(path, text)
            .map_err(|error| Error::output(path, "cannot be written").with_source(error))?;
    }
    let origin = settings.resolved(&plan).to_toml()?;
    let sink = create(&output, &plan.detector, origin)?;
    let summary = write(&plan, sink, &pool, verbosity)?;
    summary.print(&plan, &output, verbosity)?;
    Ok(ExitCode::SUCCESS)
}

/// Begins a file of waveforms of `detector`, made with the settings `origin`.
fn create(output: &Path, detector: &Detector, origin: String) -> Result<Box<dyn WaveformSink>> {
    let readout = &detector.readout;
    let info = WriteInfo {
        sampling_ns: readout.sampling_ns,
        adc_bits: readout.adc_bits,
        polarity: readout.polarity,
        detector: name_of(detector),
        origin,
    };
    io::create(output, &info)
}

/// Shows the compression of the file, which begins after the last waveform.
fn report_compression(sink: &mut dyn WaveformSink, progress: &Arc<Counter>) {
    let progress = Arc::clone(progress);
    sink.report_end(Box::new(move |done, total| {
        progress.step("compressing", done, total);
    }));
}

/// Returns the detector's name for the file: that of a preset only if the preset's templates match the waveforms.
fn name_of(detector: &Detector) -> String {
    match detector::load(&detector.name) {
        Ok(preset) if preset == *detector => detector.name.clone(),
        _ => format!("{} (changed)", detector.name),
    }
}

/// The summary of a simulation.
#[derive(Debug, Default, PartialEq, serde::Serialize)]
struct Summary {
    waveforms: u64,
    samples: u64,
    photoelectrons: u64,
    charge_pe: f64,
    saturated: u64,
    seconds: f64,
}

/// Simulates the waveforms of `plan` with the threads of `pool` and writes them to `sink`, with progress on stderr.
fn write(
    plan: &WaveformPlan,
    mut sink: Box<dyn WaveformSink>,
    pool: &rayon::ThreadPool,
    verbosity: Verbosity,
) -> Result<Summary> {
    let total = plan.n_waveforms();
    let progress = Arc::new(Counter::new("waveform", Some(total), 1, verbosity.quiet));
    progress.begin_pass();
    report_compression(sink.as_mut(), &progress);
    let begin = Instant::now();
    let mut summary = Summary::default();
    let mut truth = Truth::default();
    let mut blocks = waveforms(plan)?;
    while let Some(mut block) = pool.install(|| blocks.next()) {
        sink.write(&block.batch)?;
        summary.waveforms += block.batch.len() as u64;
        summary.samples += block.batch.samples().len() as u64;
        summary.photoelectrons += block.photoelectrons.len() as u64;
        summary.charge_pe += block
            .photoelectrons
            .iter()
            .map(|one| f64::from(one.charge_pe))
            .sum::<f64>();
        summary.saturated += block.saturated;
        truth.photoelectrons.append(&mut block.photoelectrons);
        progress.add(block.batch.len() as u64);
    }
    sink.finish(&truth)?;
    progress.finish();
    summary.seconds = begin.elapsed().as_secs_f64();
    Ok(summary)
}

impl Summary {
    fn print(&self, plan: &WaveformPlan, output: &Path, verbosity: Verbosity) -> Result<()> {
        if verbosity.json {
            return super::print(&super::json_text(self)?);
        }
        let waveforms = self.waveforms.max(1) as f64;
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{} of {} samples: {} x {} of {}, seed {}",
            counted(self.waveforms, "waveform"),
            thousands(plan.detector.readout.window_samples as u64),
            counted(plan.events, "event"),
            counted(plan.channels.len() as u64, "channel"),
            plan.detector.name,
            plan.seed,
        );
        let _ = writeln!(
            text,
            "{} in the windows, {:.3} per waveform, mean charge {:.3} PE",
            counted(self.photoelectrons, "photoelectron"),
            self.photoelectrons as f64 / waveforms,
            self.charge_pe / self.photoelectrons.max(1) as f64,
        );
        let _ = writeln!(
            text,
            "{:.2} % of the waveforms reach an end of the digitiser's range",
            100.0 * self.saturated as f64 / waveforms
        );
        let _ = writeln!(
            text,
            "written to {} in {:.1} s ({} waveforms/s)",
            output.display(),
            self.seconds,
            thousands((waveforms / self.seconds.max(1e-9)) as u64),
        );
        print_summary(&text, verbosity);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::model::Batch;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<(u64, Option<Truth>)>>);

    impl WaveformSink for Memory {
        fn write(&mut self, batch: &Batch) -> Result<()> {
            self.0.lock().expect("one thread").0 += batch.len() as u64;
            Ok(())
        }

        fn finish(self: Box<Self>, truth: &Truth) -> Result<()> {
            self.0.lock().expect("one thread").1 = Some(truth.clone());
            Ok(())
        }
    }

    #[test]
    fn all_waveforms_and_their_truth_reach_the_sink() {
        let settings = Settings {
            events: Some(300),
            channels: Some("30".to_owned()),
            fixed_pe: Some(3),
            profile: Some("prompt".to_owned()),
            no_dark: true,
            ..Settings::default()
        };
        let plan = settings.plan().expect("valid settings");
        let memory = Memory::default();
        let verbosity = Verbosity {
            quiet: true,
            json: false,
        };
        let pool = rayon::ThreadPoolBuilder::new().build().expect("threads");
        let summary =
            write(&plan, Box::new(memory.clone()), &pool, verbosity).expect("memory holds it");
        let written = memory.0.lock().expect("one thread");
        assert_eq!(written.0, 9000);
        let truth = written.1.as_ref().expect("finished");
        assert_eq!(truth.photoelectrons.len(), 27_000);
        assert_eq!(summary.photoelectrons, 27_000);
        assert_eq!(summary.samples, 9_000_000);
        assert!((summary.charge_pe / 27_000.0 - 1.0).abs() < 0.02);
    }
}
