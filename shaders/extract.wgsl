// The fused extraction kernel: raw samples to hits, one workgroup per waveform. Twin: src/extract/extract_waveform.rs.
// Stages outside FIRST_STAGE..=LAST_STAGE are removed at compile time; their results are then read from device memory.

#import baseline
#import common/layout
#import common/state
#import generated/extraction
#import generated/flags
#import generated/methods
#import generated/results
#import generated/state
#import generated/waveforms
#import load_samples
#import memory
#import check_samples
#import scan
#import stages

fn write_hit(slot: u32, hit: Hit) {
    // Hits beyond the capacity are counted but not written: the host then repeats the dispatch with a larger buffer.
    if slot < run.capacity {
        hits[slot] = hit;
    }
}

fn runs(stage: u32) -> bool {
    return FIRST_STAGE <= stage && stage <= LAST_STAGE;
}

// Extracts waveform `slot` of the dispatch. The entry points are in common/scan_*.wgsl, as they differ in their arguments.
fn extract(slot: u32) {
    if slot >= run.count {
        return;
    }
    let waveform = waveforms[run.first + slot];
    length = waveform.length;
    first_word = waveform.first_word;
    plan = waveform.plan;
    select_state(slot);

    if runs(STAGE_LOAD_SAMPLES) {
        load_samples();
        check_samples();
    }
    // A flat waveform has only a baseline; an empty one only a baseline and noise.
    var is_done = broadcast(header(HEADER_FLAGS)) & (FLAT | LEFT_TO_CPU);
    if FIT == FIT_AUTO && is_done == 0u {
        test_for_light();
        is_done = broadcast(header(HEADER_FLAGS)) & NO_LIGHT;
    }
    if is_done == 0u {
        if runs(STAGE_BASELINE) {
            estimate_baseline();
        }
        run_stages();
    }
    if LAST_STAGE == STAGE_TIME {
        write_results(waveform.index);
    }
}

// Writes the hits, the seeds of the fit and the summary.
fn write_results(index: u32) {
    let n_found = broadcast(header(HEADER_N_FOUND));
    var first = 0u;
    var n_seeds = 0u;
    if n_found > 0u {
        n_seeds = count_seeds(n_found);
        if is_leader() {
            first = atomicAdd(&n_hits, n_found + select(n_seeds, 0u, n_seeds > MAX_PULSES));
        }
        first = broadcast(first);
        write_hits(first);
        if n_seeds > 0u && n_seeds <= MAX_PULSES {
            write_seeds(first + n_found);
        }
    }
    if is_leader() {
        summaries[index] = Summary(
            n_found,
            first,
            header(HEADER_FLAGS),
            header_f32(HEADER_BASELINE),
            header_f32(HEADER_BASELINE_SIGMA),
            header_f32(HEADER_MEASURED_NOISE),
            n_seeds,
            header_f32(HEADER_NOISE),
            0.0,
        );
    }
}
