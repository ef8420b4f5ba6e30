//! The staging folder: `DIR.partial` next to the output `DIR`, where finished units wait until all are there.
//!
//! - `DIR.partial/manifest.json`: version, settings, inputs and selection of the run
//! - `DIR.partial/units/*.json`: the record of each finished unit, written after its parts
//! - `DIR.partial/tables/`: the future `DIR`: parts, and at the end `report.json`
//!
//! Every file is written under a temporary name, flushed, renamed, and its folder flushed. `DIR` itself appears by one rename:
//! it is complete or absent. A process that works on a staging folder holds a lock on it, which the system releases when the
//! process ends; where the file system has no locks, two processes write the same bytes under the same names.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::output::{REPORT, put_in_place, refuse_existing, sync_folder};
use super::plan::Unit;
use super::record::UnitRecord;
use super::report::Report;
use super::run_manifest::RunManifest;
use crate::error::{Error, ErrorKind, Hint, Result};
use crate::io::atomic::{AtomicFile, parent_folder, write_error};
use crate::io::tables::checksum;
use crate::io::tables::read::{MANIFEST, UNITS, partial_of};

const TABLES: &str = "tables";
const REPLACED: &str = "replaced";

/// The treatment of existing output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// Keep finished units.
    pub resume: bool,
    /// Replace a finished output, and start an unfinished one over.
    pub overwrite: bool,
}

/// The result of opening a staging folder.
pub enum OpenOutcome {
    /// There are units to do.
    Open(Box<StagingDir>),
    /// The output is complete, made with the same manifest.
    Finished(Box<Report>),
}

/// A staging folder, open for this process.
#[derive(Debug)]
pub struct StagingDir {
    target: PathBuf,
    path: PathBuf,
    overwrite: bool,
    records: BTreeMap<Unit, UnitRecord>,
    /// True once the contents have been checked: before that nothing may be removed.
    is_ours: bool,
    /// Held for as long as the folder is worked on.
    _lock: Option<File>,
}

impl StagingDir {
    /// Opens the staging folder of the output `target`, new or of an earlier run.
    ///
    /// # Errors
    /// If output exists, complete or not, and `mode` does not say what to do about it; if it was started with different settings;
    /// if another process works on it; if it cannot be written.
    pub fn open(target: &Path, mode: Mode, manifest: &RunManifest) -> Result<OpenOutcome> {
        if target.file_name().is_none() {
            return Err(Error::output(target, "is not the name of a folder"));
        }
        let parent = parent_folder(target);
        let path = partial_of(target);
        loop {
            if let Some(done) = finished_already(target, mode, manifest)? {
                remove_leftovers(&path);
                return Ok(OpenOutcome::Finished(Box::new(done)));
            }
            refuse_existing(target, mode.overwrite)?;
            std::fs::create_dir_all(parent)
                .map_err(|error| Error::output(parent, "cannot be made").with_source(error))?;
            let is_new = make_folder(&path)?;
            let lock = lock(&path)?;
            // Another process may have finished, and the folder been renamed, between the lines above.
            if !is_same_folder(&path, lock.as_ref()) || is_new && !mode.overwrite && target.exists()
            {
                if is_new {
                    let _ = std::fs::remove_dir(&path);
                }
                continue;
            }
            let mut folder = Self {
                target: target.to_owned(),
                path,
                overwrite: mode.overwrite,
                records: BTreeMap::new(),
                is_ours: is_new,
                _lock: lock,
            };
            folder.adopt(mode, manifest)?;
            return Ok(OpenOutcome::Open(Box::new(folder)));
        }
    }

    /// Checks the contents of the folder and keeps finished units, or refuses to.
    fn adopt(&mut self, mode: Mode, manifest: &RunManifest) -> Result<()> {
        let refuse =
            |what: String, hint: Hint| Err(Error::output(&self.path, what).with_hint(hint));
        let known = [MANIFEST, UNITS, TABLES, REPLACED];
        for entry in read_folder(&self.path)? {
            let is_ours = entry
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| known.contains(&name) || name.starts_with('.'));
            if !is_ours {
                return refuse(
                    format!("contains an unexpected entry `{}`", entry.display()),
                    Hint::MoveEntry,
                );
            }
        }
        let (other, records) = self.read_records()?;
        let n_finished = records.len();
        if n_finished > 0 && !mode.resume && !mode.overwrite {
            return refuse(
                format!("holds {n_finished} finished units of an earlier run"),
                Hint::ResumeOrReplace,
            );
        }
        if n_finished > 0
            && mode.resume
            && let Some(other) = other
        {
            if let Some(difference) = manifest.difference_of_all(&other, &records)? {
                return Err(Error::usage(format!(
                    "`{}` was started with different settings: {difference}",
                    self.path.display()
                ))
                .with_hint(Hint::SameSettings));
            }
            self.records = records;
        } else {
            for name in [UNITS, TABLES] {
                remove_all(&self.path.join(name))?;
            }
        }
        for name in [UNITS, TABLES] {
            make_folder(&self.path.join(name))?;
        }
        self.is_ours = true;
        remove_temporaries(&self.path)?;
        write_json(&self.path.join(MANIFEST), manifest)
    }

    /// Reads the manifest, and the records of the units whose parts are complete.
    fn read_records(&self) -> Result<(Option<RunManifest>, BTreeMap<Unit, UnitRecord>)> {
        let mut records = BTreeMap::new();
        let Some(manifest) = read_json::<RunManifest>(&self.path.join(MANIFEST)) else {
            return Ok((None, records));
        };
        let units = self.path.join(UNITS);
        for path in if units.is_dir() {
            read_folder(&units)?
        } else {
            Vec::new()
        } {
            let Some(record) = read_json::<UnitRecord>(&path) else {
                continue;
            };
            // The process was killed before it renamed the record: the file is temporary and will be removed.
            if self.record_path(record.unit()) != path {
                continue;
            }
            let tables = self.tables();
            let is_whole = record.done.parts.iter().all(|part| {
                checksum(&tables.join(&part.path))
                    .is_ok_and(|(bytes, crc32c)| bytes == part.bytes && crc32c == part.crc32c)
            });
            // Units that lost a part in a crash of the machine are done again.
            if is_whole {
                records.insert(record.unit(), record);
            }
        }
        Ok((Some(manifest), records))
    }

    /// Returns the folder that parts are written into.
    #[must_use]
    pub fn tables(&self) -> PathBuf {
        self.path.join(TABLES)
    }

    /// Returns the records of the finished units.
    #[must_use]
    pub fn records(&self) -> &BTreeMap<Unit, UnitRecord> {
        &self.records
    }

    /// Records a unit whose parts are all written.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub fn record(&mut self, record: UnitRecord) -> Result<()> {
        let path = self.record_path(record.unit());
        write_json(&path, &record).map_err(|error| self.explain_missing(error))?;
        self.records.insert(record.unit(), record);
        Ok(())
    }

    fn record_path(&self, unit: Unit) -> PathBuf {
        self.path.join(UNITS).join(format!("{unit}.json"))
    }

    /// Removes the records of an input that has changed.
    ///
    /// # Errors
    /// If a record cannot be removed.
    pub fn forget(&mut self, input_id: u32) -> Result<()> {
        let of_input = |unit: &&Unit| unit.input_id == input_id;
        let units: Vec<Unit> = self.records.keys().filter(of_input).copied().collect();
        for unit in units {
            let path = self.record_path(unit);
            std::fs::remove_file(&path)
                .map_err(|error| Error::output(&path, "cannot be removed").with_source(error))?;
            self.records.remove(&unit);
        }
        sync_folder(&self.path.join(UNITS));
        Ok(())
    }

    /// Returns a better error if the folder is gone: without locks another process may have finished this output.
    fn explain_missing(&self, error: Error) -> Error {
        if self.path.exists() {
            return error;
        }
        Error::try_again(format!(
            "`{}` was finished by another process",
            self.target.display()
        ))
    }

    /// Adds to the error that ended the run how many units are finished and how to continue.
    #[must_use]
    pub fn advise(&self, error: Error, n_units: u64) -> Error {
        let error = self.explain_missing(error);
        if self.records.is_empty() {
            let is_cancelled = error.kind() == ErrorKind::TryAgain && error.hints().is_empty();
            return if is_cancelled && self.path.exists() {
                error.with_hint(Hint::SmallerUnits)
            } else {
                error
            };
        }
        error.and_hint(Hint::Resume {
            finished: self.records.len() as u64,
            units: n_units,
            folder: self.path.clone(),
        })
    }

    /// Writes the report and renames the folder into place.
    ///
    /// # Errors
    /// If a file cannot be written or the folder not renamed; the run can be resumed then.
    pub fn commit(&mut self, report: &Report) -> Result<()> {
        let tables = self.tables();
        let path = tables.join(REPORT);
        let text = serde_json::to_string_pretty(report)
            .map_err(|error| Error::internal(format!("the report: {error}")))?;
        write_text(&path, &format!("{text}\n")).map_err(|error| self.explain_missing(error))?;
        remove_temporaries(&self.path)?;
        for folder in read_folder(&tables)? {
            sync_folder(&folder);
        }
        sync_folder(&tables);
        let old = self.path.join(REPLACED);
        if self.target.exists() {
            remove_all(&old)?;
        }
        put_in_place(&tables, &self.target, self.overwrite, &old)?;
        // The output is complete; what cannot be removed now is removed by the next run.
        let _ = std::fs::remove_dir_all(&self.path);
        self.is_ours = false;
        Ok(())
    }
}

impl Drop for StagingDir {
    fn drop(&mut self) {
        // A run without a finished unit leaves nothing to keep, except a replaced output whose successor was not renamed yet.
        let waits = self.path.join(REPLACED).exists() && !self.target.exists();
        if self.is_ours && self.records.is_empty() && !waits {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Returns the report of the existing output, if this run resumes and would make the same output.
fn finished_already(target: &Path, mode: Mode, manifest: &RunManifest) -> Result<Option<Report>> {
    let Some(report) = Report::read(target).ok().filter(|_| mode.resume) else {
        return Ok(None);
    };
    let records = report.records().into_iter();
    let records = records.map(|record| (record.unit(), record)).collect();
    match manifest.difference_of_all(&report.manifest(), &records)? {
        None => Ok(Some(report)),
        Some(_) if mode.overwrite => Ok(None),
        Some(difference) => Err(Error::usage(format!(
            "`{}` exists and was made with different settings: {difference}",
            target.display()
        ))
        .with_hint(Hint::ReplaceOutput)),
    }
}

/// Makes a folder; returns false if it exists.
fn make_folder(path: &Path) -> Result<bool> {
    match std::fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => {
            Ok(false)
        }
        Err(error) => Err(Error::output(path, "cannot be made")
            .with_source(error)
            .with_hint("is the folder read-only, or the disk full?")),
    }
}

/// Locks a folder, where the system has such locks.
fn lock(folder: &Path) -> Result<Option<File>> {
    let Ok(file) = File::open(folder) else {
        return Ok(None);
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(Error::try_again(format!(
            "`{}`: another process is writing this output",
            folder.display()
        ))
        .with_hint("wait until it has finished, or end it")),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Returns true if the folder at `path` is still the one that was opened.
fn is_same_folder(path: &Path, opened: Option<&File>) -> bool {
    #[cfg(unix)]
    if let Some(opened) = opened {
        use std::os::unix::fs::MetadataExt as _;
        let id = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let there = std::fs::metadata(path).map(id).ok();
        return there.is_some() && there == opened.metadata().map(id).ok();
    }
    let _ = opened;
    path.is_dir()
}

/// Removes the rest of a finished run that was killed after its last rename, unless another process works there.
fn remove_leftovers(path: &Path) {
    let locked = path.is_dir().then(|| lock(path));
    if let Some(Ok(_lock)) = locked
        && !path.join(TABLES).exists()
    {
        let _ = std::fs::remove_dir_all(path);
    }
}

/// Removes the files that a killed process was writing.
fn remove_temporaries(path: &Path) -> Result<()> {
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in read_folder(&folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') {
                // A file that is gone already needs no removal.
                let _ = std::fs::remove_file(&path);
            } else if path.is_dir() && name != REPLACED {
                folders.push(path);
            }
        }
    }
    Ok(())
}

fn remove_all(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::output(path, "cannot be removed").with_source(error))
        }
        _ => Ok(()),
    }
}

fn read_folder(path: &Path) -> Result<Vec<PathBuf>> {
    let cannot = |error| Error::output(path, "cannot be read").with_source(error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(cannot)? {
        paths.push(entry.map_err(cannot)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Reads a JSON file; returns `None` if it is absent or does not parse.
fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value)
        .map_err(|error| Error::internal(format!("{}: {error}", path.display())))?;
    write_text(path, &text)
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
        .map_err(|error| write_error(path, error))?;
    file.commit()
}
