// Priors on charges, times and distances of close pulses. Twin: src/extract/template_fit/priors.rs, which has the formulas.

#import common/layout
#import common/prefix_sum
#import generated/template_fit
#import generated/waveforms
#import template_fit/capacity
#import template_fit/state

// Per pulse: what is added to the diagonal and to the gradient for the charge, then the same for the time. For other contents see
// state.wgsl.
var<workgroup> sh_prior: array<vec4<f32>, PULSE_CAPACITY>;

fn update_priors() {
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        sh_prior[pulse] = prior(pulse);
    }
    workgroupBarrier();
}

fn prior(pulse: u32) -> vec4<f32> {
    let near = NEIGHBOUR_DISTANCE * scale;
    let time = sh_time[pulse];
    let charge_pe = sh_charge[pulse];
    var before = near;
    var after = near;
    if pulse > 0u {
        before = time - sh_time[pulse - 1u];
    }
    if pulse + 1u < n_pulses {
        after = sh_time[pulse + 1u] - time;
    }
    let weight = neighbour_weight(min(before, after), near);
    // charge_prior of the twin.
    let excess = charge_pe - 1.0;
    let sigma = plans[plan].charge_sigma_pe;
    let x = max(excess, 0.0) / (HUBER_K * sigma);
    let charge = weight * noise2 / (sigma * sigma * sqrt(1.0 + x * x));
    let time_sigma = TIME_PRIOR_SIGMA * scale;
    let hold = weight * noise2 / (time_sigma * time_sigma);
    let repulsion_before = repulsion(before, near);
    let repulsion_after = repulsion(after, near);
    let force = hold * (sh_start_time[pulse] - time) + noise2 * (repulsion_before.x - repulsion_after.x);
    let curvature = hold + noise2 * (repulsion_before.y + repulsion_after.y);
    let column_charge = max(charge_pe, MIN_COLUMN_CHARGE_PE);
    return vec4<f32>(charge, -charge * excess, curvature / (column_charge * column_charge), -force / column_charge);
}

// Weight of the priors of two pulses: 0 from the distance `near` on, 1 up to half of it.
fn neighbour_weight(distance: f32, near: f32) -> f32 {
    return clamp(2.0 - 2.0 * distance / near, 0.0, 1.0);
}

// Force of a pulse at `distance`, and twice its derivative.
fn repulsion(distance: f32, near: f32) -> vec2<f32> {
    if distance >= near {
        return vec2<f32>(0.0);
    }
    let limited = max(distance, MIN_DISTANCE * scale);
    return vec2<f32>(REPULSION * (1.0 / limited - 1.0 / near), 2.0 * REPULSION / (limited * limited));
}
