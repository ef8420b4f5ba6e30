//! Measures the bandwidth of an adapter's memory and of its connection to the host: the upper limits of the throughput.

use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::Serialize;

use super::adapter::Adapter;
use super::device::{Device, wait};
use super::failure::Failure;
use crate::error::{Error, ErrorKind, Hint, Result};
use crate::threads::in_pool;

/// Time after which a copy counts as hung.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// Bytes per task.
const TASK: usize = 1 << 20;

/// Measured rates, in GB/s (10^9 bytes a second).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bandwidth {
    /// Bytes per copy.
    pub bytes: u64,
    /// From host memory to the mapped staging buffer, by all threads of the pool.
    pub staging_gb_s: f64,
    /// From the staging buffer to device memory: over PCIe, where the adapter is connected by it.
    pub upload_gb_s: f64,
    /// From device memory to the staging buffer.
    pub read_back_gb_s: f64,
    /// Within device memory; bytes read and bytes written are both counted.
    pub device_gb_s: f64,
}

/// Measures copies of `bytes`: the median of `repetitions` each, after one for warming up.
///
/// # Errors
/// If the adapter gives no device or no memory ([`ErrorKind::Gpu`]).
pub fn measure(adapter: &Adapter, bytes: u64, repetitions: usize) -> Result<Bandwidth> {
    measured(adapter, bytes, repetitions.max(1)).map_err(|failure| {
        Error::new(
            ErrorKind::Gpu,
            format!("the bandwidth of `{}`: {failure}", adapter.info.name),
        )
        .with_hint(Hint::UseCpu)
    })
}

fn measured(
    adapter: &Adapter,
    bytes: u64,
    repetitions: usize,
) -> std::result::Result<Bandwidth, Failure> {
    use wgpu::BufferUsages as Use;
    let device = Device::open(adapter, TIME_LIMIT)?;
    let bytes = bytes.min(adapter.info.buffer_bytes / 4).max(1 << 16) & !0xff;
    let make = |usage, mapped_at_creation| {
        device.inner.create_buffer(&wgpu::BufferDescriptor {
            label: Some("bandwidth"),
            size: bytes,
            usage,
            mapped_at_creation,
        })
    };
    let upload = make(Use::MAP_WRITE | Use::COPY_SRC, true);
    let read_back = make(Use::MAP_READ | Use::COPY_DST, false);
    let [one, other] = [(); 2].map(|()| make(Use::COPY_SRC | Use::COPY_DST, false));
    device.health.check()?;
    let source: Vec<u8> = (0..bytes).map(|byte| byte as u8).collect();
    let staging = rate(bytes, repetitions, || {
        in_pool(|| {
            source
                .par_chunks(TASK)
                .enumerate()
                .try_for_each(|(task, chunk)| {
                    let at = (task * TASK) as u64;
                    upload
                        .get_mapped_range_mut(at..at + chunk.len() as u64)
                        .map_err(|error| Failure::Lost(error.to_string()))?
                        .copy_from_slice(chunk);
                    Ok(())
                })
        })
    })?;
    upload.unmap();
    let copy = |from: &wgpu::Buffer, to: &wgpu::Buffer| {
        rate(bytes, repetitions, || {
            let mut encoder = device
                .inner
                .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(from, 0, to, 0, bytes);
            let submission = device.queue.submit([encoder.finish()]);
            // Nothing else polls this device.
            wait(&device.inner, submission, TIME_LIMIT)?;
            device.health.check()
        })
    };
    Ok(Bandwidth {
        bytes,
        staging_gb_s: staging,
        upload_gb_s: copy(&upload, &one)?,
        read_back_gb_s: copy(&one, &read_back)?,
        device_gb_s: 2.0 * copy(&one, &other)?,
    })
}

/// Returns the median rate of `action`, which copies `bytes`.
fn rate(
    bytes: u64,
    repetitions: usize,
    mut action: impl FnMut() -> std::result::Result<(), Failure>,
) -> std::result::Result<f64, Failure> {
    action()?;
    let mut times = Vec::with_capacity(repetitions);
    for _ in 0..repetitions {
        let start = Instant::now();
        action()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(bytes as f64 / times[times.len() / 2].max(1e-9) / 1e9)
}
