// Photoelectrons more for the fit: those that are two, and those that were overlooked. Twin: src/extract/template_fit/add_pulses.rs, which has the constants.

// Samples that are looked at at once.
const TILE: u32 = 64u;

// Gain, time, photoelectron that becomes two (or NO_LIGHT_OF: one more), and how far apart (or which charge).
// Its number is a float's value, not its bits: small numbers' bits are floats that may be taken for 0.
var<workgroup> sh_proposals: array<vec4<f32>, MOST_PROPOSALS>;
var<workgroup> sh_ranked: array<u32, MOST_PROPOSALS>;
// What the residual has in common with the main pulse at each sample of a tile, two of the tile before in front.
var<workgroup> sh_around: array<f32, TILE + 2u>;

const NO_LIGHT_OF: f32 = -1.0;

// How much of a column's squares the others leave: of s (or, `curved`, of s'') at `place`.
fn left_of(place: Place, curved: bool) -> f32 {
    for (var other = lane; other < n_light; other += WIDTH) {
        let lags = lags_of(place.sample - sh_sample[other]);
        let own = select(weights(place.rest), curvatures(place.rest), curved);
        sh_column[2u * other] = inner(own, common_of(lags, weights(fract(sh_at[other]))));
        sh_column[2u * other + 1u] = inner(own, common_of(lags, slopes(fract(sh_at[other]))));
    }
    if lane == 0u {
        sh_column[2u * n_light] = select(inside(place.sample).x, 0.0, curved);
    }
    let all = select(plans[plan].squares, plans[plan].squares_of_curvature, curved);
    return max(all - solved_squares(), LEAST_LEFT * all);
}

// Square of the noise by which gains count at `at`: that of a sample, and a share `error` of the light up to `behind` scales before it.
fn noise2_at(at: f32, error: f32, behind: f32) -> f32 {
    var charge = 0.0;
    for (var light = 0u; light < n_light; light++) {
        let before = at - sh_at[light];
        charge += select(0.0, sh_charge[light], -NEIGHBOURS * scale < before && before < behind * scale);
    }
    let unknown = error * charge * plans[plan].peak_adc;
    return noise2 + unknown * unknown;
}

// Gain in chi-square that makes two of a photoelectron.
fn least_gain(charge_pe: f32) -> f32 {
    if charge_pe >= 2.0 {
        return LEAST_GAIN;
    }
    let sigma = plans[plan].charge_sigma_pe;
    let excess = (charge_pe - 1.0) / sigma;
    let lack = (2.0 - charge_pe) / sigma;
    return max(SPLIT_GAIN + 0.5 * lack * lack - excess * excess, LEAST_GAIN);
}

// True if its charge alone makes two of a photoelectron.
fn by_charge(charge_pe: f32) -> bool {
    return least_gain(charge_pe) <= LEAST_GAIN && n_light < PLENTY;
}

// Finds photoelectrons that are two and such that were overlooked, and puts them in; returns how many more there are.
fn propose() -> u32 {
    var n_proposals = look_at_each();
    n_proposals = look_around(n_proposals);
    for (var index = lane; index < n_proposals; index += WIDTH) {
        let gain = sh_proposals[index].x;
        var before = 0u;
        for (var other = 0u; other < n_proposals; other++) {
            let of_other = sh_proposals[other].x;
            before += select(0u, 1u, of_other > gain || (of_other == gain && other < index));
        }
        sh_ranked[before] = index;
    }
    workgroupBarrier();
    if lane == 0u {
        sh_count = take(n_proposals);
    }
    let n_now = workgroupUniformLoad(&sh_count);
    if n_now > ROOM {
        outgrown = true;
        return 0u;
    }
    let more = n_now - n_light;
    n_light = n_now;
    return more;
}

// Puts the proposals in, by one thread, the best ones first; returns how many photoelectrons there are then.
fn take(n_proposals: u32) -> u32 {
    var n_now = n_light;
    for (var rank = 0u; rank < n_proposals; rank++) {
        let index = sh_ranked[rank];
        let proposal = sh_proposals[index];
        var disturbed = false;
        for (var other = 0u; other < rank; other++) {
            let better = sh_proposals[sh_ranked[other]];
            disturbed = disturbed || (better.x > 0.0 && abs(better.y - proposal.y) < APART * scale);
        }
        if disturbed {
            sh_proposals[index].x = 0.0;
            continue;
        }
        if n_now == ROOM {
            return ROOM + 1u;
        }
        if proposal.z == NO_LIGHT_OF {
            sh_at[n_now] = proposal.y;
            sh_charge[n_now] = proposal.w;
        } else {
            let of_light = u32(proposal.z);
            let charge = 0.5 * sh_charge[of_light];
            sh_charge[of_light] = charge;
            sh_at[of_light] = proposal.y - proposal.w;
            sh_charge[n_now] = charge;
            sh_at[n_now] = proposal.y + proposal.w;
        }
        n_now++;
    }
    return n_now;
}

// Proposes photoelectrons that are two.
fn look_at_each() -> u32 {
    if lane == 0u {
        atomicStore(&sh_atomics[0], 0u);
        atomicStore(&sh_atomics[1], 0u);
    }
    workgroupBarrier();
    let all = plans[plan].squares_of_curvature;
    for (var light = lane; light < n_light; light += WIDTH) {
        let z = inner(curvatures(fract(sh_at[light])), sh_common[light]);
        let by = noise2_at(sh_at[light], TEMPLATE_ERROR, NEIGHBOURS);
        sh_prior[light] = vec4<f32>(z, by, 0.0, 0.0);
        // The others leave no less than a share: where that would not do, nothing has to be solved for. The factor is for rounding.
        let most = z * z / (LEAST_LEFT * all) / by;
        if by_charge(sh_charge[light]) || (z > 0.0 && most * 1.01 > least_gain(sh_charge[light])) {
            atomicOr(&sh_atomics[light >> 5u], 1u << (light & 31u));
        }
    }
    workgroupBarrier();
    var n_proposals = 0u;
    for (var half = 0u; half < 2u; half++) {
        var looked_at = broadcast(atomicLoad(&sh_atomics[half]));
        while looked_at != 0u {
            let light = 32u * half + firstTrailingBit(looked_at);
            looked_at &= looked_at - 1u;
            let left = left_of(Place(sh_sample[light], fract(sh_at[light])), true);
            let by = sh_prior[light].y;
            let charge = sh_charge[light];
            let pull = sh_prior[light].x / sqrt(left * by);
            let gain = pull * max(pull, 0.0);
            let likely = 0.5 * (pull + sqrt(pull * pull + 2.0 * REPULSION));
            let apart = sqrt(2.0 * likely * sqrt(by / left) / charge);
            let is_two = by_charge(charge) || gain > least_gain(charge);
            if is_two && apart >= SPLIT_WORTH * scale {
                if lane == 0u {
                    let by_far = clamp(apart, SPLIT_LEAST * scale, SPLIT_MOST * scale);
                    sh_proposals[n_proposals] = vec4<f32>(gain, sh_at[light], f32(light), by_far);
                }
                n_proposals++;
            }
        }
    }
    workgroupBarrier();
    return broadcast(n_proposals);
}

// Looks for photoelectrons that were overlooked, near those that were not.
fn look_around(before: u32) -> u32 {
    var n_proposals = before;
    let reach = AROUND * scale;
    var next = 0u;
    var first = 0u;
    while first < n_light {
        // Neighbours whose surroundings overlap are looked at once.
        var last = first;
        while last + 1u < n_light && sh_at[last + 1u] - sh_at[last] < 2.0 * reach {
            last++;
        }
        let begin = max(u32(max(sh_at[first] - reach, 0.0)), next);
        let end = min(u32(max(sh_at[last] + reach, 0.0)), length);
        next = end;
        first = last + 1u;
        for (var at = begin; at < end; at += TILE) {
            n_proposals = look_in_tile(n_proposals, at, end, at == begin);
        }
    }
    return broadcast(n_proposals);
}

// Samples `begin` to at most TILE behind; the one before `begin` is looked at now, the last one with the next tile.
fn look_in_tile(before: u32, begin: u32, end: u32, fresh: bool) -> u32 {
    // Where a tile goes on, the last two of the one before are in front.
    var kept = 0.0;
    if lane < 2u && !fresh {
        kept = sh_around[TILE + lane];
    }
    if lane == 0u {
        atomicStore(&sh_atomics[0], 0u);
        atomicStore(&sh_atomics[1], 0u);
    }
    workgroupBarrier();
    if lane < 2u {
        sh_around[lane] = kept;
    }
    for (var place = lane; place < TILE; place += WIDTH) {
        sh_around[place + 2u] = 0.0;
        if begin + place < end {
            sh_around[place + 2u] = common_with_main(i32(begin + place));
        }
    }
    workgroupBarrier();
    for (var place = lane; place < TILE; place += WIDTH) {
        let product = sh_around[place + 1u];
        // The first and the last of all are no maxima.
        let between = begin + place < end && (!fresh || place >= 2u);
        if between && product > 0.0 && product >= sh_around[place] && product > sh_around[place + 2u] {
            let by = noise2_at(f32(begin + place - 1u), RINGING, TAIL);
            if product * product >= ADD_LOOK * ADD_GAIN * plans[plan].squares * by {
                atomicOr(&sh_atomics[place >> 5u], 1u << (place & 31u));
            }
        }
    }
    workgroupBarrier();
    var n_proposals = before;
    for (var half = 0u; half < 2u; half++) {
        var looked_at = broadcast(atomicLoad(&sh_atomics[half]));
        while looked_at != 0u {
            let place = 32u * half + firstTrailingBit(looked_at);
            looked_at &= looked_at - 1u;
            let at = begin + place - 1u;
            let left = left_of(Place(i32(at), 0.0), false);
            let product = sh_around[place + 1u];
            let gain = product * product / left / noise2_at(f32(at), RINGING, TAIL);
            if gain > ADD_GAIN && n_proposals < MOST_PROPOSALS {
                if lane == 0u {
                    let charge = max(product / left, 0.1);
                    sh_proposals[n_proposals] = vec4<f32>(gain, f32(at), NO_LIGHT_OF, charge);
                }
                n_proposals++;
            }
        }
    }
    return n_proposals;
}

// What the residual has in common with the main pulse of a photoelectron at `sample`.
fn common_with_main(sample: i32) -> f32 {
    let reach = reach_of(sample);
    let end = min(reach.y, reach.x + i32(plans[plan].main_samples));
    let at = plans[plan].main_pulse_at + u32(reach.x - sample - 2 + i32(PADDING));
    var sum = 0.0;
    let count = u32(max(end - reach.x, 0));
    for (var k = 0u; k < count; k++) {
        sum += sh_residual[u32(reach.x) + k] * tables[at + k];
    }
    return sum;
}
