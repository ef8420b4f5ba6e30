//! The buffers of a slot of the ring, and the bind groups over them.

use std::collections::HashMap;

use crate::gpu::device::Device;
use crate::gpu::failure::Failure;
use crate::gpu::kernels::bindings::{self, Access, BindGroup};
use crate::gpu::kernels::registry::compact::n_tiles;
use crate::gpu::kernels::shared_types::{Hit, Summary, Waveform};
use crate::gpu::template_tables::DeviceTables;

/// Distance between the uniform structs in the upload: every device allows it for dynamic offsets.
pub const UNIFORM_STEP: u64 = 256;
/// Bytes before the summaries in the read-back buffer: the number of hits, two timestamps.
pub const PREAMBLE: u64 = 32;

/// The buffers.
pub struct Buffers {
    /// The staging buffer that the host writes: parameters of the dispatches, size of the compaction, waveforms, samples, in this order.
    pub upload: wgpu::Buffer,
    /// The parameters of the dispatches, [`UNIFORM_STEP`] apart.
    pub runs: wgpu::Buffer,
    /// The size of the compaction.
    pub size: wgpu::Buffer,
    /// The waveforms.
    pub waveforms: wgpu::Buffer,
    /// Their samples.
    pub samples: wgpu::Buffer,
    /// One summary per waveform.
    pub summaries: wgpu::Buffer,
    /// The hits in the order in which workgroups finish.
    pub hits: wgpu::Buffer,
    /// The hits in the order of the waveforms.
    pub ordered_hits: wgpu::Buffer,
    /// The number of hits.
    pub n_hits: wgpu::Buffer,
    /// The number of hits before each tile of waveforms.
    pub tiles: wgpu::Buffer,
    /// When the kernels began and ended.
    pub stamps: wgpu::Buffer,
    /// The staging buffer that the host reads: number of hits, timestamps, summaries, hits.
    pub read_back: wgpu::Buffer,
    /// The state between stages, where it does not fit workgroup memory.
    pub state: Option<wgpu::Buffer>,
    /// The capacities.
    pub sizes: Sizes,
}

/// The capacities of the buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sizes {
    /// Dispatches.
    pub dispatches: u64,
    /// Waveforms.
    pub waveforms: u64,
    /// Words of samples.
    pub words: u64,
    /// Hits.
    pub hits: u64,
    /// Words of state.
    pub state_words: u64,
}

impl Sizes {
    /// Returns sizes that hold `needed` too, in powers of two.
    #[must_use]
    pub fn grown(self, needed: Self) -> Self {
        let grow = |have: u64, need: u64| {
            if need <= have {
                have
            } else {
                need.next_power_of_two()
            }
        };
        Self {
            dispatches: grow(self.dispatches, needed.dispatches),
            waveforms: grow(self.waveforms, needed.waveforms),
            words: grow(self.words, needed.words),
            hits: grow(self.hits, needed.hits),
            state_words: grow(self.state_words, needed.state_words),
        }
    }

    /// Returns the bytes of the dispatches' parameters in the upload.
    #[must_use]
    pub fn uniform_bytes(self) -> u64 {
        UNIFORM_STEP * self.dispatches
    }

    /// Returns the offset of the waveforms in the upload.
    #[must_use]
    pub fn waveforms_at(self) -> u64 {
        self.uniform_bytes() + UNIFORM_STEP
    }

    /// Returns the offset of the samples in the upload.
    #[must_use]
    pub fn samples_at(self) -> u64 {
        self.waveforms_at() + size_of::<Waveform>() as u64 * self.waveforms
    }

    /// Returns the bytes of the upload.
    #[must_use]
    pub fn upload_bytes(self) -> u64 {
        self.samples_at() + 4 * self.words
    }

    /// Returns the offset of the hits in the read-back buffer.
    #[must_use]
    pub fn hits_at(n_waveforms: u64) -> u64 {
        (PREAMBLE + size_of::<Summary>() as u64 * n_waveforms).next_multiple_of(16)
    }

    /// Returns the bytes that are read back at most.
    #[must_use]
    pub fn read_back_bytes(self) -> u64 {
        Self::hits_at(self.waveforms) + size_of::<Hit>() as u64 * self.hits
    }
}

/// Bind groups by name.
pub type BindGroups = HashMap<&'static str, wgpu::BindGroup>;

impl Buffers {
    /// Makes the buffers; the upload begins mapped.
    pub fn new(device: &Device, sizes: Sizes) -> Self {
        use wgpu::BufferUsages as Use;
        let make = |label, size: u64, usage, mapped_at_creation| {
            device.inner.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: size.next_multiple_of(16).max(64),
                usage,
                mapped_at_creation,
            })
        };
        let input = Use::STORAGE | Use::COPY_DST;
        let output = Use::STORAGE | Use::COPY_SRC;
        Self {
            upload: make(
                "upload",
                sizes.upload_bytes(),
                Use::MAP_WRITE | Use::COPY_SRC,
                true,
            ),
            runs: make(
                "runs",
                sizes.uniform_bytes(),
                Use::UNIFORM | Use::COPY_DST,
                false,
            ),
            size: make(
                "compaction size",
                UNIFORM_STEP,
                Use::UNIFORM | Use::COPY_DST,
                false,
            ),
            waveforms: make(
                "waveforms",
                size_of::<Waveform>() as u64 * sizes.waveforms,
                input,
                false,
            ),
            samples: make("samples", 4 * sizes.words, input, false),
            summaries: make(
                "summaries",
                size_of::<Summary>() as u64 * sizes.waveforms,
                output,
                false,
            ),
            hits: make(
                "hits",
                size_of::<Hit>() as u64 * sizes.hits,
                Use::STORAGE,
                false,
            ),
            ordered_hits: make(
                "ordered hits",
                size_of::<Hit>() as u64 * sizes.hits,
                output,
                false,
            ),
            n_hits: make("number of hits", 64, output | Use::COPY_DST, false),
            tiles: make(
                "tiles",
                4 * u64::from(n_tiles(sizes.waveforms as u32)),
                Use::STORAGE,
                false,
            ),
            stamps: make("stamps", 256, Use::QUERY_RESOLVE | Use::COPY_SRC, false),
            read_back: make(
                "read back",
                sizes.read_back_bytes(),
                Use::MAP_READ | Use::COPY_DST,
                false,
            ),
            state: (sizes.state_words > 0).then(|| {
                make(
                    "state",
                    4 * sizes.state_words,
                    output | Use::COPY_DST,
                    false,
                )
            }),
            sizes,
        }
    }

    /// Makes the bind groups over the buffers.
    ///
    /// # Errors
    /// If a bind group has a buffer that is not here, or no kernel with it was prepared.
    pub fn bind(&self, device: &Device, tables: &DeviceTables) -> Result<BindGroups, Failure> {
        let mut groups = vec![&bindings::WAVEFORMS, &bindings::COMPACTION];
        if self.state.is_some() {
            groups.push(&bindings::STATE);
        }
        groups
            .into_iter()
            .map(|group| Ok((group.name, self.bind_one(group, device, tables)?)))
            .collect()
    }

    fn bind_one(
        &self,
        group: &BindGroup,
        device: &Device,
        tables: &DeviceTables,
    ) -> Result<wgpu::BindGroup, Failure> {
        let missing = |what: &str| Failure::Refused(format!("no {what} for `{}`", group.name));
        let layout = device.layout(group).ok_or_else(|| missing("layout"))?;
        let entries = (0..)
            .zip(group.bindings)
            .map(|(number, binding)| {
                let buffer = self
                    .buffer(binding.name, tables)
                    .ok_or_else(|| missing(binding.name))?;
                let size = match binding.access {
                    Access::Uniform { bytes, .. } => wgpu::BufferSize::new(bytes as u64),
                    Access::Read | Access::ReadWrite => None,
                };
                Ok(wgpu::BindGroupEntry {
                    binding: number,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer,
                        offset: 0,
                        size,
                    }),
                })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        Ok(device.inner.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(group.name),
            layout,
            entries: &entries,
        }))
    }

    /// Returns the buffer of a name in the bind groups.
    fn buffer<'a>(&'a self, name: &str, tables: &'a DeviceTables) -> Option<&'a wgpu::Buffer> {
        Some(match name {
            "run" => &self.runs,
            "size" => &self.size,
            "waveforms" => &self.waveforms,
            "samples" => &self.samples,
            "plans" => &tables.plans,
            "spectra" => &tables.spectra,
            "tables" => &tables.tables,
            "twiddles" => &tables.twiddles,
            "summaries" => &self.summaries,
            "hits" => &self.hits,
            "ordered_hits" => &self.ordered_hits,
            "n_hits" => &self.n_hits,
            "tiles" => &self.tiles,
            "state" => return self.state.as_ref(),
            _ => return None,
        })
    }
}
