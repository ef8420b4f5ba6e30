//! `nuwave reconstruct --from hits`: events only.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use super::events::EventStage;
use super::job::{Job, Request};
use super::settings::{OnError, Settings};
use crate::detector;
use crate::error::{Error, ErrorKind, Result};
use crate::io::Loss;
use crate::io::atomic::folder_of;
use crate::io::hit_source::{self, HitSource};
use crate::pipeline::{EventBuilder, PlannedInput, Unit, UnitOutcome, UnitRecord, stopped_at};

/// The inputs divided into units, and for each of them its table and its number there. A table that tells several inputs
/// apart is several inputs.
pub(super) fn plan(
    settings: &Settings,
    files: &[PathBuf],
) -> Result<(Vec<PlannedInput>, Vec<Table>)> {
    let options = settings.input.hit_options()?;
    let (mut inputs, mut tables) = (Vec::new(), Vec::new());
    for path in files {
        let mut source = match hit_source::open(path, &options) {
            Ok(source) => source,
            Err(error) => {
                let reason = settings.skipped(path, error)?;
                inputs.push(PlannedInput::unusable(path, reason));
                continue;
            }
        };
        let (n_bytes, crc32c) = source.checksum()?;
        source.info.n_bytes = n_bytes;
        let first = inputs.len();
        for (&input, &n_hits) in source.inputs.iter().zip(&source.hits_of) {
            inputs.push(PlannedInput {
                crc32c: Some(crc32c.clone()),
                input_of_table: (source.inputs.len() > 1).then_some(input),
                ..PlannedInput::of_hits(&source.info, n_hits, settings.unit_size)
            });
        }
        tables.push((source, first..inputs.len()));
    }
    Ok((inputs, tables))
}

/// A table of hits, and the places of its inputs in the list of inputs.
type Table = (HitSource, Range<usize>);

/// Reconstructs the events that are asked for.
pub(super) fn run(request: Request<'_>) -> Result<ExitCode> {
    let Request {
        settings,
        files,
        output,
        verbosity,
        ..
    } = request;
    if settings.no_events == Some(true) {
        return Err(
            Error::usage("`--no-events` with `--from hits`: nothing is left to be done")
                .with_hint("leave one of them out"),
        );
    }
    refuse_own_input(files, output)?;
    let detector = settings.known.detector.as_deref().ok_or_else(|| {
        Error::usage("`--from hits` needs to know the detector").with_hint(
            "give `--detector NAME|FILE`, one with a geometry (`nuwave detector` lists the presets)",
        )
    })?;
    let detector = detector::load(detector)?;
    let stage = EventStage::with_geometry(settings, &detector)?;
    // Every input is looked at before anything is written: a wrong name ends the run at once.
    let (inputs, tables) = plan(settings, files)?;
    if let (Some(line), false) = (stage.line(), verbosity.quiet) {
        status!("{line}");
    }
    for (source, _) in &tables {
        if source.n_hits() == 0 {
            status!("warning: `{}` holds no hits", source.info.path.display());
        } else if !source.is_sorted() && !verbosity.quiet {
            status!(
                "note: the events of `{}` are not in ascending order; its hits are sorted in memory",
                source.info.path.display()
            );
        }
    }
    let mut job = match Job::begin(request, inputs, None, stage)? {
        ControlFlow::Continue(job) => job,
        ControlFlow::Break(code) => return Ok(code),
    };
    let stop_at_loss = settings.on_error == Some(OnError::Stop);
    let outcome = tables
        .iter()
        .try_for_each(|(source, inputs)| one_table(&mut job, source, inputs.clone(), stop_at_loss));
    let report = job.finish(outcome, None)?;
    Ok(ExitCode::from(report.exit_code()))
}

/// Refuses to put events where the hits are that they come from, which would be replaced, or into a folder of hits, which
/// would be another one then.
fn refuse_own_input(inputs: &[PathBuf], output: &Path) -> Result<()> {
    let refused = |input: &Path, what: &str| {
        Err(Error::output(
            output,
            format!("{what} its own input `{}`", input.display()),
        )
        .with_hint("give another folder with `-o`"))
    };
    let target = output.canonicalize().ok();
    let parent = folder_of(output).canonicalize().ok();
    for input in inputs {
        let Ok(real) = input.canonicalize() else {
            continue;
        };
        if target
            .as_ref()
            .is_some_and(|target| real.starts_with(target))
        {
            return refused(input, "would replace");
        }
        if real.is_dir()
            && parent
                .as_ref()
                .is_some_and(|parent| parent.starts_with(&real))
        {
            return refused(input, "lies in");
        }
    }
    Ok(())
}

/// The units of one table, whose inputs have the places `places`.
fn one_table(
    job: &mut Job<'_>,
    source: &HitSource,
    places: Range<usize>,
    stop_at_loss: bool,
) -> Result<()> {
    let todo: BTreeSet<Unit> = job
        .todo
        .iter()
        .filter(|unit| places.contains(&(unit.input_id as usize)))
        .copied()
        .collect();
    if todo.is_empty() {
        return Ok(());
    }
    let mut events = EventBuilder::new(source).map_err(Error::to_be_tried_again)?;
    // Behind the place where the table cannot be read there is nothing.
    let mut cut: Option<Error> = None;
    for unit in todo {
        if job.cancel.is_cancelled() {
            return Err(job.cancel.error());
        }
        let start = Instant::now();
        let place = (unit.input_id as usize).saturating_sub(places.start);
        let (Some(&input), Some(planned)) =
            (source.inputs.get(place), job.input(unit.input_id).cloned())
        else {
            return Err(Error::internal("a unit of no input"));
        };
        let positions = planned.positions(unit.block);
        let folder = job.staging.tables();
        let mut of_unit = job.pool.install(|| {
            let what = (input, &positions);
            let (progress, cancel) = (&job.progress, &job.cancel);
            job.stage
                .run(&mut events, what, &folder, unit, progress, cancel)
        })?;
        let is_first = place == 0 && unit.block == 0;
        let mut losses = if is_first {
            source.losses.clone()
        } else {
            Vec::new()
        };
        if let Some(error) = of_unit.as_mut().and_then(|events| events.cut.take()) {
            let error = error.to_be_tried_again();
            if error.kind() == ErrorKind::TryAgain {
                return Err(error);
            }
            cut = Some(error);
        }
        losses.extend(cut.as_ref().map(|error| Loss {
            place: format!("hits {} and later", positions.start),
            event_id: None,
            channel_id: None,
            n_waveforms: 1,
            reason: error.reason(),
            position: positions.start,
        }));
        if let (Some(loss), true) = (losses.first(), stop_at_loss) {
            return Err(stopped_at(&planned.path, loss));
        }
        let events = of_unit.as_ref();
        let outcome = UnitOutcome {
            hits: events.map_or(0, |events| events.hits),
            event_ids: events.and_then(|events| events.event_ids),
            // Those of a table are sorted where they do not come so.
            ascending: true,
            losses,
            ..UnitOutcome::default()
        };
        let record = UnitRecord::new(unit, "cpu", outcome, of_unit, None, start.elapsed());
        job.finish_unit(record)?;
    }
    Ok(())
}
