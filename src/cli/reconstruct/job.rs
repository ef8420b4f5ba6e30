//! What passes over waveforms and over hits have in common: the staging folder, the units that are left, the end.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use super::events::EventStage;
use super::settings::{From, Settings};
use super::summary::{print_json, print_summary};
use crate::cli::Verbosity;
use crate::error::{Error, ErrorKind, Result};
use crate::extract::BackendReport;
use crate::model::Calibration;
use crate::pipeline::{
    CancelToken, Mode, OpenOutcome, PlannedInput, Progress, Provenance, Report, RunManifest,
    Selection, StagingDir, Unit, UnitRecord,
};

/// A run that has begun.
pub(super) struct Job<'a> {
    start: Instant,
    output: &'a Path,
    verbosity: Verbosity,
    configuration_crc32c: String,
    manifest: RunManifest,
    pub stage: EventStage,
    pub staging: Box<StagingDir>,
    /// The units that are to be done, in order.
    pub todo: Vec<Unit>,
    n_units: u64,
    done: BTreeSet<Unit>,
    pub pool: rayon::ThreadPool,
    threads: usize,
    pub progress: Progress,
    pub cancel: CancelToken,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub settings: &'a Settings,
    pub files: &'a [PathBuf],
    pub selection: Selection,
    pub output: &'a Path,
    pub mode: Mode,
    pub verbosity: Verbosity,
    pub cancel: &'a CancelToken,
}

impl<'a> Job<'a> {
    /// Begins to do what `request` asks for with the inputs as planned; breaks with the exit code if all is done already.
    pub fn begin(
        request: Request<'a>,
        inputs: Vec<PlannedInput>,
        calibration: Option<&Calibration>,
        stage: EventStage,
    ) -> Result<ControlFlow<ExitCode, Self>> {
        let Request {
            settings,
            selection,
            output,
            mode,
            verbosity,
            cancel,
            ..
        } = request;
        let start = Instant::now();
        let threads = settings.threads.count()?;
        let progress_interval = settings.progress_interval()?;
        let sums = Settings::sums(calibration, &stage.plan);
        let configuration_crc32c = settings.checksum(&sums)?;
        let manifest = RunManifest {
            nuwave: env!("CARGO_PKG_VERSION").to_owned(),
            from: settings.from().name().to_owned(),
            configuration: settings.resolved(),
            sums,
            selection: selection.to_string(),
            inputs,
        };
        let selected = manifest.units()?;
        let staging = match StagingDir::open(output, mode, &manifest)? {
            OpenOutcome::Open(staging) => staging,
            OpenOutcome::Finished(report) => {
                if verbosity.json {
                    print_json(&report)?;
                }
                if !verbosity.quiet {
                    status!(
                        "`{}` is finished already, with the same inputs and settings",
                        output.display()
                    );
                }
                return Ok(ControlFlow::Break(ExitCode::from(report.exit_code())));
            }
        };
        let is_left = |unit: &&Unit| !staging.records().contains_key(unit);
        let todo: Vec<Unit> = selected.iter().filter(is_left).copied().collect();
        if !verbosity.quiet && todo.len() < selected.len() {
            status!(
                "resuming: {} of {} units are finished",
                selected.len() - todo.len(),
                selected.len()
            );
        }
        let waveforms = match settings.from() {
            From::Waveforms => waveforms_of(&manifest.inputs, &todo),
            From::Hits => None,
        };
        Ok(ControlFlow::Continue(Self {
            start,
            output,
            verbosity,
            configuration_crc32c,
            n_units: selected.len() as u64,
            manifest,
            stage,
            progress: Progress::new(
                waveforms,
                Some(todo.len() as u64),
                progress_interval,
                verbosity.quiet,
            ),
            staging,
            done: BTreeSet::new(),
            todo,
            pool: super::thread_pool(threads)?,
            threads,
            cancel: cancel.clone(),
        }))
    }

    /// The plan of an input.
    pub fn input(&self, input_id: u32) -> Option<&PlannedInput> {
        self.manifest.inputs.get(input_id as usize)
    }

    /// Takes note of a unit, unless its input has changed meanwhile: then all that was made of it is dropped.
    pub fn finish_unit(&mut self, record: UnitRecord) -> Result<()> {
        let unit = record.unit();
        if let Some(input) = self.input(unit.input_id)
            && let Some(difference) = input.difference()
        {
            let message = format!(
                "`{}` changed while it was read: {difference}",
                input.path.display()
            );
            self.staging.forget(unit.input_id)?;
            return Err(Error::try_again(message)
                .with_hint("when nobody writes to it any more, `--resume` reads it anew"));
        }
        self.staging.record(record)?;
        self.done.insert(unit);
        self.progress.finish_unit();
        Ok(())
    }

    /// Ends: with the report and the name of the output, or with the error and how to go on.
    pub fn finish(mut self, outcome: Result<()>, gpu: Option<BackendReport>) -> Result<Report> {
        self.progress.finish();
        let outcome = match outcome {
            Err(error) if error.kind() != ErrorKind::TryAgain => Err(error),
            // A wish that came too late to stop a unit still ends the run before its last step.
            _ if self.cancel.is_cancelled() => Err(self.cancel.error()),
            other => other,
        };
        if let Err(error) = outcome {
            return Err(self.staging.advise(error, self.n_units));
        }
        let records: Vec<UnitRecord> = self.staging.records().values().cloned().collect();
        let report = Report::new(
            &records,
            Provenance {
                manifest: self.manifest,
                events: self.stage.plan,
                configuration_crc32c: self.configuration_crc32c,
                gpu,
                threads: self.threads,
                took_s: self.start.elapsed().as_secs_f64(),
                done: self.done,
            },
        );
        let committed = self.staging.commit(&report);
        committed.map_err(|error| self.staging.advise(error, self.n_units))?;
        print_summary(&report, self.output, self.verbosity)?;
        Ok(report)
    }
}

/// Waveforms in `units`, about, where every input says how many it has.
fn waveforms_of(inputs: &[PlannedInput], units: &[Unit]) -> Option<u64> {
    units
        .iter()
        .map(|unit| {
            let input = inputs.get(unit.input_id as usize)?;
            let rows = input.rows?;
            let end = u64::from(unit.block + 1)
                .saturating_mul(input.unit_size)
                .min(rows);
            Some(end.saturating_sub(u64::from(unit.block).saturating_mul(input.unit_size)))
        })
        .sum()
}
