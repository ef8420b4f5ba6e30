//! Writes WaveDump binary and text.
//!
//! A digitiser's own program writes one file per channel. Here all channels go into one file: every record names its
//! channel.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::header::{HEADER_BYTES, MAX_CHANNELS};
use crate::error::Result;
use crate::io::atomic::{AtomicFile, write_error};
use crate::io::waveforms::sink::cannot_hold;
use crate::io::{WaveformSink, truth};
use crate::model::{Batch, SamplesRef, Truth, Waveform};

/// The fields of a waveform that both formats can hold: event counter, channel, counts.
fn record<'a>(path: &Path, waveform: &Waveform<'a>) -> Result<(u32, u32, &'a [u16])> {
    let SamplesRef::U16(samples) = waveform.samples else {
        return Err(cannot_hold(path, "float samples"));
    };
    let event = u32::try_from(waveform.event_id).map_err(|_| {
        cannot_hold(
            path,
            &format!("event {}: its counter has 32 bits", waveform.event_id),
        )
    })?;
    if waveform.channel_id >= MAX_CHANNELS {
        return Err(cannot_hold(
            path,
            &format!(
                "channel {}: a board has {MAX_CHANNELS} at most",
                waveform.channel_id
            ),
        ));
    }
    if waveform.start_ns != 0.0 {
        return Err(cannot_hold(
            path,
            "windows that begin at another time than 0",
        ));
    }
    Ok((event, waveform.channel_id, samples))
}

/// Writes binary records with headers.
pub(crate) struct BinarySink {
    file: BufWriter<AtomicFile>,
}

/// Writes text records with header lines.
pub(crate) struct TextSink {
    file: BufWriter<AtomicFile>,
}

impl BinarySink {
    pub fn create(path: &Path) -> Result<Self> {
        let file = BufWriter::new(AtomicFile::create(path)?);
        Ok(Self { file })
    }
}

impl TextSink {
    pub fn create(path: &Path) -> Result<Self> {
        let file = BufWriter::new(AtomicFile::create(path)?);
        Ok(Self { file })
    }
}

impl WaveformSink for BinarySink {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let path = self.file.get_ref().path().to_owned();
        for waveform in batch.iter() {
            let (event, channel, samples) = record(&path, &waveform)?;
            let size = HEADER_BYTES as u32 + 2 * samples.len() as u32;
            let mut bytes = Vec::with_capacity(size as usize);
            for word in [size, 0, 0, channel, event, 0] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
            for sample in samples {
                bytes.extend_from_slice(&sample.to_le_bytes());
            }
            self.file
                .write_all(&bytes)
                .map_err(|error| write_error(&path, error))?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>, truth: &Truth) -> Result<()> {
        finish(self.file, truth)
    }
}

impl WaveformSink for TextSink {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let path = self.file.get_ref().path().to_owned();
        for waveform in batch.iter() {
            let (event, channel, samples) = record(&path, &waveform)?;
            write_text(&mut self.file, event, channel, samples)
                .map_err(|error| write_error(&path, error))?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>, truth: &Truth) -> Result<()> {
        finish(self.file, truth)
    }
}

fn write_text(file: &mut impl Write, event: u32, channel: u32, samples: &[u16]) -> io::Result<()> {
    writeln!(file, "Record Length: {}", samples.len())?;
    writeln!(file, "BoardID:  0")?;
    writeln!(file, "Channel: {channel}")?;
    writeln!(file, "Event Number: {event}")?;
    writeln!(file, "Pattern: 0x0000")?;
    writeln!(file, "Trigger Time Stamp: 0")?;
    writeln!(file, "DC offset (DAC): 0x0000")?;
    for sample in samples {
        writeln!(file, "{sample}")?;
    }
    Ok(())
}

fn finish(file: BufWriter<AtomicFile>, truth: &Truth) -> Result<()> {
    let path = file.get_ref().path().to_owned();
    let file = file
        .into_inner()
        .map_err(|error| write_error(&path, error.into_error()))?;
    truth::write_truth_files(&path, truth)?;
    file.commit()
}
