//! Failures of the operating system below decoders that pass errors on as text.
//!
//! The decoders of HDF5 and Parquet turn an `io::Error` into a sentence, so that the caller cannot tell a bad disk from a
//! damaged file. The readers below them note such failures here, and [`guarded`](super::catch_panic::guarded) marks the error
//! that the decoder ends with.
//!
//! The mark belongs to a thread, because these decoders read in the thread that calls them. `guarded` clears it first, so
//! that only failures during the decoder's own run count.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};

use crate::error::has_os_error;

thread_local! {
    static FAILED: Cell<bool> = const { Cell::new(false) };
}

/// Notes that reading failed, if the operating system is the cause.
pub(crate) fn note(error: &(dyn std::error::Error + 'static)) {
    if has_os_error(error) {
        FAILED.set(true);
    }
}

/// Returns whether a failure has been noted in this thread since the last call.
pub(crate) fn take() -> bool {
    FAILED.replace(false)
}

/// A file whose failures are noted.
#[derive(Debug)]
pub(crate) struct NotingReader<R>(pub R);

fn noted<T>(result: io::Result<T>) -> io::Result<T> {
    result.inspect_err(|error| {
        // The caller repeats an interrupted read.
        if error.kind() != io::ErrorKind::Interrupted {
            note(error);
        }
    })
}

impl<R: Read> Read for NotingReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        noted(self.0.read(bytes))
    }
}

impl<R: Seek> Seek for NotingReader<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        noted(self.0.seek(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind, Option<i32>);

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(self
                .1
                .map_or_else(|| self.0.into(), io::Error::from_raw_os_error))
        }
    }

    #[test]
    fn only_failures_of_the_system_are_noted_and_each_once() {
        let _ = take();
        let read = |broken| NotingReader(broken).read(&mut [0]);
        assert!(read(Broken(io::ErrorKind::UnexpectedEof, None)).is_err());
        assert!(!take());
        assert!(read(Broken(io::ErrorKind::Other, Some(5))).is_err());
        assert!(take() && !take());
    }
}
