//! A file that appears under its name only when it is complete.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// A file being written under a temporary name in the folder of its final one.
///
/// [`AtomicFile::commit`] flushes it to the disk and renames it, replacing a file of that name. If it is dropped before
/// that, the temporary file is removed and the final name is untouched.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl AtomicFile {
    /// Creates a temporary file next to `path`.
    ///
    /// # Errors
    /// [`ErrorKind::Output`](crate::ErrorKind::Output) if `path` is a folder or its folder cannot be written to.
    pub fn create(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Err(Error::output(path, "is a folder").with_hint("name a file inside it"));
        }
        let name = path
            .file_name()
            .ok_or_else(|| Error::output(path, "is not the name of a file"))?;
        let mut prefix = OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".tmp");
        // Temporary files are private by default; this one becomes an ordinary file (the umask still applies).
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder
            .tempfile_in(parent_folder(path))
            .map_err(|error| Error::output(path, "cannot be created").with_source(error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Returns the final name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the temporary name, for a writer that opens the file itself.
    pub fn temporary_path(&self) -> &Path {
        self.file.path()
    }

    /// Returns the open temporary file.
    pub fn file_mut(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Flushes the content to the disk and gives the file its final name.
    ///
    /// # Errors
    /// [`ErrorKind::Output`](crate::ErrorKind::Output) if either fails; the temporary file is removed then.
    pub fn commit(self) -> Result<()> {
        let Self { path, file } = self;
        file.as_file()
            .sync_all()
            .map_err(|error| write_error(&path, error))?;
        file.persist(&path)
            .map_err(|error| write_error(&path, error.error))?;
        // The rename survives a power cut only once the folder is on the disk. Not every file system supports that, and
        // the file is complete either way.
        if let Ok(folder) = File::open(parent_folder(&path)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// Returns the error of a failed write (full disk, lost permission).
pub(crate) fn write_error(
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::output(path, "cannot be written").with_source(source)
}

/// Returns the folder of a file, `.` if its path has none.
pub(crate) fn parent_folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .expect("the folder is there")
            .map(|entry| entry.expect("it can be listed").file_name())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_final_name_holds_the_old_content_until_the_commit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("table.parquet");
        std::fs::write(&path, "old").expect("a file");
        let mut file = AtomicFile::create(&path).expect("a writable folder");
        file.write_all(b"new").expect("room on the disk");
        assert_eq!(std::fs::read(&path).expect("the old file"), b"old");
        file.commit().expect("a rename");
        assert_eq!(std::fs::read(&path).expect("the new file"), b"new");
        assert_eq!(names(folder.path()), ["table.parquet"]);
    }

    #[test]
    fn nothing_is_left_of_a_file_that_was_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = AtomicFile::create(&folder.path().join("a")).expect("a writable folder");
        file.write_all(b"half").expect("room on the disk");
        assert_eq!(names(folder.path()).len(), 1);
        drop(file);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_output_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = AtomicFile::create(&folder.path().join("no/such/file"))
            .expect_err("there is no such folder");
        assert_eq!(error.kind(), ErrorKind::Output);
        let error = AtomicFile::create(folder.path()).expect_err("it is a folder");
        assert_eq!(error.kind(), ErrorKind::Output);
    }
}
