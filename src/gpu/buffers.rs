//! The buffers of one place of the ring, and the bind groups over them.

use super::device::{Device, n_tiles};
use super::layout::{Hit, Run, Summary, Waveform};
use super::template_tables::DeviceTables;

/// Distance of the uniform structs in the upload: what every device allows for dynamic offsets.
pub const UNIFORM_STEP: u64 = 256;
/// Bytes of what comes back before the summaries: the number of hits, two timestamps.
pub const PREAMBLE: u64 = 32;

/// The buffers.
pub struct Buffers {
    /// What the host writes: runs, count, waveforms, samples, in this order.
    pub upload: wgpu::Buffer,
    /// The runs of the dispatches, [`UNIFORM_STEP`] apart.
    pub uniforms: wgpu::Buffer,
    /// What the compaction has to know.
    pub count: wgpu::Buffer,
    /// The waveforms.
    pub waveforms: wgpu::Buffer,
    /// Their samples.
    pub samples: wgpu::Buffer,
    /// One a waveform.
    pub summaries: wgpu::Buffer,
    /// The hits as workgroups finish.
    pub found: wgpu::Buffer,
    /// The hits in the order of the waveforms.
    pub hits: wgpu::Buffer,
    /// Their number.
    pub n_hits: wgpu::Buffer,
    /// Hits before each tile of waveforms.
    pub tiles: wgpu::Buffer,
    /// When the kernels began and ended.
    pub stamps: wgpu::Buffer,
    /// What the host reads: number of hits, stamps, summaries, hits.
    pub read_back: wgpu::Buffer,
    /// State between stages, where it does not fit a workgroup's memory.
    pub state: Option<wgpu::Buffer>,
    /// What they have room for.
    pub sizes: Sizes,
}

/// What the buffers have room for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sizes {
    /// Dispatches of the extraction.
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
    /// Room for `needed` too, in powers of two.
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

    /// Bytes of the uniform structs in the upload.
    #[must_use]
    pub fn uniform_bytes(self) -> u64 {
        UNIFORM_STEP * self.dispatches
    }

    /// Where the waveforms begin in the upload.
    #[must_use]
    pub fn waveforms_at(self) -> u64 {
        self.uniform_bytes() + UNIFORM_STEP
    }

    /// Where the samples begin in the upload.
    #[must_use]
    pub fn samples_at(self) -> u64 {
        self.waveforms_at() + size_of::<Waveform>() as u64 * self.waveforms
    }

    /// Bytes of the upload.
    #[must_use]
    pub fn upload_bytes(self) -> u64 {
        self.samples_at() + 4 * self.words
    }

    /// Where the hits begin in what comes back.
    #[must_use]
    pub fn hits_at(n_waveforms: u64) -> u64 {
        (PREAMBLE + size_of::<Summary>() as u64 * n_waveforms).next_multiple_of(16)
    }

    /// Bytes of what comes back.
    #[must_use]
    pub fn read_back_bytes(self) -> u64 {
        Self::hits_at(self.waveforms) + size_of::<Hit>() as u64 * self.hits
    }
}

/// Bind groups of the extraction, the compaction, and the state.
pub type BindGroups = (wgpu::BindGroup, wgpu::BindGroup, Option<wgpu::BindGroup>);

impl Buffers {
    /// Makes them; the upload begins mapped.
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
        let onto = Use::STORAGE | Use::COPY_DST;
        let from = Use::STORAGE | Use::COPY_SRC;
        Self {
            upload: make(
                "upload",
                sizes.upload_bytes(),
                Use::MAP_WRITE | Use::COPY_SRC,
                true,
            ),
            uniforms: make(
                "runs",
                sizes.uniform_bytes(),
                Use::UNIFORM | Use::COPY_DST,
                false,
            ),
            count: make("count", UNIFORM_STEP, Use::UNIFORM | Use::COPY_DST, false),
            waveforms: make(
                "waveforms",
                size_of::<Waveform>() as u64 * sizes.waveforms,
                onto,
                false,
            ),
            samples: make("samples", 4 * sizes.words, onto, false),
            summaries: make(
                "summaries",
                size_of::<Summary>() as u64 * sizes.waveforms,
                from,
                false,
            ),
            found: make(
                "found hits",
                size_of::<Hit>() as u64 * sizes.hits,
                Use::STORAGE,
                false,
            ),
            hits: make("hits", size_of::<Hit>() as u64 * sizes.hits, from, false),
            n_hits: make("number of hits", 64, from | Use::COPY_DST, false),
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
            state: (sizes.state_words > 0)
                .then(|| make("state", 4 * sizes.state_words, from | Use::COPY_DST, false)),
            sizes,
        }
    }

    /// The bind groups of the extraction, the compaction, and the state where it is here.
    pub fn bind(&self, device: &Device, tables: &DeviceTables) -> BindGroups {
        let make = |label, layout, entries: &[wgpu::BindGroupEntry<'_>]| {
            device.inner.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(label),
                layout,
                entries,
            })
        };
        let one_run = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.uniforms,
            offset: 0,
            size: wgpu::BufferSize::new(size_of::<Run>() as u64),
        });
        let mut entries = vec![wgpu::BindGroupEntry {
            binding: 0,
            resource: one_run,
        }];
        entries.extend(numbered(
            1,
            &[
                &self.waveforms,
                &self.samples,
                &tables.plans,
                &tables.spectra,
                &tables.tables,
                &tables.roots,
                &self.summaries,
                &self.found,
                &self.n_hits,
            ],
        ));
        (
            make("extract", &device.extract_layout, &entries),
            make(
                "compact",
                &device.compact_layout,
                &numbered(
                    0,
                    &[
                        &self.count,
                        &self.summaries,
                        &self.found,
                        &self.tiles,
                        &self.hits,
                    ],
                ),
            ),
            self.state
                .as_ref()
                .map(|state| make("state", &device.state_layout, &numbered(0, &[state]))),
        )
    }
}

fn numbered<'a>(first: u32, buffers: &[&'a wgpu::Buffer]) -> Vec<wgpu::BindGroupEntry<'a>> {
    buffers
        .iter()
        .zip(first..)
        .map(|(buffer, binding)| wgpu::BindGroupEntry {
            binding,
            resource: buffer.as_entire_binding(),
        })
        .collect()
}
