// Stage 1: copies the raw samples into the state, flags flat and saturated waveforms, sums blocks.
// Twin: src/extract/load_samples.rs. Samples are integers here, never NaN.

#import common/layout
#import common/prefix_sum
#import common/state
#import generated/extraction
#import generated/flags
#import generated/state
#import generated/waveforms
#import memory

// Index of the block size among 8, 16 and 32 samples.
fn block_class() -> u32 {
    return select(0u, 1u, length >= 80u) + select(0u, 1u, length >= 512u);
}

fn block_size() -> u32 {
    return 8u << block_class();
}

fn load_samples() {
    if is_leader() {
        atomicStore(&sh_atomics[0], 0xffffffffu);
        atomicStore(&sh_atomics[1], 0u);
        atomicStore(&sh_atomics[2], 0u);
        atomicStore(&sh_atomics[3], 0u);
    }
    workgroupBarrier();
    var lowest = 0xffffu;
    var highest = 0u;
    var n_low = 0u;
    var n_high = 0u;
    for (var index = lane; index < (length + 1u) / 2u; index += WIDTH) {
        let pair = samples[first_word + index];
        write_word(index, pair);
        let first = pair & 0xffffu;
        // The last sample of an odd number has no second one in its word.
        let second = select(first, pair >> 16u, 2u * index + 1u < length);
        lowest = min(lowest, min(first, second));
        highest = max(highest, max(first, second));
        n_low += select(0u, 1u, first < run.rail_low);
        n_high += select(0u, 1u, first >= run.rail_high);
        if 2u * index + 1u < length {
            n_low += select(0u, 1u, second < run.rail_low);
            n_high += select(0u, 1u, second >= run.rail_high);
        }
    }
    atomicMin(&sh_atomics[0], lowest);
    atomicMax(&sh_atomics[1], highest);
    if n_low > 0u {
        atomicAdd(&sh_atomics[2], n_low);
    }
    if n_high > 0u {
        atomicAdd(&sh_atomics[3], n_high);
    }
    sync();
    if is_leader() {
        var flags = 0u;
        if atomicLoad(&sh_atomics[0]) == atomicLoad(&sh_atomics[1]) {
            flags |= FLAT;
        }
        if atomicLoad(&sh_atomics[2]) >= MIN_SATURATED {
            flags |= SATURATED_LOW;
        }
        if atomicLoad(&sh_atomics[3]) >= MIN_SATURATED {
            flags |= SATURATED_HIGH;
        }
        write_header(HEADER_FLAGS, flags);
        write_header(HEADER_N_FOUND, 0u);
        // The results of a flat waveform.
        write_header_f32(HEADER_BASELINE, f32(sample_at(0u)));
        write_header_f32(HEADER_BASELINE_SIGMA, 0.0);
        write_header_f32(HEADER_MEASURED_NOISE, 0.0);
    }
    sum_raw_blocks();
    sync();
}

// Computes mean and variance of each whole block.
fn sum_raw_blocks() {
    let size = block_size();
    for (var block = lane; block < length / size; block += WIDTH) {
        let pivot = f32(sample_at(block * size));
        var sum = 0.0;
        var squares = 0.0;
        for (var index = 0u; index < size; index += 2u) {
            let pair = word((block * size + index) / 2u);
            let a = f32(pair & 0xffffu) - pivot;
            let b = f32(pair >> 16u) - pivot;
            sum += a + b;
            squares += a * a + b * b;
        }
        let share = 1.0 / f32(size);
        let variance = max((squares - sum * sum * share) * (1.0 / (f32(size) - 1.0)), 0.0);
        write_block(block, vec4<f32>(pivot + sum * share, variance, 0.0, 0.0));
    }
}
