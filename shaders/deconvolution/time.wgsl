// Stage 7b: the time of a hit, from the leading edge. Twin: src/extract/deconvolution/time.rs.

#import common/layout
#import common/prefix_sum
#import common/state
#import extract
#import generated/extraction
#import generated/flags
#import generated/results
#import generated/state
#import generated/waveforms
#import memory

fn write_timed_hits(first: u32) {
    let n_found = header(HEADER_N_FOUND);
    let noise = plans[plan].noise_gain * header_f32(HEADER_NOISE);
    if is_leader() {
        atomicStore(&sh_atomics[0], 0u);
    }
    workgroupBarrier();
    for (var index = lane; index < n_found; index += WIDTH) {
        let found = found_hit(index);
        let time_ns = measure_time_ns(found, noise);
        let charge_pe = hit_charge(index);
        // A shoulder may have no charge of its own; the host drops such a hit.
        if charge_pe > 0.0 && time_ns < EARLY_SIGMA * plans[plan].kernel_sigma_ns {
            atomicOr(&sh_atomics[0], PULSE_IN_BASELINE);
        }
        write_hit(first + index, Hit(time_ns, charge_pe, hit_charge_sigma(index), 0.0, found.y >> FLAGS_SHIFT));
    }
    workgroupBarrier();
    if is_leader() {
        write_header(HEADER_FLAGS, header(HEADER_FLAGS) | atomicLoad(&sh_atomics[0]));
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
    let min_height = max(EDGE_SIGMA * noise, EDGE_PEAK_SHARE * trace_at(peak));
    var edge = peak;
    while edge > begin && trace_at(edge - 1u) < trace_at(edge) && trace_at(edge - 1u) > min_height {
        edge--;
    }
    if edge == peak {
        return peak_time_ns(peak, step_ns);
    }
    // The slope over two samples, where the flank is that long.
    let after = min(edge + 2u, peak);
    let slope = log(trace_at(after) / trace_at(edge)) / step_ns / f32(after - edge);
    let middle_ns = 0.5 * f32(edge + after) * step_ns;
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
