// A waveform's state between stages, in workgroup memory: the fast path.
// memory_device.wgsl has the same functions over device memory.

// Two raw samples a word; later the trace.
var<workgroup> sh_words: array<u32, TRACE + TRACE / 8u + 1u>;
// The transform; later the found hits.
var<workgroup> sh_bins: array<vec2<u32>, BINS + BINS / 8u>;
// The smoothed trace; later charges.
var<workgroup> sh_smooth: array<f32, TRACE + TRACE / 8u + 1u>;
// Mean and variance of the raw blocks; later sum, maximum, squares and count of the trace's.
var<workgroup> sh_blocks: array<vec4<f32>, TRACE / 8u + 10u>;
// First and last sample of each region over threshold.
var<workgroup> sh_regions: array<u32, TRACE / 2u + 1u>;
// Numbers of the whole waveform.
var<workgroup> sh_head: array<u32, 16>;

fn memory_begin(slot: u32) {}

// Waits for all threads, and makes what they wrote visible.
fn sync() {
    workgroupBarrier();
}

fn word(index: u32) -> u32 {
    return sh_words[padded(index)];
}

fn put_word(index: u32, value: u32) {
    sh_words[padded(index)] = value;
}

fn bin(index: u32) -> vec2<u32> {
    return sh_bins[padded(index)];
}

fn put_bin(index: u32, value: vec2<u32>) {
    sh_bins[padded(index)] = value;
}

fn smooth_at(index: u32) -> f32 {
    return sh_smooth[padded(index)];
}

fn put_smooth(index: u32, value: f32) {
    sh_smooth[padded(index)] = value;
}

fn block_at(index: u32) -> vec4<f32> {
    return sh_blocks[index];
}

fn put_block(index: u32, value: vec4<f32>) {
    sh_blocks[index] = value;
}

fn region_at(index: u32) -> u32 {
    return sh_regions[index];
}

fn put_region(index: u32, value: u32) {
    sh_regions[index] = value;
}

fn head(place: u32) -> u32 {
    return sh_head[place];
}

fn put_head(place: u32, value: u32) {
    sh_head[place] = value;
}
