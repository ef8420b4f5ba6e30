// The normal equations of the fit. Twin: src/extract/template_fit/normal_equations.rs.
//
// One triangle holds in turn the matrix, its Cholesky factor and the inverse of the factor; it is filled again for each step. Its last
// row is the gradient, which the factorisation turns into the forward substitution.

#import common/layout
#import common/prefix_sum
#import generated/template_fit
#import template_fit/capacity
#import template_fit/iterate
#import template_fit/state
#import template_fit/template

var<workgroup> sh_triangle: array<f32, TRIANGLE>;
// The diagonal of the matrix, and the same with ridge, priors and damping.
var<workgroup> sh_diagonal: array<f32, MAX_COLUMNS>;
var<workgroup> sh_damped_diagonal: array<f32, MAX_COLUMNS>;
// The solution, or a column; see state.wgsl.
var<workgroup> sh_column: array<f32, MAX_COLUMNS>;
// Copies of two rows that are being overwritten.
var<workgroup> sh_rows: array<f32, ROWS>;

fn row_start(row: u32) -> u32 {
    return row * (row + 1u) / 2u;
}

// Row and column of element `index` of a triangle.
fn row_and_column(index: u32) -> vec2<u32> {
    var row = u32(sqrt(2.0 * f32(index) + 0.25) - 0.5);
    while row_start(row) > index {
        row--;
    }
    while row_start(row + 1u) <= index {
        row++;
    }
    return vec2<u32>(row, index - row_start(row));
}

// Computes the matrix with the priors and, for a step, the damping.
fn fill_matrix(is_step: bool) {
    let last = row_start(2u * n_pulses);
    for (var index = lane; index < row_start(n_pulses); index += WIDTH) {
        let pair = row_and_column(index);
        let one = pair.x;
        let other = pair.y;
        let lags = correlation_lags(sh_sample[one] - sh_sample[other]);
        let other_charge = correlate(lags, weights(fract(sh_time[other])));
        let other_time = correlate(lags, slope_weights(fract(sh_time[other])));
        let charge = weights(fract(sh_time[one]));
        let time = slope_weights(fract(sh_time[one]));
        let inside_roots = sqrt(max(sh_inside[one].yz, vec2<f32>(MIN_INSIDE_SHARE)));
        let other_roots = sqrt(max(sh_inside[other].yz, vec2<f32>(MIN_INSIDE_SHARE)));
        let upper = row_start(2u * one) + 2u * other;
        let lower = row_start(2u * one + 1u) + 2u * other;
        sh_triangle[lower] = inside_roots.y * other_roots.x * inner_product(time, other_charge);
        if one == other {
            let added = damping_terms(one, is_step);
            write_diagonal(2u * one, inside_roots.x * other_roots.x * inner_product(charge, other_charge), added.x);
            write_diagonal(2u * one + 1u, inside_roots.y * other_roots.y * inner_product(time, other_time), added.y);
            sh_triangle[last + 2u * one] = sh_inside[one].x;
            sh_triangle[last + 2u * one + 1u] = 0.0;
        } else {
            sh_triangle[upper] = inside_roots.x * other_roots.x * inner_product(charge, other_charge);
            sh_triangle[upper + 1u] = inside_roots.x * other_roots.y * inner_product(charge, other_time);
            sh_triangle[lower + 1u] = inside_roots.y * other_roots.y * inner_product(time, other_time);
        }
    }
    if is_leader() {
        sh_diagonal[2u * n_pulses] = f32(length);
        sh_damped_diagonal[2u * n_pulses] = f32(length);
    }
    workgroupBarrier();
}

fn write_diagonal(column: u32, value: f32, added: f32) {
    sh_diagonal[column] = value;
    sh_damped_diagonal[column] = value * (1.0 + RIDGE) + added;
}

// Computes the Cholesky factor of the first `rows` rows. Each thread computes the pivots itself: that is free while it waits for
// memory, and saves a barrier per column.
fn factorise(rows: u32) {
    let n_columns = columns();
    for (var j = 0u; j < n_columns; j++) {
        let pivot_row = row_start(j);
        for (var i = j + lane; i < rows; i += WIDTH) {
            let other = row_start(i);
            var mixed = vec4<f32>(0.0);
            var squares = vec4<f32>(0.0);
            let whole = j & ~3u;
            for (var k = 0u; k < whole; k += 4u) {
                let a = load_triangle4(pivot_row + k);
                mixed += a * load_triangle4(other + k);
                squares += a * a;
            }
            for (var k = whole; k < j; k++) {
                let a = sh_triangle[pivot_row + k];
                mixed.x += a * sh_triangle[other + k];
                squares.x += a * a;
            }
            let remainder = sh_damped_diagonal[j] - ((squares.x + squares.y) + (squares.z + squares.w));
            let pivot = sqrt(max(remainder, MIN_PIVOT * sh_diagonal[j]));
            if i == j {
                sh_triangle[pivot_row + j] = pivot;
            } else {
                let value = sh_triangle[other + j] - ((mixed.x + mixed.y) + (mixed.z + mixed.w));
                sh_triangle[other + j] = value / pivot;
            }
        }
        workgroupBarrier();
    }
}

fn load_triangle4(first: u32) -> vec4<f32> {
    return vec4<f32>(sh_triangle[first], sh_triangle[first + 1u], sh_triangle[first + 2u], sh_triangle[first + 3u]);
}

// The back substitution, from the last row of the triangle into `sh_column`.
fn back_substitute() {
    let n_columns = columns();
    let last = row_start(n_columns);
    for (var remaining = n_columns; remaining > 0u; remaining--) {
        let i = remaining - 1u;
        let row = row_start(i);
        let value = sh_triangle[last + i] / sh_triangle[row + i];
        for (var k = lane; k < i; k += WIDTH) {
            sh_triangle[last + k] -= sh_triangle[row + k] * value;
        }
        if is_leader() {
            sh_column[i] = value;
        }
        workgroupBarrier();
    }
}

// Replaces the factor by its inverse, row by row: solving for a column then needs no barriers.
fn invert() {
    let n_columns = columns();
    if is_leader() {
        sh_rows[0] = sh_triangle[0];
    }
    workgroupBarrier();
    for (var i = 0u; i < n_columns; i++) {
        let buffer = select(0u, MAX_COLUMNS, (i & 1u) == 1u);
        let row = row_start(i);
        let inverse_pivot = 1.0 / sh_rows[buffer + i];
        for (var j = lane; j < i; j += WIDTH) {
            var sum = 0.0;
            for (var k = j; k < i; k++) {
                sum += sh_rows[buffer + k] * sh_triangle[row_start(k) + j];
            }
            sh_triangle[row + j] = -inverse_pivot * sum;
        }
        if is_leader() {
            sh_triangle[row + i] = inverse_pivot;
        }
        if i + 1u < n_columns {
            for (var j = lane; j <= i + 1u; j += WIDTH) {
                sh_rows[MAX_COLUMNS - buffer + j] = sh_triangle[row_start(i + 1u) + j];
            }
        }
        workgroupBarrier();
    }
}

// The quadratic form of the column in `sh_column` with the inverse matrix.
fn solved_squares() -> f32 {
    let n_columns = columns();
    workgroupBarrier();
    for (var i = lane; i < n_columns; i += WIDTH) {
        let row = row_start(i);
        var sum = 0.0;
        for (var j = 0u; j <= i; j++) {
            sum += sh_triangle[row + j] * sh_column[j];
        }
        sh_rows[i] = sum * sum;
    }
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < n_columns; i++) {
        total += sh_rows[i];
    }
    // All threads have read before the next column is written.
    workgroupBarrier();
    return total;
}
