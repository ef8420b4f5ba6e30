// The template fit: a waveform as a sum of few templates, one workgroup per waveform. Twin: src/extract/template_fit/fit.rs, which
// explains the method. The constants are in src/extract/template_fit/config.rs; the seeds are those that extract.wgsl wrote after the
// hits of the waveform.

#import common/layout
#import common/prefix_sum
#import generated/flags
#import generated/results
#import generated/template_fit
#import generated/waveforms
#import template_fit/add_pulses
#import template_fit/capacity
#import template_fit/iterate
#import template_fit/normal_equations
#import template_fit/pair_separation
#import template_fit/priors
#import template_fit/prune
#import template_fit/state
#import template_fit/template

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    lane = thread;
    let slot = group.y * groups.x + group.x;
    if slot >= run.count {
        return;
    }
    let waveform = waveforms[run.first + slot];
    length = waveform.length;
    first_word = waveform.first_word;
    plan = waveform.plan;
    let index = waveform.index;
    let n_seeds = broadcast(summaries[index].n_seeds);
    let flags = broadcast(summaries[index].flags);
    let n_found = broadcast(summaries[index].n_hits);
    let first = broadcast(summaries[index].first_hit);
    if n_seeds == 0u || (flags & (FITTED | FIT_FAILED)) != 0u {
        return;
    }
    if (flags & (SATURATED_HIGH | SATURATED_LOW)) != 0u || n_seeds > MAX_PULSES {
        if is_leader() {
            summaries[index].flags = flags | FIT_FAILED;
        }
        return;
    }
    // Where not all hits have room, the host repeats the dispatch with a larger buffer.
    if first + n_found + n_seeds > run.capacity {
        return;
    }
    if n_seeds > PULSE_CAPACITY {
        exceed_capacity(index, flags);
        return;
    }
    first_baseline_adc = summaries[index].baseline_adc;
    let noise_adc = summaries[index].used_noise_adc;
    noise2 = noise_adc * noise_adc;
    scale = plans[plan].scale;
    select_template();
    n_pulses = n_seeds;
    for (var seed = lane; seed < n_seeds; seed += WIDTH) {
        let hit = hits[first + n_found + seed];
        sh_time[seed] = hit.time_ns;
        sh_charge[seed] = hit.charge_pe;
    }
    workgroupBarrier();
    let chi2_ndf = fit();
    if capacity_exceeded {
        exceed_capacity(index, flags);
        return;
    }
    // All threads have read hits and seeds.
    storageBarrier();
    let succeeded = chi2_ndf >= 0.0 && chi2_ndf < MAX_CHI2_NDF;
    if is_leader() {
        var first_hit = first;
        if succeeded {
            if n_pulses > n_found + n_seeds {
                first_hit = atomicAdd(&n_hits, n_pulses);
            }
            summaries[index].n_hits = n_pulses;
            summaries[index].first_hit = first_hit;
            summaries[index].flags = flags | FITTED;
            summaries[index].chi2_ndf = chi2_ndf;
            summaries[index].baseline_adc = first_baseline_adc + run.sign * baseline_adc;
        } else {
            summaries[index].flags = flags | FIT_FAILED;
        }
        sh_count = first_hit;
    }
    workgroupBarrier();
    if succeeded {
        write_pulses(sh_count);
    }
}

// Leaves the waveform to the CPU.
fn exceed_capacity(index: u32, flags: u32) {
    if is_leader() {
        summaries[index].flags = flags | LEFT_TO_CPU;
    }
}

// Writes the pulses as hits from `first` on.
fn write_pulses(first: u32) {
    let step_ns = plans[plan].step_ns / f32(plans[plan].decimation);
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        var flags = 0u;
        if inside(i32(floor(sh_time[pulse]))).y < CONTAINED_SHARE {
            flags |= TRUNCATED_AT_EDGE;
        }
        if sh_charge[pulse] > PILE_UP_PE {
            flags |= PILE_UP;
        }
        if first + pulse < run.capacity {
            hits[first + pulse] = Hit(
                sh_time[pulse] * step_ns,
                sh_charge[pulse],
                sh_charge_sigma[pulse],
                sh_time_sigma[pulse] * step_ns,
                flags,
            );
        }
    }
}

// Fits the waveform from its seeds; returns chi-square per degree of freedom, or -1 if the fit failed.
//
// The nested loops of the twin are one loop here: drivers inline functions at every call, and a step should be inlined once.
fn fit() -> f32 {
    baseline_adc = 0.0;
    damping = 0.0;
    capacity_exceeded = false;
    // True if this pass of the loop makes a step, if the last one did, and if that step was reverted.
    var is_step = true;
    var stepped = false;
    var reverted = false;
    var n_steps = 0u;
    var n_total_steps = 0u;
    var gain = 0.0;
    // Rounds of adding pulses, pulses that the last round added, and pulses pruned since.
    var n_rounds = 0u;
    var n_added = 0u;
    var n_pruned = 0u;
    var converged = false;
    // True in the last iteration, after which no pulse is added or pruned.
    var is_final = false;
    while true {
        let moved = stepped && !reverted;
        sort_pulses(select(-1e30, DROPPED_CHARGE_PE, moved));
        update_residual();
        compute_inner_products();
        if moved {
            if broadcast(select(0u, 1u, sh_inner_products[n_pulses].y > MAX_CHI2_GROWTH * previous_residual_squares + 4.0 * noise2)) == 1u {
                revert_step();
                damping = max(DAMPING_INCREASE * damping, FIRST_DAMPING);
                reverted = true;
                continue;
            }
            damping *= DAMPING_DECREASE;
        }
        reverted = false;
        if stepped {
            let is_small = gain < select(CHI2_TOL, FINAL_CHI2_TOL, is_final);
            // Only a fit that diverges fails; a large pulse may still change in its last digits.
            let has_converged = is_small || gain < 0.1 * sh_inner_products[n_pulses].y / noise2;
            let is_last = is_small || n_steps == select(MAX_STEPS, MAX_FINAL_STEPS, is_final);
            let verdict = broadcast(select(0u, 1u, is_last) | select(0u, 2u, has_converged));
            is_step = (verdict & 1u) == 0u;
            converged = (verdict & 2u) != 0u;
            stepped = false;
        }
        for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
            write_time_damping(pulse, damping);
            if is_step && n_steps == 0u {
                sh_start_time[pulse] = sh_time[pulse];
            }
        }
        workgroupBarrier();
        update_priors();
        var n_solves = 0u;
        while true {
            fill_matrix(is_step);
            if is_step {
                write_gradient();
            }
            factorise(columns() + select(0u, 1u, is_step));
            if !is_step {
                break;
            }
            gain = solve();
            n_solves++;
            if n_solves == MAX_SOLVES || !raise_damping() {
                break;
            }
        }
        if is_step {
            n_total_steps++;
            if n_total_steps > MAX_TOTAL_STEPS {
                capacity_exceeded = true;
                break;
            }
            advance();
            n_steps++;
            stepped = true;
            continue;
        }
        invert();
        estimate_errors();
        if is_final {
            break;
        }
        let least = least_significant();
        if least < n_pulses {
            if is_leader() {
                remove(least);
            }
            n_pulses--;
            n_pruned++;
            workgroupBarrier();
        } else if n_rounds == MAX_ROUNDS || (n_rounds > 0u && n_pruned >= n_added) {
            is_final = true;
        } else {
            n_added = add_pulses();
            if capacity_exceeded {
                break;
            }
            is_final = n_added == 0u;
            n_rounds++;
            n_pruned = 0u;
        }
        is_step = true;
        n_steps = 0u;
        damping = 0.0;
    }
    if capacity_exceeded {
        return -1.0;
    }
    correct_separations();
    let freedom = max(f32(length) - f32(columns()), 1.0);
    let residual_squares = sh_inner_products[n_pulses].y;
    // The noise that the trace shows contains what the fit does not describe: the fit is judged by the calibrated one.
    let calibrated = max(plans[plan].noise_adc, run.least_noise_adc);
    let judged2 = select(noise2, calibrated * calibrated, plans[plan].noise_adc > 0.0);
    let describes_waveform = residual_squares <= MAX_MISFIT_NOISE * MAX_MISFIT_NOISE * judged2 * freedom + MAX_MISFIT_SHARE * MAX_MISFIT_SHARE * model_squares();
    return select(-1.0, residual_squares / judged2 / freedom, converged && describes_waveform);
}
