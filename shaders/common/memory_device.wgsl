// The state of a waveform between stages, in device memory: for transforms that do not fit workgroup memory, and for
// stages that run one by one. memory_workgroup.wgsl has the same functions over workgroup memory.
// Offsets come from the host.

#import generated/state_buffer

override WORDS_AT: u32;
override BINS_AT: u32;
override SMOOTH_AT: u32;
override BLOCKS_AT: u32;
override REGIONS_AT: u32;
override STATE_WORDS: u32;

var<private> state_at: u32;

fn select_state(slot: u32) {
    state_at = slot * STATE_WORDS;
}

// Waits for all threads and makes their writes visible.
fn sync() {
    storageBarrier();
    workgroupBarrier();
}

fn word(index: u32) -> u32 {
    return state[state_at + WORDS_AT + index];
}

fn write_word(index: u32, value: u32) {
    state[state_at + WORDS_AT + index] = value;
}

fn bin(index: u32) -> vec2<u32> {
    let first = state_at + BINS_AT + 2u * index;
    return vec2<u32>(state[first], state[first + 1u]);
}

fn write_bin(index: u32, value: vec2<u32>) {
    let first = state_at + BINS_AT + 2u * index;
    state[first] = value.x;
    state[first + 1u] = value.y;
}

fn smoothed_at(index: u32) -> f32 {
    return bitcast<f32>(state[state_at + SMOOTH_AT + index]);
}

fn write_smoothed(index: u32, value: f32) {
    state[state_at + SMOOTH_AT + index] = bitcast<u32>(value);
}

fn block_at(index: u32) -> vec4<f32> {
    let first = state_at + BLOCKS_AT + 4u * index;
    return bitcast<vec4<f32>>(vec4<u32>(state[first], state[first + 1u], state[first + 2u], state[first + 3u]));
}

fn write_block(index: u32, value: vec4<f32>) {
    let first = state_at + BLOCKS_AT + 4u * index;
    let bits = bitcast<vec4<u32>>(value);
    state[first] = bits.x;
    state[first + 1u] = bits.y;
    state[first + 2u] = bits.z;
    state[first + 3u] = bits.w;
}

fn region_at(index: u32) -> u32 {
    return state[state_at + REGIONS_AT + index];
}

fn write_region(index: u32, value: u32) {
    state[state_at + REGIONS_AT + index] = value;
}

fn header(offset: u32) -> u32 {
    return state[state_at + offset];
}

fn write_header(offset: u32, value: u32) {
    state[state_at + offset] = value;
}
