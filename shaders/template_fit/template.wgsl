// The template as a cubic spline. Twins: src/extract/template_fit/template.rs and spline.rs, which explains the spline.

#import common/layout
#import generated/template_fit
#import generated/waveforms

// Fields of the plan that every thread reads often.
var<private> coefficients_at: u32;
var<private> n_coefficients: u32;
var<private> correlation_at: u32;

fn select_template() {
    coefficients_at = plans[plan].coefficients_at;
    n_coefficients = plans[plan].n_coefficients;
    correlation_at = plans[plan].correlation_at;
}

// A time as whole sample and fraction.
struct SplinePosition {
    sample: i32,
    fraction: f32,
}

fn spline_position(time: f32) -> SplinePosition {
    let sample = floor(time);
    return SplinePosition(i32(sample), time - sample);
}

// Weights of the four coefficients around a time for s.
fn weights(f: f32) -> vec4<f32> {
    let g = 1.0 - f;
    return vec4<f32>(
        g * g * g / 6.0,
        2.0 / 3.0 - f * f + 0.5 * f * f * f,
        2.0 / 3.0 - g * g + 0.5 * g * g * g,
        f * f * f / 6.0,
    );
}

// The same for the first derivative with respect to samples.
fn slope_weights(f: f32) -> vec4<f32> {
    let g = 1.0 - f;
    return vec4<f32>(0.5 * g * g, 2.0 * f - 1.5 * f * f, 1.5 * g * g - 2.0 * g, -0.5 * f * f);
}

// The same for the second derivative.
fn curvature_weights(f: f32) -> vec4<f32> {
    let g = 1.0 - f;
    return vec4<f32>(g, 3.0 * f - 2.0, 3.0 * g - 2.0, f);
}

fn inner_product(weights: vec4<f32>, values: vec4<f32>) -> f32 {
    return (weights.x * values.x + weights.y * values.y) + (weights.z * values.z + weights.w * values.w);
}

// First sample of the window that a pulse at `sample` reaches, and one past the last.
fn sample_range(sample: i32) -> vec2<i32> {
    let begin = clamp(sample + 2 - i32(PADDING), 0, i32(length));
    let end = sample - 1 - i32(PADDING) + i32(n_coefficients);
    return vec2<i32>(begin, clamp(end, begin, i32(length)));
}

// Coefficients of a pulse at `sample` for sample `index`, in the order of the weights.
fn coefficients(index: i32, sample: i32) -> vec4<f32> {
    let first = coefficients_at + u32(index - sample - 2 + i32(PADDING));
    return vec4<f32>(tables[first + 3u], tables[first + 2u], tables[first + 1u], tables[first]);
}

fn correlation(lag: i32) -> f32 {
    let index = u32(abs(lag));
    if index >= n_coefficients {
        return 0.0;
    }
    return tables[correlation_at + index];
}

// Autocorrelation of the coefficients from three samples before `lag` to three after.
struct Lags {
    before: vec4<f32>,
    after: vec3<f32>,
}

fn correlation_lags(lag: i32) -> Lags {
    return Lags(
        vec4<f32>(correlation(lag - 3), correlation(lag - 2), correlation(lag - 1), correlation(lag)),
        vec3<f32>(correlation(lag + 1), correlation(lag + 2), correlation(lag + 3)),
    );
}

// Inner products of a pulse with these weights with each of the four coefficients of another.
fn correlate(lags: Lags, weights: vec4<f32>) -> vec4<f32> {
    let a = vec4<f32>(lags.before.w, lags.after);
    let b = vec4<f32>(lags.before.zw, lags.after.xy);
    let c = vec4<f32>(lags.before.yzw, lags.after.x);
    return (weights.x * a + weights.y * b) + (weights.z * c + weights.w * lags.before);
}

// Sum of the template and shares of the squares of s and of s' inside the window, for a pulse at `sample`.
fn inside(sample: i32) -> vec3<f32> {
    let last = i32(n_coefficients);
    let begin = u32(clamp(i32(PADDING) - sample, 0, last));
    let end = u32(clamp(i32(PADDING) - sample + i32(length), 0, last));
    let sum = tables[plans[plan].sum_at + end] - tables[plans[plan].sum_at + begin];
    let share = tables[plans[plan].share_at + end] - tables[plans[plan].share_at + begin];
    let slope_share = tables[plans[plan].slope_share_at + end] - tables[plans[plan].slope_share_at + begin];
    return vec3<f32>(sum, max(share, 0.0), max(slope_share, 0.0));
}
