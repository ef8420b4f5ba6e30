// The fused kernel: a waveform from raw samples to hits in one workgroup. Twin: src/extract/extractor.rs.
// Stages outside FIRST_STAGE..=LAST_STAGE are left out at compile time; what they leave behind is then in device memory.

fn put_hit(place: u32, hit: Hit) {
    // What does not fit is counted all the same: the host sees it and comes again with more room.
    if place < run.capacity {
        hits[place] = hit;
    }
}

fn runs(stage: u32) -> bool {
    return FIRST_STAGE <= stage && stage <= LAST_STAGE;
}

// Waveform `slot` of the dispatch; the entry point stands with the scans, which need more of it or less.
fn extract(slot: u32) {
    if slot >= run.count {
        return;
    }
    let waveform = waveforms[run.first + slot];
    length = waveform.length;
    first_word = waveform.first_word;
    plan = waveform.plan;
    memory_begin(slot);

    if runs(SANITY) {
        sanity();
    }
    // A flat waveform has its baseline and nothing else to find, and one without light nothing but that and its noise.
    var done = broadcast(head(HEAD_FLAGS)) & FLAT;
    if FIT == 2u && done == 0u {
        look();
        done = broadcast(head(HEAD_FLAGS)) & NO_LIGHT;
    }
    if done == 0u {
        if runs(BASELINE) {
            baseline();
        }
        stages();
    }
    if LAST_STAGE == TIME {
        finish(waveform.index);
    }
}

fn finish(index: u32) {
    let n_found = broadcast(head(HEAD_N_FOUND));
    var first = 0u;
    var n_seeds = 0u;
    if n_found > 0u {
        n_seeds = count_seeds(n_found);
        if lane == 0u {
            first = atomicAdd(&n_hits, n_found + select(n_seeds, 0u, n_seeds > MOST));
        }
        first = broadcast(first);
        give_hits(first);
        if n_seeds > 0u && n_seeds <= MOST {
            give_seeds(first + n_found);
        }
    }
    if lane == 0u {
        summaries[index] = Summary(
            n_found,
            first,
            head(HEAD_FLAGS),
            head_f32(HEAD_BASELINE),
            head_f32(HEAD_BASELINE_SIGMA),
            head_f32(HEAD_MEASURED_NOISE),
            n_seeds,
            head_f32(HEAD_NOISE),
            0.0,
        );
    }
}
