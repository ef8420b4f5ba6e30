// The methods `integral` and `coti`, on the baseline-subtracted waveform itself. Twin: src/extract/threshold/over_threshold.rs.
// One thread per pulse; of its neighbours it needs only the end of the one before.

#import common/layout
#import common/prefix_sum
#import common/state
#import extract
#import generated/extraction
#import generated/flags
#import generated/methods
#import generated/results
#import generated/state
#import generated/waveforms
#import memory
#import scan

// Without a transform the baseline comes from the raw blocks, as in short windows.
fn is_long() -> bool {
    return false;
}

fn upright(index: u32) -> f32 {
    return run.sign * (f32(sample_at(index)) - header_f32(HEADER_LEVEL));
}

// The waveform in which pulses are searched: smoothed over half a pulse, or as it is.
fn searched(index: u32) -> f32 {
    return smoothed_at(index);
}

fn run_stages() {
    let width = plans[plan].smoothing;
    let noise = header_f32(HEADER_NOISE);
    var threshold = run.threshold_sigma * noise;
    if METHOD == METHOD_INTEGRAL {
        smooth_upright(width);
        threshold /= sqrt(f32(width));
    } else {
        for (var index = lane; index < length; index += WIDTH) {
            write_smoothed(index, upright(index));
        }
    }
    sync();
    let n_pulses = find_pulses(threshold);
    if is_leader() {
        write_header(HEADER_N_FOUND, n_pulses);
        write_header_f32(HEADER_THRESHOLD, threshold);
    }
    sync();
}

// Mean over `width` samples; outside the window the waveform is 0.
fn smooth_upright(width: u32) {
    let half = width / 2u;
    for (var index = lane; index < length; index += WIDTH) {
        let end = min(index + half + 1u, length);
        let begin = max(index + half + 1u, width) - width;
        // Sums of whole counts are exact.
        var sum = 0u;
        for (var other = begin; other < end; other++) {
            sum += sample_at(other);
        }
        let number = end - min(begin, end);
        let level = header_f32(HEADER_LEVEL);
        // So is the whole part of the level.
        let whole = floor(level);
        let above = f32(i32(sum) - i32(number) * i32(whole)) - f32(number) * (level - whole);
        write_smoothed(index, run.sign * above / f32(width));
    }
}

fn is_over(index: u32, threshold: f32) -> bool {
    return searched(index) > threshold;
}

// Largest distance of two samples over threshold in one pulse.
fn max_gap() -> u32 {
    return select(1u, plans[plan].before + plans[plan].after, METHOD == METHOD_INTEGRAL);
}

// True if a pulse begins at `index`: none of the `max_gap` samples before is over threshold.
fn is_start(index: u32, threshold: f32) -> bool {
    if !is_over(index, threshold) {
        return false;
    }
    for (var back = 1u; back <= min(max_gap(), index); back++) {
        if is_over(index - back, threshold) {
            return false;
        }
    }
    return true;
}

// Finds the pulses and writes their first and last samples into the regions; returns their number. A single sample over threshold
// is noise unless the template is as narrow.
fn find_pulses(threshold: f32) -> u32 {
    var n_pulses = 0u;
    for (var base = 0u; base < length; base += WIDTH) {
        let index = base + lane;
        let starts = index < length && is_start(index, threshold);
        var last = index;
        if starts {
            for (var next = index + 1u; next < length && next <= last + max_gap(); next++) {
                if is_over(next, threshold) {
                    last = next;
                }
            }
        }
        let is_noise = METHOD == METHOD_COTI && last == index && plans[plan].before > 1u;
        let is_pulse = starts && !is_noise;
        let sums = scan(select(0u, 1u, is_pulse));
        if is_pulse {
            write_region(n_pulses + sums.x, index | last << 16u);
        }
        n_pulses += sums.y;
    }
    return n_pulses;
}

// These methods have no fit.
fn test_for_light() {}

fn count_seeds(n_found: u32) -> u32 {
    return 0u;
}

fn write_seeds(first: u32) {}

fn write_hits(first: u32) {
    let n_pulses = header(HEADER_N_FOUND);
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        write_hit(first + pulse, measure_pulse(pulse));
    }
}

fn pulse_end(pulse: u32) -> u32 {
    let last = region_at(pulse) >> 16u;
    return select(last + 1u, min(last + 1u + plans[plan].after, length), METHOD == METHOD_INTEGRAL);
}

fn measure_pulse(pulse: u32) -> Hit {
    let first = region_at(pulse) & 0xffffu;
    let last = region_at(pulse) >> 16u;
    var begin = first;
    let end = pulse_end(pulse);
    var covered = 1.0;
    if METHOD == METHOD_INTEGRAL {
        begin = max(first, plans[plan].before) - plans[plan].before;
        if pulse > 0u {
            begin = max(begin, pulse_end(pulse - 1u));
        }
        covered = plans[plan].covered;
    }
    var peak = first;
    for (var index = first; index <= last; index++) {
        if upright(index) > upright(peak) {
            peak = index;
        }
    }
    var sum = 0.0;
    for (var index = begin; index < end; index++) {
        sum += upright(index);
    }
    let gain = plans[plan].gain * covered;
    let width = f32(end - begin);
    let noise = header_f32(HEADER_NOISE) * sqrt(width);
    let baseline_error = header_f32(HEADER_BASELINE_SIGMA) * width;
    let time_ns = leading_edge(peak) * plans[plan].step_ns - plans[plan].edge_ns;
    let flags = select(0u, TRUNCATED_AT_EDGE, first == 0u || last + 1u == length);
    return Hit(time_ns, sum / gain, sqrt(noise * noise + baseline_error * baseline_error) / gain, 0.0, flags);
}

// Where the pulse crosses a share of its height on the way up, in samples.
fn leading_edge(peak: u32) -> f32 {
    let level = EDGE_HEIGHT_SHARE * upright(peak);
    var index = peak;
    while index > 0u && upright(index - 1u) > level {
        index--;
    }
    if index == 0u {
        return 0.0;
    }
    let below = upright(index - 1u);
    let above = upright(index);
    if above > below {
        return f32(index) - (above - level) / (above - below);
    }
    return f32(index);
}
