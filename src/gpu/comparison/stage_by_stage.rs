//! Runs stages one by one: the first ones on the CPU and the others on the GPU, to find the stage that differs. Also times the kernel
//! of each stage. The state between stages is in device memory.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::extract::workspace::Workspace;
use crate::extract::{Method, Stage};
use crate::gpu::device::Device;
use crate::gpu::extractor::{GpuExtractor, run_parameters};
use crate::gpu::failure::Failure;
use crate::gpu::kernels::numbers::{
    ALONE_AFTER, ALONE_BEFORE, FLAGS_SHIFT, Header, LEADS, LEFT_TO_CPU,
};
use crate::gpu::kernels::registry::extract::{ExtractVariant, Memory};
use crate::gpu::routing::Router;
use crate::gpu::template_tables::{DeviceTables, TemplateTables};
use crate::gpu::transfer::chunk::{Chunk, ChunkInput, ChunkResults, KernelGroup};
use crate::gpu::transfer::dispatch::MAX_STATE_WORDS;
use crate::gpu::transfer::merge_results::{extract_cpu_part, merge_results};
use crate::gpu::transfer::ring_slot::RingSlot;
use crate::model::{Batch, Extracted, Flags, SamplesRef};

/// A second device, on which stages run one by one.
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
            // If there was no room for the hits, the next run makes room.
            let results = loop {
                let run = self.run(batch, &chunk, state.as_deref());
                if let Some(results) = run.map_err(|failure| failed(&failure))? {
                    break results;
                }
            };
            let cpu_part = extract_cpu_part(self.gpu.cpu(), batch, &chunk);
            let part = merge_results(self.gpu.cpu(), batch, &chunk, &results, &cpu_part);
            all.hits.extend(part.hits);
            all.summaries.extend(part.summaries);
        }
        Ok(all)
    }

    /// Returns the time of each stage's kernel over a batch; `None` without timestamps.
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
                    group.sequence.extract.stages = (stage, stage);
                }
                let run = self.run(batch, &chunk, None);
                match run.map_err(|failure| failed(&failure))? {
                    // The buffers grew and the state was lost with the old ones: start again.
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

    /// Returns a batch in chunks of one kernel each, whose states fit device memory together.
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
                group.sequence.extract.memory = Memory::Device;
                group.sequence.extract.stages = stages;
            }
            let fits = |group: &KernelGroup| group.state_words() <= MAX_STATE_WORDS;
            // One kernel per chunk: the state of a second one would overwrite the first one's.
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

    /// Runs a chunk; `None` if there was no room for its hits: the next run makes room.
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

    /// Returns the states of a chunk's waveforms after the stage before `from`; `None` if `from` is the first stage.
    fn state_before(&self, from: Stage, batch: &Batch, chunk: &Chunk) -> Option<Vec<u32>> {
        if from == Stage::LoadSamples {
            return None;
        }
        let variant = chunk.groups.first()?.sequence.extract;
        let mut all = Vec::new();
        let mut work = Workspace::default();
        for &index in &chunk.indices {
            let mut state = Vec::new();
            let waveform = batch.get(index as usize)?;
            let mut keep = |stage: Stage, work: &Workspace| {
                if stage < from {
                    state = state_of(variant, batch, index as usize, work, stage);
                }
            };
            self.gpu
                .cpu()
                .extract_waveform(waveform, &mut work, &mut Vec::new(), &mut keep);
            all.extend(state);
        }
        Some(all)
    }
}

fn failed(failure: &Failure) -> Error {
    Error::new(ErrorKind::Gpu, failure.to_string()).with_hint(
        "the comparison stage by stage ends when the GPU fails; the comparison of hits continues",
    )
}

/// Returns the state of a waveform after `stage` as the kernels have it in device memory.
fn state_of(
    variant: ExtractVariant,
    batch: &Batch,
    index: usize,
    work: &Workspace,
    stage: Stage,
) -> Vec<u32> {
    let layout = variant.state_layout();
    let [words_at, bins_at, smooth_at, blocks_at] =
        [layout.samples, layout.bins, layout.smooth, layout.blocks].map(|offset| offset as usize);
    let mut all = vec![0_u32; layout.words as usize];
    let put = |to: &mut [u32], at: usize, values: &mut dyn Iterator<Item = u32>| {
        for (slot, value) in to[at..].iter_mut().zip(values) {
            *slot = value;
        }
    };
    let bits = |value: f32| value.to_bits();

    let from_samples = Flags::SATURATED_HIGH | Flags::SATURATED_LOW | Flags::FLAT;
    let samples: Vec<u32> = match batch.get(index).map(|waveform| waveform.samples) {
        Some(SamplesRef::U16(samples)) => samples
            .chunks(2)
            .map(|pair| u32::from(pair[0]) | u32::from(pair.get(1).copied().unwrap_or(0)) << 16)
            .collect(),
        _ => Vec::new(),
    };
    let summary = &work.summary;
    // The kernels leave these to the CPU, and do not know their flags.
    let left = Flags::PADDED | Flags::GLITCH | Flags::BASELINE_FOLLOWED;
    all[Header::Flags as usize] = if summary.flags.intersects(left) {
        LEFT_TO_CPU
    } else {
        (summary.flags & (from_samples | Flags::UNSTABLE_BASELINE)).0
    };
    if stage == Stage::LoadSamples {
        all[Header::Baseline as usize] = bits(work.loaded.even.first().copied().unwrap_or(0.0));
    } else {
        all[Header::Level as usize] = bits(work.level_adc);
        all[Header::MeasuredNoise as usize] = bits(summary.noise_adc);
        all[Header::Noise as usize] = bits(work.noise_adc);
        all[Header::Baseline as usize] = bits(summary.baseline_adc);
        all[Header::BaselineSigma as usize] = bits(summary.baseline_sigma_adc);
        all[Header::Threshold as usize] = bits(work.threshold);
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
            &mut blocks.flat_map(|(&mean, &variance)| [bits(mean), bits(variance), 0, 0]),
        );
    } else {
        let values = work.deconvolve.trace.iter();
        put(&mut all, words_at, &mut values.map(|&value| bits(value)));
    }
    if stage == Stage::Decimate {
        let values = work.deconvolve.trace.iter();
        put(&mut all, bins_at, &mut values.map(|&value| bits(value)));
    }
    if stage >= Stage::ResidualBaseline {
        let values = work.residual_baseline.smooth.iter();
        put(&mut all, smooth_at, &mut values.map(|&value| bits(value)));
        let maxima = work.residual_baseline.block_max.iter();
        put(
            &mut all,
            blocks_at,
            &mut maxima.flat_map(|&max| [0, bits(max), 0, 0]),
        );
    }
    if stage >= Stage::HitFinding {
        all[Header::NFound as usize] = work.found.len() as u32;
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
            all[smooth_at + 2 * index] = bits(charge_pe);
            all[smooth_at + 2 * index + 1] = bits(sigma_pe);
        }
    }
    all
}
