//! `nuwave evaluate`: hits against truth, as a table, as JSON, and as plots.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::Talk;
use super::shared::{refuse_existing, write_files};
use crate::error::{Error, Result};
use crate::evaluate::summary::{Evaluation, Method};
use crate::evaluate::{matching, plots, report};
use crate::io::{self, hits};

/// Hold hits against the truth: charge, linearity, timing, separation, efficiency and purity
///
/// Prints a table; with several folders, one column each. `-o` writes the plots (SVG), the table and `evaluation.json` with
/// every figure and its error; the global `--json` prints that JSON instead of the table. All hits and photoelectrons are
/// held in memory, about 100 bytes each.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Output folders of `nuwave reconstruct`, for the same input
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// The truth: the simulated waveform file that holds it, or the file written beside it
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// Folder for the plots, the table and the JSON
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace the plots of an earlier evaluation in the output folder
    #[arg(long)]
    overwrite: bool,
    /// Name of a folder in table and plots; once a folder, in their order [default: the folder's name]
    #[arg(long = "label", value_name = "NAME")]
    labels: Vec<String>,
    /// Which input of a reconstruction of several the truth belongs to (its place in the report's list, from 0)
    #[arg(long, value_name = "N")]
    input_id: Option<u32>,
}

pub(crate) fn run(args: &Args, talk: Talk) -> Result<ExitCode> {
    let labels = labels(args)?;
    if let Some(output) = &args.output {
        refuse_existing(output, args.overwrite)?;
    }
    // Reports first: a folder that is not finished should not be found out after a minute of reading another.
    for dir in &args.dirs {
        hits::read_report(dir)?;
    }
    let truth = io::read_truth(&args.truth)?;
    let mut methods = Vec::with_capacity(args.dirs.len());
    for (dir, label) in args.dirs.iter().zip(labels) {
        let reconstruction = hits::read(dir)?;
        let joined = matching::join(&reconstruction, &truth, args.input_id)?;
        drop(reconstruction);
        let method = Method::evaluate(label, dir, &joined);
        if !talk.quiet {
            for line in report::warnings(&method) {
                say!("warning: {line}");
            }
        }
        methods.push(method);
    }
    let evaluation = Evaluation::new(&args.truth, methods);
    let table = report::table(&evaluation);
    let json = serde_json::to_string_pretty(&evaluation)
        .map_err(|error| Error::internal(format!("the JSON could not be written: {error}")))?;
    if let Some(output) = &args.output {
        write_all(output, &evaluation, &table, &json)?;
        if !talk.quiet {
            say!("plots, table and JSON are in `{}`", output.display());
        }
    }
    if talk.json {
        super::print(&(json + "\n"))?;
    } else if !talk.quiet || args.output.is_none() {
        super::print(&table)?;
    }
    Ok(ExitCode::SUCCESS)
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
    let figures = plots::evaluation_svgs(evaluation)?;
    let figures = figures.iter().map(|(name, svg)| (*name, svg.as_str()));
    let texts = [("evaluation.txt", table), ("evaluation.json", json)];
    write_files(output, figures.chain(texts))
}
