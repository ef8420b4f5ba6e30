// Adds pulses to the fit: splits of pulses that are two photoelectrons, and photoelectrons that were missed.
// Twin: src/extract/template_fit/add_pulses.rs, which explains the tests.

#import common/layout
#import common/prefix_sum
#import generated/template_fit
#import generated/waveforms
#import template_fit/capacity
#import template_fit/normal_equations
#import template_fit/priors
#import template_fit/state
#import template_fit/template

// A proposal to add a pulse.
struct Proposal {
    gain: f32,
    time: f32,
    // ADDED_PULSE, or the index of the pulse to split.
    kind: u32,
    // Charge of an added pulse, or half the distance of a split.
    value: f32,
}

var<workgroup> sh_proposals: array<Proposal, MAX_PROPOSALS>;
// Proposals by gain, the highest first.
var<workgroup> sh_ranking: array<u32, MAX_PROPOSALS>;
// Inner products of the residual with the main pulse at each sample of a tile, after the last two of the tile before.
var<workgroup> sh_search_products: array<f32, TILE + 2u>;

const ADDED_PULSE: u32 = 0xffffffffu;

// The squares of s (of s'' where `curved`) at `position` that the other columns do not explain.
fn unexplained_norm(position: SplinePosition, curved: bool) -> f32 {
    for (var other = lane; other < n_pulses; other += WIDTH) {
        let lags = correlation_lags(position.sample - sh_sample[other]);
        let own = select(weights(position.fraction), curvature_weights(position.fraction), curved);
        sh_column[2u * other] = inner_product(own, correlate(lags, weights(fract(sh_time[other]))));
        sh_column[2u * other + 1u] = inner_product(own, correlate(lags, slope_weights(fract(sh_time[other]))));
    }
    if is_leader() {
        sh_column[2u * n_pulses] = select(inside(position.sample).x, 0.0, curved);
    }
    let all = select(plans[plan].squares, plans[plan].squares_of_curvature, curved);
    return max(all - solved_squares(), MIN_UNEXPLAINED_SHARE * all);
}

// Square of the noise in gains at `time`: that of a sample, and a share `error` of the light up to `after` scales earlier.
fn noise2_at(time: f32, error: f32, after: f32) -> f32 {
    var charge = 0.0;
    for (var pulse = 0u; pulse < n_pulses; pulse++) {
        let delay = time - sh_time[pulse];
        charge += select(0.0, sh_charge[pulse], -NEIGHBOUR_DISTANCE * scale < delay && delay < after * scale);
    }
    let template_error = error * charge * plans[plan].peak_adc;
    return noise2 + template_error * template_error;
}

// Gain in chi-square from which a pulse of this charge is split.
fn min_split_gain(charge_pe: f32) -> f32 {
    if charge_pe >= 2.0 {
        return MIN_SPLIT_GAIN;
    }
    let sigma = plans[plan].charge_sigma_pe;
    let excess = (charge_pe - 1.0) / sigma;
    let lack = (2.0 - charge_pe) / sigma;
    return max(SPLIT_GAIN + 0.5 * lack * lack - excess * excess, MIN_SPLIT_GAIN);
}

// True if a pulse is split for its charge alone.
fn splits_by_charge(charge_pe: f32) -> bool {
    return min_split_gain(charge_pe) <= MIN_SPLIT_GAIN && n_pulses < MIN_PULSES_FOR_SHAPE;
}

// Finds splits and missed photoelectrons and adds them; returns the number of added pulses.
fn add_pulses() -> u32 {
    var n_proposals = propose_splits();
    n_proposals = search_missed_pulses(n_proposals);
    for (var index = lane; index < n_proposals; index += WIDTH) {
        let gain = sh_proposals[index].gain;
        var rank = 0u;
        for (var other = 0u; other < n_proposals; other++) {
            let other_gain = sh_proposals[other].gain;
            rank += select(0u, 1u, other_gain > gain || (other_gain == gain && other < index));
        }
        sh_ranking[rank] = index;
    }
    workgroupBarrier();
    if is_leader() {
        sh_count = accept_proposals(n_proposals);
    }
    let n_now = workgroupUniformLoad(&sh_count);
    if n_now > PULSE_CAPACITY {
        capacity_exceeded = true;
        return 0u;
    }
    let n_added = n_now - n_pulses;
    n_pulses = n_now;
    return n_added;
}

// Accepts proposals by gain, in one thread; returns the new number of pulses, or more than the capacity.
fn accept_proposals(n_proposals: u32) -> u32 {
    var n_now = n_pulses;
    for (var rank = 0u; rank < n_proposals; rank++) {
        let index = sh_ranking[rank];
        let proposal = sh_proposals[index];
        var is_disturbed = false;
        for (var other = 0u; other < rank; other++) {
            let better = sh_proposals[sh_ranking[other]];
            is_disturbed = is_disturbed || (better.gain > 0.0 && abs(better.time - proposal.time) < SPLIT_ISOLATION * scale);
        }
        if is_disturbed {
            sh_proposals[index].gain = 0.0;
            continue;
        }
        if n_now == PULSE_CAPACITY {
            return PULSE_CAPACITY + 1u;
        }
        if proposal.kind == ADDED_PULSE {
            sh_time[n_now] = proposal.time;
            sh_charge[n_now] = proposal.value;
        } else {
            let split_pulse = proposal.kind;
            let charge = 0.5 * sh_charge[split_pulse];
            sh_charge[split_pulse] = charge;
            sh_time[split_pulse] = proposal.time - proposal.value;
            sh_charge[n_now] = charge;
            sh_time[n_now] = proposal.time + proposal.value;
        }
        n_now++;
    }
    return n_now;
}

// Proposes splits of pulses; returns the number of proposals.
fn propose_splits() -> u32 {
    if is_leader() {
        atomicStore(&sh_atomics[0], 0u);
        atomicStore(&sh_atomics[1], 0u);
    }
    workgroupBarrier();
    let all = plans[plan].squares_of_curvature;
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        let z = inner_product(curvature_weights(fract(sh_time[pulse])), sh_inner_products[pulse]);
        let noise2 = noise2_at(sh_time[pulse], TEMPLATE_ERROR, NEIGHBOUR_DISTANCE);
        sh_prior[pulse] = vec4<f32>(z, noise2, 0.0, 0.0);
        // The unexplained part is at least a share: where even that gives too small a gain nothing needs to be solved. 1.01 allows for rounding.
        let max_gain = z * z / (MIN_UNEXPLAINED_SHARE * all) / noise2;
        if splits_by_charge(sh_charge[pulse]) || (z > 0.0 && max_gain * 1.01 > min_split_gain(sh_charge[pulse])) {
            atomicOr(&sh_atomics[pulse >> 5u], 1u << (pulse & 31u));
        }
    }
    workgroupBarrier();
    var n_proposals = 0u;
    for (var half = 0u; half < 2u; half++) {
        var candidates = broadcast(atomicLoad(&sh_atomics[half]));
        while candidates != 0u {
            let pulse = 32u * half + firstTrailingBit(candidates);
            candidates &= candidates - 1u;
            let norm = unexplained_norm(SplinePosition(sh_sample[pulse], fract(sh_time[pulse])), true);
            let noise2 = sh_prior[pulse].y;
            let charge = sh_charge[pulse];
            let score = sh_prior[pulse].x / sqrt(norm * noise2);
            let gain = score * max(score, 0.0);
            let likely = 0.5 * (score + sqrt(score * score + 2.0 * REPULSION));
            let offset = sqrt(2.0 * likely * sqrt(noise2 / norm) / charge);
            let is_two = splits_by_charge(charge) || gain > min_split_gain(charge);
            if is_two && offset >= SPLIT_OFFSET_THRESHOLD * scale {
                if is_leader() {
                    let limited = clamp(offset, MIN_SPLIT_OFFSET * scale, MAX_SPLIT_OFFSET * scale);
                    sh_proposals[n_proposals] = Proposal(gain, sh_time[pulse], pulse, limited);
                }
                n_proposals++;
            }
        }
    }
    workgroupBarrier();
    return broadcast(n_proposals);
}

// Searches for missed photoelectrons near the pulses; returns the number of proposals.
fn search_missed_pulses(before: u32) -> u32 {
    var n_proposals = before;
    let reach = SEARCH_RANGE * scale;
    var next = 0u;
    var first = 0u;
    while first < n_pulses {
        // Pulses whose search ranges overlap are searched together.
        var last = first;
        while last + 1u < n_pulses && sh_time[last + 1u] - sh_time[last] < 2.0 * reach {
            last++;
        }
        let begin = max(u32(max(sh_time[first] - reach, 0.0)), next);
        let end = min(u32(max(sh_time[last] + reach, 0.0)), length);
        next = end;
        first = last + 1u;
        for (var base = begin; base < end; base += TILE) {
            n_proposals = search_tile(n_proposals, base, end, base == begin);
        }
    }
    return broadcast(n_proposals);
}

// Searches TILE samples from the one before `begin`; the last sample is searched with the next tile.
fn search_tile(before: u32, begin: u32, end: u32, is_first: bool) -> u32 {
    // The last two products of the tile before come first.
    var kept = 0.0;
    if lane < 2u && !is_first {
        kept = sh_search_products[TILE + lane];
    }
    if is_leader() {
        atomicStore(&sh_atomics[0], 0u);
        atomicStore(&sh_atomics[1], 0u);
    }
    workgroupBarrier();
    if lane < 2u {
        sh_search_products[lane] = kept;
    }
    for (var offset = lane; offset < TILE; offset += WIDTH) {
        sh_search_products[offset + 2u] = 0.0;
        if begin + offset < end {
            sh_search_products[offset + 2u] = main_pulse_product(i32(begin + offset));
        }
    }
    workgroupBarrier();
    for (var offset = lane; offset < TILE; offset += WIDTH) {
        let product = sh_search_products[offset + 1u];
        // The first and the last sample of the range are no maxima.
        let between = begin + offset < end && (!is_first || offset >= 2u);
        if between && product > 0.0 && product >= sh_search_products[offset] && product > sh_search_products[offset + 2u] {
            let noise2 = noise2_at(f32(begin + offset - 1u), RINGING_ERROR, RINGING_LENGTH);
            if product * product >= ADD_SEARCH_SHARE * ADD_GAIN * plans[plan].squares * noise2 {
                atomicOr(&sh_atomics[offset >> 5u], 1u << (offset & 31u));
            }
        }
    }
    workgroupBarrier();
    var n_proposals = before;
    for (var half = 0u; half < 2u; half++) {
        var candidates = broadcast(atomicLoad(&sh_atomics[half]));
        while candidates != 0u {
            let offset = 32u * half + firstTrailingBit(candidates);
            candidates &= candidates - 1u;
            let sample = begin + offset - 1u;
            let norm = unexplained_norm(SplinePosition(i32(sample), 0.0), false);
            let product = sh_search_products[offset + 1u];
            let gain = product * product / norm / noise2_at(f32(sample), RINGING_ERROR, RINGING_LENGTH);
            if gain > ADD_GAIN && n_proposals < MAX_PROPOSALS {
                if is_leader() {
                    let charge = max(product / norm, 0.1);
                    sh_proposals[n_proposals] = Proposal(gain, f32(sample), ADDED_PULSE, charge);
                }
                n_proposals++;
            }
        }
    }
    return n_proposals;
}

// Inner product of the residual with the main pulse at `sample`.
fn main_pulse_product(sample: i32) -> f32 {
    let range = sample_range(sample);
    let end = min(range.y, range.x + i32(plans[plan].main_samples));
    let first = plans[plan].main_pulse_at + u32(range.x - sample - 2 + i32(PADDING));
    var sum = 0.0;
    let count = u32(max(end - range.x, 0));
    for (var k = 0u; k < count; k++) {
        sum += sh_residual[u32(range.x) + k] * tables[first + k];
    }
    return sum;
}
