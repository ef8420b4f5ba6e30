// Sorts the hits by waveform: count, prefix sum, scatter. Workgroups finish in any order and write to `hits` as they finish; after
// this the order is deterministic.

#import common/prefix_sum
#import generated/compaction

fn n_hits_of(index: u32) -> u32 {
    if index < size.n_waveforms {
        return summaries[index].n_hits;
    }
    return 0u;
}

// Counts the hits of each tile.
@compute @workgroup_size(WIDTH)
fn count(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let sums = prefix_sum(lane, n_hits_of(group.x * WIDTH + lane));
    if lane == 0u {
        tiles[group.x] = sums.y;
    }
}

// Sums the hits before each tile, in one workgroup.
@compute @workgroup_size(WIDTH)
fn prefix(@builtin(local_invocation_index) lane: u32) {
    var before = 0u;
    for (var base = 0u; base < size.n_tiles; base += WIDTH) {
        var own = 0u;
        if base + lane < size.n_tiles {
            own = tiles[base + lane];
        }
        let sums = prefix_sum(lane, own);
        if base + lane < size.n_tiles {
            tiles[base + lane] = before + sums.x;
        }
        before += sums.y;
    }
}

@compute @workgroup_size(WIDTH)
fn scatter(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let index = group.x * WIDTH + lane;
    let own = n_hits_of(index);
    let to = tiles[group.x] + prefix_sum(lane, own).x;
    if own == 0u {
        return;
    }
    let first = summaries[index].first_hit;
    for (var hit = 0u; hit < own; hit++) {
        if first + hit < size.capacity && to + hit < size.capacity {
            ordered_hits[to + hit] = hits[first + hit];
        }
    }
}
