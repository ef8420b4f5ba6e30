// Stage 7b: the time of a hit, from the leading edge. Twin: src/extract/deconvolution/time.rs.

const EDGE_SIGMA: f32 = 6.0;
const EDGE_PEAK_SHARE: f32 = 0.04;
// Light earlier than this many standard deviations of the kernel lies where the baseline is read.
const EARLY_SIGMA: f32 = 2.0;

fn time_hits(at: u32) {
    let n_found = head(HEAD_N_FOUND);
    let noise = plans[plan].noise_gain * head_f32(HEAD_NOISE);
    if lane == 0u {
        atomicStore(&sh_atomics[0], 0u);
    }
    workgroupBarrier();
    for (var index = lane; index < n_found; index += WIDTH) {
        let found = bin(index);
        let time_ns = measure_time_ns(found, noise);
        let charge_pe = smooth_at(2u * index);
        // A shoulder's share of the trace can come out empty; the host drops such a hit.
        if charge_pe > 0.0 && time_ns < EARLY_SIGMA * plans[plan].kernel_sigma_ns {
            atomicOr(&sh_atomics[0], PULSE_IN_BASELINE);
        }
        put_hit(at + index, Hit(time_ns, charge_pe, smooth_at(2u * index + 1u), 0.0, found.y >> FLAGS_SHIFT));
    }
    workgroupBarrier();
    if lane == 0u {
        put_head(HEAD_FLAGS, head(HEAD_FLAGS) | atomicLoad(&sh_atomics[0]));
    }
    sync();
}

fn measure_time_ns(found: vec2<u32>, noise: f32) -> f32 {
    let begin = found.x & 0xffffu;
    let peak = found.y & 0xffffu;
    let step_ns = plans[plan].step_ns;
    if (found.y & LEADS) == 0u {
        return peak_time_ns(peak, step_ns);
    }
    let least = max(EDGE_SIGMA * noise, EDGE_PEAK_SHARE * trace_at(peak));
    var edge = peak;
    while edge > begin && trace_at(edge - 1u) < trace_at(edge) && trace_at(edge - 1u) > least {
        edge--;
    }
    if edge == peak {
        return peak_time_ns(peak, step_ns);
    }
    // Two samples apart where the flank is that long.
    let behind = min(edge + 2u, peak);
    let slope = log(trace_at(behind) / trace_at(edge)) / step_ns / f32(behind - edge);
    let middle_ns = 0.5 * f32(edge + behind) * step_ns;
    return middle_ns + plans[plan].kernel_sigma_ns * plans[plan].kernel_sigma_ns * slope;
}

// The vertex of the parabola through the logarithms of the highest sample and its neighbours.
fn peak_time_ns(peak: u32, step_ns: f32) -> f32 {
    let middle = f32(peak) * step_ns;
    if peak == 0u || peak + 1u >= trace_length() {
        return middle;
    }
    var values = vec3<f32>(trace_at(peak - 1u), trace_at(peak), trace_at(peak + 1u));
    if all(values > vec3<f32>(0.0)) {
        values = log(values);
    }
    let curvature = values.x - 2.0 * values.y + values.z;
    if curvature < 0.0 {
        return middle + step_ns * clamp(0.5 * (values.x - values.z) / curvature, -1.0, 1.0);
    }
    return middle;
}
