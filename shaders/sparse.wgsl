// Stage 8: a waveform as a sum of few templates, in one workgroup. Twin: src/extract/sparse.rs, which explains the method and has the
// constants. Seeds are what extract.wgsl leaves behind the hits of a waveform.
//
// Sums over samples run over LANES lanes whatever the workgroup's width, and every decision is one thread's, handed to all.

const LANES: u32 = 32u;

// What the fit leaves of the waveform.
var<workgroup> sh_residual: array<f32, SAMPLES>;
// The photoelectrons.
var<workgroup> sh_at: array<f32, ROOM>;
var<workgroup> sh_charge: array<f32, ROOM>;
var<workgroup> sh_charge_sigma: array<f32, ROOM>;
var<workgroup> sh_at_sigma: array<f32, ROOM>;
// Their places, weights times charge, and what of them is inside the window.
var<workgroup> sh_sample: array<i32, ROOM>;
var<workgroup> sh_rest: array<f32, ROOM>;
var<workgroup> sh_scaled: array<vec4<f32>, ROOM>;
var<workgroup> sh_inside: array<vec2<f32>, ROOM>;
// What the residual has in common with the four coefficients of each; behind them its own sum, and that of its squares.
var<workgroup> sh_common: array<vec4<f32>, SUMS>;
var<workgroup> sh_partial: array<vec4<f32>, PARTIALS>;
// Times and charges before a step, and what holds each time back while it is solved for.
var<workgroup> sh_before: array<vec2<f32>, ROOM>;
var<workgroup> sh_stiffness: array<f32, ROOM>;
// Photoelectrons, as one thread counts them, and room to put them into order.
var<workgroup> sh_count: u32;
var<workgroup> sh_sorted: array<vec2<f32>, ROOM>;

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
// More photoelectrons than this kernel has room for.
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

fn outgrow(index: u32, flags: u32) {
    if LAST == 1u && lane == 0u {
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
    var gain = 0.0;
    // Rounds of proposals, photoelectrons that the last one added, and those that were given up since.
    var n_rounds = 0u;
    var more = 0u;
    var pruned = 0u;
    var settled = false;
    while true {
        let moved = stepped && !taken_back;
        order(select(-1e30, NOTHING_PE, moved));
        if moved {
            join(ONE * scale);
        }
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
            let still = gain < STILL;
            // The last digits of a large pulse do not matter, a fit that runs away does.
            let ends = still || gain < 0.1 * sh_common[n_light].y / noise2;
            let verdict = broadcast(select(0u, 1u, still || n_steps == STEPS) | select(0u, 2u, ends));
            steps_now = (verdict & 1u) == 0u;
            if pruned == 0u {
                settled = (verdict & 2u) != 0u;
            }
            stepped = false;
        }
        for (var light = lane; light < n_light; light += WIDTH) {
            sh_stiffness[light] = damping;
        }
        workgroupBarrier();
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
            advance();
            n_steps++;
            stepped = true;
            continue;
        }
        invert();
        put_errors();
        let worst = least_worth();
        if worst < n_light {
            if lane == 0u {
                remove(worst);
            }
            n_light--;
            pruned++;
            workgroupBarrier();
        } else {
            if n_rounds == ROUNDS || (n_rounds > 0u && pruned >= more) {
                break;
            }
            more = propose();
            if more == 0u || outgrown {
                break;
            }
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
    lead();
    let freedom = max(f32(length) - f32(columns()), 1.0);
    let left = sh_common[n_light].y;
    let describes = left <= 4.0 * noise2 * freedom + MISFIT * MISFIT * model_squares();
    return select(-1.0, left / noise2 / freedom, settled && describes);
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
        sh_rest[light] = place.rest;
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

// Squares that a charge's prior, a time's brake and what damps the step put on the diagonal.
fn held_back(light: u32) -> vec2<f32> {
    let charge = max(sh_charge[light], 0.05) * LONGEST_STEP * scale;
    let of_time = plans[plan].squares / (scale * scale);
    return vec2<f32>(
        prior(light).x + damping * plans[plan].squares,
        noise2 / (charge * charge) + sh_stiffness[light] * of_time,
    );
}

// Weight and mean of a charge's prior. Alone, a photoelectron has the charge that the waveform shows.
fn prior(light: u32) -> vec2<f32> {
    let near = NEIGHBOURS * scale;
    var crowded = light > 0u && sh_at[light] - sh_at[max(light, 1u) - 1u] < near;
    crowded = crowded || (light + 1u < n_light && sh_at[min(light + 1u, n_light - 1u)] - sh_at[light] < near);
    let number = max(floor(sh_charge[light] + 0.5), 1.0);
    let spread = plans[plan].charge_sigma_pe;
    return vec2<f32>(select(0.0, noise2 / (spread * spread * number), crowded), number);
}

// The normal equations' other side, into the triangle's last row.
fn put_gradient() {
    let gradient = row_at(columns());
    for (var light = lane; light < n_light; light += WIDTH) {
        let product = sh_common[light];
        let held = prior(light);
        sh_triangle[gradient + 2u * light] = inner(weights(sh_rest[light]), product) + held.x * (held.y - sh_charge[light]);
        sh_triangle[gradient + 2u * light + 1u] = inner(slopes(sh_rest[light]), product);
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
        let times = abs(sh_column[2u * light + 1u]) / (max(sh_charge[light], 0.05) * LONGEST_STEP * scale);
        if times > TOO_FAR {
            too_far = 1u;
            if lane == light % WIDTH {
                sh_stiffness[light] += times;
            }
        }
    }
    return broadcast(too_far) == 1u;
}

// One step of Gauss and Newton, by the solution.
fn advance() {
    let longest = LONGEST_STEP * scale;
    let first = -f32(plans[plan].main_samples);
    let last = max(f32(length) - f32(plans[plan].seen), first);
    n_before = n_light;
    baseline_before_adc = baseline_adc;
    left_before = sh_common[n_light].y;
    for (var light = lane; light < n_light; light += WIDTH) {
        sh_before[light] = vec2<f32>(sh_at[light], sh_charge[light]);
        let charge = sh_charge[light] + sh_column[2u * light];
        let by = -sh_column[2u * light + 1u] / max(charge, 0.05);
        sh_charge[light] = charge;
        sh_at[light] = clamp(sh_at[light] + clamp(by, -longest, longest), first, last);
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
    }
    workgroupBarrier();
}

// Puts photoelectrons into the order of their times, those with more charge than `least`.
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
            sh_sorted[before] = vec2<f32>(at, sh_charge[light]);
        }
    }
    workgroupBarrier();
    n_light = kept;
    for (var light = lane; light < n_light; light += WIDTH) {
        sh_at[light] = sh_sorted[light].x;
        sh_charge[light] = sh_sorted[light].y;
    }
    workgroupBarrier();
}

// Two photoelectrons, each its time and charge, as one.
fn joined(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    let charge = a.y + b.y;
    return vec2<f32>((a.x * a.y + b.x * b.y) / charge, charge);
}

// Makes one of photoelectrons closer than `distance`.
fn join(distance: f32) {
    var close = 0u;
    for (var light = 1u; light < n_light; light++) {
        close |= select(0u, 1u, sh_at[light] - sh_at[light - 1u] < distance);
    }
    if broadcast(close) == 0u {
        return;
    }
    if lane == 0u {
        var kept = 0u;
        for (var light = 1u; light < n_light; light++) {
            if sh_at[light] - sh_at[kept] < distance {
                let both = joined(vec2<f32>(sh_at[kept], sh_charge[kept]), vec2<f32>(sh_at[light], sh_charge[light]));
                sh_at[kept] = both.x;
                sh_charge[kept] = both.y;
            } else {
                kept++;
                sh_at[kept] = sh_at[light];
                sh_charge[kept] = sh_charge[light];
            }
        }
        sh_count = kept + 1u;
    }
    n_light = workgroupUniformLoad(&sh_count);
}

// Standard deviations of charges and times, from the inverse of the normal matrix.
fn put_errors() {
    let n_columns = columns();
    for (var column = lane; column < 2u * n_light; column += WIDTH) {
        var squares = 0.0;
        for (var row = column; row < n_columns; row++) {
            let value = sh_triangle[row_at(row) + column];
            squares += value * value;
        }
        let light = column / 2u;
        let sigma = sqrt(squares * noise2);
        if column % 2u == 0u {
            sh_charge_sigma[light] = sigma;
        } else {
            sh_at_sigma[light] = sigma / max(sh_charge[light], NOTHING_PE);
        }
    }
    workgroupBarrier();
}

// How far a photoelectron is from being given up: not at all where its neighbour and it are several.
fn worth(light: u32) -> f32 {
    let near = NEIGHBOURS * scale;
    let charge = sh_charge[light];
    var neighbour = 0.0;
    if light > 0u && abs(sh_at[light - 1u] - sh_at[light]) < near {
        neighbour = max(neighbour, sh_charge[light - 1u]);
    }
    if light + 1u < n_light && abs(sh_at[light + 1u] - sh_at[light]) < near {
        neighbour = max(neighbour, sh_charge[light + 1u]);
    }
    if charge < LEAST_PE {
        return 0.0;
    }
    if neighbour > 0.0 && neighbour + charge > SEVERAL_PE {
        return 1e30;
    }
    return charge / sh_charge_sigma[light];
}

// The photoelectron that is worth least, or `n_light` where all are significant.
fn least_worth() -> u32 {
    for (var light = lane; light < n_light; light += WIDTH) {
        sh_column[light] = worth(light);
    }
    workgroupBarrier();
    var least = SIGNIFICANCE;
    var which = n_light;
    for (var light = 0u; light < n_light; light++) {
        if sh_column[light] < least {
            least = sh_column[light];
            which = light;
        }
    }
    return broadcast(which);
}

// Takes a photoelectron out and gives it to its neighbour, by one thread.
fn remove(which: u32) {
    let gone = vec2<f32>(sh_at[which], sh_charge[which]);
    for (var light = which; light + 1u < n_light; light++) {
        sh_at[light] = sh_at[light + 1u];
        sh_charge[light] = sh_charge[light + 1u];
    }
    var distance = NEIGHBOURS * scale;
    var nearest = n_light;
    if which > 0u && abs(sh_at[which - 1u] - gone.x) < distance {
        nearest = which - 1u;
        distance = abs(sh_at[nearest] - gone.x);
    }
    if which + 1u < n_light && abs(sh_at[which] - gone.x) < distance {
        nearest = which;
    }
    if nearest < n_light {
        let both = joined(vec2<f32>(sh_at[nearest], sh_charge[nearest]), gone);
        sh_at[nearest] = both.x;
        sh_charge[nearest] = both.y;
    }
}

// Sets the time of each photoelectron that comes first: the mean over those behind it, as far as its own time is uncertain.
fn lead() {
    for (var light = lane; light < n_light; light += WIDTH) {
        let at = sh_at[light];
        sh_sorted[light] = vec2<f32>(at, 0.0);
        if light > 0u && at - sh_at[light - 1u] <= NEIGHBOURS * scale {
            continue;
        }
        let width = clamp(LEAD_SIGMA * sh_at_sigma[light], 1e-3 * scale, LEAD * scale);
        var charge = 0.0;
        var moment = 0.0;
        for (var other = light; other < n_light; other++) {
            let behind = (sh_at[other] - at) / width;
            if behind > 4.0 {
                break;
            }
            let weight = sh_charge[other] * exp(-0.5 * behind * behind);
            charge += weight;
            moment += weight * (sh_at[other] - at);
        }
        sh_sorted[light].x = at + moment / charge;
    }
    workgroupBarrier();
    for (var light = lane; light < n_light; light += WIDTH) {
        sh_at[light] = sh_sorted[light].x;
    }
    workgroupBarrier();
}
