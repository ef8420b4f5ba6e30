// Errors of charges and times, and removal of insignificant pulses. Twin: src/extract/template_fit/prune.rs.

#import common/layout
#import common/prefix_sum
#import generated/template_fit
#import template_fit/normal_equations
#import template_fit/state

// Standard deviations of charges and times, from the inverse of the normal matrix.
fn estimate_errors() {
    let n_columns = columns();
    for (var column = lane; column < 2u * n_pulses; column += WIDTH) {
        var squares = 0.0;
        for (var row = column; row < n_columns; row++) {
            let value = sh_triangle[row_start(row) + column];
            squares += value * value;
        }
        let pulse = column / 2u;
        let sigma = sqrt(squares * noise2);
        if column % 2u == 0u {
            sh_charge_sigma[pulse] = sigma;
        } else {
            sh_time_sigma[pulse] = sigma / max(sh_charge[pulse], DROPPED_CHARGE_PE);
        }
    }
    workgroupBarrier();
}

// Significance of a pulse in standard deviations; without bound where it and its neighbour are too large to be one photoelectron.
fn significance(pulse: u32) -> f32 {
    let near = NEIGHBOUR_DISTANCE * scale;
    let charge = sh_charge[pulse];
    var neighbour = 0.0;
    if pulse > 0u && abs(sh_time[pulse - 1u] - sh_time[pulse]) < near {
        neighbour = max(neighbour, sh_charge[pulse - 1u]);
    }
    if pulse + 1u < n_pulses && abs(sh_time[pulse + 1u] - sh_time[pulse]) < near {
        neighbour = max(neighbour, sh_charge[pulse + 1u]);
    }
    if charge < MIN_CHARGE_PE {
        return 0.0;
    }
    if neighbour > 0.0 && neighbour + charge > MAX_MERGED_PE {
        return 1e30;
    }
    return charge / sh_charge_sigma[pulse];
}

// The least significant pulse, or n_pulses if all are significant.
fn least_significant() -> u32 {
    for (var pulse = lane; pulse < n_pulses; pulse += WIDTH) {
        sh_column[pulse] = significance(pulse);
    }
    workgroupBarrier();
    var least = MIN_SIGNIFICANCE;
    var index = n_pulses;
    for (var pulse = 0u; pulse < n_pulses; pulse++) {
        if sh_column[pulse] < least {
            least = sh_column[pulse];
            index = pulse;
        }
    }
    return broadcast(index);
}

// Removes a pulse and merges it with its neighbour, in one thread.
fn remove(index: u32) {
    let removed = vec2<f32>(sh_time[index], sh_charge[index]);
    for (var pulse = index; pulse + 1u < n_pulses; pulse++) {
        sh_time[pulse] = sh_time[pulse + 1u];
        sh_charge[pulse] = sh_charge[pulse + 1u];
    }
    var distance = NEIGHBOUR_DISTANCE * scale;
    var nearest = n_pulses;
    if index > 0u && abs(sh_time[index - 1u] - removed.x) < distance {
        nearest = index - 1u;
        distance = abs(sh_time[nearest] - removed.x);
    }
    if index + 1u < n_pulses && abs(sh_time[index] - removed.x) < distance {
        nearest = index;
    }
    if nearest < n_pulses {
        let merged = merge(vec2<f32>(sh_time[nearest], sh_charge[nearest]), removed);
        sh_time[nearest] = merged.x;
        sh_charge[nearest] = merged.y;
    }
}

// Merges two pulses, each with time and charge.
fn merge(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    let charge = a.y + b.y;
    return vec2<f32>((a.x * a.y + b.x * b.y) / charge, charge);
}
