// First test for a baseline that moves. Twin: is_suspect in src/extract/deconvolution/moving_baseline.rs.
// A suspect waveform is left to the CPU, which decides and follows the baseline.

#import common/layout
#import common/state
#import deconvolution/residual_baseline
#import generated/extraction
#import generated/flags
#import generated/state
#import generated/waveforms
#import memory

// Samples per block, blocks per group, first inner block and one past the last.
struct Blocks {
    size: u32,
    group: u32,
    first: u32,
    last: u32,
}

fn blocks_of_trace() -> Blocks {
    let count = trace_length();
    let is_short = f32(BLOCK) * plans[plan].step_ns > MAX_BLOCK_SIGMA * plans[plan].kernel_sigma_ns || count < MIN_LONG_TRACE;
    let size = select(BLOCK, BLOCK / 2u, is_short);
    let inner = inner_blocks_of(size);
    return Blocks(size, GROUP_SAMPLES / size, inner.x, inner.y);
}

// Standard deviation of the mean of `count` neighbouring blocks.
fn mean_sigma(size: u32, count: u32, noise_adc: f32) -> f32 {
    let samples = count * size;
    return plans[plan].baseline_noise_ratio * charge_noise_at(samples) * noise_adc / (f32(samples) * plans[plan].step_ns);
}

fn block_mean(size: u32, block: u32) -> f32 {
    if size == BLOCK {
        return 0.125 * block_at(block).x;
    }
    let first = block * size;
    return 0.25 * (((trace_at(first) + trace_at(first + 1u)) + trace_at(first + 2u)) + trace_at(first + 3u));
}

// Mean, lowest and highest block of a group.
fn group_of(size: u32, first: u32, count: u32) -> vec3<f32> {
    let begin = block_mean(size, first);
    var sum = begin;
    var low = begin;
    var high = begin;
    for (var block = 1u; block < count; block++) {
        let mean = block_mean(size, first + block);
        sum += mean;
        low = min(low, mean);
        high = max(high, mean);
    }
    return vec3<f32>(sum / f32(count), low, high);
}

// True if all blocks of a group are above the level, and too low or too even for light.
fn is_level(group: vec3<f32>, block_sigma: f32) -> bool {
    // Light that is higher is grainy.
    let is_flat = group.z - group.y < SUSPECT_FLAT_SHARE * group.x;
    return group.y > SUSPECT_ALL_ABOVE * block_sigma && (group.z < CERTAIN_LIGHT * block_sigma || is_flat);
}

// True if the blocks of the trace do not obviously agree on the level that was subtracted. `sample_noise_adc` is the calibrated noise.
fn is_suspect(sample_noise_adc: f32) -> bool {
    let blocks = blocks_of_trace();
    let measured = header_f32(HEADER_MEASURED_NOISE) / max(sample_noise_adc, MIN_POSITIVE);
    let noise_adc = sample_noise_adc * clamp(measured, 1.0, MAX_NOISE_RATIO);
    let block_sigma = mean_sigma(blocks.size, 1u, noise_adc);
    if is_leader() {
        atomicStore(&sh_atomics[0], 0u);
        atomicStore(&sh_atomics[1], 0u);
    }
    workgroupBarrier();
    let count = blocks.last - blocks.first;
    var n_quiet = 0u;
    var suspect = false;
    for (var block = blocks.first + lane; block < blocks.last; block += WIDTH) {
        let mean = block_mean(blocks.size, block);
        suspect = suspect || mean < -SUSPECT_BLOCK_BELOW * block_sigma;
        n_quiet += select(0u, 1u, abs(mean) < QUIET_BLOCK * block_sigma);
    }
    let group_sigma = mean_sigma(blocks.size, blocks.group, noise_adc);
    let light = CERTAIN_LIGHT * block_sigma;
    for (var group = lane; group < count / blocks.group; group += WIDTH) {
        let first = blocks.first + group * blocks.group;
        let own = group_of(blocks.size, first, blocks.group);
        suspect = suspect || own.x < -SUSPECT_GROUP_BELOW * group_sigma
            || is_level(own, block_sigma);
        if group > 0u {
            let before = group_of(blocks.size, first - blocks.group, blocks.group);
            let limit = SUSPECT_PAIR * group_sigma;
            suspect = suspect || (own.x < -limit && before.x < -limit)
                || (own.x > limit && own.z < light && before.x > limit && before.z < light);
        }
    }
    if is_leader() && count > 0u {
        let size = min(blocks.group, count);
        let end = group_of(blocks.size, blocks.last - size, size);
        suspect = suspect || is_level(end, block_sigma);
    }
    if n_quiet > 0u {
        atomicAdd(&sh_atomics[0], n_quiet);
    }
    if suspect {
        atomicMax(&sh_atomics[1], 1u);
    }
    workgroupBarrier();
    let is_quiet = f32(atomicLoad(&sh_atomics[0])) >= MIN_QUIET_SHARE * f32(count);
    return count > 0u && block_sigma > 0.0 && (atomicLoad(&sh_atomics[1]) != 0u || !is_quiet);
}

// Leaves the waveform to the CPU if its baseline may move.
fn test_baseline(sample_noise_adc: f32) {
    let suspect = is_suspect(sample_noise_adc);
    if is_leader() {
        let flags = header(HEADER_FLAGS);
        if suspect && (flags & (SATURATED_LOW | SATURATED_HIGH)) == 0u {
            write_header(HEADER_FLAGS, flags | LEFT_TO_CPU);
        }
    }
    sync();
}
