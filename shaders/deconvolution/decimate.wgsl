// Stage 3: pulses upright, baseline off, every second sample dropped behind a binomial low-pass. Twin: src/extract/deconvolution/decimate.rs.

// A sample, or the last one inside the window, less the level.
fn tap(at: u32, ahead: u32, behind: u32, level: f32) -> f32 {
    let index = min(max(at + behind, ahead) - ahead, length - 1u);
    return f32(sample_at(index)) - level;
}

fn decimated(index: u32, level: f32) -> f32 {
    if plans[plan].decimation == 1u {
        return run.sign * (f32(sample_at(index)) - level);
    }
    let at = 2u * index;
    let sum = 20.0 * tap(at, 0u, 0u, level)
        + 15.0 * (tap(at, 1u, 0u, level) + tap(at, 0u, 1u, level))
        + 6.0 * (tap(at, 2u, 0u, level) + tap(at, 0u, 2u, level))
        + (tap(at, 3u, 0u, level) + tap(at, 0u, 3u, level));
    return (run.sign / 64.0) * sum;
}

// Fills the transform's points inside the window.
fn decimate() {
    let level = head_f32(HEAD_LEVEL);
    let count = trace_length();
    for (var index = lane; index < (count + 1u) / 2u; index += WIDTH) {
        var pair = vec2<f32>(decimated(2u * index, level), 0.0);
        if 2u * index + 1u < count {
            pair.y = decimated(2u * index + 1u, level);
        }
        put_complex(index, pair);
    }
    sync();
}
