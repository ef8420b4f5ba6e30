//! A format of waveform files: how it is detected, opened and created.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::sink::{WaveformSink, WriteInfo};
use super::source::{ReadOptions, Source};
use crate::error::{Error, Result};

/// Maximum length of [`Probe::head`].
const HEAD_BYTES: usize = 4096;

/// Creates a file of waveforms.
pub type Create = fn(&Path, &WriteInfo) -> Result<Box<dyn WaveformSink>>;

/// A format: a line of the table [`FORMATS`](super::FORMATS).
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// The name, as error messages and `nuwave inspect` print it.
    pub name: &'static str,
    /// The name of the formats that belong together (`NumPy` for `.npy` and `.npz`), for lists of what can be read.
    pub family: &'static str,
    /// Endings of file names in lower case, the usual one first. A folder's files with one of them are taken as inputs;
    /// where `create` is given, they choose the format of a new file.
    pub endings: &'static [&'static str],
    /// True if the first bytes identify the format. Other formats are tried only after the file has been compared with
    /// those of other programs.
    pub has_signature: bool,
    /// Returns whether a file is of this format. An error ends the search: the file is of this format, but unusable.
    pub detect: fn(&mut Probe<'_>) -> Result<bool>,
    /// Opens a file of the given size.
    pub open: fn(&Path, u64, &ReadOptions) -> Result<Box<dyn Source>>,
    /// Creates a file; `None` if nuwave only reads the format.
    pub create: Option<Create>,
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

/// A file whose format is to be detected.
pub struct Probe<'a> {
    /// Its path.
    pub path: &'a Path,
    /// Its size.
    pub n_bytes: u64,
    /// Its first bytes, at most 4096.
    pub head: Vec<u8>,
    /// Samples per waveform as the user states them for files without headers.
    pub record_samples: Option<usize>,
    file: File,
}

impl<'a> Probe<'a> {
    /// Opens a file and reads its first bytes.
    ///
    /// # Errors
    /// If the file cannot be read, is a folder, or is empty.
    pub(super) fn open(path: &'a Path, record_samples: Option<usize>) -> Result<Self> {
        let cannot = |error| Error::input(path, "cannot be opened").with_source(error);
        let metadata = std::fs::metadata(path).map_err(cannot)?;
        if metadata.is_dir() {
            return Err(Error::input(path, "is a folder, not a file of waveforms")
                .with_hint("name the files inside it"));
        }
        let file = File::open(path).map_err(cannot)?;
        let n_bytes = metadata.len();
        if n_bytes == 0 {
            return Err(Error::input(path, "is empty")
                .with_hint("check whether the writing program finished"));
        }
        // With the capacity, one read gets the whole head.
        let mut head = Vec::with_capacity(HEAD_BYTES);
        (&file)
            .take(HEAD_BYTES as u64)
            .read_to_end(&mut head)
            .map_err(|error| Error::input(path, "cannot be read").with_source(error))?;
        Ok(Self {
            path,
            n_bytes,
            head,
            record_samples,
            file,
        })
    }

    /// Fills `bytes` from the byte `offset` on, from the head if it has them.
    ///
    /// # Errors
    /// If the file cannot be read, or ends earlier.
    pub fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(bytes.len());
        if let Some(known) = self.head.get(start..end) {
            bytes.copy_from_slice(known);
            return Ok(());
        }
        let mut read = || -> io::Result<()> {
            self.file.seek(SeekFrom::Start(offset))?;
            self.file.read_exact(bytes)
        };
        read().map_err(|error| Error::input(self.path, "cannot be read").with_source(error))
    }
}
