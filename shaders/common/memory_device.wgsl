// A waveform's state between stages, in device memory: for transforms that do not fit a workgroup's memory, and for
// stages that run one by one. memory_workgroup.wgsl has the same functions over workgroup memory.
// The order of the parts is repeated in src/gpu/staged.rs, which a test holds against it.

@group(1) @binding(0) var<storage, read_write> state: array<u32>;

override WORDS_AT: u32 = 16u;
override BINS_AT: u32 = WORDS_AT + TRACE;
override SMOOTH_AT: u32 = BINS_AT + 2u * BINS;
override BLOCKS_AT: u32 = SMOOTH_AT + TRACE;
override REGIONS_AT: u32 = BLOCKS_AT + TRACE / 2u + 40u;
override STATE_WORDS: u32 = REGIONS_AT + TRACE / 2u + 8u;

var<private> state_at: u32;

fn memory_begin(slot: u32) {
    state_at = slot * STATE_WORDS;
}

// Waits for all threads, and makes what they wrote visible.
fn sync() {
    storageBarrier();
    workgroupBarrier();
}

fn word(index: u32) -> u32 {
    return state[state_at + WORDS_AT + index];
}

fn put_word(index: u32, value: u32) {
    state[state_at + WORDS_AT + index] = value;
}

fn bin(index: u32) -> vec2<u32> {
    let at = state_at + BINS_AT + 2u * index;
    return vec2<u32>(state[at], state[at + 1u]);
}

fn put_bin(index: u32, value: vec2<u32>) {
    let at = state_at + BINS_AT + 2u * index;
    state[at] = value.x;
    state[at + 1u] = value.y;
}

fn smooth_at(index: u32) -> f32 {
    return bitcast<f32>(state[state_at + SMOOTH_AT + index]);
}

fn put_smooth(index: u32, value: f32) {
    state[state_at + SMOOTH_AT + index] = bitcast<u32>(value);
}

fn block_at(index: u32) -> vec4<f32> {
    let at = state_at + BLOCKS_AT + 4u * index;
    return bitcast<vec4<f32>>(vec4<u32>(state[at], state[at + 1u], state[at + 2u], state[at + 3u]));
}

fn put_block(index: u32, value: vec4<f32>) {
    let at = state_at + BLOCKS_AT + 4u * index;
    let bits = bitcast<vec4<u32>>(value);
    state[at] = bits.x;
    state[at + 1u] = bits.y;
    state[at + 2u] = bits.z;
    state[at + 3u] = bits.w;
}

fn region_at(index: u32) -> u32 {
    return state[state_at + REGIONS_AT + index];
}

fn put_region(index: u32, value: u32) {
    state[state_at + REGIONS_AT + index] = value;
}

fn head(place: u32) -> u32 {
    return state[state_at + place];
}

fn put_head(place: u32, value: u32) {
    state[state_at + place] = value;
}
