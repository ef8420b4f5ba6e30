// Seeds of the fit from the deconvolved trace. Twin: src/extract/template_fit/seeds.rs.
// Seeds are written after the hits of the waveform; they take room in `hits` but are not counted as hits.

#import common/layout
#import common/prefix_sum
#import common/state
#import extract
#import generated/extraction
#import generated/flags
#import generated/methods
#import generated/results
#import generated/state
#import generated/waveforms
#import memory
#import scan

// Counts the seeds; writes where those of each found hit begin into the regions, which are no longer needed.
fn count_seeds(n_found: u32) -> u32 {
    if FIT == FIT_NONE {
        return 0u;
    }
    var n_seeds = 0u;
    for (var base = 0u; base < n_found; base += WIDTH) {
        var own = 0u;
        if base + lane < n_found {
            own = write_hit_seeds(base + lane, NO_SLOT, 0.0);
        }
        let sums = scan(own);
        if base + lane < n_found {
            write_region(base + lane, n_seeds + sums.x);
        }
        n_seeds += sums.y;
    }
    sync();
    return broadcast(n_seeds);
}

const NO_SLOT: u32 = 0xffffffffu;

// Writes a seed at `time`, in samples of the trace.
fn write_seed(slot: u32, time: f32, charge_pe: f32) {
    if slot != NO_SLOT {
        write_hit(slot, Hit(time * f32(plans[plan].decimation), charge_pe, 0.0, 0.0, 0u));
    }
}

// Writes the seeds of found hit `hit` from `slot` on, unless that is NO_SLOT; returns their number. `time` is the time of the hit in
// samples of the trace.
fn write_hit_seeds(hit: u32, slot: u32, time: f32) -> u32 {
    let charge_pe = hit_charge(hit);
    if charge_pe <= 0.0 {
        return 0u;
    }
    let found = found_hit(hit);
    if ((found.y >> FLAGS_SHIFT) & PILE_UP) == 0u {
        write_seed(slot, time, max(charge_pe, MIN_CHARGE_PE));
        return 1u;
    }
    let begin = found.x & 0xffffu;
    let end = found.x >> 16u;
    var total = 0.0;
    for (var index = begin; index < end; index++) {
        total += max(trace_at(index), 0.0);
    }
    let share = total / max(floor(charge_pe + 0.5), 2.0);
    let gap = MIN_SEED_DISTANCE * plans[plan].kernel_sigma_ns / plans[plan].step_ns;
    var charge = 0.0;
    var moment = 0.0;
    var last = -1e30;
    var n_seeds = 0u;
    for (var index = begin; index < end; index++) {
        var value = max(trace_at(index), 0.0);
        let sample = f32(index);
        if charge + value >= share && sample - last >= gap && value > 0.0 {
            let part = min(max(share - charge, 0.0), value);
            charge += part;
            moment += part * sample;
            write_seed(select(slot + n_seeds, NO_SLOT, slot == NO_SLOT), moment / charge, charge_pe * charge / total);
            n_seeds++;
            value -= part;
            charge = 0.0;
            moment = 0.0;
            last = sample;
        }
        charge += value;
        moment += value * sample;
    }
    if charge > MIN_SEED_SHARE * share {
        write_seed(select(slot + n_seeds, NO_SLOT, slot == NO_SLOT), moment / charge, charge_pe * charge / total);
        n_seeds++;
    }
    if n_seeds == 0u {
        write_seed(slot, time, max(charge_pe, MIN_CHARGE_PE));
        n_seeds = 1u;
    }
    return n_seeds;
}
