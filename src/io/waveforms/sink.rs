//! The interface of writers of waveform files, and the parts that they share: uniform lengths, pieces of a fixed size.

use std::path::Path;

use crate::error::{Error, Result};
use crate::model::{Batch, Polarity, Samples, Truth};

/// A progress callback: bytes done, and bytes in total.
pub type EndReport = Box<dyn FnMut(u64, u64) + Send>;

/// A writer of a file of waveforms, one implementation per format.
pub trait WaveformSink {
    /// Appends a batch.
    ///
    /// # Errors
    /// If the file cannot be written, or the format cannot hold the batch (float samples, mixed lengths).
    fn write(&mut self, batch: &Batch) -> Result<()>;

    /// Sets the progress callback of [`finish`](Self::finish). Only formats that take long there call it.
    fn report_end(&mut self, report: EndReport) {
        drop(report);
    }

    /// Writes the truth, closes the file and gives it its final name.
    ///
    /// # Errors
    /// If the file cannot be written.
    fn finish(self: Box<Self>, truth: &Truth) -> Result<()>;
}

/// The information that a writer needs before the first batch.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteInfo {
    /// Sampling interval.
    pub sampling_ns: f64,
    /// Resolution of the digitiser.
    pub adc_bits: u32,
    /// Direction of the pulses.
    pub polarity: Polarity,
    /// Name of the detector.
    pub detector: String,
    /// The command and seed, kept in the file if the format has a place for it.
    pub origin: String,
}

/// Waveforms per piece; fixed, so that the bytes of a file do not depend on the batches.
const PIECE_WAVEFORMS: usize = 1024;
/// Samples after which a piece ends with fewer waveforms.
const PIECE_SAMPLES: usize = 4 << 20;

/// Returns the number of waveforms in a piece of waveforms of `n_samples`.
pub(crate) fn piece_waveforms(n_samples: usize) -> usize {
    PIECE_SAMPLES
        .div_ceil(n_samples.max(1))
        .min(PIECE_WAVEFORMS)
}

/// Returns the error of a format that cannot hold the data.
pub(crate) fn cannot_hold(path: &Path, what: &str) -> Error {
    Error::output(path, format!("this format cannot hold {what}"))
        .with_hint("write Parquet (`.parquet`) or Arrow (`.arrow`) instead")
}

/// Length and type of the samples, for formats in which all waveforms have the same.
#[derive(Debug, Default)]
pub(crate) struct Uniform {
    n_samples: Option<usize>,
    is_float: Option<bool>,
    n_rows: u64,
}

impl Uniform {
    /// Checks a batch against the batches before.
    ///
    /// # Errors
    /// If it differs from them.
    pub fn accept(&mut self, path: &Path, batch: &Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let is_float = matches!(batch.samples(), Samples::F32(_));
        if *self.is_float.get_or_insert(is_float) != is_float {
            return Err(cannot_hold(path, "integer and float samples together"));
        }
        for waveform in batch.iter() {
            let n_samples = waveform.samples.len();
            let first = *self.n_samples.get_or_insert(n_samples);
            if first != n_samples {
                return Err(cannot_hold(
                    path,
                    &format!("waveforms of different lengths ({first} and {n_samples})"),
                ));
            }
        }
        self.n_rows += batch.len() as u64;
        Ok(())
    }

    /// Returns the samples per waveform; 0 before the first.
    pub fn n_samples(&self) -> usize {
        self.n_samples.unwrap_or(0)
    }

    /// Returns true if the samples are floats.
    pub fn is_float(&self) -> bool {
        self.is_float.unwrap_or(false)
    }

    /// Returns the number of waveforms so far.
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }
}

/// Collects waveforms into pieces whose borders depend on the waveforms alone, not on the batches.
#[derive(Debug)]
pub(crate) struct Pieces {
    piece: Option<Batch>,
}

impl Pieces {
    pub fn new() -> Self {
        Self { piece: None }
    }

    /// Adds a batch and passes every full piece to `write`.
    pub fn add(
        &mut self,
        batch: &Batch,
        mut write: impl FnMut(&Batch) -> Result<()>,
    ) -> Result<()> {
        for waveform in batch.iter() {
            let piece = self.piece.get_or_insert_with(|| match batch.samples() {
                Samples::U16(_) => Batch::new_u16(batch.input_id()),
                Samples::F32(_) => Batch::new_f32(batch.input_id()),
            });
            piece.push(waveform);
            if piece.len() >= PIECE_WAVEFORMS || piece.samples().len() >= PIECE_SAMPLES {
                write(piece)?;
                self.piece = None;
            }
        }
        Ok(())
    }

    /// Takes the last piece, which is not full.
    pub fn rest(&mut self) -> Option<Batch> {
        self.piece.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SamplesRef, Waveform};

    fn batch(first: u64, n: u64) -> Batch {
        let mut batch = Batch::new_u16(0);
        for event_id in first..first + n {
            batch.push(Waveform {
                event_id,
                channel_id: 0,
                start_ns: 0.0,
                samples: SamplesRef::U16(&[1; 40]),
            });
        }
        batch
    }

    #[test]
    fn pieces_do_not_depend_on_the_batches() {
        let sizes = |batches: &[Batch]| {
            let mut pieces = Pieces::new();
            let mut sizes = Vec::new();
            for batch in batches {
                pieces
                    .add(batch, |piece| {
                        sizes.push(piece.len());
                        Ok(())
                    })
                    .expect("nothing fails");
            }
            sizes.extend(pieces.rest().map(|piece| piece.len()));
            sizes
        };
        let whole = sizes(&[batch(0, 2500)]);
        assert_eq!(whole, [1024, 1024, 452]);
        assert_eq!(
            sizes(&[batch(0, 7), batch(7, 2000), batch(2007, 493)]),
            whole
        );
    }

    #[test]
    fn a_second_length_is_refused() {
        let mut uniform = Uniform::default();
        let path = Path::new("x.npy");
        uniform.accept(path, &batch(0, 3)).expect("one length");
        let mut other = Batch::new_u16(0);
        other.push(Waveform {
            event_id: 0,
            channel_id: 0,
            start_ns: 0.0,
            samples: SamplesRef::U16(&[1; 41]),
        });
        assert!(uniform.accept(path, &other).is_err());
        assert_eq!((uniform.n_samples(), uniform.n_rows()), (40, 3));
    }
}
