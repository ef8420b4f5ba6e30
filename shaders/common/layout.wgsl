// The override constants of the extraction, the waveform of the workgroup, and what all stages use.

#import generated/waveforms

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
