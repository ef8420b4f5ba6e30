// Stage 6: regions over threshold, extended, split at valleys. Twin: src/extract/deconvolution/hit_finding.rs.
// One thread per region; of its neighbours it needs only their first and last samples.

#import common/layout
#import common/prefix_sum
#import common/state
#import generated/extraction
#import generated/state
#import generated/waveforms
#import memory
#import scan

fn find_hits() {
    let count = trace_length();
    let threshold = header_f32(HEADER_THRESHOLD);
    let n_blocks = (count + BLOCK - 1u) / BLOCK;
    // Most waveforms have no light: no block is over threshold.
    if is_leader() {
        atomicStore(&sh_atomics[0], 0u);
    }
    workgroupBarrier();
    for (var block = lane; block < n_blocks; block += WIDTH) {
        if block_at(block).y > threshold {
            atomicStore(&sh_atomics[0], 1u);
        }
    }
    workgroupBarrier();
    if broadcast(atomicLoad(&sh_atomics[0])) == 0u {
        return;
    }
    var n_regions = 0u;
    for (var base = 0u; base < n_blocks; base += WIDTH) {
        let block = base + lane;
        var n_starts = 0u;
        if block < n_blocks && block_at(block).y > threshold {
            for (var index = block * BLOCK; index < min((block + 1u) * BLOCK, count); index++) {
                n_starts += select(0u, 1u, is_start(index, threshold));
            }
        }
        let sums = scan(n_starts);
        if n_starts > 0u {
            var slot = n_regions + sums.x;
            for (var index = block * BLOCK; index < min((block + 1u) * BLOCK, count); index++) {
                if is_start(index, threshold) {
                    write_region(slot, index);
                    slot++;
                }
            }
        }
        n_regions += sums.y;
    }
    sync();
    // The number of hits of a region is written over its first smoothed sample, which is no longer needed.
    for (var region = lane; region < n_regions; region += WIDTH) {
        let first = region_at(region);
        var last = first;
        while last + 1u < count && is_over(last + 1u, threshold) {
            last++;
        }
        write_region(region, first | last << 16u);
        write_smoothed(first, f32(split_region(first, last, vec2<u32>(0u), 0u, false)));
    }
    sync();
    var n_found = 0u;
    for (var base = 0u; base < n_regions; base += WIDTH) {
        let region = base + lane;
        var own = 0u;
        if region < n_regions {
            own = u32(smoothed_at(region_at(region) & 0xffffu));
        }
        let sums = scan(own);
        if region < n_regions {
            let bounds = region_at(region);
            let extent = region_extent(region, n_regions, count);
            split_region(bounds & 0xffffu, bounds >> 16u, extent, n_found + sums.x, true);
        }
        n_found += sums.y;
    }
    if is_leader() {
        write_header(HEADER_N_FOUND, n_found);
    }
    sync();
}

fn is_over(index: u32, threshold: f32) -> bool {
    return block_at(index / BLOCK).y > threshold && smoothed_at(index) > threshold;
}

fn is_start(index: u32, threshold: f32) -> bool {
    return is_over(index, threshold) && !(index > 0u && is_over(index - 1u, threshold));
}

// Index of the lowest sample in begin..end, the first of equals.
fn lowest_sample(begin: u32, end: u32) -> u32 {
    var best = begin;
    for (var index = begin + 1u; index < end; index++) {
        if trace_at(index) < trace_at(best) {
            best = index;
        }
    }
    return best;
}

// One past the last sample of the hits of a region; bit 16 is set if the next region does not begin there.
fn region_end(region: u32, n_regions: u32, count: u32) -> u32 {
    let reach = plans[plan].reach;
    let last = region_at(region) >> 16u;
    let end = min(last + 1u + reach, count);
    if region + 1u < n_regions {
        let next = region_at(region + 1u) & 0xffffu;
        if end + reach > next {
            return lowest_sample(last + 1u, next) + 1u;
        }
    }
    return end | 0x10000u;
}

// First sample of the hits of a region and one past the last, with ALONE_BEFORE and ALONE_AFTER in the bits of the begin.
fn region_extent(region: u32, n_regions: u32, count: u32) -> vec2<u32> {
    let reach = plans[plan].reach;
    let first = region_at(region) & 0xffffu;
    var begin = max(first, reach) - reach;
    if region > 0u {
        begin = max(begin, region_end(region - 1u, n_regions, count) & 0xffffu);
    }
    let end = region_end(region, n_regions, count);
    let before = select(0u, ALONE_BEFORE, begin + reach == first || begin == 0u);
    let after = select(0u, ALONE_AFTER, (end & 0x10000u) != 0u);
    return vec2<u32>(begin | before | after, end & 0xffffu);
}

fn is_peak(index: u32) -> bool {
    let value = trace_at(index);
    let rising = index == 0u || value >= trace_at(index - 1u);
    return rising && (index + 1u >= trace_length() || value > trace_at(index + 1u));
}

// Splits a region at its valleys; returns the number of hits. Writes them from `slot` on if `write` is true.
fn split_region(first: u32, last: u32, extent: vec2<u32>, slot: u32, write: bool) -> u32 {
    let valley_depth = run.split_sigma * plans[plan].noise_gain * header_f32(HEADER_NOISE);
    var begin = extent.x & 0xffffu;
    var marks = LEADS | (extent.x & ALONE_BEFORE);
    var n_split = 0u;
    var has_peak = false;
    var peak = 0u;
    // The lowest sample since the peak.
    var valley = 0u;
    var highest = first;
    for (var index = first; index <= last; index++) {
        let value = trace_at(index);
        if value > trace_at(highest) {
            highest = index;
        }
        if is_peak(index) {
            if !has_peak {
                has_peak = true;
                peak = index;
                valley = index;
            } else if min(trace_at(peak), value) - trace_at(valley) > valley_depth {
                if write {
                    write_found_hit(slot + n_split, vec2<u32>(begin | (valley + 1u) << 16u, peak | marks));
                }
                n_split++;
                begin = valley + 1u;
                marks = 0u;
                peak = index;
                valley = index;
            } else if value > trace_at(peak) {
                peak = index;
                valley = index;
            }
        }
        if has_peak && value < trace_at(valley) {
            valley = index;
        }
    }
    // A region without a peak is the flank of light outside the window.
    if !has_peak {
        peak = highest;
    }
    if write {
        write_found_hit(slot + n_split, vec2<u32>(begin | extent.y << 16u, peak | marks | (extent.x & ALONE_AFTER)));
    }
    return n_split + 1u;
}
