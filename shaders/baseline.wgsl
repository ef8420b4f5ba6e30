// Stage 2: baseline and noise from the raw blocks. Twin: src/extract/baseline.rs.

const NOISE_QUANTILE: f32 = 0.25;
const CLUSTER_SIGMA: f32 = 2.0;
const MIN_BASELINE_BLOCKS: u32 = 4u;
const ROUNDING_ADC: f32 = 0.29;

fn noise_quantile_of_gauss() -> f32 {
    return array<f32, 3>(0.6078, 0.7358, 0.8190)[block_class()];
}

fn quiet_below() -> f32 {
    return array<f32, 3>(3.475, 2.513, 1.971)[block_class()];
}

// Noise of a sample where there is no light; leaves the quietest block's level.
fn measured_noise(n_blocks: u32) -> f32 {
    if lane == 0u {
        atomicStore(&sh_atomics[0], 0u);
    }
    sync();
    let place = u32(f32(n_blocks - 1u) * NOISE_QUANTILE);
    for (var block = lane; block < n_blocks; block += WIDTH) {
        let own = block_at(block);
        var smaller = 0u;
        var ahead = 0u;
        for (var other = 0u; other < n_blocks; other++) {
            let variance = block_at(other).y;
            smaller += select(0u, 1u, variance < own.y);
            ahead += select(0u, 1u, variance < own.y || (variance == own.y && other < block));
        }
        // Variances are not negative: their bits are in their order.
        if smaller <= place {
            atomicMax(&sh_atomics[0], bitcast<u32>(own.y));
        }
        // The quietest block's level.
        if ahead == 0u {
            put_head_f32(HEAD_LEVEL, own.x);
        }
    }
    sync();
    let variance = bitcast<f32>(atomicLoad(&sh_atomics[0]));
    return sqrt(variance / noise_quantile_of_gauss());
}

fn baseline() {
    let n_blocks = length / block_size();
    let measured = measured_noise(n_blocks);
    if METHOD != 0u || !is_long() {
        cluster(n_blocks, measured);
    }
    if lane == 0u {
        put_head_f32(HEAD_MEASURED_NOISE, measured);
        let calibrated = plans[plan].noise_adc;
        if METHOD == 0u {
            let known = select(measured, calibrated, calibrated > 0.0);
            put_head_f32(HEAD_NOISE, max(known, run.least_noise_adc));
        } else {
            put_head_f32(HEAD_NOISE, max(max(measured, calibrated), run.least_noise_adc));
            put_head_f32(HEAD_BASELINE, head_f32(HEAD_LEVEL));
        }
    }
    sync();
}

// The densest cluster of the quiet blocks' means: of all windows as wide as a cluster the one with most of them, of
// equals the lowest. Each window is named by the highest mean in it.
fn cluster(n_blocks: u32, measured: f32) {
    let noise_floor = max(measured, ROUNDING_ADC);
    let loudest = quiet_below() * noise_floor * noise_floor;
    let size = f32(block_size());
    let width = 2.0 * CLUSTER_SIGMA * noise_floor / sqrt(size);
    if lane == 0u {
        atomicStore(&sh_atomics[1], 0u);
        atomicStore(&sh_atomics[2], 0xffffffffu);
    }
    sync();
    for (var block = lane; block < n_blocks; block += WIDTH) {
        atomicMax(&sh_atomics[1], members(block, n_blocks, loudest, width));
    }
    workgroupBarrier();
    let most = atomicLoad(&sh_atomics[1]);
    for (var block = lane; block < n_blocks; block += WIDTH) {
        if most > 0u && members(block, n_blocks, loudest, width) == most {
            // Means of counts are not negative either.
            atomicMin(&sh_atomics[2], bitcast<u32>(block_at(block).x));
        }
    }
    workgroupBarrier();
    if lane == 0u && most > 0u {
        let highest = bitcast<f32>(atomicLoad(&sh_atomics[2]));
        var below = 0.0;
        for (var block = 0u; block < n_blocks; block++) {
            let other = block_at(block);
            if other.y <= loudest && other.x <= highest && highest - other.x <= width {
                below += highest - other.x;
            }
        }
        put_head_f32(HEAD_LEVEL, highest - below / f32(most));
        put_head_f32(HEAD_BASELINE_SIGMA, noise_floor / sqrt(f32(most) * size));
    }
    if lane == 0u && METHOD != 0u && most < MIN_BASELINE_BLOCKS {
        put_head(HEAD_FLAGS, head(HEAD_FLAGS) | UNSTABLE_BASELINE);
    }
    sync();
}

// Quiet blocks whose mean is at most this block's, and not further below than a cluster is wide.
fn members(block: u32, n_blocks: u32, loudest: f32, width: f32) -> u32 {
    let own = block_at(block);
    if own.y > loudest {
        return 0u;
    }
    var count = 0u;
    for (var index = 0u; index < n_blocks; index++) {
        let other = block_at(index);
        count += select(0u, 1u, other.y <= loudest && other.x <= own.x && own.x - other.x <= width);
    }
    return count;
}
