//! A pass over hits: events only.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::event_builder::EventBuilder;
use super::event_stage::EventStage;
use super::job::Job;
use super::observer::Notice;
use super::outcome::UnitOutcome;
use super::plan::{PlannedInput, Unit};
use super::record::UnitRecord;
use super::request::{PassOutcome, Request};
use super::settings::{OnError, PassSettings};
use super::unit::stopped_at;
use crate::detector;
use crate::error::{Error, ErrorKind, Hint, Result};
use crate::io::Loss;
use crate::io::atomic::parent_folder;
use crate::io::hits::{self, HitSource};

/// Divides the inputs into units; returns them with the tables that contain them. A table may contain several inputs.
pub(super) fn plan(
    settings: &PassSettings,
    files: &[PathBuf],
) -> Result<(Vec<PlannedInput>, Vec<Table>)> {
    let options = settings.read_options(0);
    let (mut inputs, mut tables) = (Vec::new(), Vec::new());
    for path in files {
        let mut source = match hits::open(path, &options) {
            Ok(source) => source,
            Err(error) => {
                let reason = settings.skip_reason(path, error)?;
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
                ..PlannedInput::from_hits(&source.info, n_hits, settings.unit_size)
            });
        }
        tables.push((source, first..inputs.len()));
    }
    Ok((inputs, tables))
}

/// A table of hits, and the indices of its inputs in the list of inputs.
type Table = (HitSource, Range<usize>);

/// Runs the pass that is requested.
pub(super) fn run(request: &Request, files: &[PathBuf]) -> Result<PassOutcome> {
    let settings = &request.settings;
    let observer = request.observer.as_ref();
    if !settings.events {
        return Err(Error::usage(
            "a pass over hits makes nothing but events, and the settings exclude them",
        )
        .with_hint(Hint::WithEvents));
    }
    refuse_own_input(files, &request.output)?;
    let detector = settings.detector.as_deref().ok_or_else(|| {
        Error::usage("a pass over hits needs a detector").with_hint(Hint::NameDetector)
    })?;
    let detector = detector::load(detector)?;
    let stage = EventStage::with_geometry(settings, &detector)?;
    // Every input is opened before anything is written: a wrong name ends the pass at once.
    let (inputs, tables) = plan(settings, files)?;
    if let Some(notice) = stage.notice() {
        observer.notice(&notice);
    }
    for (source, _) in &tables {
        for remark in &source.info.remarks {
            observer.notice(&Notice::Input {
                path: source.info.path.clone(),
                remark: remark.clone(),
                more: 0,
            });
        }
    }
    for (source, _) in &tables {
        if source.n_hits() == 0 {
            observer.notice(&Notice::NoHits(source.info.path.clone()));
        } else if !source.is_sorted() {
            observer.notice(&Notice::Unsorted {
                path: source.info.path.clone(),
                place: source.falls_at().to_owned(),
            });
        }
    }
    let mut job = match Job::begin(request, inputs, Some(&detector), None, stage)? {
        ControlFlow::Continue(job) => job,
        ControlFlow::Break(outcome) => return Ok(outcome),
    };
    let outcome = tables
        .iter()
        .try_for_each(|(source, inputs)| run_table(&mut job, source, inputs.clone()));
    Ok(PassOutcome {
        report: job.finish(outcome, None)?,
        was_finished: false,
        lost_gpu: false,
    })
}

/// Refuses an output that would replace one of its inputs, or that lies in a folder of hits and so would change it.
fn refuse_own_input(inputs: &[PathBuf], output: &Path) -> Result<()> {
    let refused = |input: &Path, what: &str| {
        Err(Error::output(
            output,
            format!("{what} its own input `{}`", input.display()),
        )
        .with_hint(Hint::OtherOutput))
    };
    let target = output.canonicalize().ok();
    let parent = parent_folder(output).canonicalize().ok();
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

/// Does the units of one table, whose inputs have the indices `places`.
fn run_table(job: &mut Job<'_>, source: &HitSource, places: Range<usize>) -> Result<()> {
    let request = job.request;
    let observer = request.observer.as_ref();
    let todo: BTreeSet<Unit> = job
        .todo
        .iter()
        .filter(|unit| places.contains(&(unit.input_id as usize)))
        .copied()
        .collect();
    if todo.is_empty() {
        return Ok(());
    }
    let mut events = EventBuilder::new(source).map_err(Error::into_retryable)?;
    // Once the table cannot be read any further, the units after that are lost.
    let mut cut: Option<Error> = None;
    for unit in todo {
        request.check_cancelled()?;
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
            let cancel = &request.cancel;
            job.stage
                .run(&mut events, what, &folder, unit, observer, cancel)
        })?;
        let is_first = place == 0 && unit.block == 0;
        let mut losses = if is_first {
            source.losses.clone()
        } else {
            Vec::new()
        };
        if let Some(error) = of_unit.as_mut().and_then(|events| events.cut.take()) {
            let error = error.into_retryable();
            if error.kind() == ErrorKind::TryAgain {
                return Err(error);
            }
            cut = Some(error);
        }
        losses.extend(cut.as_ref().map(|error| Loss {
            place: format!("hits {} and later", positions.start),
            event_id: None,
            channel_id: None,
            n_waveforms: None,
            reason: error.reason(),
            position: positions.start,
        }));
        if let Some(loss) = losses.first()
            && request.settings.on_error == OnError::Stop
        {
            return Err(stopped_at(&planned.path, loss));
        }
        let events = of_unit.as_ref();
        let outcome = UnitOutcome {
            hits: events.map_or(0, |events| events.hits),
            event_ids: events.and_then(|events| events.event_ids),
            // The source sorts its hits by event if they are not in order.
            ascending: true,
            losses,
            ..UnitOutcome::default()
        };
        let record = UnitRecord::new(unit, "cpu", outcome, of_unit, None, start.elapsed());
        job.finish_unit(record)?;
    }
    Ok(())
}
