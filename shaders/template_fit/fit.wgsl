// Stage 8: a waveform as a sum of few templates, in one workgroup. Twin: src/extract/template_fit/fit.rs, which explains the method and has the
// constants. Seeds are what extract.wgsl leaves behind the hits of a waveform.
//
// Sums over samples run over LANES lanes whatever the workgroup's width, and every decision is one thread's, handed to all.

const LANES: u32 = 32u;

// What the fit leaves of the waveform.
var<workgroup> sh_residual: array<f32, SAMPLES>;
// The photoelectrons.
var<workgroup> sh_at: array<f32, ROOM>;
var<workgroup> sh_charge: array<f32, ROOM>;
// Their errors; in steps, what holds each time back while it is solved for, and whence it had set out before the step.
var<workgroup> sh_charge_sigma: array<f32, ROOM>;
var<workgroup> sh_at_sigma: array<f32, ROOM>;
// The sample before each, weights times charge, and what of them is inside the window.
var<workgroup> sh_sample: array<i32, ROOM>;
var<workgroup> sh_scaled: array<vec4<f32>, ROOM>;
var<workgroup> sh_inside: array<vec3<f32>, ROOM>;
// What the residual has in common with the four coefficients of each; behind them its own sum, and that of its squares.
var<workgroup> sh_common: array<vec4<f32>, SUMS>;
var<workgroup> sh_partial: array<vec4<f32>, PARTIALS>;
// Times from which they set out, and before a step time and charge.
var<workgroup> sh_from: array<f32, ROOM>;
var<workgroup> sh_before: array<vec2<f32>, ROOM>;
// Photoelectrons, as one thread counts them.
var<workgroup> sh_count: u32;

// The same in all threads.
var<private> n_light: u32;
var<private> baseline_adc: f32;
var<private> noise2: f32;
var<private> scale: f32;
// What raises the diagonal, relative.
var<private> damping: f32;
// Photoelectrons, baseline and squares of the residual before a step.
var<private> n_before: u32;
var<private> baseline_before_adc: f32;
var<private> left_before: f32;
var<private> first_baseline_adc: f32;
// More photoelectrons than this kernel has room for, or more steps than it may take.
var<private> outgrown: bool;

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
    if (flags & (SATURATED_HIGH | SATURATED_LOW)) != 0u || n_seeds > MOST {
        if lane == 0u {
            summaries[index].flags = flags | FIT_FAILED;
        }
        return;
    }
    // Without room for all hits the host comes again.
    if first + n_found + n_seeds > run.capacity {
        return;
    }
    if n_seeds > ROOM {
        outgrow(index, flags);
        return;
    }
    first_baseline_adc = summaries[index].baseline_adc;
    let noise_adc = summaries[index].used_noise_adc;
    noise2 = noise_adc * noise_adc;
    scale = plans[plan].scale;
    response_begin();
    n_light = n_seeds;
    for (var seed = lane; seed < n_seeds; seed += WIDTH) {
        let hit = hits[first + n_found + seed];
        sh_at[seed] = hit.time_ns;
        sh_charge[seed] = hit.charge_pe;
    }
    workgroupBarrier();
    let chi2_ndf = fit();
    if outgrown {
        outgrow(index, flags);
        return;
    }
    // Hits and seeds have been read by all.
    storageBarrier();
    let calibrated = plans[plan].noise_adc;
    let succeeded = chi2_ndf >= 0.0 && chi2_ndf < 3e38;
    if lane == 0u {
        var own = first;
        if succeeded {
            if n_light > n_found + n_seeds {
                own = atomicAdd(&n_hits, n_light);
            }
            var by = chi2_ndf;
            if calibrated > 0.0 {
                let ratio = noise_adc / max(calibrated, run.least_noise_adc);
                by *= ratio * ratio;
            }
            summaries[index].n_hits = n_light;
            summaries[index].first_hit = own;
            summaries[index].flags = flags | FITTED;
            summaries[index].chi2_ndf = by;
            summaries[index].baseline_adc = first_baseline_adc + run.sign * baseline_adc;
        } else {
            summaries[index].flags = flags | FIT_FAILED;
        }
        sh_count = own;
    }
    workgroupBarrier();
    if succeeded {
        give_light(sh_count);
    }
}

// Leaves the waveform to the CPU.
fn outgrow(index: u32, flags: u32) {
    if lane == 0u {
        summaries[index].flags = flags | OUTGROWN;
    }
}

fn give_light(first: u32) {
    let step_ns = plans[plan].step_ns / f32(plans[plan].decimation);
    for (var light = lane; light < n_light; light += WIDTH) {
        var flags = 0u;
        if inside(i32(floor(sh_at[light]))).y < INSIDE {
            flags |= TRUNCATED_AT_EDGE;
        }
        if sh_charge[light] > SEVERAL_PE {
            flags |= PILE_UP;
        }
        if first + light < run.capacity {
            hits[first + light] = Hit(
                sh_at[light] * step_ns,
                sh_charge[light],
                sh_charge_sigma[light],
                sh_at_sigma[light] * step_ns,
                flags,
            );
        }
    }
}

// Fits the waveform from its seeds; returns chi-square for each degree of freedom, or -1 where it came to no end.
//
// The twin's nested loops are one here: drivers put functions in where they are called, and a step should be there once.
fn fit() -> f32 {
    baseline_adc = 0.0;
    damping = 0.0;
    outgrown = false;
    // Whether this turn is a step, and whether the last one was.
    var steps_now = true;
    var stepped = false;
    var taken_back = false;
    var n_steps = 0u;
    var n_all_steps = 0u;
    var gain = 0.0;
    // Rounds of proposals, photoelectrons that the last one added, and those that were given up since.
    var n_rounds = 0u;
    var more = 0u;
    var pruned = 0u;
    var ended = false;
    // Nothing is decided any more.
    var at_last = false;
    while true {
        let moved = stepped && !taken_back;
        order(select(-1e30, NOTHING_PE, moved));
        refold();
        project();
        if moved {
            if broadcast(select(0u, 1u, sh_common[n_light].y > WORSE * left_before + 4.0 * noise2)) == 1u {
                take_back();
                damping = max(DAMPING_MORE * damping, DAMPING_FIRST);
                taken_back = true;
                continue;
            }
            damping *= DAMPING_LESS;
        }
        taken_back = false;
        if stepped {
            let still = gain < select(STILL, LAST_STILL, at_last);
            // The last digits of a large pulse do not matter, a fit that runs away does.
            let ends = still || gain < 0.1 * sh_common[n_light].y / noise2;
            let enough = still || n_steps == select(STEPS, LAST_STEPS, at_last);
            let verdict = broadcast(select(0u, 1u, enough) | select(0u, 2u, ends));
            steps_now = (verdict & 1u) == 0u;
            ended = (verdict & 2u) != 0u;
            stepped = false;
        }
        for (var light = lane; light < n_light; light += WIDTH) {
            sh_charge_sigma[light] = damping;
            if steps_now && n_steps == 0u {
                sh_from[light] = sh_at[light];
            }
        }
        workgroupBarrier();
        know();
        var n_tries = 0u;
        while true {
            fill(steps_now);
            if steps_now {
                put_gradient();
            }
            factorise(columns() + select(0u, 1u, steps_now));
            if !steps_now {
                break;
            }
            gain = solve();
            n_tries++;
            if n_tries == STIFFENED || !stiffen() {
                break;
            }
        }
        if steps_now {
            n_all_steps++;
            if n_all_steps > MOST_STEPS {
                outgrown = true;
                break;
            }
            advance();
            n_steps++;
            stepped = true;
            continue;
        }
        invert();
        put_errors();
        if at_last {
            break;
        }
        let worst = least_worth();
        if worst < n_light {
            if lane == 0u {
                remove(worst);
            }
            n_light--;
            pruned++;
            workgroupBarrier();
        } else if n_rounds == ROUNDS || (n_rounds > 0u && pruned >= more) {
            at_last = true;
        } else {
            more = propose();
            if outgrown {
                break;
            }
            at_last = more == 0u;
            n_rounds++;
            pruned = 0u;
        }
        steps_now = true;
        n_steps = 0u;
        damping = 0.0;
    }
    if outgrown {
        return -1.0;
    }
    shorten();
    let freedom = max(f32(length) - f32(columns()), 1.0);
    let left = sh_common[n_light].y;
    let describes = left <= MISFIT_NOISE * MISFIT_NOISE * noise2 * freedom + MISFIT * MISFIT * model_squares();
    return select(-1.0, left / noise2 / freedom, ended && describes);
}

// The sample, pulses upright, the deconvolution's baseline off.
fn upright(index: u32) -> f32 {
    let pair = samples[first_word + (index >> 1u)];
    return run.sign * (f32(extractBits(pair, 16u * (index & 1u), 16u)) - first_baseline_adc);
}

// What the present photoelectrons leave of the waveform.
fn refold() {
    for (var light = lane; light < n_light; light += WIDTH) {
        let place = place_of(sh_at[light]);
        sh_sample[light] = place.sample;
        sh_scaled[light] = weights(place.rest) * sh_charge[light];
        sh_inside[light] = inside(place.sample);
    }
    workgroupBarrier();
    for (var index = lane; index < length; index += WIDTH) {
        var left = upright(index) - baseline_adc;
        for (var light = 0u; light < n_light; light++) {
            let sample = sh_sample[light];
            let reach = reach_of(sample);
            if i32(index) >= reach.x && i32(index) < reach.y {
                left -= inner(sh_scaled[light], coefficients(i32(index), sample));
            }
        }
        sh_residual[index] = left;
    }
    workgroupBarrier();
}

// Fills `sh_common` in.
fn project() {
    let at_once = PARTIALS / LANES;
    for (var first = 0u; first <= n_light; first += at_once) {
        for (var item = lane; item < PARTIALS; item += WIDTH) {
            sh_partial[item] = common_in_lane(first + item / LANES, item % LANES);
        }
        workgroupBarrier();
        for (var item = lane; item < PARTIALS / 4u; item += WIDTH) {
            let at = (item / 8u) * LANES + item % 8u;
            sh_partial[at] = (sh_partial[at] + sh_partial[at + 8u]) + (sh_partial[at + 16u] + sh_partial[at + 24u]);
        }
        workgroupBarrier();
        for (var item = lane; item < at_once; item += WIDTH) {
            if first + item <= n_light {
                let at = item * LANES;
                sh_common[first + item] =
                    ((sh_partial[at] + sh_partial[at + 4u]) + (sh_partial[at + 2u] + sh_partial[at + 6u]))
                    + ((sh_partial[at + 1u] + sh_partial[at + 5u]) + (sh_partial[at + 3u] + sh_partial[at + 7u]));
            }
        }
        workgroupBarrier();
    }
}

fn common_in_lane(light: u32, place: u32) -> vec4<f32> {
    var sums = vec4<f32>(0.0);
    if light < n_light {
        let sample = sh_sample[light];
        let reach = reach_of(sample);
        for (var index = reach.x + i32(place); index < reach.y; index += i32(LANES)) {
            sums += sh_residual[index] * coefficients(index, sample);
        }
    } else if light == n_light {
        for (var index = place; index < length; index += LANES) {
            let value = sh_residual[index];
            sums += vec4<f32>(value, value * value, 0.0, 0.0);
        }
    }
    return sums;
}

// Squares of what the fit makes of the waveform, baseline off.
fn model_squares() -> f32 {
    for (var place = lane; place < LANES; place += WIDTH) {
        var sum = 0.0;
        for (var index = place; index < length; index += LANES) {
            let value = upright(index) - baseline_adc - sh_residual[index];
            sum += value * value;
        }
        sh_partial[place].x = sum;
    }
    workgroupBarrier();
    var all = 0.0;
    for (var place = 0u; place < LANES; place++) {
        all += sh_partial[place].x;
    }
    return bitcast<f32>(broadcast(bitcast<u32>(all)));
}

// What the diagonal is raised by in charge and time, for a step (`held`) or for errors.
fn held_back(light: u32, held: bool) -> vec2<f32> {
    let known = sh_prior[light].xz;
    let squares = plans[plan].squares;
    let by_step = vec2<f32>(damping * squares, sh_charge_sigma[light] * squares / (scale * scale));
    return known + select(vec2<f32>(0.0), by_step, held);
}

// The normal equations' other side, into the triangle's last row.
fn put_gradient() {
    let gradient = row_at(columns());
    for (var light = lane; light < n_light; light += WIDTH) {
        let product = sh_common[light];
        let known = sh_prior[light];
        sh_triangle[gradient + 2u * light] = inner(weights(fract(sh_at[light])), product) + known.y;
        sh_triangle[gradient + 2u * light + 1u] = inner(slopes(fract(sh_at[light])), product) + known.w;
    }
    if lane == 0u {
        sh_triangle[gradient + 2u * n_light] = sh_common[n_light].x;
    }
    workgroupBarrier();
}

// Leaves the solution in `sh_column`; returns what chi-square should gain by it.
fn solve() -> f32 {
    let n_columns = columns();
    let gradient = row_at(n_columns);
    var gain = 0.0;
    for (var column = 0u; column < n_columns; column++) {
        let value = sh_triangle[gradient + column];
        gain += value * value;
    }
    workgroupBarrier();
    backward();
    return gain / noise2;
}

// Holds times back that would go too far, for the others to be solved for again; false if there are none.
fn stiffen() -> bool {
    var too_far = 0u;
    for (var light = 0u; light < n_light; light++) {
        let times = abs(sh_column[2u * light + 1u]) / (max(sh_charge[light], LEAST_CHARGE_PE) * LONGEST_STEP * scale);
        if times > TOO_FAR {
            too_far = 1u;
            if lane == light % WIDTH {
                sh_charge_sigma[light] += times;
            }
        }
    }
    return broadcast(too_far) == 1u;
}

// One step of Gauss and Newton, by the solution: none passes another or leaves the window.
fn advance() {
    let longest = LONGEST_STEP * scale;
    let first = -f32(plans[plan].main_samples);
    let last = max(f32(length) - f32(plans[plan].seen), first);
    n_before = n_light;
    baseline_before_adc = baseline_adc;
    left_before = sh_common[n_light].y;
    for (var light = lane; light < n_light; light += WIDTH) {
        sh_before[light] = vec2<f32>(sh_at[light], sh_charge[light]);
        sh_at_sigma[light] = sh_from[light];
    }
    workgroupBarrier();
    for (var light = lane; light < n_light; light += WIDTH) {
        let own = sh_before[light];
        let charge = own.y + sh_column[2u * light];
        var before = longest;
        var behind = longest;
        if light > 0u {
            before = min(before, APPROACH * (own.x - sh_before[light - 1u].x));
        }
        if light + 1u < n_light {
            behind = min(behind, APPROACH * (sh_before[light + 1u].x - own.x));
        }
        let by = -sh_column[2u * light + 1u] / max(charge, LEAST_CHARGE_PE);
        sh_charge[light] = charge;
        sh_at[light] = clamp(own.x + min(max(by, -before), behind), first, last);
    }
    baseline_adc += sh_column[2u * n_light];
    workgroupBarrier();
}

// As if there had been no step.
fn take_back() {
    n_light = n_before;
    baseline_adc = baseline_before_adc;
    for (var light = lane; light < n_light; light += WIDTH) {
        sh_at[light] = sh_before[light].x;
        sh_charge[light] = sh_before[light].y;
        sh_from[light] = sh_at_sigma[light];
    }
    workgroupBarrier();
}

// Puts photoelectrons into the order of their times, those with more charge than `least`, by way of the priors' room.
fn order(least: f32) {
    var kept = 0u;
    var in_order = true;
    for (var light = 0u; light < n_light; light++) {
        kept += select(0u, 1u, sh_charge[light] > least);
        in_order = in_order && (light == 0u || sh_at[light] >= sh_at[light - 1u]);
    }
    let wanted = broadcast(select(kept, kept | 0x10000u, in_order));
    kept = wanted & 0xffffu;
    if kept == n_light && wanted > 0xffffu {
        return;
    }
    for (var light = lane; light < n_light; light += WIDTH) {
        let at = sh_at[light];
        var before = 0u;
        for (var other = 0u; other < n_light; other++) {
            let earlier = sh_at[other] < at || (sh_at[other] == at && other < light);
            before += select(0u, 1u, sh_charge[other] > least && earlier);
        }
        if sh_charge[light] > least {
            sh_prior[before] = vec4<f32>(at, sh_charge[light], sh_from[light], 0.0);
        }
    }
    workgroupBarrier();
    n_light = kept;
    for (var light = lane; light < n_light; light += WIDTH) {
        sh_at[light] = sh_prior[light].x;
        sh_charge[light] = sh_prior[light].y;
        sh_from[light] = sh_prior[light].z;
    }
    workgroupBarrier();
}
