// Hits into the order of their waveforms: count, prefix sum, scatter. Workgroups finish in any order, and take room in
// `hits` as they finish; behind this the order is fixed.

override WIDTH: u32 = 256u;

struct Count {
    n_waveforms: u32,
    capacity: u32,
    // Tiles of WIDTH waveforms.
    n_tiles: u32,
    unused: u32,
}

struct Summary {
    n_hits: u32,
    first_hit: u32,
    flags: u32,
    baseline_adc: f32,
    baseline_sigma_adc: f32,
    noise_adc: f32,
}

struct Hit {
    time_ns: f32,
    charge_pe: f32,
    charge_sigma_pe: f32,
    flags: u32,
}

@group(0) @binding(0) var<uniform> size: Count;
@group(0) @binding(1) var<storage, read> summaries: array<Summary>;
@group(0) @binding(2) var<storage, read> found: array<Hit>;
@group(0) @binding(3) var<storage, read_write> tiles: array<u32>;
@group(0) @binding(4) var<storage, read_write> ordered_hits: array<Hit>;

var<workgroup> sh_scan: array<u32, WIDTH>;

// Inclusive prefix sum over the workgroup.
fn scan(lane: u32, value: u32) -> u32 {
    workgroupBarrier();
    sh_scan[lane] = value;
    workgroupBarrier();
    for (var reach = 1u; reach < WIDTH; reach *= 2u) {
        var sum = sh_scan[lane];
        if lane >= reach {
            sum += sh_scan[lane - reach];
        }
        workgroupBarrier();
        sh_scan[lane] = sum;
        workgroupBarrier();
    }
    return sh_scan[lane];
}

fn number_of(index: u32) -> u32 {
    if index < size.n_waveforms {
        return summaries[index].n_hits;
    }
    return 0u;
}

// Hits of each tile.
@compute @workgroup_size(WIDTH)
fn count(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let all = scan(lane, number_of(group.x * WIDTH + lane));
    if lane == WIDTH - 1u {
        tiles[group.x] = all;
    }
}

// Hits before each tile, by one workgroup.
@compute @workgroup_size(WIDTH)
fn prefix(@builtin(local_invocation_index) lane: u32) {
    var before = 0u;
    for (var at = 0u; at < size.n_tiles; at += WIDTH) {
        var own = 0u;
        if at + lane < size.n_tiles {
            own = tiles[at + lane];
        }
        let upto = scan(lane, own);
        if at + lane < size.n_tiles {
            tiles[at + lane] = before + upto - own;
        }
        before += sh_scan[WIDTH - 1u];
    }
}

@compute @workgroup_size(WIDTH)
fn scatter(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let index = group.x * WIDTH + lane;
    let own = number_of(index);
    let to = tiles[group.x] + scan(lane, own) - own;
    if own == 0u {
        return;
    }
    let from_ = summaries[index].first_hit;
    for (var hit = 0u; hit < own; hit++) {
        if from_ + hit < size.capacity && to + hit < size.capacity {
            ordered_hits[to + hit] = found[from_ + hit];
        }
    }
}
