// Stage 2: baseline and noise from the raw blocks. Twin: src/extract/baseline.rs.

#import common/layout
#import common/prefix_sum
#import common/state
#import generated/extraction
#import generated/flags
#import generated/methods
#import generated/state
#import generated/waveforms
#import load_samples
#import memory
#import stages

// Returns the noise of a sample without light; writes the level of the quietest block (rough_level_adc of the twin) to the header.
fn measured_noise_adc(n_blocks: u32) -> f32 {
    if is_leader() {
        atomicStore(&sh_atomics[0], 0u);
    }
    sync();
    let rank = u32(f32(n_blocks - 1u) * NOISE_QUANTILE);
    for (var block = lane; block < n_blocks; block += WIDTH) {
        let own = block_at(block);
        var n_smaller = 0u;
        var n_before = 0u;
        for (var other = 0u; other < n_blocks; other++) {
            let variance = block_at(other).y;
            n_smaller += select(0u, 1u, variance < own.y);
            n_before += select(0u, 1u, variance < own.y || (variance == own.y && other < block));
        }
        // Variances are not negative, so that their bits are ordered as they are.
        if n_smaller <= rank {
            atomicMax(&sh_atomics[0], bitcast<u32>(own.y));
        }
        if n_before == 0u {
            write_header_f32(HEADER_LEVEL, own.x);
        }
    }
    sync();
    let variance = bitcast<f32>(atomicLoad(&sh_atomics[0]));
    return sqrt(variance / NOISE_QUANTILE_OF_GAUSSIAN[block_class()]);
}

fn estimate_baseline() {
    let n_blocks = length / block_size();
    let measured = measured_noise_adc(n_blocks);
    if METHOD != METHOD_DECONVOLUTION || !is_long() {
        find_cluster(n_blocks, measured);
    }
    if is_leader() {
        write_header_f32(HEADER_MEASURED_NOISE, measured);
        let calibrated = plans[plan].noise_adc;
        if METHOD == METHOD_DECONVOLUTION {
            let noise = select(measured, calibrated, calibrated > 0.0);
            write_header_f32(HEADER_NOISE, max(noise, run.least_noise_adc));
        } else {
            write_header_f32(HEADER_NOISE, max(max(measured, calibrated), run.least_noise_adc));
            write_header_f32(HEADER_BASELINE, header_f32(HEADER_LEVEL));
        }
    }
    sync();
}

// Finds the densest cluster of the means of quiet blocks: the window of the width of a cluster that holds most of them, the lowest of
// equals. A window is identified by the highest mean in it.
fn find_cluster(n_blocks: u32, measured: f32) {
    let noise_floor = max(measured, ROUNDING_ADC);
    let max_variance = QUIET_VARIANCE[block_class()] * noise_floor * noise_floor;
    let size = f32(block_size());
    let width = 2.0 * CLUSTER_SIGMA * noise_floor / sqrt(size);
    if is_leader() {
        atomicStore(&sh_atomics[1], 0u);
        atomicStore(&sh_atomics[2], 0xffffffffu);
    }
    sync();
    for (var block = lane; block < n_blocks; block += WIDTH) {
        atomicMax(&sh_atomics[1], cluster_members(block, n_blocks, max_variance, width));
    }
    workgroupBarrier();
    let n_members = atomicLoad(&sh_atomics[1]);
    for (var block = lane; block < n_blocks; block += WIDTH) {
        if n_members > 0u && cluster_members(block, n_blocks, max_variance, width) == n_members {
            // Means of counts are not negative.
            atomicMin(&sh_atomics[2], bitcast<u32>(block_at(block).x));
        }
    }
    workgroupBarrier();
    if is_leader() && n_members > 0u {
        let highest = bitcast<f32>(atomicLoad(&sh_atomics[2]));
        var below = 0.0;
        for (var block = 0u; block < n_blocks; block++) {
            let other = block_at(block);
            if other.y <= max_variance && other.x <= highest && highest - other.x <= width {
                below += highest - other.x;
            }
        }
        write_header_f32(HEADER_LEVEL, highest - below / f32(n_members));
        write_header_f32(HEADER_BASELINE_SIGMA, noise_floor / sqrt(f32(n_members) * size));
    }
    if is_leader() && METHOD != METHOD_DECONVOLUTION && n_members < MIN_BASELINE_BLOCKS {
        write_header(HEADER_FLAGS, header(HEADER_FLAGS) | UNSTABLE_BASELINE);
    }
    sync();
}

// Number of quiet blocks whose mean is at most that of `block`, by no more than `width`.
fn cluster_members(block: u32, n_blocks: u32, max_variance: f32, width: f32) -> u32 {
    let own = block_at(block);
    if own.y > max_variance {
        return 0u;
    }
    var n_members = 0u;
    for (var index = 0u; index < n_blocks; index++) {
        let other = block_at(index);
        n_members += select(0u, 1u, other.y <= max_variance && other.x <= own.x && own.x - other.x <= width);
    }
    return n_members;
}
