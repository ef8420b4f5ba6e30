// Stage 7a: the charge of a hit. Twin: src/extract/deconvolution/charge.rs.
// Writes charge and error over the smoothed trace, and flags into the upper bits of the found hit.

#import common/layout
#import common/prefix_sum
#import common/state
#import deconvolution/residual_baseline
#import generated/extraction
#import generated/flags
#import generated/state
#import generated/waveforms
#import memory

const SQRT_2_PI: f32 = 2.5066283;

fn measure_charges() {
    let n_found = header(HEADER_N_FOUND);
    for (var index = lane; index < n_found; index += WIDTH) {
        measure_charge(index);
    }
    sync();
}

fn kernel_integral(time_ns: f32) -> f32 {
    let position = max((time_ns + plans[plan].kernel_lead_ns) * plans[plan].kernel_per_ns, 0.0);
    let index = u32(position);
    if index + 1u >= plans[plan].n_kernel_integral {
        return 1.0;
    }
    let a = tables[plans[plan].kernel_integral_at + index];
    let b = tables[plans[plan].kernel_integral_at + index + 1u];
    return a + (b - a) * (position - f32(index));
}

fn measure_charge(hit: u32) {
    let found = found_hit(hit);
    let begin = found.x & 0xffffu;
    let end = found.x >> 16u;
    let peak = found.y & 0xffffu;
    let count = trace_length();
    let step_ns = plans[plan].step_ns;
    let sigma_ns = plans[plan].kernel_sigma_ns;
    let noise_adc = header_f32(HEADER_NOISE);

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
    share = select(1.0, share, share >= MIN_SEEN_SHARE && share < EDGE_CHARGE_SHARE);
    let peak_ns = f32(peak) * step_ns;
    var before = 0.0;
    if (found.y & ALONE_BEFORE) != 0u {
        before = kernel_integral((f32(begin) - 0.5) * step_ns - peak_ns);
    }
    var after = 0.0;
    if (found.y & ALONE_AFTER) != 0u && end < count {
        after = 1.0 - kernel_integral((f32(end) - 0.5) * step_ns - peak_ns);
    }
    share *= max(1.0 - before - after, MIN_SEEN_SHARE);
    let one_kernel = trace_at(peak) * sigma_ns * SQRT_2_PI;
    let width = end - begin;
    let longest = plans[plan].n_charge_noise - 1u;
    // Samples farther apart than the table reaches have independent noise.
    let noise = tables[plans[plan].charge_noise_at + min(width, longest)]
        * sqrt(max(f32(width) / f32(longest), 1.0))
        * noise_adc;
    if sum > PILE_UP_RATIO * one_kernel + 3.0 * noise {
        flags |= PILE_UP;
    }
    let baseline_error = header_f32(HEADER_BASELINE_SIGMA) * response_at(peak) * f32(width) * step_ns;
    write_hit_charge(hit, sum / share, sqrt(noise * noise + baseline_error * baseline_error) / share);
    write_found_hit(hit, vec2<u32>(found.x, found.y | flags << FLAGS_SHIFT));
}
