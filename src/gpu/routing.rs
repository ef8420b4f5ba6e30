//! Which waveforms of a batch go to the GPU, with which plan and kernel, and which to the CPU, and why.

use std::collections::HashMap;

use rayon::prelude::*;

use super::device::Device;
use super::dispatch::KernelGroup;
use super::layout::Waveform;
use super::shaders::{Fit, Variant};
use super::template_tables::{MAX_BINS, TemplateTables};
use crate::extract::Extractor;
use crate::model::{Batch, Samples};
use crate::threads::in_pool;

/// Longest waveform that the kernels take.
pub const MAX_GPU_SAMPLES: usize = 4096;

/// Why waveforms go to the CPU though there is a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CpuReason {
    /// They have more than [`MAX_GPU_SAMPLES`] samples.
    Long,
    /// Their template needs a longer transform than the kernels have.
    Transform,
    /// Their samples are not 16-bit counts.
    Floats,
    /// Their templates do not fit the adapter's bindings.
    Tables,
    /// No calibration: there is nothing to compute.
    Uncalibrated,
    /// Their fit does not fit the adapter's workgroups.
    LargeFit,
    /// Their fit has more photoelectrons than its kernel holds or takes more steps than it may, which it finds out on its route.
    TooManyPulses,
}

impl CpuReason {
    /// As reports have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Long => "more than 4096 samples",
            Self::Transform => "a transform of more than 8192 samples",
            Self::Floats => "samples that are not 16-bit counts",
            Self::Tables => "templates that do not fit the adapter's bindings",
            Self::Uncalibrated => "no calibration",
            Self::TooManyPulses => "a fit of more photoelectrons or steps than the kernel holds",
            Self::LargeFit => "a fit that needs larger workgroup memory",
        }
    }
}

/// A part of a batch, ready to go up.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Its waveforms in the batch.
    pub begin: usize,
    /// One past its last waveform.
    pub end: usize,
    /// Those for the GPU, grouped by kernel.
    pub waveforms: Vec<Waveform>,
    /// Their places in the batch.
    pub places: Vec<u32>,
    /// The groups.
    pub groups: Vec<KernelGroup>,
    /// Words of samples they have.
    pub words: u32,
    /// Places in the batch of those for the CPU.
    pub on_cpu: Vec<(u32, CpuReason)>,
}

/// A waveform of a group: its place in the batch, its samples, its plan.
struct Member {
    place: u32,
    length: u32,
    plan: u32,
}

/// A plan, and the kernels.
type Route = (u32, Variant, Option<Fit>);

/// The kernel of the extraction, and that of the fit behind it.
type Kernels = (Variant, Option<Fit>);

/// Finds the route of waveforms; remembers it by calibration row and length.
#[derive(Default)]
pub struct Router {
    routes: HashMap<(usize, usize), Result<Route, CpuReason>>,
}

impl Router {
    /// The ways of the waveforms `begin..end` of a batch.
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
        let mut kernels: Vec<(Kernels, Vec<Member>)> = Vec::new();
        let mut last = None;
        let mut prepared = false;
        for place in begin..end {
            let channel_id = batch.channel_id()[place];
            let length = batch.offsets()[place + 1] - batch.offsets()[place];
            // Neighbours are often alike.
            let route = match last {
                Some((channel, samples, route)) if (channel, samples) == (channel_id, length) => {
                    route
                }
                _ => {
                    if !prepared && self.is_new(extractor, batch, channel_id, length) {
                        self.prepare_plans(extractor, batch, place, end);
                        prepared = true;
                    }
                    self.find_route(extractor, tables, device, batch, channel_id, length)
                }
            };
            last = Some((channel_id, length, route));
            match route {
                Err(reason) => chunk.on_cpu.push((place as u32, reason)),
                Ok((plan, variant, fit)) => {
                    let wanted = (variant, fit);
                    let known = kernels.iter().position(|(kernel, _)| *kernel == wanted);
                    let kernel = known.unwrap_or_else(|| {
                        kernels.push((wanted, Vec::with_capacity(end - begin)));
                        kernels.len() - 1
                    });
                    kernels[kernel].1.push(Member {
                        place: place as u32,
                        length: length as u32,
                        plan,
                    });
                }
            }
        }
        for ((variant, fit), members) in kernels {
            chunk.groups.push(KernelGroup {
                variant,
                fit,
                first: chunk.waveforms.len() as u32,
                count: members.len() as u32,
            });
            for Member {
                place,
                length,
                plan,
            } in members
            {
                // Those for the CPU have no place among the device's results.
                let left_out = chunk.on_cpu.partition_point(|&(other, _)| other < place);
                chunk.waveforms.push(Waveform {
                    first_word: chunk.words,
                    length,
                    plan,
                    index: place - begin as u32 - left_out as u32,
                });
                chunk.places.push(place);
                chunk.words += length.div_ceil(2);
            }
        }
        chunk
    }

    /// True if nothing is known yet of waveforms like this that need a plan.
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

    /// Has all threads make the plans that waveforms `begin..end` need first: a plan takes a hundred transforms, and a detector
    /// may have one for each of thousands of channels.
    fn prepare_plans(&self, extractor: &Extractor, batch: &Batch, begin: usize, end: usize) {
        let mut new: Vec<(usize, usize)> = (begin..end)
            .filter_map(|place| {
                let channel_id = batch.channel_id()[place];
                let length = batch.offsets()[place + 1] - batch.offsets()[place];
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
                .for_each(|(row, length)| drop(extractor.plan(row, length)))
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
    let fit = if method.fits() {
        let fit = Fit::of(length);
        Some(
            device
                .holds(fit)
                .then_some(fit)
                .ok_or(CpuReason::LargeFit)?,
        )
    } else {
        None
    };
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
    let mut variant = Variant::new(method, length, decimation, n_fft);
    variant.memory = device.memory_for(variant);
    variant.subgroups = device.subgroups;
    Ok((plan, variant, fit))
}
