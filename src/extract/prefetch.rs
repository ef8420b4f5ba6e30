//! Brings the samples of the next waveform into the cache while the stages of this one run; without it, loading waits for memory.

use crate::model::SamplesRef;

/// Bytes of a cache line.
const LINE: usize = 64;
/// Lines that are fetched at a time: few enough for the processor to go on without waiting for them.
const LINES_AT_ONCE: usize = 8;

/// The samples of a waveform, of which a part has been fetched.
#[derive(Debug, Default)]
pub(crate) struct Prefetch<'a> {
    rest: &'a [u8],
}

impl<'a> Prefetch<'a> {
    pub(crate) fn new(samples: Option<SamplesRef<'a>>) -> Self {
        let rest = match samples {
            Some(SamplesRef::U16(samples)) => bytemuck::cast_slice(samples),
            Some(SamplesRef::F32(samples)) => bytemuck::cast_slice(samples),
            None => &[],
        };
        Self { rest }
    }

    /// Asks the processor to fetch the next part.
    pub(crate) fn advance(&mut self) {
        let (part, rest) = self
            .rest
            .split_at(self.rest.len().min(LINE * LINES_AT_ONCE));
        for line in part.chunks(LINE) {
            prefetch_line(line);
        }
        self.rest = rest;
    }
}

#[cfg(target_arch = "x86_64")]
fn prefetch_line(line: &[u8]) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch of any address is allowed, and reads nothing that the program sees.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn prefetch_line(_: &[u8]) {}
