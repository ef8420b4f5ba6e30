// Stage 5: residual baseline and noise, from the deconvolved trace.
// Twins: src/extract/deconvolution/residual_baseline.rs and trace_blocks.rs.

#import common/layout
#import common/prefix_sum
#import common/state
#import generated/extraction
#import generated/flags
#import generated/state
#import generated/waveforms
#import memory

const MIN_POSITIVE: f32 = 1.17549435e-38;

// Sums over unlit blocks: half h and quantity q are at 5 h + q; eight lanes each, then their totals.
var<workgroup> sh_unlit: array<f32, 80>;
var<workgroup> sh_halves: array<f32, 10>;

// First block, and one past the last, that light just outside the window does not reach.
fn inner_blocks() -> vec2<u32> {
    return inner_blocks_of(BLOCK);
}

fn inner_blocks_of(size: u32) -> vec2<u32> {
    let margin = plans[plan].margin;
    let count = trace_length();
    let first = (margin + size - 1u) / size;
    let last = (max(count, margin) - margin) / size;
    return vec2<u32>(first, max(min(last, plans[plan].n_block_response * BLOCK / size), first));
}

fn is_long() -> bool {
    let inner = inner_blocks();
    return inner.y - inner.x >= MIN_LONG_BLOCKS;
}

fn charge_noise_at(width: u32) -> f32 {
    if width < plans[plan].n_charge_noise {
        return tables[plans[plan].charge_noise_at + width];
    }
    return 0.0;
}

fn smooth_noise(noise_adc: f32) -> f32 {
    let width = plans[plan].smoothing;
    return charge_noise_at(width) * noise_adc / (f32(width) * plans[plan].step_ns);
}

fn sum_noise(width: u32, noise_adc: f32) -> f32 {
    return charge_noise_at(width) / plans[plan].step_ns * noise_adc;
}

fn response_at(index: u32) -> f32 {
    return tables[plans[plan].response_at + index];
}

fn block_response_at(block: u32) -> f32 {
    return tables[plans[plan].block_response_at + block];
}

// Eight samples added as a tree.
fn trace_block_sum(block: u32) -> f32 {
    let first = block * BLOCK;
    let a = (trace_at(first) + trace_at(first + 4u)) + (trace_at(first + 2u) + trace_at(first + 6u));
    let b = (trace_at(first + 1u) + trace_at(first + 5u)) + (trace_at(first + 3u) + trace_at(first + 7u));
    return a + b;
}

fn estimate_residual_baseline() {
    let count = trace_length();
    let inner = inner_blocks();
    let noise_adc = header_f32(HEADER_NOISE);
    let sigma = smooth_noise(noise_adc);
    var start = 0.0;
    if is_long() {
        start = low_level(inner, noise_adc);
    }
    if start != 0.0 {
        for (var index = lane; index < count; index += WIDTH) {
            write_trace(index, trace_at(index) - start * response_at(index));
        }
        sync();
    }
    smooth_trace(count);
    sync();
    sum_trace_blocks(count);
    sync();

    var level = 0.0;
    var noise = sigma;
    var is_converging = inner.y > inner.x;
    let middle = block_response_at((inner.x + max(inner.y, 1u) - 1u) / 2u);
    let mean_response = middle / f32(BLOCK);
    for (var pass_ = 0u; pass_ < 3u; pass_++) {
        // All threads have the same numbers; the broadcast makes control flow uniform for the compiler.
        if broadcast(select(0u, 1u, is_converging)) == 0u {
            break;
        }
        sum_unlit(inner, level * mean_response + LIT_SIGMA * noise);
        let blocks = sh_halves[0] + sh_halves[5];
        if blocks == 0.0 {
            is_converging = false;
            continue;
        }
        let level_before = level;
        let noise_before = noise;
        level = (sh_halves[1] + sh_halves[6]) / (sh_halves[2] + sh_halves[7]);
        let below = sh_halves[3] + sh_halves[8];
        var measured = 0.0;
        if below >= MIN_NOISE_SAMPLES {
            measured = sqrt((sh_halves[4] + sh_halves[9]) / below);
        }
        noise = max(measured, sigma);
        if sigma > 0.0 {
            noise = min(noise, MAX_NOISE_RATIO * sigma);
        }
        is_converging = !(abs(level - level_before) * mean_response < 0.1 * noise && noise < 1.2 * noise_before);
    }
    finish_residual_baseline(count, inner, start, level, noise, sigma, noise_adc, middle);
}

fn finish_residual_baseline(
    count: u32,
    inner: vec2<u32>,
    start: f32,
    level: f32,
    noise: f32,
    sigma: f32,
    noise_adc: f32,
    middle: f32,
) {
    var unstable = true;
    var sigma_adc = noise_adc;
    var ratio = 1.0;
    if inner.y > inner.x {
        let n_unlit = sh_halves[0] + sh_halves[5];
        unstable = n_unlit < MIN_UNLIT_BLOCKS;
        if n_unlit > 0.0 && level != 0.0 {
            for (var index = lane; index < count; index += WIDTH) {
                let share = level * response_at(index);
                write_trace(index, trace_at(index) - share);
                write_smoothed(index, smoothed_at(index) - share);
            }
            for (var block = lane; block < (count + BLOCK - 1u) / BLOCK; block += WIDTH) {
                let share = level * response_at(min(block * BLOCK + BLOCK / 2u, count - 1u));
                // The sum of a last block that is not whole is 0.
                let of_sum = select(0.0, level * block_response_at(block), block < count / BLOCK);
                write_block(block, block_at(block) - vec4<f32>(of_sum, share, 0.0, 0.0));
            }
        }
        if sigma > 0.0 {
            sigma_adc = noise / max(sigma, MIN_POSITIVE) * sum_noise(BLOCK, noise_adc) / (middle * sqrt(max(n_unlit, 1.0)));
            ratio = max(noise / sigma, 1.0);
        }
        if sh_halves[0] >= MIN_UNLIT_BLOCKS && sh_halves[5] >= MIN_UNLIT_BLOCKS {
            let early = sh_halves[1] / sh_halves[2];
            let late = sh_halves[6] / sh_halves[7];
            let error = sigma_adc * sqrt(n_unlit / sh_halves[0] + n_unlit / sh_halves[5]);
            unstable = unstable || abs(early - late) > DRIFT_SIGMA * error;
        }
    }
    if is_leader() {
        write_header_f32(HEADER_BASELINE, header_f32(HEADER_LEVEL) + run.sign * (start + select(0.0, level, inner.y > inner.x)));
        write_header_f32(HEADER_BASELINE_SIGMA, sigma_adc);
        write_header_f32(HEADER_NOISE, noise_adc * ratio);
        write_header_f32(HEADER_THRESHOLD, run.threshold_sigma * smooth_noise(noise_adc * ratio));
        if unstable {
            write_header(HEADER_FLAGS, header(HEADER_FLAGS) | UNSTABLE_BASELINE);
        }
    }
    sync();
}

// Level from a low quantile of the inner blocks.
fn low_level(inner: vec2<u32>, noise_adc: f32) -> f32 {
    let per_value = select(2u, 1u, inner.y - inner.x < MIN_PAIRED_BLOCKS);
    let n_values = (inner.y - inner.x) / per_value;
    if is_leader() {
        atomicStore(&sh_atomics[0], 0u);
    }
    for (var value = lane; value < n_values; value += WIDTH) {
        let block = inner.x + value * per_value;
        var sum = trace_block_sum(block);
        var response = block_response_at(block);
        if per_value == 2u {
            sum += trace_block_sum(block + 1u);
            response += block_response_at(block + 1u);
        }
        write_smoothed(value, sum / response);
    }
    sync();
    let rank = u32(f32(n_values - 1u) * LEVEL_QUANTILE);
    for (var value = lane; value < n_values; value += WIDTH) {
        let own = smoothed_at(value);
        var n_smaller = 0u;
        for (var other = 0u; other < n_values; other++) {
            n_smaller += select(0u, 1u, smoothed_at(other) < own);
        }
        if n_smaller <= rank {
            atomicMax(&sh_atomics[0], to_ordered_bits(own));
        }
    }
    sync();
    let middle = block_response_at((inner.x + inner.y - 1u) / 2u);
    let sigma = sum_noise(per_value * BLOCK, noise_adc) / f32(per_value) / middle;
    return from_ordered_bits(atomicLoad(&sh_atomics[0])) + LEVEL_QUANTILE_SIGMA * sigma;
}

// Mean over `smoothing` samples around each; outside the window the trace is 0.
fn smooth_trace(count: u32) {
    let width = plans[plan].smoothing;
    let half = width / 2u;
    let scale = 1.0 / f32(width);
    for (var index = lane; index < count; index += WIDTH) {
        var sum = 0.0;
        if index >= half && index + half < count {
            sum = trace_at(index);
            for (var offset = 1u; offset <= half; offset++) {
                sum += trace_at(index - offset) + trace_at(index + offset);
            }
        } else {
            for (var other = max(index, half) - half; other < min(index + half + 1u, count); other++) {
                sum += trace_at(other);
            }
        }
        write_smoothed(index, scale * sum);
    }
}

// Per block: sum of the trace, largest smoothed value, squares and number of the smoothed values below 0.
fn sum_trace_blocks(count: u32) {
    for (var block = lane; block < (count + BLOCK - 1u) / BLOCK; block += WIDTH) {
        let first = block * BLOCK;
        let size = min(BLOCK, count - first);
        var highest = smoothed_at(first);
        for (var offset = 1u; offset < size; offset++) {
            highest = max(highest, smoothed_at(first + offset));
        }
        var sums = vec4<f32>(0.0, highest, 0.0, 0.0);
        // A last block that is not whole is used only to find hits.
        if size == BLOCK {
            sums.x = trace_block_sum(block);
            var squares: array<f32, 8>;
            for (var offset = 0u; offset < BLOCK; offset++) {
                let low = min(smoothed_at(first + offset), 0.0);
                squares[offset] = low * low;
                sums.w += select(0.0, 1.0, low < 0.0);
            }
            sums.z = ((squares[0] + squares[4]) + (squares[2] + squares[6]))
                + ((squares[1] + squares[5]) + (squares[3] + squares[7]));
        }
        write_block(block, sums);
    }
}

fn is_dark(block: u32, n_blocks: u32, threshold: f32) -> bool {
    return block >= n_blocks || !(block_at(block).y > threshold);
}

// Sums over the unlit blocks of each half of `inner` into sh_halves: blocks, trace, response, samples below 0 and their squares.
fn sum_unlit(inner: vec2<u32>, threshold: f32) {
    let n_blocks = (trace_length() + BLOCK - 1u) / BLOCK;
    let middle = (inner.x + inner.y) / 2u;
    for (var part = lane; part < 16u; part += WIDTH) {
        let half = part / 8u;
        let begin = select(inner.x, middle, half == 1u);
        let end = select(middle, inner.y, half == 1u);
        var blocks = 0.0;
        var sum = 0.0;
        var response = 0.0;
        var below = 0.0;
        var squares = 0.0;
        for (var block = begin + part % 8u; block < end; block += 8u) {
            // The block before the first one counts as dark.
            let before = block == 0u || is_dark(block - 1u, n_blocks, threshold);
            if before && is_dark(block, n_blocks, threshold) && is_dark(block + 1u, n_blocks, threshold) {
                let sums = block_at(block);
                blocks += 1.0;
                sum += sums.x;
                response += block_response_at(block);
                below += sums.w;
                squares += sums.z;
            }
        }
        let first = half * 40u + part % 8u;
        sh_unlit[first] = blocks;
        sh_unlit[first + 8u] = sum;
        sh_unlit[first + 16u] = response;
        sh_unlit[first + 24u] = below;
        sh_unlit[first + 32u] = squares;
    }
    workgroupBarrier();
    for (var quantity = lane; quantity < 10u; quantity += WIDTH) {
        let first = 8u * quantity;
        let a = (sh_unlit[first] + sh_unlit[first + 4u]) + (sh_unlit[first + 2u] + sh_unlit[first + 6u]);
        let b = (sh_unlit[first + 1u] + sh_unlit[first + 5u]) + (sh_unlit[first + 3u] + sh_unlit[first + 7u]);
        sh_halves[quantity] = a + b;
    }
    workgroupBarrier();
}
