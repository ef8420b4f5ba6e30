// The first look of the method `auto`: is there any light at all? Twin: src/extract/empty_waveform.rs, which has the constants.

// Leaves level, its error and NO_LIGHT where there is none.
fn glance() {
    let n_blocks = length / block_size();
    let block = f32(block_size());
    let calibrated = plans[plan].noise_adc;
    let noise_adc = max(calibrated, run.least_noise_adc);
    let share = plans[plan].main_area / sqrt(block * plans[plan].squares);
    let covered = n_blocks * block_size() + block_size() / 2u >= length;
    if lane == 0u {
        atomicStore(&sh_atomics[0], select(1u, 0u, n_blocks >= GLANCE_FEWEST && covered && share >= GLANCE_LEAST_SHARE && calibrated > 0.0));
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
    let lit = GLANCE_LIT_SIGMA * sigma;
    for (var index = lane; index < n_blocks; index += WIDTH) {
        let above = run.sign * (block_at(index).x - mean);
        var before = 0.0;
        if index > 0u {
            before = run.sign * (block_at(index - 1u).x - mean);
        }
        if above > lit || above < -GLANCE_LOW_SIGMA * sigma || before + above > lit * 1.4142135 {
            atomicStore(&sh_atomics[0], 1u);
        }
    }
    workgroupBarrier();
    let bright = broadcast(atomicLoad(&sh_atomics[0]));
    if bright == 0u {
        let measured = measured_noise(n_blocks);
        if lane == 0u {
            put_head_f32(HEAD_MEASURED_NOISE, measured);
            put_head_f32(HEAD_BASELINE, mean);
            put_head_f32(HEAD_BASELINE_SIGMA, noise_adc / sqrt(f32(length)));
            put_head(HEAD_FLAGS, head(HEAD_FLAGS) | NO_LIGHT);
        }
    }
    sync();
}
