//! A pass over waveforms: hits, and events where there is a geometry.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::backend::BackendChoice;
use super::cut_pulses::CutLevels;
use super::detector_context::DetectorContext;
use super::event_stage::EventStage;
use super::job::Job;
use super::observer::{Notice, Observer};
use super::outcome::UnitOutcome;
use super::plan::{PlannedInput, Unit};
use super::record::{RangeChecksum, UnitRecord};
use super::request::{PassOutcome, Request};
use super::settings::{OnError, PassSettings};
use super::unit::{UnitContext, run_unit};
use crate::detector::Detector;
use crate::error::{Error, ErrorKind, Result};
use crate::extract::{Backend, BackendReport, DigitizerConfig, Extractor};
use crate::io::tables::TablesWriter;
use crate::io::{self, BatchLimit, ChannelOrigin, MergedChannels, Remark, Source, SourceInfo};
use crate::model::Polarity;

/// Divides the inputs into units; returns them with what they are reconstructed with and the readout of each.
pub(super) fn plan(
    request: &Request,
    files: &[PathBuf],
) -> Result<(
    Vec<PlannedInput>,
    DetectorContext,
    Vec<Option<DigitizerConfig>>,
)> {
    let settings = &request.settings;
    settings.parameters.validate()?;
    // Every input is opened before anything is written: a wrong name ends the pass at once.
    let mut infos = Vec::new();
    for (input_id, path) in files.iter().enumerate() {
        infos.push(
            match io::open(path, &settings.read_options(input_id as u32)) {
                Ok(source) => Ok(source.info().clone()),
                Err(error) => Err((path, settings.skip_reason(path, error)?)),
            },
        );
    }
    tell_remarks(infos.iter().flatten(), settings, request.observer.as_ref());
    let Some(first) = infos.iter().flatten().next() else {
        let reasons = infos.iter().filter_map(|info| info.as_ref().err());
        let reason = reasons.map(|(_, reason)| reason.as_str()).next();
        return Err(Error::new(ErrorKind::Input, reason.unwrap_or("no input"))
            .with_hint("none of the inputs can be read"));
    };
    let context = DetectorContext::read(
        settings.detector.as_deref(),
        settings.calibration.as_deref(),
        first,
        &settings.input,
    )?;
    let (mut inputs, mut readouts) = (Vec::new(), Vec::new());
    for info in infos {
        let (input, readout) = match info {
            Ok(info) => {
                let readout = context.readout(&info, &settings.input)?;
                let input = PlannedInput {
                    sampling_ns: Some(readout.sampling_ns),
                    polarity: Some(readout.polarity),
                    adc_bits: readout.adc_bits,
                    expected: Some(context.expected()),
                    ..PlannedInput::from_waveforms(&info, settings.unit_size)
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

/// Passes on what the readers of the inputs remark, each text once.
fn tell_remarks<'a>(
    infos: impl Iterator<Item = &'a SourceInfo> + Clone,
    settings: &PassSettings,
    observer: &dyn Observer,
) {
    if let Some(merged) = MergedChannels::find(infos.clone()) {
        observer.notice(&Notice::MergedChannels(merged));
    }
    let unused_channel =
        Remark::warning("states its channels; the channel that the settings state is not used");
    let states_channel = settings.input.read.channel_id.is_some();
    let mut told: Vec<(&Path, &Remark, usize)> = Vec::new();
    for info in infos {
        let is_unused = states_channel && info.channel_origin == ChannelOrigin::Stated;
        for remark in info
            .remarks
            .iter()
            .chain(is_unused.then_some(&unused_channel))
        {
            match told.iter_mut().find(|(_, known, _)| *known == remark) {
                Some((.., more)) => *more += 1,
                None => told.push((&info.path, remark, 0)),
            }
        }
    }
    for (path, remark, more) in told {
        observer.notice(&Notice::Input {
            path: path.to_owned(),
            remark: remark.clone(),
            more,
        });
    }
}

/// Runs the pass that is requested.
pub(super) fn run(request: &Request, files: &[PathBuf]) -> Result<PassOutcome> {
    let settings = &request.settings;
    let observer = request.observer.as_ref();
    let choice = BackendChoice::new(settings.backend, settings.adapter.as_deref())?;
    observer.notice(&Notice::Backend(choice.line.clone()));
    let (inputs, context, readouts) = plan(request, files)?;
    let stage = EventStage::new(settings, context.detector.as_ref())?;
    observer.notice(&Notice::Calibration(context.origin.clone()));
    if let Some(notice) = stage.notice() {
        observer.notice(&notice);
    }
    let mut job = match Job::begin(
        request,
        inputs,
        context.detector.as_ref(),
        Some(&context.calibration),
        stage,
    )? {
        ControlFlow::Continue(job) => job,
        ControlFlow::Break(outcome) => return Ok(outcome),
    };
    let mut extractors = Extractors {
        request,
        choice: &choice,
        context: &context,
        current: None,
        gpu_report: None,
    };
    let outcome = run_units(&mut job, &readouts, &mut extractors);
    let gpu_report = extractors.finish();
    let given_up = gpu_report
        .as_ref()
        .is_some_and(|report| report.given_up.is_some());
    Ok(PassOutcome {
        report: job.finish(outcome, gpu_report)?,
        was_finished: false,
        lost_gpu: given_up && choice.demanded,
    })
}

/// The backend in use, and the reports of those before it.
struct Extractors<'a> {
    request: &'a Request,
    choice: &'a BackendChoice,
    context: &'a DetectorContext,
    current: Option<(DigitizerConfig, Box<dyn Backend>)>,
    gpu_report: Option<BackendReport>,
}

impl Extractors<'_> {
    /// Returns the backend for `readout`; keeps the one in use if it fits.
    fn for_readout(
        &mut self,
        readout: DigitizerConfig,
        path: &Path,
        pool: &rayon::ThreadPool,
    ) -> Result<&dyn Backend> {
        let current = match self.current.take() {
            Some(current) if current.0 == readout => current,
            previous => {
                let report = previous.and_then(|(_, one)| one.report());
                BackendReport::merge(&mut self.gpu_report, report);
                let make = || {
                    let calibration = self.context.calibration.clone();
                    let parameters = self.request.settings.parameters;
                    pool.install(|| Extractor::new(calibration, readout, parameters))
                        .map_err(|error| error.in_file(path))
                };
                let backend = self.choice.build(make, self.request.observer.as_ref())?;
                (readout, backend)
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
fn run_units(
    job: &mut Job<'_>,
    readouts: &[Option<DigitizerConfig>],
    extractors: &mut Extractors<'_>,
) -> Result<()> {
    let request = job.request;
    let settings = &request.settings;
    let limit = settings.batch_limit(extractors.choice);
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
        let options = settings.read_options(input_id);
        let open = || {
            // The plan could open it: if it cannot be opened now, the cause is the system.
            let mut source = io::open(&input.path, &options).map_err(Error::into_retryable)?;
            let cancel = request.cancel.clone();
            source.stop_when(Arc::new(move || cancel.is_cancelled()));
            Ok::<_, Error>(source)
        };
        // Events and repeated waveforms need whole units: an input in which events are scattered is one unit.
        let is_scattered = input.units > 1 && !open()?.events_ascend()?;
        if is_scattered && units.len() as u32 == input.units {
            request
                .observer
                .notice(&Notice::Scattered(input.path.clone()));
        }
        let input_units = input.units;
        let detector = extractors.context.detector.as_ref();
        let backend = extractors.for_readout(*readout, &input.path, &job.pool)?;
        let mut first = open()?;
        let cut_levels = job
            .pool
            .install(|| CutLevels::learn(first.as_mut(), backend.cpu()));
        let mut pass = InputPass {
            source: open()?,
            backend,
            cut_levels,
            input,
            events_ascend: input_units > 1 && !is_scattered,
            polarity: readout.polarity,
            detector,
            is_scattered,
            limit,
        };
        for &unit in units {
            pass.run_unit(job, unit)?;
        }
    }
    Ok(())
}

/// The pass over one input.
struct InputPass<'a> {
    input: PlannedInput,
    source: Box<dyn Source>,
    backend: &'a dyn Backend,
    cut_levels: CutLevels,
    /// True if the first unit takes all events.
    is_scattered: bool,
    /// True if the events are known to ascend.
    events_ascend: bool,
    polarity: Polarity,
    detector: Option<&'a Detector>,
    limit: BatchLimit,
}

impl InputPass<'_> {
    fn run_unit(&mut self, job: &mut Job<'_>, unit: Unit) -> Result<()> {
        let request = job.request;
        request.check_cancelled()?;
        let observer = request.observer.as_ref();
        let start = Instant::now();
        let bytes = self.input.bytes_of(unit.block);
        let path = self.input.path.clone();
        // The checksum reads the file at the same time, while its pages are in memory anyway.
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
                adc_bits: self.input.adc_bits,
                folder: &folder,
                events_ascend: self.events_ascend,
                polarity: self.polarity,
                cut_levels: &self.cut_levels,
                detector: self.detector,
                stop_at_loss: request.settings.on_error == OnError::Stop,
                observer,
                cancel: &request.cancel,
            };
            job.pool
                .install(|| run_unit(self.source.as_mut(), &context, writer))?
        };
        let events = job.pool.install(|| {
            let parts = &outcome.parts;
            job.stage
                .run_on_parts(&folder, parts, unit, observer, &request.cancel)
        })?;
        let read = checksum
            .join()
            .map_err(|_| Error::internal("the checksum's thread panicked"))??;
        let name = self.backend.name();
        let record = UnitRecord::new(unit, name, outcome, events, Some(read), start.elapsed());
        job.finish_unit(record)
    }
}
