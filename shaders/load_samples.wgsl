// Stage 1: raw samples into the waveform's state, flat and saturated waveforms flagged, blocks summed.
// Twin: src/extract/load_samples.rs. Counts are integers: nothing here can be NaN.

// Samples at a rail that make a waveform saturated.
const MIN_SATURATED: u32 = 2u;

// Place of the blocks' size among 8, 16 and 32 samples.
fn block_class() -> u32 {
    return select(0u, 1u, length >= 80u) + select(0u, 1u, length >= 512u);
}

fn block_size() -> u32 {
    return 8u << block_class();
}

fn sanity() {
    if lane == 0u {
        atomicStore(&sh_atomics[0], 0xffffffffu);
        atomicStore(&sh_atomics[1], 0u);
        atomicStore(&sh_atomics[2], 0u);
        atomicStore(&sh_atomics[3], 0u);
    }
    workgroupBarrier();
    var lowest = 0xffffu;
    var highest = 0u;
    var low = 0u;
    var high = 0u;
    for (var index = lane; index < (length + 1u) / 2u; index += WIDTH) {
        let pair = samples[first_word + index];
        put_word(index, pair);
        let first = pair & 0xffffu;
        // The last sample of an odd number has no partner.
        let second = select(first, pair >> 16u, 2u * index + 1u < length);
        lowest = min(lowest, min(first, second));
        highest = max(highest, max(first, second));
        low += select(0u, 1u, first < run.rail_low);
        high += select(0u, 1u, first >= run.rail_high);
        if 2u * index + 1u < length {
            low += select(0u, 1u, second < run.rail_low);
            high += select(0u, 1u, second >= run.rail_high);
        }
    }
    atomicMin(&sh_atomics[0], lowest);
    atomicMax(&sh_atomics[1], highest);
    if low > 0u {
        atomicAdd(&sh_atomics[2], low);
    }
    if high > 0u {
        atomicAdd(&sh_atomics[3], high);
    }
    sync();
    if lane == 0u {
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
        put_head(HEAD_FLAGS, flags);
        put_head(HEAD_N_FOUND, 0u);
        // What a flat waveform has, and keeps.
        put_head_f32(HEAD_BASELINE, f32(sample_at(0u)));
        put_head_f32(HEAD_BASELINE_SIGMA, 0.0);
        put_head_f32(HEAD_MEASURED_NOISE, 0.0);
    }
    sum_raw_blocks();
    sync();
}

// Mean and variance of each whole block.
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
        put_block(block, vec4<f32>(pivot + sum * share, variance, 0.0, 0.0));
    }
}
