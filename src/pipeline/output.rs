//! The output folder: filled under a temporary name next to its own, renamed when it is complete.

use std::fs::File;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Error, Hint, Result};
use crate::io::atomic::parent_folder;
use crate::io::light_maps;
use crate::io::tables::read::PARTIAL;

/// Name of the report; its presence in a folder means that the folder is complete.
pub const REPORT: &str = "report.json";

/// An output folder that is being written. Dropped before [`commit_with`](Self::commit_with), it is removed, and an existing
/// folder stays as it was.
#[derive(Debug)]
pub struct OutputFolder {
    target: PathBuf,
    overwrite: bool,
    temporary: TempDir,
}

impl OutputFolder {
    /// Prepares to fill `target`.
    ///
    /// # Errors
    /// If `target` exists and `overwrite` is not set (or it was not made by nuwave), or its parent folder cannot be written.
    pub fn create(target: &Path, overwrite: bool) -> Result<Self> {
        refuse_existing(target, overwrite)?;
        let name = target
            .file_name()
            .ok_or_else(|| Error::output(target, "is not the name of a folder"))?;
        let parent = parent_folder(target);
        std::fs::create_dir_all(parent)
            .map_err(|error| Error::output(parent, "cannot be made").with_source(error))?;
        let mut builder = tempfile::Builder::new();
        let prefix = format!(".{}.", name.to_string_lossy());
        builder.prefix(&prefix).suffix(PARTIAL);
        // Temporary folders are private by default; this one becomes an ordinary folder (the umask still applies).
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let temporary = builder.tempdir_in(parent).map_err(|error| {
            Error::output(parent, "cannot be written")
                .with_source(error)
                .with_hint("is the folder read-only, or the disk full?")
        })?;
        Ok(Self {
            target: target.to_owned(),
            overwrite,
            temporary,
        })
    }

    /// Returns the folder to write into.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Writes the file `name`, whose presence means that the folder is complete, and renames the folder into place.
    ///
    /// # Errors
    /// If a file cannot be written or the folder not renamed.
    pub fn commit_with(self, name: &str, text: &str) -> Result<()> {
        let path = self.temporary.path().join(name);
        let failed = |error: std::io::Error| {
            Error::output(&self.target.join(name), "cannot be written").with_source(error)
        };
        let mut file = File::create_new(&path).map_err(failed)?;
        std::io::Write::write_all(&mut file, format!("{text}\n").as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        sync_folder(self.temporary.path());
        let old = self.temporary.path().with_extension("replaced");
        put_in_place(self.temporary.path(), &self.target, self.overwrite, &old)?;
        if old.exists() {
            std::fs::remove_dir_all(&old).map_err(|error| {
                Error::output(&old, "the output that was replaced cannot be removed")
                    .with_source(error)
            })?;
        }
        // The folder was renamed; nothing is left to clean up.
        let _ = self.temporary.keep();
        Ok(())
    }
}

/// Refuses an existing output, unless it may be replaced and nuwave made it.
pub(super) fn refuse_existing(target: &Path, overwrite: bool) -> Result<()> {
    if !target.exists() {
        return Ok(());
    }
    if !overwrite {
        return Err(Error::output(target, "exists already").with_hint(Hint::ReplaceOutput));
    }
    if is_ours(target) {
        return Ok(());
    }
    Err(Error::output(
        target,
        "exists, is not empty and is not an output of nuwave; it is left alone",
    )
    .with_hint(Hint::OtherOutput))
}

/// Renames the complete folder `from` to `target`, and an existing one that may be replaced to `old`.
pub(super) fn put_in_place(from: &Path, target: &Path, overwrite: bool, old: &Path) -> Result<()> {
    let rename = |from: &Path, to: &Path| {
        std::fs::rename(from, to).map_err(|error| {
            Error::output(target, "cannot be renamed into place").with_source(error)
        })
    };
    if overwrite && target.exists() {
        rename(target, old)?;
        if let Err(error) = rename(from, target) {
            rename(old, target)?;
            return Err(error);
        }
    } else {
        rename(from, target)?;
    }
    sync_folder(parent_folder(target));
    Ok(())
}

/// Returns true for an empty folder or one that holds nothing but a complete set of nuwave's tables.
fn is_ours(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    let names: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect();
    let consists_of = |last: &str, others: &[&str]| {
        names.iter().any(|name| name == last)
            && names
                .iter()
                .all(|name| name == last || others.iter().any(|other| name == other))
    };
    names.is_empty()
        || consists_of(REPORT, &["hits", "waveforms", "events"])
        || consists_of(light_maps::MANIFEST, &light_maps::TABLES)
}

/// Flushes a folder, so that a rename survives a power cut. Where that is not possible, only this guarantee is lost.
pub(super) fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}
