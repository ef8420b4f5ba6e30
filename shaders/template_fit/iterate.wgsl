// The parts of a Gauss-Newton step. Twin: src/extract/template_fit/iterate.rs; the loop over steps is in fit.wgsl.

#import common/layout
#import common/prefix_sum
#import generated/template_fit
#import generated/waveforms
#import template_fit/normal_equations
#import template_fit/priors
#import template_fit/state
#import template_fit/template

// What is added to the diagonal for charge and time: the priors, and for a step the damping.
fn damping_terms(pulse: u32, is_step: bool) -> vec2<f32> {
    let prior = sh_prior[pulse].xz;
    let squares = plans[plan].squares;
    let damped = vec2<f32>(damping * squares, time_damping(pulse) * squares / (scale * scale));
    return prior + select(vec2<f32>(0.0), damped, is_step);
}

// Writes the right-hand side of the normal equations into the last row of the triangle.
fn write_gradient() {
    let gradient = row_start(columns());
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        let products = sh_inner_products[pulse];
        let prior = sh_prior[pulse];
        sh_triangle[gradient + 2u * pulse] = inner_product(weights(fract(sh_time[pulse])), products) + prior.y;
        sh_triangle[gradient + 2u * pulse + 1u] = inner_product(slope_weights(fract(sh_time[pulse])), products) + prior.w;
    }
    if is_leader() {
        sh_triangle[gradient + 2u * n_pulses] = sh_inner_products[n_pulses].x;
    }
    workgroupBarrier();
}

// Writes the solution to `sh_column`; returns the expected gain in chi-square.
fn solve() -> f32 {
    let n_columns = columns();
    let gradient = row_start(n_columns);
    var gain = 0.0;
    for (var column = 0u; column < n_columns; column++) {
        let value = sh_triangle[gradient + column];
        gain += value * value;
    }
    workgroupBarrier();
    back_substitute();
    return gain / noise2;
}

// Raises the damping of the times whose step is too long, so that the others are solved for again; returns false if there are none.
fn raise_damping() -> bool {
    var any_too_long = 0u;
    for (var pulse = 0u; pulse < n_pulses; pulse++) {
        let ratio = abs(sh_column[2u * pulse + 1u]) / (max(sh_charge[pulse], MIN_COLUMN_CHARGE_PE) * MAX_TIME_STEP * scale);
        if ratio > MAX_STEP_RATIO {
            any_too_long = 1u;
            if lane == pulse % WIDTH {
                write_time_damping(pulse, time_damping(pulse) + ratio);
            }
        }
    }
    return broadcast(any_too_long) == 1u;
}

// Moves charges, times and baseline by the solution. No pulse passes another or leaves the window.
fn advance() {
    let max_step = MAX_TIME_STEP * scale;
    let first = -f32(plans[plan].main_samples);
    let last = max(f32(length) - f32(plans[plan].seen), first);
    n_previous = n_pulses;
    previous_baseline_adc = baseline_adc;
    previous_residual_squares = sh_inner_products[n_pulses].y;
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        sh_previous[pulse] = vec2<f32>(sh_time[pulse], sh_charge[pulse]);
        save_start_time(pulse);
    }
    workgroupBarrier();
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        let previous = sh_previous[pulse];
        let charge = previous.y + sh_column[2u * pulse];
        var max_earlier = max_step;
        var max_later = max_step;
        if pulse > 0u {
            max_earlier = min(max_earlier, MAX_APPROACH * (previous.x - sh_previous[pulse - 1u].x));
        }
        if pulse + 1u < n_pulses {
            max_later = min(max_later, MAX_APPROACH * (sh_previous[pulse + 1u].x - previous.x));
        }
        let step = -sh_column[2u * pulse + 1u] / max(charge, MIN_COLUMN_CHARGE_PE);
        sh_charge[pulse] = charge;
        sh_time[pulse] = clamp(previous.x + min(max(step, -max_earlier), max_later), first, last);
    }
    baseline_adc += sh_column[2u * n_pulses];
    workgroupBarrier();
}

// Restores the pulses before the step.
fn revert_step() {
    n_pulses = n_previous;
    baseline_adc = previous_baseline_adc;
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        sh_time[pulse] = sh_previous[pulse].x;
        sh_charge[pulse] = sh_previous[pulse].y;
        sh_start_time[pulse] = saved_start_time(pulse);
    }
    workgroupBarrier();
}
