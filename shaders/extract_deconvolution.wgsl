// The stages of the methods that deconvolve, in order.

fn stages() {
    if runs(DECIMATE) {
        decimate();
    }
    if runs(DECONVOLVE) {
        deconvolve();
    }
    if runs(FLOOR) {
        find_floor();
    }
    if runs(FIND) {
        find();
    }
    if runs(CHARGE) {
        charge();
    }
}

fn give_hits(first: u32) {
    time_hits(first);
}

fn look() {
    glance();
}

fn give_seeds(first: u32) {
    let n_found = head(HEAD_N_FOUND);
    let noise = plans[plan].noise_gain * head_f32(HEAD_NOISE);
    for (var index = lane; index < n_found; index += WIDTH) {
        let at = measure_time_ns(bin(index), noise) / plans[plan].step_ns;
        seeds_of(index, first + region_at(index), at);
    }
}
