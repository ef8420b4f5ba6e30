// Stage 5: what is left of the baseline, and the noise, from the deconvolved trace. Twin: src/extract/deconvolution/residual_baseline.rs.

const BLOCK: u32 = 8u;
const MANY_BLOCKS: u32 = 32u;
const FEWEST_BLOCKS: u32 = 8u;
const QUANTILE: f32 = 0.3;
const QUANTILE_SIGMA: f32 = 0.5244;
const LIT_SIGMA: f32 = 3.0;
const MOST_NOISE: f32 = 4.0;
const MIN_NOISE_SAMPLES: f32 = 24.0;
const MIN_FLOOR_BLOCKS: f32 = 3.0;
const DRIFT_SIGMA: f32 = 6.0;
const SMALLEST: f32 = 1.17549435e-38;

// Sums over unlit blocks: of half h and quantity q at 5 h + q, by lanes of eight and then in all.
var<workgroup> sh_unlit: array<f32, 80>;
var<workgroup> sh_halves: array<f32, 10>;

// First and one past the last block that light just outside the window does not reach.
fn inner_blocks() -> vec2<u32> {
    let margin = plans[plan].margin;
    let count = trace_length();
    let first = (margin + BLOCK - 1u) / BLOCK;
    let last = (max(count, margin) - margin) / BLOCK;
    return vec2<u32>(first, max(min(last, plans[plan].n_block_response), first));
}

fn is_long() -> bool {
    let inner = inner_blocks();
    return inner.y - inner.x >= FEWEST_BLOCKS;
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
    let at = block * BLOCK;
    let a = (trace_at(at) + trace_at(at + 4u)) + (trace_at(at + 2u) + trace_at(at + 6u));
    let b = (trace_at(at + 1u) + trace_at(at + 5u)) + (trace_at(at + 3u) + trace_at(at + 7u));
    return a + b;
}

fn find_floor() {
    let count = trace_length();
    let inner = inner_blocks();
    let noise_adc = head_f32(HEAD_NOISE);
    let sigma = smooth_noise(noise_adc);
    var start = 0.0;
    if is_long() {
        start = low_level(inner, noise_adc);
    }
    if start != 0.0 {
        for (var index = lane; index < count; index += WIDTH) {
            put_trace(index, trace_at(index) - start * response_at(index));
        }
        sync();
    }
    smooth_trace(count);
    sync();
    sum_trace_blocks(count);
    sync();

    var level = 0.0;
    var noise = sigma;
    var going = inner.y > inner.x;
    let middle = block_response_at((inner.x + max(inner.y, 1u) - 1u) / 2u);
    let mean_response = middle / f32(BLOCK);
    for (var pass_ = 0u; pass_ < 3u; pass_++) {
        // Every thread comes to the same numbers, but only a broadcast says so to the compiler.
        if broadcast(select(0u, 1u, going)) == 0u {
            break;
        }
        sum_unlit(inner, level * mean_response + LIT_SIGMA * noise);
        let blocks = sh_halves[0] + sh_halves[5];
        if blocks == 0.0 {
            going = false;
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
            noise = min(noise, MOST_NOISE * sigma);
        }
        going = !(abs(level - level_before) * mean_response < 0.1 * noise && noise < 1.2 * noise_before);
    }
    conclude_floor(count, inner, start, level, noise, sigma, noise_adc, middle);
}

fn conclude_floor(
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
        unstable = n_unlit < MIN_FLOOR_BLOCKS;
        if n_unlit > 0.0 && level != 0.0 {
            for (var index = lane; index < count; index += WIDTH) {
                let share = level * response_at(index);
                put_trace(index, trace_at(index) - share);
                put_smooth(index, smooth_at(index) - share);
            }
            for (var block = lane; block < (count + BLOCK - 1u) / BLOCK; block += WIDTH) {
                let share = level * response_at(min(block * BLOCK + BLOCK / 2u, count - 1u));
                put_block(block, block_at(block) - vec4<f32>(0.0, share, 0.0, 0.0));
            }
        }
        if sigma > 0.0 {
            sigma_adc = noise / max(sigma, SMALLEST) * sum_noise(BLOCK, noise_adc) / (middle * sqrt(max(n_unlit, 1.0)));
            ratio = max(noise / sigma, 1.0);
        }
        if sh_halves[0] >= MIN_FLOOR_BLOCKS && sh_halves[5] >= MIN_FLOOR_BLOCKS {
            let early = sh_halves[1] / sh_halves[2];
            let late = sh_halves[6] / sh_halves[7];
            let error = sigma_adc * sqrt(n_unlit / sh_halves[0] + n_unlit / sh_halves[5]);
            unstable = unstable || abs(early - late) > DRIFT_SIGMA * error;
        }
    }
    if lane == 0u {
        put_head_f32(HEAD_BASELINE, head_f32(HEAD_LEVEL) + run.sign * (start + select(0.0, level, inner.y > inner.x)));
        put_head_f32(HEAD_BASELINE_SIGMA, sigma_adc);
        put_head_f32(HEAD_NOISE, noise_adc * ratio);
        put_head_f32(HEAD_THRESHOLD, run.threshold_sigma * smooth_noise(noise_adc * ratio));
        if unstable {
            put_head(HEAD_FLAGS, head(HEAD_FLAGS) | UNSTABLE_BASELINE);
        }
    }
    sync();
}

// What a low quantile of the inner blocks says of the level.
fn low_level(inner: vec2<u32>, noise_adc: f32) -> f32 {
    let joined = select(2u, 1u, inner.y - inner.x < MANY_BLOCKS);
    let n_values = (inner.y - inner.x) / joined;
    if lane == 0u {
        atomicStore(&sh_atomics[0], 0u);
    }
    for (var value = lane; value < n_values; value += WIDTH) {
        let block = inner.x + value * joined;
        var sum = trace_block_sum(block);
        var response = block_response_at(block);
        if joined == 2u {
            sum += trace_block_sum(block + 1u);
            response += block_response_at(block + 1u);
        }
        put_smooth(value, sum / response);
    }
    sync();
    let place = u32(f32(n_values - 1u) * QUANTILE);
    for (var value = lane; value < n_values; value += WIDTH) {
        let own = smooth_at(value);
        var smaller = 0u;
        for (var other = 0u; other < n_values; other++) {
            smaller += select(0u, 1u, smooth_at(other) < own);
        }
        if smaller <= place {
            atomicMax(&sh_atomics[0], ordered(own));
        }
    }
    sync();
    let middle = block_response_at((inner.x + inner.y - 1u) / 2u);
    let sigma = sum_noise(joined * BLOCK, noise_adc) / f32(joined) / middle;
    return from_ordered(atomicLoad(&sh_atomics[0])) + QUANTILE_SIGMA * sigma;
}

// Mean over `smoothing` samples round each; beyond the ends the trace counts as 0.
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
            for (var at = max(index, half) - half; at < min(index + half + 1u, count); at++) {
                sum += trace_at(at);
            }
        }
        put_smooth(index, scale * sum);
    }
}

// Sum of the trace, largest smoothed value, squares and number of the smoothed values below 0, block by block.
fn sum_trace_blocks(count: u32) {
    for (var block = lane; block < (count + BLOCK - 1u) / BLOCK; block += WIDTH) {
        let at = block * BLOCK;
        let size = min(BLOCK, count - at);
        var highest = smooth_at(at);
        for (var offset = 1u; offset < size; offset++) {
            highest = max(highest, smooth_at(at + offset));
        }
        var sums = vec4<f32>(0.0, highest, 0.0, 0.0);
        // A last block that is not whole takes part in the search for hits only.
        if size == BLOCK {
            sums.x = trace_block_sum(block);
            var squares: array<f32, 8>;
            for (var offset = 0u; offset < BLOCK; offset++) {
                let low = min(smooth_at(at + offset), 0.0);
                squares[offset] = low * low;
                sums.w += select(0.0, 1.0, low < 0.0);
            }
            sums.z = ((squares[0] + squares[4]) + (squares[2] + squares[6]))
                + ((squares[1] + squares[5]) + (squares[3] + squares[7]));
        }
        put_block(block, sums);
    }
}

fn is_dark(block: u32, n_blocks: u32, threshold: f32) -> bool {
    return block >= n_blocks || !(block_at(block).y > threshold);
}

// Blocks, sum, response, samples below and their squares over the unlit blocks of either half of `inner`, into sh_halves.
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
        let at = half * 40u + part % 8u;
        sh_unlit[at] = blocks;
        sh_unlit[at + 8u] = sum;
        sh_unlit[at + 16u] = response;
        sh_unlit[at + 24u] = below;
        sh_unlit[at + 32u] = squares;
    }
    workgroupBarrier();
    for (var place = lane; place < 10u; place += WIDTH) {
        let at = 8u * place;
        let a = (sh_unlit[at] + sh_unlit[at + 4u]) + (sh_unlit[at + 2u] + sh_unlit[at + 6u]);
        let b = (sh_unlit[at + 1u] + sh_unlit[at + 5u]) + (sh_unlit[at + 3u] + sh_unlit[at + 7u]);
        sh_halves[place] = a + b;
    }
    workgroupBarrier();
}
