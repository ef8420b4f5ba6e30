// What the deconvolved trace gives the fit to begin with. Twin: src/extract/template_fit/seeds.rs, which has the constants.
// Seeds stand behind the waveform's hits, and count among them only as room that is taken.

// Where the seeds of each found hit begin, into the regions, which nothing needs any more; returns their number.
fn count_seeds(n_found: u32) -> u32 {
    if FIT == 0u {
        return 0u;
    }
    var n_seeds = 0u;
    for (var at = 0u; at < n_found; at += WIDTH) {
        var own = 0u;
        if at + lane < n_found {
            own = seeds_of(at + lane, NO_PLACE, 0.0);
        }
        let sums = scan(own);
        if at + lane < n_found {
            put_region(at + lane, n_seeds + sums.x);
        }
        n_seeds += sums.y;
    }
    sync();
    return broadcast(n_seeds);
}

const NO_PLACE: u32 = 0xffffffffu;

fn put_seed(place: u32, at: f32, charge_pe: f32) {
    if place != NO_PLACE {
        put_hit(place, Hit(at * f32(plans[plan].decimation), charge_pe, 0.0, 0.0, 0u));
    }
}

// Puts the seeds of found hit `hit`, whose time is `at` in samples of the trace, from `place` on, if that is one; returns their number.
fn seeds_of(hit: u32, place: u32, at: f32) -> u32 {
    let charge_pe = smooth_at(2u * hit);
    if charge_pe <= 0.0 {
        return 0u;
    }
    let found = bin(hit);
    if ((found.y >> FLAGS_SHIFT) & PILE_UP) == 0u {
        put_seed(place, at, max(charge_pe, SEED_LEAST_PE));
        return 1u;
    }
    let begin = found.x & 0xffffu;
    let end = found.x >> 16u;
    var all = 0.0;
    for (var index = begin; index < end; index++) {
        all += max(trace_at(index), 0.0);
    }
    let share = all / max(floor(charge_pe + 0.5), 2.0);
    let gap = SEED_GAP * plans[plan].kernel_sigma_ns / plans[plan].step_ns;
    var charge = 0.0;
    var moment = 0.0;
    var last = -1e30;
    var number = 0u;
    for (var index = begin; index < end; index++) {
        var value = max(trace_at(index), 0.0);
        let here = f32(index);
        if charge + value >= share && here - last >= gap && value > 0.0 {
            let part = min(max(share - charge, 0.0), value);
            charge += part;
            moment += part * here;
            put_seed(select(place + number, NO_PLACE, place == NO_PLACE), moment / charge, charge_pe * charge / all);
            number++;
            value -= part;
            charge = 0.0;
            moment = 0.0;
            last = here;
        }
        charge += value;
        moment += value * here;
    }
    if charge > SEED_REST * share {
        put_seed(select(place + number, NO_PLACE, place == NO_PLACE), moment / charge, charge_pe * charge / all);
        number++;
    }
    if number == 0u {
        put_seed(place, at, max(charge_pe, SEED_LEAST_PE));
        number = 1u;
    }
    return number;
}
