//! `nuwave reconstruct` of waveforms: hits, and events where there is a geometry.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use super::events::EventStage;
use super::job::{Job, Request};
use super::settings::{OnError, Settings};
use crate::cli::args::DetectorContext;
use crate::cli::backend::Choice;
use crate::error::{Error, ErrorKind, Result};
use crate::extract::{Backend, BackendReport, Extractor, ReadoutFacts};
use crate::io::tables::TablesWriter;
use crate::io::{self, BatchLimit, Source};
use crate::pipeline::{
    PlannedInput, RangeChecksum, Unit, UnitContext, UnitOutcome, UnitRecord, run_unit,
};

/// The inputs divided into units, what they are reconstructed with, and the readout of each.
pub(super) fn plan(
    settings: &Settings,
    files: &[PathBuf],
) -> Result<(
    Vec<PlannedInput>,
    DetectorContext,
    Vec<Option<ReadoutFacts>>,
)> {
    settings.parameters().validate()?;
    // Every input is opened before anything is written: a wrong name ends the run at once.
    let mut infos = Vec::new();
    for (input_id, path) in files.iter().enumerate() {
        let options = settings.input.read_options(input_id as u32)?;
        infos.push(match io::open(path, &options) {
            Ok(source) => Ok(source.info().clone()),
            Err(error) => Err((path, settings.skipped(path, error)?)),
        });
    }
    let Some(first) = infos.iter().flatten().next() else {
        let reasons = infos.iter().filter_map(|info| info.as_ref().err());
        let reason = reasons.map(|(_, reason)| reason.as_str()).next();
        return Err(Error::new(ErrorKind::Input, reason.unwrap_or("no input"))
            .with_hint("none of the inputs can be read"));
    };
    let context = settings.known.read(first)?;
    let (mut inputs, mut readouts) = (Vec::new(), Vec::new());
    for info in infos {
        let (input, readout) = match info {
            Ok(info) => {
                let readout = settings.input.readout(&info, &context)?;
                let input = PlannedInput {
                    sampling_ns: Some(readout.sampling_ns),
                    polarity: Some(readout.polarity),
                    ..PlannedInput::of_waveforms(&info, settings.unit_size)
                };
                (input, Some(readout))
            }
            Err((path, reason)) => (PlannedInput::unusable(path, reason), None),
        };
        inputs.push(input);
        readouts.push(readout);
    }
    Ok((inputs, context, readouts))
}

/// Reconstructs the units that are asked for.
pub(super) fn run(request: Request<'_>) -> Result<ExitCode> {
    let Request {
        settings,
        files,
        verbosity,
        ..
    } = request;
    let choice = settings.backend.choose()?;
    if !verbosity.quiet {
        status!("{}", choice.line);
    }
    let (inputs, context, readouts) = plan(settings, files)?;
    let stage = EventStage::choose(settings, context.detector.as_ref())?;
    if !verbosity.quiet {
        status!("templates: {}", context.origin);
        if let Some(line) = stage.line() {
            status!("{line}");
        }
    }
    let mut job = match Job::begin(request, inputs, Some(&context.calibration), stage)? {
        ControlFlow::Continue(job) => job,
        ControlFlow::Break(code) => return Ok(code),
    };
    let mut extractors = Extractors {
        settings,
        choice: &choice,
        context: &context,
        current: None,
        gpu_report: None,
    };
    let outcome = all_units(&mut job, settings, &readouts, &mut extractors);
    let gpu_report = extractors.finish();
    let given_up = gpu_report
        .as_ref()
        .is_some_and(|report| report.given_up.is_some());
    let report = job.finish(outcome, gpu_report)?;
    // The result is whole, but not what was asked for.
    if given_up && choice.demanded && report.exit_code() == 0 {
        return Ok(ExitCode::from(ErrorKind::Gpu.exit_code()));
    }
    Ok(ExitCode::from(report.exit_code()))
}

/// The backend in use, and what those before it have to report.
struct Extractors<'a> {
    settings: &'a Settings,
    choice: &'a Choice,
    context: &'a DetectorContext,
    current: Option<(ReadoutFacts, Box<dyn Backend>)>,
    gpu_report: Option<BackendReport>,
}

impl Extractors<'_> {
    /// One for `readout`: the one in use if it is for that.
    fn for_readout(
        &mut self,
        readout: ReadoutFacts,
        path: &Path,
        pool: &rayon::ThreadPool,
    ) -> Result<&dyn Backend> {
        let current = match self.current.take() {
            Some(current) if current.0 == readout => current,
            previous => {
                let report = previous.and_then(|(_, one)| one.report());
                BackendReport::merge(&mut self.gpu_report, report);
                let made = self.choice.build(|| {
                    let calibration = self.context.calibration.clone();
                    let parameters = self.settings.parameters();
                    pool.install(|| Extractor::new(calibration, readout, parameters))
                        .map_err(|error| error.in_file(path))
                })?;
                (readout, made)
            }
        };
        Ok(self.current.insert(current).1.as_ref())
    }

    fn finish(mut self) -> Option<BackendReport> {
        let report = self.current.and_then(|(_, one)| one.report());
        BackendReport::merge(&mut self.gpu_report, report);
        self.gpu_report
    }
}

/// Does the units that are to be done, input by input.
fn all_units(
    job: &mut Job<'_>,
    settings: &Settings,
    readouts: &[Option<ReadoutFacts>],
    extractors: &mut Extractors<'_>,
) -> Result<()> {
    let todo = job.todo.clone();
    for units in todo.chunk_by(|a, b| a.input_id == b.input_id) {
        let Some(&Unit { input_id, .. }) = units.first() else {
            continue;
        };
        let (Some(input), Some(Some(readout))) = (
            job.input(input_id).cloned(),
            readouts.get(input_id as usize),
        ) else {
            continue;
        };
        let options = settings.input.read_options(input_id)?;
        // It could be opened a moment ago.
        let cancel = job.cancel.clone();
        let open = || {
            let mut source = io::open(&input.path, &options).map_err(Error::to_be_tried_again)?;
            let cancel = cancel.clone();
            source.stop_when(Arc::new(move || cancel.is_cancelled()));
            Ok::<_, Error>(source)
        };
        // Where events are wanted, units must have them whole: an input in which they are scattered is one unit.
        let is_scattered = job.stage.is_wanted() && input.units > 1 && !open()?.events_ascend()?;
        if is_scattered && units.len() as u32 == input.units {
            status!(
                "note: the events of `{}` are not in ascending order; it is done as one unit",
                input.path.display()
            );
        }
        let limit = settings.limit(extractors.choice);
        let mut pass = InputPass {
            source: open()?,
            backend: extractors.for_readout(*readout, &input.path, &job.pool)?,
            input,
            is_scattered,
            limit,
            stop_at_loss: settings.on_error == Some(OnError::Stop),
        };
        for &unit in units {
            pass.one_unit(job, unit)?;
        }
    }
    Ok(())
}

/// An input that is passed over.
struct InputPass<'a> {
    input: PlannedInput,
    source: Box<dyn Source>,
    backend: &'a dyn Backend,
    /// True if the first unit takes all.
    is_scattered: bool,
    limit: BatchLimit,
    stop_at_loss: bool,
}

impl InputPass<'_> {
    fn one_unit(&mut self, job: &mut Job<'_>, unit: Unit) -> Result<()> {
        if job.cancel.is_cancelled() {
            return Err(job.cancel.error());
        }
        let start = Instant::now();
        let bytes = self.input.bytes_of(unit.block);
        let path = self.input.path.clone();
        // The checksum reads the file alongside, while its pages are in memory anyway.
        let checksum = std::thread::spawn(move || RangeChecksum::from_file(&path, bytes));
        let folder = job.staging.tables();
        let writer = TablesWriter::create(&folder, &unit)?;
        let outcome = if self.is_scattered && unit.block > 0 {
            UnitOutcome {
                parts: writer.finish()?.into(),
                ascending: true,
                ..UnitOutcome::default()
            }
        } else {
            let positions = if self.is_scattered {
                0..u64::MAX
            } else {
                self.input.positions(unit.block)
            };
            self.source.select(positions)?;
            let context = UnitContext {
                backend: self.backend,
                limit: self.limit,
                stop_at_loss: self.stop_at_loss,
                progress: &job.progress,
                cancel: &job.cancel,
            };
            job.pool
                .install(|| run_unit(self.source.as_mut(), &context, writer))?
        };
        let events = job.pool.install(|| {
            job.stage
                .of_parts(&folder, &outcome.parts, unit, &job.progress, &job.cancel)
        })?;
        let read = checksum
            .join()
            .map_err(|_| Error::internal("the checksum's thread panicked"))??;
        let name = self.backend.name();
        let record = UnitRecord::new(unit, name, outcome, events, Some(read), start.elapsed());
        job.finish_unit(record)
    }
}
