// Stage 3: turns pulses upright, subtracts the level, and halves the rate after a binomial low-pass.
// Twin: src/extract/deconvolution/decimate.rs.

#import common/fft
#import common/layout
#import common/prefix_sum
#import common/state
#import generated/state
#import generated/waveforms
#import memory

// A sample minus the level; outside the window that of the nearest sample inside.
fn tap(centre: u32, before: u32, after: u32, level: f32) -> f32 {
    let index = min(max(centre + after, before) - before, length - 1u);
    return f32(sample_at(index)) - level;
}

fn decimated(index: u32, level: f32) -> f32 {
    if plans[plan].decimation == 1u {
        return run.sign * (f32(sample_at(index)) - level);
    }
    let centre = 2u * index;
    let sum = 20.0 * tap(centre, 0u, 0u, level)
        + 15.0 * (tap(centre, 1u, 0u, level) + tap(centre, 0u, 1u, level))
        + 6.0 * (tap(centre, 2u, 0u, level) + tap(centre, 0u, 2u, level))
        + (tap(centre, 3u, 0u, level) + tap(centre, 0u, 3u, level));
    return (run.sign / 64.0) * sum;
}

// Writes the points of the transform inside the window.
fn decimate() {
    let level = header_f32(HEADER_LEVEL);
    let count = trace_length();
    for (var index = lane; index < (count + 1u) / 2u; index += WIDTH) {
        var pair = vec2<f32>(decimated(2u * index, level), 0.0);
        if 2u * index + 1u < count {
            pair.y = decimated(2u * index + 1u, level);
        }
        write_complex(index, pair);
    }
    sync();
}
