//! Merges the results of the device with those of the CPU into the hits of a batch.

use rayon::prelude::*;

use super::chunk::{Chunk, ChunkResults};
use crate::extract::Extractor;
use crate::extract::finalize::finalize;
use crate::extract::workspace::Workspace;
use crate::gpu::kernels::numbers::LEFT_TO_CPU;
use crate::gpu::kernels::shared_types::{Hit as DeviceHit, Summary};
use crate::model::{Batch, Extracted, Flags, Hit, WaveformSummary};
use crate::threads::in_pool;

/// Waveforms per task.
const TASK: usize = 512;

/// The result of a waveform that the CPU extracted.
type CpuResult = (WaveformSummary, Vec<Hit>);

/// Where the result of a waveform comes from.
enum ResultSource<'a> {
    Cpu(&'a CpuResult),
    Device(&'a Summary),
    /// Cannot happen: as many summaries are read back as waveforms were uploaded.
    Missing,
}

impl ResultSource<'_> {
    /// Returns the number of its hits among those of the device.
    fn n_hits(&self) -> usize {
        match self {
            Self::Device(summary) => summary.n_hits as usize,
            Self::Cpu(_) | Self::Missing => 0,
        }
    }
}

/// Extracts the waveforms of a chunk that the kernels do not take.
#[must_use]
pub fn extract_cpu_part(cpu: &Extractor, batch: &Batch, chunk: &Chunk) -> Vec<CpuResult> {
    let one = |work: &mut Workspace, index: u32| {
        let mut hits = Vec::new();
        let summary = batch
            .get(index as usize)
            .map_or_else(WaveformSummary::default, |waveform| {
                cpu.extract_waveform(waveform, work, &mut hits, &mut |_, _| ())
            });
        (summary, hits)
    };
    in_pool(|| {
        chunk
            .on_cpu
            .par_iter()
            .map_init(Workspace::default, |work, (index, _)| one(work, *index))
            .collect()
    })
}

/// Returns the results of a chunk in the order of the batch, by all threads.
#[must_use]
pub fn merge_results(
    cpu: &Extractor,
    batch: &Batch,
    chunk: &Chunk,
    results: &ChunkResults,
    cpu_part: &[CpuResult],
) -> Extracted {
    let mut cpu_part = cpu_part.iter().zip(&chunk.on_cpu).peekable();
    let mut on_device = results.summaries.iter();
    let sources: Vec<ResultSource<'_>> = (chunk.begin..chunk.end)
        .map(
            |index| match cpu_part.next_if(|(_, (of, _))| *of as usize == index) {
                Some((result, _)) => ResultSource::Cpu(result),
                None => on_device
                    .next()
                    .map_or(ResultSource::Missing, ResultSource::Device),
            },
        )
        .collect();
    // The first hit of each task among those of the device.
    let mut n_hits = 0;
    let first_hits: Vec<usize> = sources
        .chunks(TASK)
        .map(|task| {
            let first = n_hits;
            n_hits += task.iter().map(ResultSource::n_hits).sum::<usize>();
            first
        })
        .collect();
    let parts: Vec<Extracted> = in_pool(|| {
        sources
            .par_chunks(TASK)
            .zip(first_hits)
            .enumerate()
            .map_init(Workspace::default, |work, (task, (sources, first_hit))| {
                let mut device_hits = results.hits.get(first_hit..).unwrap_or_default();
                let mut part = Extracted::default();
                for (index, source) in (chunk.begin + task * TASK..).zip(sources) {
                    let (own, rest) = device_hits.split_at(source.n_hits().min(device_hits.len()));
                    device_hits = rest;
                    let hits = &mut part.hits;
                    let summary = match source {
                        ResultSource::Cpu((summary, own)) => {
                            hits.extend_from_slice(own);
                            part.left_to_cpu += 1;
                            *summary
                        }
                        ResultSource::Device(summary) => {
                            let left = summary.flags & LEFT_TO_CPU != 0;
                            match batch.get(index).filter(|_| left) {
                                Some(waveform) => {
                                    part.left_to_cpu += 1;
                                    cpu.extract_waveform(waveform, work, hits, &mut |_, _| ())
                                }
                                None => finish(cpu, batch, index, summary, own, hits),
                            }
                        }
                        ResultSource::Missing => WaveformSummary::unknown(Flags::NON_FINITE),
                    };
                    part.summaries.push(summary);
                }
                part
            })
            .collect()
    });
    Extracted::joined(parts)
}

/// Adds what the host knows and the device does not: time offset, start of the window, flags of the calibration, order.
fn finish(
    cpu: &Extractor,
    batch: &Batch,
    index: usize,
    summary: &Summary,
    found: &[DeviceHit],
    hits: &mut Vec<Hit>,
) -> WaveformSummary {
    let channel_id = batch.channel_id()[index];
    let length = batch.offsets()[index + 1] - batch.offsets()[index];
    let Some((row, is_own)) = cpu.calibration().row_of(channel_id) else {
        return WaveformSummary::unknown(Flags::NO_CALIBRATION);
    };
    let calibration_flags = cpu.row_flags((row, is_own), length);
    let start_ns = batch.start_ns().get(index).copied().unwrap_or(0.0);
    // Times of the device count from the window; an absolute start does not fit into their 32 bits.
    let shift_ns = start_ns - f64::from(cpu.channel(row).time_offset_ns);
    let first_hit = hits.len();
    // A deconvolved hit without charge is a shoulder whose share of the trace is empty.
    let deconvolved = cpu.parameters().method.deconvolves();
    hits.extend(
        found
            .iter()
            .filter(|hit| !(deconvolved && hit.charge_pe <= 0.0))
            .map(|hit| Hit {
                time_ns: f64::from(hit.time_ns),
                charge_pe: hit.charge_pe,
                charge_sigma_pe: hit.charge_sigma_pe,
                time_sigma_ns: hit.time_sigma_ns,
                flags: Flags(hit.flags),
            }),
    );
    let flags = Flags(summary.flags);
    let sample_flags = flags & (Flags::SATURATED_HIGH | Flags::SATURATED_LOW | Flags::FLAT);
    let result = WaveformSummary {
        baseline_adc: summary.baseline_adc,
        baseline_sigma_adc: summary.baseline_sigma_adc,
        noise_adc: summary.noise_adc,
        chi2_ndf: flags.contains(Flags::FITTED).then_some(summary.chi2_ndf),
        flags: flags | calibration_flags,
        ..WaveformSummary::default()
    };
    finalize(
        result,
        sample_flags | calibration_flags,
        hits,
        first_hit,
        shift_ns,
    )
}
