//! Decides which waveforms of a batch go to the GPU, with which plan and kernels, and which go to the CPU, and why.

use std::collections::HashMap;

use rayon::prelude::*;

use super::device::Device;
use super::kernels::numbers::MAX_BINS;
use super::kernels::registry::Sequence;
use super::kernels::shared_types::Waveform;
use super::template_tables::TemplateTables;
use super::transfer::chunk::{Chunk, CpuReason, KernelGroup};
use crate::extract::Extractor;
use crate::model::{Batch, Samples};
use crate::threads::in_pool;

/// Samples of the longest waveform that the kernels take.
pub const MAX_GPU_SAMPLES: usize = 4096;

/// A waveform of a group.
struct Member {
    /// Index in the batch.
    index: u32,
    /// Number of samples.
    length: u32,
    /// Index of the plan.
    plan: u32,
}

/// The index of a plan, and the kernels.
type Route = (u32, Sequence);

/// Finds the routes of waveforms, and remembers them by calibration row and length.
#[derive(Default)]
pub struct Router {
    routes: HashMap<(usize, usize), Result<Route, CpuReason>>,
}

impl Router {
    /// Returns the waveforms `begin..end` of a batch as a chunk, with their routes.
    pub fn route(
        &mut self,
        extractor: &Extractor,
        tables: &mut TemplateTables,
        device: &Device,
        batch: &Batch,
        begin: usize,
        end: usize,
    ) -> Chunk {
        let mut chunk = Chunk {
            begin,
            end,
            ..Chunk::default()
        };
        let mut groups: Vec<(Sequence, Vec<Member>)> = Vec::new();
        let mut last = None;
        let mut prepared = false;
        for index in begin..end {
            let channel_id = batch.channel_id()[index];
            let length = batch.offsets()[index + 1] - batch.offsets()[index];
            // Consecutive waveforms are often alike.
            let route = match last {
                Some((channel, samples, route)) if (channel, samples) == (channel_id, length) => {
                    route
                }
                _ => {
                    if !prepared && self.is_new(extractor, batch, channel_id, length) {
                        self.prepare_plans(extractor, batch, index, end);
                        prepared = true;
                    }
                    self.find_route(extractor, tables, device, batch, channel_id, length)
                }
            };
            last = Some((channel_id, length, route));
            match route {
                Err(reason) => chunk.on_cpu.push((index as u32, reason)),
                Ok((plan, sequence)) => {
                    let found = groups.iter().position(|(other, _)| *other == sequence);
                    let group = found.unwrap_or_else(|| {
                        groups.push((sequence, Vec::with_capacity(end - begin)));
                        groups.len() - 1
                    });
                    groups[group].1.push(Member {
                        index: index as u32,
                        length: length as u32,
                        plan,
                    });
                }
            }
        }
        for (sequence, members) in groups {
            chunk.groups.push(KernelGroup {
                sequence,
                first: chunk.waveforms.len() as u32,
                count: members.len() as u32,
            });
            for Member {
                index,
                length,
                plan,
            } in members
            {
                // Waveforms for the CPU have no summary on the device.
                let left_out = chunk.on_cpu.partition_point(|&(other, _)| other < index);
                chunk.waveforms.push(Waveform {
                    first_word: chunk.words,
                    length,
                    plan,
                    index: index - begin as u32 - left_out as u32,
                });
                chunk.indices.push(index);
                chunk.words += length.div_ceil(2);
            }
        }
        chunk
    }

    /// Returns true if waveforms of this channel and length need a plan and have no route yet.
    fn is_new(&self, extractor: &Extractor, batch: &Batch, channel_id: u32, length: usize) -> bool {
        let method = extractor.parameters().method;
        method.deconvolves()
            && length <= MAX_GPU_SAMPLES
            && matches!(batch.samples(), Samples::U16(_))
            && extractor
                .calibration()
                .row_of(channel_id)
                .is_some_and(|(row, _)| !self.routes.contains_key(&(row, length)))
    }

    /// Makes the plans that waveforms `begin..end` need, by all threads: a plan takes a hundred transforms, and a detector may have
    /// one for each of thousands of channels.
    fn prepare_plans(&self, extractor: &Extractor, batch: &Batch, begin: usize, end: usize) {
        let mut new: Vec<(usize, usize)> = (begin..end)
            .filter_map(|index| {
                let channel_id = batch.channel_id()[index];
                let length = batch.offsets()[index + 1] - batch.offsets()[index];
                self.is_new(extractor, batch, channel_id, length)
                    .then(|| extractor.calibration().row_of(channel_id))
                    .flatten()
                    .map(|(row, _)| (extractor.channel(row).shared_row, length))
            })
            .collect();
        new.sort_unstable();
        new.dedup();
        in_pool(|| {
            new.into_par_iter()
                .filter(|&(row, length)| {
                    extractor.channel(row).design.n_fft(length) <= 2 * MAX_BINS
                })
                .for_each(|(row, length)| drop(extractor.plan(row, length)));
        });
    }

    fn find_route(
        &mut self,
        extractor: &Extractor,
        tables: &mut TemplateTables,
        device: &Device,
        batch: &Batch,
        channel_id: u32,
        length: usize,
    ) -> Result<Route, CpuReason> {
        if matches!(batch.samples(), Samples::F32(_)) {
            return Err(CpuReason::Floats);
        }
        if length > MAX_GPU_SAMPLES {
            return Err(CpuReason::Long);
        }
        let Some((row, _)) = extractor.calibration().row_of(channel_id) else {
            return Err(CpuReason::Uncalibrated);
        };
        if let Some(route) = self.routes.get(&(row, length)) {
            return *route;
        }
        let route = new_route(extractor, tables, device, row, length);
        self.routes.insert((row, length), route);
        route
    }
}

fn new_route(
    extractor: &Extractor,
    tables: &mut TemplateTables,
    device: &Device,
    row: usize,
    length: usize,
) -> Result<Route, CpuReason> {
    let method = extractor.parameters().method;
    let channel = extractor.channel(row);
    if !Sequence::is_supported(method, length, &device.target) {
        return Err(CpuReason::LargeFit);
    }
    let (plan, n_fft, decimation) = if method.deconvolves() {
        let n_fft = channel.design.n_fft(length);
        if n_fft > 2 * MAX_BINS {
            return Err(CpuReason::Transform);
        }
        let key = (channel.shared_row, n_fft);
        let plan = tables.get(key).or_else(|| {
            let binding_bytes = device.inner.limits().max_storage_buffer_binding_size;
            let plan = extractor.plan(row, length);
            tables.add_plan(
                key,
                extractor.channel(channel.shared_row),
                &plan,
                method.fits().then(|| extractor.template(row)),
                binding_bytes,
            )
        });
        (plan, n_fft, channel.design.decimation)
    } else {
        // The method's numbers do not depend on the length.
        let key = (row, 0);
        let plan = tables
            .get(key)
            .unwrap_or_else(|| tables.add_pulse(key, channel));
        (Some(plan), 0, 1)
    };
    let plan = plan.ok_or(CpuReason::Tables)?;
    let sequence = Sequence::new(method, length, decimation, n_fft, &device.target);
    Ok((plan, sequence))
}
