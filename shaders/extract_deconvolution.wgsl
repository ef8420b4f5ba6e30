// The stages of the methods with deconvolution, in order.

#import common/layout
#import common/prefix_sum
#import common/state
#import deconvolution/charge
#import deconvolution/decimate
#import deconvolution/deconvolve
#import deconvolution/hit_finding
#import deconvolution/moving_baseline
#import deconvolution/residual_baseline
#import deconvolution/time
#import empty_waveform
#import extract
#import generated/flags
#import generated/methods
#import generated/state
#import generated/waveforms
#import memory
#import template_fit/seeds

fn is_left_to_cpu() -> bool {
    return (broadcast(header(HEADER_FLAGS)) & LEFT_TO_CPU) != 0u;
}

fn run_stages() {
    if runs(STAGE_DECIMATE) {
        decimate();
    }
    if runs(STAGE_DECONVOLVE) {
        test_window_end();
    }
    if is_left_to_cpu() {
        return;
    }
    if runs(STAGE_DECONVOLVE) {
        deconvolve();
    }
    if runs(STAGE_RESIDUAL_BASELINE) {
        let noise_adc = header_f32(HEADER_NOISE);
        estimate_residual_baseline();
        test_baseline(noise_adc);
    }
    if is_left_to_cpu() {
        return;
    }
    if runs(STAGE_HIT_FINDING) {
        find_hits();
    }
    if runs(STAGE_CHARGE) {
        measure_charges();
    }
}

fn write_hits(first: u32) {
    write_timed_hits(first);
}

fn test_for_light() {
    find_empty_baseline();
}

fn write_seeds(first: u32) {
    let n_found = header(HEADER_N_FOUND);
    let noise = plans[plan].noise_gain * header_f32(HEADER_NOISE);
    for (var index = lane; index < n_found; index += WIDTH) {
        let time = measure_time_ns(found_hit(index), noise) / plans[plan].step_ns;
        write_hit_seeds(index, first + region_at(index), time);
    }
}
