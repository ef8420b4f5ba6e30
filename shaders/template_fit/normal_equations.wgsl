// The normal equations of the fit. Twin: src/extract/template_fit/normal_equations.rs.
//
// One triangle holds in turn the matrix, its factor and the factor's inverse: it is filled in anew for each. Its last row is the
// gradient, which the factorisation turns into the first half of the solution.

var<workgroup> sh_triangle: array<f32, TRIANGLE>;
// The matrix' diagonal, and the same raised.
var<workgroup> sh_diagonal: array<f32, COLUMNS>;
var<workgroup> sh_raised: array<f32, COLUMNS>;
// Solutions and other columns.
var<workgroup> sh_column: array<f32, COLUMNS>;
// Two rows for whom a row's own place is being written.
var<workgroup> sh_rows: array<f32, ROWS>;

fn row_at(row: u32) -> u32 {
    return row * (row + 1u) / 2u;
}

fn columns() -> u32 {
    return 2u * n_light + 1u;
}

// Row and column of place `index` in a triangle.
fn pair_of(index: u32) -> vec2<u32> {
    var row = u32(sqrt(2.0 * f32(index) + 0.25) - 0.5);
    while row_at(row) > index {
        row--;
    }
    while row_at(row + 1u) <= index {
        row++;
    }
    return vec2<u32>(row, index - row_at(row));
}

// Fills the matrix in, with what is known beforehand. `held`: what damps a step is in it too.
fn fill(held: bool) {
    let last = row_at(2u * n_light);
    for (var index = lane; index < row_at(n_light); index += WIDTH) {
        let pair = pair_of(index);
        let one = pair.x;
        let other = pair.y;
        let lags = lags_of(sh_sample[one] - sh_sample[other]);
        let of_charge = common_of(lags, weights(fract(sh_at[other])));
        let of_time = common_of(lags, slopes(fract(sh_at[other])));
        let charge = weights(fract(sh_at[one]));
        let time = slopes(fract(sh_at[one]));
        let seen = sqrt(max(sh_inside[one].yz, vec2<f32>(LEAST_INSIDE)));
        let of_other = sqrt(max(sh_inside[other].yz, vec2<f32>(LEAST_INSIDE)));
        let upper = row_at(2u * one) + 2u * other;
        let lower = row_at(2u * one + 1u) + 2u * other;
        sh_triangle[lower] = seen.y * of_other.x * inner(time, of_charge);
        if one == other {
            let more = held_back(one, held);
            put_diagonal(2u * one, seen.x * of_other.x * inner(charge, of_charge), more.x);
            put_diagonal(2u * one + 1u, seen.y * of_other.y * inner(time, of_time), more.y);
            sh_triangle[last + 2u * one] = sh_inside[one].x;
            sh_triangle[last + 2u * one + 1u] = 0.0;
        } else {
            sh_triangle[upper] = seen.x * of_other.x * inner(charge, of_charge);
            sh_triangle[upper + 1u] = seen.x * of_other.y * inner(charge, of_time);
            sh_triangle[lower + 1u] = seen.y * of_other.y * inner(time, of_time);
        }
    }
    if lane == 0u {
        sh_diagonal[2u * n_light] = f32(length);
        sh_raised[2u * n_light] = f32(length);
    }
    workgroupBarrier();
}

fn put_diagonal(place: u32, value: f32, more: f32) {
    sh_diagonal[place] = value;
    sh_raised[place] = value * (1.0 + RIDGE) + more;
}

// Factorises the first `rows` rows. Each thread works out the pivots itself: that costs it nothing while it waits for memory,
// and saves a barrier a column.
fn factorise(rows: u32) {
    let n_columns = columns();
    for (var j = 0u; j < n_columns; j++) {
        let own = row_at(j);
        for (var i = j + lane; i < rows; i += WIDTH) {
            let other = row_at(i);
            var mixed = vec4<f32>(0.0);
            var squares = vec4<f32>(0.0);
            let whole = j & ~3u;
            for (var k = 0u; k < whole; k += 4u) {
                let a = triangle_4(own + k);
                mixed += a * triangle_4(other + k);
                squares += a * a;
            }
            for (var k = whole; k < j; k++) {
                let a = sh_triangle[own + k];
                mixed.x += a * sh_triangle[other + k];
                squares.x += a * a;
            }
            let rest = sh_raised[j] - ((squares.x + squares.y) + (squares.z + squares.w));
            let pivot = sqrt(max(rest, LEAST_PIVOT * sh_diagonal[j]));
            if i == j {
                sh_triangle[own + j] = pivot;
            } else {
                let value = sh_triangle[other + j] - ((mixed.x + mixed.y) + (mixed.z + mixed.w));
                sh_triangle[other + j] = value / pivot;
            }
        }
        workgroupBarrier();
    }
}

fn triangle_4(at: u32) -> vec4<f32> {
    return vec4<f32>(sh_triangle[at], sh_triangle[at + 1u], sh_triangle[at + 2u], sh_triangle[at + 3u]);
}

// The second half of the solution, from the triangle's last row into `sh_column`.
fn backward() {
    let n_columns = columns();
    let last = row_at(n_columns);
    for (var left = n_columns; left > 0u; left--) {
        let i = left - 1u;
        let row = row_at(i);
        let value = sh_triangle[last + i] / sh_triangle[row + i];
        for (var k = lane; k < i; k += WIDTH) {
            sh_triangle[last + k] -= sh_triangle[row + k] * value;
        }
        if lane == 0u {
            sh_column[i] = value;
        }
        workgroupBarrier();
    }
}

// The factor's inverse in its place, row by row: with it a column needs no barriers to be solved for.
fn invert() {
    let n_columns = columns();
    if lane == 0u {
        sh_rows[0] = sh_triangle[0];
    }
    workgroupBarrier();
    for (var i = 0u; i < n_columns; i++) {
        let here = select(0u, COLUMNS, (i & 1u) == 1u);
        let row = row_at(i);
        let scale = 1.0 / sh_rows[here + i];
        for (var j = lane; j < i; j += WIDTH) {
            var sum = 0.0;
            for (var k = j; k < i; k++) {
                sum += sh_rows[here + k] * sh_triangle[row_at(k) + j];
            }
            sh_triangle[row + j] = -scale * sum;
        }
        if lane == 0u {
            sh_triangle[row + i] = scale;
        }
        if i + 1u < n_columns {
            for (var j = lane; j <= i + 1u; j += WIDTH) {
                sh_rows[COLUMNS - here + j] = sh_triangle[row_at(i + 1u) + j];
            }
        }
        workgroupBarrier();
    }
}

// Squares of the column in `sh_column`, solved for by the inverse.
fn solved_squares() -> f32 {
    let n_columns = columns();
    workgroupBarrier();
    for (var i = lane; i < n_columns; i += WIDTH) {
        let row = row_at(i);
        var sum = 0.0;
        for (var j = 0u; j <= i; j++) {
            sum += sh_triangle[row + j] * sh_column[j];
        }
        sh_rows[i] = sum * sum;
    }
    workgroupBarrier();
    var all = 0.0;
    for (var i = 0u; i < n_columns; i++) {
        all += sh_rows[i];
    }
    // All have read before the next column comes.
    workgroupBarrier();
    return all;
}
