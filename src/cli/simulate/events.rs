//! `nuwave simulate events`: from energy deposits in a detector to photoelectrons, hits or waveforms, with truth.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::super::args::{self, CONFIGURATION, OUTPUT, ThreadArgs, merge_config};
use super::super::counter::Counter;
use super::super::{Verbosity, json_text, print, print_summary};
use super::source_files::{read_csv, read_sources};
use super::{create, report_compression};
use crate::detector::{self, Detector};
use crate::error::{Error, Result};
use crate::io::tables::event_hits::EventHitsFile;
use crate::model::{Batch, Truth};
use crate::simulate::{
    Digitiser, Energy, EventPlan, EventSource, HitFinder, Particle, ReadoutChannels, Vertex, events,
};
use crate::text::counted;
use crate::threads::thread_pool;

/// Headings of options in the help.
const DEPOSIT: &str = "Energy deposit";
const HITS: &str = "Hit finder (`--level hits`)";
/// The defaults.
const DETECTOR: &str = "juno";
const EVENTS: u64 = 100;
const SEED: u64 = 1;
const ENERGY_MEV: f64 = 1.0;
const TIME_SPREAD_NS: f64 = 10.0;

/// Simulate events: hits of all channels with true vertex, time and energy
///
/// Every photon is propagated from the deposit to the PMT that detects it. FILE is a table of hits as `reconstruct` writes it,
/// with the true events next to it, as NAME.truth-events.parquet; or, with `--level waveforms`, a file of raw waveforms as
/// `simulate waveforms` writes it, with the true photoelectrons and events.
#[derive(Debug, clap::Args)]
#[command(override_usage = "nuwave simulate events -o <FILE> [OPTIONS]")]
#[command(after_help = "\
Examples:
  nuwave simulate events -d juno --events 1000 --energy 1 -o hits.parquet
  nuwave simulate events -d juno --events 500 --position 0,0,16000 --energy 2.22 --particle gamma -o source.parquet
  nuwave simulate events -d juno --sources runs.csv -o sources.parquet
  nuwave simulate events -d juno --events 10 --level waveforms --channels all -o raw.h5

A file of sources is CSV: x_mm,y_mm,z_mm,energy_mev,events[,particle], one run per line, events numbered consecutively.")]
pub(super) struct EventArgs {
    /// File to write: Parquet; waveforms also HDF5, Arrow, NumPy or WaveDump, as its name ends
    #[arg(
        long,
        short,
        value_name = "FILE",
        required_unless_present = "print_config",
        help_heading = OUTPUT
    )]
    output: Option<PathBuf>,
    #[command(flatten)]
    settings: EventSettings,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Settings as a TOML file, keys named as the options here with `_` for `-`; the command line wins
    #[arg(long, value_name = "FILE", help_heading = CONFIGURATION)]
    config: Option<PathBuf>,
    /// Print the settings as they result from file and command line, and end
    #[arg(long, help_heading = CONFIGURATION)]
    print_config: bool,
}

/// The kind of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    /// Every photoelectron in the window, with its true time and charge
    Pe,
    /// Hits, as a hit finder would find them
    #[default]
    Hits,
    /// Raw waveforms with noise
    Waveforms,
}

/// Settings for file and command line.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(default)]
struct EventSettings {
    /// Detector: a preset (`nuwave detector` lists them) or a detector file [default: juno]
    #[arg(long, short, value_name = "NAME|FILE")]
    detector: Option<String>,
    /// Number of events [default: 100]
    #[arg(long, value_name = "N", help_heading = args::EVENTS)]
    events: Option<u64>,
    /// Number of the first event [default: 0]
    #[arg(long, value_name = "N", help_heading = args::EVENTS)]
    first_event: Option<u64>,
    /// Seed of all random numbers of the events [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Seed of the PMTs' own efficiencies and time offsets: runs with the same seed have the same detector [default: 1]
    #[arg(long, value_name = "N")]
    detector_seed: Option<u64>,
    /// Position of all events, as `X,Y,Z` in mm [default: uniform in the scintillator]
    #[arg(long, value_name = "X,Y,Z", allow_hyphen_values = true, help_heading = DEPOSIT)]
    position: Option<String>,
    /// Only events within this distance of the centre
    #[arg(long, value_name = "MM", conflicts_with = "position", help_heading = DEPOSIT)]
    max_radius: Option<f64>,
    /// Energy of all events [default: 1]
    #[arg(long, value_name = "MEV", help_heading = DEPOSIT)]
    energy: Option<f64>,
    /// Uniform energies, as `LOW,HIGH`
    #[arg(long, value_name = "LOW,HIGH", conflicts_with = "energy", help_heading = DEPOSIT)]
    energy_range: Option<String>,
    /// Energies of a spectrum: CSV with the columns energy_mev,weight
    #[arg(long, value_name = "FILE", conflicts_with_all = ["energy", "energy_range"], help_heading = DEPOSIT)]
    spectrum: Option<PathBuf>,
    /// Particle that deposits the energy [default: electron]
    #[arg(long, value_enum, help_heading = DEPOSIT)]
    particle: Option<Particle>,
    /// Source runs, one per line, instead of events, position, energy and particle
    #[arg(long, value_name = "FILE", conflicts_with_all = ["events", "position", "max_radius", "energy", "energy_range", "spectrum", "particle"], help_heading = args::EVENTS)]
    sources: Option<PathBuf>,
    /// No dark photoelectrons
    #[arg(long, num_args = 0, default_missing_value = "true")]
    no_dark: Option<bool>,
    /// A second event of the same kind in every event, this much later
    #[arg(long, value_name = "NS", help_heading = DEPOSIT)]
    pile_up: Option<f64>,
    /// Half-width of the distribution of the events' times around the trigger [default: 10]
    #[arg(long, value_name = "NS", help_heading = DEPOSIT)]
    time_spread_ns: Option<f64>,
    /// Kind of output [default: hits]
    #[arg(long, value_enum, help_heading = OUTPUT)]
    level: Option<Level>,
    /// With `--level waveforms`: channels with a waveform [default: lit]
    #[arg(long, value_enum, help_heading = OUTPUT)]
    channels: Option<ReadoutChannels>,
    /// Photoelectrons closer than this to the previous one are the same hit [default: 10]
    #[arg(long, value_name = "NS", help_heading = HITS)]
    hit_separation_ns: Option<f64>,
    /// Time resolution, standard deviation [default: 0.5]
    #[arg(long, value_name = "NS", help_heading = HITS)]
    hit_time_sigma_ns: Option<f64>,
    /// Charge resolution, standard deviation [default: 0.05]
    #[arg(long, value_name = "PE", help_heading = HITS)]
    hit_charge_sigma_pe: Option<f64>,
    /// Minimum charge [default: 0.2]
    #[arg(long, value_name = "PE", help_heading = HITS)]
    hit_threshold_pe: Option<f64>,
}

pub(super) fn run(args: EventArgs, verbosity: Verbosity) -> Result<ExitCode> {
    let settings = merge_config(args.config.as_deref(), &args.settings)?;
    if args.print_config {
        let text = toml::to_string(&settings.resolved()?)
            .map_err(|error| Error::internal(format!("settings: {error}")))?;
        print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(output) = args.output else {
        return Err(Error::usage("no output file was given").with_hint("add `-o FILE`"));
    };
    if settings.channels.is_some() && settings.level != Some(Level::Waveforms) {
        return Err(Error::usage("`--channels` is for waveforms")
            .with_hint("add `--level waveforms`, or leave it out"));
    }
    let plan = settings.plan()?;
    let pool = thread_pool(args.threads.count()?)?;
    let begin = Instant::now();
    let progress = Counter::new("event", Some(plan.n_events()), 1, verbosity.quiet);
    let progress = Arc::new(progress);
    progress.begin_pass();
    let mut summary = pool.install(|| match settings.level {
        Some(Level::Waveforms) => write_waveforms(&settings, &plan, &output, &progress),
        _ => write_hits(&settings.finder()?, &plan, &output, &progress),
    })?;
    progress.finish();
    summary.seconds = begin.elapsed().as_secs_f64();
    summary.print(&plan, &output, verbosity)?;
    Ok(ExitCode::SUCCESS)
}

/// The summary of a simulation.
#[derive(Debug, Default, serde::Serialize)]
struct Summary {
    events: u64,
    photoelectrons: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    hits: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waveforms: Option<u64>,
    charge_pe: f64,
    seconds: f64,
}

impl Summary {
    fn print(&self, plan: &EventPlan, output: &Path, verbosity: Verbosity) -> Result<()> {
        if verbosity.json {
            return print(&json_text(self)?);
        }
        let events = self.events as f64;
        let what = match (self.hits, self.waveforms) {
            (Some(hits), _) => counted(hits, "hit"),
            (_, Some(waveforms)) => counted(waveforms, "waveform"),
            _ => String::new(),
        };
        let text = format!(
            "{} in {}, seed {}: {} in the window ({:.1} per event), {what}\n\
             written to {} in {:.1} s ({:.2} ms per event)\n",
            counted(self.events, "event"),
            plan.detector.name,
            plan.seed,
            counted(self.photoelectrons, "photoelectron"),
            self.photoelectrons as f64 / events,
            output.display(),
            self.seconds,
            1e3 * self.seconds / events,
        );
        print_summary(&text, verbosity);
        Ok(())
    }
}

fn write_hits(
    finder: &HitFinder,
    plan: &EventPlan,
    output: &Path,
    progress: &Counter,
) -> Result<Summary> {
    let window_ns = plan.detector.readout.window_ns();
    let mut file = EventHitsFile::create(output)?;
    let mut summary = Summary {
        events: plan.n_events(),
        ..Summary::default()
    };
    let mut hits = 0;
    for event in events(plan)?.flatten() {
        let found = event.hits(finder, plan.seed, window_ns);
        hits += found.hits.len() as u64;
        summary.photoelectrons += event.photoelectrons.len() as u64;
        summary.charge_pe += found
            .hits
            .iter()
            .map(|hit| f64::from(hit.charge_pe))
            .sum::<f64>();
        file.write(&found, event.truth)?;
        progress.add(1);
    }
    file.finish()?;
    summary.hits = Some(hits);
    Ok(summary)
}

fn write_waveforms(
    settings: &EventSettings,
    plan: &EventPlan,
    output: &Path,
    progress: &Arc<Counter>,
) -> Result<Summary> {
    let origin = toml::to_string(&settings.resolved()?)
        .map_err(|error| Error::internal(format!("settings: {error}")))?;
    let channels = settings.channels.unwrap_or_default();
    let digitiser = Digitiser::new(&plan.detector, channels, plan.seed)?;
    let mut sink = create(output, &plan.detector, origin)?;
    report_compression(sink.as_mut(), progress);
    let mut truth = Truth::default();
    let mut waveforms = 0;
    for mut event in events(plan)?.flatten() {
        let mut batch = Batch::new_u16(0);
        digitiser.waveforms(&event, &mut batch)?;
        waveforms += batch.len() as u64;
        sink.write(&batch)?;
        truth.photoelectrons.append(&mut event.photoelectrons);
        truth.events.push(event.truth);
        progress.add(1);
    }
    sink.finish(&truth)?;
    Ok(Summary {
        events: plan.n_events(),
        photoelectrons: truth.photoelectrons.len() as u64,
        waveforms: Some(waveforms),
        charge_pe: truth
            .photoelectrons
            .iter()
            .map(|one| f64::from(one.charge_pe))
            .sum(),
        ..Summary::default()
    })
}

impl EventSettings {
    /// Returns the settings with all defaults, except those that `--sources` replaces.
    fn resolved(&self) -> Result<Self> {
        let finder = self.finder()?;
        let level = self.level.unwrap_or_default();
        let hits = |value: f64| (level == Level::Hits).then_some(value);
        let alone = self.sources.is_none();
        let one_energy = alone && self.energy_range.is_none() && self.spectrum.is_none();
        Ok(Self {
            detector: Some(self.detector.clone().unwrap_or_else(|| DETECTOR.to_owned())),
            events: alone.then(|| self.events.unwrap_or(EVENTS)),
            first_event: Some(self.first_event.unwrap_or(0)),
            seed: Some(self.seed.unwrap_or(SEED)),
            detector_seed: Some(self.detector_seed.unwrap_or(SEED)),
            energy: one_energy.then(|| self.energy.unwrap_or(ENERGY_MEV)),
            particle: alone.then(|| self.particle.unwrap_or_default()),
            no_dark: Some(self.no_dark.unwrap_or(false)),
            time_spread_ns: Some(self.time_spread_ns.unwrap_or(TIME_SPREAD_NS)),
            level: Some(level),
            channels: (level == Level::Waveforms).then(|| self.channels.unwrap_or_default()),
            hit_separation_ns: hits(finder.separation_ns),
            hit_time_sigma_ns: hits(finder.time_sigma_ns),
            hit_charge_sigma_pe: hits(finder.charge_sigma_pe),
            hit_threshold_pe: hits(finder.threshold_pe),
            ..self.clone()
        })
    }

    fn plan(&self) -> Result<EventPlan> {
        let detector = detector::load(self.detector.as_deref().unwrap_or(DETECTOR))?;
        let sources = match &self.sources {
            Some(path) => read_sources(path)?,
            None => vec![EventSource {
                events: self.events.unwrap_or(EVENTS),
                vertex: self.vertex(&detector)?,
                energy: self.energy()?,
                particle: self.particle.unwrap_or_default(),
            }],
        };
        Ok(EventPlan {
            seed: self.seed.unwrap_or(SEED),
            detector_seed: self.detector_seed.unwrap_or(SEED),
            first_event: self.first_event.unwrap_or(0),
            sources,
            time_spread_ns: self.time_spread_ns.unwrap_or(TIME_SPREAD_NS),
            dark: self.no_dark != Some(true),
            pile_up_ns: self.pile_up,
            detector,
        })
    }

    fn vertex(&self, detector: &Detector) -> Result<Vertex> {
        if let Some(text) = &self.position {
            return Ok(Vertex::Fixed(numbers("--position", text, "X,Y,Z in mm")?));
        }
        let geometry = detector.geometry.as_ref();
        let radius_mm = geometry.and_then(|geometry| geometry.scintillator_radius_mm);
        Ok(Vertex::Within(
            self.max_radius.or(radius_mm).unwrap_or(f64::NAN),
        ))
    }

    fn energy(&self) -> Result<Energy> {
        if let Some(path) = &self.spectrum {
            let rows = read_csv(path, &["energy_mev", "weight"])?;
            return Ok(Energy::Spectrum(
                rows.into_iter()
                    .map(|(values, _)| (values[0], values[1]))
                    .collect(),
            ));
        }
        if let Some(text) = &self.energy_range {
            let [low, high] = numbers("--energy-range", text, "LOW,HIGH in MeV")?;
            return Ok(Energy::Between(low, high));
        }
        Ok(Energy::Fixed(self.energy.unwrap_or(ENERGY_MEV)))
    }

    fn finder(&self) -> Result<HitFinder> {
        if self.level == Some(Level::Pe) {
            return Ok(HitFinder {
                separation_ns: 0.0,
                time_sigma_ns: 0.0,
                charge_sigma_pe: 0.0,
                threshold_pe: 0.0,
            });
        }
        let usual = HitFinder::default();
        let finder = HitFinder {
            separation_ns: self.hit_separation_ns.unwrap_or(usual.separation_ns),
            time_sigma_ns: self.hit_time_sigma_ns.unwrap_or(usual.time_sigma_ns),
            charge_sigma_pe: self.hit_charge_sigma_pe.unwrap_or(usual.charge_sigma_pe),
            threshold_pe: self.hit_threshold_pe.unwrap_or(usual.threshold_pe),
        };
        for (name, value) in [
            ("--hit-separation-ns", finder.separation_ns),
            ("--hit-time-sigma-ns", finder.time_sigma_ns),
            ("--hit-charge-sigma-pe", finder.charge_sigma_pe),
            ("--hit-threshold-pe", finder.threshold_pe),
        ] {
            if !(0.0..=1e6).contains(&value) {
                return Err(Error::usage(format!(
                    "`{name} {value}`: expected a number from 0 to 1000000"
                )));
            }
        }
        Ok(finder)
    }
}

/// Parses `N` numbers separated by commas.
fn numbers<const N: usize>(option: &str, text: &str, expected: &str) -> Result<[f64; N]> {
    let values: Option<Vec<f64>> = text
        .split(',')
        .map(|part| part.trim().parse().ok())
        .collect();
    values
        .and_then(|values| values.try_into().ok())
        .ok_or_else(|| Error::usage(format!("`{option} {text}`: expected {expected}")))
}
