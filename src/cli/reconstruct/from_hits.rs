//! `nuwave reconstruct --from hits`: events only.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use super::events::EventStage;
use super::settings::Settings;
use super::tell::tell;
use crate::cli::Talk;
use crate::cli::shared::threads;
use crate::detector;
use crate::error::{Error, Result};
use crate::io::hit_source::{self, HitSource};
use crate::pipeline::{
    Events, FinishedInput, InputOutcome, OutputFolder, Progress, Provenance, Report,
};

/// Reconstructs the events of `inputs` into `output`.
pub(super) fn run(
    settings: &Settings,
    inputs: &[PathBuf],
    output: &Path,
    overwrite: bool,
    talk: Talk,
) -> Result<ExitCode> {
    let start = Instant::now();
    if settings.no_events == Some(true) {
        return Err(
            Error::usage("`--no-events` with `--from hits`: nothing is left to be done")
                .with_hint("leave one of them out"),
        );
    }
    refuse_own_input(inputs, output)?;
    let detector = settings.known.detector.as_deref().ok_or_else(|| {
        Error::usage("`--from hits` needs to know the detector").with_hint(
            "give `--detector NAME|FILE`, one with a geometry (`nuwave detector` lists the presets)",
        )
    })?;
    let detector = detector::load(detector)?;
    let stage = EventStage::with_geometry(settings, &detector)?;
    let threads = threads(settings.threads)?;
    let pool = super::thread_pool(threads)?;
    // Every input is looked at before anything is written: a wrong name ends the run at once.
    let options = settings.input.hit_options()?;
    let sources = inputs
        .iter()
        .map(|path| hit_source::open(path, &options))
        .collect::<Result<Vec<_>>>()?;
    if let (Some(line), false) = (stage.line(), talk.quiet) {
        say!("{line}");
    }
    for source in &sources {
        if source.n_hits() == 0 {
            say!("warning: `{}` holds no hits", source.info.path.display());
        } else if !source.is_sorted() && !talk.quiet {
            say!(
                "note: the events of `{}` are not in ascending order; its hits are sorted in memory",
                source.info.path.display()
            );
        }
    }
    let folder = OutputFolder::create(output, overwrite)?;
    let progress = Progress::new(None, talk.quiet);
    let mut finished = Vec::new();
    for source in sources {
        pool.install(|| one_source(source, &stage, &folder, &mut finished, &progress))?;
    }
    progress.finish();
    let provenance = Provenance {
        from: "hits",
        events: stage.plan.clone(),
        backend: "cpu",
        configuration_crc32c: settings.checksum(None, &stage.plan)?,
        configuration: settings.explicit(),
        threads,
        gpu: None,
    };
    let report = Report::new(finished, provenance, start.elapsed().as_secs_f64());
    folder.commit(&report)?;
    tell(&report, output, talk)?;
    Ok(ExitCode::from(report.exit_code()))
}

/// Refuses to put events where the hits are that they come from: those would be replaced.
fn refuse_own_input(inputs: &[PathBuf], output: &Path) -> Result<()> {
    let Ok(target) = output.canonicalize() else {
        return Ok(());
    };
    let inside = |input: &&PathBuf| {
        input
            .canonicalize()
            .is_ok_and(|input| input.starts_with(&target))
    };
    match inputs.iter().find(inside) {
        None => Ok(()),
        Some(input) => Err(Error::output(
            output,
            format!("would replace its own input `{}`", input.display()),
        )
        .with_hint("give another folder with `-o`")),
    }
}

/// The events of one table; each of the inputs that it tells apart becomes an input of this run.
fn one_source(
    mut source: HitSource,
    stage: &EventStage,
    folder: &OutputFolder,
    finished: &mut Vec<FinishedInput>,
    progress: &Progress,
) -> Result<()> {
    let (n_bytes, crc32c) = source.checksum()?;
    source.info.n_bytes = n_bytes;
    let mut losses = std::mem::take(&mut source.losses);
    let mut events = Events::of(&source)?;
    for &input in &source.inputs {
        let input_id = finished.len() as u32;
        let mut of_input = stage.run(&mut events, input, folder.path(), input_id, progress)?;
        let cut = of_input.as_mut().and_then(|events| events.cut.take());
        let was_cut = cut.is_some();
        finished.push(FinishedInput {
            info: source.info.clone(),
            crc32c: crc32c.clone(),
            sampling_ns: None,
            polarity: None,
            input_of_table: (source.inputs.len() > 1).then_some(input),
            outcome: InputOutcome {
                hits: of_input.as_ref().map_or(0, |events| events.hits),
                losses: std::mem::take(&mut losses),
                cut,
                ..InputOutcome::default()
            },
            events: of_input,
        });
        // Behind the place where the table cannot be read there is nothing.
        if was_cut {
            break;
        }
    }
    Ok(())
}
