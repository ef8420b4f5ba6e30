//! Checks the footer of a Parquet file and the headers of its pages before they are decoded.
//!
//! They have no checksum. The library allocates for as many children of a column as the schema declares, which can be
//! gigabytes after the damage of one byte. It also skips unknown fields element by element, which takes minutes if a list
//! declares billions of elements that do not exist.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::thrift::{FILE, PAGE, Thrift};
use crate::io::system_errors::note;

const MAGIC: [u8; 4] = *b"PAR1";
/// Bytes after the footer: its length and the magic word.
const TAIL: u64 = 8;
/// Bytes in which the header of a page is searched first; a header with long statistics is longer.
const HEADER: u64 = 1 << 10;

/// A Parquet file whose footer and page headers are checked.
pub(crate) struct Pages {
    file: File,
    n_bytes: u64,
}

impl Pages {
    /// Opens `file`, whose footer is [checked](check).
    pub fn new(mut file: File) -> io::Result<Self> {
        check(&mut file)?;
        let n_bytes = file.metadata()?.len();
        Ok(Self { file, n_bytes })
    }

    /// Returns another handle to the same file.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.try_clone()?,
            n_bytes: self.n_bytes,
        })
    }
}

/// A reader from a position on, of unknown length: the header of a page. The library also asks for one after it has read the
/// header, and then reads nothing of it; so the check is made at the first read.
pub(crate) struct Header {
    file: File,
    start: u64,
    /// `None` before the first read: handles to one file share their position in it.
    bytes: Option<BufReader<File>>,
    is_page: bool,
}

impl Header {
    /// Refuses a header that ends after the file.
    fn check(&self) -> io::Result<()> {
        let mut window = HEADER;
        loop {
            let mut bytes = Vec::new();
            let reader = self.file.get_read(self.start)?;
            reader.take(window).read_to_end(&mut bytes)?;
            if Thrift(&bytes).shaped(PAGE, 0).is_some() {
                return Ok(());
            }
            if (bytes.len() as u64) < window {
                let start = self.start;
                let message = format!("the header of the page at byte {start} is damaged");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            window *= 16;
        }
    }
}

impl Read for Header {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = || -> io::Result<usize> {
            if let Some(bytes) = &mut self.bytes {
                return bytes.read(buffer);
            }
            if self.is_page {
                self.check()?;
            }
            self.bytes
                .insert(self.file.get_read(self.start)?)
                .read(buffer)
        };
        read().inspect_err(|error| note(error))
    }
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.n_bytes
    }
}

impl ChunkReader for Pages {
    type T = Header;

    /// Returns a reader of the header of a page, or of the end of the file.
    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(Header {
            file: self.file.try_clone()?,
            start,
            bytes: None,
            is_page: start.saturating_add(TAIL) < self.n_bytes,
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes, ParquetError> {
        self.file
            .get_bytes(start, length)
            .inspect_err(|error| note(error))
    }
}

/// Refuses a footer whose schema declares more columns than it holds.
fn check(file: &mut File) -> io::Result<()> {
    let n_bytes = file.seek(SeekFrom::End(0))?;
    let mut tail = [0; 8];
    let Some(end) = n_bytes.checked_sub(tail.len() as u64) else {
        return Ok(());
    };
    file.seek(SeekFrom::Start(end))?;
    file.read_exact(&mut tail)?;
    let [a, b, c, d, magic @ ..] = tail;
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    // The library reports everything else that is wrong.
    let Some(begin) = end.checked_sub(length).filter(|_| magic == MAGIC) else {
        return Ok(());
    };
    file.seek(SeekFrom::Start(begin))?;
    let mut footer = vec![0; length as usize];
    file.read_exact(&mut footer)?;
    let mut whole = Thrift(&footer);
    let is_good = whole.shaped(FILE, 0).is_some() && Thrift(&footer).file().is_some();
    is_good
        .then_some(())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the footer's schema is damaged"))
}
