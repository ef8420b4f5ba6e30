//! Waveforms to hits in memory: `cargo run --release --example extract [FILE]` prints the hits of a file of JUNO waveforms.

use std::path::PathBuf;

use nuwave::extract::{Backend as _, DigitizerConfig, Extractor, Parameters};
use nuwave::io::{self, BatchLimit, ReadOptions};

fn main() -> nuwave::Result<()> {
    let file = std::env::args().nth(1);
    let file = file.map_or_else(|| PathBuf::from("testdata/juno64.h5"), PathBuf::from);
    let detector = nuwave::detector::load("juno")?;
    let readout = DigitizerConfig {
        sampling_ns: detector.readout.sampling_ns,
        polarity: detector.readout.polarity,
        adc_bits: Some(detector.readout.adc_bits),
    };
    let templates = detector.nominal_calibration()?;
    let extractor = Extractor::new(templates, readout, Parameters::default())?;
    let mut source = io::open(&file, &ReadOptions::default())?;
    while let Some(batch) = source.next_batch(BatchLimit::default())? {
        let extracted = extractor.extract(&batch)?;
        let mut hits = extracted.hits.iter();
        let waveforms = batch.event_id().iter().zip(batch.channel_id());
        for ((event, channel), summary) in waveforms.zip(&extracted.summaries) {
            for hit in hits.by_ref().take(summary.n_hits as usize) {
                let (time_ns, charge_pe) = (hit.time_ns, hit.charge_pe);
                println!("event {event} channel {channel}: {time_ns:.2} ns {charge_pe:.2} PE");
            }
        }
    }
    Ok(())
}
