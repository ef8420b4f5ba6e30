// What host and shaders share: constants chosen at pipeline creation, buffer layouts, bindings.
// The Rust side of every struct stands in src/gpu/layout.rs; a test compares the offsets.

// The transform has 2^LOG2_BINS complex points: twice as many samples.
override LOG2_BINS: u32 = 9u;
// Capacity in samples of the deconvolved trace (without deconvolution: of the waveform).
override TRACE: u32 = 512u;
// One of METHOD_*.
override METHOD: u32 = 0u;
// One of FIT_*.
override FIT: u32 = 0u;
// The first and the last stage to run, STAGE_*.
override FIRST_STAGE: u32 = 0u;
override LAST_STAGE: u32 = 7u;

override BINS: u32 = 1u << LOG2_BINS;

const METHOD_DECONVOLUTION: u32 = 0u;
const METHOD_INTEGRAL: u32 = 1u;
const METHOD_COTI: u32 = 2u;

// No fit; a fit of every waveform with hits; the same after a test for light.
const FIT_NONE: u32 = 0u;
const FIT_ALWAYS: u32 = 1u;
const FIT_AUTO: u32 = 2u;

const STAGE_LOAD_SAMPLES: u32 = 0u;
const STAGE_BASELINE: u32 = 1u;
const STAGE_DECIMATE: u32 = 2u;
const STAGE_DECONVOLVE: u32 = 3u;
const STAGE_RESIDUAL_BASELINE: u32 = 4u;
const STAGE_HIT_FINDING: u32 = 5u;
const STAGE_CHARGE: u32 = 6u;
const STAGE_TIME: u32 = 7u;

const SATURATED_HIGH: u32 = 1u;
const SATURATED_LOW: u32 = 2u;
const UNSTABLE_BASELINE: u32 = 4u;
const PULSE_IN_BASELINE: u32 = 8u;
const TRUNCATED_AT_EDGE: u32 = 16u;
const PILE_UP: u32 = 128u;
const FLAT: u32 = 512u;
const FITTED: u32 = 0x800000u;
const FIT_FAILED: u32 = 0x1000000u;
const NO_LIGHT: u32 = 0x2000000u;
// Between device and host alone: the fit is the CPU's.
const OUTGROWN: u32 = 0x80000000u;

// One waveform to extract.
struct Waveform {
    // Its first word in `samples`; two samples a word, the earlier one low.
    first_word: u32,
    // Samples.
    length: u32,
    // Place in `plans`.
    plan: u32,
    // Place in `summaries`.
    index: u32,
}

// What is known of a template for one length of transform; `*_at` are places in `tables`, `spectrum_at` in `spectra`.
struct Plan {
    spectrum_at: u32,
    response_at: u32,
    n_response: u32,
    block_response_at: u32,
    n_block_response: u32,
    shares_at: u32,
    n_shares: u32,
    charge_noise_at: u32,
    n_charge_noise: u32,
    kernel_integral_at: u32,
    n_kernel_integral: u32,
    lead_ramp_at: u32,
    n_lead_ramp: u32,
    tail_ramp_at: u32,
    n_tail_ramp: u32,
    decimation: u32,
    smoothing: u32,
    margin: u32,
    reach: u32,
    edge_reach: u32,
    step_ns: f32,
    kernel_sigma_ns: f32,
    noise_gain: f32,
    noise_adc: f32,
    kernel_lead_ns: f32,
    kernel_per_ns: f32,
    gain: f32,
    covered: f32,
    edge_ns: f32,
    before: u32,
    behind: u32,
    coefficients_at: u32,
    n_coefficients: u32,
    correlation_at: u32,
    sum_at: u32,
    share_at: u32,
    slope_share_at: u32,
    main_pulse_at: u32,
    main_samples: u32,
    seen: u32,
    scale: f32,
    squares: f32,
    squares_of_curvature: f32,
    main_area: f32,
    peak_adc: f32,
    charge_sigma_pe: f32,
}

// What all waveforms of a dispatch share.
struct Run {
    // The dispatch's waveforms in `waveforms`.
    first: u32,
    count: u32,
    // Samples below this one are at the low rail, samples from `rail_high` on at the high one.
    rail_low: u32,
    rail_high: u32,
    threshold_sigma: f32,
    split_sigma: f32,
    sign: f32,
    // Room in `hits`.
    capacity: u32,
    least_noise_adc: f32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> run: Run;
@group(0) @binding(1) var<storage, read> waveforms: array<Waveform>;
@group(0) @binding(2) var<storage, read> samples: array<u32>;
@group(0) @binding(3) var<storage, read> plans: array<Plan>;
@group(0) @binding(4) var<storage, read> spectra: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> tables: array<f32>;
@group(0) @binding(6) var<storage, read> twiddles: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read_write> summaries: array<Summary>;
@group(0) @binding(8) var<storage, read_write> hits: array<Hit>;
// Hits so far, of all waveforms.
@group(0) @binding(9) var<storage, read_write> n_hits: atomic<u32>;

// Index of the thread in its workgroup, and the waveform of the workgroup.
var<private> lane: u32;
var<private> length: u32;
var<private> first_word: u32;
var<private> plan: u32;

// Memory for reductions.
var<workgroup> sh_atomics: array<atomic<u32>, 4>;
var<workgroup> sh_uniform: u32;

// True in the one thread that writes results of the whole workgroup.
fn is_leader() -> bool {
    return lane == 0u;
}

// Returns the value of the leader in all threads; the compiler knows it as uniform.
fn broadcast(value: u32) -> u32 {
    if is_leader() {
        sh_uniform = value;
    }
    return workgroupUniformLoad(&sh_uniform);
}

// Number of samples of the trace.
fn trace_length() -> u32 {
    return (length + plans[plan].decimation - 1u) / plans[plan].decimation;
}

// Index with one unused word after every eight, so that threads with a row of eight each use different memory banks.
fn padded(index: u32) -> u32 {
    return index + (index >> 3u);
}
