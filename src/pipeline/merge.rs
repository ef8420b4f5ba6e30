//! Joins finished shards into one output, identical to that of a single run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::plan::{Selection, Unit};
use super::record::UnitRecord;
use super::report::{Provenance, Report};
use super::run_manifest::RunManifest;
use super::staging::{Mode, OpenOutcome, StagingDir};
use crate::error::{Error, Hint, Result};
use crate::extract::BackendReport;
use crate::io::atomic::{AtomicFile, write_error};
use crate::io::tables::Part;

/// Joins the outputs in `shards` into `target`.
///
/// # Errors
/// If a shard is not finished, the shards have different settings, units are missing or duplicate, a part is damaged, or the
/// output cannot be written.
pub fn merge(shards: &[PathBuf], target: &Path, mode: Mode) -> Result<Report> {
    let start = std::time::Instant::now();
    let reports = shards
        .iter()
        .map(|dir| Ok((dir.as_path(), Report::read(dir)?)))
        .collect::<Result<Vec<(&Path, Report)>>>()?;
    let Some((first_dir, first)) = reports.first() else {
        return Err(Error::usage("nothing to merge"));
    };
    let manifest = RunManifest {
        selection: Selection::All.to_string(),
        ..first.manifest()
    };
    let mut found: BTreeMap<Unit, (&Path, UnitRecord)> = BTreeMap::new();
    for (dir, report) in &reports {
        let mut other = report.manifest();
        other.selection.clone_from(&manifest.selection);
        let difference = manifest.difference(&other).or_else(|| {
            (manifest.inputs != other.inputs).then(|| "the list of inputs differs".to_owned())
        });
        if let Some(difference) = difference {
            return Err(Error::usage(format!(
                "`{}` and `{}` were made with different settings: {difference}",
                first_dir.display(),
                dir.display()
            ))
            .with_hint(Hint::OneShardedRun));
        }
        for record in report.records() {
            let unit = record.unit();
            if let Some((other, _)) = found.insert(unit, (*dir, record)) {
                return Err(Error::usage(format!(
                    "unit {unit} is in `{}` and in `{}`",
                    other.display(),
                    dir.display()
                ))
                .with_hint("give each shard once"));
            }
        }
    }
    let missing: Vec<Unit> = manifest
        .units()?
        .into_iter()
        .filter(|unit| !found.contains_key(unit))
        .collect();
    if let Some(unit) = missing.first() {
        return Err(Error::usage(format!(
            "{} units are in none of the shards, the first is {unit}",
            missing.len()
        ))
        .with_hint("is a shard missing, or not finished?"));
    }
    let mut staging = match StagingDir::open(target, mode, &manifest)? {
        OpenOutcome::Open(staging) => staging,
        OpenOutcome::Finished(report) => return Ok(*report),
    };
    let n_units = found.len() as u64;
    let done = found.keys().copied().collect();
    for (unit, (dir, record)) in found {
        if staging.records().contains_key(&unit) {
            continue;
        }
        let copied = record
            .done
            .parts
            .iter()
            .try_for_each(|part| copy(part, dir, &staging.tables()))
            .and_then(|()| staging.record(record));
        copied.map_err(|error| staging.advise(error, n_units))?;
    }
    let records: Vec<UnitRecord> = staging.records().values().cloned().collect();
    let mut gpu: Option<BackendReport> = None;
    for (_, report) in &reports {
        BackendReport::merge(&mut gpu, report.gpu.clone());
    }
    let report = Report::new(
        &records,
        Provenance {
            manifest,
            events: first.events.plan(),
            configuration_crc32c: first.configuration_crc32c.clone(),
            gpu,
            threads: first.timings.threads,
            took_s: start.elapsed().as_secs_f64(),
            done,
        },
    );
    let committed = staging.commit(&report);
    committed.map_err(|error| staging.advise(error, n_units))?;
    Ok(report)
}

/// Copies a part and compares it with its checksum.
fn copy(part: &Part, from: &Path, to: &Path) -> Result<()> {
    let (source, target) = (from.join(&part.path), to.join(&part.path));
    let unreadable = |error| Error::input(&source, "cannot be read").with_source(error);
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::output(folder, "cannot be made").with_source(error))?;
    }
    let mut reader = File::open(&source).map_err(unreadable)?;
    let mut writer = AtomicFile::create(&target)?;
    let mut buffer = vec![0; 1 << 20];
    let (mut bytes, mut crc) = (0_u64, 0);
    loop {
        let count = reader.read(&mut buffer).map_err(unreadable)?;
        let read = buffer.get(..count).unwrap_or_default();
        if read.is_empty() {
            break;
        }
        crc = crc32c::crc32c_append(crc, read);
        bytes += read.len() as u64;
        writer
            .write_all(read)
            .map_err(|error| write_error(&target, error))?;
    }
    if bytes != part.bytes || format!("{crc:08x}") != part.crc32c {
        return Err(Error::input(
            &source,
            format!(
                "has {bytes} bytes with CRC32C {crc:08x}, its report says {} and {}",
                part.bytes, part.crc32c
            ),
        )
        .with_hint("the part is damaged; run its shard again"));
    }
    writer.commit()
}
