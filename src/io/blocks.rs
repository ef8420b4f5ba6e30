//! From the pieces a format is decoded in to batches of the size the caller wants.

use std::path::Path;

use super::{BatchLimit, Loss, Source, SourceInfo};
use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::model::{Batch, MAX_SAMPLES, MIN_SAMPLES, Samples, SamplesRef, Waveform};

/// Bytes of samples that a reader decodes at a time, about; small enough to stay in the cache.
pub(crate) const BLOCK_BYTES: usize = 2 << 20;

/// What a reader decodes at a time: waveforms that passed the checks, and what did not.
#[derive(Debug)]
pub(crate) struct Block {
    pub batch: Batch,
    pub losses: Vec<Loss>,
}

/// One row of a file as found, before the checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    /// Event number; `None` for a null.
    pub event_id: Option<i128>,
    /// Channel number; `None` for a null.
    pub channel_id: Option<i128>,
    /// Start of the window; `None` for a null.
    pub start_ns: Option<f64>,
    /// Samples; `None` for a null.
    pub samples: Option<SamplesRef<'a>>,
}

impl Block {
    /// An empty block whose samples are of the type of `samples`.
    pub fn new(input_id: u32, samples: Samples) -> Self {
        Self {
            batch: Batch::new(input_id, samples),
            losses: Vec::new(),
        }
    }

    /// Appends a row, or the loss of it with the place that `place` gives.
    pub fn push(&mut self, row: Row<'_>, place: impl FnOnce() -> String) {
        let event_id = row.event_id.and_then(|id| u64::try_from(id).ok());
        let channel_id = row.channel_id.and_then(|id| u32::try_from(id).ok());
        match check(row, event_id, channel_id) {
            Ok(waveform) => self.batch.push(waveform),
            Err(reason) => self.losses.push(Loss {
                place: place(),
                event_id,
                channel_id,
                n_waveforms: 1,
                reason,
            }),
        }
    }
}

fn check(
    row: Row<'_>,
    event_id: Option<u64>,
    channel_id: Option<u32>,
) -> std::result::Result<Waveform<'_>, String> {
    let event_id = event_id.ok_or_else(|| match row.event_id {
        None => "the event is null".to_owned(),
        Some(id) => format!("the event {id} is not within 0..={}", u64::MAX),
    })?;
    let channel_id = channel_id.ok_or_else(|| match row.channel_id {
        None => "the channel is null".to_owned(),
        Some(id) => format!("the channel {id} is not within 0..={}", u32::MAX),
    })?;
    let start_ns = row
        .start_ns
        .ok_or_else(|| "the start of the window is null".to_owned())?;
    if !start_ns.is_finite() {
        return Err(format!(
            "the start of the window is {start_ns}, not a finite time"
        ));
    }
    let samples = row
        .samples
        .ok_or_else(|| "the samples are null".to_owned())?;
    if let Some(reason) = wrong_length(samples.len()) {
        return Err(reason);
    }
    Ok(Waveform {
        event_id,
        channel_id,
        start_ns,
        samples,
    })
}

/// Why a waveform of `n_samples` cannot be used, if it cannot.
pub(crate) fn wrong_length(n_samples: usize) -> Option<String> {
    (!(MIN_SAMPLES..=MAX_SAMPLES).contains(&n_samples))
        .then(|| format!("{n_samples} samples, not {MIN_SAMPLES} to {MAX_SAMPLES}"))
}

/// The error for a file whose waveforms all have a length that cannot be used.
pub(crate) fn check_fixed_length(path: &Path, layout: &str, n_samples: usize) -> Result<()> {
    match wrong_length(n_samples) {
        None => Ok(()),
        Some(reason) => Err(Error::input(
            path,
            format!("{layout}: every waveform has {reason}"),
        )),
    }
}

/// A format's decoder.
pub(crate) trait BlockReader: Send {
    /// What is known before the first waveform.
    fn info(&self) -> &SourceInfo;
    /// The next piece of the file, of a size that suits the format, or `None` at the end.
    fn next_block(&mut self) -> Result<Option<Block>>;
}

/// A [`Source`] of batches over a format's decoder.
pub(crate) struct BlockSource<R> {
    reader: R,
    block: Option<Block>,
    /// Rows of `block` that were handed out already.
    taken: usize,
    losses: Vec<Loss>,
    /// An error that came after waveforms of the same batch; it is returned by the next call.
    error: Option<Error>,
    ended: bool,
}

impl<R: BlockReader> BlockSource<R> {
    /// A source that begins with the reader's next block.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            block: None,
            taken: 0,
            losses: Vec::new(),
            error: None,
            ended: false,
        }
    }

    /// Makes sure that `block` has rows left; false at the end of the file.
    fn fill(&mut self) -> Result<bool> {
        while !self.ended {
            if let Some(block) = &self.block
                && self.taken < block.batch.len()
            {
                return Ok(true);
            }
            self.block = None;
            self.taken = 0;
            let path = self.reader.info().path.clone();
            // An error ends the file as well: the reader's place in it is no longer known.
            self.ended = true;
            if let Some(mut block) = guarded(&path, || self.reader.next_block())? {
                self.losses.append(&mut block.losses);
                self.block = Some(block);
                self.ended = false;
            }
        }
        Ok(false)
    }
}

impl<R: BlockReader> Source for BlockSource<R> {
    fn info(&self) -> &SourceInfo {
        self.reader.info()
    }

    fn next_batch(&mut self, limit: BatchLimit) -> Result<Option<Batch>> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let mut batch: Option<Batch> = None;
        loop {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return Ok(batch),
                Err(error) if batch.is_some() => {
                    self.error = Some(error);
                    return Ok(batch);
                }
                Err(error) => return Err(error),
            }
            let Some(block) = &self.block else {
                return Ok(batch);
            };
            let filled = batch.get_or_insert_with(|| empty_like(&block.batch));
            while let Some(waveform) = block.batch.get(self.taken) {
                let n_samples = filled.samples().len() + waveform.samples.len();
                if !filled.is_empty()
                    && (filled.len() >= limit.waveforms || n_samples > limit.samples)
                {
                    return Ok(batch);
                }
                filled.push(waveform);
                self.taken += 1;
            }
        }
    }

    fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }
}

fn empty_like(batch: &Batch) -> Batch {
    match batch.samples() {
        Samples::U16(_) => Batch::new_u16(batch.input_id()),
        Samples::F32(_) => Batch::new_f32(batch.input_id()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn push(block: &mut Block, event_id: i128, samples: &[u16]) {
        let row = Row {
            event_id: Some(event_id),
            channel_id: Some(0),
            start_ns: Some(0.0),
            samples: Some(SamplesRef::U16(samples)),
        };
        block.push(row, || format!("row {event_id}"));
    }

    #[test]
    fn rows_that_cannot_be_used_become_losses() {
        let mut block = Block::new(0, Samples::U16(Vec::new()));
        push(&mut block, 1, &[0; MIN_SAMPLES]);
        push(&mut block, 2, &[0; MIN_SAMPLES - 1]);
        push(&mut block, 3, &[]);
        push(&mut block, 4, &vec![0; MAX_SAMPLES + 1]);
        push(&mut block, -5, &[0; MIN_SAMPLES]);
        assert_eq!(block.batch.event_id(), [1]);
        let places: Vec<_> = block
            .losses
            .iter()
            .map(|loss| loss.place.as_str())
            .collect();
        assert_eq!(places, ["row 2", "row 3", "row 4", "row -5"]);
    }

    struct Panics(SourceInfo);

    impl BlockReader for Panics {
        fn info(&self) -> &SourceInfo {
            &self.0
        }

        fn next_block(&mut self) -> Result<Option<Block>> {
            panic!("as a library does on damaged input")
        }
    }

    #[test]
    fn a_panic_in_a_decoder_is_an_error_once() {
        let info = SourceInfo::new(PathBuf::from("damaged.bin"), "test", 10);
        let mut source = BlockSource::new(Panics(info));
        let error = source
            .next_batch(BatchLimit::default())
            .expect_err("it panics");
        assert!(error.to_string().contains("damaged.bin"));
        let end = source.next_batch(BatchLimit::default());
        assert_eq!(end.expect("the end"), None);
    }
}
