//! What came back from the device, and what the CPU did beside it, as the hits of a batch.

use rayon::prelude::*;

use super::extractor::GpuExtractor;
use super::layout::{Hit as DeviceHit, OUTGROWN, Summary};
use super::ring_slot::ChunkResults;
use super::routing::Chunk;
use crate::extract::workspace::{self, finalize};
use crate::model::{Batch, Extracted, Flags, Hit, WaveformSummary};
use crate::threads::in_pool;

/// Waveforms that one task puts together.
const TASK: usize = 512;

/// Where a waveform's result comes from.
enum From<'a> {
    Cpu(&'a (WaveformSummary, Vec<Hit>)),
    Device(&'a Summary),
    /// Cannot be: as many summaries are read back as waveforms went up.
    Nowhere,
}

impl From<'_> {
    /// Its hits among the device's.
    fn n_hits(&self) -> usize {
        match self {
            Self::Device(summary) => summary.n_hits as usize,
            Self::Cpu(_) | Self::Nowhere => 0,
        }
    }
}

impl GpuExtractor {
    /// Those waveforms of a chunk that the kernels do not take.
    pub(super) fn extract_cpu_part(
        &self,
        batch: &Batch,
        chunk: &Chunk,
    ) -> Vec<(WaveformSummary, Vec<Hit>)> {
        in_pool(|| {
            chunk
                .on_cpu
                .par_iter()
                .map_init(workspace::Workspace::default, |work, (place, _)| {
                    let mut hits = Vec::new();
                    let summary = batch.get(*place as usize).map_or_else(
                        WaveformSummary::default,
                        |waveform| {
                            self.cpu()
                                .extract_one(waveform, work, &mut hits, &mut |_, _| ())
                        },
                    );
                    (summary, hits)
                })
                .collect()
        })
    }

    /// A chunk's result in the order of the batch, by all threads.
    pub(super) fn merge_results(
        &self,
        batch: &Batch,
        chunk: &Chunk,
        results: &ChunkResults,
        cpu_part: &[(WaveformSummary, Vec<Hit>)],
    ) -> Extracted {
        // For each waveform its number among the device's, or the CPU's result.
        let mut cpu_part = cpu_part.iter().zip(&chunk.on_cpu).peekable();
        let mut on_device = results.summaries.iter();
        let from: Vec<From<'_>> = (chunk.begin..chunk.end)
            .map(
                |place| match cpu_part.next_if(|(_, (of, _))| *of as usize == place) {
                    Some((result, _)) => From::Cpu(result),
                    None => on_device.next().map_or(From::Nowhere, From::Device),
                },
            )
            .collect();
        let mut at = 0;
        let starts: Vec<usize> = from
            .chunks(TASK)
            .map(|task| {
                let start = at;
                at += task.iter().map(From::n_hits).sum::<usize>();
                start
            })
            .collect();
        let parts: Vec<Extracted> = in_pool(|| {
            from.par_chunks(TASK)
                .zip(starts)
                .enumerate()
                .map_init(
                    workspace::Workspace::default,
                    |work, (task, (from, mut at))| {
                        let mut part = Extracted::default();
                        for (place, from) in (chunk.begin + task * TASK..).zip(from) {
                            let summary = match from {
                                From::Cpu((summary, hits)) => {
                                    part.hits.extend_from_slice(hits);
                                    part.left_to_cpu += 1;
                                    *summary
                                }
                                From::Device(summary) => {
                                    let end = at + summary.n_hits as usize;
                                    let found = results.hits.get(at..end).unwrap_or_default();
                                    at = end;
                                    if summary.flags & OUTGROWN != 0
                                        && let Some(waveform) = batch.get(place)
                                    {
                                        part.left_to_cpu += 1;
                                        let summary = self.cpu().extract_one(
                                            waveform,
                                            work,
                                            &mut part.hits,
                                            &mut |_, _| (),
                                        );
                                        part.summaries.push(summary);
                                        continue;
                                    }
                                    self.finish(batch, place, summary, found, &mut part.hits)
                                }
                                From::Nowhere => WaveformSummary::unknown(Flags::NON_FINITE),
                            };
                            part.summaries.push(summary);
                        }
                        part
                    },
                )
                .collect()
        });
        Extracted::joined(parts)
    }

    /// What the host knows and the device does not: offset, start, flags of the calibration, order.
    fn finish(
        &self,
        batch: &Batch,
        place: usize,
        summary: &Summary,
        found: &[DeviceHit],
        hits: &mut Vec<Hit>,
    ) -> WaveformSummary {
        let channel_id = batch.channel_id()[place];
        let length = batch.offsets()[place + 1] - batch.offsets()[place];
        let Some((row, known)) = self.cpu().row_and_flags(channel_id, length) else {
            return WaveformSummary::unknown(Flags::NO_CALIBRATION);
        };
        let start_ns = batch.start_ns().get(place).copied().unwrap_or(0.0);
        let shift_ns = start_ns as f32 - self.cpu().channel(row).time_offset_ns;
        let first_hit = hits.len();
        // A deconvolved hit without charge is a shoulder whose share of the trace came out empty.
        let deconvolved = self.cpu().parameters().method.deconvolves();
        hits.extend(
            found
                .iter()
                .filter(|hit| !(deconvolved && hit.charge_pe <= 0.0))
                .map(|hit| Hit {
                    time_ns: hit.time_ns,
                    charge_pe: hit.charge_pe,
                    charge_sigma_pe: hit.charge_sigma_pe,
                    time_sigma_ns: hit.time_sigma_ns,
                    flags: Flags(hit.flags),
                }),
        );
        let of_samples =
            Flags(summary.flags) & (Flags::SATURATED_HIGH | Flags::SATURATED_LOW | Flags::FLAT);
        let concluded = WaveformSummary {
            baseline_adc: summary.baseline_adc,
            baseline_sigma_adc: summary.baseline_sigma_adc,
            noise_adc: summary.noise_adc,
            chi2_ndf: Flags(summary.flags)
                .contains(Flags::FITTED)
                .then_some(summary.chi2_ndf),
            flags: Flags(summary.flags) | known,
            ..WaveformSummary::default()
        };
        finalize(concluded, of_samples | known, hits, first_hit, shift_ns)
    }
}
