// Stage 7a: the charge of a hit. Twin: src/extract/deconvolution/charge.rs.
// Leaves charge and error where the smoothed trace was, and flags in the upper bits of the found hit.

const EDGE_CHARGE_SHARE: f32 = 0.98;
const LEAST_SHARE: f32 = 0.5;
const PILE_UP_RATIO: f32 = 1.25;
const ROOT_OF_TWO_PI: f32 = 2.5066283;
const FLAGS_SHIFT: u32 = 20u;

fn charge() {
    let n_found = head(HEAD_N_FOUND);
    for (var index = lane; index < n_found; index += WIDTH) {
        measure_charge(index);
    }
    sync();
}

fn kernel_integral(time_ns: f32) -> f32 {
    let place = max((time_ns + plans[plan].kernel_lead_ns) * plans[plan].kernel_per_ns, 0.0);
    let index = u32(place);
    if index + 1u >= plans[plan].n_kernel_integral {
        return 1.0;
    }
    let a = tables[plans[plan].kernel_integral_at + index];
    let b = tables[plans[plan].kernel_integral_at + index + 1u];
    return a + (b - a) * (place - f32(index));
}

fn measure_charge(hit: u32) {
    let found = bin(hit);
    let begin = found.x & 0xffffu;
    let end = found.x >> 16u;
    let peak = found.y & 0xffffu;
    let count = trace_length();
    let step_ns = plans[plan].step_ns;
    let sigma_ns = plans[plan].kernel_sigma_ns;
    let noise_adc = head_f32(HEAD_NOISE);

    var sum = 0.0;
    for (var index = begin; index < end; index++) {
        sum += trace_at(index);
    }
    sum *= step_ns;
    var flags = 0u;
    let from_end = count - min(peak, count);
    var share = 1.0;
    if from_end < plans[plan].n_shares {
        share = tables[plans[plan].shares_at + from_end];
    }
    if share < EDGE_CHARGE_SHARE || peak < plans[plan].edge_reach {
        flags |= TRUNCATED_AT_EDGE;
    }
    share = select(1.0, share, share >= LEAST_SHARE && share < EDGE_CHARGE_SHARE);
    let peak_ns = f32(peak) * step_ns;
    var before = 0.0;
    if (found.y & ALONE_BEFORE) != 0u {
        before = kernel_integral((f32(begin) - 0.5) * step_ns - peak_ns);
    }
    var behind = 0.0;
    if (found.y & ALONE_BEHIND) != 0u && end < count {
        behind = 1.0 - kernel_integral((f32(end) - 0.5) * step_ns - peak_ns);
    }
    share *= max(1.0 - before - behind, LEAST_SHARE);
    let one_kernel = trace_at(peak) * sigma_ns * ROOT_OF_TWO_PI;
    let width = end - begin;
    let longest = plans[plan].n_charge_noise - 1u;
    // Beyond the table the noise of far samples is independent.
    let noise = tables[plans[plan].charge_noise_at + min(width, longest)]
        * sqrt(max(f32(width) / f32(longest), 1.0))
        * noise_adc;
    if sum > PILE_UP_RATIO * one_kernel + 3.0 * noise {
        flags |= PILE_UP;
    }
    let baseline_error = head_f32(HEAD_BASELINE_SIGMA) * response_at(peak) * f32(width) * step_ns;
    put_smooth(2u * hit, sum / share);
    put_smooth(2u * hit + 1u, sqrt(noise * noise + baseline_error * baseline_error) / share);
    put_bin(hit, vec2<u32>(found.x, found.y | flags << FLAGS_SHIFT));
}
