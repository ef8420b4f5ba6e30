//! Stages one by one: the first ones on the CPU and the rest on the GPU, to find the stage that differs; and each stage's
//! kernel timed alone. The state between stages lies in device memory.

use std::time::Duration;

use super::device::Device;
use super::dispatch::{KernelGroup, STATE_WORDS};
use super::extractor::{GpuExtractor, run_parameters};
use super::failure::Failure;
use super::ring_slot::{ChunkInput, ChunkResults, RingSlot};
use super::routing::{Chunk, Router};
use super::shaders::{HEADER_WORDS, Memory, Variant};
use super::template_tables::{DeviceTables, TemplateTables};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::{Method, Stage, workspace};
use crate::model::{Batch, Extracted, Flags};

// Places in the head of a waveform's state, as in `shaders/common/state.wgsl`.
const HEADER_FLAGS: usize = 0;
const HEADER_LEVEL: usize = 1;
const HEADER_MEASURED_NOISE: usize = 2;
const HEADER_NOISE: usize = 3;
const HEADER_BASELINE: usize = 4;
const HEADER_BASELINE_SIGMA: usize = 5;
const HEADER_THRESHOLD: usize = 6;
const HEADER_N_FOUND: usize = 7;
// Bits of a found hit, as in `hit_finding.wgsl` and `charge.wgsl`.
const LEADS: u32 = 1 << 16;
const ALONE_BEFORE: u32 = 1 << 17;
const ALONE_AFTER: u32 = 1 << 18;
const FLAGS_SHIFT: u32 = 20;

/// A device of its own on which stages run one by one.
pub struct StageByStage<'a> {
    gpu: &'a GpuExtractor,
    device: Device,
    tables: TemplateTables,
    router: Router,
    on_device: Option<DeviceTables>,
    slot: RingSlot,
    time_limit: Duration,
}

impl<'a> StageByStage<'a> {
    /// Opens a second device on the adapter of `gpu`, for the same calibration and parameters.
    ///
    /// # Errors
    /// If the adapter gives no device, or the method is not the deconvolution, which alone has these stages.
    pub fn new(gpu: &'a GpuExtractor) -> Result<Self> {
        if gpu.cpu().parameters().method != Method::Deconvolution {
            return Err(Error::usage(
                "only the method `deconvolution` has stages that can run one by one",
            ));
        }
        // Kernels that go through device memory take longer.
        let time_limit = Duration::from_secs(120);
        Ok(Self {
            gpu,
            device: Device::open(gpu.adapter(), time_limit).map_err(|failure| failed(&failure))?,
            tables: TemplateTables::default(),
            router: Router::default(),
            on_device: None,
            slot: RingSlot::default(),
            time_limit,
        })
    }

    /// Extracts a batch, the stages before `from` on the CPU and the others on the GPU.
    ///
    /// # Errors
    /// If the device fails.
    pub fn extract_from(&mut self, from: Stage, batch: &Batch) -> Result<Extracted> {
        let mut all = Extracted::default();
        for chunk in self.chunks(batch, (from, Stage::Time)) {
            let state = self.state_before(from, batch, &chunk);
            // Where the hits do not fit, there is room the second time.
            let results = loop {
                let run = self.run(batch, &chunk, state.as_deref());
                if let Some(results) = run.map_err(|failure| failed(&failure))? {
                    break results;
                }
            };
            let cpu_part = self.gpu.extract_cpu_part(batch, &chunk);
            let part = self.gpu.merge_results(batch, &chunk, &results, &cpu_part);
            all.hits.extend(part.hits);
            all.summaries.extend(part.summaries);
        }
        Ok(all)
    }

    /// Time of each stage's kernel over a batch; `None` without timestamps.
    ///
    /// # Errors
    /// If the device fails.
    pub fn time(&mut self, batch: &Batch) -> Result<Option<Vec<(Stage, Duration)>>> {
        let mut times: Vec<(Stage, Duration)> = Stage::ALL
            .into_iter()
            .map(|stage| (stage, Duration::ZERO))
            .collect();
        for mut chunk in self.chunks(batch, (Stage::LoadSamples, Stage::Time)) {
            let mut of_chunk = Vec::new();
            while of_chunk.len() < Stage::ALL.len() {
                let stage = Stage::ALL[of_chunk.len()];
                for group in &mut chunk.groups {
                    group.variant.stages = (stage, stage);
                }
                let run = self.run(batch, &chunk, None);
                match run.map_err(|failure| failed(&failure))? {
                    // The buffers grew, and with the old ones went the state: from the beginning.
                    None => of_chunk.clear(),
                    Some(ChunkResults { kernel: None, .. }) => return Ok(None),
                    Some(ChunkResults {
                        kernel: Some(kernel),
                        ..
                    }) => of_chunk.push(kernel),
                }
            }
            for ((_, time), kernel) in times.iter_mut().zip(of_chunk) {
                *time += kernel;
            }
        }
        Ok(Some(times))
    }

    /// A batch in chunks of one kernel each whose states fit device memory at once.
    fn chunks(&mut self, batch: &Batch, stages: (Stage, Stage)) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut begin = 0;
        let mut length = 4096;
        while begin < batch.len() {
            let end = (begin + length).min(batch.len());
            let mut chunk = self.router.route(
                self.gpu.cpu(),
                &mut self.tables,
                &self.device,
                batch,
                begin,
                end,
            );
            for group in &mut chunk.groups {
                group.variant.memory = Memory::Device;
                group.variant.stages = stages;
            }
            let fits = |group: &KernelGroup| group.state_words() <= STATE_WORDS;
            // One kernel a chunk: the state of a second one would overwrite the first one's.
            if length > 1 && (chunk.groups.len() > 1 || !chunk.groups.iter().all(fits)) {
                length = length.div_ceil(2);
                continue;
            }
            chunks.push(chunk);
            begin = end;
            length = 4096;
        }
        chunks
    }

    /// Runs a chunk; `None` if its hits had no room, which they have the next time.
    fn run(
        &mut self,
        batch: &Batch,
        chunk: &Chunk,
        state: Option<&[u32]>,
    ) -> std::result::Result<Option<ChunkResults>, Failure> {
        if chunk.waveforms.is_empty() {
            return Ok(Some(ChunkResults {
                kernel: Some(Duration::ZERO),
                ..ChunkResults::default()
            }));
        }
        let tables = self.tables.upload(&self.device, &mut self.on_device);
        let input = ChunkInput {
            batch,
            chunk,
            run: run_parameters(self.gpu.cpu()),
            state,
        };
        self.slot
            .submit(&mut self.device, tables, &input, &mut || None)?;
        self.slot.read(&self.device, self.time_limit, None)
    }

    /// The states of a chunk's waveforms as the stage before `from` leaves them; `None` where `from` is the first.
    fn state_before(&self, from: Stage, batch: &Batch, chunk: &Chunk) -> Option<Vec<u32>> {
        if from == Stage::LoadSamples {
            return None;
        }
        let variant = chunk.groups.first()?.variant;
        let mut all = Vec::new();
        let mut work = workspace::Workspace::default();
        for &place in &chunk.places {
            let mut state = Vec::new();
            let waveform = batch.get(place as usize)?;
            let mut keep = |stage: Stage, work: &workspace::Workspace| {
                if stage < from {
                    state = state_of(variant, batch, place as usize, work, stage);
                }
            };
            self.gpu
                .cpu()
                .extract_one(waveform, &mut work, &mut Vec::new(), &mut keep);
            all.extend(state);
        }
        Some(all)
    }
}

fn failed(failure: &Failure) -> Error {
    Error::new(ErrorKind::Gpu, failure.to_string())
        .with_hint("stages one by one are for finding defects; `nuwave bench --compare` goes on after a failure")
}

/// Where in a waveform's state words, bins, smoothed trace and blocks begin, as in `shaders/common/memory_device.wgsl`.
pub(super) fn places(variant: Variant) -> [usize; 4] {
    let (trace, bins) = (variant.trace as usize, variant.bins() as usize);
    let words = HEADER_WORDS as usize;
    let smooth = words + trace + 2 * bins;
    [words, words + trace, smooth, smooth + trace]
}

/// The state of a waveform behind `stage`, laid out as `shaders/common/memory_device.wgsl` has it.
fn state_of(
    variant: Variant,
    batch: &Batch,
    place: usize,
    work: &workspace::Workspace,
    stage: Stage,
) -> Vec<u32> {
    let [words_at, bins_at, smooth_at, blocks_at] = places(variant);
    let mut all = vec![0_u32; variant.state_words() as usize];
    let put = |to: &mut [u32], at: usize, values: &mut dyn Iterator<Item = u32>| {
        for (slot, value) in to[at..].iter_mut().zip(values) {
            *slot = value;
        }
    };
    let of = |value: f32| value.to_bits();

    let from_samples = Flags::SATURATED_HIGH | Flags::SATURATED_LOW | Flags::FLAT;
    let samples: Vec<u32> = match batch.get(place).map(|waveform| waveform.samples) {
        Some(crate::model::SamplesRef::U16(samples)) => samples
            .chunks(2)
            .map(|pair| u32::from(pair[0]) | u32::from(pair.get(1).copied().unwrap_or(0)) << 16)
            .collect(),
        _ => Vec::new(),
    };
    let summary = &work.summary;
    all[HEADER_FLAGS] = (summary.flags & (from_samples | Flags::UNSTABLE_BASELINE)).0;
    if stage == Stage::LoadSamples {
        all[HEADER_BASELINE] = of(work.loaded.even.first().copied().unwrap_or(0.0));
    } else {
        all[HEADER_LEVEL] = of(work.level_adc);
        all[HEADER_MEASURED_NOISE] = of(summary.noise_adc);
        all[HEADER_NOISE] = of(work.noise_adc);
        all[HEADER_BASELINE] = of(summary.baseline_adc);
        all[HEADER_BASELINE_SIGMA] = of(summary.baseline_sigma_adc);
        all[HEADER_THRESHOLD] = of(work.threshold);
    }
    if stage < Stage::Deconvolve {
        put(&mut all, words_at, &mut samples.into_iter());
        let blocks = work
            .loaded
            .block_mean
            .iter()
            .zip(&work.loaded.block_variance);
        put(
            &mut all,
            blocks_at,
            &mut blocks.flat_map(|(&mean, &variance)| [of(mean), of(variance), 0, 0]),
        );
    } else {
        let values = work.deconvolve.trace.iter();
        put(&mut all, words_at, &mut values.map(|&value| of(value)));
    }
    if stage == Stage::Decimate {
        let values = work.deconvolve.trace.iter();
        put(&mut all, bins_at, &mut values.map(|&value| of(value)));
    }
    if stage >= Stage::ResidualBaseline {
        let values = work.residual_baseline.smooth.iter();
        put(&mut all, smooth_at, &mut values.map(|&value| of(value)));
        let maxima = work.residual_baseline.block_max.iter();
        put(
            &mut all,
            blocks_at,
            &mut maxima.flat_map(|&max| [0, of(max), 0, 0]),
        );
    }
    if stage >= Stage::HitFinding {
        all[HEADER_N_FOUND] = work.found.len() as u32;
        let mark = |is: bool, bit: u32| if is { bit } else { 0 };
        for (index, found) in work.found.iter().enumerate() {
            let at = bins_at + 2 * index;
            let flags = if stage >= Stage::Charge {
                work.charges.get(index).map_or(0, |(_, _, flags)| flags.0)
            } else {
                0
            };
            all[at] = found.begin as u32 | (found.end as u32) << 16;
            all[at + 1] = found.peak as u32
                | mark(found.leads, LEADS)
                | mark(found.alone.0, ALONE_BEFORE)
                | mark(found.alone.1, ALONE_AFTER)
                | flags << FLAGS_SHIFT;
        }
    }
    if stage >= Stage::Charge {
        for (index, &(charge_pe, sigma_pe, _)) in work.charges.iter().enumerate() {
            all[smooth_at + 2 * index] = of(charge_pe);
            all[smooth_at + 2 * index + 1] = of(sigma_pe);
        }
    }
    all
}
