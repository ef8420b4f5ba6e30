//! Times the GPU: its kernels alone, one batch with its transfers, and a stream of batches.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Instant;

use rayon::ThreadPool;

use super::cpu::Part;
use crate::error::Result;
use crate::extract::{Backend as _, BackendReport};
use crate::gpu::GpuExtractor;
use crate::gpu::comparison::stage_by_stage::StageByStage;
use crate::model::Batch;

/// Bytes that the copies of a batch have together, so that a stream comes from memory and not from the processor's caches.
const STREAM_BYTES: usize = 512 << 20;
/// Minimum and maximum number of copies.
const COPIES: (usize, usize) = (4, 16);
/// Maximum number of batches per pass.
const MAX_BATCHES: usize = 1024;

/// The amount of data streamed per pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent {
    /// Minimum time of a pass; filling and emptying the queue count, so a pass has to be long.
    pub pass_s: f64,
    /// Bytes that the copies of a batch have together, at least.
    pub copies_bytes: usize,
}

impl Extent {
    /// For results that are kept.
    pub const FULL: Self = Self {
        pass_s: 0.3,
        copies_bytes: STREAM_BYTES,
    };
    /// For a quick run.
    pub const SHORT: Self = Self {
        pass_s: 0.0,
        copies_bytes: 0,
    };
}

/// One batch at a time, in each repetition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OneBatch {
    /// From host memory to hits in host memory.
    pub whole_s: Vec<f64>,
    /// The kernels within, extraction and compaction; empty where the adapter has no timestamps.
    pub kernel_s: Vec<f64>,
}

/// Several batches in flight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// Time of a pass over its number of batches, in each repetition.
    pub batch_s: Vec<f64>,
    /// Time from submitting a batch to receiving its hits, of each batch of each repetition.
    pub latency_s: Vec<f64>,
    /// Batches of a pass.
    pub batches: usize,
}

/// Batches that are reused, so that cloning them is not timed.
struct Recycled<'a> {
    gpu: &'a GpuExtractor,
    pool: &'a ThreadPool,
    original: &'a Batch,
    ready: VecDeque<Batch>,
}

impl<'a> Recycled<'a> {
    fn new(
        pool: &'a ThreadPool,
        gpu: &'a GpuExtractor,
        original: &'a Batch,
        copies: usize,
    ) -> Self {
        Self {
            gpu,
            pool,
            original,
            ready: std::iter::repeat_n(original, copies).cloned().collect(),
        }
    }

    /// Streams `count` batches; returns the time it took and that of each batch.
    fn pass(&mut self, count: usize) -> Result<(f64, Vec<f64>)> {
        let (gpu, original) = (self.gpu, self.original);
        let ready = std::mem::take(&mut self.ready);
        let (ready, took_s, latency_s) = self.pool.install(move || {
            let ready = RefCell::new(ready);
            let handed_over = RefCell::new(VecDeque::new());
            let mut latency_s = Vec::with_capacity(count);
            let start = Instant::now();
            let mut batches = std::iter::repeat_with(|| {
                let prepared = ready.borrow_mut().pop_front();
                // Only the first pass can meet a backend that holds more batches than there are.
                let batch = prepared.unwrap_or_else(|| original.clone());
                handed_over.borrow_mut().push_back(Instant::now());
                batch
            })
            .take(count);
            gpu.run(&mut batches, &mut |batch, extracted| {
                drop(black_box(extracted));
                if let Some(since) = handed_over.borrow_mut().pop_front() {
                    latency_s.push(since.elapsed().as_secs_f64());
                }
                ready.borrow_mut().push_back(batch);
                Ok(true)
            })?;
            let took_s = start.elapsed().as_secs_f64();
            Ok::<_, crate::Error>((ready.into_inner(), took_s, latency_s))
        })?;
        self.ready = ready;
        Ok((took_s, latency_s))
    }
}

/// Times `repetitions` of `batch` one at a time, after two warm-up runs.
///
/// # Errors
/// If the backend fails.
pub fn one_batch(
    pool: &ThreadPool,
    gpu: &GpuExtractor,
    batch: &Batch,
    repetitions: usize,
) -> Result<OneBatch> {
    let mut recycled = Recycled::new(pool, gpu, batch, 1);
    for _ in 0..2 {
        recycled.pass(1)?;
    }
    let mut one = OneBatch::default();
    for _ in 0..repetitions {
        let before_s = kernel_s(gpu);
        one.whole_s.push(recycled.pass(1)?.0);
        let spent_s = kernel_s(gpu) - before_s;
        if spent_s > 0.0 {
            one.kernel_s.push(spent_s);
        }
    }
    Ok(one)
}

/// Times `repetitions` passes over many copies of `batch`, after one warm-up pass.
///
/// # Errors
/// If the backend fails.
pub fn stream(
    pool: &ThreadPool,
    gpu: &GpuExtractor,
    batch: &Batch,
    repetitions: usize,
    extent: Extent,
) -> Result<Stream> {
    let bytes = 2 * batch.samples().len().max(1);
    let copies = extent
        .copies_bytes
        .div_ceil(bytes)
        .clamp(COPIES.0, COPIES.1);
    let mut recycled = Recycled::new(pool, gpu, batch, copies);
    let (first_s, _) = recycled.pass(copies)?;
    let wanted = extent.pass_s / (first_s / copies as f64).max(1e-9);
    let mut stream = Stream {
        batches: (wanted.ceil() as usize).clamp(copies, MAX_BATCHES),
        ..Stream::default()
    };
    for _ in 0..repetitions {
        let (took_s, latency_s) = recycled.pass(stream.batches)?;
        stream.batch_s.push(took_s / stream.batches as f64);
        stream.latency_s.extend(latency_s);
    }
    Ok(stream)
}

/// Times each stage's kernel in each repetition, after one warm-up run; empty if the adapter has no timestamps.
/// The state lies in device memory between the stages, where the fused kernel keeps it in workgroup memory: the sum is
/// not the fused kernel's time.
///
/// # Errors
/// If the device fails.
pub fn stages(
    staged: &mut StageByStage<'_>,
    batch: &Batch,
    repetitions: usize,
) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    let waveforms = batch.len().max(1) as f64;
    for repetition in 0..=repetitions {
        let Some(times) = staged.time(batch)? else {
            return Ok(Vec::new());
        };
        if repetition == 0 {
            continue;
        }
        for (place, (stage, time)) in times.into_iter().enumerate() {
            if parts.len() <= place {
                parts.push(Part {
                    name: stage.name(),
                    waveform_ns: Vec::with_capacity(repetitions),
                });
            }
            if let Some(part) = parts.get_mut(place) {
                part.waveform_ns.push(time.as_secs_f64() * 1e9 / waveforms);
            }
        }
    }
    Ok(parts)
}

fn kernel_s(gpu: &GpuExtractor) -> f64 {
    gpu.report().map_or(0.0, |report| report.kernel_s)
}

/// Returns why results measured between two reports are not the GPU's own; `None` if they are.
#[must_use]
pub fn reservation(before: &BackendReport, after: &BackendReport) -> Option<String> {
    if after.device_failures > before.device_failures {
        return Some(format!(
            "the device failed {} times{}; the results of the GPU cannot be used",
            after.device_failures - before.device_failures,
            after
                .given_up
                .as_ref()
                .map_or_else(String::new, |why| format!(" and was given up: {why}"))
        ));
    }
    let on_gpu = after.on_gpu - before.on_gpu;
    let reasons: Vec<String> = after
        .on_cpu
        .iter()
        .filter_map(|(reason, &number)| {
            let new = number - before.on_cpu.get(reason).copied().unwrap_or_default();
            (new > 0).then(|| format!("{new} for {reason}"))
        })
        .collect();
    (!reasons.is_empty()).then(|| {
        format!(
            "the CPU did some of the GPU's waveforms ({}; {on_gpu} ran on the GPU)",
            reasons.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cpu_did_for_the_gpu_is_said() {
        let before = BackendReport::default();
        let mut after = BackendReport {
            on_gpu: 90,
            ..BackendReport::default()
        };
        assert_eq!(reservation(&before, &after), None);
        after.on_cpu.insert("more than 4096 samples".to_owned(), 10);
        let text = reservation(&before, &after).expect("ten waveforms");
        assert!(text.contains("10 for more than 4096 samples"), "{text}");
        assert!(text.contains("90 ran"), "{text}");
        assert_eq!(reservation(&after, &after.clone()), None);
        let mut failed = after.clone();
        failed.device_failures = 2;
        failed.given_up = Some("lost".to_owned());
        let text = reservation(&after, &failed).expect("it failed");
        assert!(
            text.contains("failed 2 times and was given up: lost"),
            "{text}"
        );
    }
}
