// Typed access to the state of a waveform, in either kind of memory (memory_workgroup.wgsl, memory_device.wgsl).
//
// Parts of the state are used twice, one use after the other:
//
// | part | stages 1 to 3 | stages 4 to 6 | stages 7 and 8 |
// |---|---|---|---|
// | words | samples, two per word | deconvolved trace | the same |
// | bins | | transform | found hits |
// | smoothed | | smoothed trace, then hits per region | charges and their errors |
// | blocks | mean and variance of raw blocks | sums of the trace's blocks | |
// | regions | | regions over threshold | first seed of each hit |

#import memory

fn header_f32(offset: u32) -> f32 {
    return bitcast<f32>(header(offset));
}

fn write_header_f32(offset: u32, value: f32) {
    write_header(offset, bitcast<u32>(value));
}

fn sample_at(index: u32) -> u32 {
    return extractBits(word(index >> 1u), 16u * (index & 1u), 16u);
}

fn trace_at(index: u32) -> f32 {
    return bitcast<f32>(word(index));
}

fn write_trace(index: u32, value: f32) {
    write_word(index, bitcast<u32>(value));
}

// Sample `index` of the real series of the transform.
fn real_at(index: u32) -> f32 {
    let pair = bin(index >> 1u);
    return bitcast<f32>(select(pair.x, pair.y, (index & 1u) == 1u));
}

// A found hit: begin | end << 16, and peak with the bits of hit_finding.wgsl and charge.wgsl.
fn found_hit(hit: u32) -> vec2<u32> {
    return bin(hit);
}

fn write_found_hit(hit: u32, value: vec2<u32>) {
    write_bin(hit, value);
}

fn hit_charge(hit: u32) -> f32 {
    return smoothed_at(2u * hit);
}

fn hit_charge_sigma(hit: u32) -> f32 {
    return smoothed_at(2u * hit + 1u);
}

fn write_hit_charge(hit: u32, charge: f32, sigma: f32) {
    write_smoothed(2u * hit, charge);
    write_smoothed(2u * hit + 1u, sigma);
}

// Bits that are ordered as unsigned numbers as their values are.
fn to_ordered_bits(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn from_ordered_bits(bits: u32) -> f32 {
    return bitcast<f32>(select(~bits, bits ^ 0x80000000u, (bits & 0x80000000u) != 0u));
}
