//! `nuwave evaluate`: compares hits and events with the truth, as a table, JSON and plots.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::Verbosity;
use super::args::{detector_of_report, refuse_existing, write_files};
use crate::detector::{self, Detector};
use crate::error::{Error, Result};
use crate::evaluate::events::bins::Binning;
use crate::evaluate::events::{EventResult, join, report as events_report};
use crate::evaluate::summary::{Evaluation, ReconstructionResult};
use crate::evaluate::{matching, plots, report};
use crate::io::{self, tables};
use crate::model::Truth;

/// Compare hits and events with the truth
///
/// Hits: charge, linearity, timing, separation, efficiency and purity. Events, if the folder and the truth have some:
/// bias and resolution of vertex, time and energy, non-uniformity, pulls. Prints a table; with several folders, one column
/// per folder. `-o` writes the plots (SVG), the table and `evaluation.json` with
/// every result and its error; the global `--json` prints that JSON instead of the table. All hits and photoelectrons are
/// held in memory, about 100 bytes each.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Output folders of `nuwave reconstruct`, for the same input
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// The truth: the simulated waveform file that holds it, or the file next to it
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// Folder for the plots, the table and the JSON
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace the plots of an earlier evaluation in the output folder
    #[arg(long)]
    overwrite: bool,
    /// Name of a folder in table and plots; once per folder, in their order [default: the folder's name]
    #[arg(long = "label", value_name = "NAME")]
    labels: Vec<String>,
    /// Input that the truth belongs to, if the reconstruction has several (its index in the report's list, from 0)
    #[arg(long, value_name = "N")]
    input_id: Option<u32>,
    /// Detector whose radius limits the events' bins [default: the report's; else the largest true radius]
    #[arg(long, short, value_name = "NAME|FILE")]
    detector: Option<String>,
    /// Radius of the fiducial volume [default: 0.904 of the scintillator's radius, or 0.9 of the largest true one]
    #[arg(long, value_name = "MM")]
    fiducial_mm: Option<f64>,
}

pub(crate) fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    let labels = labels(args)?;
    if let Some(output) = &args.output {
        refuse_existing(output, args.overwrite)?;
    }
    if let Some(fiducial_mm) = args.fiducial_mm
        && !(fiducial_mm.is_finite() && fiducial_mm > 0.0)
    {
        return Err(Error::usage(format!(
            "`--fiducial-mm {fiducial_mm}` is not a positive number"
        )));
    }
    // Reports first: an unfinished folder should be found before reading the others.
    let reports = args
        .dirs
        .iter()
        .map(|dir| tables::read::read_report(dir))
        .collect::<Result<Vec<_>>>()?;
    let scintillator_mm = scintillator_mm(args, &reports)?;
    let truth = io::read_truth(&args.truth)?;
    let binning = Binning::from_truth(&truth.events, scintillator_mm, args.fiducial_mm);
    let (mut methods, mut events) = (Vec::new(), Vec::new());
    for (dir, label) in args.dirs.iter().zip(labels) {
        let of = what_to_evaluate(args, dir, &truth)?;
        if let Some(why) = of.left_out.filter(|_| !verbosity.quiet) {
            status!("note: {label}: {why}");
        }
        if of.hits {
            let reconstruction = tables::read::read(dir)?;
            let joined = matching::join(&reconstruction, &truth, args.input_id)?;
            drop(reconstruction);
            let result = ReconstructionResult::evaluate(label.clone(), dir, &joined);
            warn(&report::warnings(&result), verbosity);
            methods.push(result);
        }
        if of.events {
            let rows = tables::events::read(&dir.join("events"))?;
            let joined = join::join(dir, &rows, &truth.events, args.input_id)?;
            let result = EventResult::evaluate(label, dir, &joined, &binning);
            warn(&events_report::warnings(&result), verbosity);
            events.push(result);
        }
    }
    let evaluation = Evaluation::new(&args.truth, methods, events);
    let table = report::table(&evaluation);
    let json = super::json_text(&evaluation)?;
    if let Some(output) = &args.output {
        write_all(output, &evaluation, &table, &json)?;
        if !verbosity.quiet {
            status!("plots, table and JSON are in `{}`", output.display());
        }
    }
    if verbosity.json {
        super::print(&json)?;
    } else if !verbosity.quiet || args.output.is_none() {
        super::print(&table)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn warn(lines: &[String], verbosity: Verbosity) {
    for line in lines.iter().filter(|_| !verbosity.quiet) {
        status!("warning: {line}");
    }
}

/// The parts of a folder that can be compared with the truth.
struct Evaluated {
    hits: bool,
    events: bool,
    /// The part of the folder that the truth lacks.
    left_out: Option<&'static str>,
}

/// Hits if folder and truth have some, and likewise events.
fn what_to_evaluate(args: &Args, dir: &Path, truth: &Truth) -> Result<Evaluated> {
    let has_events = dir.join("events").is_dir();
    // A folder without events has hits; reading it reports what is missing.
    let has_hits = !has_events || dir.join("hits").exists() || dir.join("waveforms").exists();
    let (true_hits, true_events) = (!truth.photoelectrons.is_empty(), !truth.events.is_empty());
    let events = has_events && true_events;
    let hits = has_hits && (true_hits || (!has_events && !true_events));
    if !events && !hits {
        let (lacks, has) = if has_events {
            ("events", "events")
        } else {
            ("photoelectrons", "hits")
        };
        return Err(Error::input(
            &args.truth,
            format!("the truth has no {lacks}, and `{}` has {has} only", dir.display()),
        )
        .with_hint(if has_events {
            "true events are in an HDF5 file at `/truth/events`, or in `NAME.truth-events.parquet` next to the file"
        } else {
            "give a folder with the table `events`, which `nuwave reconstruct` writes for a detector with a geometry"
        }));
    }
    let left_out = match (has_hits && !hits, has_events && !events) {
        (true, _) => Some("its hits are not evaluated: the truth has no photoelectrons"),
        (_, true) => Some("its events are not evaluated: the truth has none"),
        _ => None,
    };
    Ok(Evaluated {
        hits,
        events,
        left_out,
    })
}

/// The scintillator's radius: of the detector that was named, else of the one that a report names, where it can be found.
fn scintillator_mm(args: &Args, reports: &[serde_json::Value]) -> Result<Option<f64>> {
    let radius_mm = |detector: &Detector| {
        let geometry = detector.geometry.as_ref()?;
        geometry.scintillator_radius_mm
    };
    if let Some(name) = &args.detector {
        return Ok(radius_mm(&detector::load(name)?));
    }
    let named = reports.iter().filter_map(detector_of_report);
    Ok(named
        .filter_map(|name| detector::load(&name).ok())
        .find_map(|detector| radius_mm(&detector)))
}

/// The names of the columns: as given, else the folders' names, in full where two are the same.
fn labels(args: &Args) -> Result<Vec<String>> {
    if !args.labels.is_empty() {
        if args.labels.len() != args.dirs.len() {
            return Err(Error::usage(format!(
                "{} folders but {} labels",
                args.dirs.len(),
                args.labels.len()
            ))
            .with_hint("give `--label NAME` once a folder, in the folders' order, or not at all"));
        }
        return Ok(args.labels.clone());
    }
    let short = |dir: &PathBuf| {
        dir.file_name().map_or_else(
            || dir.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        )
    };
    Ok(args
        .dirs
        .iter()
        .map(|dir| {
            let alike = args.dirs.iter().filter(|other| short(other) == short(dir));
            if alike.count() > 1 {
                dir.display().to_string()
            } else {
                short(dir)
            }
        })
        .collect())
}

fn write_all(output: &Path, evaluation: &Evaluation, table: &str, json: &str) -> Result<()> {
    let svgs = plots::evaluation_svgs(evaluation)?;
    let svgs = svgs.iter().map(|(name, svg)| (*name, svg.as_str()));
    let texts = [("evaluation.txt", table), ("evaluation.json", json)];
    write_files(output, svgs.chain(texts))
}
