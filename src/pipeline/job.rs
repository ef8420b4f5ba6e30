//! The common part of passes over waveforms and over hits: the staging folder, the units that are left, the report.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Instant;

use super::event_stage::EventStage;
use super::observer::Notice;
use super::plan::{PlannedInput, Unit};
use super::record::UnitRecord;
use super::report::{Provenance, Report};
use super::request::{PassOutcome, Request};
use super::run_manifest::RunManifest;
use super::settings::InputKind;
use super::staging::{OpenOutcome, StagingDir};
use super::sums;
use crate::detector::Detector;
use crate::error::{Error, ErrorKind, Hint, Result};
use crate::extract::BackendReport;
use crate::model::Calibration;
use crate::threads::thread_pool;

/// A pass in progress.
pub(super) struct Job<'a> {
    start: Instant,
    pub request: &'a Request,
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
}

impl<'a> Job<'a> {
    /// Begins the pass that is requested with the inputs as planned; breaks with its outcome if all is done already.
    pub fn begin(
        request: &'a Request,
        inputs: Vec<PlannedInput>,
        detector: Option<&Detector>,
        calibration: Option<&Calibration>,
        stage: EventStage,
    ) -> Result<ControlFlow<PassOutcome, Self>> {
        let start = Instant::now();
        let settings = &request.settings;
        let observer = request.observer.as_ref();
        let threads = settings.threads();
        let sums = sums::collect(detector, calibration, &stage.plan)?;
        let configuration_crc32c = settings.checksum(&sums)?;
        let manifest = RunManifest {
            nuwave: crate::version::VERSION.to_owned(),
            commit: crate::version::COMMIT.to_owned(),
            results_version: crate::version::RESULTS_VERSION,
            from: settings.from.name().to_owned(),
            configuration: settings.resolved(),
            sums,
            selection: request.selection.to_string(),
            inputs,
        };
        let selected = manifest.units()?;
        let staging = match StagingDir::open(&request.output, request.mode, &manifest)? {
            OpenOutcome::Open(staging) => staging,
            OpenOutcome::Finished(report) => {
                observer.notice(&Notice::AlreadyFinished(request.output.clone()));
                return Ok(ControlFlow::Break(PassOutcome {
                    report: *report,
                    was_finished: true,
                    lost_gpu: false,
                }));
            }
        };
        let is_left = |unit: &&Unit| !staging.records().contains_key(unit);
        let todo: Vec<Unit> = selected.iter().filter(is_left).copied().collect();
        if todo.len() < selected.len() {
            observer.notice(&Notice::Resuming {
                finished: selected.len() - todo.len(),
                total: selected.len(),
            });
        }
        let waveforms = match settings.from {
            InputKind::Waveforms => waveforms_in(&manifest.inputs, &todo),
            InputKind::Hits => None,
        };
        let pool = thread_pool(threads)?;
        observer.start(waveforms, todo.len() as u64);
        Ok(ControlFlow::Continue(Self {
            start,
            request,
            configuration_crc32c,
            n_units: selected.len() as u64,
            manifest,
            stage,
            staging,
            done: BTreeSet::new(),
            todo,
            pool,
            threads,
        }))
    }

    /// Returns the plan of an input.
    pub fn input(&self, input_id: u32) -> Option<&PlannedInput> {
        self.manifest.inputs.get(input_id as usize)
    }

    /// Records a finished unit. If its input has changed meanwhile, drops everything made of that input instead.
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
            return Err(Error::try_again(message).with_hint(Hint::ResumeOnceClosed));
        }
        self.staging.record(record)?;
        self.done.insert(unit);
        self.request.observer.finish_unit();
        Ok(())
    }

    /// Ends the pass: writes the report and renames the output, or returns the error with a hint on how to continue.
    pub fn finish(mut self, outcome: Result<()>, gpu: Option<BackendReport>) -> Result<Report> {
        self.request.observer.finish();
        let outcome = match outcome {
            Err(error) if error.kind() != ErrorKind::TryAgain => Err(error),
            // A signal that came too late to stop a unit still ends the pass before its last step.
            other => self.request.check_cancelled().and(other),
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
        Ok(report)
    }
}

/// Returns the number of waveforms in `units`, about, where every input says how many it has.
fn waveforms_in(inputs: &[PlannedInput], units: &[Unit]) -> Option<u64> {
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
