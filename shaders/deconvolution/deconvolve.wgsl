// Stage 4: deconvolution by FFT: division by the spectrum of the template and low-pass.
// Twin: src/extract/deconvolution/deconvolve.rs, which explains the packed transform and the factors A and B.

#import baseline
#import common/fft
#import common/layout
#import common/prefix_sum
#import common/state
#import generated/extraction
#import generated/flags
#import generated/state
#import generated/waveforms
#import load_samples
#import memory

fn mean(begin: u32, end: u32) -> f32 {
    var sum = 0.0;
    for (var index = begin; index < end; index++) {
        sum += real_at(index);
    }
    return sum / f32(max(end - begin, 1u));
}

// Level of the last samples of the trace.
fn end_level() -> f32 {
    let count = trace_length();
    return mean(max(count, LEVEL_SAMPLES) - LEVEL_SAMPLES, count);
}

// Leaves a window whose end cuts a pulse to the CPU, which continues the pulse: the end is higher than the level, and than the baseline on which
// most blocks agree.
fn test_window_end() {
    let samples = f32(LEVEL_SAMPLES * plans[plan].decimation);
    let max_end_adc = CUT_PULSE_SIGMA * header_f32(HEADER_NOISE) / sqrt(samples);
    if is_leader() && end_level() > max_end_adc {
        write_header(HEADER_FLAGS, header(HEADER_FLAGS) | LEFT_TO_CPU);
    }
    sync();
    if (broadcast(header(HEADER_FLAGS)) & LEFT_TO_CPU) == 0u {
        return;
    }
    let level_adc = header_f32(HEADER_LEVEL);
    let sigma_adc = header_f32(HEADER_BASELINE_SIGMA);
    find_cluster(length / block_size(), header_f32(HEADER_MEASURED_NOISE));
    if is_leader() {
        let baseline_adc = header_f32(HEADER_LEVEL);
        write_header_f32(HEADER_LEVEL, level_adc);
        write_header_f32(HEADER_BASELINE_SIGMA, sigma_adc);
        if end_level() + run.sign * (level_adc - baseline_adc) <= max_end_adc {
            write_header(HEADER_FLAGS, header(HEADER_FLAGS) & ~LEFT_TO_CPU);
        }
    }
    sync();
}

fn deconvolve() {
    extend_window();
    fft();
    for (var pair = lane; pair < BINS / 2u; pair += WIDTH) {
        filter_pair(pair);
    }
    sync();
    ifft();
    let count = trace_length();
    for (var index = lane; index < count; index += WIDTH) {
        write_trace(index, real_at(index));
    }
    sync();
}

// Extends the window at both ends to the baseline, as the transform is circular.
fn extend_window() {
    let count = trace_length();
    let first = mean(0u, min(LEVEL_SAMPLES, count));
    // Level after the last sample, and the relative decay per sample.
    let end = min(2u * LEVEL_SAMPLES, count);
    let middle = count - end + end / 2u;
    let before = mean(count - end, middle);
    let after = mean(middle, count);
    let half = 0.5 * f32(end);
    let slope = (after - before) / half;
    var level = after + 0.5 * slope * half;
    var decay = -slope / level;
    if !(level * after > 0.0 && decay > 0.0 && decay < 1.0 / half) {
        level = after;
        decay = 0.0;
    }
    let beyond = 2u * BINS - count;
    let n_tail = plans[plan].n_tail_ramp;
    let tail_at = plans[plan].tail_ramp_at;
    let n_lead = min(plans[plan].n_lead_ramp, beyond);
    let lead_at = plans[plan].lead_ramp_at + plans[plan].n_lead_ramp - n_lead;
    // The whole window has to be read before the last pair of an odd window is written.
    sync();
    for (var index = lane + count / 2u; index < BINS; index += WIDTH) {
        var pair = complex_at(index);
        for (var part = 0u; part < 2u; part++) {
            let sample = 2u * index + part;
            if sample < count {
                continue;
            }
            let offset = sample - count;
            var value = 0.0;
            if offset >= beyond - n_lead {
                value = first * tables[lead_at + offset - (beyond - n_lead)];
            } else if offset < n_tail {
                value = level * tables[tail_at + offset] / (1.0 + decay * f32(offset + 1u));
            }
            if part == 0u {
                pair.x = value;
            } else {
                pair.y = value;
            }
        }
        write_complex(index, pair);
    }
    sync();
}

// Filters the bins k and M - k together. In bit-reversed order the index of the partner differs in all bits below the highest one;
// the indices 0 and 1 (k = 0 and M / 2) are their own partners.
fn filter_pair(pair: u32) {
    let spectrum_at = plans[plan].spectrum_at;
    if pair == 0u {
        write_complex(0u, filtered(complex_at(0u), complex_at(0u), spectra[spectrum_at], twiddles[ANGLES_AT + BINS / 2u]));
        write_complex(1u, filtered(complex_at(1u), complex_at(1u), spectra[spectrum_at + BINS / 2u], vec2<f32>(0.0, 1.0)));
        return;
    }
    let high = 2u << firstLeadingBit(pair);
    let bin_index = pair + high / 2u;
    let partner = bin_index ^ (high - 1u);
    let factors = spectra[spectrum_at + pair];
    // Cosine and sine of pi k / M.
    let angle = twiddles[ANGLES_AT + BINS / 2u + pair];
    let a = complex_at(bin_index);
    let b = complex_at(partner);
    write_complex(bin_index, filtered(a, b, factors, angle));
    // P' = conj(P), Q' = -conj(Q), and the cosine changes its sign.
    let mirrored = vec4<f32>(factors.x, -factors.y, -factors.z, factors.w);
    write_complex(partner, filtered(b, a, mirrored, vec2<f32>(-angle.x, angle.y)));
}

// A z + B conj(y), with A = P - Q sin, B = i Q cos; P and Q in `factors`.
fn filtered(z: vec2<f32>, y: vec2<f32>, factors: vec4<f32>, angle: vec2<f32>) -> vec2<f32> {
    let direct = factors.xy - factors.zw * angle.y;
    let mirrored = mul_i(factors.zw * angle.x);
    return cmul(direct, z) + cmul(mirrored, vec2<f32>(y.x, -y.y));
}
