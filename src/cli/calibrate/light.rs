//! `nuwave calibrate light`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::json;

use crate::calibrate::light::{LightResult, PASSES, light};
use crate::calibrate::plots;
use crate::cli::Verbosity;
use crate::cli::args::ThreadArgs;
use crate::cli::counter::Counter;
use crate::cli::error_text;
use crate::cli::progress::{memory, seconds};
use crate::detector;
use crate::error::{EXIT_PARTIAL, Error, Result};
use crate::io::hits::{self, HitSource};
use crate::io::{self, ReadOptions};
use crate::model::EventHits;
use crate::pipeline::{EventBuilder, OutputFolder};
use crate::text::{counted, thousands};
use crate::threads::thread_pool;

/// Events per block.
const BLOCK_EVENTS: usize = 512;

/// Light maps, time distributions, dark rates and the energy scale, from sources at known positions
///
/// Reads the hits seven times and fits every event once; memory grows with the number of runs (positions and energies) and
/// channels, not of events. From the truth it uses the positions and energies of the sources, and their times if these have the
/// same origin as those of the hits; from the detector the positions of the PMTs. Good maps need about 50 positions on and off
/// an axis, up to the edge, with a few hundred events each, and a few more energies at the centre.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  nuwave simulate events -d juno --sources sources.csv -o sources.parquet
  nuwave calibrate light sources.parquet --truth sources.truth-events.parquet -d juno -o maps
  nuwave reconstruct --from hits run.parquet -d juno --light-maps maps -o events")]
pub(super) struct Args {
    /// Hits of all runs: a folder that `nuwave reconstruct` made, a Parquet file or folder, an HDF5 file
    hits: PathBuf,
    /// True events with the positions of the sources, as `nuwave simulate events` writes them next to its hits
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// Folder to write
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Detector with a geometry (a preset or a detector file)
    #[arg(long, short, value_name = "NAME|FILE")]
    detector: String,
    /// Replace the output if it exists
    #[arg(long)]
    overwrite: bool,
    /// Folder for plots (SVG): light maps, arrival times, and light and energy of the sources over those of the maps
    #[arg(long, value_name = "DIR")]
    plots_dir: Option<PathBuf>,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Names of the columns, as `event=EventID,channel=ChannelID,time=t_ns,charge=q`
    #[arg(long, value_name = "LIST")]
    columns: Option<String>,
}

pub(super) fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    let detector = detector::load(&args.detector)?;
    let sensors = detector.sensors().ok_or_else(|| {
        Error::usage(format!("detector `{}` has no geometry", detector.name)).with_hint(
            "light is calibrated for PMTs at known positions; see `nuwave detector juno`",
        )
    })?;
    // Checked before all the work.
    let folder = OutputFolder::create(&args.output, args.overwrite)?;
    let truth = io::read_truth(&args.truth)?.events;
    if truth.is_empty() {
        return Err(Error::input(&args.truth, "holds no events").with_hint(
            "light is calibrated with sources at known positions: `event_id`, `x_mm`, `y_mm`, `z_mm`, `energy_mev`",
        ));
    }
    let options = crate::cli::args::InputArgs {
        columns: args.columns.clone(),
        ..Default::default()
    }
    .hit_options()?;
    let source = open(args, &options)?;
    let threads = args.threads.count()?;
    let pool = thread_pool(threads)?;
    let start = Instant::now();
    // The truth may have events without a hit: the first pass counts.
    let total = Some(truth.len() as u64);
    let progress = Counter::new("event", total, PASSES as u64, verbosity.quiet);
    let mut read_all = |visit: &mut dyn FnMut(&[EventHits])| -> Result<()> {
        progress.begin_pass();
        for &input in &source.inputs {
            let mut events = EventBuilder::new(&source)?;
            loop {
                let mut block = Vec::with_capacity(BLOCK_EVENTS);
                while block.len() < BLOCK_EVENTS
                    && let Some(event) = events.next_of_input(input)?
                {
                    block.push(event);
                }
                if block.is_empty() {
                    break;
                }
                visit(&block);
                progress.add(block.len() as u64);
            }
        }
        Ok(())
    };
    let result = pool.install(|| light(&mut read_all, &truth, &detector))?;
    progress.finish();
    let command = super::command_line();
    let summary = as_json(&result);
    let text = io::light_maps::write_tables(
        folder.path(),
        &result.tables,
        sensors,
        &command,
        summary.clone(),
    )?;
    folder.commit_with(io::light_maps::MANIFEST, &text)?;
    if let Some(plots) = &args.plots_dir {
        plots::write_light(plots, &result)?;
    }
    super::tell(
        verbosity,
        &args.output,
        || format!("{summary:#}"),
        || as_table(&result),
    )?;
    if !verbosity.quiet {
        let memory = memory().map_or_else(String::new, |memory| format!(", memory {memory}"));
        status!("time {}{memory}", seconds(start.elapsed().as_secs_f64()));
    }
    // Dim sources have events without light, which the table counts.
    let lost = result.without_truth + source.losses.len() as u64;
    for loss in &source.losses {
        status!(
            "warning: `{}`, {}: {}",
            args.hits.display(),
            loss.place,
            loss.reason
        );
    }
    Ok(if lost == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_PARTIAL)
    })
}

fn open(args: &Args, options: &ReadOptions) -> Result<HitSource> {
    let source = hits::open(&args.hits, options)?;
    if source.n_hits() == 0 {
        return Err(Error::input(&args.hits, "holds no hits"));
    }
    if source.inputs.len() > 1 {
        return Err(Error::input(
            &args.hits,
            format!(
                "holds the hits of {} inputs, whose events have the same numbers",
                source.inputs.len()
            ),
        )
        .with_hint("reconstruct the runs as one file, or calibrate with one of them"));
    }
    for remark in &source.info.remarks {
        let kind = if remark.is_warning { "warning" } else { "note" };
        status!(
            "{kind}: `{}`: {}",
            args.hits.display(),
            error_text::remark_text(remark)
        );
    }
    if !source.is_sorted() {
        status!(
            "note: the events of `{}` are not in ascending order; its hits are sorted in memory in every pass",
            args.hits.display()
        );
    }
    Ok(source)
}

fn as_json(result: &LightResult) -> serde_json::Value {
    json!({
        "events": result.events,
        "without_truth": result.without_truth,
        "without_light": result.without_light,
        "with_bad_hits": result.with_bad_hits,
        "fitted": result.fitted,
        "not_converged": result.not_converged,
        "time_zero": if result.time_of_truth { "truth" } else { "peak of the hits" },
        "runs": result.runs,
    })
}

fn as_table(result: &LightResult) -> String {
    let mut text = String::new();
    let tables = &result.tables;
    let _ = writeln!(
        text,
        "{} in {}; {} not in the truth, {} without light, {} with bad hits",
        counted(result.events, "event"),
        counted(result.runs.len() as u64, "run"),
        thousands(result.without_truth),
        thousands(result.without_light),
        thousands(result.with_bad_hits)
    );
    let _ = writeln!(
        text,
        "fitted: {}, {} not converged",
        counted(result.fitted, "event"),
        thousands(result.not_converged)
    );
    let index = |slowness: f64| slowness * 299.792_458;
    let _ = writeln!(
        text,
        "light: refractive index {:.3} in the scintillator, {:.3} outside; hits are {:.1} ns apart or more",
        index(tables.flight.inner_ns_per_mm),
        index(tables.flight.outer_ns_per_mm),
        tables.separation_ns
    );
    for (number, kind) in tables.types.iter().enumerate() {
        let mut sums = [0.0; 3];
        let members = tables.channels.iter().zip(&result.type_of);
        let mut n = 0.0_f64;
        for (channel, _) in members.filter(|(_, kind)| **kind == number) {
            n += 1.0;
            sums[0] += channel.efficiency * channel.efficiency;
            sums[1] += channel.dark_per_ns * 1e9;
            sums[2] += channel.time_offset_ns * channel.time_offset_ns;
        }
        let _ = writeln!(
            text,
            "{}: {}, efficiencies spread by {:.1} %, {:.1} kHz dark, offsets spread by {:.2} ns, a photoelectron has {:.3} PE",
            kind.name,
            counted(n as u64, "channel"),
            100.0 * (sums[0] / n.max(1.0) - 1.0).max(0.0).sqrt(),
            sums[1] / n.max(1.0) / 1e3,
            (sums[2] / n.max(1.0)).sqrt(),
            kind.charges.mean_pe()
        );
    }
    let _ = writeln!(text, "\n deposited MeV   visible / deposited");
    let energy = &tables.energy;
    for (deposited, visible) in energy.deposited_mev.iter().zip(&energy.visible_mev) {
        let _ = writeln!(text, "{deposited:14.3}   {:.4}", visible / deposited);
    }
    let _ = writeln!(
        text,
        "\n      x mm      y mm      z mm     MeV  events        PE   by maps  fitted / true"
    );
    for run in &result.runs {
        let [x, y, z] = run.position_mm;
        let found = match (run.response, run.response_sigma) {
            (Some(found), Some(sigma)) => format!("{found:.4} \u{b1} {sigma:.4}"),
            _ => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "{x:10.0}{y:10.0}{z:10.0}{:8.3}{:8}{:10.1}{:10.1}  {found}",
            run.energy_mev, run.events, run.pe, run.expected_pe
        );
    }
    text
}
