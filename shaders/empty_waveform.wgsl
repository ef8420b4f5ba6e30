// Test of the method `auto` for an empty waveform. Twin: src/extract/empty_waveform.rs, which explains it.

#import baseline
#import common/layout
#import common/prefix_sum
#import common/state
#import generated/extraction
#import generated/flags
#import generated/state
#import generated/waveforms
#import load_samples
#import memory

// Writes baseline, its error, noise and NO_LIGHT if the waveform is empty.
fn find_empty_baseline() {
    let n_blocks = length / block_size();
    let block = f32(block_size());
    let calibrated = plans[plan].noise_adc;
    let noise_adc = max(calibrated, run.least_noise_adc);
    let share = plans[plan].main_area / sqrt(block * plans[plan].squares);
    if is_leader() {
        atomicStore(&sh_atomics[0], select(1u, 0u, n_blocks >= EMPTY_MIN_BLOCKS && share >= EMPTY_MIN_SHARE && calibrated > 0.0));
    }
    workgroupBarrier();
    var mean = 0.0;
    if n_blocks > 0u {
        let pivot = block_at(0u).x;
        for (var index = 0u; index < n_blocks; index++) {
            mean += block_at(index).x - pivot;
        }
        mean = pivot + mean / f32(n_blocks);
    }
    let sigma = noise_adc / sqrt(block);
    let max_above = EMPTY_MAX_ABOVE_SIGMA * sigma;
    for (var index = lane; index < n_blocks; index += WIDTH) {
        let above = run.sign * (block_at(index).x - mean);
        var before = 0.0;
        if index > 0u {
            before = run.sign * (block_at(index - 1u).x - mean);
        }
        if above > max_above || above < -EMPTY_MAX_BELOW_SIGMA * sigma || before + above > max_above * 1.4142135 {
            atomicStore(&sh_atomics[0], 1u);
        }
    }
    // There are whole blocks only: if they do not end with the window, its last samples are one more block.
    if is_leader() && n_blocks * block_size() < length && length >= block_size() {
        var sum = 0.0;
        for (var index = length - block_size(); index < length; index++) {
            sum += f32(sample_at(index)) - mean;
        }
        let above = run.sign * sum / block;
        if above > max_above || above < -EMPTY_MAX_BELOW_SIGMA * sigma {
            atomicStore(&sh_atomics[0], 1u);
        }
    }
    workgroupBarrier();
    let has_light = broadcast(atomicLoad(&sh_atomics[0]));
    if has_light == 0u {
        let measured = measured_noise_adc(n_blocks);
        if is_leader() {
            write_header_f32(HEADER_MEASURED_NOISE, measured);
            write_header_f32(HEADER_BASELINE, mean);
            write_header_f32(HEADER_BASELINE_SIGMA, noise_adc / sqrt(f32(length)));
            write_header(HEADER_FLAGS, header(HEADER_FLAGS) | NO_LIGHT);
        }
    }
    sync();
}
