// The state of a waveform between stages, in workgroup memory (the fast path).
// memory_device.wgsl has the same functions over device memory.

#import common/layout
#import generated/state

// For what each part holds in which stage see state.wgsl.
var<workgroup> sh_words: array<u32, TRACE + TRACE / 8u + 1u>;
var<workgroup> sh_bins: array<vec2<u32>, BINS + BINS / 8u>;
var<workgroup> sh_smooth: array<f32, TRACE + TRACE / 8u + 1u>;
var<workgroup> sh_blocks: array<vec4<f32>, TRACE / 8u + 10u>;
var<workgroup> sh_regions: array<u32, TRACE / 2u + 1u>;
var<workgroup> sh_header: array<u32, HEADER_WORDS>;

fn select_state(slot: u32) {}

// Waits for all threads and makes their writes visible.
fn sync() {
    workgroupBarrier();
}

fn word(index: u32) -> u32 {
    return sh_words[padded(index)];
}

fn write_word(index: u32, value: u32) {
    sh_words[padded(index)] = value;
}

fn bin(index: u32) -> vec2<u32> {
    return sh_bins[padded(index)];
}

fn write_bin(index: u32, value: vec2<u32>) {
    sh_bins[padded(index)] = value;
}

fn smoothed_at(index: u32) -> f32 {
    return sh_smooth[padded(index)];
}

fn write_smoothed(index: u32, value: f32) {
    sh_smooth[padded(index)] = value;
}

fn block_at(index: u32) -> vec4<f32> {
    return sh_blocks[index];
}

fn write_block(index: u32, value: vec4<f32>) {
    sh_blocks[index] = value;
}

fn region_at(index: u32) -> u32 {
    return sh_regions[index];
}

fn write_region(index: u32, value: u32) {
    sh_regions[index] = value;
}

fn header(offset: u32) -> u32 {
    return sh_header[offset];
}

fn write_header(offset: u32, value: u32) {
    sh_header[offset] = value;
}
