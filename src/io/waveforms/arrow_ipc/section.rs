//! The buffers of a record batch as streams: only the bytes that are needed next are in memory, also of a compressed buffer.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use arrow_ipc::CompressionType;
use lz4_flex::frame::FrameDecoder;

/// Bytes of a buffer that are read from the file at a time.
const READ_BYTES: usize = 1 << 18;

/// A buffer of a record batch, read from its beginning to its end.
pub(super) struct Section {
    reader: Box<dyn Read + Send>,
}

impl Section {
    /// Opens the buffer in `range` of a file, compressed with `codec` if that is given.
    pub fn open(
        path: &Path,
        range: Range<u64>,
        codec: Option<CompressionType>,
    ) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(range.start))?;
        let length = range.end.saturating_sub(range.start);
        let mut stored = BufReader::with_capacity(READ_BYTES, file.take(length));
        // An empty buffer has no length in front of it.
        let Some(codec) = codec.filter(|_| length > 0) else {
            return Ok(Self::new(stored));
        };
        let mut claimed = [0; 8];
        stored.read_exact(&mut claimed)?;
        let claimed = i64::from_le_bytes(claimed);
        if claimed == -1 {
            return Ok(Self::new(stored));
        }
        let claimed = u64::try_from(claimed).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, "a buffer of a negative size")
        })?;
        match codec {
            CompressionType::LZ4_FRAME => Ok(Self::new(FrameDecoder::new(stored).take(claimed))),
            CompressionType::ZSTD => {
                let decoder = zstd::stream::read::Decoder::with_buffer(stored)?;
                Ok(Self::new(decoder.take(claimed)))
            }
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a compression that is not known",
            )),
        }
    }

    fn new(reader: impl Read + Send + 'static) -> Self {
        Self {
            reader: Box::new(reader),
        }
    }

    /// Reads the next `n` bytes.
    pub fn read(&mut self, n: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // Memory grows with what is there, not with what is asked for.
        (&mut self.reader).take(n as u64).read_to_end(&mut bytes)?;
        if bytes.len() < n {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a buffer is shorter than its rows need",
            ));
        }
        Ok(bytes)
    }

    /// Moves over the next `n` bytes.
    pub fn skip(&mut self, n: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.reader).take(n), &mut io::sink())?;
        if skipped < n {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// A buffer of bits, read from its beginning to its end: which values are not null.
pub(super) struct Bits {
    section: Section,
    byte: u8,
    /// Bits of `byte` that are left.
    n_left: u32,
}

impl Bits {
    pub fn new(section: Section) -> Self {
        Self {
            section,
            byte: 0,
            n_left: 0,
        }
    }

    /// Reads the next `n` bits.
    pub fn read(&mut self, n: usize) -> io::Result<Vec<bool>> {
        let more = (n as u64)
            .saturating_sub(u64::from(self.n_left))
            .div_ceil(8);
        let mut bytes = self.section.read(more as usize)?.into_iter();
        let mut bits = Vec::with_capacity(n);
        while bits.len() < n {
            if self.n_left == 0 {
                self.byte = bytes.next().unwrap_or(0);
                self.n_left = 8;
            }
            bits.push(self.byte & 1 == 1);
            self.byte >>= 1;
            self.n_left -= 1;
        }
        Ok(bits)
    }

    /// Moves over the next `n` bits.
    pub fn skip(&mut self, n: u64) -> io::Result<()> {
        let mut left = n;
        while left > 0 {
            let some = left.min(1 << 16);
            self.read(some as usize)?;
            left -= some;
        }
        Ok(())
    }
}
