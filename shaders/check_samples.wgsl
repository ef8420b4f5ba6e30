// First tests for padding, for samples that no pulse can make, and for pulses that are cut below the rails.
// Twin: src/extract/check_samples.rs, with padding.rs, glitches.rs and flat_top.rs. A waveform that does not pass is left to the CPU, which decides.

#import common/layout
#import common/prefix_sum
#import common/state
#import generated/extraction
#import generated/flags
#import generated/state
#import generated/waveforms
#import load_samples
#import memory

fn is_usual_padding(value: u32) -> bool {
    return value < run.rail_low || value >= run.rail_high || value == 0u || value == 65535u;
}

// True if the run of `count` equal samples may be padding.
fn may_be_padding(value: u32, count: u32, neighbour: u32) -> bool {
    let jump = abs(f32(value) - f32(neighbour));
    return (count >= MIN_PADDING_RUN || is_usual_padding(value)) && jump > MIN_PADDING_JUMP * plans[plan].noise_adc;
}

fn has_constant_edge() -> bool {
    let first = sample_at(0u);
    let last = sample_at(length - 1u);
    var leading = 1u;
    while leading < length && sample_at(leading) == first {
        leading++;
    }
    if leading == length {
        return false;
    }
    var trailing = 1u;
    while sample_at(length - 1u - trailing) == last {
        trailing++;
    }
    return may_be_padding(first, leading, sample_at(leading)) || may_be_padding(last, trailing, sample_at(length - 1u - trailing));
}

fn upright_at(index: u32, level_adc: f32) -> f32 {
    return run.sign * (f32(sample_at(index)) - level_adc);
}

// True if the samples from `low` to `high` between two neighbours are a glitch.
fn is_glitch(before: f32, low: f32, high: f32, after: f32, sharpness: f32, least: f32) -> bool {
    let above = low - max(before, after);
    let is_above = sharpness >= 0.0 && above > least + sharpness * max(0.5 * (before + after), 0.0);
    let is_below = min(before, after) - high > least && high < -least;
    return is_above || is_below;
}

// Level of the quietest block.
fn rough_level_adc() -> f32 {
    var best = block_at(0u);
    for (var block = 1u; block < length / block_size(); block++) {
        let other = block_at(block);
        if other.y < best.y {
            best = other;
        }
    }
    return best.x;
}

// Leaves the waveform to the CPU if its samples may not be those of light and noise. Begins with the extremes in sh_atomics.
fn check_samples() {
    let lowest = atomicLoad(&sh_atomics[0]);
    let highest = atomicLoad(&sh_atomics[1]);
    let noise_adc = select(0.0, max(plans[plan].noise_adc, run.least_noise_adc), plans[plan].noise_adc > 0.0);
    let range_adc = f32(highest - lowest);
    workgroupBarrier();
    if is_leader() {
        atomicStore(&sh_atomics[0], 0u);
        atomicStore(&sh_atomics[1], 0u);
        atomicStore(&sh_atomics[2], 0u);
        if length > MIN_PADDING_REST && has_constant_edge() {
            atomicStore(&sh_atomics[0], 1u);
        }
    }
    workgroupBarrier();
    if noise_adc > 0.0 && range_adc >= MIN_GLITCH_RANGE * noise_adc && length >= block_size() {
        find_glitches(MIN_GLITCH * noise_adc, rough_level_adc());
        if range_adc >= MIN_FLAT_TOP * noise_adc {
            count_top(select(lowest, highest, run.sign > 0.0), PLATEAU_DEPTH * noise_adc);
        }
    }
    workgroupBarrier();
    if is_leader() {
        let limit = PLATEAU_DEPTH * noise_adc;
        let pulse = 2.0 * plans[plan].peak_width * sqrt(2.0 * limit / max(range_adc, 1.0));
        let is_wide = f32(atomicLoad(&sh_atomics[1])) >= MIN_PLATEAU_RATIO * pulse + MIN_PLATEAU_SAMPLES;
        let is_equal = atomicLoad(&sh_atomics[2]) >= plans[plan].equal_run;
        let is_flat = range_adc >= MIN_FLAT_TOP * noise_adc && noise_adc > 0.0 && (is_wide || is_equal);
        let flags = header(HEADER_FLAGS);
        let is_saturated = (flags & (SATURATED_LOW | SATURATED_HIGH)) != 0u;
        if (flags & FLAT) == 0u && (atomicLoad(&sh_atomics[0]) != 0u || (is_flat && !is_saturated)) {
            write_header(HEADER_FLAGS, flags | LEFT_TO_CPU);
        }
    }
    sync();
}

// True if the first or last sample of the window is a glitch next to its neighbour.
fn is_end_glitch(height: f32, neighbour: f32, least: f32, sharpness: f32) -> bool {
    let ratio = MAX_END_RATIO + 2.0 * sharpness;
    return sharpness >= 0.0 && (height > least + ratio * max(neighbour, 0.0) || height < min(neighbour, 0.0) - least);
}

fn find_glitches(least: f32, level_adc: f32) {
    if is_leader() {
        let sharpness = plans[plan].sharpness_of_one;
        let at_first = is_end_glitch(upright_at(0u, level_adc), upright_at(1u, level_adc), least, sharpness);
        let at_last = is_end_glitch(upright_at(length - 1u, level_adc), upright_at(length - 2u, level_adc), least, sharpness);
        if at_first || at_last {
            atomicMax(&sh_atomics[0], 1u);
        }
    }
    for (var index = 1u + lane; index + 1u < length; index += WIDTH) {
        let before = upright_at(index - 1u, level_adc);
        let here = upright_at(index, level_adc);
        let after = upright_at(index + 1u, level_adc);
        var found = is_glitch(before, here, here, after, plans[plan].sharpness_of_one, least);
        if index + 2u < length {
            let end = upright_at(index + 2u, level_adc);
            found = found || is_glitch(before, min(here, after), max(here, after), end, plans[plan].sharpness_of_two, least);
        }
        if found {
            atomicMax(&sh_atomics[0], 1u);
        }
    }
}

// Counts the samples close to the extreme, and those equal to it.
fn count_top(extreme: u32, depth_adc: f32) {
    var n_close = 0u;
    var n_equal = 0u;
    for (var index = lane; index < length; index += WIDTH) {
        let sample = sample_at(index);
        n_close += select(0u, 1u, abs(f32(extreme) - f32(sample)) <= depth_adc);
        n_equal += select(0u, 1u, sample == extreme);
    }
    atomicAdd(&sh_atomics[1], n_close);
    atomicAdd(&sh_atomics[2], n_equal);
}
