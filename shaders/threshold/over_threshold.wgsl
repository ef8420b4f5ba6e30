// The methods `integral` and `coti`, on the baseline-subtracted waveform itself. Twin: src/extract/threshold/over_threshold.rs.
// One thread takes a pulse: what a pulse needs of its neighbours is where the one before ends.

// Where the leading edge is read, as a share of the pulse's height.
const EDGE_HEIGHT_SHARE: f32 = 0.2;

// There is no transform: the baseline comes from the raw blocks, as in short windows.
fn is_long() -> bool {
    return false;
}

fn upright(index: u32) -> f32 {
    return run.sign * (f32(sample_at(index)) - head_f32(HEAD_LEVEL));
}

// What is searched for pulses: the waveform smoothed over half a pulse, or itself.
fn searched(index: u32) -> f32 {
    return smooth_at(index);
}

fn stages() {
    let width = plans[plan].smoothing;
    let noise = head_f32(HEAD_NOISE);
    var threshold = run.threshold_sigma * noise;
    if METHOD == 1u {
        smooth_upright(width);
        threshold /= sqrt(f32(width));
    } else {
        for (var index = lane; index < length; index += WIDTH) {
            put_smooth(index, upright(index));
        }
    }
    sync();
    let n_pulses = find_pulses(threshold);
    if lane == 0u {
        put_head(HEAD_N_FOUND, n_pulses);
        put_head_f32(HEAD_THRESHOLD, threshold);
    }
    sync();
}

// Mean over `width` samples; beyond the ends the waveform counts as 0.
fn smooth_upright(width: u32) {
    let ahead = width / 2u;
    for (var index = lane; index < length; index += WIDTH) {
        let end = min(index + ahead + 1u, length);
        let begin = max(index + ahead + 1u, width) - width;
        // Whole counts first: their sum is exact.
        var sum = 0u;
        for (var at = begin; at < end; at++) {
            sum += sample_at(at);
        }
        let number = end - min(begin, end);
        let level = head_f32(HEAD_LEVEL);
        // The level's whole part is as exact.
        let whole = floor(level);
        let above = f32(i32(sum) - i32(number) * i32(whole)) - f32(number) * (level - whole);
        put_smooth(index, run.sign * above / f32(width));
    }
}

fn over(index: u32, threshold: f32) -> bool {
    return searched(index) > threshold;
}

// Samples over threshold that are at most so far apart belong to one pulse.
fn gap() -> u32 {
    return select(1u, plans[plan].before + plans[plan].behind, METHOD == 1u);
}

// True if a pulse begins here: no sample over threshold among the `gap` before.
fn begins(index: u32, threshold: f32) -> bool {
    if !over(index, threshold) {
        return false;
    }
    for (var back = 1u; back <= min(gap(), index); back++) {
        if over(index - back, threshold) {
            return false;
        }
    }
    return true;
}

// Finds the pulses, one sample over threshold alone left out where that is noise; first and last sample of each into the
// regions. Returns their number.
fn find_pulses(threshold: f32) -> u32 {
    var n_pulses = 0u;
    for (var at = 0u; at < length; at += WIDTH) {
        let index = at + lane;
        let starts = index < length && begins(index, threshold);
        var last = index;
        if starts {
            for (var next = index + 1u; next < length && next <= last + gap(); next++) {
                if over(next, threshold) {
                    last = next;
                }
            }
        }
        let noise_alone = METHOD == 2u && last == index && plans[plan].before > 1u;
        let counts = starts && !noise_alone;
        let sums = scan(select(0u, 1u, counts));
        if counts {
            put_region(n_pulses + sums.x, index | last << 16u);
        }
        n_pulses += sums.y;
    }
    return n_pulses;
}

// Nothing of these goes on to a fit.
fn look() {}

fn count_seeds(n_found: u32) -> u32 {
    return 0u;
}

fn give_seeds(first: u32) {}

fn give_hits(first: u32) {
    let n_pulses = head(HEAD_N_FOUND);
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        put_hit(first + pulse, measured(pulse));
    }
}

fn end_of_pulse(pulse: u32) -> u32 {
    let last = region_at(pulse) >> 16u;
    return select(last + 1u, min(last + 1u + plans[plan].behind, length), METHOD == 1u);
}

fn measured(pulse: u32) -> Hit {
    let first = region_at(pulse) & 0xffffu;
    let last = region_at(pulse) >> 16u;
    var begin = first;
    let end = end_of_pulse(pulse);
    var covered = 1.0;
    if METHOD == 1u {
        begin = max(first, plans[plan].before) - plans[plan].before;
        if pulse > 0u {
            begin = max(begin, end_of_pulse(pulse - 1u));
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
    let noise = head_f32(HEAD_NOISE) * sqrt(width);
    let baseline_error = head_f32(HEAD_BASELINE_SIGMA) * width;
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
