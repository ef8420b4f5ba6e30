// The state of a fit: pulses, residual and inner products. Twin: src/extract/template_fit/state.rs.
//
// Sums over samples run over LANES lanes for any width of the workgroup; every decision is made by one thread and broadcast.
//
// Workgroup memory limits how many fits run at once, so that some arrays are used twice. They are accessed by functions:
//
// | array | holds | in a step it holds instead |
// |---|---|---|
// | sh_charge_sigma | errors of the charges | time_damping: what is added to the diagonal for each time, relative |
// | sh_time_sigma | errors of the times | saved_start_time: the start times before the step |
// | sh_prior | priors (priors.wgsl) | sorted pulses (sort_pulses); score and noise of the splits (add_pulses.wgsl) |
// | sh_column | the solution (normal_equations.wgsl) | significances (prune.wgsl); a column to be solved for (add_pulses.wgsl) |

#import common/layout
#import common/prefix_sum
#import generated/template_fit
#import generated/waveforms
#import template_fit/capacity
#import template_fit/priors
#import template_fit/template

// Samples minus the model.
var<workgroup> sh_residual: array<f32, SAMPLE_CAPACITY>;
// The pulses, in time order: times in samples, charges in PE, and their standard deviations.
var<workgroup> sh_time: array<f32, PULSE_CAPACITY>;
var<workgroup> sh_charge: array<f32, PULSE_CAPACITY>;
var<workgroup> sh_charge_sigma: array<f32, PULSE_CAPACITY>;
var<workgroup> sh_time_sigma: array<f32, PULSE_CAPACITY>;
// The sample before each pulse, its weights times its charge, and the parts of its template inside the window.
var<workgroup> sh_sample: array<i32, PULSE_CAPACITY>;
var<workgroup> sh_scaled_weights: array<vec4<f32>, PULSE_CAPACITY>;
var<workgroup> sh_inside: array<vec3<f32>, PULSE_CAPACITY>;
// Inner products of the residual with the four coefficients of each pulse; then, at n_pulses, sum and squares of the residual.
var<workgroup> sh_inner_products: array<vec4<f32>, SUMS>;
var<workgroup> sh_partial: array<vec4<f32>, PARTIALS>;
// Times at the start of the iteration, and time and charge before a step.
var<workgroup> sh_start_time: array<f32, PULSE_CAPACITY>;
var<workgroup> sh_previous: array<vec2<f32>, PULSE_CAPACITY>;
// A number of pulses, or an index, from one thread to the others.
var<workgroup> sh_count: u32;

// The same in all threads.
var<private> n_pulses: u32;
var<private> baseline_adc: f32;
var<private> noise2: f32;
var<private> scale: f32;
// Relative increase of the diagonal (Levenberg and Marquardt).
var<private> damping: f32;
// Pulses, baseline and squares of the residual before a step.
var<private> n_previous: u32;
var<private> previous_baseline_adc: f32;
var<private> previous_residual_squares: f32;
// Baseline of the deconvolution, from which the fit starts.
var<private> first_baseline_adc: f32;
// True if there are more pulses than this kernel holds, or more steps than it may take.
var<private> capacity_exceeded: bool;

fn time_damping(pulse: u32) -> f32 {
    return sh_charge_sigma[pulse];
}

fn write_time_damping(pulse: u32, value: f32) {
    sh_charge_sigma[pulse] = value;
}

fn saved_start_time(pulse: u32) -> f32 {
    return sh_time_sigma[pulse];
}

fn save_start_time(pulse: u32) {
    sh_time_sigma[pulse] = sh_start_time[pulse];
}

// Columns of the normal equations: charge and time of each pulse, and the baseline.
fn columns() -> u32 {
    return 2u * n_pulses + 1u;
}

// The sample with pulses upright and the deconvolution's baseline subtracted.
fn upright(index: u32) -> f32 {
    let pair = samples[first_word + (index >> 1u)];
    return run.sign * (f32(extractBits(pair, 16u * (index & 1u), 16u)) - first_baseline_adc);
}

// Computes the residual of the present pulses.
fn update_residual() {
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        let position = spline_position(sh_time[pulse]);
        sh_sample[pulse] = position.sample;
        sh_scaled_weights[pulse] = weights(position.fraction) * sh_charge[pulse];
        sh_inside[pulse] = inside(position.sample);
    }
    workgroupBarrier();
    for (var index = lane; index < length; index += WIDTH) {
        var residual = upright(index) - baseline_adc;
        for (var pulse = 0u; pulse < n_pulses; pulse++) {
            let sample = sh_sample[pulse];
            let range = sample_range(sample);
            if i32(index) >= range.x && i32(index) < range.y {
                residual -= inner_product(sh_scaled_weights[pulse], coefficients(i32(index), sample));
            }
        }
        sh_residual[index] = residual;
    }
    workgroupBarrier();
}

// Computes `sh_inner_products`.
fn compute_inner_products() {
    let at_once = PARTIALS / LANES;
    for (var first = 0u; first <= n_pulses; first += at_once) {
        for (var item = lane; item < PARTIALS; item += WIDTH) {
            sh_partial[item] = lane_inner_products(first + item / LANES, item % LANES);
        }
        workgroupBarrier();
        for (var item = lane; item < PARTIALS / 4u; item += WIDTH) {
            let base = (item / 8u) * LANES + item % 8u;
            sh_partial[base] = (sh_partial[base] + sh_partial[base + 8u]) + (sh_partial[base + 16u] + sh_partial[base + 24u]);
        }
        workgroupBarrier();
        for (var item = lane; item < at_once; item += WIDTH) {
            if first + item <= n_pulses {
                let base = item * LANES;
                sh_inner_products[first + item] =
                    ((sh_partial[base] + sh_partial[base + 4u]) + (sh_partial[base + 2u] + sh_partial[base + 6u]))
                    + ((sh_partial[base + 1u] + sh_partial[base + 5u]) + (sh_partial[base + 3u] + sh_partial[base + 7u]));
            }
        }
        workgroupBarrier();
    }
}

// The part of lane `lane_index` in the inner products of `pulse`, or, for n_pulses, in the sum and squares of the residual.
fn lane_inner_products(pulse: u32, lane_index: u32) -> vec4<f32> {
    var sums = vec4<f32>(0.0);
    if pulse < n_pulses {
        let sample = sh_sample[pulse];
        let range = sample_range(sample);
        for (var index = range.x + i32(lane_index); index < range.y; index += i32(LANES)) {
            sums += sh_residual[index] * coefficients(index, sample);
        }
    } else if pulse == n_pulses {
        for (var index = lane_index; index < length; index += LANES) {
            let value = sh_residual[index];
            sums += vec4<f32>(value, value * value, 0.0, 0.0);
        }
    }
    return sums;
}

// Squares of the model without its baseline.
fn model_squares() -> f32 {
    for (var lane_index = lane; lane_index < LANES; lane_index += WIDTH) {
        var sum = 0.0;
        for (var index = lane_index; index < length; index += LANES) {
            let value = upright(index) - baseline_adc - sh_residual[index];
            sum += value * value;
        }
        sh_partial[lane_index].x = sum;
    }
    workgroupBarrier();
    var total = 0.0;
    for (var lane_index = 0u; lane_index < LANES; lane_index++) {
        total += sh_partial[lane_index].x;
    }
    return bitcast<f32>(broadcast(bitcast<u32>(total)));
}

// Sorts the pulses by time and drops those with a charge of `min_charge` or less.
fn sort_pulses(min_charge: f32) {
    var kept = 0u;
    var is_sorted = true;
    for (var pulse = 0u; pulse < n_pulses; pulse++) {
        kept += select(0u, 1u, sh_charge[pulse] > min_charge);
        is_sorted = is_sorted && (pulse == 0u || sh_time[pulse] >= sh_time[pulse - 1u]);
    }
    let kept_and_sorted = broadcast(select(kept, kept | 0x10000u, is_sorted));
    kept = kept_and_sorted & 0xffffu;
    if kept == n_pulses && kept_and_sorted > 0xffffu {
        return;
    }
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        let time = sh_time[pulse];
        var rank = 0u;
        for (var other = 0u; other < n_pulses; other++) {
            let earlier = sh_time[other] < time || (sh_time[other] == time && other < pulse);
            rank += select(0u, 1u, sh_charge[other] > min_charge && earlier);
        }
        if sh_charge[pulse] > min_charge {
            sh_prior[rank] = vec4<f32>(time, sh_charge[pulse], sh_start_time[pulse], 0.0);
        }
    }
    workgroupBarrier();
    n_pulses = kept;
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        sh_time[pulse] = sh_prior[pulse].x;
        sh_charge[pulse] = sh_prior[pulse].y;
        sh_start_time[pulse] = sh_prior[pulse].z;
    }
    workgroupBarrier();
}
