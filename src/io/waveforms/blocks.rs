//! The blocks that formats are decoded in, with the checks of every row.

use std::path::Path;

use super::{Loss, SourceInfo};
use crate::error::{Error, Result};
use crate::model::{Batch, MAX_SAMPLES, MIN_SAMPLES, Samples, SamplesRef, Waveform};

/// Approximate bytes of samples that a reader decodes at a time; small enough to stay in the cache.
pub(crate) const BLOCK_BYTES: usize = 2 << 20;

/// The output of one step of a reader: waveforms that passed the checks, and losses.
#[derive(Debug)]
pub(crate) struct Block {
    pub batch: Batch,
    /// The position of each waveform of `batch` in the file, in units of the source's `Extent`.
    pub positions: Vec<u64>,
    /// The losses, sorted by position.
    pub losses: Vec<Loss>,
}

/// One row of a file before the checks.
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
    /// Creates an empty block whose samples are of the type of `samples`.
    pub fn new(input_id: u32, samples: Samples) -> Self {
        Self {
            batch: Batch::new(input_id, samples),
            positions: Vec::new(),
            losses: Vec::new(),
        }
    }

    /// Appends the row at `position`, or its loss with the description that `place` returns.
    pub fn push(&mut self, row: Row<'_>, position: u64, place: impl FnOnce() -> String) {
        let event_id = row.event_id.and_then(|id| u64::try_from(id).ok());
        let channel_id = row.channel_id.and_then(|id| u32::try_from(id).ok());
        match check(row, event_id, channel_id) {
            Ok(waveform) => {
                self.batch.push(waveform);
                self.positions.push(position);
            }
            Err(reason) => self.losses.push(Loss {
                place: place(),
                event_id,
                channel_id,
                n_waveforms: Some(1),
                reason,
                position,
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

/// Returns why a waveform of `n_samples` cannot be used, if it cannot.
pub(crate) fn wrong_length(n_samples: usize) -> Option<String> {
    (!(MIN_SAMPLES..=MAX_SAMPLES).contains(&n_samples))
        .then(|| format!("{n_samples} samples, not {MIN_SAMPLES} to {MAX_SAMPLES}"))
}

/// Checks the length of all waveforms of a file.
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
///
/// Damage becomes losses as far as the decoder can tell where the file continues. After an error the rest of the file
/// counts as lost, unless the operating system caused it: such an error ends the pass.
pub(crate) trait BlockReader: Send {
    /// Returns the information about the file.
    fn info(&self) -> &SourceInfo;
    /// Reads the next block, of a size that suits the format, or `None` at the end.
    fn next_block(&mut self) -> Result<Option<Block>>;
    /// Returns the lowest position that the next block's waveforms can have.
    fn position(&self) -> u64;
    /// Continues at `position` or at a more suitable one before it. A reader that cannot seek stays where it is.
    fn seek(&mut self, _position: u64) -> Result<()> {
        Ok(())
    }
    /// Reads the event numbers of the next part of the file, of any size. Readers that can skip the samples do so.
    fn next_events(&mut self) -> Result<Option<Vec<u64>>> {
        Ok(self
            .next_block()?
            .map(|block| block.batch.event_id().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(block: &mut Block, event_id: i128, samples: &[u16]) {
        let row = Row {
            event_id: Some(event_id),
            channel_id: Some(0),
            start_ns: Some(0.0),
            samples: Some(SamplesRef::U16(samples)),
        };
        block.push(row, event_id as u64, || format!("row {event_id}"));
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
}
