// Stage 4: divide by the template's spectrum, low-pass, and back. Twin: src/extract/deconvolution/deconvolve.rs, which explains the
// packed transform and the factors A and B.

const LEVEL_SAMPLES: u32 = 8u;
// Where in `roots` the angles of the packed transform begin.
const ANGLES_AT: u32 = 8192u;

fn mean_of(begin: u32, end: u32) -> f32 {
    var sum = 0.0;
    for (var index = begin; index < end; index++) {
        sum += real_at(index);
    }
    return sum / f32(max(end - begin, 1u));
}

fn deconvolve() {
    lead();
    transform_forward();
    for (var pair = lane; pair < BINS / 2u; pair += WIDTH) {
        filter_pair(pair);
    }
    sync();
    transform_backward();
    let count = trace_length();
    for (var index = lane; index < count; index += WIDTH) {
        put_trace(index, real_at(index));
    }
    sync();
}

// Leads the window's ends to the baseline, round the circle of the transform.
fn lead() {
    let count = trace_length();
    let first = mean_of(0u, min(LEVEL_SAMPLES, count));
    // Where the window's end leads: its level just behind the last sample, and the share of it that goes a sample.
    let end = min(2u * LEVEL_SAMPLES, count);
    let middle = count - end + end / 2u;
    let before = mean_of(count - end, middle);
    let after = mean_of(middle, count);
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
    // All of the window has been read before an odd window's last pair is written.
    sync();
    for (var index = lane + count / 2u; index < BINS; index += WIDTH) {
        var pair = complex_at(index);
        for (var part = 0u; part < 2u; part++) {
            let at = 2u * index + part;
            if at < count {
                continue;
            }
            let place = at - count;
            var value = 0.0;
            if place >= beyond - n_lead {
                value = first * tables[lead_at + place - (beyond - n_lead)];
            } else if place < n_tail {
                value = level * tables[tail_at + place] / (1.0 + decay * f32(place + 1u));
            }
            if part == 0u {
                pair.x = value;
            } else {
                pair.y = value;
            }
        }
        put_complex(index, pair);
    }
    sync();
}

// Filters the bins k and M - k at once. In bit-reversed order the partner of a place differs in all bits below its
// highest; the places 0 and 1 (k = 0 and M / 2) are their own partners.
fn filter_pair(pair: u32) {
    let at = plans[plan].spectrum_at;
    if pair == 0u {
        put_complex(0u, filtered(complex_at(0u), complex_at(0u), spectra[at], roots[ANGLES_AT + BINS / 2u]));
        put_complex(1u, filtered(complex_at(1u), complex_at(1u), spectra[at + BINS / 2u], vec2<f32>(0.0, 1.0)));
        return;
    }
    let high = 2u << firstLeadingBit(pair);
    let here = pair + high / 2u;
    let there = here ^ (high - 1u);
    let factors = spectra[at + pair];
    // Cosine and sine of pi k / M.
    let angle = roots[ANGLES_AT + BINS / 2u + pair];
    let a = complex_at(here);
    let b = complex_at(there);
    put_complex(here, filtered(a, b, factors, angle));
    // P' = conj(P), Q' = -conj(Q), and the cosine changes its sign.
    let mirrored = vec4<f32>(factors.x, -factors.y, -factors.z, factors.w);
    put_complex(there, filtered(b, a, mirrored, vec2<f32>(-angle.x, angle.y)));
}

// A z + B conj(y), with A = P - Q sin, B = i Q cos; P and Q in `factors`.
fn filtered(z: vec2<f32>, y: vec2<f32>, factors: vec4<f32>, angle: vec2<f32>) -> vec2<f32> {
    let direct = factors.xy - factors.zw * angle.y;
    let mirrored = turned_back(factors.zw * angle.x);
    return times(direct, z) + times(mirrored, vec2<f32>(y.x, -y.y));
}
