// The stages of the method `deconvolution`, in order.

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
