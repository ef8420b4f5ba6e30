// Access to a waveform's state by what it means, over either kind of memory.

// Places in the head: what a stage leaves for the ones behind it.
const HEAD_FLAGS: u32 = 0u;
const HEAD_LEVEL: u32 = 1u;
const HEAD_MEASURED_NOISE: u32 = 2u;
// Noise of a sample as used: first the calibration's, behind the floor what the trace shows.
const HEAD_NOISE: u32 = 3u;
const HEAD_BASELINE: u32 = 4u;
const HEAD_BASELINE_SIGMA: u32 = 5u;
const HEAD_THRESHOLD: u32 = 6u;
const HEAD_N_FOUND: u32 = 7u;

fn head_f32(place: u32) -> f32 {
    return bitcast<f32>(head(place));
}

fn put_head_f32(place: u32, value: f32) {
    put_head(place, bitcast<u32>(value));
}

fn sample_at(index: u32) -> u32 {
    return extractBits(word(index >> 1u), 16u * (index & 1u), 16u);
}

fn trace_at(index: u32) -> f32 {
    return bitcast<f32>(word(index));
}

fn put_trace(index: u32, value: f32) {
    put_word(index, bitcast<u32>(value));
}

// Sample `index` of the transform's real series.
fn real_at(index: u32) -> f32 {
    let pair = bin(index >> 1u);
    return bitcast<f32>(select(pair.x, pair.y, (index & 1u) == 1u));
}

// Bits whose unsigned order is the order of the numbers.
fn ordered(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn from_ordered(bits: u32) -> f32 {
    return bitcast<f32>(select(~bits, bits ^ 0x80000000u, (bits & 0x80000000u) != 0u));
}
