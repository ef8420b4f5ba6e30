// Stage 6: regions over threshold, extended, split at valleys. Twin: src/extract/deconvolution/hit_finding.rs.
// One thread takes a region: what a region needs of its neighbours is where they begin and end.

// A found hit in a bin of the state: begin | end << 16, and peak with these bits.
const LEADS: u32 = 0x10000u;
const ALONE_BEFORE: u32 = 0x20000u;
const ALONE_BEHIND: u32 = 0x40000u;

fn find() {
    let count = trace_length();
    let threshold = head_f32(HEAD_THRESHOLD);
    let n_blocks = (count + BLOCK - 1u) / BLOCK;
    // Most waveforms have no light: no block over threshold, nothing to look for.
    if lane == 0u {
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
    for (var at = 0u; at < n_blocks; at += WIDTH) {
        let block = at + lane;
        var starts = 0u;
        if block < n_blocks && block_at(block).y > threshold {
            for (var index = block * BLOCK; index < min((block + 1u) * BLOCK, count); index++) {
                starts += select(0u, 1u, is_start(index, threshold));
            }
        }
        let sums = scan(starts);
        if starts > 0u {
            var place = n_regions + sums.x;
            for (var index = block * BLOCK; index < min((block + 1u) * BLOCK, count); index++) {
                if is_start(index, threshold) {
                    put_region(place, index);
                    place++;
                }
            }
        }
        n_regions += sums.y;
    }
    sync();
    // The number of hits of each region stays where its smoothed trace begins, which nobody reads any more.
    for (var region = lane; region < n_regions; region += WIDTH) {
        let first = region_at(region);
        var last = first;
        while last + 1u < count && is_over(last + 1u, threshold) {
            last++;
        }
        put_region(region, first | last << 16u);
        put_smooth(first, f32(split(first, last, vec2<u32>(0u), 0u, false)));
    }
    sync();
    var n_found = 0u;
    for (var at = 0u; at < n_regions; at += WIDTH) {
        let region = at + lane;
        var own = 0u;
        if region < n_regions {
            own = u32(smooth_at(region_at(region) & 0xffffu));
        }
        let sums = scan(own);
        if region < n_regions {
            let bounds = region_at(region);
            let extent = extent_of(region, n_regions, count);
            split(bounds & 0xffffu, bounds >> 16u, extent, n_found + sums.x, true);
        }
        n_found += sums.y;
    }
    if lane == 0u {
        put_head(HEAD_N_FOUND, n_found);
    }
    sync();
}

fn is_over(index: u32, threshold: f32) -> bool {
    return block_at(index / BLOCK).y > threshold && smooth_at(index) > threshold;
}

fn is_start(index: u32, threshold: f32) -> bool {
    return is_over(index, threshold) && !(index > 0u && is_over(index - 1u, threshold));
}

// The lowest sample in begin..end, the first of equals.
fn lowest(begin: u32, end: u32) -> u32 {
    var best = begin;
    for (var index = begin + 1u; index < end; index++) {
        if trace_at(index) < trace_at(best) {
            best = index;
        }
    }
    return best;
}

// One past the last sample of a region's hits, bit 16 set if it borders on no other's.
fn end_of(region: u32, n_regions: u32, count: u32) -> u32 {
    let reach = plans[plan].reach;
    let last = region_at(region) >> 16u;
    let end = min(last + 1u + reach, count);
    if region + 1u < n_regions {
        let next = region_at(region + 1u) & 0xffffu;
        if end + reach > next {
            return lowest(last + 1u, next) + 1u;
        }
    }
    return end | 0x10000u;
}

// Begin and end of a region's hits, with ALONE_BEFORE and ALONE_BEHIND in the bits of the begin.
fn extent_of(region: u32, n_regions: u32, count: u32) -> vec2<u32> {
    let reach = plans[plan].reach;
    let first = region_at(region) & 0xffffu;
    var begin = max(first, reach) - reach;
    if region > 0u {
        begin = max(begin, end_of(region - 1u, n_regions, count) & 0xffffu);
    }
    let end = end_of(region, n_regions, count);
    let before = select(0u, ALONE_BEFORE, begin + reach == first || begin == 0u);
    let behind = select(0u, ALONE_BEHIND, (end & 0x10000u) != 0u);
    return vec2<u32>(begin | before | behind, end & 0xffffu);
}

fn is_peak(index: u32) -> bool {
    let value = trace_at(index);
    let rising = index == 0u || value >= trace_at(index - 1u);
    return rising && (index + 1u >= trace_length() || value > trace_at(index + 1u));
}

// Splits a region at its valleys and returns the number of hits; writes them from `place` on if it is to.
fn split(first: u32, last: u32, extent: vec2<u32>, place: u32, write: bool) -> u32 {
    let valley_depth = run.split_sigma * plans[plan].noise_gain * head_f32(HEAD_NOISE);
    var begin = extent.x & 0xffffu;
    var marks = LEADS | (extent.x & ALONE_BEFORE);
    var number = 0u;
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
                    put_bin(place + number, vec2<u32>(begin | (valley + 1u) << 16u, peak | marks));
                }
                number++;
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
    // A region without a peak of its own is the flank of light beyond the window.
    if !has_peak {
        peak = highest;
    }
    if write {
        put_bin(place + number, vec2<u32>(begin | extent.y << 16u, peak | marks | (extent.x & ALONE_BEHIND)));
    }
    return number + 1u;
}
