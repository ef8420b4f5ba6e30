// The template between its samples. Twin: src/extract/template_fit/template.rs, which explains the spline.

// Of the plan, what every thread asks for all the time.
var<private> coefficients_at: u32;
var<private> n_coefficients: u32;
var<private> correlation_at: u32;

fn response_begin() {
    coefficients_at = plans[plan].coefficients_at;
    n_coefficients = plans[plan].n_coefficients;
    correlation_at = plans[plan].correlation_at;
}

// A photoelectron's time: the sample before it, and the rest.
struct Place {
    sample: i32,
    rest: f32,
}

fn place_of(at: f32) -> Place {
    let sample = floor(at);
    return Place(i32(sample), at - sample);
}

// Weights of the four coefficients round a place for s.
fn weights(f: f32) -> vec4<f32> {
    let g = 1.0 - f;
    return vec4<f32>(
        g * g * g / 6.0,
        2.0 / 3.0 - f * f + 0.5 * f * f * f,
        2.0 / 3.0 - g * g + 0.5 * g * g * g,
        f * f * f / 6.0,
    );
}

// For its first derivative with respect to samples.
fn slopes(f: f32) -> vec4<f32> {
    let g = 1.0 - f;
    return vec4<f32>(0.5 * g * g, 2.0 * f - 1.5 * f * f, 1.5 * g * g - 2.0 * g, -0.5 * f * f);
}

// And for the second.
fn curvatures(f: f32) -> vec4<f32> {
    let g = 1.0 - f;
    return vec4<f32>(g, 3.0 * f - 2.0, 3.0 * g - 2.0, f);
}

fn inner(weights: vec4<f32>, values: vec4<f32>) -> f32 {
    return (weights.x * values.x + weights.y * values.y) + (weights.z * values.z + weights.w * values.w);
}

// The first sample of the window that a photoelectron at `sample` reaches, and one past the last.
fn reach_of(sample: i32) -> vec2<i32> {
    let begin = clamp(sample + 2 - i32(PADDING), 0, i32(length));
    let end = sample - 1 - i32(PADDING) + i32(n_coefficients);
    return vec2<i32>(begin, clamp(end, begin, i32(length)));
}

// The coefficients that sample `index` takes of a photoelectron at `sample`, in the order of the weights.
fn coefficients(index: i32, sample: i32) -> vec4<f32> {
    let at = coefficients_at + u32(index - sample - 2 + i32(PADDING));
    return vec4<f32>(tables[at + 3u], tables[at + 2u], tables[at + 1u], tables[at]);
}

fn correlation(lag: i32) -> f32 {
    let place = u32(abs(lag));
    if place >= n_coefficients {
        return 0.0;
    }
    return tables[correlation_at + place];
}

// What the coefficients of two photoelectrons, one `lag` samples before the other, have in common, from three samples before to three behind.
struct Lags {
    before: vec4<f32>,
    behind: vec3<f32>,
}

fn lags_of(lag: i32) -> Lags {
    return Lags(
        vec4<f32>(correlation(lag - 3), correlation(lag - 2), correlation(lag - 1), correlation(lag)),
        vec3<f32>(correlation(lag + 1), correlation(lag + 2), correlation(lag + 3)),
    );
}

// What a photoelectron with these weights has in common with each of the other one's coefficients.
fn common_of(lags: Lags, weights: vec4<f32>) -> vec4<f32> {
    let a = vec4<f32>(lags.before.w, lags.behind);
    let b = vec4<f32>(lags.before.zw, lags.behind.xy);
    let c = vec4<f32>(lags.before.yzw, lags.behind.x);
    return (weights.x * a + weights.y * b) + (weights.z * c + weights.w * lags.before);
}

// Sum of the template, and shares of the squares of s and of s', inside the window for a photoelectron at `sample`.
fn inside(sample: i32) -> vec3<f32> {
    let last = i32(n_coefficients);
    let begin = u32(clamp(i32(PADDING) - sample, 0, last));
    let end = u32(clamp(i32(PADDING) - sample + i32(length), 0, last));
    let sum = tables[plans[plan].sum_at + end] - tables[plans[plan].sum_at + begin];
    let share = tables[plans[plan].share_at + end] - tables[plans[plan].share_at + begin];
    let slope_share = tables[plans[plan].slope_share_at + end] - tables[plans[plan].slope_share_at + begin];
    return vec3<f32>(sum, max(share, 0.0), max(slope_share, 0.0));
}
