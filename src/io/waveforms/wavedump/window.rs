//! Reads a file at any offset, through a window of it in memory.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use crate::io::waveforms::numpy::npy::read_up_to;

/// A file and the part of it that was read last.
pub(super) struct FileWindow {
    file: File,
    bytes: Vec<u8>,
    /// Offset of the first of `bytes`.
    start: u64,
    /// Number of bytes read at a time.
    size: usize,
}

impl FileWindow {
    /// Opens a file that is read `size` bytes at a time.
    pub fn open(path: &Path, size: usize) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            bytes: Vec::new(),
            start: 0,
            size,
        })
    }

    /// Returns `n` bytes from `offset` on, fewer at the end of the file.
    pub fn at(&mut self, offset: u64, n: usize) -> io::Result<&[u8]> {
        let end = offset.saturating_add(n as u64);
        let known = self.start..self.start + self.bytes.len() as u64;
        if offset < known.start || end > known.end {
            self.bytes.resize(n.max(self.size), 0);
            self.file.seek(SeekFrom::Start(offset))?;
            let n_read = read_up_to(&mut self.file, &mut self.bytes);
            // After an error the window holds nothing.
            self.bytes
                .truncate(n_read.as_ref().map_or(0, |&n_read| n_read));
            self.start = offset;
            n_read?;
        }
        let first = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let last = first.saturating_add(n).min(self.bytes.len());
        Ok(self.bytes.get(first..last).unwrap_or_default())
    }
}
